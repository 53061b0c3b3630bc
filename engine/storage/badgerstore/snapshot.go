package badgerstore

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// snapshot reads as of a timestamp, which it pins. It holds nothing of Badger but while it reads.
type snapshot struct {
	s      *Store
	ts     storage.Timestamp
	txn    *badger.Txn
	closed atomic.Bool
}

// At implements [storage.Store].
func (s *Store) At(ctx context.Context, ts storage.Timestamp) (storage.Snapshot, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if err := s.gate.do(func() error { return s.pin(ts) }); err != nil {
		return nil, err
	}
	return &snapshot{s: s, ts: ts, txn: s.db.NewTransactionAt(uint64(ts), false)}, nil
}

// Timestamp implements [storage.Snapshot].
func (n *snapshot) Timestamp() storage.Timestamp { return n.ts }

// Close implements [storage.Snapshot].
func (n *snapshot) Close() {
	if !n.closed.Swap(true) {
		n.s.unpin(n.ts)
	}
}

// Get implements [storage.Snapshot].
func (n *snapshot) Get(key []byte) (storage.KV, bool, error) {
	if n.closed.Load() {
		return storage.KV{}, false, storage.ErrClosed
	}
	r, ok, err := n.s.getIn(n.txn, spaceUser, key)
	if n.closed.Load() { // meanwhile: what was read may be pinned no more
		return storage.KV{}, false, storage.ErrClosed
	}
	if err != nil || !ok {
		return storage.KV{}, false, err
	}
	return r.kv(), true, nil
}

// kv returns a row of the user's space as the user knows it.
func (r row) kv() storage.KV {
	return storage.KV{Key: r.key[1:], Value: r.payload, Written: r.ts}
}

// Scan implements [storage.Snapshot].
func (n *snapshot) Scan(lo, hi []byte, reverse bool, limit int) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) {
		if n.closed.Load() {
			yield(storage.KV{}, storage.ErrClosed)
			return
		}
		sp := newSpan(spaceUser, lo, hi, reverse)
		if sp.empty() {
			if err := n.s.gate.check(); err != nil {
				yield(storage.KV{}, err)
			}
			return
		}
		c, err := n.s.openCursor(n.ts, sp)
		if err != nil {
			yield(storage.KV{}, err)
			return
		}
		defer c.close()
		for count := 0; limit <= 0 || count < limit; count++ {
			r, ok, err := c.next()
			if n.closed.Load() { // by the receiver of the last pair, or by somebody else; the timestamp is pinned no more
				yield(storage.KV{}, storage.ErrClosed)
				return
			}
			if err != nil {
				yield(storage.KV{}, err)
				return
			}
			if !ok || !yield(r.kv(), nil) {
				return
			}
		}
	}
}
