package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// grown makes a folder with n notes of some 150 bytes, in a collection without an index.
func grown(b *testing.B, n int) (dir string) {
	b.Helper()
	dir = b.TempDir()
	s := engine.NewSchema()
	notes := engine.Define[note](s, "notes")
	db, err := engine.Open(s, engine.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("x", 80)
	for i := 0; i < n; i += 1000 {
		if err := db.Update(context.Background(), func(tx *engine.Tx) error {
			for j := range 1000 {
				if _, err := notes.Insert(tx, note{fmt.Sprint("room", (i+j)*7919%n), text}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkBackfill builds an index over 100,000 stored documents in the background: alone, and while 16 writers insert, each
// insert durable before its writer goes on. "ratio" is the throughput of the writers during the build over that in as much time
// right after it, in the same database.
func BenchmarkBackfill(b *testing.B) {
	const n = 100_000
	for _, writers := range []int{0, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			var building time.Duration
			var during, after int64
			for range b.N {
				b.StopTimer()
				dir := grown(b, n)
				s := engine.NewSchema()
				notes := engine.Define[note](s, "notes")
				notes.AddIndex("byRoom", "room")
				db, err := engine.Open(s, engine.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				began := time.Now()
				wrote := insertUntil(b, db, notes, writers, func() {
					if err := db.WaitIndexes(context.Background()); err != nil {
						b.Error(err)
					}
				})
				took := time.Since(began)
				b.StopTimer()
				building += took
				during += wrote
				after += insertUntil(b, db, notes, writers, func() { time.Sleep(took) })
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/building.Seconds(), "documents/s")
			if writers > 0 {
				b.ReportMetric(float64(during)/building.Seconds(), "writes/s")
				b.ReportMetric(float64(during)/float64(after), "ratio")
			}
		})
	}
}

// insertUntil lets writers insert until a function returns, and returns how many inserts there were.
func insertUntil(b *testing.B, db *engine.DB, notes *engine.Collection[note], writers int, wait func()) int64 {
	var stop atomic.Bool
	var wrote atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for !stop.Load() {
				if err := db.Update(context.Background(), func(tx *engine.Tx) error {
					_, err := notes.Insert(tx, note{"new", "text"})
					return err
				}); err != nil {
					b.Error(err)
					return
				}
				wrote.Add(1)
			}
		})
	}
	wait()
	stop.Store(true)
	wg.Wait()
	return wrote.Load()
}
