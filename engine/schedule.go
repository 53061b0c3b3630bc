package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
	"github.com/mimosadb/mimosa/engine/internal/keyenc"
	"github.com/mimosadb/mimosa/engine/storage"
)

// Scheduler is what jobs are scheduled through: a *Tx, whose transaction they are part of, or an *ActionCtx, in which case each
// is a transaction of its own and durable when Schedule returns. It is sealed.
type Scheduler interface {
	schedule(fn func(*Tx) error) error
}

func (tx *Tx) schedule(fn func(*Tx) error) error       { return fn(tx) }
func (c *ActionCtx) schedule(fn func(*Tx) error) error { return c.db.Update(c.ctx, fn) }

// Schedule has the mutation run once after a delay: as nobody, in a transaction of its own, together with the mark that it did,
// so exactly once, over restarts and crashes. The job is a document (see [Job]) of the transaction of s: where that fails, or the
// part of it under Tx.Nested, nothing is scheduled. A delay of zero or less means at once, after the commit.
//
// Nothing is waited for: what becomes of the job is in its document, with results of up to 256 KiB. An error or a panic of the
// function undoes what it wrote and marks the job failed; it is run again only where it was not to blame, as after code busy. Jobs
// of one function are begun in the order in which they are due, but many run at the same time, so that they may take effect in
// another.
//
// Errors: code invalid for arguments that break their schema and for a delay of more than 100 years; a LimitError for arguments of
// more than 512 KiB; those of Collection.Insert. Every job counts as a document written.
func (m MutationRef[A, R]) Schedule(s Scheduler, after time.Duration, a A) (JobID, error) {
	return scheduleCall(s, m.f, &a, func(now time.Time) time.Time { return now.Add(after) })
}

// ScheduleAt is Schedule at a time, by the database's clock. One that has passed means at once; the zero time is refused.
func (m MutationRef[A, R]) ScheduleAt(s Scheduler, at time.Time, a A) (JobID, error) {
	return scheduleCall(s, m.f, &a, func(time.Time) time.Time { return at })
}

// Schedule has the action run after a delay, as nobody: at most once, or as often as [Retry] says. It is marked as running before
// it begins, so that one that a crash or the end of the program interrupts is not begun again unknowingly: its job has failed,
// with code interrupted. All else is as with MutationRef.Schedule.
func (r ActionRef[A, R]) Schedule(s Scheduler, after time.Duration, a A) (JobID, error) {
	return scheduleCall(s, r.f, &a, func(now time.Time) time.Time { return now.Add(after) })
}

// ScheduleAt is Schedule at a time, by the database's clock. One that has passed means at once; the zero time is refused.
func (r ActionRef[A, R]) ScheduleAt(s Scheduler, at time.Time, a A) (JobID, error) {
	return scheduleCall(s, r.f, &a, func(time.Time) time.Time { return at })
}

// maxDelay is how far ahead a job may be due. Whatever lies further is taken for a mistake.
const maxDelay = 100 * 366 * 24 * time.Hour

