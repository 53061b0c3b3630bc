package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// errNotPending says that a job has been taken back, or is gone, since the scheduler read of it.
var errNotPending = errors.New("engine: the job is not pending any more")

// errInterrupted is what became of an action that was under way when the database was closed, or its process ended.
var errInterrupted = &Error{Code: CodeInterrupted, Message: "interrupted: the database was closed while it ran, and it may have had effects"}

// runJob runs a job that is due, and says whether to try again later: it is still pending, and nothing is wrong with it.
func (s *scheduler) runJob(function string, t turn) (again bool) {
	if t.tries == 0 {
		s.meters.began(s.db.clock().Sub(t.at))
	}
	f := s.db.schema.functions[function]
	switch {
	case f == nil:
		return s.fail(t, &Error{Code: CodeNotFound, Message: fmt.Sprintf("no function %q", function)})
	case f.kind == KindAction:
		return s.runAction(f, t)
	case f.kind == KindMutation:
		return s.runMutation(f, t)
	default:
		return s.fail(t, &Error{Code: CodeInvalid, Message: fmt.Sprintf("%q is a query, and cannot be scheduled", function)})
	}
}

// runMutation runs the function and marks its job as done, in one transaction.
func (s *scheduler) runMutation(f *function, t turn) (again bool) {
	res, err := s.db.transact(s.ctx, nil, nil, func(x *txn) ([]byte, error) {
		tx := &Tx{x}
		d, err := pendingJob(tx, t.id)
		if err != nil {
			return nil, err
		}
		x.setLocal(runningJob{}, t.id)
		value, err := f.run(tx, d.Value.Args)
		if err != nil {
			return nil, err
		}
		d.Value.Attempts, d.Value.Started = 1, x.start.UTC()
		return nil, x.uncounted(func() error { return s.db.endJob(tx, d, JobSucceeded, value, nil) })
	}, steps{})
	s.logLines(f, t, res)
	switch {
	case err == nil:
		s.meters.ended(JobSucceeded)
		return false
	case errors.Is(err, errNotPending):
		return false
	case s.blameless(err):
		return s.ctx.Err() == nil
	}
	return s.fail(t, s.db.public(Call{Function: f.name}, err))
}

// blameless says that an error says nothing about the function: the database had no time or no room for it, or is ending.
func (s *scheduler) blameless(err error) bool {
	return s.ctx.Err() != nil || errors.Is(err, ErrBusy) || errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed) ||
		errors.Is(err, ErrOutcomeUnknown)
}

// fail marks a pending job as failed.
func (s *scheduler) fail(t turn, e *Error) (again bool) {
	_, err := s.db.transact(s.ctx, nil, nil, func(x *txn) ([]byte, error) {
		tx := &Tx{x}
		d, err := pendingJob(tx, t.id)
		if err != nil {
			return nil, err
		}
		d.Value.Attempts, d.Value.Started = 1, x.start.UTC()
		return nil, s.db.endJob(tx, d, JobFailed, nil, jobError(e))
	}, steps{})
	switch {
	case err == nil:
		s.meters.ended(JobFailed)
		return false
	case errors.Is(err, errNotPending):
		return false
	case !s.blameless(err):
		s.db.logger.Error("a job could not be marked as failed", slog.String("job", string(t.id)), slog.Any("error", err))
	}
	return s.ctx.Err() == nil
}

// runAction claims the job, runs the function, and stores how that went: three steps, of which the first is durable before the
// second begins.
func (s *scheduler) runAction(f *function, t turn) (again bool) {
	var job *Doc[Job]
	_, err := s.db.transact(s.ctx, nil, nil, func(x *txn) ([]byte, error) {
		tx := &Tx{x}
		d, err := pendingJob(tx, t.id)
		if err != nil {
			return nil, err
		}
		now := x.start.UTC()
		j := &d.Value
		j.State, j.At, j.Started, j.Attempts = JobRunning, now, now, j.Attempts+1
		job = d
		return nil, putSystem(tx, s.db.schema.system.jobs, d)
	}, steps{})
	switch {
	case errors.Is(err, errNotPending):
		return false
	case err != nil && s.blameless(err):
		return s.ctx.Err() == nil
	case err != nil:
		return s.fail(t, s.db.public(Call{Function: f.name}, err))
	}
	call := Call{Function: f.name, Args: job.Value.Args, Internal: true}
	res, err := s.db.act(s.ctx, call, f)
	s.logLines(f, t, res)
	end := actionEnd{id: t.id, attempt: job.Value.Attempts, value: res.Value}
	switch {
	case err == nil:
	case s.ctx.Err() != nil:
		end.err = errInterrupted
	default:
		end.err = s.db.public(call, err)
	}
	s.keepEnd(f, end)
	return false
}

// actionEnd is how an attempt of an action went.
type actionEnd struct {
	id      JobID
	attempt int
	value   []byte
	err     *Error // nil when it succeeded
}

