package interval_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/interval"
	"pgregory.net/rapid"
)

func touched(x *interval.Index[int], key []byte) (who []int) {
	x.Touch(key, func(w int) bool { who = append(who, w); return true })
	return who
}

// TestIndexAgainstModel drives an index and a plain list of (set, watcher) with the same calls.
func TestIndexAgainstModel(t *testing.T) {
	t.Parallel()
	draw := newDraws()
	type entry struct {
		set *interval.Set
		who int
	}
	rapid.Check(t, func(t *rapid.T) {
		x := interval.NewIndex[int](rapid.IntRange(-1, 3).Draw(t, "prefix length"), rapid.Uint64().Draw(t, "seed"))
		var model []entry
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				e := entry{add(new(interval.Set), draw.ranges.Draw(t, "ranges")...), rapid.IntRange(0, 3).Draw(t, "who")}
				x.Add(e.set, e.who)
				model = append(model, e)
			},
			"add again": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("nothing yet")
				}
				e := rapid.SampledFrom(model).Draw(t, "entry")
				e.who = rapid.IntRange(0, 3).Draw(t, "who")
				x.Add(e.set, e.who)
				model = append(model, e)
			},
			"remove": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("nothing yet")
				}
				i := rapid.IntRange(0, len(model)-1).Draw(t, "entry")
				x.Remove(model[i].set, model[i].who)
				model = slices.Delete(model, i, i+1)
			},
			"remove a stranger": func(t *rapid.T) {
				x.Remove(add(new(interval.Set), draw.ranges.Draw(t, "ranges")...), 9)
			},
			"": func(t *rapid.T) {
				if err := x.Check(); err != nil {
					t.Fatal(err)
				}
				distinct := make(map[string]bool)
				for _, e := range model {
					for _, b := range ranges(e.set) {
						distinct[b.String()] = true
					}
				}
				if x.Len() != len(distinct) {
					t.Fatalf("Len %d of %d ranges", x.Len(), len(distinct))
				}
				for _, key := range rapid.SliceOfN(draw.key, 1, 8).Draw(t, "keys") {
					// A watcher is expected once for each distinct range it watches that holds the key.
					want := make(map[string]int)
					for _, e := range model {
						for _, b := range ranges(e.set) {
							if b.holds(key) {
								want[b.String()+fmt.Sprint(e.who)] = e.who
							}
						}
					}
					got := touched(x, key)
					slices.Sort(got)
					if w := slices.Sorted(maps.Values(want)); !slices.Equal(got, w) {
						t.Fatalf("%q touches %v, want %v", key, got, w)
					}
				}
			},
		})
		for _, e := range model {
			x.Remove(e.set, e.who)
		}
		if parts, across := x.Partitions(); x.Len() != 0 || parts != 0 || across != 0 {
			t.Fatalf("%d ranges, %d partitions, %d across left", x.Len(), parts, across)
		}
	})
}

// TestIndexPartitions says which ranges the common tree is spared.
func TestIndexPartitions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lo, hi        string // "∞" is no bound
		parts, across int
	}{
		{"aaX", "aaY", 1, 0},
		{"aa", "ab", 1, 0},
		{"aa", "aa\x01", 1, 0},
		{"aa", "ac", 0, 1},
		{"aa", "ab\x00", 0, 1},
		{"aa", "b", 0, 1},
		{"a\xff", "b", 1, 0},
		{"a\xff\xff\xff", "b", 1, 0},
		{"a\xfe", "a\xff", 1, 0},
		{"a\x80", "b", 0, 1},
		{"\xff\xff", "∞", 1, 0},
		{"\xff\xfe", "∞", 0, 1},
		{"a", "ab", 0, 1},
		{"", "∞", 0, 1},
		{"aa", "aa\x00", 0, 0}, // a point
	} {
		x := interval.NewIndex[int](2, 1)
		hi := []byte(c.hi)
		if c.hi == "∞" {
			hi = nil
		}
		x.Add(add(new(interval.Set), bounds{[]byte(c.lo), hi}), 1)
		if parts, across := x.Partitions(); parts != c.parts || across != c.across || x.Len() != 1 {
			t.Errorf("[%q, %q): %d partitions, %d across, Len %d", c.lo, c.hi, parts, across, x.Len())
		}
		if len(touched(x, []byte(c.lo))) != 1 || len(touched(x, hi)) != 0 && hi != nil {
			t.Errorf("[%q, %q) is not found by its bounds", c.lo, c.hi)
		}
	}
}

// TestIndexMovesAWatcherWithoutAGap is what a live query does after each run: the new set comes before the old one goes.
func TestIndexMovesAWatcherWithoutAGap(t *testing.T) {
	t.Parallel()
	x := interval.NewIndex[int](0, 1)
	older := add(new(interval.Set), bounds{[]byte("a"), []byte("c")}, bounds{[]byte("k"), []byte("k\x00")})
	newer := add(new(interval.Set), bounds{[]byte("a"), []byte("c")}, bounds{[]byte("k"), []byte("k\x00")},
		bounds{[]byte("x"), []byte("z")})
	x.Add(older, 7)
	x.Add(newer, 7)
	if got := touched(x, []byte("b")); !slices.Equal(got, []int{7}) {
		t.Errorf("added twice, the watcher comes as %v", got)
	}
	x.Remove(older, 7)
	for _, key := range []string{"b", "k", "y"} {
		if got := touched(x, []byte(key)); !slices.Equal(got, []int{7}) {
			t.Errorf("%q touches %v after the move", key, got)
		}
	}
	x.Remove(newer, 7)
	x.Remove(newer, 7)
	if x.Len() != 0 {
		t.Errorf("%d ranges left", x.Len())
	}
}

