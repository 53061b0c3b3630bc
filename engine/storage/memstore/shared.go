package memstore

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Options says how a memory behaves. Its zero value works.
type Options struct {
	// Clock tells the time that timestamps follow; time.Now when nil. It may step back, timestamps do not.
	Clock func() time.Time
	// MaxWrites and MaxBytes bound one group, as [storage.Budget] reports them. Zero is 16,384 writes and 2 MiB, which is
	// about what the embedded default store takes, so that tests in memory meet the same walls.
	MaxWrites int
	MaxBytes  int64
	// LargeWrites and LargeBytes bound a group that is larger, as [storage.LargeBudget] reports them. Zero is what MaxWrites and
	// MaxBytes say where those are given, so that there are no larger ones, and otherwise 262,144 writes and 64 MiB.
	LargeWrites int
	LargeBytes  int64
}

const (
	defaultMaxWrites   = 16_384
	defaultMaxBytes    = 2 << 20
	defaultLargeWrites = 256 << 10
	defaultLargeBytes  = 64 << 20
)

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.LargeWrites <= 0 && o.MaxWrites <= 0 {
		o.LargeWrites = defaultLargeWrites
	}
	if o.LargeBytes <= 0 && o.MaxBytes <= 0 {
		o.LargeBytes = defaultLargeBytes
	}
	if o.MaxWrites <= 0 {
		o.MaxWrites = defaultMaxWrites
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	o.LargeWrites, o.LargeBytes = max(o.LargeWrites, o.MaxWrites), max(o.LargeBytes, o.MaxBytes)
	return o
}

// Shared is one memory that several handles may use at once. It is safe for concurrent use.
type Shared struct {
	opts Options
	turn chan struct{} // holds a token while nobody commits

	mu sync.Mutex // guards all below
	// work is the newest state; only the holder of the turn changes it, and copies of it are never changed.
	work   *tree
	states []state // ascending; the first is the oldest that can still be asked for
	log    []storage.LogEntry
	byID   map[storage.GroupID]storage.Timestamp
	head   storage.Timestamp
	floors storage.Floors
	// dropped is the timestamp of the newest log entry that Compact has dropped.
	dropped storage.Timestamp
	pins    map[storage.Timestamp]int
}

type tree = btree.BTreeG[storage.KV]

// state is the database as of ts and up to the next state's.
type state struct {
	ts   storage.Timestamp
	keys *tree
}

// NewShared returns an empty memory.
func NewShared(o Options) *Shared {
	o = o.withDefaults()
	less := func(a, b storage.KV) bool { return bytes.Compare(a.Key, b.Key) < 0 }
	sh := &Shared{
		opts: o,
		turn: make(chan struct{}, 1),
		// Published trees are never written again, and the working one only by the holder of the turn: no locks of its own.
		work: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}),
		byID: map[storage.GroupID]storage.Timestamp{},
		pins: map[storage.Timestamp]int{},
	}
	sh.states = []state{{0, sh.work.Copy()}}
	sh.turn <- struct{}{}
	return sh
}

// Open returns a new handle. It publishes a head above everything committed so far, whatever the clock says, as a store that
// is reopened does. The handle has missed nothing that was committed before.
func (sh *Shared) Open() *Store {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.head = sh.nextLocked()
	return &Store{shared: sh, seen: sh.head}
}

// nextLocked returns the timestamp after the head: the clock's, or one more than the head where the clock lags behind.
func (sh *Shared) nextLocked() storage.Timestamp {
	now := sh.opts.Clock().UnixNano()
	if now <= 0 || storage.Timestamp(now) <= sh.head {
		return sh.head + 1
	}
	return storage.Timestamp(now)
}

// missed returns the entries above seen, or ErrTooOld when some of them are gone.
func (sh *Shared) missed(seen storage.Timestamp) ([]storage.LogEntry, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if seen < sh.dropped {
		return nil, fmt.Errorf("memstore: handle has seen the log up to %d, dropped up to %d: %w",
			seen, sh.dropped, storage.ErrTooOld)
	}
	return cloneEntries(sh.entriesLocked(seen)), nil
}

// tail returns the entries after a timestamp, or ErrTooOld. They must not be written to.
func (sh *Shared) tail(after storage.Timestamp) ([]storage.LogEntry, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if after < sh.floors.Log {
		return nil, fmt.Errorf("memstore: log after %d, kept from %d: %w", after, sh.floors.Log, storage.ErrTooOld)
	}
	return sh.entriesLocked(after), nil
}

// entriesLocked returns the entries after a timestamp. The log's array is only ever appended to, so they may be read unlocked.
func (sh *Shared) entriesLocked(after storage.Timestamp) []storage.LogEntry {
	i, _ := slices.BinarySearchFunc(sh.log, after, func(e storage.LogEntry, ts storage.Timestamp) int {
		if e.Timestamp <= ts {
			return -1
		}
		return 1
	})
	return sh.log[i:]
}

