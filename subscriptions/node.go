package subscriptions

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// node is one query with what is known of it.
type node struct {
	nodeKey
	// Guarded by live.mu: how many slots and how many evaluations hold the node.
	slots, evaluations int

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
	l.keep(s.node)
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
	return l.db.Evaluate(l.server.ctx, ts, engine.Call{
		Function: n.path, Args: []byte(n.args), Journal: n.journal, Principal: p,
	})
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
	c := &content{result: wire.QueryResult{Journal: ev.Journal}}
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
		l.release(e.node)
	}
}

// slot is one query of one socket, or its identity. Its fields are guarded by socket.mu.
type slot struct {
	socket  *socket
	id      uint32
	bytes   int         // of what the client sent for it
	node    *node       // of its next evaluation; nil for one that is refused
	refused *content    // what it says instead
	current *evaluation // nil until it was first evaluated
	sent    *content    // nil until it was first sent
	removed bool
}

// follow makes the slot's next evaluation one with the journal of the one that it has now, so that pages keep their ends, for
// all who hold the same.
func (s *slot) follow(l *live) {
	k := s.node.nodeKey
	if k.journal = s.current.content.result.Journal; k == s.node.nodeKey {
		return
	}
	next := l.hold(k)
	l.drop(s.node)
	s.node = next
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
