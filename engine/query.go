package engine

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/mimosadb/mimosa/engine/internal/interval"
	"github.com/mimosadb/mimosa/engine/internal/keyenc"
	"github.com/mimosadb/mimosa/engine/storage"
)

type boundOp uint8

const (
	boundGt boundOp = iota
	boundGte
	boundLt
	boundLte
	boundPrefix
)

// query is the core of a Scan: one range of one index, or of a collection's documents.
type query struct {
	t       *txn
	coll    *collection
	x       *index // nil: the documents themselves
	lo, hi  []byte
	used    int // components given by eq
	reverse bool
	limited bool
	limit   int
	err     error // the first mistake in building it
	prefix  []byte
}

func newQuery(t *txn, c *collection, x *index) *query {
	q := &query{t: t, coll: c, x: x}
	if x == nil {
		q.lo, q.hi = documentRange(c.tag)
	} else {
		q.lo, q.hi = indexRange(x.tag)
	}
	q.prefix = q.lo
	return q
}

func (q *query) fail(format string, a ...any) {
	if q.err == nil {
		q.err = fmt.Errorf("engine: "+format, a...)
	}
}

func (q *query) eq(values []any) {
	if len(values) > len(q.x.paths) {
		q.fail("index %s of %s has %d components, Eq got %d values", q.x.name, q.coll.name, len(q.x.paths), len(values))
		return
	}
	k := append([]byte(nil), q.prefix...)
	for i, v := range values {
		if isNil(v) {
			k = append(k, q.x.absent(i)...)
			continue
		}
		var err error
		if k, err = q.x.paths[i].AppendValue(k, v); err != nil {
			q.fail("index %s of %s: %w", q.x.name, q.coll.name, err)
			return
		}
	}
	q.used = len(values)
	q.prefix = k
	if len(values) > 0 {
		q.lo, q.hi = k, keyenc.PrefixEnd(k)
	}
}

func (q *query) bound(op boundOp, v any) {
	if q.x == nil {
		q.fail("a scan of the whole collection %s has no component to bound", q.coll.name)
		return
	}
	if q.used >= len(q.x.paths) {
		q.fail("index %s of %s: Eq took all components, there is none to bound", q.x.name, q.coll.name)
		return
	}
	path := q.x.paths[q.used]
	if isNil(v) {
		q.fail("index %s of %s: a bound cannot be nil", q.x.name, q.coll.name)
		return
	}
	encode := path.AppendValue
	if op == boundPrefix {
		encode = func(dst []byte, v any) ([]byte, error) { return path.AppendPrefix(dst, v.(string)) }
	}
	e, err := encode(append([]byte(nil), q.prefix...), v)
	if err != nil {
		q.fail("index %s of %s: %w", q.x.name, q.coll.name, err)
		return
	}
	if op == boundPrefix {
		q.raise(e)
		q.lower(keyenc.PrefixEnd(e))
		return
	}
	// A one-sided bound leaves out null and missing values, which sort below all others.
	null, err := path.AppendValue(append([]byte(nil), q.prefix...), nil)
	if err != nil {
		q.fail("index %s of %s: %w", q.x.name, q.coll.name, err)
		return
	}
	after := keyenc.PrefixEnd(e)
	if path.Descending() {
		q.lower(null)
		switch op {
		case boundGt:
			q.lower(e)
		case boundGte:
			q.lower(after)
		case boundLt:
			q.raise(after)
		case boundLte:
			q.raise(e)
		}
		return
	}
	q.raise(keyenc.PrefixEnd(null))
	switch op {
	case boundGt:
		q.raise(after)
	case boundGte:
		q.raise(e)
	case boundLt:
		q.lower(e)
	case boundLte:
		q.lower(after)
	}
}

// isNil says whether a value stands for null: nil, or a nil pointer.
func isNil(v any) bool {
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	return !rv.IsValid() || rv.Kind() == reflect.Pointer
}

// raise and lower narrow the range from below and from above.
func (q *query) raise(lo []byte) {
	if string(lo) > string(q.lo) {
		q.lo = lo
	}
}

func (q *query) lower(hi []byte) {
	if hi != nil && (q.hi == nil || string(hi) < string(q.hi)) {
		q.hi = hi
	}
}

func (q *query) notFound() error {
	if q.err != nil {
		return q.err
	}
	return &Error{Code: CodeNotFound, Message: "no such document in " + q.coll.name}
}

