package engine

import (
	"context"
	"errors"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// The store is read as a whole once a scrubInterval, for the first time after scrubDelay: a program that is restarted every
// night must not be one whose store is never read.
const (
	scrubInterval = 24 * time.Hour
	scrubDelay    = time.Hour

	// scrubRate is how many bytes a second the store is to read at the most, so that what others do goes on beside it.
	scrubRate = 16 << 20
)

// scrub has the store look for damage at what nobody may ask for until it is needed. It belongs to the database and ends with
// it. What it finds is logged, one line a fault; nothing is mended, and reading on is safe: damage that is read is an error.
func (db *DB) scrub() {
	every := db.options.ScrubInterval
	if every == 0 {
		every = scrubInterval
	}
	if _, ok := db.store.(storage.Verifier); !ok || every < 0 {
		return
	}
	timer := time.NewTimer(min(every, scrubDelay))
	defer timer.Stop()
	for {
		select {
		case <-db.life.Done():
			return
		case <-timer.C:
		}
		faults := db.storeFaults(storage.WithRate(db.life, scrubRate))
		if db.life.Err() != nil {
			return // what it says now is that the database was closed
		}
		for _, err := range faults {
			db.logger.Error("the store is damaged; restore a backup, or run a check to see what is affected", "error", err)
		}
		timer.Reset(every)
	}
}

// storeFaults returns what the store finds wrong with its own bytes, one error a fault; none where it cannot tell.
func (db *DB) storeFaults(ctx context.Context) []error {
	v, ok := db.store.(storage.Verifier)
	if !ok {
		return nil
	}
	return parts(v.Verify(ctx))
}

// parts takes apart what errors.Join has put together.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err} // one fault, if with several causes
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, parts(e)...)
	}
	return out
}