// check refuses a group that the store does not take.
func (sh *Shared) check(g storage.Group) error {
	if len(g.Writes) > sh.opts.LargeWrites {
		return fmt.Errorf("memstore: %d writes of at most %d: %w", len(g.Writes), sh.opts.LargeWrites, storage.ErrTooLarge)
	}
	size := int64(len(g.Log))
	seen := make(map[string]struct{}, len(g.Writes))
	for _, w := range g.Writes {
		if len(w.Key) > storage.MaxKey {
			return fmt.Errorf("memstore: key of %d bytes: %w", len(w.Key), storage.ErrTooLarge)
		}
		if !w.Delete {
			if len(w.Value) > storage.MaxValue {
				return fmt.Errorf("memstore: value of %d bytes for key %q: %w", len(w.Value), w.Key, storage.ErrTooLarge)
			}
			size += int64(len(w.Value))
		}
		if _, twice := seen[string(w.Key)]; twice {
			return fmt.Errorf("memstore: key %q: %w", w.Key, storage.ErrDuplicateKey)
		}
		seen[string(w.Key)] = struct{}{}
		size += int64(len(w.Key))
	}
	if size > sh.opts.LargeBytes {
		return fmt.Errorf("memstore: %d bytes of at most %d: %w", size, sh.opts.LargeBytes, storage.ErrTooLarge)
	}
	return nil
}

// apply stores a checked group and publishes it. The caller holds the turn.
func (sh *Shared) apply(id storage.GroupID, g storage.Group) storage.Timestamp {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	ts := sh.nextLocked()
	for _, w := range g.Writes {
		if w.Delete {
			sh.work.Delete(storage.KV{Key: w.Key})
			continue
		}
		sh.work.Set(storage.KV{Key: cloneBytes(w.Key), Value: cloneBytes(w.Value), Written: ts})
	}
	sh.states = append(sh.states, state{ts, sh.work.Copy()})
	sh.log = append(sh.log, storage.LogEntry{Timestamp: ts, ID: id, Log: cloneBytes(g.Log)})
	sh.byID[id] = ts
	sh.head = ts
	return ts
}

// pin finds the state as of ts and keeps Compact from dropping it.
func (sh *Shared) pin(ts storage.Timestamp) (*tree, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case ts > sh.head:
		return nil, fmt.Errorf("memstore: snapshot at %d, head at %d: %w", ts, sh.head, storage.ErrFuture)
	case ts < sh.floors.Versions:
		return nil, fmt.Errorf("memstore: snapshot at %d, kept from %d: %w", ts, sh.floors.Versions, storage.ErrTooOld)
	}
	sh.pins[ts]++
	return sh.states[sh.stateLocked(ts)].keys, nil
}

// stateLocked returns the index of the last state at or before ts.
func (sh *Shared) stateLocked(ts storage.Timestamp) int {
	i, found := slices.BinarySearchFunc(sh.states, ts, func(s state, ts storage.Timestamp) int {
		switch {
		case s.ts < ts:
			return -1
		case s.ts > ts:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return i
}

func (sh *Shared) unpin(ts storage.Timestamp) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.pins[ts]--; sh.pins[ts] == 0 {
		delete(sh.pins, ts)
	}
}

// compact drops what lies below the floors, the head and every pin. Iterations over the log hold an array of their own.
func (sh *Shared) compact(floors storage.Floors) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	floors.Versions = min(floors.Versions, sh.head)
	for ts := range sh.pins {
		floors.Versions = min(floors.Versions, ts)
	}
	if floors.Versions > sh.floors.Versions {
		sh.floors.Versions = floors.Versions
		sh.states = slices.Clone(sh.states[sh.stateLocked(floors.Versions):])
	}
	if floors.Log = min(floors.Log, sh.floors.Versions); floors.Log > sh.floors.Log {
		entries := sh.entriesLocked(floors.Log)
		for _, e := range sh.log[:len(sh.log)-len(entries)] {
			delete(sh.byID, e.ID)
			sh.dropped = e.Timestamp
		}
		sh.floors.Log = floors.Log
		sh.log = slices.Clone(entries) // a new array, because iterations may be reading the old one
	}
}

// cloneBytes copies b; the copy of an empty or nil slice is empty, not nil.
func cloneBytes(b []byte) []byte { return append([]byte{}, b...) }

func cloneEntries(entries []storage.LogEntry) []storage.LogEntry {
	if len(entries) == 0 {
		return nil
	}
	out := make([]storage.LogEntry, len(entries))
	for i, e := range entries {
		out[i] = e
		out[i].Log = cloneBytes(e.Log)
	}
	return out
}
