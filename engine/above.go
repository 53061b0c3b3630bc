package engine

import (
	"strings"

	"github.com/tidwall/btree"

	"github.com/mimosadb/mimosa/engine/internal/versions"
)

// entry is what a transaction itself has written under a key.
type entry struct {
	value   []byte
	deleted bool
}

// overlay is an ordered map of such entries. Copy is cheap and isolates, which is what makes savepoints simple, and scans that
// see the transaction as at their first step.
type overlay = btree.Map[string, entry]

// emptyOverlay is never written to.
var emptyOverlay overlay

// walker walks the keys of a range above the snapshot, in one direction.
type walker interface {
	Ok() bool
	Key() string
	Version() versions.Version
	Next()
}

// above merges what lies above the snapshot within a range: the transaction's own writes, then the generations of the
// tentative head, newest first. Of the versions of a key it yields the first.
type above struct {
	walkers []walker // by precedence
	lead    walker   // the one to come next, nil at the end
	reverse bool
}

func (t *txn) above(mine *overlay, lo, hi string, bounded, reverse bool) *above {
	a := &above{reverse: reverse}
	if mine != nil && mine.Len() > 0 {
		if c := newCursor(mine, lo, hi, bounded, reverse); c.Ok() {
			a.walkers = append(a.walkers, c)
		}
	}
	for i := len(t.base.generations) - 1; i >= 0; i-- {
		if c := t.base.generations[i].list.Range(lo, hi, bounded, reverse, t.base.seq); c.Ok() {
			a.walkers = append(a.walkers, &c)
		}
	}
	a.next()
	return a
}

// next finds the walker that comes first; of several on one key, the one that precedes.
func (a *above) next() {
	a.lead = nil
	for _, w := range a.walkers {
		if !w.Ok() {
			continue
		}
		if a.lead == nil {
			a.lead = w
			continue
		}
		if c := strings.Compare(w.Key(), a.lead.Key()); c != 0 && (c < 0) != a.reverse {
			a.lead = w
		}
	}
}

func (a *above) ok() bool { return a.lead != nil }

// before says whether the next key comes at or before key in the direction of the walk.
func (a *above) before(key string) bool {
	c := strings.Compare(a.lead.Key(), key)
	return c == 0 || (c < 0) != a.reverse
}

// take returns the next key and its version, and goes on.
func (a *above) take() (string, versions.Version) {
	k, v := a.lead.Key(), a.lead.Version()
	for _, w := range a.walkers {
		if w.Ok() && w.Key() == k {
			w.Next()
		}
	}
	a.next()
	return k, v
}

// cursor walks the entries of an overlay inside a range.
type cursor struct {
	it      btree.MapIter[string, entry]
	ok      bool
	reverse bool
	lo, hi  string
	bounded bool // hi is a bound
}

func newCursor(view *overlay, lo, hi string, bounded, reverse bool) *cursor {
	c := &cursor{it: view.Iter(), reverse: reverse, lo: lo, hi: hi, bounded: bounded}
	switch {
	case !reverse:
		c.ok = c.it.Seek(lo)
	case !bounded:
		c.ok = c.it.Last()
	case c.it.Seek(hi):
		c.ok = c.it.Prev()
	default:
		c.ok = c.it.Last()
	}
	c.ok = c.ok && c.inside()
	return c
}

func (c *cursor) inside() bool {
	k := c.it.Key()
	return k >= c.lo && (!c.bounded || k < c.hi)
}

func (c *cursor) Ok() bool    { return c.ok }
func (c *cursor) Key() string { return c.it.Key() }

func (c *cursor) Version() versions.Version {
	e := c.it.Value()
	return versions.Version{Value: e.value, Deleted: e.deleted}
}

func (c *cursor) Next() {
	if c.reverse {
		c.ok = c.it.Prev()
	} else {
		c.ok = c.it.Next()
	}
	c.ok = c.ok && c.inside()
}
