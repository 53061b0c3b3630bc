package subscriptions_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

func TestLiveQuery(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch()
	c.expect("T 1.0")
	c.watch(0, "notes:list", `{"room":"r"}`, 1, "notes:count", `{"room":"r"}`)
	c.expect(`T 2.0 0=[] 1=0`)
	h.add("r", "a")
	c.expect(`T 2.0 0=["a"] 1=1`)
	h.add("other", "b")
	c.quiet()
	c.unwatch(1)
	c.expect(`T 3.0 1-`)
	h.add("r", "c")
	c.expect(`T 3.0 0=["a","c"]`)
	c.watch(1, "notes.js:count", ` { "room" : "r" } `)
	c.expect(`T 4.0 1=2`)
}

// Several changes of the query set may be answered by one Transition, of the last of them.
func TestPipelinedQuerySets(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	for i := range 20 {
		c.watch(i, "notes:count", fmt.Sprintf(`{"room":"%d"}`, i))
	}
	c.unwatch(3)
	c.until("all queries", func() bool { return c.version.QuerySet == 21 })
	if len(c.values) != 19 {
		t.Errorf("values %v", c.values)
	}
}

// An update that leaves a result as it was is not sent.
func TestUnchangedResultIsNotSent(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch(0, "notes:any", `{"room":"r"}`)
	c.expect(`T 1.0 0=false`)
	h.add("r", "a")
	c.expect(`T 1.0 0=true`)
	before := h.srv.Stats().Evaluations
	h.add("r", "b")
	eventually(t, "evaluation", func() bool { return h.srv.Stats().Evaluations > before })
	c.quiet()
}

func TestFailingQueries(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch(
		0, "fails:query", `{"code":"forbidden"}`, 1, "fails:query", `{"code":""}`, 2, "fails:query", `{"code":"panic"}`,
		3, "no:such", `{}`, 4, "secret:peek", `{}`, 5, "notes:add", `{"room":"r","text":"t"}`, 6, "notes:list", `{"room":7}`,
		7, "notes:list", `{}`,
	)
	c.expect(`T 1.0 0=!forbidden 1=!internal 2=!internal 3=!not_found 4=!not_found 5=!invalid 6=!invalid 7=!invalid`)
}

// What every error carries, and what it must not.
func TestErrorData(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	for i, code := range []string{"forbidden", "", "issues"} {
		c.mutate(uint32(i), "fails:mutation", `{"code":"`+code+`"}`)
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		f := m.(*wire.MutationResponse).Failure
		d, err := wire.DecodeErrorData(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m.Append(nil)), "secret reason") {
			t.Errorf("%q: a text that was not meant for clients went out: %s", code, m.Append(nil))
		}
		switch code {
		case "forbidden":
			if f.Message != "failed with forbidden" || d.Code != "forbidden" || string(d.Data) != `{"n":1}` {
				t.Errorf("coded error: %q, %+v", f.Message, d)
			}
		case "":
			if d.Code != "internal" || !strings.Contains(d.Message, "log id") {
				t.Errorf("internal error: %+v", d)
			}
		case "issues":
			if len(d.Issues) != 1 || d.Issues[0] != (wire.Issue{Path: "a.0", Rule: "minLength", Message: "too short"}) {
				t.Errorf("issues: %+v", d)
			}
		}
	}
}

// All queries of a client are of one timestamp, under any load.
func TestOneTransitionOneTimestamp(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	const writers, each = 4, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				h.add("r", fmt.Sprint(w, ".", i))
			}
		})
	}
	for range 3 {
		wg.Go(func() {
			c := h.connect()
			c.watch(0, "notes:list", `{"room":"r"}`, 1, "notes:count", `{"room":"r"}`, 2, "notes:mine", `{"room":"r"}`)
			c.until("all notes", func() bool {
				if c.version.QuerySet == 0 {
					return false
				}
				n := strings.Count(c.values[0], `"`) / 2
				mine := strings.Count(c.values[2], ".")
				if c.values[1] != strconv.Itoa(n) || mine != n {
					t.Errorf("%d notes listed, %s counted, %d mine", n, c.values[1], mine)
				}
				return n == writers*each
			})
		})
	}
	wg.Wait()
}

