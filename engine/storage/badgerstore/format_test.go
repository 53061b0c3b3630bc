package badgerstore_test

import (
	"bufio"
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
	if err := s.Compact(t.Context(), last-1000); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)

	got := dump(t, dir)
	path := filepath.Join("testdata", "format1.txt")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the rows are\n%s, want those of %s\n%s", got, path, want)
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
