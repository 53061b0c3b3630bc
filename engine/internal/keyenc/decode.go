package keyenc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// ErrMalformed says that bytes are not a component as the Append functions write it. It is matched with errors.Is.
var ErrMalformed = errors.New("keyenc: malformed component")

// Component is one decoded component of a key.
type Component struct {
	Kind Kind
	// Descending says that the component was complemented.
	Descending bool
	// Value is nil for missing and null, else a bool, float64, int64, time.Time (in UTC), string or []byte, by Kind.
	Value any
}

// String returns the component for people to read: its value, strings and bytes quoted, and " desc" when it descends.
func (c Component) String() string {
	var s string
	switch v := c.Value.(type) {
	case float64:
		s = strconv.FormatFloat(v, 'g', -1, 64)
	case int64:
		s = strconv.FormatInt(v, 10) + "n"
	case time.Time:
		s = v.Format(time.RFC3339Nano)
	case string:
		s = strconv.Quote(v)
	case []byte:
		s = fmt.Sprintf("x'%x'", v)
	default:
		s = c.Kind.String()
	}
	if c.Descending {
		s += " desc"
	}
	return s
}

// Next decodes the component that key begins with and returns what follows it, a part of key. It is for consistency checks
// and for debugging: the engine never needs to read a key back to serve a query. Nothing of key is kept in the component.
//
// It fails with [ErrMalformed] on bytes that no Append function writes, an empty key among them; that includes other
// spellings of a value that has one, such as -0. It cannot tell that the bytes before key were cut at the wrong place.
func Next(key []byte) (component Component, rest []byte, err error) {
	if len(key) == 0 {
		return Component{}, nil, fmt.Errorf("%w: empty", ErrMalformed)
	}
	var flip byte // XORed to every byte read
	if key[0] >= 0x80 {
		flip = 0xff
	}
	c := Component{Kind: Kind(key[0] ^ flip), Descending: flip != 0}
	size := 1
	switch c.Kind {
	case KindMissing, KindNull:
	case KindFalse, KindTrue:
		c.Value = c.Kind == KindTrue
	case KindNumber:
		size, c.Value, err = nextNumber(key, flip)
	case KindInt64:
		var bits uint64
		size, bits, err = nextUint64(key, flip)
		c.Value = int64(bits ^ signBit)
	case KindTime:
		size, c.Value, err = nextTime(key, flip)
	case KindString:
		var b []byte
		size, b, err = nextEscaped(key, flip)
		c.Value = string(b)
	case KindBytes:
		size, c.Value, err = nextEscaped(key, flip)
	default:
		err = fmt.Errorf("%w: unknown tag %#02x", ErrMalformed, key[0])
	}
	if err != nil {
		return Component{}, nil, err
	}
	return c, key[size:], nil
}

// nextUint64 reads the eight bytes behind the tag. The size it returns, as in the functions below, counts the tag.
func nextUint64(key []byte, flip byte) (size int, bits uint64, err error) {
	const n = 1 + 8
	if len(key) < n {
		return 0, 0, fmt.Errorf("%w: cut short", ErrMalformed)
	}
	bits = binary.BigEndian.Uint64(key[1:])
	if flip != 0 {
		bits = ^bits
	}
	return n, bits, nil
}

func nextNumber(key []byte, flip byte) (size int, f float64, err error) {
	size, bits, err := nextUint64(key, flip)
	if err != nil {
		return 0, 0, err
	}
	if bits&signBit != 0 {
		bits &^= signBit
	} else {
		bits = ^bits
	}
	f = math.Float64frombits(bits)
	// The two values with more than one pattern of bits have one encoding only.
	if f == 0 && bits != 0 || f != f && bits != math.Float64bits(math.NaN()) {
		return 0, 0, fmt.Errorf("%w: number %v in another spelling", ErrMalformed, f)
	}
	return size, f, nil
}

func nextTime(key []byte, flip byte) (size int, t time.Time, err error) {
	size, bits, err := nextUint64(key, flip)
	if err != nil {
		return 0, time.Time{}, err
	}
	if len(key) < size+4 {
		return 0, time.Time{}, fmt.Errorf("%w: cut short", ErrMalformed)
	}
	nanos := binary.BigEndian.Uint32(key[size:])
	if flip != 0 {
		nanos = ^nanos
	}
	if nanos >= uint32(time.Second) {
		return 0, time.Time{}, fmt.Errorf("%w: %d nanoseconds in a second", ErrMalformed, nanos)
	}
	return size + 4, time.Unix(int64(bits^signBit)-unixOffset, int64(nanos)).UTC(), nil
}

// nextEscaped reads up to the end mark. The bytes it returns are new, and never nil.
func nextEscaped(key []byte, flip byte) (size int, b []byte, err error) {
	b = []byte{}
	for i := 1; i < len(key); i++ {
		c := key[i] ^ flip
		if c != zero {
			b = append(b, c)
			continue
		}
		i++
		if i == len(key) {
			break
		}
		switch key[i] ^ flip {
		case end:
			return i + 1, b, nil
		case escape:
			b = append(b, zero)
		default:
			return 0, nil, fmt.Errorf("%w: byte %#02x behind a zero", ErrMalformed, key[i]^flip)
		}
	}
	return 0, nil, fmt.Errorf("%w: no end mark", ErrMalformed)
}
