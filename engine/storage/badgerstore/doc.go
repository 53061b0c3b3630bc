// Package badgerstore is the embedded default store: a folder, kept by Badger.
//
//	s, err := badgerstore.Open(badgerstore.Options{Dir: "mimosa-data"})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//
//	ts, err := s.Commit(ctx, id, func([]storage.LogEntry) (storage.Group, error) {
//		return storage.Group{Writes: []storage.Write{{Key: key, Value: value}}}, nil
//	})
//
// # What it guarantees
//
// A group is one Badger transaction and one wait for the disk, or several of both where it is larger than [Store.Budget]; up to
// [Store.LargeBudget] it is whole all the same. Commit returns after the wait, so that a group that was acknowledged outlives
// the process and the machine, whole; one that was not acknowledged is there as a whole or not at all.
// Open works at the first call after any kill. Timestamps never go back, whatever the clock does: Open makes the head it
// publishes durable before it answers, and starts above everything that was ever written. Every value that is read is checked
// against a checksum of its own. Damage to what was written last is found by Open.
//
// # What it does not promise
//
//   - With Options.Relaxed, groups of the last seconds may vanish when the machine fails.
//     A large group that was under way then may leave a folder that Open calls ErrCorrupt.
//   - Damage to a key in a table, rather than to a value, can make Get miss it without an error. [Store.Verify] finds it.
//   - A disk that is full kills the process, because Badger writes through mapped memory. Commit says ErrFull well before,
//     below Options.MinFree, and Open below a quarter of it; somebody else may fill the rest. Nothing acknowledged is lost.
//     A disk of less than 100 MiB has little room above the default of that mark.
//   - Damage that Open reports as ErrCorrupt is reported, not mended: Badger has cut off by then what it could not read.
//   - A folder on a network file system is only as safe as its locks and its fsync.
//   - One process, one store, one folder: ErrLocked otherwise.
//
// # How Badger is used
//
// Badger 4 in managed mode: a group's timestamp is Badger's version, and a snapshot is a read-only transaction at a version.
// Its own conflict detection is off; it does not see phantoms. What differs from its defaults, and why:
//
//   - SyncWrites, one commit in flight. Committing without it and calling Sync afterwards loses acknowledged groups when the
//     write-ahead log rotates in between.
//   - A sync of the folder before a group is acknowledged whenever the folder has changed: Badger makes the content of a new
//     write-ahead log durable, but not its name. A stat tells whether it has.
//   - NumVersionsToKeep 1, which in managed mode counts only versions at or below the discard timestamp: the newest of those
//     is kept, and all above. With more than 1, versions that were overwritten are never given back. The discard
//     timestamp is the versions' floor of Compact, which is stored and set again by Open, because Badger forgets it.
//   - No checksum verification by Badger. On reading blocks it turns damage into "not found", and a compaction then drops the
//     rows for good; on opening tables it reads the whole database. The checksum in each value does not depend on it.
//   - Values stay in the tree up to 1 MiB, Badger's maximum. No value is longer than that, so that the value log stays empty
//     and never has to be collected.
//   - Memory tables of 16 MiB, two of them, no caches, no compression: some 30 MB at rest. A transaction is bounded by
//     15 % of a memory table, 2.4 MiB or 26,214 entries; [Store.Budget] is what is left of that for a caller.
//   - One table on the uppermost level is merged down at once. Most of it is there once more below: with the usual four, the
//     folder takes 2.3 times what is alive rather than 1.6, where 66 MiB of it are overwritten without a pause. Commits are as
//     fast either way.
//
// # Rows
//
// The first byte of a stored key is its space, so that callers' keys never meet the store's own or Badger's ("!badger!"):
//
//	space  key after it                       version    payload
//	d      the caller's key                   group's    the caller's value
//	l      timestamp, 8; chunk, 1             group's    chunk 0: group id, 16; timestamp of the group before, 8;
//	                                                     running total of bytes, 8; number of chunks, 1; log
//	                                                     chunk 1, 2, …: more of the log, which is cut at 1 MiB - 256
//	g      group id, 16                       group's    empty: the version says it all
//	m      "clock"                            itself     head that Open or Advance published, 8; newest group then, 8
//	m      "floor"                            its own    floors of Compact: of versions, 8; of the log, 8; newest group then, 8
//	m      "redo"                             group's    large group being committed: timestamp, 8; parts, 8; bytes, 8
//	r      timestamp, 8; part, 1; piece, 1    group's    number of pieces, 1; piece of the part, see Large groups
//
// Numbers are big-endian. A group costs two entries beyond its writes: its log row, which is the clock as well, and its
// outcome row. The log's newest row is never dropped, since it says where the clock stands. Versions are Badger's: it
// appends the complement of the version to each key, 8 bytes, so that the newest comes first.
//
// A stored value is an envelope of 5 bytes and the payload:
//
//	format, 1 (now 1) | CRC-32C, 4 | payload
//
// The checksum (Castagnoli's polynomial, RFC 3720 appendix B.4) is over stored key, version, format byte and payload, in this
// order: a value that turns up under another key or version is as corrupt as one with a flipped bit. Deletions are Badger's
// tombstones and have no value.
//
// # Large groups
//
// A group above [Store.Budget] is cut into parts, each of which fits one transaction: some of its writes, and a piece of its log,
// so that the log misses a part that is lost with a damaged write-ahead log. Then, each step durable before the next:
//
//  1. Each part is written as redo rows, at most 1 MiB - 256 of it in one, in one transaction a part.
//  2. The row "redo" says that they are complete. From here on the group is committed.
//  3. Each part is applied, one transaction a part, under the group's timestamp. That lies above the head, and is in nobody's
//     sight.
//  4. The head moves on: the group is seen.
//  5. Redo rows and the row "redo" are deleted, in one transaction under a timestamp of its own.
//
// Open does 3 and 5 where the row "redo" is there, however far another process had come: the same rows under the same timestamp
// are the same database. Where it is not, Open does 5. A part is a sequence of rows:
//
//	0 for put or 1 for delete, 1 | length of the key, varint | key with its space | put: length of the payload, varint | payload
//
// Such a group costs three times the writing of one within Budget, and other commits wait meanwhile. It needs four times its
// size above Options.MinFree on the disk, or is refused with ErrFull before anything is written.
//
// # Giving space back
//
// Badger drops old versions when it merges the tables that they are in, and merges by size alone. After Compact, at most every 30 s
// or 64 MiB that were written, the store reads some rows of each table, which tells how much of them could go. When that is at
// least 32 MiB and 45 %, it has Badger merge all levels into the lowest. Where that does not help, because deletions are still in
// memory or lie beside what they delete on the lowest level, it writes a deletion of nothing into the range of each such table
// and fills memory up, so that it becomes a table, and merges once more. All of it is in the background; Close ends it at the next
// step. Until then a folder may hold, beside twice what is alive, some 64 MiB of tables and the write-ahead logs. Merging needs as much
// free space as there are tables, above Options.MinFree, and is left out where there is less.
//
//	p      (nothing)                          floor      what memory is filled with, deleted afterwards
//
// # Files
//
// Besides Badger's files there are two in the folder:
//
//   - mimosa.format says "mimosa badgerstore format 2". It is written before Badger's first file. Open reads format 1,
//     and makes it 2, and refuses a higher number
//     with ErrNewerFormat before Badger sees the folder, and a Badger database without it with ErrForeign.
//   - mimosa.mark holds the newest durable timestamp in two slots of 12 bytes (timestamp, CRC-32C) at offsets 0 and 512, which
//     are written in turn after each commit, without a sync. Badger drops what follows a damaged record of a write-ahead log
//     without a word; when the database ends below the mark, Open says ErrCorrupt.
//
// A gap in the middle is found by the log: each row names the group before it, and Open follows that chain back over what
// write-ahead logs can have held, Tail over what it yields.
//
// # Opening
//
// In this order: create the folder and see that it can be written to; lock it; check the format; remove .mem and .vlog files
// of no length, which a kill between creating and sizing them leaves and which make Badger's Open fail, once; open Badger,
// which replays its write-ahead logs up to the last whole transaction; read clock and floors; apply a large group that was
// committed; read the log's end; compare with the mark and with the newest group that clock and floors name; follow the chain;
// remove redo rows; write the new head, max(last + 1, clock); note the format, where it was an older one.
//
// # Failures
//
// When Badger fails a commit, at any of its steps, the group may be there after replay or not: ErrOutcomeUnknown, the store is poisoned, and
// everything but Close says ErrPoisoned; snapshots that were open go on where Badger still can. Reopen it and ask Outcome.
package badgerstore
