package engine

import (
	"context"
	"time"
)

// SetWatchWindow bounds what is remembered for watches that register late.
func SetWatchWindow(db *DB, groups, keys int) {
	db.watches.mu.Lock()
	defer db.watches.mu.Unlock()
	db.watches.most = window{groups, keys}
}

// PruneRequests is one pass of what the database does from time to time.
func PruneRequests(ctx context.Context, db *DB) error { return db.pruneRequests(ctx) }

// Compact is what the database does from time to time.
func Compact(ctx context.Context, db *DB) error { return db.compact(ctx) }

// SetChangedUnits bounds what an incremental backup keeps in memory of what has changed.
func SetChangedUnits(db *DB, n int) { db.backups.most = n }

// Retention returns what decides up to where versions may go. It is told, once a second, the time, the published head, and how
// many bytes were written in all.
func Retention() func(now time.Time, head Timestamp, written uint64) Timestamp {
	return new(retention).floor
}

// CompactTo lets all versions below a timestamp go, and the log up to it.
func CompactTo(ctx context.Context, db *DB, floor Timestamp) error { return db.compactTo(ctx, floor) }

// ReadAt says whether the store still keeps a timestamp.
func ReadAt(ctx context.Context, db *DB, at Timestamp) error {
	snap, err := db.store.At(ctx, at)
	if err == nil {
		snap.Close()
	}
	return err
}

// JobMark returns the low-water mark of a function's jobs, zero where there is none.
func JobMark(db *DB, function string) (mark time.Time, err error) {
	err = db.View(context.Background(), func(r *ReadTx) (err error) {
		mark, err = r.t.mark(function)
		return err
	})
	return mark, err
}

// RaiseJobMark has the low-water mark of a function's jobs follow what is done.
func RaiseJobMark(db *DB, function string) error { return db.raiseMark(context.Background(), function) }
