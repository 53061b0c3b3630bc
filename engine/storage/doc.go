// Package storage is the seam between the engine and what keeps its bytes: ordered keys in versions, written in groups.
//
// The engine decides what a transaction is, what it conflicts with and what a key means; a [Store] only keeps bytes as of a
// timestamp, writes a group whole or not at all, remembers the groups in a log, and never lets its clock go back. Package
// badgerstore is the embedded default, memstore keeps everything in memory for tests, and storagetest is the suite that
// every store passes.
//
// A store does not promise to detect conflicts: two groups that overlap are both committed. Validation is the caller's, in
// the build function of [Store.Commit], while it holds the head.
package storage
