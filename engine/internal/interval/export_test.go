package interval

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"strings"
)

// Check tells whether the trees are search trees and heaps with right ends, hold no node without a watcher, and are not far
// deeper than a balanced tree; and whether every range is where Touch looks for it.
func (x *Index[W]) Check() error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var errs []error
	for key, ws := range x.points {
		if len(ws.list) == 0 {
			errs = append(errs, fmt.Errorf("nobody watches point %q", key))
		}
	}
	n := check(x.across.root, nil, nil, 0, &errs)
	for prefix, p := range x.parts {
		if len(p.trees) == 0 {
			errs = append(errs, fmt.Errorf("partition %q is empty", prefix))
		}
		var count [maxSteps + 1]int
		for beginning, t := range p.trees {
			if t.root == nil {
				errs = append(errs, fmt.Errorf("tree %q is empty", beginning))
			}
			if !strings.HasPrefix(beginning, prefix) {
				errs = append(errs, fmt.Errorf("tree %q is in partition %q", beginning, prefix))
			}
			count[(len(beginning)-len(prefix))/step]++
			before := n
			n += check(t.root, nil, nil, 0, &errs)
			if d, size := depth(t.root), n-before; d > 4*bits.Len(uint(size))+8 {
				errs = append(errs, fmt.Errorf("tree %q of %d ranges is %d deep", beginning, size, d))
			}
		}
		for i, c := range count {
			if p.count[i] != c || p.used>>i&1 == 1 != (c > 0) {
				errs = append(errs, fmt.Errorf("%d trees of %d steps in %q, counted as %d, used %b", c, i, prefix, p.count[i], p.used))
			}
		}
	}
	if n != x.ranges {
		errs = append(errs, fmt.Errorf("%d ranges counted as %d", n, x.ranges))
	}
	return errors.Join(errs...)
}

// Partitions returns the number of partitions that hold a range, and of ranges that reach across them.
func (x *Index[W]) Partitions() (parts, across int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var errs []error
	return len(x.parts), check(x.across.root, nil, nil, 0, &errs)
}

func depth[W comparable](n *node[W]) int {
	if n == nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}

func check[W comparable](n *node[W], above, below *span, level int, errs *[]error) int {
	if n == nil {
		return 0
	}
	bad := func(what string) { *errs = append(*errs, fmt.Errorf("range %q at level %d: %s", n.span, level, what)) }
	if above != nil && compareSpans(*above, n.span) >= 0 || below != nil && compareSpans(n.span, *below) >= 0 {
		bad("out of order")
	}
	latest := n.hi
	for _, c := range []*node[W]{n.left, n.right} {
		if c == nil {
			continue
		}
		if c.priority > n.priority {
			bad("priority below a child's")
		}
		latest = laterEnd(latest, c.latest)
	}
	if latest != n.latest {
		bad("wrong latest end")
	}
	if len(n.watchers.list) == 0 {
		bad("nobody watches it")
	}
	return 1 + check(n.left, above, &n.span, level+1, errs) + check(n.right, &n.span, below, level+1, errs)
}

// Ranges yields the ranges from the lowest to the highest. A nil hi is no bound.
func (s *Set) Ranges() iter.Seq2[[]byte, []byte] {
	return func(yield func(lo, hi []byte) bool) {
		for _, sp := range s.view() {
			var hi []byte
			if sp.hi != "" {
				hi = []byte(sp.hi)
			}
			if !yield([]byte(sp.lo), hi) {
				return
			}
		}
	}
}
