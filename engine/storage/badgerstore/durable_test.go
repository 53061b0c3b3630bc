package badgerstore_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4/options"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// TestBadgerOptions looks at what a kill of the process cannot show: that Badger syncs, and all else that the guarantees in
// the package documentation rest on.
func TestBadgerOptions(t *testing.T) {
	t.Parallel()
	for _, relaxed := range []bool{false, true} {
		s := mustOpen(t, badgerstore.Options{Dir: t.TempDir(), Relaxed: relaxed})
		o := badgerstore.InForce(s)
		if o.SyncWrites == relaxed {
			t.Errorf("relaxed %v: SyncWrites is %v", relaxed, o.SyncWrites)
		}
		if o.DetectConflicts {
			t.Error("Badger detects conflicts, and remembers what was read for it")
		}
		if o.ChecksumVerificationMode != options.NoVerification {
			t.Errorf("Badger verifies checksums (mode %d), and takes damage for absence", o.ChecksumVerificationMode)
		}
		if o.NumVersionsToKeep != 1 {
			t.Errorf("Badger keeps %d versions below the floor", o.NumVersionsToKeep)
		}
		if o.ValueThreshold <= storage.MaxValue {
			t.Errorf("values from %d bytes go to the value log, which is never collected", o.ValueThreshold)
		}
		if o.MemTableSize != 16<<20 || o.NumMemtables != 2 || o.BlockCacheSize != 0 || o.IndexCacheSize != 0 || o.Compression != options.None {
			t.Errorf("memory: tables of %d × %d, caches of %d and %d, compression %d",
				o.NumMemtables, o.MemTableSize, o.BlockCacheSize, o.IndexCacheSize, o.Compression)
		}
		if o.ReadOnly || o.InMemory {
			t.Error("the database is not one on disk that can be written to")
		}
	}
}

// writeAheadLogs returns the names of the write-ahead logs in a folder.
func writeAheadLogs(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// half returns a group that fills a good part of what one may hold.
func half(n int) func([]storage.LogEntry) (storage.Group, error) {
	return func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: []storage.Write{{Key: fmt.Appendf(nil, "%d", n), Value: make([]byte, 1<<20-64)}}}, nil
	}
}

// TestNamesAreDurable goes on until Badger has begun several write-ahead logs. Whenever a Commit returns, the name of every
// one that there is has been made durable.
func TestNamesAreDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	durable, syncs := map[string]bool{}, 0
	for _, name := range writeAheadLogs(t, dir) { // Open waits for them too, before it is seen here
		durable[name] = true
	}
	badgerstore.BeforeFolderSync(s, func() error {
		syncs++
		for _, name := range writeAheadLogs(t, dir) {
			durable[name] = true
		}
		return nil
	})
	seen := map[string]bool{}
	for n := 0; len(seen) < 4; n++ {
		if n == 200 {
			t.Fatalf("no new write-ahead logs after %d groups: %v", n, slices.Sorted(maps.Keys(seen)))
		}
		if _, err := s.Commit(t.Context(), crashID(uint64(n)), half(n)); err != nil {
			t.Fatal(err)
		}
		for _, name := range writeAheadLogs(t, dir) {
			seen[name] = true
			if !durable[name] {
				t.Fatalf("group %d was acknowledged before the name of %s was durable (%d syncs)", n, name, syncs)
			}
		}
	}
}

// TestNamesOfRelaxed: who does not wait for the disk does not wait for names either.
func TestNamesOfRelaxed(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, badgerstore.Options{Dir: t.TempDir(), Relaxed: true})
	badgerstore.BeforeFolderSync(s, func() error {
		t.Error("the folder was synced")
		return nil
	})
	for n := range 20 {
		if _, err := s.Commit(t.Context(), crashID(uint64(n)), half(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNamesNotDurable makes that sync fail: the group is there, but cannot be promised to stay.
func TestNamesNotDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	broken := errors.New("broken disk")
	badgerstore.BeforeFolderSync(s, func() error { return broken })
	err := error(nil)
	for n := 0; err == nil && n < 200; n++ {
		_, err = s.Commit(t.Context(), crashID(uint64(n)), half(n))
	}
	if !errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, broken) {
		t.Fatalf("commit: %v, want ErrOutcomeUnknown for a broken disk", err)
	}
	if _, err := s.Head(t.Context()); !errors.Is(err, storage.ErrPoisoned) {
		t.Fatalf("head: %v, want ErrPoisoned", err)
	}
}

// TestDefaultMinFree: the mark is a quarter of a small disk, so that most of one can be used, within bounds.
func TestDefaultMinFree(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ size, want int64 }{
		{1 << 40, 256 << 20},
		{1 << 30, 256 << 20},
		{512 << 20, 128 << 20},
		{200 << 20, 50 << 20},
		{100 << 20, 48 << 20},
		{0, 48 << 20},
	} {
		if got := badgerstore.DefaultMinFree(c.size); got != c.want {
			t.Errorf("disk of %d MiB: %d MiB must be free, want %d", c.size>>20, got>>20, c.want>>20)
		}
	}
	for given, inForce := range map[int64]func(int64) bool{
		0:     func(n int64) bool { return n >= 48<<20 && n <= 256<<20 },
		12345: func(n int64) bool { return n == 12345 },
		-1:    func(n int64) bool { return n < 0 },
	} {
		s := mustOpen(t, badgerstore.Options{Dir: t.TempDir(), MinFree: given})
		if n := badgerstore.MinFree(s); !inForce(n) {
			t.Errorf("MinFree %d became %d", given, n)
		}
	}
}
