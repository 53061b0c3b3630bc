package keyenc

import (
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Kind is the kind of value a component holds. Its number is the component's tag byte, so kinds order as their values do.
type Kind byte

// The kinds, in key order. The numbers are stored and never change.
const (
	KindMissing Kind = 0x08
	KindNull    Kind = 0x10
	KindFalse   Kind = 0x18
	KindTrue    Kind = 0x20
	KindNumber  Kind = 0x28
	KindInt64   Kind = 0x30
	KindTime    Kind = 0x38
	KindString  Kind = 0x40
	KindBytes   Kind = 0x48
)

// Bytes with a meaning inside the payload of a string. A zero byte is always followed by one of the two: the end mark
// sorts below the escape, and both sort as a zero byte below any other, which puts a string right before its extensions.
const (
	zero   = 0x00
	end    = 0x01
	escape = 0xff
)

const (
	signBit = 1 << 63
	// Seconds from the zero time.Time to the Unix epoch. Adding them to Time.Unix gives the seconds that package time
	// itself counts and compares, also for the far times for which Unix wraps round.
	unixOffset = 62135596800
)

// String returns the kind's name, as the table in the package's documentation has it.
func (k Kind) String() string {
	switch k {
	case KindMissing:
		return "missing"
	case KindNull:
		return "null"
	case KindFalse:
		return "false"
	case KindTrue:
		return "true"
	case KindNumber:
		return "number"
	case KindInt64:
		return "int64"
	case KindTime:
		return "time"
	case KindString:
		return "string"
	case KindBytes:
		return "bytes"
	default:
		return "unknown"
	}
}

// AppendMissing appends the component of a field that is not there. It sorts before everything, null included.
func AppendMissing(dst []byte) []byte { return append(dst, byte(KindMissing)) }

// AppendNull appends the component of null.
func AppendNull(dst []byte) []byte { return append(dst, byte(KindNull)) }

// AppendBool appends the component of b. False sorts before true.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, byte(KindTrue))
	}
	return append(dst, byte(KindFalse))
}

// AppendNumber appends the component of f. -0 and 0 are one value; NaN, whatever its bits, is one value after +Inf.
func AppendNumber(dst []byte, f float64) []byte {
	var bits uint64
	switch {
	case f == 0: // -0 too, which must find 0
	case f != f:
		bits = math.Float64bits(math.NaN()) // sign clear, exponent full, fraction not 0: above +Inf
	default:
		bits = math.Float64bits(f)
	}
	if bits&signBit != 0 {
		bits = ^bits // of two negative numbers the one with the greater magnitude is less
	} else {
		bits |= signBit
	}
	return binary.BigEndian.AppendUint64(append(dst, byte(KindNumber)), bits)
}

// AppendInt64 appends the component of n. Every int64 sorts after every number: the two are never equal.
func AppendInt64(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byte(KindInt64)), uint64(n)^signBit)
}

// AppendTime appends the component of the instant t, exact to the nanosecond over the whole range of time.Time. Neither
// the location nor a monotonic clock reading plays a part.
func AppendTime(dst []byte, t time.Time) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, byte(KindTime)), uint64(t.Unix()+unixOffset)^signBit)
	return binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
}

// AppendString appends the component of s. The order is that of the bytes of s.
func AppendString(dst []byte, s string) []byte {
	return append(StringPrefix(dst, s), zero, end)
}

// StringPrefix appends the component of s without its end mark: a key begins with the result if, and only if, its
// component at this place is a string that begins with s. So all strings with the prefix s are the keys of
// [p, PrefixEnd(p)), where p is the result.
//
// It goes with [Complement] as whole components do: complement the result from where the component begins, and the range
// [p, PrefixEnd(p)) holds the same strings in an index that descends on this component. It can only be the last component
// of a key to scan by.
func StringPrefix(dst []byte, s string) []byte {
	dst = append(dst, byte(KindString))
	for {
		i := strings.IndexByte(s, zero)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(append(dst, s[:i+1]...), escape)
		s = s[i+1:]
	}
}

// AppendBytes appends the component of b; nil and empty are one value. The order is that of bytes.Compare.
func AppendBytes(dst, b []byte) []byte {
	dst = append(dst, byte(KindBytes))
	for _, c := range b {
		dst = append(dst, c)
		if c == zero {
			dst = append(dst, escape)
		}
	}
	return append(dst, zero, end)
}
