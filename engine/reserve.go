package engine

import (
	"slices"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/interval"
)

// reservation keeps ranges free for a mutation that met conflicts too often.
type reservation struct {
	id    uint64
	reads *interval.Set
	until time.Time
	done  chan struct{}
}

// reserveFor is how long others wait for a reservation at the most, beside twice the time that the function took last: one that
// is slower than that would never get through.
const reserveFor = 50 * time.Millisecond

// reserve holds back mutations that would write into reads until release is called or some time has passed. took is how long
// the mutation's function ran. own is an earlier reservation of the same mutation, or nil; it is renewed and keeps its rank.
func (c *committer) reserve(reads *interval.Set, took time.Duration, own *reservation) *reservation {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := time.Now().Add(reserveFor + 2*took)
	if own != nil && slices.Contains(c.reservations, own) {
		own.reads, own.until = reads, until
		return own
	}
	c.metrics.reservations.Add(1)
	c.nextReserve++
	own = &reservation{id: c.nextReserve, reads: reads, until: until, done: make(chan struct{})}
	c.reservations = append(c.reservations, own)
	return own
}

// release ends a reservation; nil is none.
func (c *committer) release(r *reservation) {
	if r == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lift(r)
}

// lift removes a reservation, if it is still there.
func (c *committer) lift(r *reservation) {
	if i := slices.Index(c.reservations, r); i >= 0 {
		c.reservations = slices.Delete(c.reservations, i, i+1)
		close(r.done)
	}
}

// heldBack returns a reservation that the touched keys would break. Older reservations go first, so that two of them cannot
// wait for each other.
func (c *committer) heldBack(own *reservation, touched []string) *reservation {
	for _, r := range c.reservations {
		if own != nil && r.id >= own.id || time.Now().After(r.until) {
			continue
		}
		if readsAny(r.reads, touched) {
			return r
		}
	}
	return nil
}
