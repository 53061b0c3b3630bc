package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// What mutations with a RequestID gave is kept for requestAge from its commit. Of a session that is still in use the older rows
// go, and a watermark stays in their place: the highest request among them. A request at or below it without a record may
// have taken effect long ago, so that it is not run. A session all of whose rows are that old is forgotten as a whole.
//
// The watermark is a key of its own, before all rows of its session. Whoever does not find a record has read it, so that
// pruning conflicts with mutations of the same session that are under way, like any transaction.
const (
	requestAge = 30 * 24 * time.Hour

	// pruneInterval is the time between two passes, pruneDelay that before the first: not while a program starts.
	pruneInterval = time.Hour
	pruneDelay    = 5 * time.Minute

	pruneSessions = 512 // looked at through one snapshot
	pruneRows     = 256 // deleted in one transaction
	pruneTries    = 5   // of a session that is busy; then it is left to the next pass
)

// watermarkVersion begins a watermark: version, 1 | request, 8.
const watermarkVersion = 1

// errForgotten answers a request whose record may have been pruned.
var errForgotten = &Error{Code: CodeUnknown, Message: "this request is too old to tell whether it took effect; it was not run"}

// prune removes old records from time to time. It belongs to the database and ends with it.
func (db *DB) prune() {
	timer := time.NewTimer(pruneDelay)
	defer timer.Stop()
	for {
		select {
		case <-db.life.Done():
			return
		case <-timer.C:
		}
		if err := db.pruneRequests(db.life); err != nil && db.life.Err() == nil && !errors.Is(err, ErrFailed) {
			db.logger.Error("old records of requests could not be removed", "error", err)
		}
		timer.Reset(pruneInterval)
	}
}

// pruneRequests is one pass over all sessions.
func (db *DB) pruneRequests(ctx context.Context) error {
	cutoff := Timestamp(max(0, db.clock().Add(-requestAge).UnixNano()))
	for from := []byte{spaceSession}; from != nil; {
		var aged [][]byte
		var err error
		if aged, from, err = db.agedSessions(ctx, from, cutoff); err != nil {
			return err
		}
		for _, prefix := range aged {
			if err := db.pruneSession(ctx, prefix, cutoff); err != nil {
				return err
			}
		}
	}
	return nil
}

// agedSessions looks at some sessions, beginning at from, and returns the prefixes of those whose first row is from before
// cutoff, and where to go on, nil at the end. Requests ascend with time, so that there is nothing to prune behind a first
// row that is newer; if there is, it waits until that one is old.
func (db *DB) agedSessions(ctx context.Context, from []byte, cutoff Timestamp) (aged [][]byte, next []byte, err error) {
	t, err := db.newTxn(ctx, nil, false)
	if err != nil {
		return nil, nil, err
	}
	defer t.finish()
	for range pruneSessions {
		var prefix []byte
		old := true // where there is nothing but a watermark
		for kv, err := range t.snap.Scan(from, []byte{spaceSession + 1}, false, 2) {
			if err != nil {
				return nil, nil, err
			}
			end := bytes.IndexByte(kv.Key, 0)
			if end < 0 {
				return nil, nil, errSessionRow
			}
			if prefix == nil {
				prefix = kv.Key[:end+1]
			} else if !bytes.HasPrefix(kv.Key, prefix) {
				break
			}
			if len(kv.Key) > len(prefix) {
				old = kv.Written <= cutoff
				break
			}
		}
		if prefix == nil {
			return aged, nil, nil
		}
		if old {
			aged = append(aged, prefix)
		}
		from = sessionEnd(prefix)
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
	}
	return aged, from, nil
}

// pruneSession removes the old rows of one session, in as many transactions as that takes.
func (db *DB) pruneSession(ctx context.Context, prefix []byte, cutoff Timestamp) error {
	for try := 1; ; {
		more, err := db.pruneBatch(ctx, prefix, cutoff)
		switch {
		case errors.Is(err, errConflict):
			if try++; try > pruneTries {
				return nil
			}
		case err != nil:
			return fmt.Errorf("session records: %w", err)
		case !more:
			return nil
		}
	}
}

// pruneBatch is one transaction of it, and says whether there is more. It is run by hand, since a busy session is not worth
// a reservation, nor reading its rows the time limit of a function.
func (db *DB) pruneBatch(ctx context.Context, prefix []byte, cutoff Timestamp) (more bool, err error) {
	t, err := db.newTxn(ctx, nil, true)
	if err != nil {
		return false, err
	}
	defer t.finish()
	mark, marked, err := t.watermark(prefix)
	if err != nil {
		return false, err
	}
	lo, hi := append(bytes.Clone(prefix), 0), sessionEnd(prefix)
	var rows []string
	whole := true
	for kv, err := range t.snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return false, err
		}
		if len(kv.Key) != len(prefix)+8 {
			return false, errSessionRow
		}
		more = len(rows) == pruneRows
		if whole = kv.Written <= cutoff && !more; !whole {
			break
		}
		rows = append(rows, string(kv.Key))
	}
	// Records that are not in a row yet are of a session in use.
	for above := t.above(t.mine, string(lo), string(hi), true, false); whole && above.ok(); {
		_, e := above.take()
		whole = e.Deleted
	}
	switch {
	case whole && len(rows) == 0 && !marked:
		return false, nil
	case whole:
		t.reads.Add(prefix, hi) // nobody has begun to use it again
		if marked {
			t.set(string(prefix), nil, true)
		}
	case len(rows) == 0:
		return false, nil
	default:
		high := binary.BigEndian.Uint64([]byte(rows[len(rows)-1][len(prefix):]))
		if !marked || high > mark {
			mark = high
		}
		t.set(string(prefix), binary.BigEndian.AppendUint64([]byte{watermarkVersion}, mark), false)
	}
	for _, k := range rows {
		t.set(k, nil, true)
	}
	t.reads.Seal()
	m := &member{reads: &t.reads, writes: t.writes(), touched: []string{string(prefix)}}
	if err := db.committer.admit(m); err != nil {
		return false, err
	}
	if err := db.committer.accept(ctx, t.base.seq, nil, m); err != nil {
		return false, err
	}
	_, err = db.committer.await(ctx, m)
	return more, err
}

// watermark returns the highest request of a session whose record was pruned. It enters the read set, found or not.
func (t *txn) watermark(prefix []byte) (uint64, bool, error) {
	raw, ok, err := t.get(string(prefix))
	if err != nil || !ok {
		return 0, false, err
	}
	if len(raw) != 9 || raw[0] != watermarkVersion {
		return 0, false, errSessionRow
	}
	return binary.BigEndian.Uint64(raw[1:]), true, nil
}

// sessionEnd is above all keys of a session.
func sessionEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	end[len(end)-1] = 1
	return end
}

// isRecord tells the record of a request, which is put into a row with others, from what pruning writes.
func isRecord(w storage.Write) bool {
	return w.Key[0] == spaceSession && !w.Delete && bytes.IndexByte(w.Key, 0) < len(w.Key)-1
}
