package engine

import (
	"crypto/sha256"
	"encoding/binary"
)

// journal keeps, over the runs of one live query, where the pages end that it reads. It is nil where nobody keeps one: in
// mutations, and in View.
//
// A page is known again by its range, its beginning, its direction, and how many such pages came before it in the run. One
// that is not, since the range is another today or since what the client sent is none of ours, is read as if for the first
// time. That leaves no gap: if a page stood before it, its own Cursor belongs to the other range and is refused.
type journal struct {
	given  string // what the client kept
	parsed bool
	known  map[pageName][]byte // of given: places as query.encode writes them
	seen   map[pageName]uint64 // how many pages of this run have a name, but for its number
	text   []byte              // of this run: names and places
}

// pageName is a hash, so that a journal grows with the ends of its pages alone.
type pageName [16]byte

// maxJournalBytes bounds a journal: clients send it back in one field, of 64 KiB at most once it is sealed. The place of one
// page is rarely more than 50 bytes.
const maxJournalBytes = 40 << 10

// journalBinding keeps journals and cursors apart.
var journalBinding = []byte("journal")

func (r *pageRead) name(number uint64) (name pageName) {
	h := sha256.New()
	writeSized(h, r.binding)
	writeSized(h, r.q.encode(r.start))
	direction := byte(0)
	if r.q.reverse {
		direction = 1
	}
	h.Write(binary.AppendUvarint([]byte{direction}, number))
	copy(name[:], h.Sum(nil))
	return name
}

// recall names a page and returns where it ended when it was first read.
func (j *journal) recall(r *pageRead) (end []byte, ok bool) {
	if j == nil {
		return nil, false
	}
	if !j.parsed {
		j.parsed, j.seen = true, map[pageName]uint64{}
		if text, ok := r.q.t.db.seal.open(journalBinding, j.given); ok {
			j.known = parseJournal(text)
		}
	}
	first := r.name(0)
	r.journaled = r.name(j.seen[first])
	j.seen[first]++
	place, ok := j.known[r.journaled]
	if !ok {
		return nil, false
	}
	return r.q.decode(place)
}

// pin notes where the page ends.
func (j *journal) pin(r *pageRead) error {
	if j == nil {
		return nil
	}
	place := r.q.encode(r.end)
	j.text = append(j.text, r.journaled[:]...)
	j.text = binary.AppendUvarint(j.text, uint64(len(place)))
	j.text = append(j.text, place...)
	if len(j.text) > maxJournalBytes {
		return Errorf(CodeTooLarge, "a query reads too many pages")
	}
	return nil
}

func parseJournal(text []byte) map[pageName][]byte {
	known := map[pageName][]byte{}
	for len(text) > len(pageName{}) {
		name := pageName(text)
		text = text[len(name):]
		size, n := binary.Uvarint(text)
		if n <= 0 || size > uint64(len(text)-n) {
			break
		}
		known[name] = text[n : n+int(size)]
		text = text[n+int(size):]
	}
	return known
}

// takeJournal returns what the caller is to keep after a run that gave err. One that failed, or that came to no page this
// time, leaves the journal as it was.
func (t *txn) takeJournal(c Call, err error) string {
	if t.runaway || err != nil || len(t.journal.text) == 0 {
		return c.Journal
	}
	return t.db.seal.close(journalBinding, t.journal.text)
}
