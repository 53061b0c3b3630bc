package interval

import (
	"math/rand/v2"
	"sync"
)

// Index finds the watchers whose sets hold a written key. All its methods are safe for concurrent use. A call of Add or
// Remove takes effect as a whole: no Touch sees a part of a set.
//
// Points are found by hash. Ranges are kept in interval trees, many small ones found by hash too: a range whose keys all
// begin alike, as those of one scan of an index do, is kept apart from those that begin otherwise. Ranges that reach across
// the prefixes given to NewIndex share one tree that every Touch must look into besides. The prefix should be what no
// ordinary scan reaches across, such as the number of a collection's index.
type Index[W comparable] struct {
	prefixLen int // not below zero; constant

	mu     sync.RWMutex // guards all below
	random *rand.PCG
	points map[string]*watchers[W]
	parts  map[string]*part[W] // by prefix; none is empty
	across treap[W]
	ranges int // distinct ranges, without points
}

// NewIndex returns an empty index. Keys are partitioned by their first prefixLen bytes; at zero or below there is one
// partition. What it does, the order in which watchers are yielded included, depends on the calls made and on the seed only.
// A seed that clients cannot know keeps them from choosing ranges that would be slow together.
func NewIndex[W comparable](prefixLen int, seed uint64) *Index[W] {
	return &Index[W]{
		prefixLen: max(prefixLen, 0),
		random:    rand.NewPCG(seed, 0x6d696d6f7361),
		points:    make(map[string]*watchers[W]),
		parts:     make(map[string]*part[W]),
	}
}

// Add makes w a watcher of the keys in s. Calls are counted for each range, so a watcher whose set changes is moved without
// a gap by adding the new set before the old one is removed, whatever the two have in common.
//
// The index keeps the ranges, not the set. To be removed later, the set must hold the same ranges then as now. It is read as
// Contains reads it: sealed, it may be in use elsewhere.
func (x *Index[W]) Add(s *Set, w W) {
	spans := s.view()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, sp := range spans {
		x.watchersOf(sp).add(w)
	}
}

// watchersOf returns the watchers of a range, which is made if it is not there yet.
func (x *Index[W]) watchersOf(sp span) *watchers[W] {
	if sp.isPoint() {
		ws := x.points[sp.lo]
		if ws == nil {
			ws = new(watchers[W])
			x.points[sp.lo] = ws
		}
		return ws
	}
	t := &x.across
	if n := sp.common(); n >= x.prefixLen {
		prefix := sp.lo[:x.prefixLen]
		p := x.parts[prefix]
		if p == nil {
			p = newPart[W](x.prefixLen)
			x.parts[prefix] = p
		}
		t = p.open(sp.lo[:n])
	}
	n := t.find(sp)
	if n == nil {
		n = &node[W]{span: sp, priority: x.random.Uint64()}
		t.insert(n)
		x.ranges++
	}
	return &n.watchers
}

// Remove takes back one Add of the same ranges for w. Ranges of s that w does not watch are passed over.
func (x *Index[W]) Remove(s *Set, w W) {
	spans := s.view()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, sp := range spans {
		x.removeSpan(sp, w)
	}
}

func (x *Index[W]) removeSpan(sp span, w W) {
	if sp.isPoint() {
		if ws := x.points[sp.lo]; ws != nil && ws.remove(w) {
			delete(x.points, sp.lo)
		}
		return
	}
	common := sp.lo[:sp.common()]
	if len(common) < x.prefixLen {
		if removeFrom(&x.across, sp, w) {
			x.ranges--
		}
		return
	}
	prefix := common[:x.prefixLen]
	p := x.parts[prefix]
	if p == nil {
		return
	}
	t := p.tree(common)
	if t == nil || !removeFrom(t, sp, w) {
		return
	}
	x.ranges--
	if t.root == nil {
		p.close(common)
		if len(p.trees) == 0 {
			delete(x.parts, prefix)
		}
	}
}

// removeFrom takes back one add of w, and tells whether the range went with its last watcher.
func removeFrom[W comparable](t *treap[W], sp span, w W) (gone bool) {
	n := t.find(sp)
	if n == nil || !n.watchers.remove(w) {
		return false
	}
	t.remove(sp)
	return true
}

// Touch yields the watchers of the sets that hold key until yield returns false. A watcher of one set comes at most once;
// one that was added with several comes once for each distinct range that holds the key. Yield is called under the index's
// lock, so it must be brief and must not call the index.
func (x *Index[W]) Touch(key []byte, yield func(W) bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if ws := x.points[string(key)]; ws != nil && !ws.each(yield) {
		return
	}
	// A key shorter than the prefix lies in no range of a partition.
	if len(key) >= x.prefixLen {
		if p := x.parts[string(key[:x.prefixLen])]; p != nil && !p.stab(key, yield) {
			return
		}
	}
	stab(x.across.root, key, yield)
}

// Len returns the number of distinct ranges that are watched, points included.
func (x *Index[W]) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.points) + x.ranges
}
