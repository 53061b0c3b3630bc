package badgerstore

import (
	"bytes"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// span is a range of stored keys within one space.
type span struct {
	lo, hi []byte // lo <= key < hi
	// prefix is common to all keys of the span; Badger leaves out the tables that cannot have it.
	prefix  []byte
	reverse bool
}

// newSpan returns the span of a space from lo to hi, nil meaning no bound.
func newSpan(space byte, lo, hi []byte, reverse bool) span {
	s := span{lo: append([]byte{space}, lo...), reverse: reverse}
	if hi == nil {
		s.hi = []byte{space + 1} // no key: in no space is there an empty one, but for the user's, and that has none after it
		s.prefix = s.lo[:1]
		return s
	}
	s.hi = append([]byte{space}, hi...)
	n := 0
	for n < len(s.lo) && n < len(s.hi) && s.lo[n] == s.hi[n] {
		n++
	}
	// When hi is the next prefix after one of lo, all keys have that prefix of lo. Not so in reverse: Badger then seeks to hi
	// and gives up at once if a key that lies there has not the prefix.
	if !reverse && n < len(s.lo) && n+1 == len(s.hi) && s.lo[n]+1 == s.hi[n] {
		n++
	}
	s.prefix = s.lo[:n]
	return s
}

func (s span) empty() bool { return bytes.Compare(s.lo, s.hi) >= 0 }

// row is a stored row whose checksum was right. Its slices are the receiver's.
type row struct {
	key     []byte // with its space
	payload []byte
	ts      storage.Timestamp
}

// cursor walks a span as of a timestamp. It is not safe for concurrent use, except that the store may be closed under it.
type cursor struct {
	g       *gate
	span    span
	it      *badger.Iterator
	started bool
}

// openCursor opens a cursor, which must be closed.
func (s *Store) openCursor(ts storage.Timestamp, sp span) (*cursor, error) {
	// Rows are few or read once, and their values lie beside their keys: PrefetchValues would cost a goroutine a row.
	return s.openIterator(ts, sp, badger.IteratorOptions{Reverse: sp.reverse, Prefix: sp.prefix})
}

func (s *Store) openIterator(ts storage.Timestamp, sp span, o badger.IteratorOptions) (*cursor, error) {
	c := &cursor{g: &s.gate, span: sp}
	err := s.gate.do(func() error {
		c.it = s.db.NewTransactionAt(uint64(ts), false).NewIterator(o)
		s.gate.cursorsMu.Lock()
		defer s.gate.cursorsMu.Unlock()
		s.gate.cursors[c] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// next returns the next row of the span; ok is false at its end.
func (c *cursor) next() (r row, ok bool, err error) {
	c.g.mu.RLock()
	defer c.g.mu.RUnlock()
	if c.g.closed {
		return row{}, false, storage.ErrClosed
	}
	defer c.g.recover(&err)
	for c.advance() {
		if c.it.Item().IsDeletedOrExpired() {
			continue // seen only by iterators over all versions
		}
		r, err = readRow(c.it.Item())
		return r, err == nil, err
	}
	return row{}, false, nil
}

// advance moves to the next key and reports whether it lies in the span.
func (c *cursor) advance() bool {
	switch {
	case c.started:
		c.it.Next()
	case c.span.reverse:
		c.it.Seek(c.span.hi)
		if c.it.Valid() && bytes.Equal(c.it.Item().Key(), c.span.hi) {
			c.it.Next() // Badger seeks to the last key up to hi, which is one too far when hi is there
		}
	default:
		c.it.Seek(c.span.lo)
	}
	c.started = true
	if !c.it.Valid() {
		return false
	}
	if c.span.reverse {
		return bytes.Compare(c.it.Item().Key(), c.span.lo) >= 0
	}
	return bytes.Compare(c.it.Item().Key(), c.span.hi) < 0
}

// close releases the cursor, if the store has not done so.
func (c *cursor) close() {
	c.g.mu.RLock()
	defer c.g.mu.RUnlock()
	if c.g.closed {
		return
	}
	c.it.Close()
	c.g.cursorsMu.Lock()
	defer c.g.cursorsMu.Unlock()
	delete(c.g.cursors, c)
}

// readRow copies and checks what Badger has found. Key and value get one allocation.
func readRow(item *badger.Item) (row, error) {
	key := item.Key()
	r := row{ts: storage.Timestamp(item.Version())}
	err := item.Value(func(value []byte) error {
		room := len(key) + stampSize + 1 // what unwrap appends to the key
		b := make([]byte, room, room+len(value))
		r.key = b[:copy(b, key)]
		value = append(b, value...)[room:]
		var err error
		r.payload, err = unwrap(r.key, r.ts, value)
		return err
	})
	r.key = r.key[:len(r.key):len(r.key)]
	return r, err
}
