//go:build linux

package examples_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestBetterAuth(t *testing.T) {
	t.Parallel()
	const base, hook = "https://app.school.example", "/api/auth/better-auth-webhook"
	keys := newService(t, jwt.SigningMethodEdDSA)
	server := http.NewServeMux()
	server.Handle("GET /api/auth/jwks", keys)
	p := start(t, "betterauth", append(newInternet(t, map[string]http.Handler{"app.school.example": server}).env(),
		"BETTER_AUTH_URL="+base, "WEBHOOK_SECRET="+webhookKey)...)
	member := func(id, nickname, course string) object {
		return object{
			"id": id, "email": id + "@example.com", "emailVerified": true, "name": id, "nickname": nickname, "course": course,
			"createdAt": time.Now(), "updatedAt": time.Now(),
		}
	}
	token := func(id, nickname, course string) string {
		claims := member(id, nickname, course)
		claims["iss"], claims["aud"], claims["sub"] = base, base, id
		return keys.token(claims)
	}
	if a := p.call("query", "users:me", token("ada", "admin", "go"), object{}); !a.refused("invalid", "nickname") {
		t.Errorf("%+v", a)
	}
	if a := p.call("query", "users:me", token("ada", "Ada", "cooking"), object{}); !a.refused("invalid", "course") {
		t.Errorf("%+v", a)
	}
	ada := token("ada", "Ada", "go")
	me := get[user](p, "users:me", ada)
	if me.Email != "ada@example.com" || !me.EmailVerified || me.Nickname != "Ada" || me.Role != "student" || p.courses(ada) != "go" {
		t.Errorf("%+v", me)
	}
	started := time.Now()
	expect := func(id, kind string, data object, after time.Duration, status int, outcome string) {
		t.Helper()
		event := object{"type": kind, "timestamp": started.Add(after), "data": data}
		if got, said := p.deliver(hook, "webhook", id, webhookKey, event); got != status || said != outcome {
			t.Errorf("%s: status %d %s, want %d %s; it says %s", id, got, said, status, outcome, p.stderr)
		}
	}
	expect("msg_2", "user.updated", member("ada", "Countess", "databases"), 2, http.StatusOK, "applied")
	expect("msg_2", "user.updated", member("ada", "Countess", "databases"), 2, http.StatusOK, "duplicate")
	expect("msg_1", "user.updated", member("ada", "Baroness", "databases"), 1, http.StatusOK, "stale")
	if again := get[user](p, "users:me", ada); again.ID != me.ID || again.Nickname != "Countess" || p.courses(ada) != "go" {
		t.Errorf("%+v", again)
	}
	expect("msg_3", "user.deleted", member("ada", "", ""), 3, http.StatusOK, "applied")
	for name, bad := range map[string]string{
		"deleted": ada, "for somebody else": keys.token(object{"iss": base, "aud": "https://other.example", "sub": "eve"}),
		"of another key": newService(t, jwt.SigningMethodEdDSA).token(object{"iss": base, "aud": base, "sub": "eve"}),
	} {
		if a := p.call("query", "users:me", bad, object{}); !a.refused("unauthenticated") {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
