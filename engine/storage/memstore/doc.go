// Package memstore is a store that keeps everything in memory, for tests and for data that may vanish with the process.
//
// It keeps the whole contract of package storage: snapshots at exact timestamps, groups whole or not at all, a log, a clock
// that never goes back, [storage.Store.Compact] below pinned snapshots. Two things go beyond it:
//
//   - Several handles may share one memory, as several processes share one database server. What one handle commits, the
//     next Commit of another is handed as missed. Closing a handle and opening another is a restart:
//
//     shared := memstore.NewShared(memstore.Options{})
//     a, b := shared.Open(), shared.Open()
//     …
//     a.Close()
//     a = shared.Open()
//
//   - [Store.FailNextCommit] makes the next commit fail with [storage.ErrOutcomeUnknown], before or after it took effect, so
//     that a caller's handling of the worst answer can be tested.
//
// Each group costs a shallow copy of the tree of keys and keeps what it replaced until Compact; nothing here is meant for
// data sets that do not fit in memory several times.
package memstore
