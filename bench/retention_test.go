package bench_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
)

// BenchmarkRetention overwrites documents of 1 KB at random, one indexed member of which changes, for four times their volume, and
// reports how many times the documents' bytes the folder's files are: right afterwards (ratio), and the throughput meanwhile.
// Write-ahead logs, at most a few of 16 MiB, are not counted.
func BenchmarkRetention(b *testing.B) {
	const docs, each, rounds = 60_000, 100, 4
	type record struct {
		Rank int    `json:"rank"`
		Body string `json:"body"`
	}
	for b.Loop() {
		b.StopTimer()
		s := engine.NewSchema()
		records := engine.Define[record](s, "records")
		records.AddIndex("byRank", "rank")
		dir := b.TempDir()
		db, err := engine.Open(s, engine.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, 2))
		body := func() string {
			var out strings.Builder
			for out.Len() < 1000 {
				fmt.Fprintf(&out, "%016x", random.Uint64())
			}
			return out.String()
		}
		var ids []engine.ID[record]
		put := func(fn func(tx *engine.Tx) error) {
			if err := db.Update(context.Background(), fn); err != nil {
				b.Fatal(err)
			}
		}
		for len(ids) < docs {
			put(func(tx *engine.Tx) error {
				for range each {
					id, err := records.Insert(tx, record{random.IntN(1 << 40), body()})
					if err != nil {
						return err
					}
					ids = append(ids, id)
				}
				return nil
			})
		}
		b.StartTimer()
		for range rounds * docs / each {
			put(func(tx *engine.Tx) error {
				for range each {
					err := records.Patch(tx, ids[random.IntN(docs)], func(r *record) error {
						r.Rank, r.Body = random.IntN(1<<40), body()
						return nil
					})
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		b.StopTimer()
		b.ReportMetric(float64(tables(b, dir))/float64(docs*1100), "ratio")
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(rounds*docs*float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// tables returns the size of the files in a folder that hold what is stored, without the write-ahead logs, which are at most
// a few of 16 MiB.
func tables(b *testing.B, dir string) (total int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sst" {
			return nil // a file may have gone meanwhile
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}
