package badgerstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
	"github.com/mimosadb/mimosa/engine/storage/storagetest"
)

func mustOpen(t *testing.T, o badgerstore.Options) *badgerstore.Store {
	t.Helper()
	s, err := badgerstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test that cares closes it itself
	return s
}

func mustClose(t *testing.T, s *badgerstore.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// mustCommit stores one pair per key, with a value that can be found in a file.
func mustCommit(t *testing.T, s *badgerstore.Store, n int, keys ...string) storage.Timestamp {
	t.Helper()
	ts, err := s.Commit(t.Context(), crashID(uint64(n)), func([]storage.LogEntry) (storage.Group, error) {
		g := storage.Group{Log: fmt.Appendf(nil, "log of group %d", n)}
		for _, k := range keys {
			g.Writes = append(g.Writes, storage.Write{Key: []byte(k), Value: fmt.Appendf(nil, "value of %s in group %d.", k, n)})
		}
		return g, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

func headSnapshot(t *testing.T, s *badgerstore.Store) storage.Snapshot {
	t.Helper()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.At(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snap.Close)
	return snap
}

// copyFolder copies a data folder as it is, open or not: what a kill at this moment would leave. Write-ahead logs are mostly
// zeros at the end, which are not written out.
func copyFolder(t *testing.T, from, to string, only ...string) {
	t.Helper()
	if len(only) == 0 {
		only = []string{"*"}
	}
	// Badger may be merging tables. A kill leaves the folder as it is at one moment; so does a copy, if the list
	// of tables has not changed while it was made.
	for {
		before := readFiles(t, from, badger.ManifestFilename)
		files := readFiles(t, from, only...)
		after := readFiles(t, from, badger.ManifestFilename)
		if files == nil || !maps.EqualFunc(before, after, bytes.Equal) {
			continue
		}
		for name, b := range files {
			copied := filepath.Join(to, name)
			if err := os.WriteFile(copied, bytes.TrimRight(b, "\x00"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(copied, int64(len(b))); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
}

// readFiles reads the files of a folder by patterns; nil when one vanished meanwhile.
func readFiles(t *testing.T, dir string, patterns ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(path)] = b
		}
	}
	return files
}

// damage flips a bit of the first occurrence of some bytes in the files of a pattern.
func damage(t *testing.T, dir, pattern, bytesThere string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		i := bytes.Index(b, []byte(bytesThere))
		if i < 0 {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		if _, err := f.WriteAt([]byte{b[i] ^ 0x10}, int64(i)); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%q is in none of %v", bytesThere, paths)
}

// TestEmptyFiles leaves the files of no length that a kill between creating and sizing them leaves.
func TestEmptyFiles(t *testing.T) {
	t.Parallel()
	live, dir := t.TempDir(), t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: live})
	mustCommit(t, s, 1, "a")
	copyFolder(t, live, dir)
	for _, name := range []string{"00002.mem", "00900.mem", "000002.vlog", "000900.vlog"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		s := mustOpen(t, badgerstore.Options{Dir: dir})
		if kv, ok, err := headSnapshot(t, s).Get([]byte("a")); !ok || err != nil || string(kv.Value) != "value of a in group 1." {
			t.Fatalf("after opening with empty files: %q, %v, %v", kv.Value, ok, err)
		}
		mustCommit(t, s, 2, "b")
		mustClose(t, s)
	}
}

// TestEmptyFilesOfAnotherProcess makes sure that Open touches nothing in a folder that is in use.
func TestEmptyFilesOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustOpen(t, badgerstore.Options{Dir: dir})
	empty := filepath.Join(dir, "00900.mem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := badgerstore.Open(badgerstore.Options{Dir: dir}); !errors.Is(err, badgerstore.ErrLocked) {
		t.Fatalf("open of a folder in use: %v, want ErrLocked", err)
	}
	if _, err := os.Stat(empty); err != nil {
		t.Fatalf("the file of the other store: %v", err)
	}
}

// TestLostWriteAheadLog truncates a write-ahead log that has acknowledged groups in it.
func TestLostWriteAheadLog(t *testing.T) {
	t.Parallel()
	live, dir := t.TempDir(), t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: live})
	mustCommit(t, s, 1, "a")
	copyFolder(t, live, dir)
	if err := os.Truncate(filepath.Join(dir, "00001.mem"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := badgerstore.Open(badgerstore.Options{Dir: dir}); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("open without the groups that were acknowledged: %v, want ErrCorrupt", err)
	}
}

// TestDamagedWriteAheadLog flips one bit in the middle of a write-ahead log, which Badger takes for its end.
func TestDamagedWriteAheadLog(t *testing.T) {
	t.Parallel()
	live, dir := t.TempDir(), t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: live})
	for n := range 100 {
		mustCommit(t, s, n, "a", "b", "c")
	}
	copyFolder(t, live, dir)
	damage(t, dir, "*.mem", "value of b in group 50.")
	for range 2 { // it must not be forgotten by trying
		if text := refused(t, dir, storage.ErrCorrupt); !strings.Contains(text, "mimosa.mark") {
			t.Fatalf("the error does not say what to do: %s", text)
		}
	}
	if err := os.Remove(filepath.Join(dir, "mimosa.mark")); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, badgerstore.Options{Dir: dir}) // the loss is accepted; what was before the damage is there
	if kv, ok, err := headSnapshot(t, s).Get([]byte("b")); !ok || err != nil || string(kv.Value) != "value of b in group 49." {
		t.Fatalf("after accepting the loss: %q, %v, %v", kv.Value, ok, err)
	}
	mustCommit(t, s, 100, "b")
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := t.TempDir()
	copyFolder(t, live, whole)
	mustClose(t, mustOpen(t, badgerstore.Options{Dir: whole})) // the copy as such is sound
}

