package bench_test

import (
	"context"
	"testing"

	"github.com/mimosadb/mimosa/engine"
)

// BenchmarkCalls is what a call costs beside what it does: 64 goroutines a processor read a small document by its id, each as a
// call of its own.
func BenchmarkCalls(b *testing.B) {
	db, tallies, ids := counterDB(b)
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if err := db.View(context.Background(), func(r *engine.ReadTx) error {
				_, err := tallies.Get(r, ids[i%len(ids)])
				return err
			}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
