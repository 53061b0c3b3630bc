package storagetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
)

// lastID makes group ids that differ within the process, which is all a fresh database needs.
var lastID atomic.Uint64

func newID() (id storage.GroupID) {
	binary.BigEndian.PutUint64(id[8:], lastID.Add(1))
	return id
}

func open(t *testing.T, h Harness) storage.Store {
	t.Helper()
	s, err := h.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func reopen(t *testing.T, h Harness, s storage.Store) storage.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return open(t, h)
}

// group makes a build that stores pairs: "k=v" stores, "k" deletes. Its log is the pairs themselves.
func group(pairs ...string) func([]storage.LogEntry) (storage.Group, error) {
	g := storage.Group{Log: []byte(strings.Join(pairs, " "))}
	for _, p := range pairs {
		k, v, put := strings.Cut(p, "=")
		g.Writes = append(g.Writes, storage.Write{Key: []byte(k), Value: []byte(v), Delete: !put})
	}
	return func([]storage.LogEntry) (storage.Group, error) { return g, nil }
}

func commit(t *testing.T, s storage.Store, pairs ...string) storage.Timestamp {
	t.Helper()
	ts, err := s.Commit(t.Context(), newID(), group(pairs...))
	if err != nil {
		t.Fatalf("commit %v: %v", pairs, err)
	}
	return ts
}

func head(t *testing.T, s storage.Store) storage.Timestamp {
	t.Helper()
	ts, err := s.Head(t.Context())
	if err != nil {
		t.Fatalf("head: %v", err)
	}
	return ts
}

func at(t *testing.T, s storage.Store, ts storage.Timestamp) storage.Snapshot {
	t.Helper()
	snap, err := s.At(t.Context(), ts)
	if err != nil {
		t.Fatalf("snapshot at %d: %v", ts, err)
	}
	t.Cleanup(snap.Close)
	return snap
}

// collect gathers a scan as "k=v k=v".
func collect(t *testing.T, scan iter.Seq2[storage.KV, error]) string {
	t.Helper()
	var out []string
	for kv, err := range scan {
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		out = append(out, fmt.Sprintf("%s=%s", kv.Key, kv.Value))
	}
	return strings.Join(out, " ")
}

func contents(t *testing.T, s storage.Store, ts storage.Timestamp) string {
	t.Helper()
	snap := at(t, s, ts)
	defer snap.Close()
	return collect(t, snap.Scan(nil, nil, false, 0))
}

func wantContents(t *testing.T, s storage.Store, ts storage.Timestamp, want string) {
	t.Helper()
	if got := contents(t, s, ts); got != want {
		t.Fatalf("at %d: %q, want %q", ts, got, want)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// tail gathers the log after a timestamp.
func tail(t *testing.T, s storage.Store, after storage.Timestamp) ([]storage.LogEntry, error) {
	t.Helper()
	var out []storage.LogEntry
	for e, err := range s.Tail(t.Context(), after) {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func wantTail(t *testing.T, s storage.Store, after storage.Timestamp, want ...storage.Timestamp) {
	t.Helper()
	entries, err := tail(t, s, after)
	if err != nil {
		t.Fatalf("tail after %d: %v", after, err)
	}
	var got []storage.Timestamp
	for _, e := range entries {
		got = append(got, e.Timestamp)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("tail after %d: groups %v, want %v", after, got, want)
	}
}

func atErr(t *testing.T, s storage.Store, ts storage.Timestamp) error {
	t.Helper()
	snap, err := s.At(t.Context(), ts)
	if err == nil {
		snap.Close()
	}
	return err
}

func tailErr(t *testing.T, s storage.Store, after storage.Timestamp) error {
	t.Helper()
	_, err := tail(t, s, after)
	return err
}
