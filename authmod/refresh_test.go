package authmod_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
)

// A step of a refresh scenario presents a token after some time has passed. Tokens are named by letters in the order in which
// they were given: sign-up gives "a", the first exchange "b", and so on. An exchange that is refused gives nothing.
type step struct {
	after   time.Duration
	present string
	refused bool
}

func TestRotation(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		steps []step
		ended bool // the session, at the end
	}{
		"one after the other": {steps: []step{
			{time.Minute, "a", false}, {time.Minute, "b", false}, {time.Minute, "c", false},
		}},
		"within the window, any number of times": {steps: []step{
			{0, "a", false}, {time.Second, "a", false}, {9 * time.Second, "a", false}, {0, "b", false}, {0, "c", false}, {0, "d", false},
		}},
		"within the window though the successor was used": {steps: []step{
			{0, "a", false}, {time.Second, "b", false}, {9 * time.Second, "a", false},
		}},
		"long after, since the answer was lost": {steps: []step{
			{0, "a", false}, {time.Hour, "a", false}, {time.Minute, "c", false},
		}},
		"again long after, while all successors are unused": {steps: []step{
			{0, "a", false}, {time.Hour, "a", false}, {time.Hour, "a", false},
		}},
		"replayed after the successor was used": {ended: true, steps: []step{
			{0, "a", false}, {time.Second, "b", false}, {10 * time.Second, "a", true}, {0, "c", true},
		}},
		"replayed after a sibling's use": {ended: true, steps: []step{
			{0, "a", false}, {time.Second, "a", false}, {time.Second, "c", false}, {time.Minute, "a", true}, {0, "b", true}, {0, "d", true},
		}},
		"replayed many generations later, when its document is gone": {ended: true, steps: []step{
			{0, "a", false}, {time.Minute, "b", false}, {time.Minute, "c", false}, {time.Minute, "d", false}, {time.Minute, "a", true}, {0, "e", true},
		}},
		"idle for too long": {steps: []step{
			{29 * 24 * time.Hour, "a", false}, {30 * 24 * time.Hour, "b", true}, {time.Hour, "b", true},
		}},
		"at the absolute end": {steps: []step{
			{29 * 24 * time.Hour, "a", false}, {29 * 24 * time.Hour, "b", false}, {29 * 24 * time.Hour, "c", false}, {3 * 24 * time.Hour, "d", true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup(t)
			d := a.device().must(signUpArgs("ada@example.com"))
			given := []string{d.refresh}
			for i, s := range test.steps {
				a.clock.advance(s.after)
				got := a.refreshWith(given[s.present[0]-'a'])
				if (got == "") != s.refused {
					t.Fatalf("step %d, token %s: refused is %v, want %v", i, s.present, got == "", s.refused)
				}
				if got != "" {
					for _, earlier := range given {
						if got == earlier {
							t.Fatalf("step %d gave a token a second time", i)
						}
					}
					given = append(given, got)
				}
			}
			if ended := a.me(d.principal) == ""; ended != test.ended {
				t.Errorf("the session has ended: %v, want %v", ended, test.ended)
			}
		})
	}
}

// Tokens that are not ours, or not any more, change nothing and are no errors.
func TestUselessRefreshTokens(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	before := a.dump()
	for _, s := range []string{
		"", "x", strings.Repeat("A", 64), strings.Repeat("A", 63), strings.Repeat("=", 64), strings.Repeat("é", 32), "\x00",
		strings.Repeat("A", 100_000), d.token,
		strings.Repeat("A", 22) + d.refresh[22:], // the right token in another family
	} {
		if a.refreshWith(s) != "" {
			t.Errorf("%.20q… was taken", s)
		}
	}
	if a.dump() != before {
		t.Error("the store has changed")
	}
	if a.refreshWith(d.refresh) == "" {
		t.Error("the real one is not good any more")
	}
}

// Whoever knows the family's part has held a token of the session: a made-up rest is taken for a replay.
func TestForgedMemberOfAFamily(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	if a.refreshWith(d.refresh[:24]+strings.Repeat("B", 40)) != "" {
		t.Fatal("a made-up token was taken")
	}
	if a.me(d.principal) != "" {
		t.Error("the session goes on")
	}
}

func TestRefreshRerunsNothing(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	touched := a.watchMe(d.principal)
	refresh := d.refresh
	for range 5 {
		a.clock.advance(15 * time.Minute)
		refresh = a.refreshWith(refresh)
	}
	if touched() {
		t.Error("a live query that read the identity was touched by a refresh")
	}
	a.device().must(signInArgs("ada@example.com", secret))
	if touched() {
		t.Error("and by another device's sign-in")
	}
}

