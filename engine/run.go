package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/interval"
)

// View runs fn on a consistent snapshot of the newest published state. fn's error is returned as it is.
func (db *DB) View(ctx context.Context, fn func(*ReadTx) error) error {
	ctx, leave, err := db.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	t, err := db.newTxn(ctx, nil, false)
	if err != nil {
		return err
	}
	_, err = db.execute(t, func() ([]byte, error) { return nil, fn(&ReadTx{t}) })
	return err
}

// Update runs fn in a strictly serializable transaction and returns when it is durable. fn runs again when it met a
// conflict, so it must have no side effects outside the transaction. Its error is returned as it is, and nothing was
// written. An error that is ErrOutcomeUnknown, for instance since ctx ended while the commit was under way, leaves open
// whether it took effect.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	ctx, leave, err := db.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, err = db.transact(ctx, nil, nil, func(t *txn) ([]byte, error) { return nil, fn(&Tx{t}) }, steps{})
	return err
}

// RunQuery runs a query at the newest published state.
func (db *DB) RunQuery(ctx context.Context, c Call) (*Result, error) {
	return db.answer(ctx, c, KindQuery, func(ctx context.Context, f *function) (*Result, error) {
		t, err := db.newTxn(ctx, c.Principal, false)
		if err != nil {
			return &Result{}, err
		}
		t.journal = &journal{given: c.Journal}
		value, err := db.execute(t, func() ([]byte, error) { return f.run(&ReadTx{t}, c.Args) })
		return &Result{Value: value, Timestamp: t.snap.Timestamp(), Journal: t.takeJournal(c, err), Log: t.takeLog()}, err
	})
}

// RunMutation runs a mutation and returns when it is durable and published.
func (db *DB) RunMutation(ctx context.Context, c Call) (*Result, error) {
	return db.mutate(ctx, c, nil)
}

// StartMutation runs a mutation in the background. accepted is closed once its place in the commit order is fixed, or it
// has failed: a mutation started after that comes later in the order. wait returns what RunMutation would have; it must be
// called.
func (db *DB) StartMutation(ctx context.Context, c Call) (accepted <-chan struct{}, wait func() (*Result, error)) {
	ch := make(chan struct{})
	done := make(chan struct{})
	var once sync.Once
	mark := func() { once.Do(func() { close(ch) }) }
	var res *Result
	var err error
	go func() {
		defer close(done)
		defer mark()
		res, err = db.mutate(ctx, c, mark)
	}()
	return ch, func() (*Result, error) {
		<-done
		return res, err
	}
}

func (db *DB) mutate(ctx context.Context, c Call, accepted func()) (*Result, error) {
	s := steps{accepted: accepted, committed: c.Committed}
	return db.answer(ctx, c, KindMutation, func(ctx context.Context, f *function) (*Result, error) {
		if c.Request == nil {
			return db.transact(ctx, c.Principal, nil, func(t *txn) ([]byte, error) { return f.run(&Tx{t}, c.Args) }, s)
		}
		if err := c.Request.valid(); err != nil {
			return &Result{}, err
		}
		hash, err := callHash(c)
		if err != nil {
			return &Result{}, err
		}
		rec := &requestRecord{Hash: hash, Caller: callerKey(c.Principal)}
		return db.transact(ctx, c.Principal, &requested{*c.Request, rec}, func(t *txn) ([]byte, error) { return f.run(&Tx{t}, c.Args) }, s)
	})
}

// RunAction runs an action, once. At its time limit it is answered without it: its context has ended and what it calls from
// then on fails, but it may go on running until it heeds that.
func (db *DB) RunAction(ctx context.Context, c Call) (*Result, error) {
	return db.answer(ctx, c, KindAction, func(ctx context.Context, f *function) (*Result, error) { return db.act(ctx, c, f) })
}

// act is one run of an action.
func (db *DB) act(ctx context.Context, c Call, f *function) (*Result, error) {
	limit := &LimitError{"ActionTime", int64(db.limits.ActionTime)}
	ctx, cancel := context.WithTimeoutCause(ctx, db.limits.ActionTime, limit)
	defer cancel()
	state := &callState{principal: c.Principal, limit: db.limits.LogLines}
	began := time.Now()
	remote := c.Remote.Unmap().WithZone("")
	r := newRun(db, func() ([]byte, error) {
		return f.run(&ActionCtx{db: db, ctx: ctx, call: state, remote: remote}, c.Args)
	}, nil)
	db.workers.start(r)
	value, err := r.wait(db.limits.ActionTime, limit, db.life.Done(), nil)
	if err != nil && context.Cause(ctx) == error(limit) {
		err = limit // the action says context.DeadlineExceeded in words of its own
	}
	db.metrics.ran(KindAction, time.Since(began), err)
	res := &Result{Value: value, Log: state.takeLog()}
	if err == nil {
		res.PrincipalSet, res.Principal = state.principalChange()
	}
	return res, err
}

