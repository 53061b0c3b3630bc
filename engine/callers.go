package engine

import (
	"context"
	"math/rand/v2"
	"sync"
)

// callers are the calls from outside that are under way, so that Close can end their contexts. Every call begins and ends here,
// so it is in parts, each with a lock of its own.
type callers [callerParts]struct {
	mu    sync.Mutex // guards all below
	ended bool
	first *caller
	_     [48]byte // parts do not share a cache line
}

const callerParts = 64 // a power of two

// caller is one call.
type caller struct {
	cancel     context.CancelCauseFunc
	part       int
	prev, next *caller
}

// add counts a call in. Where end was called already, the call's context ends at once.
func (cs *callers) add(cancel context.CancelCauseFunc) *caller {
	c := &caller{cancel: cancel, part: int(rand.Uint32() % callerParts)}
	p := &cs[c.part]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		cancel(ErrClosed)
		return c
	}
	if c.next = p.first; c.next != nil {
		c.next.prev = c
	}
	p.first = c
	return c
}

// remove counts a call out, once.
func (cs *callers) remove(c *caller) {
	p := &cs[c.part]
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.next != nil {
		c.next.prev = c.prev
	}
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	case p.first == c:
		p.first = c.next
	}
}

// end ends the contexts of all calls, with ErrClosed, and of all to come.
func (cs *callers) end() {
	var all []*caller
	for i := range cs {
		p := &cs[i]
		p.mu.Lock()
		p.ended = true
		for c := p.first; c != nil; c = c.next {
			all = append(all, c)
		}
		p.mu.Unlock()
	}
	for _, c := range all { // without a lock: the functions of context.AfterFunc may be anybody's
		c.cancel(ErrClosed)
	}
}
