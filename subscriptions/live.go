package subscriptions

import (
	"context"
	"errors"
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
	// waiters, guarded by mu, wait for a timestamp to be published.
	waiters map[chan struct{}]engine.Timestamp

	touchedMu sync.Mutex
	touched   []*evaluation // guarded by touchedMu: ended, with subscribers that do not know yet

	kick        chan struct{} // capacity one
	stopPublish func()

	evaluations, encodings atomic.Int64
}

// nodeKey is a query; the zero value is the query "who is this", which each socket with a principal watches.
type nodeKey struct{ path, args string }

// node is one query with what is known of it.
type node struct {
	nodeKey
	slots int // guarded by live.mu: how many hold the node

	mu            sync.Mutex
	readsIdentity bool // guarded by mu: whether the last evaluation did; what to expect of the next
	// recent holds, guarded by mu, the last evaluations that have subscribers, by whom they are for; the newest last.
	recent  map[string][]*evaluation
	flights map[flightKey]*flight // guarded by mu
}

// maxRecent is how many evaluations of one principal a node remembers. More than one, for sockets that are at different
// timestamps.
const maxRecent = 3

func (n *node) isIdentity() bool { return n.nodeKey == (nodeKey{}) }

type flightKey struct {
	at  engine.Timestamp
	who string // "" while the identity is not expected to matter
}

// flight is an evaluation under way.
type flight struct {
	done chan struct{}
	// After done:
	err      error
	volatile bool // the result belongs to the one who ran it alone
}

// who is the key under which results that depend on the identity are shared.
func who(p engine.Principal) string {
	if p == nil {
		return "nobody"
	}
	return "key " + p.Key()
}

