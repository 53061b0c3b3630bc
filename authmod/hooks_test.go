package authmod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// A session that BeforeSession refuses is not made, and neither is anything else that the sign-in would have.
func TestBeforeSessionRefuses(t *testing.T) {
	t.Parallel()
	var seen []authmod.SignInInfo
	a := setup(t, func(s *settings) {
		s.auth.BeforeSession = func(tx *engine.Tx, in *authmod.SignInInfo) error {
			seen = append(seen, *in)
			if in.AccountID == "eve@example.com" {
				return engine.Errorf(engine.CodeForbidden, "you are banned")
			}
			return nil
		}
	})
	before := a.dump()
	if _, err := a.device().call(signUpArgs("eve@example.com")); err == nil || err.Code != engine.CodeForbidden {
		t.Fatalf("%v", err)
	}
	if a.dump() != before {
		t.Error("something of the refused sign-up was kept")
	}
	ada := a.device().must(signUpArgs("ada@example.com"))
	if in := seen[1]; in.User == "" || !in.NewUser || in.Session != "" {
		t.Errorf("it saw %+v", in)
	}
	a.refreshWith(ada.refresh)
	if len(seen) != 2 {
		t.Error("it ran at a refresh")
	}
	// A refused sign-in leaves the session of who called alone.
	if _, err := ada.call(signUpArgs("eve@example.com")); err == nil {
		t.Fatal("not refused")
	}
	if a.me(ada.principal) != "Ada" {
		t.Error("the caller's session is gone")
	}
}

func TestCustomClaims(t *testing.T) {
	t.Parallel()
	role := "student"
	a := setup(t, func(s *settings) {
		s.auth.CustomClaims = func(_ engine.Reader, user, session string) (map[string]any, error) {
			if user == "" || session == "" {
				return nil, fmt.Errorf("user %q, session %q", user, session)
			}
			return map[string]any{"role": role, "n": 1}, nil
		}
	})
	d := a.device().must(signUpArgs("ada@example.com"))
	var got jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(d.token, &got); err != nil || got["role"] != "student" || got["sid"] == nil {
		t.Errorf("%v %v", got, err)
	}
	identity := func(p engine.Principal) (claims map[string]any) {
		err := a.db.View(context.Background(), func(tx *engine.ReadTx) error {
			who, err := p.Resolve(tx)
			if err == nil {
				claims = who.Claims
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return claims
	}
	if c := identity(a.principal(d.token)); c["role"] != "student" || len(c) != 2 {
		t.Errorf("Identity.Claims is %v", c)
	}
	// Callers are the same for as long as their claims are.
	key := d.principal.Key()
	args, _ := json.Marshal(map[string]string{"refreshToken": d.refresh})
	if d.must(string(args)); d.principal.Key() != key || a.principal(d.token).Key() != key {
		t.Error("a refresh that changed nothing made another caller")
	}
	role = "teacher"
	args, _ = json.Marshal(map[string]string{"refreshToken": d.refresh})
	if d.must(string(args)); d.principal.Key() == key || identity(d.principal)["role"] != "teacher" {
		t.Error("a refresh that changed the claims did not reach the connection")
	}
}

func TestClaimsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, custom := range map[string]map[string]any{
		"ours": {"sub": "somebody else"}, "the session": {"sid": "x"}, "ours to encoding/json": {"ſub": "somebody else"}, "no JSON": {"f": func() {}},
		"too many": {"x": strings.Repeat("x", 5000)},
	} {
		a := setup(t, func(s *settings) {
			s.auth.CustomClaims = func(engine.Reader, string, string) (map[string]any, error) { return custom, nil }
		})
		before := a.dump()
		if _, err := a.device().call(signUpArgs("ada@example.com")); err == nil || err.Code != engine.CodeInternal {
			t.Errorf("%s: %v", name, err)
		}
		if a.dump() != before {
			t.Errorf("%s: something was kept", name)
		}
		if !strings.Contains(a.log.String(), "CustomClaims") {
			t.Errorf("%s: the log does not say why", name)
		}
	}
}

// People see their own sessions, and end them: one, or all others.
func TestSessionsOfOnesOwn(t *testing.T) {
	t.Parallel()
	a := setup(t)
	first := a.device().must(signUpArgs("ada@example.com"))
	a.clock.advance(time.Hour)
	second := a.device().must(signInArgs("ada@example.com", secret))
	a.clock.advance(time.Second) // sessions that end at the same moment are in no order
	third := a.device().must(signInArgs("ada@example.com", secret))
	eve := a.device().must(signUpArgs("eve@example.com"))
	list := func(d *device) (out []authmod.SessionInfo) {
		t.Helper()
		raw, err := d.run(a.db.RunQuery, "auth:sessions", "{}")
		if err != nil || json.Unmarshal([]byte(raw), &out) != nil {
			t.Fatal(raw, err)
		}
		return out
	}
	a.clock.advance(time.Hour - time.Second)
	a.refreshWith(first.refresh)
	got := list(second)
	if len(got) != 3 || !got[1].Current || got[0].Current || got[2].Current || got[0].Provider != "password" {
		t.Fatalf("%+v", got)
	}
	if s := got[0]; s.LastUsed.Sub(s.Created).Round(time.Second) != 2*time.Hour || s.Ends.Sub(s.Created).Round(time.Second) != 90*24*time.Hour {
		t.Errorf("%+v", s)
	}
	end := func(d *device, id string) *engine.Error {
		_, err := d.run(a.db.RunMutation, "auth:revokeSession", fmt.Sprintf(`{"session":%q}`, id))
		return err
	}
	if err := end(eve, got[0].ID); err == nil || err.Code != engine.CodeNotFound || a.me(first.principal) != "Ada" {
		t.Errorf("somebody else's: %v", err)
	}
	if err := end(a.device(), got[0].ID); err == nil || err.Code != engine.CodeUnauthenticated {
		t.Errorf("by nobody: %v", err)
	}
	if err := end(second, "nonsense"); err == nil || err.Code != engine.CodeInvalid {
		t.Errorf("no session at all: %v", err)
	}
	if err := end(second, got[0].ID); err != nil || a.me(first.principal) != "" || a.me(third.principal) != "Ada" {
		t.Errorf("one: %v", err)
	}
	if a.refreshWith(first.refresh) != "" {
		t.Error("its refresh token is still good")
	}
	if _, err := third.run(a.db.RunMutation, "auth:revokeOtherSessions", "{}"); err != nil || a.me(second.principal) != "" || a.me(third.principal) != "Ada" {
		t.Errorf("the others: %v", err)
	}
	if a.me(eve.principal) == "" {
		t.Error("everybody's")
	}
	if got := list(third); len(got) != 1 || !got[0].Current {
		t.Errorf("%+v", got)
	}
	a.clock.advance(31 * 24 * time.Hour)
	p := a.device().must(signInArgs("ada@example.com", secret))
	if got := list(p); len(got) != 1 || !got[0].Current {
		t.Errorf("one that was not used for a month is listed: %+v", got)
	}
}
