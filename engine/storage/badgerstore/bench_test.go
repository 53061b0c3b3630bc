package badgerstore_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

func benchStore(b *testing.B, relaxed bool) *badgerstore.Store {
	b.Helper()
	s, err := badgerstore.Open(badgerstore.Options{Dir: b.TempDir(), Relaxed: relaxed})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// benchGroup is what a number of mutations store: three entries of 200 bytes each, and 60 bytes of log.
func benchGroup(first, mutations int) storage.Group {
	g := storage.Group{Log: make([]byte, 60*mutations), Writes: make([]storage.Write, 0, 3*mutations)}
	for i := range 3 * mutations {
		key := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(first*3+i)*0x9e3779b97f4a7c15)
		g.Writes = append(g.Writes, storage.Write{Key: append(key, "0123456789abcdef"...), Value: make([]byte, 200)})
	}
	return g
}

// BenchmarkCommit reports durable mutations a second by the number that share a group.
func BenchmarkCommit(b *testing.B) {
	for _, relaxed := range []bool{false, true} {
		for _, n := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("relaxed=%v/group=%d", relaxed, n), func(b *testing.B) {
				s := benchStore(b, relaxed)
				i := 0
				for b.Loop() {
					g := benchGroup(i*n, n)
					_, err := s.Commit(b.Context(), crashID(uint64(i)), func([]storage.LogEntry) (storage.Group, error) { return g, nil })
					if err != nil {
						b.Fatal(err)
					}
					i++
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "mutations/s")
			})
		}
	}
}

// benchFilled returns a snapshot of a store with 100,000 pairs in tables.
func benchFilled(b *testing.B) storage.Snapshot {
	b.Helper()
	const pairs, each = 100_000, 1000
	s := benchStore(b, true)
	var ts storage.Timestamp
	for first := 0; first < pairs; first += each {
		var err error
		ts, err = s.Commit(b.Context(), crashID(uint64(first)), func([]storage.LogEntry) (storage.Group, error) {
			g := storage.Group{}
			for i := range each {
				g.Writes = append(g.Writes, storage.Write{Key: benchKey(first + i), Value: make([]byte, 200)})
			}
			return g, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	snap, err := s.At(b.Context(), ts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(snap.Close)
	return snap
}

func benchKey(i int) []byte { return fmt.Appendf(nil, "collection/%08d", i) }

func BenchmarkGet(b *testing.B) {
	snap := benchFilled(b)
	for i := 0; b.Loop(); i++ {
		if _, ok, err := snap.Get(benchKey(i * 7919 % 100_000)); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkMiss(b *testing.B) {
	snap := benchFilled(b)
	for i := 0; b.Loop(); i++ {
		if _, ok, err := snap.Get(append(benchKey(i*7919%100_000), 'x')); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	snap := benchFilled(b)
	for _, reverse := range []bool{false, true} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("pairs=%d/reverse=%v", n, reverse), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					first := i * 7919 % 99_000
					pairs := 0
					for _, err := range snap.Scan(benchKey(first), benchKey(first+n), reverse, 0) {
						if err != nil {
							b.Fatal(err)
						}
						pairs++
					}
					if pairs != n {
						b.Fatal(pairs)
					}
				}
			})
		}
	}
}

// BenchmarkCommitLarge reports what a group costs that is written in parts: 16 MiB in 64,000 rows.
func BenchmarkCommitLarge(b *testing.B) {
	s := benchStore(b, false)
	g := benchGroup(0, 64_000/3)
	g.Log = make([]byte, 4<<20)
	size := int64(len(g.Log))
	for _, w := range g.Writes {
		size += int64(len(w.Key) + len(w.Value))
	}
	b.SetBytes(size)
	i := 0
	for b.Loop() {
		_, err := s.Commit(b.Context(), crashID(uint64(i)), func([]storage.LogEntry) (storage.Group, error) { return g, nil })
		if err != nil {
			b.Fatal(err)
		}
		i++
	}
}