// TestIndexCrowds lets thousands come to one range and one point and leave in another order.
func TestIndexCrowds(t *testing.T) {
	t.Parallel()
	const crowd, seed = 3000, 42
	x := interval.NewIndex[int](1, seed)
	s := add(new(interval.Set), bounds{[]byte("a"), []byte("c")}, bounds{[]byte("p"), []byte("p\x00")})
	random := rand.New(rand.NewPCG(seed, 0))
	want := make(map[int]bool)
	for _, w := range random.Perm(crowd) {
		x.Add(s, w)
		want[w] = true
	}
	verify := func() {
		t.Helper()
		for _, key := range []string{"b", "p"} {
			got := touched(x, []byte(key))
			slices.Sort(got)
			if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
				t.Fatalf("seed %d: %q touches %d of %d watchers", seed, key, len(got), len(want))
			}
		}
	}
	verify()
	for i, w := range random.Perm(crowd) {
		x.Remove(s, w)
		delete(want, w)
		if i%100 == 0 || len(want) < 150 && i%5 == 0 {
			verify()
		}
		if w%10 == 0 { // some come back
			x.Add(s, w)
			want[w] = true
		}
	}
	verify()
}

func TestTouchStopsWhenTold(t *testing.T) {
	t.Parallel()
	x := interval.NewIndex[int](1, 1)
	list := []bounds{
		{[]byte("b"), []byte("b\x00")}, // a point, two of a partition, two across, all with b
		{[]byte("b"), []byte("bz")},
		{[]byte("b"), []byte("bb")},
		{[]byte("a"), []byte("d")},
		{nil, nil},
	}
	for i, b := range list {
		x.Add(add(new(interval.Set), b), i)
	}
	for limit := 1; limit <= len(list); limit++ {
		n := 0
		x.Touch([]byte("b"), func(int) bool { n++; return n < limit })
		if n != limit {
			t.Errorf("asked to stop after %d, it yielded %d", limit, n)
		}
	}
}

// TestIndexIsDeterministic replays one history: the order in which watchers come must be the same.
func TestIndexIsDeterministic(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) []int {
		x := interval.NewIndex[int](1, seed)
		random := rand.New(rand.NewPCG(1, 1))
		var sets []*interval.Set
		for i := range 500 {
			lo := []byte{byte(random.IntN(4)), byte(random.IntN(256))}
			s := add(new(interval.Set), bounds{lo, []byte{lo[0] + byte(random.IntN(2)), byte(random.IntN(256))}})
			sets = append(sets, s)
			x.Add(s, i)
			if i%3 == 0 {
				x.Remove(sets[i/2], i/2)
			}
		}
		var order []int
		for i := range 256 {
			order = append(order, touched(x, []byte{1, byte(i)})...)
		}
		return order
	}
	if a, b := run(5), run(5); len(a) == 0 || !slices.Equal(a, b) {
		t.Error("the same calls and seed yield in different orders")
	}
}

// TestTreesStayShallow adds ranges in sorted order, which turns an unbalanced tree into a list; Check looks at the depth.
func TestTreesStayShallow(t *testing.T) {
	t.Parallel()
	const n, seed = 20_000, 3
	x := interval.NewIndex[int](1, seed)
	sets := make([]*interval.Set, n)
	for i := range n {
		lo := binary.BigEndian.AppendUint32([]byte{'p'}, uint32(2*i))
		sets[i] = add(new(interval.Set), bounds{lo, append(bytes.Clone(lo), 9)})
		x.Add(sets[i], i)
	}
	if err := x.Check(); err != nil {
		t.Fatal(err)
	}
	for i := range n / 2 {
		x.Remove(sets[i], i)
	}
	if err := x.Check(); err != nil {
		t.Fatal(err)
	}
	if x.Len() != n/2 {
		t.Errorf("%d ranges left of %d", x.Len(), n/2)
	}
}

// TestIndexUnderConcurrency lets the sets of some watchers move while all of them look: who stays, and who moves without a
// gap, is found at every moment.
func TestIndexUnderConcurrency(t *testing.T) {
	t.Parallel()
	x := interval.NewIndex[int](1, 1)
	stays := add(new(interval.Set), bounds{[]byte("a"), []byte("f")}, bounds{[]byte("k"), []byte("k\x00")})
	x.Add(stays, 0)
	var wg sync.WaitGroup
	for w := 1; w <= 4; w++ {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 0))
			var last *interval.Set
			for range 500 {
				lo := []byte{'a' + byte(random.IntN(8)), byte(random.IntN(8))}
				s := add(new(interval.Set), bounds{lo, []byte{lo[0] + 1}}, bounds{[]byte("k"), []byte("k\x00")})
				x.Add(s, w)
				if last != nil {
					x.Remove(last, w)
				}
				last = s
				if got := touched(x, []byte("k")); !slices.Contains(got, 0) || !slices.Contains(got, w) {
					t.Errorf("k touches %v, not 0 and %d", got, w)
				}
				if got := touched(x, lo); !slices.Contains(got, w) || lo[0] < 'f' && !slices.Contains(got, 0) {
					t.Errorf("%q touches %v, not %d and, below f, 0", lo, got, w)
				}
				_ = x.Len()
			}
			x.Remove(last, w)
		})
	}
	wg.Wait()
	if err := x.Check(); err != nil {
		t.Error(err)
	}
	x.Remove(stays, 0)
	if x.Len() != 0 {
		t.Errorf("%d ranges left", x.Len())
	}
}