func newLive(s *Server, db *engine.DB) *live {
	l := &live{
		server: s, db: db, nodes: map[nodeKey]*node{}, waiters: map[chan struct{}]engine.Timestamp{}, kick: make(chan struct{}, 1),
		gate: make(chan struct{}, 4*runtime.GOMAXPROCS(0)),
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

// hold returns the query's node, to be released with drop.
func (l *live) hold(k nodeKey) *node {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[k]
	if n == nil {
		n = &node{nodeKey: k, flights: map[flightKey]*flight{}, recent: map[string][]*evaluation{}}
		l.nodes[k] = n
	}
	n.slots++
	return n
}

func (l *live) drop(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.slots--; n.slots == 0 {
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
		for i, s := range sockets {
			s.wake()
			if i%64 == 63 {
				// A socket that waits for its own write wakes by itself; let it go before the crowd.
				runtime.Gosched()
			}
		}
		clear(sockets)
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

// peek returns the evaluation that holds at ts for p if there is one, with the slot subscribed to its end.
func (l *live) peek(s *slot, p engine.Principal, ts engine.Timestamp) *evaluation {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	if e := s.node.find(who(p), ts); e != nil && e.subscribe(s) {
		return e
	}
	return nil
}

// get is peek that evaluates if it has to. It waits for an evaluation that is under way and runs one only if nobody else
// does.
func (l *live) get(s *slot, p engine.Principal, ts engine.Timestamp) (*evaluation, error) {
	n, me := s.node, who(p)
	for {
		n.mu.Lock()
		if e := n.find(me, ts); e != nil && e.subscribe(s) {
			n.mu.Unlock()
			return e, nil
		}
		key := flightKey{at: ts}
		if n.readsIdentity || n.isIdentity() {
			key.who = me
		}
		f := n.flights[key]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			n.flights[key] = f
			n.mu.Unlock()
			return l.fly(key, f, s, p, ts)
		}
		n.mu.Unlock()
		<-f.done // evaluations have a time limit
		switch {
		case f.err != nil:
			return nil, f.err
		case f.volatile:
			e, _, err := l.evaluate(s, p, ts)
			return e, err
		}
		// It is found now, or it was for another principal.
	}
}

// find returns the newest evaluation that holds at ts for me. n.mu is held.
func (n *node) find(me string, ts engine.Timestamp) *evaluation {
	for _, group := range []string{"", me} {
		for _, e := range slices.Backward(n.recent[group]) {
			if e.holdsAt(ts) {
				return e
			}
		}
	}
	return nil
}

// fly evaluates for all who wait, and keeps the result for others unless it is volatile.
func (l *live) fly(key flightKey, f *flight, s *slot, p engine.Principal, ts engine.Timestamp) (*evaluation, error) {
	e, volatile, err := l.evaluate(s, p, ts)
	n := s.node
	n.mu.Lock()
	defer n.mu.Unlock()
	defer close(f.done)
	delete(n.flights, key)
	f.err, f.volatile = err, volatile
	if err != nil {
		return nil, err
	}
	n.readsIdentity = e.readsIdentity
	if !volatile {
		n.remember(e)
	}
	return e, nil
}

// evaluate runs the slot's query and has the engine tell when the result ends.
func (l *live) evaluate(s *slot, p engine.Principal, ts engine.Timestamp) (e *evaluation, volatile bool, err error) {
	ev, err := l.run(s.node, p, ts)
	if err != nil {
		return nil, false, err
	}
	e = &evaluation{
		node: s.node, at: ts, who: who(p), readsIdentity: ev.ReadIdentity || s.node.isIdentity(), identity: ev.Identity,
		subs: map[*slot]struct{}{s: {}}, content: l.contentOf(ev),
	}
	e.through.Store(untouched)
	l.watch(e, ev)
	var limit *engine.LimitError
	if ev.Err != nil && errors.As(ev.Err, &limit) && limit.Limit == "FunctionTime" {
		// What it read is not known, so no write will ever end it. It is tried again later, with the next commit.
		l.server.o.Clock.AfterFunc(retrySlow, func() {
			l.ended(e, e.at)
			l.poke()
		})
	}
	return e, ev.Volatile, nil
}

// retrySlow is how long a live query that ran into its time limit is left alone.
const retrySlow = 10 * time.Second

func (l *live) run(n *node, p engine.Principal, ts engine.Timestamp) (*engine.Evaluation, error) {
	l.gate <- struct{}{}
	defer func() { <-l.gate }()
	if n.isIdentity() {
		return l.db.EvaluateIdentity(l.server.ctx, ts, p)
	}
	l.evaluations.Add(1)
	return l.db.Evaluate(l.server.ctx, ts, engine.Call{Function: n.path, Args: []byte(n.args), Principal: p})
}

// watch has the engine tell when e ends. If that comes before the watch is set, nothing is known beyond e's own timestamp.
func (l *live) watch(e *evaluation, ev *engine.Evaluation) {
	var armed atomic.Bool
	w := l.db.Watch(ev, func() {
		if !armed.Load() {
			l.ended(e, e.at)
			l.poke() // the group may have been published long ago
			return
		}
		l.ended(e, l.now())
	})
	armed.Store(true)
	e.mu.Lock()
	e.watch = w
	e.mu.Unlock()
}

func (l *live) contentOf(ev *engine.Evaluation) *content {
	c := &content{}
	if ev.Err != nil {
		c.result.Failure = failure(ev.Err)
	} else {
		c.result.Value = ev.Value
	}
	c.result.LogLines = l.server.logLines(ev.Log)
	return c
}

// group is the name under which a node keeps e: that of whom it is for, or "" if it is for all.
func (e *evaluation) group() string {
	if e.readsIdentity {
		return e.who
	}
	return ""
}

// remember keeps e for others, and what it says only once if it is what the one before it said. n.mu is held.
func (n *node) remember(e *evaluation) {
	list := n.recent[e.group()]
	if len(list) > 0 {
		if last := list[len(list)-1].content; last.sameAs(e.content) {
			e.content = last
		}
	}
	at := len(list)
	for at > 0 && list[at-1].at > e.at {
		at--
	}
	list = slices.Insert(list, at, e)
	if len(list) > maxRecent {
		list = slices.Delete(list, 0, 1)
	}
	n.recent[e.group()] = list
}

// forget is called when nobody is subscribed to e any more.
func (n *node) forget(e *evaluation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := slices.DeleteFunc(n.recent[e.group()], func(o *evaluation) bool { return o == e })
	if len(list) == 0 {
		delete(n.recent, e.group())
	} else {
		n.recent[e.group()] = list
	}
}

// unsubscribe lets a slot go of e. With the last one the watch ends, and e is forgotten.
func (l *live) unsubscribe(e *evaluation, s *slot) {
	if e.unsubscribe(s, l.now) {
		e.node.forget(e)
	}
}

// slot is one query of one socket, or its identity. Its fields are guarded by socket.mu.
type slot struct {
	socket  *socket
	id      uint32
	node    *node       // nil for one that is refused
	refused *content    // what it says instead
	current *evaluation // nil until it was first evaluated
	sent    *content    // nil until it was first sent
	removed bool
}

// release lets go of the evaluation that the slot holds.
func (s *slot) release(l *live) {
	if s.current != nil {
		l.unsubscribe(s.current, s)
		s.current = nil
	}
}

// stale says whether the slot must be evaluated again to be right at ts for a socket of the given principal.
func (s *slot) stale(ts engine.Timestamp, me string) bool {
	e := s.current
	if e == nil {
		return s.node != nil
	}
	return !e.holdsAt(ts) || e.readsIdentity && e.who != me
}
