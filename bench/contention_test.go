package bench_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// counterDB has 64 counters, in documents of a size that documents have.
func counterDB(b *testing.B) (*engine.DB, *engine.Collection[tally], []engine.ID[tally]) {
	b.Helper()
	s := engine.NewSchema()
	tallies := engine.Define[tally](s, "tallies")
	tallies.AddUnique("byRoom", "room")
	db, err := engine.Open(s, engine.Options{Dir: b.TempDir(), Limits: engine.Limits{FunctionTime: time.Minute}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	var ids []engine.ID[tally]
	if err := db.Update(context.Background(), func(tx *engine.Tx) error {
		for i := range 64 {
			id, err := tallies.Insert(tx, tally{Room: fmt.Sprint("room", i)})
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return db, tallies, ids
}

// BenchmarkContention lets 64 writers count, each mutation durable before its writer goes on: each on a counter of its own, and
// all on the same one. Both take turns within one run, so that what else the machine does weighs on both alike. "ratio" is the
// throughput on one counter over that on 64.
func BenchmarkContention(b *testing.B) {
	db, tallies, ids := counterDB(b)
	const writers, turn = 64, 4096
	count := func(n int, id func(writer int) engine.ID[tally]) time.Duration {
		began := time.Now()
		var next atomic.Int64
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for next.Add(1) <= int64(n) {
					if err := db.Update(context.Background(), func(tx *engine.Tx) error {
						return tallies.Patch(tx, id(w), func(t *tally) error { t.Notes++; return nil })
					}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	var alone, contended time.Duration
	var retries uint64
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		n := min(left, turn)
		alone += count(n, func(w int) engine.ID[tally] { return ids[w] })
		at := db.Metrics().Retries
		contended += count(n, func(int) engine.ID[tally] { return ids[0] })
		retries += db.Metrics().Retries - at
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/alone.Seconds(), "uncontended/s")
	b.ReportMetric(float64(b.N)/contended.Seconds(), "contended/s")
	b.ReportMetric(alone.Seconds()/contended.Seconds(), "ratio")
	b.ReportMetric(float64(retries)/float64(b.N), "reruns/mutation")
}
