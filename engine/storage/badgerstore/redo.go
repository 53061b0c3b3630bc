package badgerstore

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// A group that is too large for one transaction of Badger is cut into parts, each of which is not. The parts are first written
// as redo rows, which nobody reads; then one small row says that all of them are there, and from then on the group is
// committed: they are applied, one transaction a part, under the group's timestamp, which lies above the head and so in
// nobody's sight. When all have been, the head moves on, and the redo rows go. Open applies them again where that one row
// is there, however far it had come, and removes them where it is not.
//
// Each part has its piece of the group's log, so that a part that gets lost with a damaged write-ahead log is missed there.
const (
	largeWrites = 256 << 10
	largeBytes  = 64 << 20
	// maxParts is how many parts the number of a log row's chunk can tell apart.
	maxParts = math.MaxUint8
	// redoChunk is how much of a part one redo row holds.
	redoChunk = valueThreshold - 256
	// redoSpace is how many times its size a group needs on the disk: it is written to redo rows and to its own, and a
	// compaction may write either once more before it removes what it has merged.
	redoSpace = 4
)

// redoKey is the row that says that the redo rows of a group are complete: its timestamp, the number of parts, and their size.
var redoKey = []byte("redo")

// LargeBudget implements [storage.LargeBudget].
func (s *Store) LargeBudget() (writes int, bytes int64) { return largeWrites, largeBytes }

// part is the piece of a group that is written in one transaction.
type part struct {
	writes []storage.Write
	log    []byte
}

// cutParts cuts a group into parts, each within Badger's bounds: one piece of the log, which fits one row, and as many writes as
// fit beside it. The largest write fits beside the largest piece.
func (s *Store) cutParts(g storage.Group) []part {
	var parts []part
	size := int64(0)
	for _, w := range g.Writes {
		size += writeSize(w)
	}
	least := max(1, size/s.partBytes, int64(len(g.Writes)/s.partWrites)) // so many parts, or more
	most := s.partBytes - min(logChunk, int64(len(g.Log))/least+1)
	writes := max(s.partWrites, len(g.Writes)/(maxParts/2))
	for rest := g.Writes; len(rest) > 0; {
		n, size := 0, int64(0)
		for ; n < len(rest) && n < writes; n++ {
			if size += writeSize(rest[n]); size > most && n > 0 {
				break
			}
		}
		parts = append(parts, part{writes: rest[:n]})
		rest = rest[n:]
	}
	chunk := logChunk - logHeadSize
	for len(parts) == 0 || len(parts)*chunk < len(g.Log) {
		parts = append(parts, part{})
	}
	each := (len(g.Log) + len(parts) - 1) / len(parts)
	for i, rest := 0, g.Log; i < len(parts); i++ {
		parts[i].log, rest = cut(rest, each)
	}
	return parts
}

// writeSize is what counts of a write towards the bounds of a group.
func writeSize(w storage.Write) int64 {
	if w.Delete {
		return int64(len(w.Key))
	}
	return int64(len(w.Key) + len(w.Value))
}

// commitLarge stores a group in parts. The caller holds the turn and has checked the group; size is that of all its rows.
func (s *Store) commitLarge(id storage.GroupID, g storage.Group, size int64) (storage.Timestamp, error) {
	parts := s.cutParts(g)
	if len(parts) > maxParts {
		return 0, fmt.Errorf("badgerstore: %d parts: %w", len(parts), storage.ErrTooLarge)
	}
	if err := s.opts.checkSpace(s.opts.MinFree + redoSpace*size); err != nil {
		return 0, err
	}
	ts := s.nextTimestamp()
	s.last = ts
	total := s.total + 2*uint64(size)
	head := logHead{id: id, prev: s.newest, total: total, chunks: len(parts)}
	for i, p := range parts {
		if err := s.stage(ts, i, p, head); err != nil {
			return 0, s.poison(ts, err)
		}
		s.passed("staged")
	}
	record := redo{ts: ts, parts: len(parts), bytes: size}
	if err := s.writeMeta(redoKey, ts, record.values()...); err != nil {
		return 0, err
	}
	s.passed("committed")
	if err := s.apply(record); err != nil {
		return 0, s.poison(ts, err)
	}
	s.total = total
	s.mu.Lock()
	s.head, s.newest = ts, ts
	s.mu.Unlock()
	if err := s.removeRedo(); err != nil {
		return 0, s.poison(ts, err)
	}
	s.passed("removed")
	return ts, nil
}

