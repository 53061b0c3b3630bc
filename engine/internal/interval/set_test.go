package interval_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/interval"
	"pgregory.net/rapid"
)

// bounds is a range as given to a set; a point has hi = lo+"\x00".
type bounds struct{ lo, hi []byte }

func (b bounds) String() string {
	if b.hi == nil {
		return fmt.Sprintf("[%q, ∞)", b.lo)
	}
	return fmt.Sprintf("[%q, %q)", b.lo, b.hi)
}

// holds is the definition that everything else is measured by.
func (b bounds) holds(key []byte) bool {
	return bytes.Compare(b.lo, key) <= 0 && (b.hi == nil || bytes.Compare(key, b.hi) < 0)
}

func (b bounds) empty() bool { return b.hi != nil && bytes.Compare(b.lo, b.hi) >= 0 }

func (b bounds) isPoint() bool { return b.hi != nil && bytes.Equal(b.hi, append(bytes.Clone(b.lo), 0)) }

func holds(list []bounds, key []byte) bool {
	return slices.ContainsFunc(list, func(b bounds) bool { return b.holds(key) })
}

// draws are the generators of a test. Each test makes its own: rapid's may not be shared by tests that run in parallel.
type draws struct {
	key    *rapid.Generator[[]byte]
	ranges *rapid.Generator[[]bounds]
}

func newDraws() draws {
	// Few letters, short keys: ranges meet, nest and repeat all the time.
	short := rapid.SliceOfN(rapid.SampledFrom([]byte{0x00, 0x01, 'a', 'b', 0xfe, 0xff}), 0, 4)
	// Some begin alike for a long time, about as long as an index tells beginnings apart.
	stems := rapid.SampledFrom([]byte{'a', 0xff})
	lengths := rapid.SampledFrom([]int{6, 7, 8, 9, 16, 17, 247, 248, 249, 255, 256, 300})
	key := rapid.OneOf(short, short, rapid.Custom(func(t *rapid.T) []byte {
		stem := bytes.Repeat([]byte{stems.Draw(t, "stem")}, lengths.Draw(t, "length"))
		return append(stem, short.Draw(t, "rest")...)
	}))
	one := rapid.Custom(func(t *rapid.T) bounds {
		lo := key.Draw(t, "lo")
		switch rapid.IntRange(0, 9).Draw(t, "sort") {
		case 0:
			return bounds{lo, nil}
		case 1, 2, 3:
			return bounds{lo, append(bytes.Clone(lo), 0)}
		case 4:
			return bounds{nil, key.Draw(t, "hi")}
		default:
			return bounds{lo, key.Draw(t, "hi")} // empty in half of all cases
		}
	})
	return draws{key: key, ranges: rapid.SliceOfN(one, 0, 12)}
}

// add puts the ranges into the set, points through AddPoint, from slices that are overwritten at once.
func add(s *interval.Set, list ...bounds) *interval.Set {
	for _, b := range list {
		lo, hi := bytes.Clone(b.lo), bytes.Clone(b.hi)
		if b.isPoint() {
			s.AddPoint(lo)
		} else {
			s.Add(lo, hi)
		}
		for i := range lo {
			lo[i] = '!'
		}
		for i := range hi {
			hi[i] = '!'
		}
	}
	return s
}

func ranges(s *interval.Set) (list []bounds) {
	for lo, hi := range s.Ranges() {
		list = append(list, bounds{lo, hi})
	}
	return list
}

// checkSet compares a set with the ranges that were added to it.
func checkSet(t *rapid.T, s *interval.Set, want []bounds, keys [][]byte) {
	t.Helper()
	got := ranges(s)
	if len(got) != s.Len() || s.Empty() != (len(got) == 0) {
		t.Fatalf("%d ranges, Len %d, Empty %v", len(got), s.Len(), s.Empty())
	}
	for i, b := range got {
		if b.empty() {
			t.Fatalf("empty range %v", b)
		}
		if i > 0 && (got[i-1].hi == nil || bytes.Compare(got[i-1].hi, b.lo) >= 0) {
			t.Fatalf("%v does not lie apart from %v", got[i-1], b)
		}
	}
	for _, b := range want { // the bounds are where mistakes are
		keys = append(keys, b.lo, b.hi, append(bytes.Clone(b.hi), 0))
	}
	for _, key := range keys {
		w := holds(want, key)
		if g := s.Contains(key); g != w {
			t.Fatalf("Contains(%q) is %v of %v", key, g, want)
		}
		if holds(got, key) != w {
			t.Fatalf("ranges %v hold %q otherwise than %v", got, key, want)
		}
	}
}