// keepEnd stores how an attempt went. It cannot be had again, so that it is tried until it is stored or the database ends, and then
// once more: the database waits for it.
func (s *scheduler) keepEnd(f *function, end actionEnd) {
	for try := 1; ; try++ {
		last := s.ctx.Err() != nil
		err := s.endAttempt(context.Background(), f, end)
		if err == nil || errors.Is(err, errNotPending) {
			return
		}
		if !s.blameless(err) || last {
			s.db.logger.Error("how a job ended could not be stored", slog.String("job", string(end.id)), slog.Any("error", err))
		}
		if last || errors.Is(err, ErrFailed) {
			return
		}
		timer := time.NewTimer(s.rest(try))
		select {
		case <-timer.C:
		case <-s.ctx.Done():
		}
		timer.Stop()
	}
}

// endAttempt moves the job of an action on from the state running: to its end, or to the next attempt.
func (s *scheduler) endAttempt(ctx context.Context, f *function, end actionEnd) error {
	var wait time.Duration
	again := false
	if f != nil && end.err != nil {
		wait, again = s.retries(f, end)
	}
	var state JobState // the function's, until transact has returned without an error
	_, err := s.db.transact(ctx, nil, nil, func(x *txn) ([]byte, error) {
		tx, jobs := &Tx{x}, s.db.schema.system.jobs
		d, err := jobs.Get(tx, end.id)
		if errors.Is(err, ErrNotFound) || err == nil && (d.Value.State != JobRunning || d.Value.Attempts != end.attempt) {
			return nil, errNotPending
		}
		if err != nil {
			return nil, err
		}
		if end.err == nil {
			state = JobSucceeded
			return nil, s.db.endJob(tx, d, state, end.value, nil)
		}
		j := &d.Value
		if again && !j.CancelRequested {
			j.State, j.At, j.Error = JobPending, x.start.Add(wait).UTC(), jobError(end.err)
			state = j.State
			if err := x.lowerMark(j.Function, j.At); err != nil {
				return nil, err
			}
			return nil, s.db.putJob(tx, d)
		}
		state = JobFailed
		if j.CancelRequested {
			state = JobCancelled
		}
		return nil, s.db.endJob(tx, d, state, nil, jobError(end.err))
	}, steps{})
	if err != nil {
		return err
	}
	s.meters.ended(state)
	return nil
}

// retries asks a function's policy. One that panics wants no further attempt.
func (s *scheduler) retries(f *function, end actionEnd) (wait time.Duration, again bool) {
	defer func() {
		if p := recover(); p != nil {
			s.db.logger.Error("a retry policy panicked",
				slog.String("function", f.name), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			wait, again = 0, false
		}
	}()
	return f.retry.after(end.attempt, end.err, s.random())
}

// interrupt ends the attempts that were under way when the database was last closed, or its process ended. It runs before the
// first job is begun.
func (s *scheduler) interrupt() error {
	for {
		// One at a time: together they may be more than a transaction reads.
		t, err := s.db.newTxn(s.ctx, nil, false)
		if err != nil {
			return err
		}
		d, err := s.db.schema.system.byState.Eq(&ReadTx{t}, JobRunning).First()
		t.finish()
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		end := actionEnd{id: d.ID, attempt: d.Value.Attempts, err: errInterrupted}
		err = s.endAttempt(s.ctx, s.db.schema.functions[d.Value.Function], end)
		if err != nil && !errors.Is(err, errNotPending) {
			return err
		}
	}
}

// pendingJob returns a job that is to be run. It does not count against the limits of the function.
func pendingJob(tx *Tx, id JobID) (d *Doc[Job], err error) {
	err = tx.t.uncounted(func() error {
		d, err = tx.t.db.schema.system.jobs.Get(tx, id)
		return err
	})
	if errors.Is(err, ErrNotFound) || err == nil && d.Value.State != JobPending {
		return nil, errNotPending
	}
	return d, err
}

// uncounted runs fn with limits of its own.
func (t *txn) uncounted(fn func() error) error {
	readDocs, readBytes, writeDocs, writeBytes := t.readDocs, t.readBytes, t.writeDocs, t.writeBytes
	t.readDocs, t.readBytes, t.writeDocs, t.writeBytes = 0, 0, 0, 0
	defer func() {
		t.readDocs, t.readBytes, t.writeDocs, t.writeBytes = readDocs, readBytes, writeDocs, writeBytes
	}()
	return fn()
}

// logLines has what a job said with Log in the database's log, since it has no caller to hear it.
func (s *scheduler) logLines(f *function, t turn, res *Result) {
	if res == nil || len(res.Log) == 0 {
		return
	}
	for _, line := range res.Log {
		s.db.logger.Debug(line, slog.String("function", f.name), slog.String("job", string(t.id)))
	}
}