// A refreshed token is the same caller until a later time, and no two tokens are equal even within one second.
func TestRefreshedPrincipal(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	was := d.principal
	tokens := map[string]bool{d.token: true}
	for i := range 3 {
		d.must(`{"refreshToken":"` + d.refresh + `"}`)
		if tokens[d.token] {
			t.Error("an access token was given twice")
		}
		tokens[d.token] = true
		if d.principal.Key() != was.Key() {
			t.Errorf("the caller's key went from %s to %s", was.Key(), d.principal.Key())
		}
		a.clock.advance(time.Duration(i) * time.Minute)
	}
	type expirer interface{ Expires() time.Time }
	if !d.principal.(expirer).Expires().After(was.(expirer).Expires()) {
		t.Error("the connection's caller expires when it did")
	}
}

// One device's refresh does not change who another's connection is.
func TestRefreshOnAnothersConnection(t *testing.T) {
	t.Parallel()
	a := setup(t)
	ada := a.device().must(signUpArgs("ada@example.com"))
	bob := a.device().must(params("signUp", map[string]any{"email": "bob@example.com", "password": secret, "nickname": "Bob", "course": "go"}))
	bob.must(`{"refreshToken":"` + ada.refresh + `"}`)
	if got := a.me(bob.principal); got != "Bob" {
		t.Errorf("Bob's connection runs as %q", got)
	}
	nobody := a.device().must(`{"refreshToken":"` + ada.refresh + `"}`)
	if nobody.principal != nil {
		t.Error("a refresh signs a connection in")
	}
}

func TestParallelRefreshes(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	const n = 20
	got := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { got[i] = a.refreshWith(d.refresh) })
	}
	all.Wait()
	for i, s := range got {
		if s == "" {
			t.Fatalf("tab %d was refused", i)
		}
		if a.refreshWith(s) == "" {
			t.Errorf("what tab %d got is not good", i)
		}
	}
	if a.me(d.principal) != "Ada" {
		t.Error("the session has ended")
	}
}

func TestFamilyIsBounded(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	var last string
	for range 3 * authmod.MaxFamily {
		last = a.refreshWith(d.refresh)
	}
	if n := a.count("authRefreshTokens"); n > authmod.MaxFamily {
		t.Errorf("%d tokens from presenting one again and again", n)
	}
	refresh := last
	for i := range 100 {
		a.clock.advance(time.Minute)
		if refresh = a.refreshWith(refresh); refresh == "" {
			t.Fatalf("refused at %d", i)
		}
	}
	if n := a.count("authRefreshTokens"); n > authmod.MaxFamily {
		t.Errorf("%d tokens after a day", n)
	}
	fresh := a.device().must(signInArgs("ada@example.com", secret))
	before := a.count("authRefreshTokens")
	refresh = fresh.refresh
	for range 50 {
		a.clock.advance(time.Minute)
		refresh = a.refreshWith(refresh)
	}
	if n := a.count("authRefreshTokens") - before; n > 2 {
		t.Errorf("an orderly session keeps %d more documents than at its start", n)
	}
}

// Sessions whose time is over are cleared away within the hour, however many there are; those that go on stay.
func TestEndedSessionsAreClearedAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := setup(t, func(s *settings) { s.realTime, s.auth.SessionTTL = true, 48*time.Hour })
		a.device().must(signUpArgs("ada@example.com"))
		for range 249 {
			a.device().must(signInArgs("ada@example.com", secret))
		}
		time.Sleep(24 * time.Hour)
		late := a.device().must(signInArgs("ada@example.com", secret))
		if s, r := a.count("authSessions"), a.count("authRefreshTokens"); s != 251 || r != 251 {
			t.Errorf("before their end: %d sessions, %d refresh tokens", s, r)
		}
		time.Sleep(26 * time.Hour)
		if s, r := a.count("authSessions"), a.count("authRefreshTokens"); s != 1 || r != 1 {
			t.Errorf("after it: %d sessions, %d refresh tokens", s, r)
		}
		if a.me(late.principal) != "Ada" {
			t.Error("a session that goes on was cleared away")
		}
		if err := a.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRefreshLogNamesTheReason(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	b := a.refreshWith(d.refresh)
	a.refreshWith(b)
	a.clock.advance(time.Minute)
	a.refreshWith(d.refresh)
	for _, reason := range []string{"presented again after its use"} {
		if !strings.Contains(a.log.String(), reason) {
			t.Errorf("the log does not say %q:\n%s", reason, a.log.String())
		}
	}
	if s := fmt.Sprint(d.principal.Key()); !strings.Contains(a.log.String(), strings.TrimPrefix(s, "session:")) {
		t.Error("nor which session it was")
	}
}
