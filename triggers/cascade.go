package triggers

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// cascade is what one run of a transaction keeps: the On triggers that its writes have fired and that have not run yet.
// Transactions are not used concurrently, so it needs no lock.
type cascade struct {
	// queue is first in, first out: a trigger sees the changes in the order in which they were made.
	queue []pending
	// running is the On trigger that is running, nil outside triggers. While it is set, writes only queue.
	running *link
	// asking is the Before trigger that is running, nil outside those.
	asking *link
	// broken is the panic of a Before trigger, which has poisoned the transaction even if what made the write ignored it.
	broken error
}

// pending is one trigger that is to run for one change.
type pending struct {
	trigger *trigger
	change  *engine.Change
	cause   *link // the trigger that made the change, nil for the function
}

// link is one trigger in the chain of those that led to one another.
type link struct {
	name  string
	cause *link
	depth int // 1 for a trigger of the function's own write
}

func (l *link) then(t *trigger) *link {
	next := &link{name: t.name, cause: l, depth: 1}
	if l != nil {
		next.depth = l.depth + 1
	}
	return next
}

// chain returns the names from the first trigger to l.
func (l *link) chain() []string {
	if l == nil {
		return nil
	}
	names := make([]string, l.depth)
	for ; l != nil; l = l.cause {
		names[l.depth-1] = l.name
	}
	return names
}

// cascadeKey is the key of the cascade among a transaction's locals.
type cascadeKey struct{}

func cascadeOf(r engine.Reader) *cascade {
	if c, ok := r.Local(cascadeKey{}).(*cascade); ok {
		return c
	}
	c := &cascade{}
	r.SetLocal(cascadeKey{}, c)
	return c
}

// Before runs the Before triggers of a change, each on what the one before it left. It is part of engine.WriteHook.
func (r *registry) Before(tx *engine.ReadTx, ch *engine.Change) error {
	if cas, ok := tx.Local(cascadeKey{}).(*cascade); ok && cas.asking != nil {
		// The compiler keeps writes out of Before triggers; this is for those that get hold of a Tx all the same.
		return &Error{Trigger: cas.asking.name, Document: ch.ID, Chain: cas.asking.chain(), Err: errWrites}
	}
	before, _ := kindsOf(ch.Op)
	triggers := r.triggers[place{ch.Collection, before}]
	if len(triggers) == 0 {
		return nil
	}
	cas := cascadeOf(tx)
	defer func() { cas.asking = nil }()
	for _, t := range triggers {
		cas.asking = cas.running.then(t)
		if err := fire(tx, cas.asking, t, ch, func() error { return t.before(tx, ch) }); err != nil {
			var p *engine.PanicError
			if errors.As(err, &p) {
				cas.broken = err
			}
			return err
		}
	}
	return nil
}

// After queues the On triggers of a change and, when none is running, runs the queue until it is empty. It is part of
// engine.WriteHook.
func (r *registry) After(tx *engine.Tx, ch engine.Change) error {
	_, on := kindsOf(ch.Op)
	triggers := r.triggers[place{ch.Collection, on}]
	if len(triggers) == 0 {
		return nil
	}
	cas := cascadeOf(tx)
	kept := ch
	for _, t := range triggers {
		cas.queue = append(cas.queue, pending{t, &kept, cas.running})
	}
	if cas.running != nil {
		return nil
	}
	return cas.drain(tx)
}

// Nested gives the writes of run a queue of their own, which is empty when it returns, also where the writes are a
// trigger's. When run or one of the triggers fails, what is left of that queue is dropped; in any case the one that was there
// before stands again. It is part of engine.NestHook.
func (r *registry) Nested(tx *engine.Tx, run func() error) error {
	cas := cascadeOf(tx)
	outer := *cas
	cas.queue = nil
	// Deferred, so that a panic which somebody further up recovers leaves no trace either.
	defer func() { *cas = outer }()
	if err := run(); err != nil {
		return err
	}
	return cas.drain(tx)
}

// drain runs the queue until it is empty or a trigger fails; then the rest is dropped, since what queued it is undone.
func (cas *cascade) drain(tx *engine.Tx) error {
	outer := cas.running
	defer func() { cas.running = outer }()
	for len(cas.queue) > 0 {
		p := cas.queue[0]
		cas.queue[0] = pending{} // the array lives on, the change need not
		cas.queue = cas.queue[1:]
		cas.running = p.cause.then(p.trigger)
		err := context.Cause(tx.Context())
		if err == nil {
			err = fire(tx, cas.running, p.trigger, p.change, func() error { return p.trigger.on(tx, p.change) })
		}
		if err == nil {
			// Nothing of it will be kept, so nothing more needs to run.
			err = cas.broken
		}
		if err != nil {
			cas.queue = nil
			return err
		}
	}
	return nil
}

// tracer is what both kinds of transaction offer for the trace.
type tracer interface {
	engine.Reader
	Traced(engine.Fired) int
	TraceDone(int, time.Duration, error)
}

// fire runs one trigger for one change, if the change is one that it asked for, and says in the trace and in the error which
// it was.
func fire(tx tracer, l *link, t *trigger, ch *engine.Change, run func() error) error {
	var matches bool
	err := protect(func() (err error) {
		matches, err = t.matches(ch)
		return err
	})
	if err == nil && !matches {
		return nil
	}
	if limit := engine.CascadeDepth(tx); err == nil && t.on != nil && l.depth > limit {
		// Not traced: it did not run. A Before trigger cannot make a cascade deeper.
		return l.failed(ch, &engine.LimitError{Limit: "CascadeDepth", Max: int64(limit)})
	}
	entry := tx.Traced(engine.Fired{Name: t.name, Document: ch.ID, Depth: l.depth})
	start := time.Now()
	if err == nil {
		err = protect(run)
	}
	tx.TraceDone(entry, time.Since(start), err)
	if err != nil {
		return l.failed(ch, err)
	}
	return nil
}

// protect turns a panic into an error.
func protect(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &engine.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn()
}
