package subscriptions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// The answer of a mutation is followed by a Transition that is as new, with the effect if the client watches it, and empty
// if not.
func TestOwnWrites(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch(0, "notes:list", `{"room":"r"}`)
	c.expect(`T 1.0 0=[]`)
	for _, step := range []struct{ path, args, answer string }{
		{"notes:add", `{"room":"r","text":"a"}`, `M %d "nobody"`},
		{"notes:add", `{"room":"other","text":"a"}`, `M %d "nobody"`},
		{"notes:nothing", `{}`, `M %d "read only"`},
		{"notes.js:add", `{"room":"r","text":"b"}`, `M %d "nobody"`},
	} {
		id := c.next * 10
		c.next++
		c.mutate(id, step.path, step.args)
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := m.(*wire.MutationResponse); !ok || describe(m) != fmt.Sprintf(step.answer, id) || r.TS == 0 {
			t.Fatalf("%s: %s", step.path, describe(m))
		}
		if m, err = c.receive(); err != nil || m.Type() != "Transition" || c.owed != 0 {
			t.Fatalf("%s: %v, %v, owed %d", step.path, m, err, c.owed)
		}
		c.quiet()
	}
	if c.values[0] != `["a","b"]` {
		t.Errorf("values %v", c.values)
	}
}

// With many mutations under way the answer of each comes before the Transition that shows its effect, and the client never
// waits for an empty one. The raw client checks every answer.
func TestAnswersComeBeforeEffects(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch(0, "notes:count", `{"room":"r"}`)
	c.expect(`T 1.0 0=0`)
	const n, window = 2000, 32
	sent := 0
	for answered := 0; answered < n || c.owed > 0; {
		for ; sent < n && sent < answered+window; sent++ {
			c.mutate(uint32(sent), "notes:add", `{"room":"r","text":"x"}`)
		}
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *wire.MutationResponse:
			answered++
		case *wire.Transition:
			if len(m.Modifications) == 0 {
				t.Fatalf("an empty Transition after %d answers", answered)
			}
			if seen, err := strconv.Atoi(c.values[0]); err != nil || seen > answered {
				t.Fatalf("%s notes are seen after %d answers", c.values[0], answered)
			}
		}
	}
}

func TestFailedMutationsAreAnsweredAlone(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch(0, "notes:list", `{"room":"r"}`)
	c.expect(`T 1.0 0=[]`)
	c.mutate(0, "fails:mutation", `{"code":"conflict"}`)
	c.mutate(1, "fails:mutation", `{"code":""}`)
	c.mutate(2, "no:such", `{}`)
	c.mutate(3, "secret:peek", `{}`)
	c.mutate(4, "auth:begin", `{"user":"root"}`)
	c.mutate(5, "notes:list", `{"room":"r"}`)
	c.mutate(6, "notes:add", `{"room":"r"}`)
	c.expect("M 0 !conflict", "M 1 !internal", "M 2 !not_found", "M 3 !not_found", "M 4 !not_found", "M 5 !invalid", "M 6 !invalid")
	c.quiet()
}

// The mutations of a socket take effect and are answered in the order in which they were sent.
func TestMutationsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxMutations: 8}) // the reader has to wait for room
	const n = 200
	var wg sync.WaitGroup
	for who := range 3 {
		wg.Go(func() {
			c := h.connect()
			room := fmt.Sprint("r", who)
			c.watch(0, "notes:count", `{"room":"`+room+`"}`)
			var want []string
			go func() {
				for i := range n {
					c.mutate(uint32(i), "notes:add", fmt.Sprintf(`{"room":%q,"text":"%d"}`, room, i))
				}
			}()
			next := uint32(0)
			for next < n || c.owed > 0 {
				m, err := c.receive()
				if err != nil {
					t.Error(err)
					return
				}
				if r, ok := m.(*wire.MutationResponse); ok {
					if r.RequestID != next || r.Failure != nil {
						t.Errorf("answer %s, want that of %d", describe(r), next)
					}
					want = append(want, fmt.Sprint(next))
					next++
				}
			}
			if c.values[0] != fmt.Sprint(n) {
				t.Errorf("%s notes when the last mutation was done", c.values[0])
			}
			if got := h.texts(room); !slices.Equal(got, want) {
				t.Errorf("order %v", got)
			}
		})
	}
	wg.Wait()
}

