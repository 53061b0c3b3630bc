package badgerstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// TestFormat pins what is stored, byte for byte: a database written today must be read by every later version. When it fails,
// either the format has changed by accident, or format and testdata are due for a new number.
func TestFormat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := int64(1000)
	o := badgerstore.Options{Dir: dir, Clock: func() time.Time { return time.Unix(0, now) }}
	s := mustOpen(t, o)
	mustCommit(t, s, 0, "dropped")
	now = 2000
	mustCommit(t, s, 1, "a", "", "!badger!x")
	now = 3000
	last, err := s.Commit(t.Context(), crashID(2), func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: []storage.Write{{Key: []byte("a"), Delete: true}, {Key: []byte("b")}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), storage.Floors{Versions: last - 1000, Log: last - 1000}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)

	wantDump(t, dir, "format2.txt")
}

// wantDump compares the rows of a closed database with those of a file.
func wantDump(t *testing.T, dir, name string) {
	t.Helper()
	got := dump(t, dir)
	path := filepath.Join("testdata", name)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the rows are\n%s, want those of %s\n%s", got, path, want)
	}
}

// TestFormat1 opens a folder of the format before: there is one floor for versions and log, and no redo row.
func TestFormat1(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	first, second := mustCommit(t, s, 0, "a"), mustCommit(t, s, 1, "a")
	third := mustCommit(t, s, 2, "b")
	if err := s.Compact(t.Context(), storage.Floors{Versions: second, Log: second}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	toFormat1(t, dir)

	for range 2 {
		s = mustOpen(t, badgerstore.Options{Dir: dir})
		if _, err := s.At(t.Context(), first); !errors.Is(err, storage.ErrTooOld) {
			t.Fatalf("snapshot below the floor: %v, want ErrTooOld", err)
		}
		for _, err := range s.Tail(t.Context(), first) {
			if !errors.Is(err, storage.ErrTooOld) {
				t.Fatalf("tail below the floor: %v, want ErrTooOld", err)
			}
		}
		for e, err := range s.Tail(t.Context(), second) {
			if err != nil || e.Timestamp != third {
				t.Fatalf("tail: group %d (%v), want %d", e.Timestamp, err, third)
			}
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		line, err := os.ReadFile(filepath.Join(dir, "mimosa.format"))
		if err != nil || string(line) != "mimosa badgerstore format 2\n" {
			t.Fatalf("format file after opening: %q, %v", line, err)
		}
	}
}

// toFormat1 rewrites what a closed database has in another form than format 1.
func toFormat1(t *testing.T, dir string) {
	t.Helper()
	withBadger(t, dir, func(db *badger.DB) error {
		txn := db.NewTransactionAt(1<<63, true)
		for key, keep := range map[string]int{"mfloor": 8, "mclock": 8} {
			item, err := txn.Get([]byte(key))
			if err != nil {
				return err
			}
			value, err := item.ValueCopy(nil)
			if err != nil || len(value) <= 5+keep {
				return fmt.Errorf("row %s: %x, %w", key, value, err)
			}
			_, row := badgerstore.Wrap('m', []byte(key[1:]), storage.Timestamp(item.Version()), value[5:5+keep])
			w := db.NewTransactionAt(1<<63, true)
			if err := errors.Join(w.Set([]byte(key), row), w.CommitAt(item.Version(), nil)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := os.WriteFile(filepath.Join(dir, "mimosa.format"), []byte("mimosa badgerstore format 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dump reads a closed database with Badger alone: version, key and value of each row, or that it is deleted.
func dump(t *testing.T, dir string) string {
	t.Helper()
	db, err := badger.OpenManaged(badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	var b strings.Builder
	out := bufio.NewWriter(&b)
	txn := db.NewTransactionAt(1<<63, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if item.IsDeletedOrExpired() {
			fmt.Fprintf(out, "%d %q deleted\n", item.Version(), item.Key())
			continue
		}
		if err := item.Value(func(v []byte) error {
			_, err := fmt.Fprintf(out, "%d %q %x\n", item.Version(), item.Key(), v)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
