package interval

import (
	"slices"
	"strings"
)

// minTail is how many ranges may wait to be sorted in, however small the set is.
const minTail = 64

// Set is a set of keys made of half-open ranges: a read set. Its zero value is empty and ready for use; a nil *Set reads as
// an empty one. The bounds given to it are copied, so the caller may reuse its slices. A Set is not to be copied once in use.
//
// Ranges are sorted and merged when a method first asks for them, which is why even reading methods may write. Hence: no
// method is safe for concurrent use with another, until [Set.Seal]; after it, all methods that do not change the set are
// safe for concurrent use with each other. A change after Seal needs exclusive access, and another Seal.
type Set struct {
	// spans[:sorted] are sorted, disjoint and do not meet; the rest is as it was added.
	spans  []span
	sorted int
}

// Add adds the keys k with lo <= k < hi. A nil hi is no upper bound; a range that holds no key, hi empty but not nil
// included, is ignored. A range that the set holds already costs a search and no memory.
func (s *Set) Add(lo, hi []byte) {
	if hi != nil && string(lo) >= string(hi) {
		return
	}
	// Transactions read the same things over and over. What is not yet sorted in is not looked at, since it is bounded.
	if i := find(s.spans[:s.sorted], lo); i >= 0 {
		end := s.spans[i].hi
		if end == "" || hi != nil && string(hi) <= end {
			return
		}
	}
	s.push(makeSpan(lo, hi))
}

// AddPoint adds one key, as Add(key, key+"\x00") does.
func (s *Set) AddPoint(key []byte) {
	if contains(s.spans[:s.sorted], key) {
		return
	}
	s.push(makePoint(key))
}

// push adds a span that holds a key.
func (s *Set) push(sp span) {
	n := len(s.spans)
	if s.sorted < n {
		s.spans = append(s.spans, sp)
		// A loop may read the same few keys a million times; sorting at every doubling keeps the set as small as what it
		// holds, at a cost that does not grow with the number of reads.
		if n+1-s.sorted > max(minTail, s.sorted) {
			s.normalise()
		}
		return
	}
	// Scans read forwards, so the new range often comes last, or continues the last one.
	if n > 0 {
		last := &s.spans[n-1]
		if last.lo <= sp.lo && reaches(last.hi, sp.lo) {
			last.hi = laterEnd(last.hi, sp.hi)
			return
		}
		if sp.lo < last.lo {
			s.spans = append(s.spans, sp)
			return
		}
	}
	s.spans = append(s.spans, sp)
	s.sorted++
}

// normalise sorts the spans and merges those that overlap or meet.
func (s *Set) normalise() {
	if s.sorted == len(s.spans) {
		return
	}
	slices.SortFunc(s.spans, compareSpans)
	out := s.spans[:1]
	for _, sp := range s.spans[1:] {
		if last := &out[len(out)-1]; reaches(last.hi, sp.lo) {
			last.hi = laterEnd(last.hi, sp.hi)
		} else {
			out = append(out, sp)
		}
	}
	clear(s.spans[len(out):])
	s.spans, s.sorted = out, len(out)
}

// view returns the spans, sorted, disjoint and apart. They are not to be changed.
func (s *Set) view() []span {
	if s == nil {
		return nil
	}
	s.normalise()
	return s.spans
}

// Seal sorts the set, so that from now on the methods that do not change it may be called concurrently.
func (s *Set) Seal() { s.view() }

// Contains tells whether the set holds key, in time logarithmic in the number of ranges.
func (s *Set) Contains(key []byte) bool { return contains(s.view(), key) }

// ContainsAny tells whether the set holds one of keys, which are sorted. It takes a search in the larger of both for each item
// of the smaller.
func (s *Set) ContainsAny(keys []string) bool {
	spans := s.view()
	if len(keys) <= len(spans) {
		for _, k := range keys {
			if containsString(spans, k) {
				return true
			}
		}
		return false
	}
	for _, sp := range spans {
		i, _ := slices.BinarySearch(keys, sp.lo)
		if i < len(keys) && (sp.hi == "" || keys[i] < sp.hi) {
			return true
		}
	}
	return false
}

// Empty tells whether the set holds no key.
func (s *Set) Empty() bool { return s == nil || len(s.spans) == 0 }

// Len returns the number of ranges left after merging those that overlap or meet.
func (s *Set) Len() int { return len(s.view()) }

// find returns the index of the last of sorted spans that starts at or below key, or -1.
func find(spans []span, key []byte) int {
	lo, hi := 0, len(spans) // spans before lo start at or below key, spans from hi on above it
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if spans[mid].lo <= string(key) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// contains tells whether one of sorted, disjoint spans holds key.
func contains(spans []span, key []byte) bool {
	i := find(spans, key)
	return i >= 0 && before(key, spans[i].hi)
}

// containsString is contains for a string.
func containsString(spans []span, key string) bool {
	i, found := slices.BinarySearchFunc(spans, key, func(s span, key string) int { return strings.Compare(s.lo, key) })
	if !found {
		i--
	}
	return i >= 0 && (spans[i].hi == "" || key < spans[i].hi)
}
