package badgerstore

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/mimosadb/mimosa/engine/storage"
)

// gate stands between the store's callers and Badger, which must not be touched once it is closed: its iterators panic and
// its files are no longer mapped. A call holds the gate only while it is inside Badger, never while a caller's code runs, so
// that Close waits for microseconds and calls may nest.
type gate struct {
	mu     sync.RWMutex // held for reading inside Badger, for writing by Close; guards closed
	closed bool

	poisoned atomic.Bool // set by a commit that failed half-way

	cursorsMu sync.Mutex // guards cursors, under mu held for reading
	cursors   map[*cursor]struct{}
}

// do runs f inside Badger. A panic there becomes an error.
func (g *gate) do(f func() error) (err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return storage.ErrClosed
	}
	defer g.recover(&err)
	return f()
}

// check returns ErrClosed once the gate is closed.
func (g *gate) check() error { return g.do(func() error { return nil }) }

// recover turns a panic of Badger into an error. It is deferred by every function that enters Badger to read. Damaged tables
// cause panics, and so does a database that could not get a new write-ahead log.
func (g *gate) recover(err *error) {
	if p := recover(); p != nil {
		reason := storage.ErrCorrupt
		if g.poisoned.Load() {
			reason = storage.ErrPoisoned
		}
		*err = fmt.Errorf("badgerstore: badger panicked: %v: %w", p, reason)
	}
}

// shut closes the gate and every iterator that is open behind it. It reports whether it was open.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.closed = true
	for c := range g.cursors {
		c.it.Close()
	}
	g.cursors = nil
	return true
}
