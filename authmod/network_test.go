package authmod_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

func TestNetworkOf(t *testing.T) {
	t.Parallel()
	if got := authmod.NetworkOf(netip.Addr{}); got != "" {
		t.Errorf("nowhere is %q", got)
	}
	for addr, want := range map[string]string{
		"192.0.2.1":               "192.0.2.1",
		"::ffff:192.0.2.1":        "192.0.2.1",
		"::ffff:192.0.2.1%eth0":   "192.0.2.1",
		"2001:db8:1:2::1":         "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::9":    "2001:db8:1:2::/64",
		"2001:db8:1:3::1":         "2001:db8:1:3::/64",
		"fe80::1%eth0":            "fe80::/64",
		"::1":                     "::/64",
		"::192.0.2.1":             "::/64",
		"64:ff9b::192.0.2.1":      "64:ff9b::/64",
		"2001:db8:1:2:0:0:0:0":    "2001:db8:1:2::/64",
		"2001:db8:1:2:3:4:5:6%en": "2001:db8:1:2::/64",
	} {
		if got := authmod.NetworkOf(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is of %s, want %s", addr, got, want)
		}
	}
}

// from calls auth:signIn from an address; "" is nowhere.
func (a *app) from(addr, args string) *engine.Error {
	a.t.Helper()
	call := engine.Call{Function: "auth:signIn", Args: json.RawMessage(args)}
	if addr != "" {
		call.Remote = netip.MustParseAddr(addr)
	}
	_, err := a.db.RunAction(context.Background(), call)
	var e *engine.Error
	if err != nil && !errors.As(err, &e) {
		a.t.Fatalf("auth:signIn: %v", err)
	}
	return e
}

// wants fails the test unless a call from an address was answered with a code, "" for success.
func (a *app) wants(code engine.Code, addr, args string) *engine.Error {
	a.t.Helper()
	err := a.from(addr, args)
	if code == "" && err != nil || code != "" && (err == nil || err.Code != code) {
		a.t.Errorf("%s from %q: %v, want code %q", args, addr, err, code)
	}
	return err
}

func retryAfter(t *testing.T, e *engine.Error) int {
	t.Helper()
	var data struct {
		RetryAfter int `json:"retryAfter"`
	}
	b, err := json.Marshal(e)
	if err == nil {
		err = json.Unmarshal(b, &struct{ Data any }{&data})
	}
	if err != nil {
		t.Fatal(err)
	}
	return data.RetryAfter
}

func perNetwork(n int) func(*settings) {
	return func(s *settings) { s.auth.MaxFailuresPerNetwork = n }
}

// One password tried on many accounts, of which each sees one failure: the network is stopped, and it alone.
func TestSprayingIsStoppedByNetwork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ same, other []string }{
		"IPv4": {
			[]string{"192.0.2.7", "::ffff:192.0.2.7", "::ffff:192.0.2.7%eth0"},
			[]string{"192.0.2.8", "::ffff:192.0.2.8", "2001:db8::1", ""},
		},
		"IPv6": {
			[]string{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2:abcd::%eth0"},
			[]string{"2001:db8:1:3::1", "192.0.2.8", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup(t, perNetwork(6))
			a.device().must(signUpArgs("ada@example.com"))
			a.wants(engine.CodeUnauthenticated, c.same[0], signInArgs("ada@example.com", "wrong password"))
			for i := range 5 { // whether there are such accounts or not
				a.wants(engine.CodeUnauthenticated, c.same[i%len(c.same)], signInArgs(fmt.Sprintf("user%d@example.com", i), secret))
			}
			for _, addr := range c.same {
				err := a.wants(engine.CodeBusy, addr, signInArgs("ada@example.com", secret))
				if n := retryAfter(t, err); n != 600 {
					t.Errorf("retryAfter %d, want 600", n)
				}
				a.wants(engine.CodeBusy, addr, signInArgs("nobody@example.com", secret))
			}
			for _, addr := range c.other {
				a.wants("", addr, signInArgs("ada@example.com", secret))
			}
			a.clock.advance(10 * time.Minute)
			a.wants("", c.same[0], signInArgs("ada@example.com", secret))
		})
	}
}

