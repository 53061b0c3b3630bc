package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

const (
	// jobAge is how long a job is kept after its end.
	jobAge = 7 * 24 * time.Hour
	// purgeBatch is how many are removed in one transaction.
	purgeBatch = 256
)

// purge removes the jobs that ended long ago, from time to time. It belongs to the database and ends with it.
func (s *scheduler) purge() {
	timer := time.NewTimer(pruneDelay)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		}
		if err := s.db.purgeJobs(s.ctx); err != nil && s.ctx.Err() == nil && !errors.Is(err, ErrFailed) {
			s.db.logger.Error("old jobs could not be removed", "error", err)
		}
		timer.Reset(pruneInterval)
	}
}

// purgeJobs is one pass over all jobs that have ended, function by function.
func (db *DB) purgeJobs(ctx context.Context) error {
	cutoff := db.clock().Add(-jobAge)
	for _, state := range []JobState{JobSucceeded, JobFailed, JobCancelled} {
		lo, _ := indexRange(db.schema.system.byState.x.tag)
		lo = keyenc.AppendString(lo, string(state))
		for from, end := lo, keyenc.PrefixEnd(lo); ; {
			old, next, err := db.oldJobs(ctx, state, len(lo), from, end, cutoff)
			if err != nil {
				return err
			}
			if len(old) > 0 {
				if err := db.removeJobs(ctx, old, cutoff); err != nil {
					return fmt.Errorf("jobs: %w", err)
				}
			}
			if next == nil {
				break
			}
			from = next
		}
	}
	return nil
}

// oldJobs returns some jobs of the first function at or above from, those that ended before cutoff, and where to go on, nil at
// the end. state is the length of the part of a key that names the state.
func (db *DB) oldJobs(ctx context.Context, s JobState, state int, from, end []byte, cutoff time.Time) (old []JobID, next []byte, err error) {
	t, err := db.newTxn(ctx, nil, false)
	if err != nil {
		return nil, nil, err
	}
	defer t.finish()
	var lane []byte
	for kv, err := range t.snap.Scan(from, end, false, 0) {
		if err != nil {
			return nil, nil, err
		}
		if lane == nil {
			c, _, err := keyenc.Next(kv.Key[state:])
			if err != nil {
				return nil, nil, err
			}
			function, _ := c.Value.(string)
			lane = db.lanePrefix(s, function)
			end = keyenc.PrefixEnd(lane)
		}
		if string(kv.Key) >= string(end) {
			return old, end, nil
		}
		at, err := laneTime(lane, kv.Key)
		if err != nil {
			return nil, nil, err
		}
		if at.After(cutoff) {
			return old, end, nil
		}
		if len(old) == purgeBatch {
			return old, kv.Key, nil
		}
		old = append(old, JobID(db.schema.system.jobs.c.indexedID(kv.Key).String()))
	}
	return old, nil, nil
}

func (db *DB) removeJobs(ctx context.Context, old []JobID, cutoff time.Time) error {
	_, err := db.transact(ctx, nil, nil, func(x *txn) ([]byte, error) {
		tx, jobs := &Tx{x}, db.schema.system.jobs
		for _, id := range old {
			err := x.uncounted(func() error {
				d, err := jobs.Get(tx, id)
				if errors.Is(err, ErrNotFound) || err == nil && (!d.Value.State.finished() || d.Value.At.After(cutoff)) {
					return nil
				}
				if err != nil {
					return err
				}
				return deleteSystem(tx, jobs, id)
			})
			if err != nil {
				return nil, err
			}
		}
		return nil, nil
	}, steps{})
	return err
}
