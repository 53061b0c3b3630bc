package interval

import "strings"

// span is a range [lo, hi) that is not empty. The end "" stands for no bound: no range that holds a key ends there.
type span struct{ lo, hi string }

// makeSpan copies the bounds of a range that holds a key, both into one allocation. A nil hi is no bound.
func makeSpan(lo, hi []byte) span {
	var b strings.Builder
	b.Grow(len(lo) + len(hi))
	b.Write(lo)
	b.Write(hi)
	s := b.String()
	return span{lo: s[:len(lo)], hi: s[len(lo):]}
}

// makePoint returns the range of key alone. The bounds share their bytes.
func makePoint(key []byte) span {
	var b strings.Builder
	b.Grow(len(key) + 1)
	b.Write(key)
	b.WriteByte(0)
	s := b.String()
	return span{lo: s[:len(key)], hi: s}
}

// isPoint tells whether the span holds one key only, its lo.
func (s span) isPoint() bool {
	n := len(s.lo)
	return len(s.hi) == n+1 && s.hi[n] == 0 && s.hi[:n] == s.lo
}

// before tells whether key lies below the end of a range.
func before(key []byte, end string) bool { return end == "" || string(key) < end }

// reaches tells whether a range with this end overlaps one that starts later at lo, or meets it: both can then be written
// as one range.
func reaches(end, lo string) bool { return end == "" || lo <= end }

// laterEnd returns the greater end of two.
func laterEnd(a, b string) string {
	if a == "" || b == "" {
		return ""
	}
	return max(a, b)
}

// compareSpans orders by lo, then by end, no bound last.
func compareSpans(a, b span) int {
	if c := strings.Compare(a.lo, b.lo); c != 0 {
		return c
	}
	switch {
	case a.hi == b.hi:
		return 0
	case a.hi == "":
		return 1
	case b.hi == "":
		return -1
	}
	return strings.Compare(a.hi, b.hi)
}

// common returns how many bytes of lo all keys of the span begin with.
func (s span) common() int {
	n := 0
	if s.hi != "" {
		for n < len(s.lo) && s.lo[n] == s.hi[n] { // hi is above lo, so not a prefix of it
			n++
		}
		if n == len(s.lo) {
			return n
		}
		// The keys share one byte more where the span ends right behind all keys that begin with that byte, as the scan of
		// a prefix does. The same holds for a span without end, behind keys that begin with FF.
		if len(s.hi) != n+1 || s.hi[n] != s.lo[n]+1 {
			return n
		}
		n++
	}
	// From here on the keys are bounded from below only, and nothing lies above FF.
	for n < len(s.lo) && s.lo[n] == 0xff {
		n++
	}
	return n
}
