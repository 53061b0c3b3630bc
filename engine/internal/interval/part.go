package interval

import "math/bits"

const (
	// The keys of a range often begin alike for much longer than a partition's prefix: the index, then the room whose
	// messages are listed. Ranges are sorted into trees by that beginning, cut to a whole number of steps, so that a key
	// has few beginnings to be looked up by.
	step = 8
	// Beyond so many steps a beginning is cut off, which bounds the look-ups for one key.
	maxSteps = 31
)

// part is a partition: the ranges whose keys all begin with one prefix, in trees by how their keys go on.
type part[W comparable] struct {
	prefixLen int
	trees     map[string]*treap[W] // by the beginning that all keys of all ranges of the tree have; none is empty
	count     [maxSteps + 1]int    // trees by number of steps
	used      uint32               // bit i is set where count[i] is not 0
}

func newPart[W comparable](prefixLen int) *part[W] {
	return &part[W]{prefixLen: prefixLen, trees: make(map[string]*treap[W])}
}

// cut returns the number of steps for what the keys of a range have in common, and that beginning cut to them.
func (p *part[W]) cut(common string) (steps int, beginning string) {
	steps = min((len(common)-p.prefixLen)/step, maxSteps)
	return steps, common[:p.prefixLen+steps*step]
}

// tree returns the tree for ranges whose keys have this in common, or nil.
func (p *part[W]) tree(common string) *treap[W] {
	_, beginning := p.cut(common)
	return p.trees[beginning]
}

// open returns the tree for ranges whose keys have this in common, which is made if it is not there yet.
func (p *part[W]) open(common string) *treap[W] {
	steps, beginning := p.cut(common)
	t := p.trees[beginning]
	if t == nil {
		t = new(treap[W])
		p.trees[beginning] = t
		p.count[steps]++
		p.used |= 1 << steps
	}
	return t
}

// close drops a tree that has become empty.
func (p *part[W]) close(common string) {
	steps, beginning := p.cut(common)
	delete(p.trees, beginning)
	if p.count[steps]--; p.count[steps] == 0 {
		p.used &^= 1 << steps
	}
}

// stab yields the watchers of the ranges that hold key, which begins with the partition's prefix, and tells whether it was
// let to the end.
func (p *part[W]) stab(key []byte, yield func(W) bool) bool {
	for used := p.used; used != 0; used &= used - 1 {
		n := p.prefixLen + bits.TrailingZeros32(used)*step
		if n > len(key) {
			break
		}
		if t := p.trees[string(key[:n])]; t != nil && !stab(t.root, key, yield) {
			return false
		}
	}
	return true
}
