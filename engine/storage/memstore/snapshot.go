package memstore

import (
	"bytes"
	"iter"
	"sync/atomic"

	"github.com/mimosadb/mimosa/engine/storage"
)

// snapshot reads one published tree, which nobody changes any more.
type snapshot struct {
	store  *Store
	ts     storage.Timestamp
	keys   *tree
	closed atomic.Bool
}

// Timestamp implements [storage.Snapshot].
func (n *snapshot) Timestamp() storage.Timestamp { return n.ts }

// Close implements [storage.Snapshot].
func (n *snapshot) Close() {
	if !n.closed.Swap(true) {
		n.store.shared.unpin(n.ts)
	}
}

func (n *snapshot) unusable() bool { return n.closed.Load() || n.store.closed.Load() }

// Get implements [storage.Snapshot].
func (n *snapshot) Get(key []byte) (storage.KV, bool, error) {
	if n.unusable() {
		return storage.KV{}, false, storage.ErrClosed
	}
	kv, ok := n.keys.Get(storage.KV{Key: key})
	if !ok {
		return storage.KV{}, false, nil
	}
	return cloneKV(kv), true, nil
}

// Scan implements [storage.Snapshot].
func (n *snapshot) Scan(lo, hi []byte, reverse bool, limit int) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) {
		if n.unusable() {
			yield(storage.KV{}, storage.ErrClosed)
			return
		}
		count := 0
		step := func(kv storage.KV) bool {
			if n.unusable() { // closed by the receiver of the last pair
				yield(storage.KV{}, storage.ErrClosed)
				return false
			}
			count++
			return yield(cloneKV(kv), nil) && (limit <= 0 || count < limit)
		}
		switch {
		case !reverse:
			n.keys.Ascend(storage.KV{Key: lo}, func(kv storage.KV) bool {
				return (hi == nil || bytes.Compare(kv.Key, hi) < 0) && step(kv)
			})
		case hi == nil:
			n.keys.Reverse(func(kv storage.KV) bool {
				return bytes.Compare(kv.Key, lo) >= 0 && step(kv)
			})
		default:
			n.keys.Descend(storage.KV{Key: hi}, func(kv storage.KV) bool {
				if bytes.Equal(kv.Key, hi) {
					return true
				}
				return bytes.Compare(kv.Key, lo) >= 0 && step(kv)
			})
		}
	}
}

func cloneKV(kv storage.KV) storage.KV {
	kv.Key, kv.Value = cloneBytes(kv.Key), cloneBytes(kv.Value)
	return kv
}
