package bench_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// BenchmarkRetention overwrites documents of 1 KB at random, one indexed member of which changes, for four times their volume, as
// fast as it can, and at some 2,000 a second. It looks at the folder twenty times a second meanwhile, and reports how many times
// what is alive - keys and values of documents and index entries, as they are stored - its files take on the disk, write-ahead
// logs and all: on the mean (ratio) and at most (max-ratio); and the same of tables alone (tables). p99-ms and updates/s are of
// the transactions, of 100 documents each.
func BenchmarkRetention(b *testing.B) {
	for _, docs := range []int{60_000, 200_000} {
		b.Run(fmt.Sprintf("documents=%d", docs), func(b *testing.B) { retention(b, docs, 0) })
	}
	b.Run("documents=60000/steady", func(b *testing.B) { retention(b, 60_000, 50*time.Millisecond) })
}

// retention updates each documents every pace, or as fast as it can.
func retention(b *testing.B, docs int, pace time.Duration) {
	const each, rounds = 100, 4
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
		var took []time.Duration
		watched := watchFolder(b, dir)
		b.StartTimer()
		for range rounds * docs / each {
			began := time.Now()
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
			took = append(took, time.Since(began))
			time.Sleep(pace - time.Since(began))
		}
		b.StopTimer()
		sizes := watched()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		live := float64(alive(b, dir))
		b.ReportMetric(live/(1<<20), "live-MiB")
		b.ReportMetric(sizes.all/live, "ratio")
		b.ReportMetric(sizes.most/live, "max-ratio")
		b.ReportMetric(sizes.tables/live, "tables")
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		b.StartTimer()
	}
	b.ReportMetric(float64(rounds*docs*b.N)/b.Elapsed().Seconds(), "updates/s")
}

// folderSizes are bytes on the disk: of all files on the mean and at most, and of tables on the mean.
type folderSizes struct{ all, most, tables float64 }

// watchFolder looks at the size of a folder until the function that it returns is called.
func watchFolder(b *testing.B, dir string) (done func() folderSizes) {
	b.Helper()
	var sum folderSizes
	n := 0.0
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			all, tables := folderSize(dir)
			n++
			sum.all, sum.tables, sum.most = sum.all+all, sum.tables+tables, max(sum.most, all)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	return func() folderSizes {
		close(stop)
		watcher.Wait()
		return folderSizes{sum.all / n, sum.most, sum.tables / n}
	}
}

func folderSize(dir string) (all, tables float64) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file may have gone meanwhile
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		size := float64(onDisk(info))
		all += size
		if filepath.Ext(path) == ".sst" {
			tables += size
		}
		return nil
	})
	return all, tables
}

// alive returns the bytes of all keys and values that a reader of a folder finds.
func alive(b *testing.B, dir string) (bytes int64) {
	b.Helper()
	s, err := badgerstore.Open(badgerstore.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	head, err := s.Head(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	snap, err := s.At(context.Background(), head)
	if err != nil {
		b.Fatal(err)
	}
	defer snap.Close()
	for kv, err := range snap.Scan(nil, nil, false, 0) {
		if err != nil {
			b.Fatal(err)
		}
		bytes += int64(len(kv.Key) + len(kv.Value))
	}
	return bytes
}