// passed tells a test that a step of a large group was taken.
func (s *Store) passed(step string) {
	if s.opts.onStep != nil {
		s.opts.onStep(step)
	}
}

// redo is what the row at redoKey says.
type redo struct {
	ts    storage.Timestamp
	parts int
	bytes int64
}

func (r redo) values() []storage.Timestamp {
	return []storage.Timestamp{r.ts, storage.Timestamp(r.parts), storage.Timestamp(r.bytes)}
}

// The rows of a part lie in its redo rows one after the other: kind, 1 (0 put, 1 delete) | length of the key, with its space |
// key | and where it is put: length of the payload | payload. Lengths are unsigned varints.
const (
	redoPut    = 0
	redoDelete = 1
)

func appendRedo(b []byte, space byte, key []byte, remove bool, payload ...[]byte) []byte {
	kind := byte(redoPut)
	if remove {
		kind = redoDelete
	}
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(1+len(key)))
	b = append(b, space)
	b = append(b, key...)
	if remove {
		return b
	}
	size := 0
	for _, p := range payload {
		size += len(p)
	}
	b = binary.AppendUvarint(b, uint64(size))
	for _, p := range payload {
		b = append(b, p...)
	}
	return b
}

// stage writes the redo rows of one part, in one transaction. The first part has the group's outcome row and the head of its
// log.
func (s *Store) stage(ts storage.Timestamp, number int, p part, head logHead) error {
	size := 64 + len(p.log)
	for _, w := range p.writes {
		size += int(writeSize(w)) + 2 + 2*binary.MaxVarintLen32
	}
	content := make([]byte, 0, size)
	for _, w := range p.writes {
		content = appendRedo(content, spaceUser, w.Key, w.Delete, w.Value)
	}
	var first []byte
	if number == 0 {
		content = appendRedo(content, spaceOutcome, head.id[:], false)
		first = head.append(nil)
	}
	content = appendRedo(content, spaceLog, appendLogKey(nil, ts, number), false, first, p.log)

	chunks := (len(content) + redoChunk - 1) / redoChunk
	b := newBatch(s, len(content)+chunks*rowSize(redoKeySize, 1))
	for i := range chunks {
		var piece []byte
		piece, content = cut(content, redoChunk)
		if err := b.put(spaceRedo, appendRedoKey(nil, ts, number, i), ts, []byte{byte(chunks)}, piece); err != nil {
			return err
		}
	}
	return b.commit(ts)
}

// A redo row's key is the group's timestamp, the part's number, and that of the piece of it that the row holds. Its payload is
// the number of pieces, and the piece.
const redoKeySize = 8 + 1 + 1

func appendRedoKey(b []byte, ts storage.Timestamp, part, chunk int) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(ts)), byte(part), byte(chunk))
}

// apply writes what the redo rows of a group say. It may be done more than once, and begin anew wherever it was interrupted:
// the same rows under the same timestamp.
func (s *Store) apply(r redo) error {
	for number := range r.parts {
		content, err := s.staged(r.ts, number)
		if err != nil {
			return err
		}
		if err := s.applyPart(r.ts, content); err != nil {
			return err
		}
		s.passed("applied")
	}
	return nil
}

// staged reads the redo rows of a part.
func (s *Store) staged(ts storage.Timestamp, number int) ([]byte, error) {
	var content []byte
	for chunk, chunks := 0, 1; chunk < chunks; chunk++ {
		r, ok, err := s.get(math.MaxUint64, spaceRedo, appendRedoKey(nil, ts, number, chunk))
		if err != nil {
			return nil, err
		}
		if !ok || len(r.payload) == 0 || r.payload[0] == 0 {
			return nil, fmt.Errorf("badgerstore: redo of group %d: piece %d of part %d is missing: %w", ts, chunk, number, storage.ErrCorrupt)
		}
		chunks = int(r.payload[0])
		content = append(content, r.payload[1:]...)
	}
	return content, nil
}

