package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Commit implements [storage.Store]. A group within Budget is one Badger transaction and one wait for the disk; a larger one is
// several of them, see redo.go.
func (s *Store) Commit(ctx context.Context, id storage.GroupID,
	build func(missed []storage.LogEntry) (storage.Group, error),
) (storage.Timestamp, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if err := s.takeTurn(ctx); err != nil {
		return 0, err
	}
	defer s.giveTurn()
	if err := s.opts.checkSpace(s.opts.MinFree); err != nil {
		return 0, err
	}
	g, err := build(nil)
	if err != nil {
		return 0, err
	}
	if g.Cancel {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.head, nil
	}
	size, err := s.check(g)
	if err != nil {
		return 0, err
	}
	if len(g.Writes) > s.oneWrites || size > s.oneBytes {
		return s.commitLarge(id, g, size)
	}
	b, err := s.encode(id, g)
	if err != nil {
		return 0, err
	}
	if err := b.commit(s.last); err != nil {
		return 0, err
	}
	s.remember(s.last)
	s.total += uint64(cap(b.rows))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head, s.newest = s.last, s.last
	return s.last, nil
}

// takeTurn waits until nobody else writes. Afterwards the store is open and sound, and stays open until giveTurn.
func (s *Store) takeTurn(ctx context.Context) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := s.gate.check()
	if err == nil {
		err = s.usable(ctx)
	}
	if err != nil {
		s.giveTurn()
	}
	return err
}

func (s *Store) giveTurn() { s.turn <- struct{}{} }

// check refuses a group that the store does not take, before anything is copied. It returns the size of its keys, values and
// log.
func (s *Store) check(g storage.Group) (size int64, err error) {
	size = int64(len(g.Log))
	for _, w := range g.Writes {
		if len(w.Key) > storage.MaxKey {
			return 0, fmt.Errorf("badgerstore: key of %d bytes: %w", len(w.Key), storage.ErrTooLarge)
		}
		if len(w.Value) > storage.MaxValue && !w.Delete {
			return 0, fmt.Errorf("badgerstore: value of %d bytes for key %q: %w", len(w.Value), w.Key, storage.ErrTooLarge)
		}
		size += writeSize(w)
	}
	if len(g.Writes) > largeWrites || size > largeBytes {
		return 0, fmt.Errorf("badgerstore: %d writes, %d bytes of at most %d, %d: %w",
			len(g.Writes), size, largeWrites, int64(largeBytes), storage.ErrTooLarge)
	}
	twice := make(map[string]struct{}, len(g.Writes))
	for _, w := range g.Writes {
		if _, ok := twice[string(w.Key)]; ok {
			return 0, fmt.Errorf("badgerstore: key %q: %w", w.Key, storage.ErrDuplicateKey)
		}
		twice[string(w.Key)] = struct{}{}
	}
	return size, nil
}

// encode makes a batch of a group under the next timestamp, which it leaves in s.last.
func (s *Store) encode(id storage.GroupID, g storage.Group) (*batch, error) {
	chunks := max(1, (len(g.Log)+logHeadSize+logChunk-1)/logChunk)
	size := rowSize(len(id), 0) + chunks*rowSize(logKeySize, 0) + logHeadSize + len(g.Log)
	for _, w := range g.Writes {
		size += rowSize(int(writeSize(w)), 0)
	}

	b := newBatch(s, size)
	ts := s.nextTimestamp()
	for _, w := range g.Writes {
		var err error
		if w.Delete {
			err = b.delete(spaceUser, w.Key)
		} else {
			err = b.put(spaceUser, w.Key, ts, w.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.put(spaceOutcome, id[:], ts); err != nil {
		return nil, err
	}
	head := logHead{id: id, prev: s.newest, total: s.total + uint64(cap(b.rows)), chunks: chunks}
	part, rest := cut(g.Log, logChunk-logHeadSize)
	if err := b.put(spaceLog, appendLogKey(nil, ts, 0), ts, head.append(nil), part); err != nil {
		return nil, err
	}
	for chunk := 1; chunk < chunks; chunk++ {
		part, rest = cut(rest, logChunk)
		if err := b.put(spaceLog, appendLogKey(nil, ts, chunk), ts, part); err != nil {
			return nil, err
		}
	}
	s.last = ts
	return b, nil
}

func cut(b []byte, n int) (part, rest []byte) {
	n = min(n, len(b))
	return b[:n], b[n:]
}

// batch is a Badger transaction that only writes. All that the store ever writes goes through one.
type batch struct {
	s    *Store
	txn  *badger.Txn
	rows arena
}

// newBatch returns a batch for rows of a size in all, as rowSize counts. The caller holds the turn.
func newBatch(s *Store, size int) *batch {
	return &batch{s: s, txn: s.db.NewTransactionAt(math.MaxUint64, true), rows: make(arena, 0, size)}
}

func (b *batch) put(space byte, key []byte, ts storage.Timestamp, payload ...[]byte) error {
	return tooLarge(b.txn.Set(b.rows.row(space, key, ts, payload...)))
}

func (b *batch) delete(space byte, key []byte) error {
	return tooLarge(b.txn.Delete(b.rows.key(space, key)))
}

// commit writes the batch and waits until it is durable. After an error other than ErrTooLarge the store is poisoned: Badger
// may have written a part, which replay drops, or all of it, which replay keeps. Below a mark of free space, Commit is refused
// before build is called.
func (b *batch) commit(ts storage.Timestamp) error {
	err := b.txn.CommitAt(uint64(ts), nil)
	if err == nil && !b.s.opts.Relaxed {
		err = b.s.names.sync()
	}
	b.s.written.Add(int64(len(b.rows)))
	if err == nil {
		return nil
	}
	if errors.Is(err, badger.ErrTxnTooBig) { // refused before anything was written
		return tooLarge(err)
	}
	return b.s.poison(ts, err)
}

// poison ends the use of the store, after an error half-way. It says so once.
func (s *Store) poison(ts storage.Timestamp, err error) error {
	if s.gate.poisoned.Swap(true) {
		return err
	}
	s.log.Error("badgerstore: commit failed; the store must be reopened", "dir", s.opts.Dir, "timestamp", ts, "error", err)
	return fmt.Errorf("badgerstore: commit at %d: %w: %w", ts, storage.ErrOutcomeUnknown, err)
}

// remember notes in the side file that ts was written and must be found by the next Open. The note only serves to find out
// damage, so that failing to write it is not the commit's failure. The caller holds the turn.
func (s *Store) remember(ts storage.Timestamp) {
	s.sure = ts
	if s.opts.Relaxed {
		return // it is not durable before Close, which writes it then
	}
	if err := s.mark.write(ts); err != nil {
		s.log.Warn("badgerstore: side file not written", "dir", s.opts.Dir, "error", err)
	}
}

func tooLarge(err error) error {
	if errors.Is(err, badger.ErrTxnTooBig) {
		return fmt.Errorf("badgerstore: %w: %w", storage.ErrTooLarge, err)
	}
	return err
}
