package cmd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
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
	if status != 1 || !strings.HasPrefix(stdout, "store: ") || !strings.Contains(stdout, "corrupt") || !strings.Contains(stdout, "key") ||
		strings.Count(stdout, "\n") == 0 || !strings.Contains(stderr, fmt.Sprintf("%s: %d fault", dir, strings.Count(stdout, "\n"))) {
		t.Errorf("status %d, output %q, error %q", status, stdout, stderr)
	}
}

// putRows writes rows past the engine.
func putRows(t *testing.T, dir string, rows ...storage.Write) {
	t.Helper()
	store, err := badgerstore.Open(badgerstore.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Commit(t.Context(), storage.GroupID{2}, func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: rows}, nil
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
}

// A program whose type has changed is not served, and check lists every document that stands in its way, a line each.
func TestCheckOfAChangedSchema(t *testing.T) {
	t.Parallel()
	type strict struct {
		Text string `json:"text" jsonschema:"maxLength=3"`
	}
	dir := data(t)
	s := engine.NewSchema()
	notes := engine.Define[note](s, "notes")
	db, err := engine.Open(s, engine.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	err = db.Update(t.Context(), func(tx *engine.Tx) error {
		for i := range 150 {
			id, err := notes.Insert(tx, note{Text: strings.Repeat("x", 3+i%2)})
			if i%2 == 1 {
				ids = append(ids, string(id))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	app := cmd.App{Name: "strict", Schema: engine.NewSchema()}
	engine.Define[strict](app.Schema, "notes")
	if status, _, stderr := run(t, app, "serve", "--addr", "127.0.0.1:0", "--data", dir); status != 1 || !strings.Contains(stderr, "schema") {
		t.Errorf("serve: status %d, error %q", status, stderr)
	}
	for range 2 { // and changes nothing
		status, stdout, stderr := run(t, app, "check", "--data", dir)
		lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
		if status != 1 || len(lines) != 75 || !strings.Contains(stderr, dir+": 75 faults found") {
			t.Fatalf("status %d, %d lines, error %q", status, len(lines), stderr)
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, "schema: ") || !strings.Contains(line, ids[i]) || !strings.Contains(line, "text") {
				t.Errorf("line %d is %q, want document %s", i, line, ids[i])
			}
		}
	}
}

// Faults of which there is no end are counted, and the first are told.
func TestCheckOfManyFaults(t *testing.T) {
	t.Parallel()
	app, dir := newApp(), data(t)
	r := serve(t, app, "--data", dir)
	r.stop()
	r.status()
	var rows []storage.Write
	for i := range 130 {
		rows = append(rows, storage.Write{Key: fmt.Appendf(nil, "sess%d\x00\x00\x00\x00\x00\x00\x00\x00\x01", i), Value: []byte("rubbish")})
	}
	putRows(t, dir, rows...)
	status, stdout, stderr := run(t, app, "check", "--data", dir)
	if status != 1 || strings.Count(stdout, "\n") != engine.FaultsKept+1 || !strings.HasSuffix(stdout, "session: and 30 more\n") ||
		!strings.Contains(stderr, "130 faults found") {
		t.Errorf("status %d, output %q, error %q", status, stdout, stderr)
	}
}

// Data of a newer version is refused, in one line with both versions, by serve and by check.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	app, dir := newApp(), data(t)
	r := serve(t, app, "--data", dir)
	r.stop()
	r.status()
	putRows(t, dir, storage.Write{Key: []byte("mc"), Value: []byte(`{"format":77,"collections":null,"more":[]}`)})
	for _, command := range []string{"serve", "check"} {
		args := []string{command, "--data", dir}
		if command == "serve" {
			args = append(args, "--addr", "127.0.0.1:0")
		}
		status, stdout, stderr := run(t, app, args...)
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "newer version") ||
			!strings.Contains(stderr, "format 77") || !strings.Contains(stderr, "knows 2") {
			t.Errorf("%s: status %d, output %q, error %q", command, status, stdout, stderr)
		}
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
