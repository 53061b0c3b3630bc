package doctype

import (
	"bytes"
	"slices"
)

// Canonical gives the one spelling of a JSON value: members sorted by name, numbers in their shortest form, no white space,
// nothing escaped that need not be. Two values are equal if and only if their canonical forms are. The error is a *ValueError
// if raw is not JSON that the wire carries.
func Canonical(raw []byte) ([]byte, error) {
	if err := check(raw); err != nil {
		return nil, err
	}
	return appendCanonical(make([]byte, 0, len(raw)), raw), nil
}

// Equal reports whether two JSON values are the same, however their members are ordered and their numbers spelled. What is not
// JSON equals only itself.
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if compare(&scanner{data: a}, &scanner{data: b}, 0) == different {
		return false
	}
	ca, err := Canonical(a)
	if err != nil {
		return false
	}
	cb, err := Canonical(b)
	return err == nil && bytes.Equal(ca, cb)
}

// appendCanonical rewrites a value that check accepted.
func appendCanonical(dst, raw []byte) []byte {
	s := scanner{data: raw}
	return rewrite(dst, &s, true)
}

// appendCompact drops the white space of a value that check accepted, and normalises its numbers and escapes, so that what
// other encoders write ends up spelled like the rest.
func appendCompact(dst, raw []byte) []byte {
	s := scanner{data: raw}
	return rewrite(dst, &s, false)
}

func rewrite(dst []byte, s *scanner, sorted bool) []byte {
	switch s.next() {
	case '{':
		if sorted {
			return rewriteSorted(dst, s)
		}
		s.pos++
		dst = append(dst, '{')
		for first := true; ; first = false {
			name, more, _ := s.member(first)
			if !more {
				return append(dst, '}')
			}
			if !first {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, view(name)), ':')
			dst = rewrite(dst, s, sorted)
		}
	case '[':
		s.pos++
		dst = append(dst, '[')
		for first := true; ; first = false {
			if more, _ := s.element(first); !more {
				return append(dst, ']')
			}
			if !first {
				dst = append(dst, ',')
			}
			dst = rewrite(dst, s, sorted)
		}
	case '"':
		text, _ := s.text()
		return appendString(dst, view(text))
	case 't':
		s.word("true")
		return append(dst, "true"...)
	case 'f':
		s.word("false")
		return append(dst, "false"...)
	case 'n':
		s.word("null")
		return append(dst, "null"...)
	}
	tok, _ := s.number()
	f, _ := parseFloat(tok)
	return appendFloat(dst, f, 64)
}

// rewriteSorted writes the members in the order in which they come, which mostly is the right one or near it, and puts them in
// order afterwards: what is nested is looked at once.
func rewriteSorted(dst []byte, s *scanner) []byte {
	type member struct {
		name     []byte
		from, to int // in dst, the comma before it not counted
	}
	var room [16]member
	members, sorted := room[:0], true
	s.pos++
	dst = append(dst, '{')
	start := len(dst)
	for first := true; ; first = false {
		name, more, _ := s.member(first)
		if !more {
			break
		}
		if !first {
			dst = append(dst, ',')
			sorted = sorted && bytes.Compare(members[len(members)-1].name, name) < 0
		}
		from := len(dst)
		dst = append(appendString(dst, view(name)), ':')
		dst = rewrite(dst, s, true)
		members = append(members, member{name, from, len(dst)})
	}
	if sorted {
		return append(dst, '}')
	}
	slices.SortFunc(members, func(a, b member) int { return bytes.Compare(a.name, b.name) })
	was := bytes.Clone(dst[start:])
	dst = dst[:start]
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, was[m.from-start:m.to-start]...)
	}
	return append(dst, '}')
}