// Run runs a function of any kind.
func (db *DB) Run(ctx context.Context, c Call) (*Result, error) {
	switch f := db.schema.functions[c.Function]; {
	case f != nil && f.kind == KindMutation:
		return db.RunMutation(ctx, c)
	case f != nil && f.kind == KindAction:
		return db.RunAction(ctx, c)
	default:
		return db.RunQuery(ctx, c)
	}
}

// find returns the function that a call names.
func (db *DB) find(c Call, k Kind) (*function, error) {
	f := db.schema.functions[c.Function]
	if f == nil || f.internal && !c.Internal {
		// An internal function is not told from one that does not exist.
		return nil, Errorf(CodeNotFound, "no function %q", c.Function)
	}
	if f.kind != k {
		return nil, Errorf(CodeInvalid, "%q is %s, not %s", c.Function, f.kind.article(), k.article())
	}
	if len(c.Args) > db.limits.ArgumentBytes {
		return nil, &LimitError{"ArgumentBytes", int64(db.limits.ArgumentBytes)}
	}
	return f, nil
}

// answer runs a call and turns its error into what its caller may see.
func (db *DB) answer(ctx context.Context, c Call, k Kind, run func(context.Context, *function) (*Result, error)) (*Result, error) {
	ctx, leave, err := db.enter(ctx)
	if err != nil {
		return &Result{}, err
	}
	defer leave()
	f, err := db.find(c, k)
	if err != nil {
		return &Result{}, db.public(c, err)
	}
	res, err := run(ctx, f)
	if err != nil {
		res.Value, res.Timestamp = nil, 0
		return res, db.public(c, err)
	}
	return res, nil
}

// public gives an error the form in which a client may see it. What was not meant for it goes to the log under an id.
func (db *DB) public(c Call, err error) *Error {
	pub, secret := publicError(err)
	if !secret {
		return pub
	}
	if errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) {
		return pub // the caller has gone, or the database is going: nothing is wrong with the function
	}
	id := fmt.Sprintf("%012x", db.randomBits()&(1<<48-1))
	attrs := []any{slog.String("id", id), slog.String("function", c.Function), slog.Any("error", err)}
	var p *PanicError
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	db.logger.Error("a function failed", attrs...)
	pub.Message = "internal error, log id " + id
	if db.options.Development {
		pub.Message += ": " + err.Error()
	}
	return pub
}

// requested is a mutation that is recorded under a request id.
type requested struct {
	id  RequestID
	rec *requestRecord
}

func (r RequestID) valid() error {
	if r.Session == "" || len(r.Session) > 64 {
		return Errorf(CodeInvalid, "a session id has 1 to 64 bytes")
	}
	for i := range len(r.Session) {
		if b := r.Session[i]; b < 0x20 || b > 0x7e {
			return Errorf(CodeInvalid, "a session id is printable ASCII")
		}
	}
	return nil
}

// triesBeforeReserve is how often a mutation meets conflicts before what it read is kept free for it.
const triesBeforeReserve = 8

// steps are told how far a mutation has got; each may be nil.
type steps struct {
	accepted  func()          // its place in the commit order is fixed, or it has failed
	committed func(Timestamp) // see Call.Committed
}

func (s steps) accept() {
	if s.accepted != nil {
		s.accepted()
	}
}

// transact runs fn on the tentative head until it is accepted, and waits until that is durable. Every answer waits, errors
// and read-only ones too, since they were computed on state that might not come to be.
func (db *DB) transact(ctx context.Context, p Principal, req *requested, fn func(*txn) ([]byte, error), s steps) (*Result, error) {
	room := db.committer.backlog
	deadline := time.Now().Add(room.limits.Wait)
	if err := room.enter(ctx, deadline); err != nil {
		return &Result{}, db.metrics.refused(err)
	}
	defer room.leave()
	var own *reservation
	defer func() { db.committer.release(own) }()
	for try := 1; ; try++ {
		if err := context.Cause(ctx); err != nil {
			return &Result{}, err
		}
		t, err := db.newTxn(ctx, p, true)
		if err != nil {
			return &Result{}, err
		}
		res, again, err := db.attempt(ctx, t, req, fn, own, s)
		if !again {
			return res, db.metrics.refused(err)
		}
		if errors.Is(err, errNoRoom) {
			try-- // it met nobody
			if err := room.reenter(ctx, deadline); err != nil {
				return res, db.metrics.refused(err)
			}
		} else {
			db.metrics.conflicts.Add(1)
		}
		if try >= db.limits.Attempts {
			return res, db.metrics.refused(Errorf(CodeBusy, "too many conflicting writes; try again"))
		}
		if try >= triesBeforeReserve {
			own = db.committer.reserve(&t.reads, t.took, own)
		}
		db.metrics.retries.Add(1)
	}
}

