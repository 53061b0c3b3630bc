package authmod_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

const key = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"

// keyed adds an idempotency key to the arguments of a sign-in.
func keyed(args, key string) string {
	var members map[string]any
	if err := json.Unmarshal([]byte(args), &members); err != nil {
		panic(err)
	}
	members["idempotencyKey"] = key
	out, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// refused says that a call got this code and changed nothing.
func (d *device) refused(args string, code engine.Code) {
	d.app.t.Helper()
	before := d.app.dump()
	if _, err := d.call(args); err == nil || err.Code != code {
		d.app.t.Errorf("got %v, want %s", err, code)
	}
	if d.app.dump() != before {
		d.app.t.Errorf("a call refused with %s has changed something", code)
	}
}

func TestSignUpSentAgain(t *testing.T) {
	t.Parallel()
	var signIns atomic.Int64
	a := setup(t, func(s *settings) {
		s.auth.OnSignIn = func(*engine.Tx, *authmod.SignInInfo) error { signIns.Add(1); return nil }
	})
	args := keyed(signUpArgs("ada@example.com"), key)
	lost := a.device().must(args) // nobody got this answer
	again := a.device().must(args)
	third := a.device().must(args)
	for _, name := range []string{"users", "authAccounts", "authSessions", "enrolments"} {
		if n := a.count(name); n != 1 {
			t.Errorf("%d documents in %s", n, name)
		}
	}
	if len(a.created) != 1 || signIns.Load() != 1 {
		t.Errorf("OnCreate ran %d times, OnSignIn %d times", len(a.created), signIns.Load())
	}
	if again.principal == nil || again.principal.Key() != lost.principal.Key() || a.me(a.principal(again.token)) != "Ada" {
		t.Error("it is not the session of the sign-up")
	}
	if again.token == lost.token || again.refresh == lost.refresh {
		t.Error("tokens were given twice")
	}
	// Whichever answer arrives after all, its tokens go on, and one's replay ends them all.
	for _, d := range []*device{lost, again, third} {
		next := a.refreshWith(d.refresh)
		if next == "" || a.refreshWith(next) == "" {
			t.Fatal("tokens cannot be refreshed")
		}
	}
	a.clock.advance(time.Minute)
	if a.refreshWith(again.refresh) != "" || a.refreshWith(third.refresh) != "" || a.count("authRefreshTokens") != 0 {
		t.Error("a replayed token leaves others of its session")
	}
}

// The key opens nothing: who sends a sign-up again proves the same password.
func TestKeyIsNoWayIn(t *testing.T) {
	t.Parallel()
	a := setup(t, func(s *settings) { s.password.MaxFailures = 3 })
	a.device().must(keyed(signUpArgs("ada@example.com"), key))
	a.device().must(keyed(signUpArgs("bob@example.com"), key+"b"))
	d := a.device()
	d.refused(signUpArgs("ada@example.com"), engine.CodeAlreadyExists)
	d.refused(keyed(signUpArgs("ada@example.com"), key+"c"), engine.CodeAlreadyExists)
	d.refused(keyed(signUpArgs("ada@example.com"), key+"b"), engine.CodeAlreadyExists)
	wrong := strings.Replace(keyed(signUpArgs("ada@example.com"), key), secret, "wrong "+secret, 1)
	for range 3 {
		d.refused(wrong, engine.CodeAlreadyExists)
	}
	// Guesses by way of it are guesses.
	d.refused(wrong, engine.CodeBusy)
	d.refused(signInArgs("ada@example.com", secret), engine.CodeBusy)
	a.clock.advance(time.Hour)
	d.must(keyed(signUpArgs("ada@example.com"), key))
	if strings.Contains(a.dump()+a.log.String(), key) {
		t.Error("the key is stored or logged")
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", 129)} {
		_, err := a.device().call(keyed(signUpArgs("eve@example.com"), bad))
		if err == nil || err.Code != engine.CodeInvalid || len(err.Issues) != 1 || err.Issues[0].Path != "idempotencyKey" {
			t.Errorf("key %q: %+v", bad, err)
		}
	}
	// It says nothing at a sign-in.
	a.device().must(keyed(signInArgs("bob@example.com", secret), key))
}

// A sign-up can be sent again for some time, and as long as there is the session that it made.
func TestSignUpSentAgainTooLate(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*app, *device){
		"a day later": func(a *app, _ *device) { a.clock.advance(24 * time.Hour) },
		"signed out":  func(_ *app, d *device) { d.signOut() },
		"revoked": func(a *app, d *device) {
			err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
				u, err := a.users.All(tx).First()
				if err != nil {
					return err
				}
				return a.auth.RevokeSessions(tx, string(u.ID), "")
			})
			if err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup(t)
			args := keyed(signUpArgs("ada@example.com"), key)
			d := a.device().must(args)
			a.device().must(args)
			end(a, d)
			a.device().refused(args, engine.CodeAlreadyExists)
		})
	}
	t.Run("longer than a session lasts unused", func(t *testing.T) {
		t.Parallel()
		a := setup(t, func(s *settings) { s.auth.IdleTTL = time.Hour })
		args := keyed(signUpArgs("ada@example.com"), key)
		a.device().must(args)
		a.clock.advance(time.Hour)
		a.device().refused(args, engine.CodeAlreadyExists)
	})
}

