package engine

import (
	"bytes"
	"errors"
)

// pageRead is the core of Paginate: one page's way through a query's range.
//
// A place in the range is a key that need not exist: the documents before it have lower keys. So it means the same in both
// directions, and a page from start to end has read exactly the keys between the two.
type pageRead struct {
	q       *query // the whole range
	binding []byte
	start   []byte
	end     []byte
	pinned  bool // end was fixed before the page was read
	cut     bool // it was not reached
	want    int  // items, unless pinned

	given     bool     // end is the caller's, so that no journal need keep it
	journaled pageName // what the journal calls the page

	soft, hard allowance
	read       allowance
	before     allowance // as read was before the last document
	keys       []string  // of the documents that were read
	items      []int     // which of them are items
}

// allowance is how much may be, or was, read.
type allowance struct {
	rows  int
	bytes int64
}

func (a allowance) reached(of allowance) bool { return a.rows >= of.rows || a.bytes >= of.bytes }

func (a allowance) half() allowance { return allowance{max(1, a.rows/2), max(1, a.bytes/2)} }

func (a allowance) atMost(b allowance) allowance {
	return allowance{min(a.rows, b.rows), min(a.bytes, b.bytes)}
}

// page finds out where a page begins and, if that is settled, where it ends.
func (q *query) page(p PageArgs) (*pageRead, error) {
	if q.err != nil {
		return nil, q.err
	}
	if err := q.t.usableFor(q.coll); err != nil {
		return nil, err
	}
	if q.limited {
		q.fail("a scan of %s with Limit cannot be paginated: the page has its NumItems", q.coll.name)
		return nil, q.err
	}
	if err := p.valid(); err != nil {
		return nil, err
	}
	r := &pageRead{q: q, binding: q.binding(), start: q.lo, want: p.NumItems}
	if q.reverse {
		r.start = q.hi
	}
	r.allow(p)
	var err error
	if p.Cursor != nil {
		if r.start, err = r.open(*p.Cursor); err != nil {
			return nil, err
		}
	}
	if p.EndCursor != nil {
		if r.end, err = r.open(*p.EndCursor); err != nil {
			return nil, err
		}
		if c := bytes.Compare(r.start, r.end); c > 0 && !q.reverse || c < 0 && q.reverse {
			return nil, invalidCursor("the page's end lies before its beginning")
		}
		r.pinned, r.given = true, true
		return r, nil
	}
	r.end, r.pinned = q.t.journal.recall(r)
	return r, nil
}

// allow settles how much the page may read: never more than half of what the transaction has left, so that whoever reads one
// page can read what belongs to its items.
func (r *pageRead) allow(p PageArgs) {
	t := r.q.t
	l := t.db.limits
	limits := allowance{l.ReadDocuments, l.ReadBytes}
	left := allowance{limits.rows - t.readDocs, limits.bytes - t.readBytes}
	r.hard = limits.half().half().atMost(left.half())
	r.soft = r.hard.half()
	if p.MaximumRowsRead > 0 {
		r.soft.rows = min(r.soft.rows, p.MaximumRowsRead)
		r.hard.rows = min(r.hard.rows, 2*r.soft.rows)
	}
	if p.MaximumBytesRead > 0 {
		r.soft.bytes = min(r.soft.bytes, int64(p.MaximumBytesRead))
		r.hard.bytes = min(r.hard.bytes, 2*r.soft.bytes)
	}
}

// readAll calls keep with each document from start on; keep says whether it is an item. Then end is where the page ends.
func (r *pageRead) readAll(keep func(raw []byte) (bool, error)) error {
	part := *r.q
	lo, hi := &part.lo, &part.hi
	if part.reverse {
		lo, hi = hi, lo
	}
	*lo = r.start
	if r.pinned {
		*hi = r.end
	}
	stopped := false
	err := part.run(func(key string, raw []byte) (bool, error) {
		if r.pinned && r.read.reached(r.hard) {
			r.cut = true // there is more, and this is it
			return false, nil
		}
		item, err := keep(raw)
		if err != nil {
			return false, err
		}
		r.keys = append(r.keys, key)
		r.before = r.read
		r.read = allowance{r.read.rows + 1, r.read.bytes + int64(len(raw))}
		if item {
			r.items = append(r.items, len(r.keys)-1)
		}
		stopped = !r.pinned && (len(r.items) == r.want || r.read.reached(r.soft))
		return !stopped, nil
	})
	if err != nil {
		return err
	}
	if !r.pinned {
		r.end = r.far()
		if stopped {
			r.end = r.after(len(r.keys) - 1)
			if err := r.last(); err != nil {
				return err
			}
		}
	}
	if r.given {
		return nil
	}
	return r.q.t.journal.pin(r)
}

// last finds out whether anything follows a page that stopped at its last document. Where nothing does, the page is the last one: it
// reaches to the end of the range, and has read all of that. Where something does, a live page has not read it, since with its
// journal the page ends where it ends whatever becomes of that; what a mutation does may depend on it.
func (r *pageRead) last() error {
	t := r.q.t
	if err := t.usable(); err != nil {
		return err
	}
	lo, hi := r.end, r.far()
	if r.q.reverse {
		lo, hi = hi, lo
	}
	if hi != nil && string(lo) >= string(hi) {
		r.end = r.far()
		return nil
	}
	next := ""
	err := t.scan(t.mine, lo, hi, r.q.reverse, func(key string, _ []byte) (bool, error) {
		next = key
		return false, nil
	})
	switch {
	case err != nil && !errors.Is(err, errStopped):
		return err
	case next == "":
		r.end = r.far()
		t.reads.Add(lo, hi)
	case t.writable:
		looked := &scanned{lo: lo, hi: hi, reverse: r.q.reverse, last: next}
		looked.record(&t.reads)
	}
	return nil
}

// far is the place behind the last document of the range.
func (r *pageRead) far() []byte {
	if r.q.reverse {
		return r.q.lo
	}
	return r.q.hi
}

// after is the place right behind the i-th document that was read.
func (r *pageRead) after(i int) []byte {
	if r.q.reverse {
		return []byte(r.keys[i])
	}
	return []byte(r.keys[i] + "\x00")
}

// done is false for a page that was cut off: what it lacks follows what it has.
func (r *pageRead) done() bool { return !r.cut && bytes.Equal(r.end, r.far()) }

// status does not depend on whether the end was fixed: a page that is read again gives the same. Nor is a page to be split
// that ended because its last document took it to the limit, or beyond.
func (r *pageRead) status() PageStatus {
	switch {
	case r.cut:
		return PageSplitRequired
	case r.before.reached(r.soft):
		return PageSplitRecommended
	}
	return ""
}

// split is in the middle of what was read where that was too much, and else in the middle of the items.
func (r *pageRead) split() *string {
	var at int
	switch n := len(r.keys); {
	case r.cut:
		at = max(1, n/2) - 1
	case r.status() != "":
		at = n/2 - 1
	case len(r.items) > 1:
		at = r.items[len(r.items)/2-1]
	default:
		return nil
	}
	c := r.cursor(r.after(at))
	return &c
}