// attempt is one run of a mutation.
func (db *DB) attempt(ctx context.Context, t *txn, req *requested, fn func(*txn) ([]byte, error), own *reservation, s steps) (res *Result, again bool, err error) {
	res = &Result{}
	replayed, replayedAt := false, Timestamp(0) // the function's, while it runs
	value, fnErr := db.execute(t, func() ([]byte, error) {
		if req == nil {
			return fn(t)
		}
		rec, ts, err := t.lookupRequest(req.id)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			replayed = true
			if string(rec.Hash) != string(req.rec.Hash) || rec.Caller != req.rec.Caller {
				return nil, Errorf(CodeConflict, "this request id was used for another call")
			}
			t.log = rec.Log
			replayedAt = ts
			return rec.Value, nil
		}
		value, err := fn(t)
		if err != nil || t.poison != nil {
			return value, err
		}
		if value == nil {
			value = []byte("null")
		}
		return value, t.recordRequest(req.id, requestRecord{Hash: req.rec.Hash, Caller: req.rec.Caller, Value: value, Log: t.log})
	})
	if t.runaway {
		// What it read is not known, but its answer, too, waits for the state that it ran on.
		if _, err := db.committer.settle(ctx, t.base.seq, new(interval.Set)); err != nil && !errors.Is(err, errConflict) {
			return res, false, err
		}
		return res, false, fnErr
	}
	res.Log, res.Trace = t.takeLog(), t.trace
	if fnErr == nil && !replayed && t.mine.Len() > 0 {
		m := &member{reads: &t.reads, writes: t.writes(), touched: t.touched, committed: s.committed}
		if fnErr = db.committer.admit(m); fnErr == nil {
			if err := db.committer.accept(ctx, t.base.seq, own, m); err != nil {
				return res, errors.Is(err, errConflict) || errors.Is(err, errNoRoom), err
			}
			s.accept()
			ts, err := db.committer.await(ctx, m)
			res.Value, res.Timestamp = value, ts
			return res, errors.Is(err, errConflict), err
		}
	}
	s.accept()
	ts, err := db.committer.settle(ctx, t.base.seq, &t.reads)
	if err != nil {
		return res, errors.Is(err, errConflict), err
	}
	if fnErr != nil {
		return res, false, fnErr
	}
	res.Value, res.Replayed, res.Timestamp = value, replayed, ts
	if replayedAt != 0 {
		res.Timestamp = replayedAt
	}
	return res, false, nil
}

var errEndedGoroutine = errors.New("engine: the function ended its goroutine")

// execute runs fn on a worker, until it returns or its time is up. Then the transaction is dead: fn may go on
// running, but every call that it makes fails, and its snapshot keeps no old versions any more.
func (db *DB) execute(t *txn, fn func() ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	t.ctx = ctx
	db.metrics.transactions.Add(1)
	began := time.Now()
	r := newRun(db, fn, func(err error) error {
		t.dead.Store(true)
		t.finish()
		db.metrics.transactions.Add(-1)
		if err == nil {
			err = t.poison
		}
		return err
	})
	db.workers.start(r)
	value, err := r.wait(db.limits.FunctionTime, &LimitError{"FunctionTime", int64(db.limits.FunctionTime)}, nil, func() {
		t.dead.Store(true)
		t.runaway = true
		t.snap.Close()
	})
	kind := KindQuery
	if t.writable {
		kind = KindMutation
	}
	t.took = time.Since(began)
	db.metrics.ran(kind, t.took, err)
	if !t.runaway {
		t.reads.Seal()
		db.metrics.readSet.observe(float64(t.reads.Len()))
	}
	return value, err
}

// run is one run of a function on a worker, and of somebody who waits for it, up to a limit.
type run struct {
	db    *DB
	fn    func() ([]byte, error)
	ended func(error) error // told the function's error when it has returned; may be nil
	value []byte            // the worker's, until done is closed; so is err
	err   error
	done  chan struct{}

	mu        sync.Mutex // guards all below
	returned  bool
	abandoned bool
}

func newRun(db *DB, fn func() ([]byte, error), ended func(error) error) *run {
	return &run{db: db, fn: fn, ended: ended, done: make(chan struct{}), err: errEndedGoroutine}
}

