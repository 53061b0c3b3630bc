package engine

import "context"

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
