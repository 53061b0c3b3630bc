package bench_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/triggers"
)

type (
	note struct {
		Room string `json:"room"`
		Text string `json:"text"`
	}
	tally struct {
		Room  string `json:"room"`
		Notes int    `json:"notes"`
	}
	room struct {
		Room string `json:"room"`
	}
)

// newServer serves a small application: notes in rooms, and a count a room kept by a trigger.
func newServer(b testing.TB) *httptest.Server {
	b.Helper()
	s := engine.NewSchema()
	notes := engine.Define[note](s, "notes")
	byRoom := notes.AddIndex("byRoom", "room")
	tallies := engine.Define[tally](s, "tallies")
	tallyOf := tallies.AddUnique("byRoom", "room")
	counted := func(tx *engine.Tx, name string) error {
		t, err := tallyOf.Eq(tx, name).Collect()
		if err != nil {
			return err
		}
		if len(t) == 0 {
			_, err := tallies.Insert(tx, tally{name, 1})
			return err
		}
		return tallies.Patch(tx, t[0].ID, func(t *tally) error { t.Notes++; return nil })
	}
	triggers.OnCreate(notes, "count", func(tx *engine.Tx, n *engine.Doc[note]) error {
		if n.Value.Room == "uncounted" {
			return nil
		}
		return counted(tx, n.Value.Room)
	})
	engine.Mutation(s, "notes:add", func(tx *engine.Tx, n note) (engine.ID[note], error) { return notes.Insert(tx, n) })
	engine.Query(s, "notes:latest", func(r *engine.ReadTx, a room) ([]*engine.Doc[note], error) {
		return byRoom.Eq(r, a.Room).Desc().Limit(20).Collect()
	})
	db, err := engine.Open(s, engine.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	srv := subscriptions.New(db, subscriptions.Options{})
	web := httptest.NewServer(srv)
	b.Cleanup(func() {
		web.Close()
		if err := srv.Close(); err != nil {
			b.Error(err)
		}
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return web
}

// connect opens a socket and begins its session.
func connect(b testing.TB, web *httptest.Server, n int) *websocket.Conn {
	b.Helper()
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(web.URL, "http")+"/api/1.48.0/sync", nil)
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close()
	b.Cleanup(func() { _ = c.Close() })
	write(b, c, map[string]any{
		"type": "Connect", "sessionId": fmt.Sprintf("00000000-0000-4000-8000-%012d", n), "connectionCount": 0,
		"lastCloseReason": "InitialConnect", "clientTs": 0,
	})
	return c
}

func write(b testing.TB, c *websocket.Conn, m any) {
	b.Helper()
	if err := c.WriteJSON(m); err != nil {
		b.Error(err)
	}
}

// addNotes sends n mutations over a socket, window of them at a time, and waits for their answers.
func addNotes(b testing.TB, c *websocket.Conn, n, window int, name string) {
	sent, answered := 0, 0
	text := strings.Repeat("x", 100)
	for answered < n {
		for sent < n && sent-answered < window {
			write(b, c, map[string]any{
				"type": "Mutation", "requestId": sent, "udfPath": "notes:add", "args": []any{note{name, text}},
			})
			sent++
		}
		var m struct {
			Type    string
			Success bool
			Result  json.RawMessage
		}
		if err := c.ReadJSON(&m); err != nil {
			b.Error(err)
			return
		}
		if m.Type != "MutationResponse" {
			continue
		}
		if !m.Success {
			b.Errorf("a mutation failed: %s", m.Result)
			return
		}
		answered++
	}
}

// run adds b.N notes over sockets, shared out among them; socket i writes to room(i).
func run(b *testing.B, sockets, window int, room func(i int) string) {
	web := newServer(b)
	var clients sync.WaitGroup
	conns := make([]*websocket.Conn, sockets)
	for i := range conns {
		conns[i] = connect(b, web, i)
	}
	b.ResetTimer()
	for i, c := range conns {
		n := b.N / sockets
		if i < b.N%sockets {
			n++
		}
		clients.Go(func() { addNotes(b, c, n, window, room(i)) })
	}
	clients.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mutations/s")
}

// BenchmarkMutations adds notes over sockets, each note durable before it is answered. "counted" has a trigger that keeps one
// hot counter a socket; the op is one mutation.
func BenchmarkMutations(b *testing.B) {
	for _, counted := range []bool{false, true} {
		room := func(int) string { return "uncounted" }
		if counted {
			room = func(i int) string { return fmt.Sprint("room", i) }
		}
		for _, sockets := range []int{1, 8, 64} {
			for _, window := range []int{1, 16} {
				b.Run(fmt.Sprintf("counted=%v/sockets=%d/window=%d", counted, sockets, window), func(b *testing.B) {
					run(b, sockets, window, room)
				})
			}
		}
	}
}

// BenchmarkHotCounter lets sockets add notes to one room, whose counter every mutation writes.
func BenchmarkHotCounter(b *testing.B) {
	for _, sockets := range []int{1, 64} {
		b.Run(fmt.Sprintf("sockets=%d", sockets), func(b *testing.B) { run(b, sockets, 16, func(int) string { return "hot" }) })
	}
}

// BenchmarkFanOut adds notes to a room that many sockets watch: one evaluation and one encoding a commit, a delivery a
// socket. The op is one mutation. Watchers that are behind are sent the newest result only.
func BenchmarkFanOut(b *testing.B) {
	for _, watchers := range []int{10, 500} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			web := newServer(b)
			var delivered atomic.Int64
			var ready sync.WaitGroup
			for i := range watchers {
				c := connect(b, web, 1000+i)
				write(b, c, map[string]any{"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": []any{
					map[string]any{"type": "Add", "queryId": 1, "udfPath": "notes:latest", "args": []any{room{"hot"}}},
				}})
				ready.Add(1)
				go func() {
					first := true
					for {
						if _, _, err := c.ReadMessage(); err != nil {
							return
						}
						if first {
							first = false
							ready.Done()
						}
						delivered.Add(1)
					}
				}()
			}
			ready.Wait()
			writer := connect(b, web, 0)
			delivered.Store(0)
			b.ResetTimer()
			addNotes(b, writer, b.N, 1, "hot")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mutations/s")
			b.ReportMetric(float64(delivered.Load())/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// What is measured works: the notes that were answered are there, newest first.
func TestWhatIsMeasured(t *testing.T) {
	t.Parallel()
	web := newServer(t)
	addNotes(t, connect(t, web, 1), 30, 4, "hot")
	resp, err := http.Post(web.URL+"/api/query", "application/json",
		strings.NewReader(`{"path":"notes:latest","format":"convex_encoded_json","args":[{"room":"hot"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Value []note }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Value) != 20 || answer.Value[0].Room != "hot" {
		t.Errorf("the latest notes are %+v, %v", answer, err)
	}
}