// TestGapInLog damages a write-ahead log that is followed by another, sound one: only the middle of the groups is gone.
func TestGapInLog(t *testing.T) {
	t.Parallel()
	first, second, dir := t.TempDir(), t.TempDir(), t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: first})
	for n := range 10 {
		mustCommit(t, s, n, "a", "b")
	}
	copyFolder(t, first, second)
	mustClose(t, s)
	copyFolder(t, second, dir)
	s = mustOpen(t, badgerstore.Options{Dir: second}) // replays 00001.mem and goes on in 00002.mem
	for n := 10; n < 20; n++ {
		mustCommit(t, s, n, "a", "b")
	}
	copyFolder(t, second, dir, "00002.mem", "mimosa.mark")
	mustClose(t, s)

	whole := t.TempDir()
	copyFolder(t, dir, whole)
	s = mustOpen(t, badgerstore.Options{Dir: whole}) // both logs are replayed, nothing is missing
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, "00001.mem", "value of a in group 5.")
	if _, err := badgerstore.Open(badgerstore.Options{Dir: dir}); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("open with groups 5 to 9 gone and 10 to 19 there: %v, want ErrCorrupt", err)
	}
}

// TestLostEndOfOlderLog damages the end of a write-ahead log, behind which there is another one without a group in it.
func TestLostEndOfOlderLog(t *testing.T) {
	t.Parallel()
	first, second, dir := t.TempDir(), t.TempDir(), t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: first})
	for n := range 10 {
		mustCommit(t, s, n, "a", "b")
	}
	copyFolder(t, first, second)
	mustClose(t, s)
	copyFolder(t, second, dir)
	s = mustOpen(t, badgerstore.Options{Dir: second}) // writes its clock to 00002.mem
	copyFolder(t, second, dir, "00002.mem", "mimosa.mark")
	mustClose(t, s)

	whole := t.TempDir()
	copyFolder(t, dir, whole)
	mustClose(t, mustOpen(t, badgerstore.Options{Dir: whole}))
	damage(t, dir, "00001.mem", "value of a in group 9.")
	refused(t, dir, storage.ErrCorrupt)
}

