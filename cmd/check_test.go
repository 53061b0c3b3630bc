package cmd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// Damage where nobody reads is found too.
func TestCheckOfDamagedTable(t *testing.T) {
	t.Parallel()
	app, dir := newApp(), data(t)
	r := serve(t, app, "--data", dir)
	r.stop()
	r.status()
	store, err := badgerstore.Open(badgerstore.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	const text = "a row that no function can see"
	_, err = store.Commit(t.Context(), storage.GroupID{1}, func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: []storage.Write{{Key: []byte("\xf0key"), Value: []byte(text)}}}, nil
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := run(t, app, "check", "--data", dir)
	if status != 0 || stdout != dir+": no fault found\n" {
		t.Fatalf("before: status %d, output %q, error %q", status, stdout, stderr)
	}
	flipBit(t, filepath.Join(dir, "*.sst"), text)
	status, stdout, stderr = run(t, app, "check", "--data", dir)
	if status != 1 || stdout != "" || !strings.Contains(stderr, "corrupt") || !strings.Contains(stderr, "key") {
		t.Errorf("status %d, output %q, error %q", status, stdout, stderr)
	}
}

// flipBit damages a text where it first stands in the files of a pattern.
func flipBit(t *testing.T, pattern, text string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, []byte(text)); i >= 0 {
			b[i] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%q is in none of %v", text, paths)
}
