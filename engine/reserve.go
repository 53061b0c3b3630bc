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

// reserveFor bounds how long others wait for a reservation.
const reserveFor = 50 * time.Millisecond

// reserve holds back mutations that would write into reads until release is called or a short time has passed. own is an
// earlier reservation of the same mutation, or nil; it is renewed and keeps its rank.
func (c *committer) reserve(reads *interval.Set, own *reservation) *reservation {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := time.Now().Add(reserveFor)
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
