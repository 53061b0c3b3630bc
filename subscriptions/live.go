package subscriptions

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// live is what all sockets watch: each query once, however many ask for it. A query is evaluated at most once at each
// published timestamp for those who would see the same, and its result is kept exactly as long as the engine says that it
// holds.
type live struct {
	server *Server
	db     *engine.DB
	head   atomic.Uint64 // the newest published timestamp; everything it touched has been told to touched before
	gate   chan struct{} // bounds how many evaluations run at once

	mu    sync.Mutex
	nodes map[nodeKey]*node // guarded by mu
	// watched counts, guarded by mu, the nodes that have slots. Others are there for an evaluation whose slots have gone on to
	// a node with its journal, so that whoever asks anew finds it.
	watched int
	// waiters, guarded by mu, wait for a timestamp to be published.
	waiters map[chan struct{}]engine.Timestamp

	touchedMu sync.Mutex
	touched   []*evaluation // guarded by touchedMu: ended, with subscribers that do not know yet

	// owed counts mutations that were committed and whose clients have not been sent their effect; paid tells, with a capacity
	// of one, that it is zero.
	owed atomic.Int64
	paid chan struct{}

	kick        chan struct{} // capacity one
	stopPublish func()

	evaluations, encodings atomic.Int64
}

// nodeKey is a query, with the journal that it is run with; the zero value is the query "who is this", which each socket with
// a principal watches.
type nodeKey struct{ path, args, journal string }

func newLive(s *Server, db *engine.DB) *live {
	l := &live{
		server: s, db: db, nodes: map[nodeKey]*node{}, waiters: map[chan struct{}]engine.Timestamp{}, kick: make(chan struct{}, 1),
		paid: make(chan struct{}, 1), gate: make(chan struct{}, 4*runtime.GOMAXPROCS(0)),
	}
	l.stopPublish = db.OnPublish(func(ts engine.Timestamp) {
		l.advance(ts)
		l.poke()
	})
	l.advance(db.Published()) // what was published before touched nothing of ours
	return l
}

func (l *live) advance(ts engine.Timestamp) {
	for old := l.head.Load(); old < uint64(ts) && !l.head.CompareAndSwap(old, uint64(ts)); {
		old = l.head.Load()
	}
}

// reach waits until ts is published, for at most d. It reports whether it is.
func (l *live) reach(ts engine.Timestamp, d time.Duration) bool {
	if l.now() >= ts {
		return true
	}
	l.mu.Lock()
	came := make(chan struct{})
	l.waiters[came] = ts
	l.mu.Unlock()
	l.poke() // it may have come in between
	late := make(chan struct{})
	stop := l.server.o.Clock.AfterFunc(d, func() { close(late) })
	defer stop()
	select {
	case <-came:
	case <-late:
	case <-l.server.ctx.Done():
	}
	l.mu.Lock()
	delete(l.waiters, came)
	l.mu.Unlock()
	return l.now() >= ts
}

func (l *live) wakeWaiters() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for came, ts := range l.waiters {
		if l.now() >= ts {
			close(came)
			delete(l.waiters, came)
		}
	}
}

func (l *live) now() engine.Timestamp { return engine.Timestamp(l.head.Load()) }

func (l *live) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// hold returns the query's node for a slot, to be released with drop.
func (l *live) hold(k nodeKey) *node {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[k]
	if n == nil {
		n = &node{nodeKey: k, flights: map[flightKey]*flight{}, recent: map[string][]*evaluation{}}
		l.nodes[k] = n
	}
	if n.slots++; n.slots == 1 {
		l.watched++
	}
	return n
}

func (l *live) drop(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.slots--; n.slots == 0 {
		l.watched--
		l.tidy(n)
	}
}

// keep holds a node for an evaluation that somebody holds, until release.
func (l *live) keep(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.evaluations++
}

func (l *live) release(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.evaluations--
	l.tidy(n)
}

// tidy forgets a node that nobody needs. l.mu is held.
func (l *live) tidy(n *node) {
	if n.slots == 0 && n.evaluations == 0 {
		delete(l.nodes, n.nodeKey)
	}
}

// dispatch tells sockets that something they watch has changed. It ends with ctx. It is not done by the committer, which
// touches evaluations, because a popular query has thousands of subscribers.
func (l *live) dispatch(ctx context.Context) {
	var sockets []*socket
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
		}
		l.wakeWaiters()
		sockets = l.toWake(sockets[:0])
		l.ownersFirst(len(sockets))
		for _, s := range sockets {
			s.wake()
		}
		clear(sockets)
	}
}

// A crowd is so many sockets that those who wait for their own writes are let go before it, for so long.
const (
	crowd    = 32
	courtesy = 2 * time.Millisecond
)

// ownersFirst waits until those who wrote have been sent their effect, but not for long. They need no waking: the answers of
// their mutations do that.
func (l *live) ownersFirst(sockets int) {
	if sockets < crowd || l.owed.Load() == 0 {
		return
	}
	timer := time.NewTimer(courtesy)
	defer timer.Stop()
	for l.owed.Load() > 0 {
		select {
		case <-l.paid:
		case <-timer.C:
			return
		}
	}
}

// owe counts a mutation in that was committed; pay counts such out.
func (l *live) owe() { l.owed.Add(1) }

func (l *live) pay(n int64) {
	if n > 0 && l.owed.Add(-n) == 0 {
		select {
		case l.paid <- struct{}{}:
		default:
		}
	}
}

// toWake takes from touched what ended at a timestamp that is published by now.
func (l *live) toWake(sockets []*socket) []*socket {
	l.touchedMu.Lock()
	head := l.head.Load()
	var due []*evaluation
	l.touched = slices.DeleteFunc(l.touched, func(e *evaluation) bool {
		if e.through.Load() >= head {
			// The group that touched it is durable and not published yet. It will be, and then we are called again.
			return false
		}
		due = append(due, e)
		return true
	})
	l.touchedMu.Unlock()
	for _, e := range due {
		sockets = e.subscribers(sockets)
	}
	return sockets
}

// ended is called by the committer, and must be quick.
func (l *live) ended(e *evaluation, head engine.Timestamp) {
	if !e.touch(head) {
		return
	}
	l.touchedMu.Lock()
	l.touched = append(l.touched, e)
	l.touchedMu.Unlock()
}
