package subscriptions_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	ann, bob := h.signIn("ann"), h.signIn("bob")
	c := h.connect()
	c.authenticate(ann)
	c.watch(0, "users:me", `{}`, 1, "notes:any", `{"room":"r"}`)
	c.until("the results", func() bool { return len(c.values) == 2 })
	if c.values[0] != `"ann"` || c.version.Identity != 1 {
		t.Fatalf("%v at %+v", c.values, c.version)
	}
	c.authenticate(bob)
	c.expect(`T 1.2 0="bob"`)
	c.authenticate("")
	c.expect(`T 1.3 0="nobody"`)
	c.authenticate(ann)
	c.mutate(0, "notes:add", `{"room":"r","text":"a"}`)
	c.done(0)
	if c.values[1] != "true" || c.values[0] != `"ann"` {
		t.Errorf("values %v", c.values)
	}
	c.authenticate("")
	c.expect(`T 1.5 0="nobody"`)
}

// Who a request runs as is settled by its place among the messages, not by when it gets its turn.
func TestRequestsRunAsWhoTheSocketWas(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	g := h.app.gate("hold")
	c.mutate(0, "notes:addGated", `{"room":"r","text":"hold"}`)
	c.authenticate(h.signIn("ann"))
	c.mutate(1, "notes:add", `{"room":"r","text":"x"}`)
	c.authenticate("")
	c.mutate(2, "notes:add", `{"room":"r","text":"x"}`)
	waitFor(t, "the first", g.entered)
	close(g.open)
	var got []string
	for len(got) < 3 {
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		if s := describe(m); s[0] == 'M' {
			got = append(got, s)
		}
	}
	if want := `[M 0 "hold" M 1 "ann" M 2 "nobody"]`; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A new token of the same session is confirmed, and nothing is run again.
func TestNewTokenOfTheSameSession(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	token := h.signIn("ann")
	c := h.connect()
	c.authenticate(token + "/4000000000")
	c.watch(0, "users:me", `{}`)
	c.until("the result", func() bool { return c.values[0] == `"ann"` })
	before := h.srv.Stats().Evaluations
	c.authenticate(token + "/4000000001")
	c.expect("T 1.2")
	if got := h.srv.Stats().Evaluations - before; got != 0 {
		t.Errorf("%d evaluations", got)
	}
}

func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	ended := h.signIn("ann")
	h.endSession(ended)
	for _, token := range []string{"nonsense", "broken", ended, h.signIn("bob") + "/1000", "key"} {
		c := h.connect()
		c.watch(0, "users:me", `{}`)
		c.expect(`T 1.0 0="nobody"`)
		if token == "key" {
			c.send(&wire.Authenticate{TokenType: wire.TokenAdmin, Value: token})
		} else {
			c.authenticate(token)
		}
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		e, ok := m.(*wire.AuthError)
		if !ok || !e.AuthUpdateAttempted || e.BaseVersion != 0 || e.Error == "" || e.Error == "a secret reason" {
			t.Errorf("%s: %+v", token, m)
		}
		// The version did not move, and the client goes on from its own.
		c.auth = 1
		c.authenticate(h.signIn("cy"))
		c.expect(`T 1.2 0="cy"`)
	}
}

// A server without an Authenticator signs nobody in.
func TestWithoutAuthenticator(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	bare := subscriptions.New(h.db, subscriptions.Options{})
	t.Cleanup(func() { _ = bare.Close() })
	h.serveInstead(bare)
	c := h.connect()
	c.authenticate("x")
	c.expect("AuthError 0 true")
}

// After a refusal, what the client sends waits: it will come back with another token, and must not find that its mutation
// was run as nobody.
func TestRequestsWaitAfterARefusal(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := setup(t, subscriptions.Options{Clock: clock})
	c := h.connect()
	c.authenticate("nonsense")
	c.mutate(0, "notes:add", `{"room":"r","text":"x"}`)
	c.act(0, "actions:add", `{"room":"r","text":"x"}`)
	c.expect("AuthError 0 true")
	c.watch(0, "users:me", `{}`)
	c.expect(`T 1.0 0="nobody"`) // and neither answer before it
	c.authenticate(h.signIn("ann"))
	seen := map[string]bool{}
	for !seen[`M 0 "ann"`] || !seen[`A 0 "ann"`] {
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		s := describe(m)
		if s[0] != 'T' && s != `M 0 "ann"` && s != `A 0 "ann"` {
			t.Fatalf("got %s", s)
		}
		seen[s] = true
	}

	// A client that does not come back gets its answers in the end.
	d := h.connect()
	d.authenticate("nonsense")
	d.mutate(0, "notes:add", `{"room":"r","text":"x"}`)
	d.watch(0, "users:me", `{}`)
	d.expect("AuthError 0 true", `T 1.0 0="nobody"`)
	clock.advance(11 * time.Second)
	d.done(0)
}

