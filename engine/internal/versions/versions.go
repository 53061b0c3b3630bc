package versions

import (
	"math/bits"
	"sync/atomic"
)

// Version is what one transaction left under a key. Value belongs to the list.
type Version struct {
	Seq     uint64
	Value   []byte
	Deleted bool
}

// maxHeight bounds the towers: with one node in four rising a level, enough for four billion keys.
const maxHeight = 16

// List is an ordered list of keys with their versions. [New] makes one.
type List struct {
	head   node
	height atomic.Int32 // of the highest tower
	len    int          // the writer's
	rand   uint64       // the writer's
}

type node struct {
	key    string
	newest atomic.Pointer[version]
	next   atomic.Pointer[node] // at level 0
	tower  []atomic.Pointer[node]
	first  version // most keys have no other
}

type version struct {
	Version
	older *version
}

// New returns an empty list. The seed must not be zero.
func New(seed uint64) *List {
	l := &List{rand: seed | 1}
	l.head.tower = make([]atomic.Pointer[node], maxHeight-1)
	l.height.Store(1)
	return l
}

func (n *node) at(level int) *atomic.Pointer[node] {
	if level == 0 {
		return &n.next
	}
	return &n.tower[level-1]
}

// Len returns the number of keys. It is for the writer alone.
func (l *List) Len() int { return l.len }

// Set adds a version of a key. Sequence numbers must not go down on one key; an equal one replaces what readers at it see.
// Calls of Set must not overlap; readers may run beside them.
func (l *List) Set(key string, v Version) {
	var before [maxHeight]*node
	n := &l.head
	for level := int(l.height.Load()) - 1; level >= 0; level-- {
		for {
			after := n.at(level).Load()
			if after == nil || after.key >= key {
				break
			}
			n = after
		}
		before[level] = n
	}
	if found := n.next.Load(); found != nil && found.key == key {
		found.newest.Store(&version{v, found.newest.Load()})
		return
	}
	height := l.draw()
	for level := int(l.height.Load()); level < height; level++ {
		before[level] = &l.head
	}
	added := &node{key: key, first: version{Version: v}}
	added.newest.Store(&added.first)
	if height > 1 {
		added.tower = make([]atomic.Pointer[node], height-1)
	}
	// From below to above: whoever meets the node at a level finds it at all lower ones.
	for level := range height {
		added.at(level).Store(before[level].at(level).Load())
		before[level].at(level).Store(added)
	}
	if height > int(l.height.Load()) {
		l.height.Store(int32(height))
	}
	l.len++
}

// draw returns the height of the next tower, by xorshift64.
func (l *List) draw() int {
	l.rand ^= l.rand << 13
	l.rand ^= l.rand >> 7
	l.rand ^= l.rand << 17
	return min(maxHeight, 1+bits.TrailingZeros64(l.rand|1<<62)/2)
}

// Get returns the newest version of a key at or below seq.
func (l *List) Get(key string, seq uint64) (Version, bool) {
	n := l.notBelow(key)
	if n == nil || n.key != key {
		return Version{}, false
	}
	return n.as(seq)
}

func (n *node) as(seq uint64) (Version, bool) {
	for v := n.newest.Load(); v != nil; v = v.older {
		if v.Seq <= seq {
			return v.Version, true
		}
	}
	return Version{}, false
}

// notBelow returns the first node at or above key.
func (l *List) notBelow(key string) *node {
	n := &l.head
	for level := int(l.height.Load()) - 1; level >= 0; level-- {
		for {
			after := n.at(level).Load()
			if after == nil || after.key > key {
				break
			}
			if after.key == key {
				return after
			}
			n = after
		}
	}
	return n.next.Load()
}

// below returns the last node under key, or of all where bounded is false; nil when there is none.
func (l *List) below(key string, bounded bool) *node {
	n := &l.head
	for level := int(l.height.Load()) - 1; level >= 0; level-- {
		for {
			after := n.at(level).Load()
			if after == nil || bounded && after.key >= key {
				break
			}
			n = after
		}
	}
	if n == &l.head {
		return nil
	}
	return n
}