// What a sign-up noted goes away when its time is over and its user comes back.
func TestSignUpNoteIsClearedAway(t *testing.T) {
	t.Parallel()
	a := setup(t)
	noted := func() bool { return strings.Contains(a.dump(), `"signUp":{`) }
	a.device().must(keyed(signUpArgs("ada@example.com"), key))
	a.device().must(signInArgs("ada@example.com", secret))
	if !noted() {
		t.Fatal("nothing is noted, or not any more")
	}
	a.device().must(keyed(signUpArgs("ada@example.com"), key))
	a.clock.advance(24 * time.Hour)
	a.device().must(signInArgs("ada@example.com", secret))
	if noted() {
		t.Error("it is still there")
	}
}

// The first call may still be running when the client sends it again: whichever is first, all of them end signed in.
func TestSignUpSentAgainMeanwhile(t *testing.T) {
	t.Parallel()
	a := setup(t)
	const n = 8
	args := keyed(signUpArgs("ada@example.com"), key)
	devices := make(chan *device, n)
	for range n {
		go func() {
			d := a.device()
			if out, err := d.call(args); err != nil || out.Tokens == nil {
				t.Errorf("%v %v", out.raw, err)
			}
			devices <- d
		}()
	}
	var keys []string
	for range n {
		d := <-devices
		if d.principal == nil {
			t.Fatal("not signed in")
		}
		keys = append(keys, d.principal.Key())
		if a.refreshWith(d.refresh) == "" {
			t.Error("one takes another's tokens away")
		}
	}
	// OnCreate may have run for attempts that met a conflict, of which nothing is kept: what counts is what it has stored.
	if slices.Sort(keys); len(slices.Compact(keys)) != 1 || a.count("users") != 1 || a.count("enrolments") != 1 {
		t.Errorf("sessions %v, %d users, %d enrolments", keys, a.count("users"), a.count("enrolments"))
	}
}

// A refusal is not remembered: the same key may come with a better form.
func TestRefusedSignUpSentAgain(t *testing.T) {
	t.Parallel()
	a := setup(t)
	args := keyed(signUpArgs("ada@example.com"), key)
	unknown := strings.Replace(args, `"course":"go"`, `"course":"unknown"`, 1)
	d := a.device()
	d.refused(unknown, "no_such_course")
	d.refused(unknown, "no_such_course")
	d.must(args)
}

// The session of who signed up as somebody else ends with the sign-up, and with what is sent again.
func TestSignUpSentAgainReplacesTheSession(t *testing.T) {
	t.Parallel()
	a := setup(t)
	args := keyed(signUpArgs("ada@example.com"), key)
	a.device().must(args)
	bob := a.device().must(signUpArgs("bob@example.com"))
	before := bob.principal
	bob.must(args)
	if a.me(before) != "" {
		t.Error("the session before has not ended")
	}
	// On the connection that is that session already, it goes on.
	bob.must(args)
	if a.me(bob.principal) != "Ada" {
		t.Error("the session has ended itself")
	}
}