// Sign-in by an action binds the socket: the queries have changed when the answer comes, what is sent after it runs as the
// user, and the identity version stays until a token is presented.
func TestSignInBindsTheSocket(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch(0, "users:me", `{}`, 1, "notes:mine", `{"room":"r"}`)
	c.expect(`T 1.0 0="nobody" 1="nobody:"`)
	c.act(0, "auth:signIn", `{"user":"ann"}`)
	c.expect(`T 1.0 0="ann" 1="ann:"`, `A 0 "ann"`)
	c.mutate(1, "notes:add", `{"room":"r","text":"x"}`)
	c.done(1)
	if c.values[1] != `"ann:x"` {
		t.Errorf("values %v", c.values)
	}
	c.act(2, "actions:add", `{"room":"other","text":"x"}`)
	c.expect(`A 2 "ann"`)

	close(h.app.gate("signOut").open)
	c.act(3, "auth:signOut", `{}`)
	c.expect(`A 3 "out"`, `T 1.0 0="nobody" 1="nobody:x"`)
	c.quiet() // and no AuthError
}

// A failed sign-in changes nothing.
func TestFailedSignIn(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.authenticate(h.signIn("ann"))
	c.watch(0, "users:me", `{}`)
	c.until("the result", func() bool { return c.values[0] == `"ann"` })
	c.act(0, "auth:signIn", `{"user":7}`)
	c.expect("A 0 !invalid")
	c.mutate(1, "notes:add", `{"room":"r","text":"x"}`)
	c.expect(`M 1 "ann"`)
}

// A client that signs out knows that it has: it gets no AuthError, although its session is found ended before the answer, and
// its queries do not change to what nobody sees before it has the answer. On another device the AuthError comes first: a client
// that still took itself for signed in would show that its queries are refused.
func TestSignOutIsNoAuthError(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := setup(t, subscriptions.Options{Clock: clock})
	token := h.signIn("ann")
	c, other := h.connect(), h.connect()
	for _, d := range []*client{c, other} {
		d.authenticate(token)
		d.watch(0, "users:me", `{}`)
		d.until("the result", func() bool { return d.values[0] == `"ann"` && d.version.Identity == 1 })
	}
	c.act(0, "auth:signOut", `{}`)
	other.expect("AuthError 1 false")
	clock.advance(3 * time.Second)
	other.expect(`T 1.1 0="nobody"`) // the version stays
	c.quiet()
	close(h.app.gate("signOut").open)
	c.expect(`A 0 "out"`, `T 1.1 0="nobody"`)
	c.quiet()
	other.quiet()
	other.mutate(0, "notes:add", `{"room":"r","text":"x"}`)
	other.expect(`M 0 "nobody"`)
}

// A session that is ended from elsewhere while an unrelated action runs: the client learns of it when that has ended, or
// after a while, and until then hears nothing that is new.
func TestRevocationDuringAnAction(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := setup(t, subscriptions.Options{Clock: clock})
	for _, patient := range []bool{true, false} {
		token := h.signIn("ann")
		c := h.connect()
		c.authenticate(token)
		c.watch(0, "users:me", `{}`)
		c.until("the result", func() bool { return c.values[0] == `"ann"` && c.version.Identity == 1 })
		name := fmt.Sprint("patient", patient)
		c.act(0, "actions:gated", `{"gate":"`+name+`"}`)
		waitFor(t, "the action", h.app.gate(name).entered)
		other := h.connect()
		other.authenticate(token)
		other.watch(0, "users:me", `{}`)
		other.until("the result", func() bool { return other.values[0] == `"ann"` && other.version.Identity == 1 })
		h.endSession(token)
		other.expect("AuthError 1 false")
		// What it sends runs as nobody already.
		c.mutate(1, "notes:add", `{"room":"r","text":"x"}`)
		c.expect(`M 1 "nobody"`)
		if patient {
			close(h.app.gate(name).open)
			c.expect(`A 0 "`+name+`"`, "AuthError 1 false")
			c.quiet()
			clock.advance(3 * time.Second)
			c.expect(`T 1.1 0="nobody"`)
			continue
		}
		clock.advance(6 * time.Second)
		c.expect("AuthError 1 false")
		c.quiet()
		clock.advance(3 * time.Second)
		c.expect(`T 1.1 0="nobody"`)
		close(h.app.gate(name).open)
		c.expect(`A 0 "` + name + `"`)
		c.quiet()
	}
}