func TestSetAgainstModel(t *testing.T) {
	t.Parallel()
	draw := newDraws()
	rapid.Check(t, func(t *rapid.T) {
		var s interval.Set
		var model []bounds
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			list := draw.ranges.Draw(t, "ranges")
			model = append(model, list...)
			add(&s, list...)
			if rapid.Bool().Draw(t, "look") {
				checkSet(t, &s, model, rapid.SliceOfN(draw.key, 0, 5).Draw(t, "keys"))
			}
		}
		checkSet(t, &s, model, nil)
	})
}

func TestSetEdges(t *testing.T) {
	t.Parallel()
	k := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		name string
		in   []bounds
		want string
	}{
		{"nothing", nil, "[]"},
		{"all", []bounds{{nil, nil}}, `[["", ∞)]`},
		{"all swallows", []bounds{{k("a"), k("b")}, {nil, nil}, {k("c"), nil}}, `[["", ∞)]`},
		{"reversed", []bounds{{k("b"), k("a")}}, "[]"},
		{"equal", []bounds{{k("a"), k("a")}}, "[]"},
		{"empty end", []bounds{{nil, k("")}, {k("a"), k("")}}, "[]"},
		{"empty key", []bounds{{nil, k("\x00")}}, `[["", "\x00")]`},
		{"meeting", []bounds{{k("b"), k("c")}, {k("a"), k("b")}}, `[["a", "c")]`},
		{"meeting forwards", []bounds{{k("a"), k("b")}, {k("b"), k("c")}}, `[["a", "c")]`},
		{"apart", []bounds{{k("b"), k("c")}, {k("a"), k("a\xff")}}, `[["a", "a\xff") ["b", "c")]`},
		{"nested", []bounds{{k("a"), k("z")}, {k("b"), k("c")}, {k("d"), k("d\x00")}}, `[["a", "z")]`},
		{"unbounded", []bounds{{k("m"), nil}, {k("a"), k("b")}, {k("x"), k("y")}}, `[["a", "b") ["m", ∞)]`},
		{"neighbouring points", []bounds{{k("a\x00"), k("a\x00\x00")}, {k("a"), k("a\x00")}}, `[["a", "a\x00\x00")]`},
	} {
		if got := fmt.Sprint(ranges(add(new(interval.Set), c.in...))); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	var none *interval.Set
	none.Seal()
	if !none.Empty() || none.Len() != 0 || none.Contains(nil) {
		t.Error("a nil set is not empty")
	}
	all := add(new(interval.Set), bounds{})
	if !all.Contains(nil) || all.Len() != 1 {
		t.Error("a set of all keys does not hold them")
	}
}

// TestSetStaysSmall reads few keys very often in an order that defeats all short cuts: the set must not grow with the reads.
// It counts allocations, so it cannot run in parallel.
func TestSetStaysSmall(t *testing.T) {
	var s interval.Set
	s.AddPoint([]byte("z")) // everything comes before it, so goes to the tail
	i := 0
	allocs := testing.AllocsPerRun(10_000, func() {
		s.AddPoint([]byte{'a' + byte(i*7%10)})
		i++
	})
	if allocs != 0 { // an average, rounded down: the few before the set is sorted do not count
		t.Errorf("%v allocations for each read of a key that was read before", allocs)
	}
	if s.Len() != 11 {
		t.Errorf("%d ranges of 11 keys", s.Len())
	}
}

func TestSealedSetIsSafeForReaders(t *testing.T) {
	t.Parallel()
	var s interval.Set
	for i := range 50 {
		s.AddPoint([]byte{byte(99 - 2*i)})
	}
	s.Seal()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			index := interval.NewIndex[int](0, 1)
			index.Add(&s, 1)
			if !s.Contains([]byte{1}) || s.Contains([]byte{2}) || s.Len() != 50 || len(ranges(&s)) != 50 {
				t.Error("a sealed set changed")
			}
		})
	}
	wg.Wait()
}

// Whichever of both is larger, a set holds one of some keys when it holds any of them.
func TestContainsAny(t *testing.T) {
	t.Parallel()
	draw := newDraws()
	rapid.Check(t, func(t *rapid.T) {
		model := draw.ranges.Draw(t, "ranges")
		s := add(new(interval.Set), model...)
		var keys []string
		want := false
		for _, k := range rapid.SliceOfN(draw.key, 0, 12).Draw(t, "keys") {
			keys = append(keys, string(k))
			want = want || holds(model, k)
		}
		slices.Sort(keys)
		if got := s.ContainsAny(keys); got != want {
			t.Fatalf("ContainsAny(%q) is %v of %v", keys, got, model)
		}
	})
}
