package engine_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// An action knows where its call came from, in one form; nobody else has an address.
func TestRemote(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	seen := make(chan netip.Addr, 1)
	look := engine.Action(s, "remote:look", func(c *engine.ActionCtx, _ struct{}) (bool, error) {
		seen <- c.Remote()
		return c.Remote().IsValid(), nil
	})
	engine.Mutation(s, "remote:schedule", func(tx *engine.Tx, _ struct{}) (bool, error) {
		_, err := look.Schedule(tx, 0, struct{}{})
		return true, err
	})
	db := enginetest.Open(t, s)
	for given, want := range map[string]netip.Addr{
		"":                        {},
		"192.0.2.1":               netip.MustParseAddr("192.0.2.1"),
		"::ffff:192.0.2.1":        netip.MustParseAddr("192.0.2.1"),
		"fe80::1%eth0":            netip.MustParseAddr("fe80::1"),
		"::ffff:192.0.2.1%eth0":   netip.MustParseAddr("192.0.2.1"),
		"2001:db8:0:0:0:0:0:0001": netip.MustParseAddr("2001:db8::1"),
	} {
		c := engine.Call{Function: "remote:look"}
		if given != "" {
			c.Remote = netip.MustParseAddr(given)
		}
		if _, err := db.Run(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != want {
			t.Errorf("called from %q: %v, want %v", given, got, want)
		}
	}
	// A job is nobody's call, whoever scheduled it.
	c := engine.Call{Function: "remote:schedule", Remote: netip.MustParseAddr("192.0.2.1")}
	if _, err := db.RunMutation(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got.IsValid() {
		t.Errorf("a job came from %v", got)
	}
}
