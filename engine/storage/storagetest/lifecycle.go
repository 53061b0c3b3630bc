package storagetest

import (
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
)

func testClose(t *testing.T, h Harness) {
	s := open(t, h)
	ts := commit(t, s, "a=1", "b=2", "c=3")
	commit(t, s, "a=2")
	snap := at(t, s, ts)
	nextKV, stopKV := iter.Pull2(snap.Scan(nil, nil, false, 0))
	defer stopKV()
	if _, err, ok := nextKV(); !ok || err != nil {
		t.Fatal(err)
	}
	nextEntry, stopEntry := iter.Pull2(s.Tail(t.Context(), 0))
	defer stopEntry()
	if _, err, ok := nextEntry(); !ok || err != nil {
		t.Fatal(err)
	}
	scan, log := snap.Scan(nil, nil, false, 0), s.Tail(t.Context(), 0)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}

	_, err := s.Head(t.Context())
	wantErr(t, "head", err, storage.ErrClosed)
	wantErr(t, "at", atErr(t, s, ts), storage.ErrClosed)
	_, err = s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) {
		t.Error("build was called on a closed store")
		return storage.Group{}, nil
	})
	wantErr(t, "commit", err, storage.ErrClosed)
	_, err = s.Outcome(t.Context(), newID())
	wantErr(t, "outcome", err, storage.ErrClosed)
	wantErr(t, "tail", tailErr(t, s, 0), storage.ErrClosed)
	wantErr(t, "compact", s.Compact(t.Context(), storage.Floors{Versions: ts, Log: ts}), storage.ErrClosed)
	_, _, err = snap.Get([]byte("a"))
	wantErr(t, "get", err, storage.ErrClosed)
	_, err, _ = nextKV()
	wantErr(t, "a scan that had begun", err, storage.ErrClosed)
	if _, err, ok := nextKV(); ok {
		t.Fatalf("a scan went on after its error: %v", err)
	}
	_, err, _ = nextEntry()
	wantErr(t, "a tail that had begun", err, storage.ErrClosed)
	for _, err := range scan {
		wantErr(t, "a scan that had not begun", err, storage.ErrClosed)
	}
	for _, err := range log {
		wantErr(t, "a tail that had not begun", err, storage.ErrClosed)
	}
	if b, ok := s.(storage.Budget); ok {
		b.Budget() // an answer or another, but no panic
	}
	snap.Close()

	s = open(t, h)
	wantContents(t, s, ts, "a=1 b=2 c=3")
}

// testCloseReaders closes a store while snapshots are being read: everything ends with ErrClosed, nothing else.
func testCloseReaders(t *testing.T, h Harness) {
	s := open(t, h)
	ts := commit(t, s, "a=1", "b=2", "c=3", "d=4")
	var readers sync.WaitGroup
	var reading sync.WaitGroup
	for i := range 4 {
		reading.Add(1)
		readers.Go(func() {
			snap, err := s.At(t.Context(), ts)
			if err != nil {
				t.Error(err)
				reading.Done()
				return
			}
			defer snap.Close()
			for rounds := 0; ; rounds++ {
				if rounds == 1 {
					reading.Done()
				}
				var err error
				switch i {
				case 0:
					_, _, err = snap.Get([]byte("b"))
				case 1, 2:
					for _, e := range snap.Scan(nil, nil, i == 2, 0) {
						err = e
					}
				case 3:
					for _, e := range s.Tail(t.Context(), 0) {
						err = e
					}
				}
				if err != nil {
					if !errors.Is(err, storage.ErrClosed) {
						t.Errorf("reader %d: %v, want ErrClosed", i, err)
					}
					if rounds < 1 {
						reading.Done()
					}
					return
				}
			}
		})
	}
	reading.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	readers.Wait()
}

func testCloseWaits(t *testing.T, h Harness) {
	s := open(t, h)
	building, goOn := make(chan struct{}), make(chan struct{})
	var built atomic.Bool
	committed := make(chan error, 1)
	id := newID()
	go func() {
		_, err := s.Commit(t.Context(), id, func([]storage.LogEntry) (storage.Group, error) {
			close(building)
			<-goOn
			built.Store(true)
			return group("a=1")(nil)
		})
		committed <- err
	}()
	<-building
	closed := make(chan error, 1)
	go func() {
		err := s.Close()
		if !built.Load() {
			t.Error("close returned while a commit was running")
		}
		closed <- err
	}()
	close(goOn)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := <-committed; err != nil {
		t.Fatalf("a commit that was running when the store was closed: %v", err)
	}
	s = open(t, h)
	if _, err := s.Outcome(t.Context(), id); err != nil {
		t.Fatalf("outcome of a group that was acknowledged: %v", err)
	}
	wantContents(t, s, head(t, s), "a=1")
}