// A session that ends while the client waits for its new token to be confirmed, which makes it deaf for an AuthError of the kind
// that ends are told by: the token is confirmed by itself, the end told, and the queries change only when the client has had time
// to leave, or comes back with another token.
func TestRevocationDuringAnAuthenticate(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := setup(t, subscriptions.Options{Clock: clock})
	token := h.signIn("ann")
	c := h.connect()
	c.authenticate(token + "/4000000000")
	c.watch(0, "users:me", `{}`)
	c.until("the result", func() bool { return c.values[0] == `"ann"` && c.version.Identity == 1 })
	// A query that takes its time keeps the Transition that would confirm the token.
	c.watch(1, "notes:gated", `{"room":"slow"}`)
	waitFor(t, "the query", h.app.gate("slow").entered)
	c.authenticate(token + "/4000000001")
	c.quiet() // by now it has been read
	h.endSession(token)
	close(h.app.gate("slow").open)
	c.expect("T 2.1 1=0", "T 2.2", "AuthError 2 false")
	c.quiet()

	// Its next token is refused, since the session is over; the error is of the kind that it listens to.
	c.authenticate(token + "/4000000002")
	c.expect("AuthError 2 true", `T 2.2 0="nobody"`)

	// Somebody else's is not, and nobody has been seen on the way.
	second := h.signIn("bob")
	d := h.connect()
	d.authenticate(second)
	d.watch(0, "users:me", `{}`)
	d.until("the result", func() bool { return d.values[0] == `"bob"` && d.version.Identity == 1 })
	h.endSession(second)
	d.expect("AuthError 1 false")
	d.authenticate(h.signIn("cy"))
	d.expect(`T 1.2 0="cy"`)
	clock.advance(3 * time.Second)
	d.quiet()
}

// A sign-in that replaces the session of the socket's token is answered first; then an AuthError makes the client present
// the new one.
func TestReplacedSession(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := setup(t, subscriptions.Options{Clock: clock})
	token := h.signIn("ann")
	c, other := h.connect(), h.connect()
	for _, d := range []*client{c, other} {
		d.authenticate(token)
		d.watch(0, "users:me", `{}`)
		d.until("the result", func() bool { return d.values[0] == `"ann"` && d.version.Identity == 1 })
	}
	c.act(0, "auth:signIn", `{"user":"bob"}`)
	var got []string
	for len(got) == 0 || got[len(got)-1] != "AuthError 1 false" {
		m, err := c.receive()
		if err != nil {
			t.Fatalf("%v after %v", err, got)
		}
		got = append(got, describe(m))
	}
	// That the old session has ended is not seen on the way.
	if s := fmt.Sprint(got); s != `[T 1.1 0="bob" A 0 "bob" AuthError 1 false]` {
		t.Errorf("got %v", got)
	}
	c.mutate(1, "notes:add", `{"room":"r","text":"x"}`)
	c.expect(`M 1 "bob"`)
	other.expect("AuthError 1 false")
	clock.advance(3 * time.Second)
	other.expect(`T 1.1 0="nobody"`)

	// Without a token there is nothing to present: no AuthError.
	d := h.connect()
	d.watch(0, "users:me", `{}`)
	d.expect(`T 1.0 0="nobody"`)
	d.act(0, "auth:signIn", `{"user":"cy"}`)
	d.expect(`T 1.0 0="cy"`, `A 0 "cy"`)
	d.act(1, "auth:signIn", `{"user":"dee"}`)
	d.expect(`T 1.0 0="dee"`, `A 1 "dee"`)
	d.quiet()
}

// The token runs out while its socket is open.
func TestTokenExpiry(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := setup(t, subscriptions.Options{Clock: clock})
	token := h.signIn("ann")
	c := h.connect()
	c.authenticate(fmt.Sprintf("%s/%d", token, clock.Now().Add(20*time.Second).Unix()))
	c.watch(0, "users:me", `{}`)
	c.until("the result", func() bool { return c.values[0] == `"ann"` && c.version.Identity == 1 })
	// A newer token takes over.
	c.authenticate(fmt.Sprintf("%s/%d", token, clock.Now().Add(60*time.Second).Unix()))
	c.expect("T 1.2")
	clock.advance(30 * time.Second)
	c.mutate(0, "notes:add", `{"room":"r","text":"x"}`)
	c.done(0)
	next := func() string {
		for {
			m, err := c.receive()
			if err != nil {
				t.Fatal(err)
			}
			if s := describe(m); s != "Ping" && s != "T 1.2" {
				return s
			}
		}
	}
	clock.advance(31 * time.Second)
	if got := next(); got != "AuthError 2 false" {
		t.Errorf("got %s", got)
	}
	clock.advance(3 * time.Second)
	if got := next(); got != `T 1.2 0="nobody"` {
		t.Errorf("got %s", got)
	}
	c.authenticate(token)
	c.until("the new token", func() bool { return c.values[0] == `"ann"` && c.version.Identity == 3 })
}
