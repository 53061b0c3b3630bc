package authmod_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
)

// A sign-in leaves a document until its session's end, so there is an end to those of one user.
func TestSessionsOfAUserAreBounded(t *testing.T) {
	t.Parallel()
	const most = 256
	in := as("one", "either", "1", "", "")
	sessions := func(l *linking) int {
		t.Helper()
		n, err := l.auth.Counts(l.db)
		if err != nil {
			t.Fatal(err)
		}
		return n["authSessions"]
	}
	t.Run("on one device", func(t *testing.T) {
		t.Parallel()
		l := linkingApp(t)
		other, d := l.device().must(in), l.device()
		for range most + 50 {
			if d.must(in); sessions(l) > most {
				t.Fatalf("%d sessions", sessions(l))
			}
		}
		if d.who() == "" || other.who() != d.who() {
			t.Error("a session that goes on made room for those that were over")
		}
	})
	t.Run("on many", func(t *testing.T) {
		t.Parallel()
		l := linkingApp(t)
		eve := l.device().must(as("one", "either", "2", "", ""))
		var devices []*device
		for range most + 2 {
			devices = append(devices, l.device().must(in))
		}
		if n := sessions(l); n != most+1 {
			t.Errorf("%d sessions", n)
		}
		for i, d := range devices {
			if gone := d.who() == ""; gone != (i < 2) {
				t.Errorf("device %d: gone is %v", i, gone)
			}
		}
		if eve.who() == "" {
			t.Error("somebody else's session is gone")
		}
		if out, err := l.device().call(`{"refreshToken":"` + devices[0].refresh + `"}`); err != nil || out.raw != `{"tokens":null}` {
			t.Errorf("refresh of one that is gone: %s %v", out.raw, err)
		}
		var list []authmod.SessionInfo
		raw, err := devices[5].run(l.db.RunQuery, "auth:sessions", "{}")
		if err != nil || json.Unmarshal([]byte(raw), &list) != nil || len(list) != most {
			t.Errorf("%d are listed: %v", len(list), err)
		}
	})
	t.Run("one that nobody uses first", func(t *testing.T) {
		t.Parallel()
		a := setup(t, func(s *settings) { s.modules = []authmod.Module{&proofModule{name: "one"}} })
		first := a.device().must(signUpArgs("ada@example.com"))
		must := func(d *device) *device { return d.must(signInArgs("ada@example.com", secret)) }
		idle := must(a.device())
		a.clock.advance(29 * 24 * time.Hour)
		first.must(`{"refreshToken":"` + first.refresh + `"}`)
		a.clock.advance(2 * 24 * time.Hour)
		for range most - 1 {
			must(a.device())
		}
		if a.me(first.principal) == "" || a.me(idle.principal) != "" {
			t.Error("the wrong one made room")
		}
		if a.refreshWith(first.refresh) == "" {
			t.Error("the one that was used does not go on")
		}
	})
}