// TestDamagedTable flips one bit of a value in a table: reading it is an error, never another value and never a miss.
func TestDamagedTable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	mustCommit(t, s, 1, "a", "b", "c")
	mustClose(t, s) // writes a table
	damage(t, dir, "*.sst", "value of b in group 1.")
	s = mustOpen(t, badgerstore.Options{Dir: dir})
	snap := headSnapshot(t, s)
	if kv, ok, err := snap.Get([]byte("b")); !errors.Is(err, storage.ErrCorrupt) || ok {
		t.Fatalf("get of a damaged value: %q, %v, %v, want ErrCorrupt", kv.Value, ok, err)
	}
	for _, key := range []string{"a", "c"} {
		if _, ok, err := snap.Get([]byte(key)); !ok || err != nil {
			t.Fatalf("get of %s beside a damaged value: %v, %v", key, ok, err)
		}
	}
	for _, reverse := range []bool{false, true} {
		pairs := 0
		var last error
		for _, err := range snap.Scan(nil, nil, reverse, 0) {
			if last = err; err == nil {
				pairs++
			}
		}
		if pairs != 1 || !errors.Is(last, storage.ErrCorrupt) {
			t.Fatalf("scan, reverse %v, over a damaged value: %d pairs, then %v, want 1, then ErrCorrupt", reverse, pairs, last)
		}
	}
	if err := s.Verify(t.Context()); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("verify: %v, want ErrCorrupt", err)
	}
	mustCommit(t, s, 2, "b") // writing it anew mends it
	if kv, ok, err := headSnapshot(t, s).Get([]byte("b")); !ok || err != nil || string(kv.Value) != "value of b in group 2." {
		t.Fatalf("get of a value written anew: %q, %v, %v", kv.Value, ok, err)
	}
}

