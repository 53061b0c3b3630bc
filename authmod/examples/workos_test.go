//go:build linux

package examples_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestWorkOS(t *testing.T) {
	t.Parallel()
	const hook, secret = "/api/auth/workos-webhook", "the webhook's secret"
	keys := newService(t, jwt.SigningMethodRS256)
	api := http.NewServeMux()
	api.Handle("GET /sso/jwks/client_1", keys)
	p := start(t, "workos", append(newInternet(t, map[string]http.Handler{"api.workos.com": api}).env(),
		"WORKOS_CLIENT_ID=client_1", "WORKOS_WEBHOOK_SECRET="+secret)...)
	token := func(sub, course string, verified bool) string {
		return keys.token(object{
			"iss": "https://api.workos.com/user_management/client_1", "sub": sub, "sid": "session_1", "email": sub + "@example.com",
			"email_verified": verified, "name": sub, "course": course,
		})
	}
	started := time.Now()
	event := func(id, kind, sub, course string, after time.Duration) object {
		return object{"id": id, "event": kind, "created_at": started.Add(after), "data": object{
			"object": "user", "id": sub, "email": sub + "@example.com", "email_verified": true, "first_name": sub,
			"metadata": object{"course": course}, "updated_at": started.Add(after),
		}}
	}
	member := func(id, sub, role string) object {
		return object{"id": id, "event": "organization_membership.updated", "created_at": started, "data": object{
			"object": "organization_membership", "user_id": sub, "role": object{"slug": role},
		}}
	}
	expect := func(e object, status int, outcome string) {
		t.Helper()
		if got, said := p.deliverWorkOS(hook, secret, e); got != status || said != outcome {
			t.Errorf("%v: status %d %s, want %d %s; it says %s", e["id"], got, said, status, outcome, p.stderr)
		}
	}
	if a := p.call("query", "users:me", token("ada", "go", false), object{}); !a.refused("invalid", "email") {
		t.Errorf("%+v", a)
	}
	if a := p.call("query", "users:me", token("ada", "cooking", true), object{}); !a.refused("invalid", "course") {
		t.Errorf("%+v", a)
	}
	ada := token("ada", "go", true)
	me := get[user](p, "users:me", ada)
	if me.Email != "ada@example.com" || !me.EmailVerified || me.Role != "student" || p.courses(ada) != "go" {
		t.Errorf("%+v", me)
	}
	expect(event("event_1", "user.created", "ada", "go", 1), http.StatusOK, "applied")
	// A role that comes before its user is sent again until there is one.
	expect(member("event_2", "eve", "admin"), http.StatusInternalServerError, "internal")
	expect(event("event_3", "user.created", "eve", "databases", 3), http.StatusOK, "applied")
	expect(member("event_2", "eve", "admin"), http.StatusOK, "applied")
	expect(member("event_2", "eve", "admin"), http.StatusOK, "duplicate")
	eve := token("eve", "databases", true)
	if got := get[user](p, "users:me", eve); got.Role != "teacher" || p.courses(eve) != "databases" {
		t.Errorf("%+v", got)
	}
	if again := get[user](p, "users:me", ada); again.ID != me.ID || again.Role != "student" || p.courses(ada) != "go" {
		t.Errorf("%+v", again)
	}
	expect(event("event_4", "user.deleted", "ada", "", time.Second), http.StatusOK, "applied")
	if a := p.call("query", "users:me", ada, object{}); !a.refused("unauthenticated") {
		t.Errorf("%+v", a)
	}
	if status, said := p.deliverWorkOS(hook, "another secret", event("event_5", "user.deleted", "eve", "", time.Second)); status != http.StatusUnauthorized {
		t.Errorf("a forged webhook: %d %s", status, said)
	}
}
