package engine

import (
	"bytes"
	"encoding/binary"
)

// The engine's keyspaces in a store:
//
//	d + id (16)                                        a document's JSON
//	i + index tag (4) + components + id without tag (12)  an index entry, without a value
//	s + session + 0x00 + request (8)                   what mutations of one session gave, see request.go
//	s + session + 0x00                                 the highest request whose record was pruned, see prune.go
//	m + kind + name                                    the catalog, indexes and migrations, see catalog.go; the key of cursors,
//	                                                   marks of backups
//	m + 's' + function                                 the low-water mark of a function's jobs, see schedule.go
const (
	spaceDocument = 'd'
	spaceIndex    = 'i'
	spaceSession  = 's'
	spaceMeta     = 'm'

	metaJobMark = 's'

	// partition is the length of a document's or index's own prefix: space and tag.
	partition = 1 + tagBytes
)

// Rows of what a database knows of itself, beside the catalog.
var (
	backupsKey   = []byte{spaceMeta, 'b'} // backups that incremental ones may follow, see backuphistory.go
	restoringKey = []byte{spaceMeta, 'r'} // there while a restore is not finished
)

// ofThisStore says of a meta row that it is about the store that it is in, so that no backup has it.
func ofThisStore(key []byte) bool {
	if len(key) > 1 && key[1] == metaProgress {
		return true // entries are not in a backup
	}
	return bytes.Equal(key, backupsKey) || bytes.Equal(key, restoringKey)
}

func documentKey(id rawID) string {
	var k [1 + idBytes]byte
	k[0] = spaceDocument
	copy(k[1:], id[:])
	return string(k[:])
}

func documentRange(tag [tagBytes]byte) (lo, hi []byte) { return prefixRange(spaceDocument, tag) }
func indexRange(tag [tagBytes]byte) (lo, hi []byte)    { return prefixRange(spaceIndex, tag) }

func prefixRange(space byte, tag [tagBytes]byte) (lo, hi []byte) {
	lo = append([]byte{space}, tag[:]...)
	hi = append([]byte{space}, binary.BigEndian.AppendUint64(nil, (uint64(binary.BigEndian.Uint32(tag[:]))+1)<<32)[:tagBytes]...)
	if binary.BigEndian.Uint32(tag[:]) == 1<<32-1 {
		hi = []byte{space + 1}
	}
	return lo, hi
}

// indexedID returns the id of the document that an index entry of c points to.
func (c *collection) indexedID(key []byte) (id rawID) {
	copy(id[:], c.tag[:])
	copy(id[tagBytes:], key[len(key)-(idBytes-tagBytes):])
	return id
}

func sessionPrefix(session string) []byte {
	k := make([]byte, 0, len(session)+2)
	k = append(k, spaceSession)
	k = append(k, session...)
	return append(k, 0)
}

func requestKey(r RequestID) string {
	return string(binary.BigEndian.AppendUint64(sessionPrefix(r.Session), r.Request))
}
