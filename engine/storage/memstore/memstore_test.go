package memstore_test

import (
	"errors"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/engine/storage/storagetest"
)

func put(key, value string) func([]storage.LogEntry) (storage.Group, error) {
	return func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: []storage.Write{{Key: []byte(key), Value: []byte(value)}}, Log: []byte(key)}, nil
	}
}

func TestFailNextCommit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault memstore.Fault
		there bool
	}{{"before", memstore.FailBefore, false}, {"after", memstore.FailAfter, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			shared := memstore.NewShared(memstore.Options{})
			s := shared.Open()
			s.FailNextCommit(c.fault)
			id := storage.GroupID{1}
			if _, err := s.Commit(t.Context(), id, put("k", "v")); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatalf("commit: %v, want ErrOutcomeUnknown", err)
			}
			if _, err := s.Head(t.Context()); !errors.Is(err, storage.ErrPoisoned) {
				t.Fatalf("head of a poisoned store: %v, want ErrPoisoned", err)
			}
			if _, err := s.Commit(t.Context(), storage.GroupID{2}, put("k", "w")); !errors.Is(err, storage.ErrPoisoned) {
				t.Fatalf("commit on a poisoned store: %v, want ErrPoisoned", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}

			s = shared.Open()
			_, err := s.Outcome(t.Context(), id)
			if c.there && err != nil {
				t.Fatalf("outcome: %v, want a timestamp", err)
			}
			if !c.there && !errors.Is(err, storage.ErrUnknownGroup) {
				t.Fatalf("outcome: %v, want ErrUnknownGroup", err)
			}
			head, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			snap, err := s.At(t.Context(), head)
			if err != nil {
				t.Fatal(err)
			}
			defer snap.Close()
			if _, ok, err := snap.Get([]byte("k")); err != nil || ok != c.there {
				t.Fatalf("key is there: %v (%v), want %v", ok, err, c.there)
			}
			if _, err := s.Commit(t.Context(), storage.GroupID{3}, put("k", "x")); err != nil {
				t.Fatalf("commit after reopening: %v", err)
			}
		})
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(*testing.T) storagetest.Harness {
		clock := storagetest.NewClock()
		shared := memstore.NewShared(memstore.Options{Clock: clock.Now})
		handle := func() (storage.Store, error) { return shared.Open(), nil }
		return storagetest.Harness{Open: handle, OpenSecond: handle, Clock: clock}
	})
}
