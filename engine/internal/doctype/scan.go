package doctype

import (
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest, not counting special objects.
const maxDepth = 64

// skipDepth only protects the stack while stepping over what nobody will look at.
const skipDepth = 4 * maxDepth

const (
	msgSyntax  = "is not valid JSON"
	msgUnicode = "holds text that is not valid Unicode"
	msgDepth   = "is nested deeper than 64 levels"
)

func syntaxErr() *ValueError { return valueErr(ruleJSON, msgSyntax) }

// A scanner reads JSON tokens off a byte slice, in place. It never reads beyond the slice, whatever is in it; it checks the
// grammar of what it steps over, but not the Unicode inside strings (check does).
type scanner struct {
	data []byte
	pos  int
}

// next skips white space and returns the byte at hand without consuming it; 0 at the end.
func (s *scanner) next() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// end reports whether only white space is left.
func (s *scanner) end() bool {
	s.next()
	return s.pos >= len(s.data)
}

// str consumes a string at whose quote the scanner stands: what is between the quotes, and whether it holds escapes.
func (s *scanner) str() (raw []byte, escaped, ok bool) {
	if s.pos >= len(s.data) || s.data[s.pos] != '"' {
		return nil, false, false
	}
	start := s.pos + 1
	for i := start; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return s.data[start:i], escaped, true
		case c == '\\':
			escaped = true
			n := escapeLen(s.data[i:])
			if n == 0 {
				return nil, false, false
			}
			i += n - 1
		case c < 0x20:
			return nil, false, false
		}
	}
	return nil, false, false
}

// text is str with the escapes resolved; it copies only if there are any.
func (s *scanner) text() ([]byte, bool) {
	raw, escaped, ok := s.str()
	if !ok {
		return nil, false
	}
	if escaped {
		raw = unescape(raw)
	}
	return raw, true
}

// escapeLen gives the length of the escape sequence that b begins with, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if _, ok := hexDigit(c); !ok {
				return 0
			}
		}
		return 6
	}
	return 0
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0'), true
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10, true
	}
	return 0, false
}

func hexRune(b []byte) (r rune) {
	for _, c := range b {
		d, _ := hexDigit(c)
		r = r<<4 | d
	}
	return r
}

// unescape resolves the escapes of a string that str accepted. A lone surrogate becomes U+FFFD; check refuses it beforehand
// where that matters.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		switch raw[i+1] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hexRune(raw[i+2 : i+6])
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+12 <= len(raw) && raw[i+6] == '\\' && raw[i+7] == 'u' {
					pair = utf16.DecodeRune(r, hexRune(raw[i+8:i+12]))
				}
				if pair != utf8.RuneError {
					i += 6
				}
				r = pair
			}
			out = utf8.AppendRune(out, r)
			i += 6
			continue
		default: // '"', '\\', '/'
			out = append(out, raw[i+1])
		}
		i += 2
	}
	return out
}

// number consumes a number token.
func (s *scanner) number() (tok []byte, ok bool) {
	start, i, d := s.pos, s.pos, s.data
	if i < len(d) && d[i] == '-' {
		i++
	}
	switch {
	case i < len(d) && d[i] == '0':
		i++
	case i < len(d) && isDigit(d[i]):
		i = digits(d, i)
	default:
		return nil, false
	}
	if i < len(d) && d[i] == '.' {
		n := digits(d, i+1)
		if n == i+1 {
			return nil, false
		}
		i = n
	}
	if i < len(d) && (d[i] == 'e' || d[i] == 'E') {
		i++
		if i < len(d) && (d[i] == '+' || d[i] == '-') {
			i++
		}
		n := digits(d, i)
		if n == i {
			return nil, false
		}
		i = n
	}
	s.pos = i
	return d[start:i], true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func digits(d []byte, i int) int {
	for i < len(d) && isDigit(d[i]) {
		i++
	}
	return i
}

// word consumes true, false or null.
func (s *scanner) word(w string) bool {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return false
	}
	s.pos += len(w)
	return true
}

// open consumes the bracket that begins an array or an object.
func (s *scanner) open(c byte) bool {
	if s.next() != c {
		return false
	}
	s.pos++
	return true
}

// member steps to the next member of an object whose brace is consumed and consumes its name and colon. more is false once the
// closing brace is consumed.
func (s *scanner) member(first bool) (name []byte, more, ok bool) {
	c := s.next()
	if c == '}' {
		s.pos++
		return nil, false, true
	}
	if !first {
		if c != ',' {
			return nil, false, false
		}
		s.pos++
		s.next()
	}
	name, ok = s.text()
	if !ok || s.next() != ':' {
		return nil, false, false
	}
	s.pos++
	return name, true, true
}

// element steps to the next element of an array whose bracket is consumed. more is false once the closing one is consumed.
func (s *scanner) element(first bool) (more, ok bool) {
	c := s.next()
	if c == ']' {
		s.pos++
		return false, true
	}
	if first {
		return true, c != 0
	}
	if c != ',' {
		return false, false
	}
	s.pos++
	return s.next() != ']', s.next() != ']'
}

// skip consumes one value of any kind, at a nesting of depth. It does not enforce maxDepth.
func (s *scanner) skip(depth int) *ValueError {
	ok := false
	switch c := s.next(); c {
	case '"':
		_, _, ok = s.str()
	case '{', '[':
		if depth >= skipDepth {
			return valueErr(ruleJSON, msgDepth)
		}
		s.pos++
		for first := true; ; first = false {
			var more bool
			if c == '{' {
				_, more, ok = s.member(first)
			} else {
				more, ok = s.element(first)
			}
			if !ok {
				return syntaxErr()
			}
			if !more {
				return nil
			}
			if err := s.skip(depth + 1); err != nil {
				return err
			}
		}
	case 't':
		ok = s.word("true")
	case 'f':
		ok = s.word("false")
	case 'n':
		ok = s.word("null")
	default:
		_, ok = s.number()
	}
	if !ok {
		return syntaxErr()
	}
	return nil
}

// span consumes one value and returns its bytes.
func (s *scanner) span(depth int) ([]byte, *ValueError) {
	s.next()
	start := s.pos
	if err := s.skip(depth); err != nil {
		return nil, err
	}
	return s.data[start:s.pos], nil
}