// applyPart writes the rows of a part, in one transaction.
func (s *Store) applyPart(ts storage.Timestamp, content []byte) error {
	var rows []redoRow
	size := 0
	for rest := content; len(rest) > 0; {
		var row redoRow
		var ok bool
		if row, rest, ok = parseRedo(rest); !ok {
			return fmt.Errorf("badgerstore: redo of group %d: %w", ts, storage.ErrCorrupt)
		}
		rows = append(rows, row)
		size += rowSize(len(row.key), len(row.payload))
	}
	b := newBatch(s, size)
	for _, row := range rows {
		var err error
		if row.remove {
			err = b.delete(row.key[0], row.key[1:])
		} else {
			err = b.put(row.key[0], row.key[1:], ts, row.payload)
		}
		if err != nil {
			return err
		}
	}
	return b.commit(ts)
}

// redoRow is one row of a part, with its space.
type redoRow struct {
	key, payload []byte
	remove       bool
}

// parseRedo takes the first row off a part.
func parseRedo(b []byte) (row redoRow, rest []byte, ok bool) {
	take := func(b []byte) (v, rest []byte, ok bool) {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return nil, nil, false
		}
		return b[used : used+int(n)], b[used+int(n):], true
	}
	if len(b) == 0 || b[0] > redoDelete {
		return row, nil, false
	}
	row.remove = b[0] == redoDelete
	if row.key, rest, ok = take(b[1:]); !ok || len(row.key) == 0 {
		return row, nil, false
	}
	if !row.remove {
		row.payload, rest, ok = take(rest)
	}
	return row, rest, ok
}

// finishRedo brings to its end what a killed process left of a large group, and returns its timestamp, zero where there was
// none. It runs in Open, before the log is read.
func (s *Store) finishRedo() (storage.Timestamp, error) {
	m, err := s.readMetaRow(redoKey, 3)
	if err != nil || m.written == 0 {
		return 0, err
	}
	if len(m.ts) != 3 || m.ts[1] == 0 || m.ts[1] > maxParts {
		return 0, fmt.Errorf("row %s: %w", redoKey, storage.ErrCorrupt)
	}
	r := redo{ts: m.ts[0], parts: int(m.ts[1]), bytes: int64(m.ts[2])}
	s.log.Info("badgerstore: a large group is being brought to its end", "dir", s.opts.Dir, "timestamp", r.ts, "bytes", r.bytes)
	if err := s.opts.checkSpace(s.opts.MinFree/4 + redoSpace/2*r.bytes); err != nil {
		return 0, err
	}
	return r.ts, s.apply(r)
}

// removeRedo removes all redo rows and what was said of them, in one transaction, under a timestamp of its own.
func (s *Store) removeRedo() error {
	keys, newest, err := s.redoRows()
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return nil
	}
	s.last = max(s.last, newest)
	s.last = s.nextTimestamp()
	b := newBatch(s, (len(keys)+1)*rowSize(redoKeySize, 0))
	for _, key := range keys {
		if err := b.delete(key[0], key[1:]); err != nil {
			return err
		}
	}
	if err := b.delete(spaceMeta, redoKey); err != nil {
		return err
	}
	return b.commit(s.last)
}

// redoRows returns the keys of all redo rows, and the newest timestamp under which one is stored. It does not look at what they
// hold: that of a group that was never committed matters to nobody, damaged or not.
func (s *Store) redoRows() (keys [][]byte, newest storage.Timestamp, err error) {
	c, err := s.openIterator(math.MaxUint64, newSpan(spaceRedo, nil, nil, false), badger.IteratorOptions{Prefix: []byte{spaceRedo}})
	if err != nil {
		return nil, 0, err
	}
	defer c.close()
	err = s.gate.do(func() error {
		for c.advance() {
			keys = append(keys, c.it.Item().KeyCopy(nil))
			newest = max(newest, storage.Timestamp(c.it.Item().Version()))
		}
		return nil
	})
	return keys, newest, err
}