// A hundred sockets that ask the same cost one evaluation and one encoding for each change.
func TestEqualQueriesAreSharedByAll(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	var clients []*client
	for i := range 100 {
		c := h.connect()
		if i%2 == 0 {
			c.authenticate(h.signIn(fmt.Sprint("user", i)))
		}
		// Equal however it is spelled, and whoever asks, since the function does not care who.
		c.watch(0, []string{"notes:list", "notes.js:list"}[i%2], []string{`{"room":"r"}`, `{ "room": "\u0072" }`}[i/2%2])
		clients = append(clients, c)
	}
	for _, c := range clients {
		c.until("the first result", func() bool { return c.values[0] != "" })
	}
	st := h.srv.Stats()
	if st.Queries > 52 { // the list, and the question who this is, which is one for all; to spare
		t.Errorf("%d queries", st.Queries)
	}
	for i := range 5 {
		before := h.srv.Stats()
		h.add("r", fmt.Sprint(i))
		for _, c := range clients {
			c.until("the change", func() bool { return strings.Contains(c.values[0], fmt.Sprint(i)) })
		}
		after := h.srv.Stats()
		if after.Evaluations-before.Evaluations != 1 || after.Encodings-before.Encodings != 1 {
			t.Errorf("change %d: %d evaluations, %d encodings", i, after.Evaluations-before.Evaluations, after.Encodings-before.Encodings)
		}
	}
}

// Results that depend on who asks are shared by those who are the same, and by nobody else.
func TestSharingByIdentity(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	ann, bob := h.signIn("ann"), h.signIn("bob")
	var clients []*client
	for i, token := range []string{ann, ann, bob, bob, "", ""} {
		c := h.connect()
		if token != "" {
			c.authenticate(token)
		}
		c.watch(0, "notes:mine", `{"room":"r"}`, 1, "notes:picky", `{"room":"r"}`)
		c.until("the first results", func() bool { return len(c.values) == 2 })
		if want := []string{"ann", "ann", "bob", "bob", "nobody", "nobody"}[i]; c.values[0] != `"`+want+`:"` || c.values[1] != `"even"` {
			t.Errorf("client %d: %v", i, c.values)
		}
		clients = append(clients, c)
	}
	for n := 1; n <= 4; n++ {
		before := h.srv.Stats()
		h.add("r", fmt.Sprint(n))
		for i, c := range clients {
			c.until("the change", func() bool { return strings.Contains(c.values[0], fmt.Sprint(n)) })
			who := []string{"ann", "ann", "bob", "bob", "nobody", "nobody"}[i]
			want := `"even"`
			if n%2 == 1 {
				want = `"` + who + `"`
			}
			if c.values[1] != want || !strings.HasPrefix(c.values[0], `"`+who+":") {
				t.Errorf("n=%d: client %d: %v", n, i, c.values)
			}
		}
		after := h.srv.Stats()
		// Three of notes:mine. Of notes:picky three when it asks who it is; when it does not, one, or up to three, since
		// that is known only when the first has returned.
		if got := after.Evaluations - before.Evaluations; got > 6 || n%2 == 1 && got < 6 || got < 4 {
			t.Errorf("n=%d: %d evaluations", n, got)
		}
	}
}

// A result that used chance is nobody else's.
func TestVolatileResultsAreNotShared(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	seen := map[string]bool{}
	var clients []*client
	for range 5 {
		c := h.connect()
		c.watch(0, "clock:now", `{"room":"r"}`)
		c.until("the result", func() bool { return c.values[0] != "" })
		seen[c.values[0]] = true
		clients = append(clients, c)
	}
	h.add("r", "a") // and yet it is live
	for _, c := range clients {
		before := c.values[0]
		c.until("another result", func() bool { return c.values[0] != before })
		seen[c.values[0]] = true
	}
	if len(seen) != 10 {
		t.Errorf("%d results, want 10", len(seen))
	}
}

