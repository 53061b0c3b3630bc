package badgerstore_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// refused opens a folder that must be refused and returns the error's text, which must name the folder.
func refused(t *testing.T, dir string, want error) string {
	t.Helper()
	return refusedWith(t, badgerstore.Options{Dir: dir}, want)
}

func refusedWith(t *testing.T, o badgerstore.Options, want error) string {
	t.Helper()
	dir := o.Dir
	s, err := badgerstore.Open(o)
	if err == nil {
		mustClose(t, s)
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("open: %v, want one line with %v that names %s", err, want, dir)
	}
	return err.Error()
}

func TestOpenLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	refused(t, dir, badgerstore.ErrLocked)
	mustCommit(t, s, 1, "a") // and the one that has it is not disturbed
	mustClose(t, s)
	mustClose(t, mustOpen(t, badgerstore.Options{Dir: dir}))
}

// TestLockEndsWithClose closes and opens a store while processes are being started, each of which has copies of the parent's
// open files for a moment.
func TestLockEndsWithClose(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	var starting sync.WaitGroup
	starting.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = exec.Command(os.Args[0], "-test.run=^$").Run()
			}
		}
	})
	dir := t.TempDir()
	for range 10 {
		mustClose(t, mustOpen(t, badgerstore.Options{Dir: dir}))
	}
	close(done)
	starting.Wait()
}

func TestOpenNotWritable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, file, badgerstore.ErrNotWritable)
	refused(t, filepath.Join(file, "data"), badgerstore.ErrNotWritable)
	if os.Geteuid() == 0 {
		return // root may write anywhere
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, badgerstore.ErrNotWritable)
}

func TestOpenFormats(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustClose(t, mustOpen(t, badgerstore.Options{Dir: dir}))
	path := filepath.Join(dir, "mimosa.format")
	ours, err := os.ReadFile(path)
	if err != nil || string(ours) != "mimosa badgerstore format 2\n" {
		t.Fatalf("format file: %q, %v", ours, err)
	}
	for _, c := range []struct {
		content string
		want    error
	}{
		{"mimosa badgerstore format 3\n", badgerstore.ErrNewerFormat},
		{"mimosa badgerstore format 2000000\n", badgerstore.ErrNewerFormat},
		{"mimosa badgerstore format 0\n", badgerstore.ErrForeign},
		{"mimosa badgerstore format x\n", badgerstore.ErrForeign},
		{"", badgerstore.ErrForeign},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, c.want)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, badgerstore.ErrForeign) // Badger's files without ours
	if err := os.WriteFile(path, ours, 0o600); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, badgerstore.Options{Dir: dir}))
}

func TestOpenMakesFolders(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	mustCommit(t, s, 1, "a")
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Fatalf("data folder: %v, %v, want it closed to others", info.Mode(), err)
	}
}

// TestFullDisk pretends that little space is left by asking for more than there is.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	free := badgerstore.Options{Dir: dir}
	s := mustOpen(t, free)
	mustCommit(t, s, 1, "a")
	mustClose(t, s)

	if _, err := badgerstore.Open(badgerstore.Options{Dir: dir, MinFree: 1 << 62}); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("open: %v, want ErrFull", err)
	}
	s = mustOpen(t, badgerstore.Options{Dir: dir, MinFree: -1})
	mustCommit(t, s, 2, "a")
	mustClose(t, s)

	available := badgerstore.FreeSpace(t, dir)
	full := free
	full.MinFree = available * 2 // enough for opening, not for committing
	s = mustOpen(t, full)
	if _, err := s.Commit(t.Context(), crashID(3), func([]storage.LogEntry) (storage.Group, error) {
		t.Error("build was called without space for its group")
		return storage.Group{}, nil
	}); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("commit: %v, want ErrFull", err)
	}
	snap := headSnapshot(t, s)
	if kv, ok, err := snap.Get([]byte("a")); !ok || err != nil || string(kv.Value) != "value of a in group 2." {
		t.Fatalf("get on a full disk: %q, %v, %v", kv.Value, ok, err)
	}
	snap.Close()
	if err := s.Compact(t.Context(), storage.Floors{Versions: snap.Timestamp(), Log: snap.Timestamp()}); err != nil { // gives space back
		t.Fatalf("compact on a full disk: %v", err)
	}
	mustClose(t, s)
	mustCommit(t, mustOpen(t, free), 3, "a") // nothing is poisoned by it
}

// TestBudgetIsBadgers makes sure that the budget leaves little of what Badger takes unused.
func TestBudgetIsBadgers(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, badgerstore.Options{Dir: t.TempDir()})
	writes, bytes := s.Budget()
	if writes < 16_000 || bytes < 2_000_000 {
		t.Fatalf("a budget of %d writes and %d bytes", writes, bytes)
	}
	var _ storage.Budget = s
}
