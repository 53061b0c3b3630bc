package badgerstore_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
	"github.com/mimosadb/mimosa/engine/storage/storagetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storagetest.Harness {
		clock := storagetest.NewClock()
		o := badgerstore.Options{Dir: t.TempDir(), Clock: clock.Now}
		return storagetest.Harness{
			Open:  func() (storage.Store, error) { return badgerstore.Open(o) },
			Clock: clock,
		}
	})
}

// TestRelaxed loses nothing when only the process dies, and closes and opens in either way.
func TestRelaxed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		s := mustOpen(t, badgerstore.Options{Dir: dir, Relaxed: round != 1})
		mustCommit(t, s, round, "a", fmt.Sprint(round))
		if round == 2 {
			killed := t.TempDir()
			copyFolder(t, dir, killed)
			s = mustOpen(t, badgerstore.Options{Dir: killed})
		}
		kv, ok, err := headSnapshot(t, s).Get([]byte("a"))
		if want := fmt.Sprintf("value of a in group %d.", round); !ok || err != nil || string(kv.Value) != want {
			t.Fatalf("round %d: %q, %v, %v", round, kv.Value, ok, err)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	}
}

// TestSpaceIsGivenBack overwrites the same pairs many times. Compact lets the old versions go, but for those that a snapshot
// pins.
func TestSpaceIsGivenBack(t *testing.T) {
	t.Parallel()
	const keys, pairSize = 100, 10_000 // 1 MB a round
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir, Relaxed: true})
	if size := tableSize(t, dir); size > 0 {
		t.Fatalf("an empty store with tables of %d bytes", size)
	}
	write := func(round int) storage.Timestamp {
		ts, err := s.Commit(t.Context(), crashID(uint64(round)), func([]storage.LogEntry) (storage.Group, error) {
			g := storage.Group{Log: make([]byte, 1000)}
			for i := range keys {
				value := append(fmt.Appendf(nil, "%d of round %d ", i, round), make([]byte, pairSize)...)
				g.Writes = append(g.Writes, storage.Write{Key: fmt.Appendf(nil, "key %02d", i), Value: value, Delete: i%10 == 0 && round%2 == 1})
			}
			return g, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return ts
	}
	check := func(ts storage.Timestamp, round int) {
		t.Helper()
		snap, err := s.At(t.Context(), ts)
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		n := 0
		for kv, err := range snap.Scan(nil, nil, false, 0) {
			if err != nil {
				t.Fatal(err)
			}
			var i, r int
			if _, err := fmt.Sscanf(string(kv.Value[:40]), "%d of round %d ", &i, &r); err != nil || r != round || string(kv.Key) != fmt.Sprintf("key %02d", i) {
				t.Fatalf("at %d: %q of round %d, want round %d", ts, kv.Key, r, round)
			}
			n++
		}
		want := keys
		if round%2 == 1 {
			want -= keys / 10
		}
		if n != want {
			t.Fatalf("at %d: %d pairs, want %d", ts, n, want)
		}
	}

	pinned := write(0)
	snap, err := s.At(t.Context(), pinned)
	if err != nil {
		t.Fatal(err)
	}
	before, last := pinned, pinned
	round := 1
	rounds := func(n int) {
		for range n {
			before, last = last, write(round)
			if err := s.Compact(t.Context(), storage.Floors{Versions: before, Log: before}); err != nil {
				t.Fatal(err)
			}
			round++
		}
	}
	rounds(120) // the floor stays at the pin, and everything since
	badgerstore.Flatten(t, s, func(levels map[int]int) bool { return levels[6] > 0 })
	check(pinned, 0)
	check(before, round-2)
	check(last, round-1)
	if size := tableSize(t, dir); size < 10<<20 {
		t.Fatalf("tables of %d bytes hold all that a pinned snapshot and its successors can see", size)
	}
	snap.Close()
	rounds(50) // Badger looks at old versions again when new ones reach them
	badgerstore.Flatten(t, s, func(map[int]int) bool { return tableSize(t, dir) < 10<<20 })
	check(before, round-2)
	check(last, round-1)
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// tableSize counts the tables, which is where versions pile up; write-ahead logs are sparse and have their size from the
// beginning.
func tableSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sst" {
			return nil // removed meanwhile
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
