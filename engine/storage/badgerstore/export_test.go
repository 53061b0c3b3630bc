package badgerstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// FreeSpace is what the store sees of a folder's disk.
func FreeSpace(t *testing.T, dir string) int64 {
	t.Helper()
	n, _, err := diskSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// DefaultMinFree is the mark of free space for a disk of a size.
func DefaultMinFree(size int64) int64 { return defaultMinFree(size) }

// MinFree is the mark of free space in force.
func MinFree(s *Store) int64 { return s.opts.MinFree }

// InForce are the options that Badger runs with.
func InForce(s *Store) badger.Options { return s.db.Opts() }

// BeforeFolderSync has a function called whenever the store makes the names in its folder durable. When that returns an
// error, they are not, and the store gets the error.
func BeforeFolderSync(s *Store, f func() error) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	flush := s.names.flush
	s.names.flush = func(dir string) error {
		if err := f(); err != nil {
			return err
		}
		return flush(dir)
	}
}

// ByParts makes the store write every group in parts of at most so many writes, as it writes those that are too large for one
// transaction.
func ByParts(s *Store, writes int) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.oneBytes, s.partWrites = -1, writes
}

// OnStep has a function called after each step of a group that is written in parts: "staged" and "applied" for each part, and
// once "committed" and "removed".
func OnStep(o Options, f func(step string)) Options {
	o.onStep = f
	return o
}

// WithSpace sets what the store sees of its disk.
func WithSpace(o Options, free func() int64) Options {
	o.space = func(string) (int64, int64, error) { return free(), 1 << 40, nil }
	return o
}

// Reclaim waits for what runs in the background, looks for garbage, and reclaims it where there is much. It returns the bytes
// that tables take before and after, and those among them that could go.
func Reclaim(t *testing.T, s *Store) (before, after, dead int64) {
	t.Helper()
	defer aloneInBackground(s)()
	b, err := s.look(t.Context())
	if err == nil {
		err = s.reclaim(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b.tables, a.tables, a.dead
}

// aloneInBackground waits for what runs in the background, and lets nothing begin until the function that it returns is called.
func aloneInBackground(s *Store) (done func()) {
	for {
		s.mu.Lock()
		if !s.reclaiming {
			s.reclaiming = true
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.reclaiming = false
			}
		}
		s.mu.Unlock()
		s.background.Wait()
	}
}

// StopMerging merges tables and ends that at the first step. It returns how many steps there were.
func StopMerging(t *testing.T, s *Store) (steps int) {
	t.Helper()
	defer aloneInBackground(s)()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.onMerge = func() { steps++; cancel() }
	defer func() { s.onMerge = nil }()
	if err := s.flatten(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("merging that was stopped: %v", err)
	}
	return steps
}

// RedoRows counts the rows that large groups leave while they are being committed.
func RedoRows(t *testing.T, s *Store) int {
	t.Helper()
	keys, _, err := s.redoRows()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.readMetaRow(redoKey, 3); err != nil || m.written != 0 {
		t.Errorf("a large group is still being committed: %v, %v", m, err)
	}
	return len(keys)
}

// Wrap and Unwrap are the two directions of a stored row.
func Wrap(space byte, key []byte, ts storage.Timestamp, payload []byte) (k, v []byte) {
	return new(arena).row(space, key, ts, payload)
}

func Unwrap(key []byte, ts storage.Timestamp, value []byte) ([]byte, error) {
	return unwrap(append([]byte{}, key...), ts, value)
}

// ParseLog takes apart a log row as reading the log does.
func ParseLog(key, payload []byte) error {
	ts, _, err := parseLogKey(key)
	if err != nil {
		return err
	}
	_, _, err = parseLogHead(ts, payload)
	return err
}

// Flatten makes Badger merge its tables until a condition holds, which it gets the number of tables on each level for. Tables
// appear while it works, when memory is written out.
func Flatten(t *testing.T, s *Store, done func(levels map[int]int) bool) {
	t.Helper()
	defer aloneInBackground(s)()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err := s.db.Flatten(1); err != nil {
			t.Fatal(err)
		}
		levels := map[int]int{}
		for _, table := range s.db.Tables() {
			levels[table.Level]++
		}
		if done(levels) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("badger does not give space back: tables by level %v", levels)
		}
	}
}