// Signing in to an account of one's own in between gives no more guesses at others.
func TestOwnSuccessDoesNotClearTheNetwork(t *testing.T) {
	t.Parallel()
	a := setup(t, perNetwork(4))
	a.device().must(signUpArgs("mallory@example.com"))
	a.device().must(signUpArgs("ada@example.com"))
	for i := range 4 {
		a.wants(engine.CodeUnauthenticated, "192.0.2.1", signInArgs(fmt.Sprintf("user%d@example.com", i), secret))
		if i < 3 {
			a.wants("", "192.0.2.1", signInArgs("mallory@example.com", secret))
			a.wants("", "192.0.2.1", signUpArgs(fmt.Sprintf("throwaway%d@example.com", i)))
		}
	}
	a.wants(engine.CodeBusy, "192.0.2.1", signInArgs("ada@example.com", secret))
	a.wants(engine.CodeBusy, "192.0.2.1", signUpArgs("throwaway@example.com"))
}

// A class behind one address: nothing fails, so nothing counts, one after the other or all at once.
func TestAClassBehindOneAddress(t *testing.T) {
	t.Parallel()
	const pupils = 200
	a := setup(t, perNetwork(3))
	errs := make(chan *engine.Error, pupils)
	for i := range pupils {
		go func() { errs <- a.from("192.0.2.1", signUpArgs(fmt.Sprintf("pupil%d@example.com", i))) }()
	}
	for range pupils {
		if err := <-errs; err != nil {
			t.Fatalf("a pupil is refused: %s %v", err.Code, err)
		}
	}
	for i := range 20 {
		a.wants("", "192.0.2.1", signInArgs(fmt.Sprintf("pupil%d@example.com", i), secret))
	}
}

// Asking which addresses are taken is stopped by network too.
func TestTakenAddressesCountForTheNetwork(t *testing.T) {
	t.Parallel()
	a := setup(t, perNetwork(3))
	a.device().must(signUpArgs("ada@example.com"))
	for range 3 {
		a.wants(engine.CodeAlreadyExists, "192.0.2.1", signUpArgs("ada@example.com"))
	}
	a.wants(engine.CodeBusy, "192.0.2.1", signUpArgs("ada@example.com"))
	a.wants(engine.CodeAlreadyExists, "192.0.2.2", signUpArgs("ada@example.com"))
}

// Guesses made all at once are not more than the limit and those that were verified at the same time.
func TestParallelGuessesOfANetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const failures, slots = 5, 2
		crypto := &heldCrypto{Argon2id: cheap, hold: make(chan struct{})}
		a := setup(t, perNetwork(failures), func(s *settings) {
			s.password.MaxConcurrentHashes = slots
			s.password.Crypto = crypto
		})
		var all sync.WaitGroup
		for i := range 150 {
			all.Go(func() { a.from("192.0.2.1", signInArgs(fmt.Sprintf("user%d@example.com", i), secret)) })
		}
		synctest.Wait() // all have begun; some are being verified, the others wait for their turn
		close(crypto.hold)
		all.Wait()
		if n := crypto.verified.Load(); n < failures || n > failures+slots-1 {
			t.Errorf("%d guesses were verified", n)
		}
	})
}

type heldCrypto struct {
	password.Argon2id
	hold     chan struct{}
	verified atomic.Int64
}

func (c *heldCrypto) Verify(hash, pw string) (bool, error) {
	<-c.hold
	c.verified.Add(1)
	return c.Argon2id.Verify(hash, pw)
}

func TestNetworksWithoutLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit int
		addr  string
	}{{-1, "192.0.2.1"}, {2, ""}} {
		a := setup(t, perNetwork(c.limit))
		for i := range 20 {
			a.wants(engine.CodeUnauthenticated, c.addr, signInArgs(fmt.Sprintf("user%d@example.com", i), secret))
		}
	}
	a := setup(t) // the default
	for i := range 101 {
		want := engine.CodeUnauthenticated
		if i == 100 {
			want = engine.CodeBusy
		}
		a.wants(want, "192.0.2.1", signInArgs(fmt.Sprintf("user%d@example.com", i), secret))
	}
}

