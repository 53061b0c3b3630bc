package doctype

import "bytes"

// A verdict of compare.
type sameness int

const (
	alike sameness = iota
	different
	undecided // members come in different orders, or something is not JSON
)

// compare steps through two values side by side and stops at the first difference, which is where most comparisons of a
// document with its changed self end. It does not allocate unless there are escapes.
func compare(a, b *scanner, depth int) sameness {
	if depth > maxDepth {
		return undecided
	}
	c := a.next()
	if d := b.next(); c != d {
		// Numbers alone may begin differently and be the same.
		if !beginsNumber(c) || !beginsNumber(d) {
			return different
		}
	}
	switch c {
	case '{':
		return compareObjects(a, b, depth)
	case '[':
		return compareArrays(a, b, depth)
	case '"':
		x, ok1 := a.text()
		y, ok2 := b.text()
		return verdictOf(ok1 && ok2, bytes.Equal(x, y))
	case 't', 'f', 'n': // the same word, since they begin alike
		return verdictOf(a.skip(0) == nil && b.skip(0) == nil, true)
	}
	x, ok1 := a.number()
	y, ok2 := b.number()
	if !ok1 || !ok2 {
		return undecided
	}
	if bytes.Equal(x, y) {
		return alike
	}
	f, ok1 := parseFloat(x)
	g, ok2 := parseFloat(y)
	return verdictOf(ok1 && ok2, f == g)
}

func beginsNumber(c byte) bool { return c == '-' || isDigit(c) }

func verdictOf(ok, same bool) sameness {
	switch {
	case !ok:
		return undecided
	case same:
		return alike
	}
	return different
}

func compareObjects(a, b *scanner, depth int) sameness {
	a.pos++
	b.pos++
	for first := true; ; first = false {
		x, more1, ok1 := a.member(first)
		y, more2, ok2 := b.member(first)
		switch {
		case !ok1 || !ok2:
			return undecided
		case !more1 && !more2:
			return alike
		case !more1 || !more2:
			return different // one has members beyond those that both have
		case !bytes.Equal(x, y):
			return undecided
		}
		if v := compare(a, b, depth+1); v != alike {
			return v
		}
	}
}

func compareArrays(a, b *scanner, depth int) sameness {
	a.pos++
	b.pos++
	for first := true; ; first = false {
		more1, ok1 := a.element(first)
		more2, ok2 := b.element(first)
		switch {
		case !ok1 || !ok2:
			return undecided
		case !more1 && !more2:
			return alike
		case !more1 || !more2:
			return different
		}
		if v := compare(a, b, depth+1); v != alike {
			return v
		}
	}
}
