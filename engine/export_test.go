package engine

// SetWatchWindow bounds what is remembered for watches that register late.
func SetWatchWindow(db *DB, groups, keys int) {
	db.watches.mu.Lock()
	defer db.watches.mu.Unlock()
	db.watches.most = window{groups, keys}
}