// A mutation that is sent again takes effect once, and gives what it gave.
func TestResentMutationTakesEffectOnce(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.mutate(7, "notes:add", `{"room":"r","text":"a"}`)
	c.expect(`M 7 "nobody"`, "T 0.0")
	ts := c.version.TS
	c = h.connect(c.session)
	c.resent = true
	c.watch(0, "notes:list", `{"room":"r"}`)
	c.mutate(7, "notes:add", `{"room":"r","text":"a"}`)
	c.done(7)
	c.until("the query", func() bool { return c.values[0] == `["a"]` })
	if c.version.TS < ts {
		t.Errorf("went back from %d to %d", ts, c.version.TS)
	}
	// Another call under the same number is not answered with somebody else's result.
	c.mutate(7, "notes:add", `{"room":"r","text":"b"}`)
	c.expect("M 7 !conflict")
	// That nobody will ever know what became of a request is an answer: sent again, it would be the same.
	c.mutate(9, "fails:mutation", `{"code":"unknown"}`)
	c.expect("M 9 !unknown")
	// Failures are not remembered.
	c.mutate(8, "fails:mutation", `{"code":"busy"}`)
	c.mutate(8, "notes:add", `{"room":"r","text":"c"}`)
	c.expect("M 8 !busy")
	c.done(8)
	if c.values[0] != `["a","c"]` {
		t.Errorf("values %v", c.values)
	}
}

// The server goes away with a mutation under way, and another comes up on the same data.
func TestMutationSurvivesARestart(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	a := newApp()
	open := func() *engine.DB {
		return enginetest.Open(t, a.schema, func(o *engine.Options) { o.Store = shared.Open() })
	}
	h := serve(t, a, open(), subscriptions.Options{})
	c := h.connect()
	c.watch(0, "notes:list", `{"room":"r"}`)
	c.expect(`T 1.0 0=[]`)
	c.mutate(0, "notes:add", `{"room":"r","text":"a"}`)
	c.done(0)
	g := a.gate("b")
	c.mutate(1, "notes:addGated", `{"room":"r","text":"b"}`)
	c.mutate(2, "notes:add", `{"room":"r","text":"c"}`)
	waitFor(t, "the mutation", g.entered)
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.srv.Shutdown(cut); err != context.Canceled {
		t.Fatalf("shutdown: %v", err)
	}
	// It is not answered, neither as done nor as failed.
	if ce := c.closed(); ce.Code != websocket.CloseServiceRestart {
		t.Fatalf("closed with %v", ce)
	}
	close(g.open)
	enginetest.Finish(t, h.db)

	h = serve(t, a, open(), subscriptions.Options{})
	seen := c.version.TS
	c2 := h.dial()
	c2.resent = true
	c2.send(&wire.Connect{SessionID: c.session, ConnectionCount: 1, MaxObserved: &seen})
	c2.watch(0, "notes:list", `{"room":"r"}`)
	c2.mutate(0, "notes:add", `{"room":"r","text":"a"}`)
	c2.mutate(1, "notes:addGated", `{"room":"r","text":"b"}`)
	c2.mutate(2, "notes:add", `{"room":"r","text":"c"}`)
	c2.done(2)
	c2.until("all three", func() bool { return c2.values[0] == `["a","b","c"]` })
	if c2.version.TS < seen {
		t.Errorf("time went back from %d to %d", seen, c2.version.TS)
	}
}

// When the client has a new socket, nothing that waits on the old one may begin: it is sent again.
func TestNewSocketCancelsWhatWaitsOnTheOld(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	old := h.connect()
	g := h.app.gate("a")
	old.mutate(0, "notes:addGated", `{"room":"r","text":"a"}`)
	waitFor(t, "the mutation", g.entered)
	old.mutate(1, "notes:add", `{"room":"r","text":"b"}`)
	old.act(99, "fails:action", `{"code":"read"}`)
	old.expect("A 99 !read") // so the server has read all of it

	c := h.connect(old.session)
	c.watch(0, "notes:list", `{"room":"r"}`)
	c.expect(`T 1.0 0=[]`)
	if ce := old.closed(); ce.Code != websocket.CloseTryAgainLater {
		t.Errorf("old socket closed with %v", ce)
	}
	close(g.open)
	c.until("what had begun", func() bool { return c.values[0] == `["a"]` })
	eventually(t, "end of the old socket", func() bool { return h.srv.Stats().Sockets == 1 })
	if got := h.texts("r"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("what was cancelled took effect: %v", got)
	}
	c.resent = true
	c.mutate(0, "notes:addGated", `{"room":"r","text":"a"}`)
	c.mutate(1, "notes:add", `{"room":"r","text":"b"}`)
	c.done(1)
	if c.values[0] != `["a","b"]` {
		t.Errorf("values %v", c.values)
	}
}

// A socket that the client has given up, and that is read late, does not take the session from the one after it.
func TestLateSocketDoesNotTakeTheSession(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	late := h.dial()
	c := h.connect()
	c.watch(0, "notes:list", `{"room":"r"}`)
	c.expect(`T 1.0 0=[]`)
	late.send(&wire.Connect{SessionID: c.session})
	late.mutate(0, "notes:add", `{"room":"r","text":"late"}`)
	if ce := late.closed(); ce.Code != websocket.CloseTryAgainLater {
		t.Errorf("closed with %v", ce)
	}
	c.mutate(0, "notes:add", `{"room":"r","text":"a"}`)
	c.done(0)
	if c.values[0] != `["a"]` {
		t.Errorf("values %v", c.values)
	}
}

