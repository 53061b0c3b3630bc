package versions

// Cursor walks the keys of a range in order, each with its newest version at or below a sequence number. It reads on while the
// list grows, and does not see what comes with higher numbers.
type Cursor struct {
	l       *List
	seq     uint64
	lo, hi  string
	bounded bool
	reverse bool

	n *node
	v Version
}

// Range returns a cursor on the first key k with lo <= k < hi, on the last where reverse is set; hi is a bound only where
// bounded is set.
func (l *List) Range(lo, hi string, bounded, reverse bool, seq uint64) Cursor {
	c := Cursor{l: l, seq: seq, lo: lo, hi: hi, bounded: bounded, reverse: reverse}
	if reverse {
		c.n = l.below(hi, bounded)
	} else {
		c.n = l.notBelow(lo)
	}
	c.settle()
	return c
}

// settle goes on to the next node that is there for the reader, or ends the walk.
func (c *Cursor) settle() {
	for ; c.n != nil; c.step() {
		if c.reverse && c.n.key < c.lo || !c.reverse && c.bounded && c.n.key >= c.hi {
			c.n = nil
			return
		}
		if v, ok := c.n.as(c.seq); ok {
			c.v = v
			return
		}
	}
}

func (c *Cursor) step() {
	if c.reverse {
		c.n = c.l.below(c.n.key, true)
	} else {
		c.n = c.n.next.Load()
	}
}

// Ok says whether the cursor is on a key.
func (c *Cursor) Ok() bool { return c.n != nil }

// Key returns the key; Ok must hold.
func (c *Cursor) Key() string { return c.n.key }

// Version returns the key's version; Ok must hold.
func (c *Cursor) Version() Version { return c.v }

// Next goes on to the next key in the cursor's direction; Ok must hold.
func (c *Cursor) Next() {
	c.step()
	c.settle()
}