// TestAllDamagedRows: Verify names every row that is damaged, in whatever version.
func TestAllDamagedRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	mustCommit(t, s, 1, "first", "second", "third")
	mustCommit(t, s, 2, "third")
	mustClose(t, s)
	damage(t, dir, "*.sst", "value of first in group 1.")
	damage(t, dir, "*.sst", "value of third in group 1.") // not the newest
	s = mustOpen(t, badgerstore.Options{Dir: dir})
	err := s.Verify(t.Context())
	if !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("verify: %v, want ErrCorrupt", err)
	}
	for _, part := range []string{".sst: ", `"dfirst"`, `"dthird"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not in: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), `"dsecond"`) {
		t.Errorf("a sound row is in: %v", err)
	}
}

// TestManyDamagedRows: nobody reads a list without an end.
func TestManyDamagedRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	var keys []string
	for i := range 150 {
		keys = append(keys, fmt.Sprintf("key %03d", i))
	}
	mustCommit(t, s, 1, keys...)
	mustClose(t, s)
	for _, key := range keys {
		damage(t, dir, "*.sst", "value of "+key+" in group 1.")
	}
	err := mustOpen(t, badgerstore.Options{Dir: dir}).Verify(t.Context())
	if n := strings.Count(fmt.Sprint(err), ": checksum: "); n != 100 || !strings.Contains(err.Error(), "more than 100") {
		t.Errorf("%d damaged rows are named: %v", n, err)
	}
}

// TestDamagedTableIndex damages the end of a table, where Badger keeps what is where. Verify says so, and does not panic.
func TestDamagedTableIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	mustCommit(t, s, 1, "a", "b")
	mustClose(t, s)
	s = mustOpen(t, badgerstore.Options{Dir: dir})
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("tables %v, %v", paths, err)
	}
	b, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, back := range []int{1, 5, 9, 13, 17, 40, 80} {
		f, err := os.OpenFile(paths[0], os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, flip := range []byte{0x10, 0} {
			if _, err := f.WriteAt([]byte{b[len(b)-back] ^ flip}, int64(len(b)-back)); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(t.Context()); errors.Is(err, storage.ErrCorrupt) != (flip != 0) {
				t.Errorf("%d bytes from the end, flipped by %d: %v", back, flip, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyHeedsItsContext: whoever closes a database does not wait for all of it to be read.
// TestVerifyHeedsItsRate: at a byte a second, a small database is not read before the context ends.
func TestVerifyHeedsItsRate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	mustCommit(t, s, 1, "a")
	mustClose(t, s)
	s = mustOpen(t, badgerstore.Options{Dir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Verify(storage.WithRate(ctx, 1)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("verify at a byte a second: %v", err)
	}
	if err := s.Verify(storage.WithRate(t.Context(), 1<<40)); err != nil {
		t.Errorf("verify at a high rate: %v", err)
	}
}

func TestVerifyHeedsItsContext(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, badgerstore.Options{Dir: t.TempDir()})
	mustCommit(t, s, 1, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Verify(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("verify that was cancelled: %v", err)
	}
	mustClose(t, s)
	if err := s.Verify(t.Context()); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("verify of a closed store: %v, want ErrClosed", err)
	}
}

// TestDamagedKey flips a bit of a key in a table, which a checksum of values cannot see on every path; Verify does.
func TestDamagedKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	mustCommit(t, s, 1, "first", "middlemost", "zlast")
	if err := s.Verify(t.Context()); err != nil {
		t.Fatalf("verify of a sound database: %v", err)
	}
	mustClose(t, s)
	damage(t, dir, "*.sst", "middlemost")
	s = mustOpen(t, badgerstore.Options{Dir: dir})
	if err := s.Verify(t.Context()); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("verify: %v, want ErrCorrupt", err)
	}
}

// TestDamagedMark ignores a side file that was torn: it only makes a check weaker.
func TestDamagedMark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	mustCommit(t, s, 1, "a")
	mustClose(t, s)
	path := filepath.Join(dir, "mimosa.mark")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, content := range [][]byte{{}, b[:5], append([]byte("torn!"), b[5:]...), bytes.Repeat([]byte{0xff}, len(b))} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, badgerstore.Options{Dir: dir})
		mustCommit(t, s, 2+i, "a")
		mustClose(t, s)
	}
}

// TestPoisoned makes Badger fail to begin a new write-ahead log.
func TestPoisoned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clock := storagetest.NewClock()
	o := badgerstore.Options{Dir: dir, Clock: clock.Now}
	s := mustOpen(t, o)
	mustCommit(t, s, 0, "a")
	obstacle := filepath.Join(dir, "00002.mem")
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	big := func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: []storage.Write{
			{Key: []byte("x"), Value: make([]byte, 1<<19)}, {Key: []byte("y"), Value: make([]byte, 1<<19)},
		}}, nil
	}
	n, err := uint64(0), error(nil)
	for ; err == nil && n < 100; n++ {
		_, err = s.Commit(t.Context(), crashID(n+1), big)
	}
	if !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatalf("a commit without a write-ahead log: %v, want ErrOutcomeUnknown", err)
	}
	for what, f := range map[string]func() error{
		"commit":  func() error { _, err := s.Commit(t.Context(), crashID(200), big); return err },
		"head":    func() error { _, err := s.Head(t.Context()); return err },
		"at":      func() error { _, err := s.At(t.Context(), 0); return err },
		"outcome": func() error { _, err := s.Outcome(t.Context(), crashID(1)); return err },
		"compact": func() error { return s.Compact(t.Context(), storage.Floors{Versions: 1, Log: 1}) },
		"verify":  func() error { return s.Verify(t.Context()) },
		"tail": func() (last error) {
			for _, err := range s.Tail(t.Context(), 0) {
				last = err
			}
			return last
		},
	} {
		if err := f(); !errors.Is(err, storage.ErrPoisoned) {
			t.Errorf("%s on a poisoned store: %v, want ErrPoisoned", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Logf("close of a poisoned store: %v", err)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, o)
	if _, err := s.Outcome(t.Context(), crashID(n)); !errors.Is(err, storage.ErrUnknownGroup) {
		t.Fatalf("outcome of the group that failed: %v, want ErrUnknownGroup", err)
	}
	if _, err := s.Outcome(t.Context(), crashID(n-1)); err != nil {
		t.Fatalf("outcome of the group before it: %v", err)
	}
	mustCommit(t, s, 300, "b")
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}
