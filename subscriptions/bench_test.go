package subscriptions_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// BenchmarkMutations measures mutations of several sockets, each with a window of unanswered ones.
func BenchmarkMutations(b *testing.B) {
	for _, window := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("window=", window), func(b *testing.B) {
			const sockets = 16
			h := setup(b, subscriptions.Options{})
			clients := make([]*client, sockets)
			for i := range clients {
				clients[i] = h.connect()
			}
			each := (b.N + sockets - 1) / sockets
			b.ResetTimer()
			var wg sync.WaitGroup
			for n, c := range clients {
				wg.Go(func() {
					args := fmt.Sprintf(`{"room":"r%d","text":"a message of a usual length, more or less"}`, n)
					sent := 0
					for answered := 0; answered < each; {
						for sent < each && sent < answered+window {
							c.mutate(uint32(sent), "notes:add", args)
							sent++
						}
						_, frame, err := c.conn.ReadMessage()
						if err != nil {
							b.Error(err)
							return
						}
						if len(frame) > 24 && string(frame[9:13]) == "Muta" {
							answered++
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mutations/s")
		})
	}
}

// BenchmarkPush measures how many results of one query reach its watchers, while one client writes as fast as it may.
func BenchmarkPush(b *testing.B) {
	for _, sockets := range []int{10, 500} {
		b.Run(fmt.Sprint("sockets=", sockets), func(b *testing.B) {
			h := setup(b, subscriptions.Options{})
			var wg sync.WaitGroup
			counts := make([]int, sockets)
			last := wire.Timestamp(0)
			var mu sync.Mutex
			cond := sync.NewCond(&mu)
			seen := make([]wire.Timestamp, sockets)
			for i := range sockets {
				c := h.connect()
				c.watch(0, "notes:latest", `{"room":"r"}`)
				c.until("the first result", func() bool { return c.values[0] != "" })
				wg.Go(func() {
					for {
						_, frame, err := c.conn.ReadMessage()
						if err != nil {
							return
						}
						m, err := wire.DecodeServer(frame)
						if err != nil {
							b.Error(err)
							return
						}
						if tr, ok := m.(*wire.Transition); ok {
							mu.Lock()
							counts[i]++
							seen[i] = tr.End.TS
							cond.Broadcast()
							mu.Unlock()
						}
					}
				})
				b.Cleanup(func() { _ = c.conn.Close() })
			}
			w := h.connect()
			b.ResetTimer()
			for i := range b.N {
				w.mutate(uint32(i), "notes:add", `{"room":"r","text":"x"}`)
				w.done(uint32(i))
			}
			last = w.version.TS
			mu.Lock()
			for {
				behind := false
				for _, ts := range seen {
					behind = behind || ts < last
				}
				if !behind {
					break
				}
				cond.Wait()
			}
			total := 0
			for _, n := range counts {
				total += n
			}
			mu.Unlock()
			b.StopTimer()
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "pushes/s")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
