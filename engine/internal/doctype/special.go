package doctype

import (
	"encoding/base64"
	"encoding/binary"
	"math"
)

// The members that make a special object; their values are strings.
const (
	memberInteger = "$integer"
	memberBytes   = "$bytes"
	memberFloat   = "$float"
)

// b64 refuses stray bits and line breaks: equal values have equal spellings.
var b64 = base64.StdEncoding.Strict()

func appendSpecial8(dst []byte, member string, bits uint64) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], bits)
	return appendSpecial(dst, member, b[:])
}

func appendSpecial(dst []byte, member string, b []byte) []byte {
	dst = append(dst, '{', '"')
	dst = append(dst, member...)
	dst = append(dst, '"', ':', '"')
	dst = b64.AppendEncode(dst, b)
	return append(dst, '"', '}')
}

func appendInt64(dst []byte, n int64) []byte {
	return appendSpecial8(dst, memberInteger, uint64(n))
}

func appendSpecialFloat(dst []byte, f float64) []byte {
	return appendSpecial8(dst, memberFloat, math.Float64bits(f))
}

// parse8 reads the text of $integer or $float.
func parse8(text []byte) (uint64, bool) {
	var b [9]byte // base64 of 12 characters may decode to 9 bytes
	if len(text) != 12 {
		return 0, false
	}
	n, err := b64.Decode(b[:], text)
	if err != nil || n != 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:8]), true
}

func parseBytes(text []byte) ([]byte, bool) {
	for _, c := range text {
		if c == '\n' || c == '\r' { // the decoder skips them, even a strict one
			return nil, false
		}
	}
	b, err := b64.AppendDecode(make([]byte, 0, b64.DecodedLen(len(text))), text)
	return b, err == nil
}

// special consumes an object of one member whose name begins with $, at whose brace the scanner stands, and gives the member
// and its text. If what stands there is something else it consumes nothing.
func (s *scanner) special() (member string, text []byte, ok bool) {
	start := s.pos
	if !s.open('{') {
		return "", nil, false
	}
	// Most objects are not special, and most of those show it by their first bytes.
	if c := s.next(); c != '"' || s.pos+1 < len(s.data) && s.data[s.pos+1] != '$' && s.data[s.pos+1] != '\\' {
		s.pos = start
		return "", nil, false
	}
	defer func() {
		if !ok {
			s.pos = start
		}
	}()
	name, more, ok := s.member(true)
	if !ok || !more || len(name) == 0 || name[0] != '$' || s.next() != '"' {
		return "", nil, false
	}
	switch string(name) {
	case memberInteger:
		member = memberInteger
	case memberBytes:
		member = memberBytes
	case memberFloat:
		member = memberFloat
	default:
		return "", nil, false
	}
	if text, ok = s.text(); !ok || s.next() != '}' {
		return "", nil, false
	}
	s.pos++
	return member, text, true
}

// wellFormed reports whether text is what a special object of that member may hold. A $float names only what an ordinary
// number cannot: official clients refuse others.
func wellFormed(member string, text []byte) bool {
	switch member {
	case memberBytes:
		_, ok := parseBytes(text)
		return ok
	case memberFloat:
		bits, ok := parse8(text)
		return ok && needsSpecial(math.Float64frombits(bits))
	}
	_, ok := parse8(text)
	return ok
}