// do runs the function.
func (r *run) do() {
	// Deferred, since fn may end its goroutine by runtime.Goexit, as the helpers of package testing do.
	defer close(r.done)
	defer func() {
		if r.ended != nil {
			r.err = r.ended(r.err)
		}
		if r.err == nil {
			r.err = r.db.checkResult(r.value)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.returned = true
		if r.abandoned {
			r.db.abandoned.Add(-1)
		}
	}()
	r.value, r.err = guarded(r.fn)
}

// closeGrace is how long Close waits for actions that do not heed the end of their context.
const closeGrace = 2 * time.Second

// wait returns what the function did, or exceeded when its time is up; then abandon, which may be nil, is called first. When
// closing is closed, which is nil for functions that are short, it has closeGrace left.
func (r *run) wait(limit time.Duration, exceeded error, closing <-chan struct{}, abandon func()) ([]byte, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-r.done:
		return r.value, r.err
	case <-timer.C:
	case <-closing:
		timer.Reset(closeGrace)
		select {
		case <-r.done:
			return r.value, r.err
		case <-timer.C:
			exceeded = ErrClosed
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.returned { // just now
		<-r.done
		return r.value, r.err
	}
	r.abandoned = true
	r.db.abandoned.Add(1)
	if abandon != nil {
		abandon()
	}
	return nil, exceeded
}

func (db *DB) checkResult(value []byte) error {
	if len(value) > db.limits.ResultBytes {
		return &LimitError{"ResultBytes", int64(db.limits.ResultBytes)}
	}
	return nil
}

func guarded(fn func() ([]byte, error)) (value []byte, err error) {
	err = (*txn)(nil).guard(func() error {
		var err error
		value, err = fn()
		return err
	})
	return value, err
}

// takeLog returns the log lines, none of a function that is still running.
func (t *txn) takeLog() []string {
	if t.runaway {
		return nil
	}
	return t.log
}

// callState is what an action shares with the goroutines that it starts.
type callState struct {
	mu        sync.Mutex // guards all below
	principal Principal
	set       bool
	log       []string
	limit     int
}

func (c *callState) principalNow() Principal {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.principal
}

func (c *callState) setPrincipal(p Principal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.principal, c.set = p, true
}

func (c *callState) principalChange() (bool, Principal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.set {
		return false, nil
	}
	return true, c.principal
}

func (c *callState) logf(format string, a ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.log) < c.limit {
		c.log = append(c.log, logLine(format, a))
	}
}

func (c *callState) takeLog() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log
}

// Evaluation is one run of a query at one timestamp, with what it read.
type Evaluation struct {
	Result
	// Err is what the query failed with, in its public form. A failed query, too, is run again when what it read changes.
	Err *Error
	// ReadIdentity says that the result depends on who asked, Volatile that it depends on the time or on randomness.
	ReadIdentity, Volatile bool
	// Identity is who it ran as, if it asked.
	Identity *Identity

	reads *interval.Set
}

// Evaluate runs a query at a published timestamp. The error is set only when it could not be run at all, because at is too
// old for the store (storage.ErrTooOld), or the database or ctx ended.
func (db *DB) Evaluate(ctx context.Context, at Timestamp, c Call) (*Evaluation, error) {
	ctx, leave, err := db.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	f, err := db.find(c, KindQuery)
	if err != nil {
		// What is registered never changes, so such a result stays.
		return &Evaluation{Result: Result{Timestamp: at, Journal: c.Journal}, Err: db.public(c, err)}, nil
	}
	return db.evaluate(ctx, at, c, func(r *ReadTx) ([]byte, error) { return f.run(r, c.Args) })
}

// EvaluateIdentity resolves a principal at a published timestamp; its watch fires when that may have changed. A principal
// that fails to resolve is nobody, with Err set.
func (db *DB) EvaluateIdentity(ctx context.Context, at Timestamp, p Principal) (*Evaluation, error) {
	ctx, leave, err := db.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return db.evaluate(ctx, at, Call{Principal: p}, func(r *ReadTx) ([]byte, error) {
		_, err := r.Identity()
		return nil, err
	})
}

func (db *DB) evaluate(ctx context.Context, at Timestamp, c Call, fn func(*ReadTx) ([]byte, error)) (*Evaluation, error) {
	t, err := db.newTxnAt(ctx, c.Principal, at)
	if err != nil {
		return nil, err
	}
	t.journal = &journal{given: c.Journal}
	value, err := db.execute(t, func() ([]byte, error) { return fn(&ReadTx{t}) })
	e := &Evaluation{Result: Result{Timestamp: at, Journal: t.takeJournal(c, err)}}
	if t.runaway {
		// What it read is not known and its goroutine still adds to it, so nobody shares this result.
		e.Err, e.Volatile, e.ReadIdentity = db.public(c, err), true, true
		return e, nil
	}
	e.reads, e.ReadIdentity, e.Volatile, e.Identity, e.Log = &t.reads, t.readIdentity, t.volatile, t.ident, t.takeLog()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		e.Err = db.public(c, err)
		return e, nil
	}
	e.Value = value
	return e, nil
}
