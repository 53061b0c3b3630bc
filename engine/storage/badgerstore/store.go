package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Store keeps a database in a folder. It implements [storage.Store], [storage.Budget], [storage.LargeBudget],
// [storage.Verifier] and [storage.Advancer] and is safe for concurrent use. It is its folder's only writer, so that a build is never handed missed entries.
type Store struct {
	db   *badger.DB
	opts Options
	log  *slog.Logger
	lock *folderLock
	gate gate

	// What fits one transaction of Badger: a group, which is written in parts if it is larger, and such a part.
	oneWrites, partWrites int
	oneBytes, partBytes   int64

	// What runs in the background: at most one reclaim. life ends with Close, which waits for it.
	life       context.Context
	end        context.CancelFunc
	background sync.WaitGroup
	merging    *merging
	onMerge    func()       // called before each step of merging; nil but in tests
	written    atomic.Int64 // bytes, by all batches

	turn chan struct{} // holds a token while nobody writes
	// Guarded by the turn: the side file, the names in the folder, the newest timestamp under which anything was written or tried to be, the newest
	// that a later Open must find, and the running total of bytes in the log rows.
	mark       *mark
	names      folderEntries
	last, sure storage.Timestamp
	total      uint64

	compacting sync.Mutex // held by Compact; guards dropped
	dropped    storage.Timestamp

	mu sync.Mutex // guards all below
	// head is published; newest is the group with the highest timestamp, at or below it, zero before the first.
	head, newest storage.Timestamp
	// floors are where Compact stands. pins counts the snapshots at a timestamp, and logPins the iterations over the log that
	// have yielded it.
	floors        storage.Floors
	pins, logPins map[storage.Timestamp]int
	// reclaiming says that a reclaim runs, looked and lookedAt when the last one began, and what was written by then; inVain that
	// it has not helped.
	reclaiming, inVain bool
	looked             time.Time
	lookedAt           int64
}

var (
	_ storage.Store       = (*Store)(nil)
	_ storage.Budget      = (*Store)(nil)
	_ storage.LargeBudget = (*Store)(nil)
	_ storage.Verifier    = (*Store)(nil)
	_ storage.Advancer    = (*Store)(nil)
)

// usable returns why nothing can be done, if so. Whether the store is open is for the gate to say.
func (s *Store) usable(ctx context.Context) error {
	if s.gate.poisoned.Load() {
		if err := s.gate.check(); err != nil {
			return err
		}
		return storage.ErrPoisoned
	}
	return ctx.Err()
}

// Head implements [storage.Store].
func (s *Store) Head(ctx context.Context) (storage.Timestamp, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if err := s.gate.check(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, nil
}

// Outcome implements [storage.Store].
func (s *Store) Outcome(ctx context.Context, id storage.GroupID) (storage.Timestamp, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	head, floor := s.head, s.floors.Log
	s.mu.Unlock()
	r, ok, err := s.get(head, spaceOutcome, id[:])
	if err != nil {
		return 0, err
	}
	if !ok || r.ts <= floor { // its row may still be there, but what Compact has dropped is gone as a whole
		return 0, fmt.Errorf("badgerstore: group %x: %w", id, storage.ErrUnknownGroup)
	}
	return r.ts, nil
}

// get reads one row as of a timestamp.
func (s *Store) get(ts storage.Timestamp, space byte, key []byte) (r row, ok bool, err error) {
	return s.getIn(s.db.NewTransactionAt(uint64(ts), false), space, key)
}

// getIn reads one row in a transaction, which need not be discarded: one that only reads holds nothing.
func (s *Store) getIn(txn *badger.Txn, space byte, key []byte) (r row, ok bool, err error) {
	stored := append([]byte{space}, key...)
	err = s.gate.do(func() error {
		item, err := txn.Get(stored)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("badgerstore: get %q at %d: %w", stored, txn.ReadTs(), err)
		}
		ok = true
		r, err = readRow(item)
		return err
	})
	return r, ok && err == nil, err
}

// Budget implements [storage.Budget].
func (s *Store) Budget() (writes int, bytes int64) { return s.oneWrites, s.partBytes }

// newestNow returns the timestamp of the newest group. Rows of the store's own state name it, so that Open misses it when the
// write-ahead log that it was in is damaged and the one that they are in is not.
func (s *Store) newestNow() storage.Timestamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// Advance implements [storage.Advancer].
func (s *Store) Advance(ctx context.Context, ts storage.Timestamp) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if ts > math.MaxInt64 {
		return fmt.Errorf("badgerstore: advance to %d: no clock shows that", ts)
	}
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer s.giveTurn()
	s.mu.Lock()
	done := ts <= s.head
	s.mu.Unlock()
	if done {
		return nil
	}
	if err := s.opts.checkSpace(s.opts.MinFree); err != nil {
		return err
	}
	ts = max(ts, s.nextTimestamp()) // above all that was written, floors among it
	if err := s.writeMeta(clockKey, ts, ts, s.newestNow()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = ts
	return nil
}

// pin keeps Compact from dropping versions that can be seen at ts, which must lie between floor and head.
func (s *Store) pin(ts storage.Timestamp) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ts > s.head:
		return fmt.Errorf("badgerstore: snapshot at %d, head at %d: %w", ts, s.head, storage.ErrFuture)
	case ts < s.floors.Versions:
		return fmt.Errorf("badgerstore: snapshot at %d, kept from %d: %w", ts, s.floors.Versions, storage.ErrTooOld)
	}
	s.pins[ts]++
	return nil
}

func (s *Store) unpin(ts storage.Timestamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	release(s.pins, ts)
}

// pinLog keeps Compact from dropping the log above ts.
func (s *Store) pinLog(ts storage.Timestamp) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ts < s.floors.Log {
		return fmt.Errorf("badgerstore: log after %d, kept from %d: %w", ts, s.floors.Log, storage.ErrTooOld)
	}
	s.logPins[ts]++
	return nil
}

// repinLog moves a pin forward.
func (s *Store) repinLog(from, to storage.Timestamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logPins[to]++
	release(s.logPins, from)
}

func (s *Store) unpinLog(ts storage.Timestamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	release(s.logPins, ts)
}

// release counts one pin less.
func release(pins map[storage.Timestamp]int, ts storage.Timestamp) {
	if pins[ts]--; pins[ts] == 0 {
		delete(pins, ts)
	}
}

// Close implements [storage.Store]. It writes what is still in memory to a table, so that the next Open is quick.
func (s *Store) Close() error {
	s.mu.Lock() // nothing begins in the background after this
	s.end()
	s.mu.Unlock()
	s.background.Wait()
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	if !s.gate.shut() {
		return nil
	}
	err := s.closeBadger()
	if err == nil && !s.gate.poisoned.Load() {
		err = s.mark.write(s.sure)
	}
	if err := errors.Join(err, s.mark.close(), s.lock.release()); err != nil {
		return fmt.Errorf("badgerstore: close %s: %w", s.opts.Dir, err)
	}
	return nil
}

// closeBadger closes the database. What a failed commit left in memory may be flushed with the rest: it is the whole group or
// nothing, since Badger applies a transaction to memory without a step that can fail, between those that can.
func (s *Store) closeBadger() (err error) {
	defer s.gate.recover(&err)
	return s.db.Close()
}