// run calls each with the key and the stored JSON of the documents in the range until it says stop, and records the range that was
// looked at: up to the last key where it stopped early.
func (q *query) run(each func(key string, raw []byte) (more bool, err error)) error {
	if q.err != nil {
		return q.err
	}
	t := q.t
	if err := t.usableFor(q.coll); err != nil {
		return err
	}
	if q.hi != nil && string(q.lo) >= string(q.hi) {
		return nil // bounds that exclude each other read nothing
	}
	if q.x != nil {
		if err := t.indexReady(q.x); err != nil {
			return err
		}
	}
	// Later writes of this transaction are left out: the scan reads what was there at its first step.
	mine := &emptyOverlay
	if t.mine.Len() > 0 {
		mine = t.mine.Copy()
	}
	lo, hi := q.lo, q.hi
	looked := &scanned{lo: lo, hi: hi, reverse: q.reverse}
	if t.scans == nil {
		t.scans = map[*scanned]struct{}{}
	}
	t.scans[looked] = struct{}{}
	defer func() {
		if _, open := t.scans[looked]; open { // not if the transaction has ended since
			delete(t.scans, looked)
			looked.record(&t.reads)
		}
	}()
	err := t.scan(mine, lo, hi, q.reverse, func(key string, value []byte) (bool, error) {
		looked.last = key
		if err := t.usable(); err != nil {
			return false, err
		}
		if q.x != nil {
			if len(key) < partition+idBytes-tagBytes {
				return false, fmt.Errorf("engine: %w: key %x in index %s of %s", storage.ErrCorrupt, key, q.x.name, q.coll.name)
			}
			id := q.coll.indexedID([]byte(key))
			doc, ok, err := t.lookup(mine, documentKey(id))
			if err != nil {
				return false, err
			}
			if !ok {
				return false, fmt.Errorf("engine: %w: index %s of %s points to %s, which does not exist", storage.ErrCorrupt, q.x.name, q.coll.name, id)
			}
			value = doc
		}
		if err := t.countRead(value); err != nil {
			return false, err
		}
		more, err := each(key, value)
		if !more {
			return false, err
		}
		return true, err
	})
	if errors.Is(err, errStopped) {
		return nil
	}
	looked.complete = err == nil
	if err == nil && looked.last == "" {
		return t.countRead(nil) // what is not there is remembered, too
	}
	return err
}

// scanned is what a scan has looked at so far: nothing in lo <= key < hi that it did not see up to last, in its direction.
type scanned struct {
	lo, hi   []byte
	reverse  bool
	last     string
	complete bool
}

// record adds it to a read set, as one range.
func (s *scanned) record(reads *interval.Set) {
	switch {
	case s.complete || s.last == "":
		// Without a last key it stopped at an error before the first; all of the range may have mattered.
		reads.Add(s.lo, s.hi)
	case s.reverse:
		reads.Add([]byte(s.last), s.hi)
	default:
		reads.Add(s.lo, []byte(s.last+"\x00"))
	}
}

// errStopped says that the callback of a scan wanted no more.
var errStopped = errors.New("engine: scan stopped")

// scan merges what the transaction wrote, mine, and the tentative head over the snapshot within [lo, hi) and calls each in order. It returns errStopped where each did not want
// more, without an error of its own.
func (t *txn) scan(mine *overlay, lo, hi []byte, reverse bool, each func(key string, value []byte) (bool, error)) error {
	emit := func(key string, value []byte) error {
		more, err := each(key, value)
		if err != nil {
			return err
		}
		if !more {
			return errStopped
		}
		return nil
	}
	above := t.above(mine, string(lo), string(hi), hi != nil, reverse)
	for kv, err := range t.snap.Scan(lo, hi, reverse, 0) {
		if err != nil {
			return err
		}
		key := string(kv.Key)
		shadowed := false
		for above.ok() && above.before(key) {
			k, e := above.take()
			shadowed = k == key
			if e.Deleted {
				continue
			}
			if err := emit(k, e.Value); err != nil {
				return err
			}
		}
		if shadowed {
			continue
		}
		if err := emit(key, kv.Value); err != nil {
			return err
		}
	}
	for above.ok() {
		k, e := above.take()
		if e.Deleted {
			continue
		}
		if err := emit(k, e.Value); err != nil {
			return err
		}
	}
	return nil
}