func scheduleCall(s Scheduler, f *function, args any, when func(now time.Time) time.Time) (id JobID, err error) {
	raw, err := f.encodeArgs(args)
	if err != nil {
		return "", err
	}
	err = s.schedule(func(tx *Tx) error {
		db := tx.t.db
		if db.schema.functions[f.name] != f {
			return fmt.Errorf("engine: function %s belongs to another schema", f.name)
		}
		if most := min(db.limits.ArgumentBytes, maxJobArgs); len(raw) > most {
			return &LimitError{"ArgumentBytes", int64(most)}
		}
		now := tx.t.start
		due := when(now)
		switch {
		case due.IsZero():
			return &Error{Code: CodeInvalid, Message: "a job cannot be scheduled at the zero time"}
		case due.Sub(now) > maxDelay:
			return &Error{Code: CodeInvalid, Message: "a job cannot be scheduled more than 100 years ahead"}
		case due.Before(now):
			due = now
		}
		id, err = db.enqueue(tx, Job{Function: f.name, Args: raw, Due: due.UTC()})
		return err
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// encodeArgs encodes and validates what a function is going to be called with.
func (f *function) encodeArgs(args any) ([]byte, error) {
	if f == nil || f.args == nil {
		return nil, fmt.Errorf("engine: function was not registered properly")
	}
	raw, err := f.args.Encode(args)
	if err != nil {
		return nil, asInvalid(err, "invalid arguments for "+f.name)
	}
	if issues := f.args.Validate(raw, doctype.ValidateOptions{}); len(issues) > 0 {
		return nil, invalid("invalid arguments for "+f.name, issues)
	}
	return raw, nil
}

// enqueue inserts a job that waits for its time.
func (db *DB) enqueue(tx *Tx, j Job) (JobID, error) {
	j.State, j.At = JobPending, j.Due
	if err := tx.t.lowerMark(j.Function, j.At); err != nil {
		return "", err
	}
	return insertSystem(tx, db.schema.system.jobs, j)
}

// The low-water mark of a function is a time before which it has no pending job. Finding what is due begins there, and not among
// the entries of all the jobs that are done. It is a row of the catalog's keyspace: format, 1 | nanoseconds since 1970, 8.
//
// Who adds a job reads the mark, and lowers it where the job is due earlier, which after a step of the clock can be; who raises
// it has read that there is no job below. So either of two that do so at once is run again.
const markVersion = 1

func markKey(function string) string {
	return string(append([]byte{spaceMeta, metaJobMark}, function...))
}

// mark returns a function's low-water mark, zero where it has none.
func (t *txn) mark(function string) (time.Time, error) {
	raw, ok, err := t.get(markKey(function))
	if err != nil || !ok {
		return time.Time{}, err
	}
	return decodeMark(raw)
}

func decodeMark(raw []byte) (time.Time, error) {
	if len(raw) != 9 || raw[0] != markVersion {
		return time.Time{}, fmt.Errorf("engine: %w: low-water mark of jobs", storage.ErrCorrupt)
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(raw[1:]))).UTC(), nil
}

func (t *txn) setMark(function string, at time.Time) {
	key := markKey(function)
	t.set(key, binary.BigEndian.AppendUint64([]byte{markVersion}, uint64(at.UnixNano())), false)
	t.touched = append(t.touched, key)
}

func (t *txn) lowerMark(function string, at time.Time) error {
	if err := t.usable(); err != nil {
		return err
	}
	mark, err := t.mark(function)
	if err == nil && at.Before(mark) {
		t.setMark(function, at)
	}
	return err
}

// raiseMark moves a function's low-water mark up to its first pending job. It is run by hand, and left to another time when it
// meets a conflict.
func (db *DB) raiseMark(ctx context.Context, function string) error {
	t, err := db.newTxn(ctx, nil, true)
	if err != nil {
		return err
	}
	defer t.finish()
	was, err := t.mark(function)
	if err != nil {
		return err
	}
	lane := db.lanePrefix(JobPending, function)
	lo, hi := laneKey(lane, was), keyenc.PrefixEnd(lane)
	end, to := hi, t.start
	err = t.scan(t.mine, lo, hi, false, func(k string, _ []byte) (bool, error) {
		var err error
		if to, err = laneTime(lane, []byte(k)); err != nil {
			return false, err
		}
		end = laneKey(lane, to)
		return false, nil
	})
	if err != nil && !errors.Is(err, errStopped) {
		return err
	}
	if !to.After(was) {
		return nil
	}
	t.reads.Add(lo, end)
	t.setMark(function, to)
	t.reads.Seal()
	m := &member{reads: &t.reads, writes: t.writes(), touched: t.touched}
	if err := db.committer.admit(m); err != nil {
		return err
	}
	if err := db.committer.accept(ctx, t.base.seq, nil, m); err != nil {
		return err
	}
	_, err = db.committer.await(ctx, m)
	return err
}

// A lane is the part of the index by state that holds the jobs of one function in one state. Its entries continue with Job.At.

func (db *DB) lanePrefix(state JobState, function string) []byte {
	lo, _ := indexRange(db.schema.system.byState.x.tag)
	return keyenc.AppendString(keyenc.AppendString(lo, string(state)), function)
}

// laneKey is where the entries of a time, and of all later ones, begin.
func laneKey(lane []byte, at time.Time) []byte {
	k := append([]byte(nil), lane...)
	if at.IsZero() {
		return k
	}
	return keyenc.AppendTime(k, at)
}

func laneTime(lane, key []byte) (time.Time, error) {
	c, _, err := keyenc.Next(key[len(lane):])
	at, ok := c.Value.(time.Time)
	if err != nil || !ok {
		return time.Time{}, fmt.Errorf("engine: %w: index entry of a job", storage.ErrCorrupt)
	}
	return at, nil
}