// What the client sends while there is no room is read when there is.
func TestReaderWaitsForRoom(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxMutations: 2})
	c := h.connect()
	g := h.app.gate("a")
	c.mutate(0, "notes:addGated", `{"room":"r","text":"a"}`)
	waitFor(t, "the mutation", g.entered)
	c.mutate(1, "notes:add", `{"room":"r","text":"b"}`)
	c.mutate(2, "notes:add", `{"room":"r","text":"c"}`)
	c.act(3, "actions:gated", `{"gate":"read"}`)
	read := h.app.gate("read")
	close(read.open)
	h.add("r", "host") // it goes on elsewhere
	select {
	case <-read.entered:
		t.Error("the server has read on, with two mutations waiting")
	default:
	}
	close(g.open)
	var answers []string
	for len(answers) < 4 {
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		if s := describe(m); s[0] != 'T' {
			answers = append(answers, s)
		}
	}
	slices.Sort(answers)
	if got := strings.Join(answers, ", "); got != `A 3 "read", M 0 "a", M 1 "nobody", M 2 "nobody"` {
		t.Errorf("answers %s", got)
	}
}

func TestActionsRunSideBySide(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxActions: 2})
	c := h.connect()
	for i, name := range []string{"a", "b", "c"} {
		c.act(uint32(i), "actions:gated", `{"gate":"`+name+`"}`)
	}
	waitFor(t, "the first", h.app.gate("a").entered)
	waitFor(t, "the second", h.app.gate("b").entered)
	close(h.app.gate("b").open)
	c.expect(`A 1 "b"`)
	waitFor(t, "the third, when there is room", h.app.gate("c").entered)
	close(h.app.gate("c").open)
	c.expect(`A 2 "c"`)
	// Mutations and queries go on beside them.
	c.mutate(3, "notes:nothing", `{}`)
	c.expect(`M 3 "read only"`, "T 0.0")
	for i := range 2*4 + 2 {
		c.act(uint32(10+i), "actions:gated", `{"gate":"a"}`)
	}
	c.expect("A 19 !busy")
	close(h.app.gate("a").open)
	seen := map[string]bool{}
	for range 10 {
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		seen[describe(m)] = true
	}
	if len(seen) != 10 || !seen[`A 0 "a"`] || !seen[`A 18 "a"`] {
		t.Errorf("answers %v", seen)
	}
}

func TestActionsReadAndWrite(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.act(0, "actions:add", `{"room":"r","text":"a"}`)
	c.expect(`A 0 "nobody"`)
	c.act(1, "fails:action", `{"code":"panic"}`)
	c.expect(`A 1 !internal`)
	c.send(&wire.Action{RequestID: 2, Path: "actions:add", Args: json.RawMessage(`{}`), Component: "part"})
	c.expect(`A 2 !not_found`)
	c.send(&wire.Mutation{RequestID: 3, Path: "notes:nothing", Args: json.RawMessage(`{}`), Component: "part"})
	c.expect(`M 3 !not_found`)
	if got := h.texts("r"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("notes %v", got)
	}
}

// A call goes on when its client has gone.
func TestActionOutlivesItsSocket(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	g := h.app.gate("a")
	c.mutate(0, "notes:addGated", `{"room":"r","text":"a"}`)
	waitFor(t, "the mutation", g.entered)
	_ = c.conn.Close()
	close(g.open)
	eventually(t, "the effect", func() bool { return slices.Equal(h.texts("r"), []string{"a"}) })
}

func TestShutdownLetsCallsFinish(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c, idle := h.connect(), h.connect()
	c.watch(0, "notes:list", `{"room":"r"}`)
	c.expect(`T 1.0 0=[]`)
	g := h.app.gate("a")
	c.mutate(0, "notes:addGated", `{"room":"r","text":"a"}`)
	waitFor(t, "the mutation", g.entered)
	c.mutate(1, "notes:add", `{"room":"r","text":"b"}`)
	done := make(chan error)
	go func() { done <- h.srv.Shutdown(t.Context()) }()
	if ce := idle.closed(); ce.Code != websocket.CloseServiceRestart {
		t.Errorf("idle socket closed with %v", ce)
	}
	if _, resp, err := websocket.DefaultDialer.Dial("ws"+h.url[4:]+"/api/1.48.0/sync", nil); err == nil || resp == nil || resp.StatusCode != 503 {
		t.Errorf("a new socket: %v, %v", resp, err)
	}
	close(g.open)
	c.until("the answer", func() bool { return c.answers[0] })
	if ce := c.closed(); ce.Code != websocket.CloseServiceRestart {
		t.Errorf("closed with %v", ce)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := h.texts("r"); !slices.Equal(got, []string{"a"}) && !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("notes %v", got)
	}
	if err := h.srv.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
