//go:build linux

package examples_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestClerk(t *testing.T) {
	t.Parallel()
	const issuer, site, hook = "https://clerk.school.example", "https://school.example", "/api/auth/clerk-webhook"
	keys := newService(t, jwt.SigningMethodRS256)
	clerk := http.NewServeMux()
	clerk.Handle("GET /.well-known/jwks.json", keys)
	p := start(t, "clerk", append(newInternet(t, map[string]http.Handler{"clerk.school.example": clerk}).env(),
		"CLERK_FRONTEND_API_URL="+issuer, "CLERK_WEBHOOK_SIGNING_SECRET="+webhookKey, "SITE_URL="+site)...)
	claims := func(sub, nickname, course string) object {
		return object{
			"iss": issuer, "aud": "convex", "azp": site, "sub": sub, "email": sub + "@example.com", "email_verified": true,
			"name": sub, "nickname": nickname, "course": course,
		}
	}
	started := time.Now().UnixMilli()
	event := func(kind, sub, nickname, course string, after int64) object {
		return object{"type": kind, "object": "event", "timestamp": started + after, "data": object{
			"id": sub, "object": "user", "first_name": sub, "primary_email_address_id": "idn_1", "email_addresses": []object{
				{"id": "idn_1", "email_address": sub + "@example.com", "verification": object{"status": "verified"}},
			}, "unsafe_metadata": object{"nickname": nickname, "course": course}, "updated_at": started + after,
		}}
	}
	expect := func(id string, e object, status int, outcome string) {
		t.Helper()
		if got, said := p.deliver(hook, "svix", id, webhookKey, e); got != status || said != outcome {
			t.Errorf("%s: status %d %s, want %d %s; it says %s", id, got, said, status, outcome, p.stderr)
		}
	}
	// The browser is first: the user is there, with all that belongs to it, when the first query runs.
	token := keys.token(claims("ada", "Ada", "go"))
	me := get[user](p, "users:me", token)
	if me.Email != "ada@example.com" || !me.EmailVerified || me.Role != "student" || me.Nickname != "Ada" || p.courses(token) != "go" {
		t.Errorf("%+v", me)
	}
	expect("msg_1", event("user.created", "ada", "Ada", "go", 1), http.StatusOK, "applied")
	expect("msg_1", event("user.created", "ada", "Ada", "go", 1), http.StatusOK, "duplicate")
	expect("msg_3", event("user.updated", "ada", "Countess", "databases", 3), http.StatusOK, "applied")
	expect("msg_2", event("user.updated", "ada", "Baroness", "databases", 2), http.StatusOK, "stale")
	if again := get[user](p, "users:me", token); again.ID != me.ID || again.Nickname != "Countess" || p.courses(token) != "go" {
		t.Errorf("%+v, %s", again, p.courses(token))
	}
	// The webhook is first.
	expect("msg_4", event("user.created", "eve", "Eve", "databases", 4), http.StatusOK, "applied")
	if eve := keys.token(claims("eve", "Eve", "databases")); get[user](p, "users:me", eve).Nickname != "Eve" || p.courses(eve) != "databases" {
		t.Errorf("%s", p.courses(eve))
	}
	// What is refused is refused by either, and nothing is left of it.
	for name, c := range map[string]struct {
		nickname, course string
		path             string
	}{"mapping": {"admin", "go", "nickname"}, "schema": {"M", "go", "nickname"}, "trigger": {"Mallory", "cooking", "course"}} {
		bad := keys.token(claims("mallory", c.nickname, c.course))
		if a := p.call("query", "users:me", bad, object{}); !a.refused("invalid", c.path) {
			t.Errorf("%s: %+v", name, a)
		}
		expect("msg_"+name, event("user.created", "mallory", c.nickname, c.course, 5), http.StatusUnprocessableEntity, "invalid")
	}
	mallory := keys.token(claims("mallory", "Mallory", "go"))
	if p.courses(mallory) != "go" {
		t.Error("mallory could not sign up in the end")
	}
	// Whoever is deleted at Clerk is nobody here, with a token that is good for a while still.
	expect("msg_6", event("user.deleted", "ada", "", "", 6), http.StatusOK, "applied")
	for name, bad := range map[string]string{
		"deleted":              token,
		"of another key":       newService(t, jwt.SigningMethodRS256).token(claims("eve", "Eve", "go")),
		"of another page":      keys.token(with(claims("eve", "Eve", "go"), "azp", "https://evil.example")),
		"for somebody else":    keys.token(with(claims("eve", "Eve", "go"), "aud", "another")),
		"of yesterday":         keys.token(with(claims("eve", "Eve", "go"), "exp", time.Now().Add(-24*time.Hour).Unix())),
		"of an issuer unknown": keys.token(with(claims("eve", "Eve", "go"), "iss", "https://clerk.evil.example")),
	} {
		if a := p.call("query", "users:me", bad, object{}); !a.refused("unauthenticated") {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if status, said := p.deliver(hook, "svix", "msg_7", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", event("user.deleted", "eve", "", "", 7)); status != http.StatusUnauthorized {
		t.Errorf("a forged webhook: %d %s", status, said)
	}
}

func with(claims object, name string, value any) object {
	claims[name] = value
	return claims
}
