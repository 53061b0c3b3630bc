package memstore

import (
	"context"
	"fmt"
	"iter"
	"math"
	"sync/atomic"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Store is one handle on a memory. It implements [storage.Store], [storage.Budget], [storage.LargeBudget] and
// [storage.Advancer] and is safe for concurrent use.
type Store struct {
	shared   *Shared
	closed   atomic.Bool
	poisoned atomic.Bool
	fault    atomic.Int32

	// seen is the newest timestamp whose entries this handle has been handed or has committed. Guarded by the turn.
	seen storage.Timestamp
}

var (
	_ storage.Store       = (*Store)(nil)
	_ storage.Budget      = (*Store)(nil)
	_ storage.LargeBudget = (*Store)(nil)
	_ storage.Advancer    = (*Store)(nil)
)

// New returns the only handle on a new, empty memory.
func New(o Options) *Store { return NewShared(o).Open() }

// Fault is a way in which a commit fails.
type Fault int32

const (
	// FailBefore fails the commit before it takes effect: the group is not there after reopening.
	FailBefore Fault = iota + 1
	// FailAfter fails the commit after it took effect: the group is there after reopening.
	FailAfter
)

// FailNextCommit makes the next commit of this handle that has a group to store fail with [storage.ErrOutcomeUnknown] and
// poison the handle. Other handles, and those opened later, are not touched.
func (s *Store) FailNextCommit(f Fault) { s.fault.Store(int32(f)) }

// usable returns why nothing can be done on this handle, if so.
func (s *Store) usable(ctx context.Context) error {
	switch {
	case s.closed.Load():
		return storage.ErrClosed
	case s.poisoned.Load():
		return storage.ErrPoisoned
	}
	return ctx.Err()
}

// Head implements [storage.Store].
func (s *Store) Head(ctx context.Context) (storage.Timestamp, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	return s.shared.head, nil
}

// At implements [storage.Store].
func (s *Store) At(ctx context.Context, ts storage.Timestamp) (storage.Snapshot, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	keys, err := s.shared.pin(ts)
	if err != nil {
		return nil, err
	}
	return &snapshot{store: s, ts: ts, keys: keys}, nil
}

// Commit implements [storage.Store].
func (s *Store) Commit(ctx context.Context, id storage.GroupID,
	build func(missed []storage.LogEntry) (storage.Group, error),
) (storage.Timestamp, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	select {
	case <-s.shared.turn:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { s.shared.turn <- struct{}{} }()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}

	missed, err := s.shared.missed(s.seen)
	if err != nil {
		return 0, err
	}
	if n := len(missed); n > 0 {
		s.seen = missed[n-1].Timestamp
	}
	g, err := build(missed)
	if err != nil {
		return 0, err
	}
	if g.Cancel {
		s.shared.mu.Lock()
		defer s.shared.mu.Unlock()
		return s.shared.head, nil
	}
	if err := s.shared.check(g); err != nil {
		return 0, err
	}
	fault := Fault(s.fault.Swap(0))
	if fault == FailBefore {
		s.poisoned.Store(true)
		return 0, fmt.Errorf("memstore: failed on purpose: %w", storage.ErrOutcomeUnknown)
	}
	ts := s.shared.apply(id, g)
	s.seen = ts
	if fault == FailAfter {
		s.poisoned.Store(true)
		return 0, fmt.Errorf("memstore: failed on purpose: %w", storage.ErrOutcomeUnknown)
	}
	return ts, nil
}

// Outcome implements [storage.Store].
func (s *Store) Outcome(ctx context.Context, id storage.GroupID) (storage.Timestamp, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	ts, ok := s.shared.byID[id]
	if !ok {
		return 0, fmt.Errorf("memstore: group %x: %w", id, storage.ErrUnknownGroup)
	}
	return ts, nil
}

// Tail implements [storage.Store].
func (s *Store) Tail(ctx context.Context, after storage.Timestamp) iter.Seq2[storage.LogEntry, error] {
	return func(yield func(storage.LogEntry, error) bool) {
		if err := s.usable(ctx); err != nil {
			yield(storage.LogEntry{}, err)
			return
		}
		entries, err := s.shared.tail(after)
		if err != nil {
			yield(storage.LogEntry{}, err)
			return
		}
		for _, e := range entries {
			if err := s.usable(ctx); err != nil {
				yield(storage.LogEntry{}, err)
				return
			}
			e.Log = cloneBytes(e.Log)
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Compact implements [storage.Store].
func (s *Store) Compact(ctx context.Context, floors storage.Floors) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.shared.compact(floors)
	return nil
}

// Budget implements [storage.Budget].
func (s *Store) Budget() (writes int, bytes int64) {
	return s.shared.opts.MaxWrites, s.shared.opts.MaxBytes
}

// LargeBudget implements [storage.LargeBudget].
func (s *Store) LargeBudget() (writes int, bytes int64) {
	return s.shared.opts.LargeWrites, s.shared.opts.LargeBytes
}

// Advance implements [storage.Advancer].
func (s *Store) Advance(ctx context.Context, ts storage.Timestamp) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if ts > math.MaxInt64 {
		return fmt.Errorf("memstore: advance to %d: no clock shows that", ts)
	}
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	s.shared.head = max(s.shared.head, ts)
	return nil
}

// Close implements [storage.Store]. The memory stays, for other handles and later ones.
func (s *Store) Close() error {
	<-s.shared.turn // a running commit ends first, and its build may read until then
	s.closed.Store(true)
	s.shared.turn <- struct{}{}
	return nil
}
