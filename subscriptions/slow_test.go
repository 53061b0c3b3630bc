package subscriptions_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/subscriptions"
)

// A client that does not read gets fewer Transitions, and the newest when it reads again. It costs nobody else anything.
func TestSlowReaderGetsTheNewest(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	slow, fast := h.connect(), h.connect()
	slow.watch(0, "big:value", `{"size":1000000}`, 1, "notes:count", `{"room":"big"}`)
	fast.watch(1, "notes:count", `{"room":"big"}`)
	slow.until("the first result", func() bool { return len(slow.values) == 2 })
	fast.until("the first result", func() bool { return len(fast.values) == 1 })
	const writes = 60 // 60 MB, if each were sent
	for i := range writes {
		h.add("big", fmt.Sprint(i))
		fast.until("the write", func() bool { return fast.values[1] == fmt.Sprint(i+1) })
	}
	transitions := 0
	slow.until("the newest", func() bool {
		transitions++
		return slow.values[1] == fmt.Sprint(writes)
	})
	if transitions > writes/2 {
		t.Errorf("%d transitions", transitions)
	}
}

// A client that has stopped reading is closed, so that it can come back.
func TestStalledReaderIsClosed(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{WriteTimeout: 200 * time.Millisecond})
	stalled, fast := h.connect(), h.connect()
	stalled.watch(0, "big:value", `{"size":8000000}`, 1, "big:value", `{"size":7900000}`)
	fast.watch(0, "notes:count", `{"room":"big"}`)
	fast.until("the result", func() bool { return fast.values[0] == "0" })
	i := 0
	eventually(t, "the stalled one is closed", func() bool {
		i++
		h.add("big", "x")
		fast.until("the write", func() bool { return fast.values[0] == fmt.Sprint(i) })
		return h.srv.Stats().Sockets == 1
	})
	if h.srv.Stats().Slow != 1 {
		t.Errorf("%d counted as slow", h.srv.Stats().Slow)
	}
	fast.quiet()
}

// Answers that a client does not take keep its further mutations waiting, not piling up.
func TestUntakenAnswersAreBounded(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxMutations: 4, MaxActions: 2, MaxBuffered: 1000})
	c := h.connect()
	const n = 100
	go func() {
		for i := range n {
			c.mutate(uint32(i), "notes:add", fmt.Sprintf(`{"room":"r","text":"%s"}`, strings.Repeat("x", 300)))
		}
	}()
	for answers := 0; answers < n; {
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type() == "MutationResponse" {
			answers++
		}
	}
	if got := len(h.texts("r")); got != n {
		t.Errorf("%d notes", got)
	}
}

// Everything at once, for the race detector and for the rules that the raw client checks by itself: versions without gaps,
// time that does not go back, and in the end what the database holds.
func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxMutations: 4})
	const clients, steps, rooms = 12, 60, 3
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	close(h.app.gate("signOut").open)
	for n := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			token := h.signIn(fmt.Sprint("user", n%4))
			session := newSession()
			request, watched := uint32(0), map[uint32]bool{}
			c := h.connect(session)
			reset := func() {
				c = h.connect(session)
				if rnd.IntN(2) == 0 {
					c.authenticate(token)
				}
				clear(watched)
			}
			for range steps {
				switch room := fmt.Sprintf(`{"room":"r%d"}`, rnd.IntN(rooms)); rnd.IntN(9) {
				case 0, 1:
					id := rnd.Uint32N(8)
					if watched[id] {
						c.unwatch(id)
					} else {
						c.watch(int(id), []string{"notes:list", "notes:mine", "notes:count", "notes:picky", "clock:now"}[id%5], room)
					}
					watched[id] = !watched[id]
				case 2, 3, 4:
					c.mutate(request, "notes:add", fmt.Sprintf(`{"room":"r%d","text":"t"}`, rnd.IntN(rooms)))
					request++
				case 5:
					c.act(request, "actions:add", fmt.Sprintf(`{"room":"r%d","text":"t"}`, rnd.IntN(rooms)))
					request++
				case 6:
					c.authenticate([]string{"", token}[rnd.IntN(2)])
				case 7:
					for range rnd.IntN(4) {
						c.act(1<<20, "fails:action", `{"code":"x"}`)
						if _, err := c.receive(); err != nil {
							t.Errorf("client %d: %v", n, err)
							return
						}
					}
				case 8:
					if rnd.IntN(4) == 0 {
						_ = c.conn.Close()
						reset()
					}
				}
			}
			_ = c.conn.Close()
		})
	}
	wg.Wait()
	// A mutation of a closed socket may still be on its way.
	eventually(t, "all sockets gone", func() bool { st := h.srv.Stats(); return st.Sockets == 0 && st.Queries == 0 })
	c := h.connect()
	for r := range rooms {
		c.watch(r, "notes:count", fmt.Sprintf(`{"room":"r%d"}`, r))
	}
	for r := range rooms {
		c.until("what the database holds", func() bool { return c.values[uint32(r)] == fmt.Sprint(len(h.texts(fmt.Sprint("r", r)))) })
	}
}
