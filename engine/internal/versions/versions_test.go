package versions_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine/internal/versions"
)

type pair struct {
	key string
	v   versions.Version
}

// walk returns what a cursor yields.
func walk(l *versions.List, lo, hi string, bounded, reverse bool, seq uint64) []string {
	out := []string{}
	for c := l.Range(lo, hi, bounded, reverse, seq); c.Ok(); c.Next() {
		out = append(out, fmt.Sprintf("%s=%s/%v", c.Key(), c.Version().Value, c.Version().Deleted))
	}
	return out
}

// Whatever was added, a reader sees the newest versions up to its number, in order, and no others.
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := versions.New(rapid.Uint64().Draw(t, "seed"))
		var added []pair
		key := rapid.StringMatching(`[ab]{0,4}`)
		for i := range rapid.IntRange(0, 60).Draw(t, "n") {
			v := versions.Version{Seq: uint64(i/2 + 1), Value: []byte(fmt.Sprint(i)), Deleted: rapid.Bool().Draw(t, "deleted")}
			k := key.Draw(t, "key")
			l.Set(k, v)
			added = append(added, pair{k, v})
		}
		seq := rapid.Uint64Range(0, 32).Draw(t, "at")
		lo, hi := key.Draw(t, "lo"), key.Draw(t, "hi")
		bounded, reverse := rapid.Bool().Draw(t, "bounded"), rapid.Bool().Draw(t, "reverse")
		model := map[string]versions.Version{}
		all := map[string]bool{}
		for _, p := range added {
			all[p.key] = true
			if p.v.Seq <= seq {
				model[p.key] = p.v
			}
		}
		if l.Len() != len(all) {
			t.Fatalf("it has %d keys, want %d", l.Len(), len(all))
		}
		want := []string{}
		var keys []string
		for k, v := range model {
			keys = append(keys, k)
			if got, ok := l.Get(k, seq); !ok || string(got.Value) != string(v.Value) || got.Deleted != v.Deleted || got.Seq != v.Seq {
				t.Fatalf("%q is %v (%v), want %v", k, got, ok, v)
			}
		}
		if k := key.Draw(t, "other"); !slices.Contains(keys, k) {
			if _, ok := l.Get(k, seq); ok {
				t.Fatalf("%q is there", k)
			}
		}
		slices.Sort(keys)
		if reverse {
			slices.Reverse(keys)
		}
		for _, k := range keys {
			if k >= lo && (!bounded || k < hi) {
				want = append(want, fmt.Sprintf("%s=%s/%v", k, model[k].Value, model[k].Deleted))
			}
		}
		if reverse && bounded && lo >= hi {
			want = []string{}
		}
		if got := walk(l, lo, hi, bounded, reverse, seq); !slices.Equal(got, want) {
			t.Fatalf("[%q,%q) bounded=%v reverse=%v at %d: %v, want %v", lo, hi, bounded, reverse, seq, got, want)
		}
	})
}

// Readers beside the writer see whole numbers: as of n, exactly the first n keys, and each with the version of its number.
func TestReadersBesideTheWriter(t *testing.T) {
	t.Parallel()
	const keys, rounds = 50, 40
	l := versions.New(7)
	var mu sync.Mutex
	newest := uint64(0)
	var wg sync.WaitGroup
	wg.Go(func() {
		for seq := uint64(1); seq <= rounds; seq++ {
			for k := range keys {
				l.Set(fmt.Sprintf("%03d", (k*37)%keys), versions.Version{Seq: seq, Value: []byte(fmt.Sprint(seq))})
			}
			mu.Lock()
			newest = seq
			mu.Unlock()
		}
	})
	for r := range 2 {
		wg.Go(func() {
			for {
				mu.Lock()
				at := newest
				mu.Unlock()
				got := walk(l, "", "", false, r == 1, at)
				if at > 0 && len(got) != keys {
					t.Errorf("as of %d there are %d keys", at, len(got))
					return
				}
				for i, s := range got {
					k := i
					if r == 1 {
						k = keys - 1 - i
					}
					if want := fmt.Sprintf("%03d=%d/false", k, at); s != want {
						t.Errorf("as of %d the key is %s, want %s", at, s, want)
						return
					}
				}
				if at == rounds {
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSet(b *testing.B) {
	b.ReportAllocs()
	l := versions.New(1)
	for i := range b.N {
		if i%256 == 0 {
			l = versions.New(uint64(i) + 1)
		}
		l.Set(fmt.Sprintf("%016d", uint64(i)*2654435761), versions.Version{Seq: uint64(i)})
	}
}
