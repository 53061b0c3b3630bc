package wire

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxFields is how many fields an object of the protocol itself may have, known or not.
const maxFields = 64

// field is one member of an object; raw is its value, without space around it.
type field struct {
	key string
	raw []byte
}

type object struct {
	fields []field
}

func (o *object) get(key string) ([]byte, bool) {
	for i := range o.fields {
		if o.fields[i].key == key {
			return o.fields[i].raw, true
		}
	}
	return nil, false
}

// parseObject takes apart one object of a text that is known to be JSON. Names are matched exactly, unlike encoding/json.
func parseObject(raw []byte) (object, *Error) {
	var o object
	if kindOf(raw) != '{' {
		return o, &Error{Reason: BadField, Detail: "must be an object"}
	}
	err := eachMember(raw, func(key, value []byte) *Error {
		f := field{key: unquote(key), raw: value}
		if _, twice := o.get(f.key); twice {
			return &Error{Reason: Duplicate, Detail: "a field stands twice"}
		}
		if len(o.fields) == maxFields {
			return &Error{Reason: TooLarge, Detail: "too many fields"}
		}
		o.fields = append(o.fields, f)
		return nil
	})
	return o, err
}

// checkJSON says whether raw is one JSON text in UTF-8 that is nested no deeper than depth.
func checkJSON(raw []byte, depth int) *Error {
	if !utf8.Valid(raw) {
		return &Error{Reason: Malformed, Detail: "not UTF-8"}
	}
	level, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if level++; level > depth {
				return &Error{Reason: TooLarge, Detail: "nested deeper than " + strconv.Itoa(depth)}
			}
		case c == '}' || c == ']':
			level--
		}
	}
	if !json.Valid(raw) {
		return &Error{Reason: Malformed, Detail: "not JSON"}
	}
	return nil
}

// The walkers below read texts that checkJSON has passed; on others they may stop early, and never run out of bounds.

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index after the value that begins at i.
func valueEnd(b []byte, i int) int {
	level := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			level++
			i++
		case '}', ']':
			level--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default:
			for i < len(b) && !endsScalar(b[i]) {
				i++
			}
		}
		if level <= 0 {
			break
		}
	}
	return min(i, len(b))
}

func endsScalar(c byte) bool {
	return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\t' || c == '\n' || c == '\r'
}

func eachMember(raw []byte, visit func(key, value []byte) *Error) *Error {
	i := skipSpace(raw, 1+skipSpace(raw, 0))
	for i < len(raw) && raw[i] == '"' {
		end := valueEnd(raw, i)
		key := raw[i:end]
		i = skipSpace(raw, 1+skipSpace(raw, end)) // the colon between
		end = valueEnd(raw, i)
		if err := visit(key, raw[min(i, end):end]); err != nil {
			return err
		}
		i = skipSpace(raw, end)
		if i < len(raw) && raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	return nil
}

func eachElement(raw []byte, visit func(i int, value []byte) *Error) *Error {
	i := skipSpace(raw, 1+skipSpace(raw, 0))
	for n := 0; i < len(raw) && raw[i] != ']'; n++ {
		end := valueEnd(raw, i)
		if err := visit(n, raw[i:end]); err != nil {
			return err
		}
		i = skipSpace(raw, end)
		if i < len(raw) && raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	return nil
}

// kindOf returns the first byte of the value: '{', '[', '"', 't', 'f', 'n', or that of a number.
func kindOf(raw []byte) byte {
	if i := skipSpace(raw, 0); i < len(raw) {
		return raw[i]
	}
	return 0
}

func unquote(raw []byte) string {
	if len(raw) >= 2 && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // the text is known to be JSON; half a surrogate pair becomes U+FFFD
	return s
}

// Canonical returns the one spelling of a JSON text that all texts share which differ in space, the order of object keys or
// the escapes of strings only, so that equal arguments can be told by their bytes. Numbers keep their spelling. A text that
// is not JSON, nested deeper than [DefaultDepth], or has one key twice in an object, gives an [*Error].
func Canonical(raw []byte) ([]byte, error) {
	if err := checkJSON(raw, DefaultDepth); err != nil {
		return nil, err
	}
	dst, err := appendCanonical(make([]byte, 0, len(raw)), raw[skipSpace(raw, 0):])
	if err != nil {
		return nil, err
	}
	return dst, nil
}

func appendCanonical(dst, raw []byte) ([]byte, *Error) {
	switch kindOf(raw) {
	case '{':
		var members []field
		_ = eachMember(raw, func(key, value []byte) *Error {
			members = append(members, field{unquote(key), value})
			return nil
		})
		slices.SortFunc(members, func(a, b field) int { return strings.Compare(a.key, b.key) })
		dst = append(dst, '{')
		for i, m := range members {
			if i > 0 {
				if members[i-1].key == m.key {
					return nil, &Error{Reason: Duplicate, Detail: "a key stands twice in an object"}
				}
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, m.key), ':')
			var err *Error
			if dst, err = appendCanonical(dst, m.raw); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	case '[':
		dst = append(dst, '[')
		err := eachElement(raw, func(i int, value []byte) *Error {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err *Error
			dst, err = appendCanonical(dst, value)
			return err
		})
		return append(dst, ']'), err
	case '"':
		return appendString(dst, unquote(raw[:valueEnd(raw, 0)])), nil
	default:
		return append(dst, raw[:valueEnd(raw, 0)]...), nil
	}
}

func appendUint(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string: only what must be escaped is, and bytes that are not UTF-8 become U+FFFD.
func appendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func appendRaw(dst []byte, raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, raw...)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

func appendBool(dst []byte, b bool) []byte { return strconv.AppendBool(dst, b) }