// mailer is a module that would send mail, and that has a code to guess.
type mailer struct{ name string }

func (m mailer) Provider() string     { return m.name }
func (mailer) Attach(h *authmod.Host) {}

func (mailer) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	to, _ := a.Param("email")
	if a.Flow() == "guess" {
		g, err := a.Guard(nil, "")
		if err != nil {
			return authmod.Answer{}, err
		}
		defer g.End()
		g.Fail()
		return authmod.SignedOut(), nil
	}
	return authmod.Started(), a.AllowSend(to)
}

func mailArgs(provider, flow, to string) string {
	return fmt.Sprintf(`{"provider":%q,"params":{"flow":%q,"email":%q}}`, provider, flow, to)
}

func mailers(s *settings) { s.modules = []authmod.Module{mailer{"mail"}, mailer{"links"}} }

// Failures count for the network whatever the module, also those that are about no account.
func TestModulesShareTheLimitOfANetwork(t *testing.T) {
	t.Parallel()
	a := setup(t, perNetwork(3), mailers)
	a.wants("", "192.0.2.1", mailArgs("mail", "guess", ""))
	a.wants("", "192.0.2.1", mailArgs("links", "guess", ""))
	a.wants(engine.CodeUnauthenticated, "192.0.2.1", signInArgs("ada@example.com", secret))
	a.wants(engine.CodeBusy, "192.0.2.1", mailArgs("mail", "guess", ""))
	a.wants(engine.CodeBusy, "192.0.2.1", signInArgs("ada@example.com", secret))
	a.wants("", "192.0.2.2", mailArgs("mail", "guess", ""))
}

func TestSendingIsLimited(t *testing.T) {
	t.Parallel()
	a := setup(t, mailers, func(s *settings) { s.auth.MaxSendsPerNetwork = 8 })
	send := func(i int) string { return mailArgs([]string{"mail", "links"}[i%2], "", "ada@example.com") }
	for i := range 5 {
		a.wants("", fmt.Sprintf("192.0.2.%d", i), send(i))
	}
	err := a.wants(engine.CodeBusy, "192.0.2.9", send(0)) // from wherever
	if n := retryAfter(t, err); n != 720 {
		t.Errorf("retryAfter %d, want 720", n)
	}
	a.wants(engine.CodeBusy, "", send(0))
	for i := range 8 { // what was refused did not count for the network
		a.wants("", "192.0.2.9", mailArgs("mail", "", fmt.Sprintf("user%d@example.com", i)))
	}
	for range 5 { // and what the network was refused does not count for the address
		a.wants(engine.CodeBusy, "::ffff:192.0.2.9", mailArgs("mail", "", "bob@example.com"))
	}
	a.wants("", "192.0.2.10", mailArgs("mail", "", "bob@example.com"))
	a.clock.advance(12 * time.Minute)
	a.wants("", "192.0.2.9", send(0))
	a.wants(engine.CodeBusy, "192.0.2.10", send(0))
}

// However many ask at once, no more is sent than the limit says.
func TestSendingAtOnceIsLimited(t *testing.T) {
	t.Parallel()
	a := setup(t, mailers)
	count := func(args func(i int) (addr, to string)) (sent int64) {
		var n atomic.Int64
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				addr, to := args(i)
				if a.from(addr, mailArgs("mail", "", to)) == nil {
					n.Add(1)
				}
			})
		}
		all.Wait()
		return n.Load()
	}
	if n := count(func(i int) (string, string) { return fmt.Sprintf("192.0.2.%d", i), "ada@example.com" }); n != 5 {
		t.Errorf("%d were sent to one address, want 5", n)
	}
	if n := count(func(i int) (string, string) { return "2001:db8::1", fmt.Sprintf("user%d@example.com", i) }); n != 50 {
		t.Errorf("%d were sent for one network, want 50", n)
	}
}
