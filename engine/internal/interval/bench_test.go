package interval_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/interval"
)

const (
	benchRanges = 100_000
	benchSeed   = 1
)

// benchKey is a key as the engine has them: a prefix of eight bytes, an equality component, the rest.
func benchKey(n, rest int) []byte {
	key := append([]byte("index001"), 0x40)
	key = fmt.Appendf(key, "room_%012d", n)
	key = append(key, 0, 1)
	return binary.BigEndian.AppendUint64(append(key, 0x28), uint64(rest))
}

// benchSet is the set of the n-th live query: a point or one room's newest messages.
func benchSet(n int, point bool) *interval.Set {
	var s interval.Set
	if point {
		s.AddPoint(benchKey(n, 0))
	} else {
		s.Add(benchKey(n, 100), benchKey(n, 200))
	}
	s.Seal()
	return &s
}

func benchIndex(watchers int, point bool) (*interval.Index[uint32], []*interval.Set) {
	x := interval.NewIndex[uint32](8, benchSeed)
	random := rand.New(rand.NewPCG(benchSeed, 0))
	sets := make([]*interval.Set, benchRanges)
	for _, n := range random.Perm(benchRanges) {
		sets[n] = benchSet(n, point)
		for w := range watchers {
			x.Add(sets[n], uint32(n*watchers+w))
		}
	}
	return x, sets
}

// BenchmarkTouch looks up keys among 100,000 distinct ranges, each key in one of them or in none.
func BenchmarkTouch(b *testing.B) {
	for _, watchers := range []int{1, 100} {
		for _, point := range []bool{true, false} {
			sort := "range"
			if point {
				sort = "point"
			}
			b.Run(fmt.Sprintf("%s/watchers=%d", sort, watchers), func(b *testing.B) {
				x, _ := benchIndex(watchers, point)
				random := rand.New(rand.NewPCG(benchSeed, 1))
				hits, misses := make([][]byte, 1<<12), make([][]byte, 1<<12)
				for i := range hits {
					n := random.IntN(benchRanges)
					if point {
						hits[i], misses[i] = benchKey(n, 0), benchKey(n, 1)
					} else {
						hits[i], misses[i] = benchKey(n, 150), benchKey(n, 300)
					}
				}
				for _, c := range []struct {
					name string
					keys [][]byte
					each int
				}{{"hit", hits, watchers}, {"miss", misses, 0}} {
					b.Run(c.name, func(b *testing.B) {
						b.ReportAllocs()
						i, n := 0, 0
						for b.Loop() {
							x.Touch(c.keys[i%len(c.keys)], func(uint32) bool { n++; return true })
							i++
						}
						if n != i*c.each {
							b.Fatalf("%d watchers for %d keys", n, i)
						}
					})
				}
			})
		}
	}
}

// BenchmarkTouchOneTree is the worst case: 100,000 ranges of one room, which nothing but their order tells apart.
func BenchmarkTouchOneTree(b *testing.B) {
	x := interval.NewIndex[uint32](8, benchSeed)
	random := rand.New(rand.NewPCG(benchSeed, 0))
	for _, n := range random.Perm(benchRanges) {
		var s interval.Set
		s.Add(benchKey(1, 100*n), benchKey(1, 100*n+50))
		x.Add(&s, uint32(n))
	}
	keys := make([][]byte, 1<<12)
	for i := range keys {
		keys[i] = benchKey(1, 100*random.IntN(benchRanges)+25)
	}
	b.ReportAllocs()
	i, n := 0, 0
	for b.Loop() {
		x.Touch(keys[i%len(keys)], func(uint32) bool { n++; return true })
		i++
	}
	if n != i {
		b.Fatalf("%d watchers for %d keys", n, i)
	}
}

// BenchmarkMove is what a live query costs the index at each run: its new set comes, its old one goes.
func BenchmarkMove(b *testing.B) {
	for _, point := range []bool{true, false} {
		sort := "range"
		if point {
			sort = "point"
		}
		b.Run(sort, func(b *testing.B) {
			x, sets := benchIndex(1, point)
			newer := make([]*interval.Set, 1<<12)
			for i := range newer {
				newer[i] = benchSet(benchRanges+i, point)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				at, from := i*7919%benchRanges, i%len(newer)
				x.Add(newer[from], uint32(at))
				x.Remove(newer[from], uint32(at))
				x.Remove(sets[at], uint32(at))
				x.Add(sets[at], uint32(at))
				i++
			}
		})
	}
}

// BenchmarkSet builds the read set of a small query, a scan and the documents it led to, and checks ten written keys.
func BenchmarkSet(b *testing.B) {
	lo, hi := benchKey(1, 100), benchKey(1, 200)
	var documents, written [][]byte
	for i := range 10 {
		documents = append(documents, benchKey(i*7%10, 0))
		written = append(written, benchKey(i, 300))
	}
	b.ReportAllocs()
	for b.Loop() {
		var s interval.Set
		s.Add(lo, hi)
		for _, d := range documents {
			s.AddPoint(d)
		}
		for _, w := range written {
			if s.Contains(w) {
				b.Fatal("a key that was not read")
			}
		}
	}
}
