package subscriptions

import (
	"bytes"
	"math"
	"sync"
	"sync/atomic"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// untouched is the through of an evaluation that holds until further notice.
const untouched = math.MaxUint64

// evaluation is what one run of a query gave at one timestamp, and for how long that has been true. Any number of sockets
// hold the same one.
type evaluation struct {
	node          *node
	at            engine.Timestamp
	who           string // the key of whom it was run as
	readsIdentity bool   // whether that mattered
	content       *content
	identity      *engine.Identity // of an evaluation of an identity

	// through is the last timestamp at which the result is known to be what a run would give; untouched while it is
	// watched and nothing has written into its read set.
	through atomic.Uint64

	mu      sync.Mutex
	subs    map[*slot]struct{} // guarded by mu: who is to be told when it no longer holds
	watch   *engine.Watch      // guarded by mu
	retired bool               // guarded by mu: nobody is subscribed any more and the watch was stopped
}

// holdsAt says whether a run at ts would give what e has.
func (e *evaluation) holdsAt(ts engine.Timestamp) bool {
	return e.at <= ts && uint64(ts) <= e.through.Load()
}

// touch records that something wrote into the read set after head, the newest published timestamp. It reports whether that
// was news.
func (e *evaluation) touch(head engine.Timestamp) bool {
	return e.through.CompareAndSwap(untouched, uint64(max(head, e.at)))
}

// subscribe makes the slot hear of the end of e. It fails when e is watched no longer.
func (e *evaluation) subscribe(s *slot) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.retired {
		return false
	}
	e.subs[s] = struct{}{}
	return true
}

// unsubscribe undoes subscribe. With the last one the watch ends, e holds no longer than head, and true is returned.
func (e *evaluation) unsubscribe(s *slot, head func() engine.Timestamp) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.subs, s)
	if len(e.subs) > 0 || e.retired {
		return false
	}
	e.retired = true
	e.touch(head()) // before the watch ends: what was published until now would have touched it
	if e.watch != nil {
		e.watch.Stop()
	}
	return true
}

// subscribers appends the sockets that are to be told to list.
func (e *evaluation) subscribers(list []*socket) []*socket {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.subs {
		list = append(list, s.socket)
	}
	return list
}

// content is a result without its time: evaluations that give the same share it, so that it is encoded once.
type content struct {
	result  wire.QueryResult
	encode  sync.Once
	encoded wire.Encoded // after encode
}

// sameAs says whether a client that has one has the other. Log lines alone are no news.
func (c *content) sameAs(o *content) bool {
	if c == o {
		return true
	}
	if c == nil || o == nil {
		return false
	}
	a, b := &c.result, &o.result
	if a.Failure != nil || b.Failure != nil {
		return a.Failure != nil && b.Failure != nil && a.Failure.Message == b.Failure.Message && bytes.Equal(a.Failure.Data, b.Failure.Data)
	}
	return a.Journal == b.Journal && bytes.Equal(a.Value, b.Value)
}

func (c *content) bytes(count *atomic.Int64) wire.Encoded {
	c.encode.Do(func() {
		c.encoded = c.result.Encode()
		count.Add(1)
	})
	return c.encoded
}