// What nobody watches any more is neither kept nor evaluated.
func TestNothingOutlivesItsSubscribers(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	a, b := h.connect(), h.connect()
	a.authenticate(h.signIn("ann"))
	for _, c := range []*client{a, b} {
		c.watch(0, "notes:list", `{"room":"r"}`, 1, "users:me", `{}`)
		c.until("the results", func() bool { return len(c.values) == 2 })
	}
	a.unwatch(0, 1)
	a.until("the removal", func() bool { return len(a.values) == 0 })
	b.conn.Close()
	eventually(t, "closed", func() bool { return h.srv.Stats().Sockets == 1 })
	if st := h.srv.Stats(); st.Queries != 1 { // who ann is
		t.Errorf("%d queries", st.Queries)
	}
	before := h.srv.Stats().Evaluations
	h.add("r", "a")
	a.watch(2, "notes:any", `{"room":"x"}`)
	a.until("the result", func() bool { return len(a.values) == 1 })
	if got := h.srv.Stats().Evaluations - before; got != 1 {
		t.Errorf("%d evaluations", got)
	}
	a.conn.Close()
	eventually(t, "all closed", func() bool { st := h.srv.Stats(); return st.Sockets == 0 && st.Queries == 0 })
}

func TestLargeTransitionsTravelInChunks(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch(0, "big:value", `{"size":5100000}`, 1, "notes:any", `{"room":"big"}`)
	c.until("the value", func() bool { return len(c.values) == 2 })
	if c.chunks != 2 || c.values[0] != `"`+strings.Repeat("a", 5_100_000)+`"` {
		t.Errorf("%d chunks, a value of %d bytes", c.chunks, len(c.values[0]))
	}
	h.add("big", "x")
	c.until("the next value", func() bool { return c.values[1] == "true" })
	if !strings.HasPrefix(c.values[0], `"b`) || c.chunks != 4 {
		t.Errorf("%d chunks, %.10s", c.chunks, c.values[0])
	}
}

// A slow query holds up those who watch it, and nobody else.
func TestSlowQueryHoldsUpOnlyItsWatchers(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	slow, fast := h.connect(), h.connect()
	slow.watch(0, "notes:gated", `{"room":"r"}`, 1, "notes:list", `{"room":"r"}`)
	g := h.app.gate("r")
	waitFor(t, "the evaluation", g.entered)
	fast.watch(0, "notes:list", `{"room":"r"}`)
	fast.expect(`T 1.0 0=[]`)
	h.add("r", "a")
	fast.expect(`T 1.0 0=["a"]`)
	// Even on the same socket, answers go out meanwhile.
	slow.quiet()
	close(g.open)
	slow.until("the newest", func() bool { return slow.values[0] == "1" && slow.values[1] == `["a"]` })
}

// A live query that ran into its time limit is tried again some time later.
func TestQueryThatTookTooLongIsTriedAgain(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := setup(t, subscriptions.Options{Clock: clock}, func(o *engine.Options) { o.Limits.FunctionTime = 50 * time.Millisecond })
	c := h.connect()
	timers := clock.waiting()
	c.watch(0, "notes:gated", `{"room":"r"}`)
	c.expect(`T 1.0 0=!too_large`)
	if clock.waiting() <= timers {
		t.Fatal("no timer is set")
	}
	close(h.app.gate("r").open)
	h.add("r", "a") // what the query read is not known, so this does not reach it
	c.quiet()
	clock.advance(11 * time.Second)
	c.expect(`T 1.0 0=1`)
}

func TestQueryLimit(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxQueries: 2})
	c := h.connect()
	c.watch(0, "notes:any", `{"room":"0"}`, 1, "notes:any", `{"room":"1"}`, 2, "notes:any", `{"room":"2"}`)
	c.expect(`T 1.0 0=false 1=false 2=!too_large`)
	c.unwatch(0)
	c.expect(`T 2.0 0-`)
	c.watch(3, "notes:any", `{"room":"3"}`)
	c.expect(`T 3.0 3=false`)
	c.watch(4, "notes:any", `{"room":"4"}`, 5, "notes:any", `{"room":"5"}`)
	c.expect("FatalError")
	if ce := c.closed(); ce.Code != 1009 {
		t.Errorf("closed with %v", ce)
	}
}

func TestLogLinesInDevelopmentOnly(t *testing.T) {
	t.Parallel()
	for _, development := range []bool{false, true} {
		h := setup(t, subscriptions.Options{}, developing(development))
		c := h.connect()
		c.watch(0, "notes:logged", `{"room":"r"}`)
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.(*wire.Transition).Modifications[0].Encoded.Result()
		if err != nil {
			t.Fatal(err)
		}
		if development != (len(r.LogLines) == 1 && r.LogLines[0] == `[LOG] 'room r, it\'s'`) || !development && r.LogLines != nil {
			t.Errorf("development %v: %q", development, r.LogLines)
		}
	}
}
