package interval

// treap is an interval tree: a search tree by span, balanced by random priorities, in which every node knows the latest end
// below it, so that whole branches which end too early are passed over. Its expected depth is logarithmic whatever order
// the spans come in and whoever chooses them.
type treap[W comparable] struct{ root *node[W] }

// node is one distinct range with all who watch it.
type node[W comparable] struct {
	span
	latest      string // greatest end in the branch, as laterEnd has it
	priority    uint64 // not below those of the children
	left, right *node[W]
	watchers    watchers[W]
}

func (n *node[W]) update() {
	latest := n.hi
	if n.left != nil {
		latest = laterEnd(latest, n.left.latest)
	}
	if n.right != nil {
		latest = laterEnd(latest, n.right.latest)
	}
	n.latest = latest
}

// find returns the node of exactly this span, or nil.
func (t *treap[W]) find(s span) *node[W] {
	n := t.root
	for n != nil {
		switch c := compareSpans(s, n.span); {
		case c == 0:
			return n
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

// insert adds a node whose span is not there yet.
func (t *treap[W]) insert(n *node[W]) { t.root = insert(t.root, n) }

func insert[W comparable](at, n *node[W]) *node[W] {
	switch {
	case at == nil:
		n.update()
		return n
	case n.priority > at.priority:
		n.left, n.right = split(at, n.span)
		n.update()
		return n
	case compareSpans(n.span, at.span) < 0:
		at.left = insert(at.left, n)
	default:
		at.right = insert(at.right, n)
	}
	at.update()
	return at
}

// split parts a branch that does not hold s into what sorts before s and after it.
func split[W comparable](at *node[W], s span) (left, right *node[W]) {
	if at == nil {
		return nil, nil
	}
	if compareSpans(at.span, s) < 0 {
		at.right, right = split(at.right, s)
		left = at
	} else {
		left, at.left = split(at.left, s)
		right = at
	}
	at.update()
	return left, right
}

// remove takes out the node of a span that is there.
func (t *treap[W]) remove(s span) { t.root = remove(t.root, s) }

func remove[W comparable](at *node[W], s span) *node[W] {
	if at == nil {
		return nil
	}
	switch c := compareSpans(s, at.span); {
	case c == 0:
		return join(at.left, at.right)
	case c < 0:
		at.left = remove(at.left, s)
	default:
		at.right = remove(at.right, s)
	}
	at.update()
	return at
}

// join makes one branch of two, of which left sorts wholly before right.
func join[W comparable](left, right *node[W]) *node[W] {
	switch {
	case left == nil:
		return right
	case right == nil:
		return left
	case left.priority > right.priority:
		left.right = join(left.right, right)
		left.update()
		return left
	default:
		right.left = join(left, right.left)
		right.update()
		return right
	}
}

// stab yields the watchers of the spans that hold key, in the order of the spans, and tells whether it was let to the end.
//
// It walks down one path, as a look-up does, and leaves it only for branches that have a span to yield: what is left of a
// span that starts at or below key starts there too, so it holds key if it ends late enough. The latest ends are not
// compared on the way down, since reading a string is what costs here, and a path is short.
func stab[W comparable](n *node[W], key []byte, yield func(W) bool) bool {
	for n != nil {
		if n.lo > string(key) {
			n = n.left // all to the right starts too late
			continue
		}
		if n.left != nil && before(key, n.left.latest) && !stab(n.left, key, yield) {
			return false
		}
		if before(key, n.hi) && !n.watchers.each(yield) {
			return false
		}
		n = n.right
	}
	return true
}
