package doctype

import (
	"math"
	"strconv"
	"unsafe"
)

// maxInt is the largest integer that travels as a JSON number: up to here a float64 holds every integer, and only it.
const maxInt = 1<<53 - 1

// view lends b as a string to a function that does not keep it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// plainInt reads a number token without fraction or exponent and with at most 18 digits, which nearly all integers are.
func plainInt(tok []byte) (n int64, ok bool) {
	i := 0
	if tok[0] == '-' {
		i = 1
	}
	if len(tok)-i > 18 || len(tok) == i {
		return 0, false
	}
	for _, c := range tok[i:] {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if i == 1 {
		n = -n
	}
	return n, true
}

// parseFloat gives the double that a number token names; false if it is beyond the doubles.
func parseFloat(tok []byte) (float64, bool) {
	if n, ok := plainInt(tok); ok && -maxInt <= n && n <= maxInt {
		return float64(n), true // "-0" is 0: negative zero travels as $float
	}
	f, err := strconv.ParseFloat(view(tok), 64)
	if err != nil || f == 0 {
		return 0, err == nil
	}
	return f, true
}

// parseInt reads an integer in any spelling (3, 3.0, 30e-1). integral is false if it has a fraction; fits is false if it is
// beyond int64.
func parseInt(tok []byte) (n int64, integral, fits bool) {
	if n, ok := plainInt(tok); ok {
		return n, true, true
	}
	negative := tok[0] == '-'
	if negative {
		tok = tok[1:]
	}
	// The value is the digits, without the point, times ten to the power of point−len(digits).
	var digs []byte
	point, exp, seenPoint := 0, 0, false
	for i, c := range tok {
		if c == '.' {
			seenPoint = true
			continue
		}
		if c == 'e' || c == 'E' {
			exp = parseExponent(tok[i+1:])
			break
		}
		digs = append(digs, c)
		if !seenPoint {
			point++
		}
	}
	lead := 0
	for lead < len(digs) && digs[lead] == '0' {
		lead++
	}
	digs, point = digs[lead:], point-lead+exp
	for len(digs) > 0 && digs[len(digs)-1] == '0' {
		digs = digs[:len(digs)-1]
	}
	switch {
	case len(digs) == 0:
		return 0, true, true
	case point < len(digs):
		return 0, false, false
	case point > 19:
		return 0, true, false
	}
	var u uint64 // 19 digits fit
	for i := range point {
		u *= 10
		if i < len(digs) {
			u += uint64(digs[i] - '0')
		}
	}
	switch {
	case negative && u <= 1<<63:
		return -int64(u), true, true
	case !negative && u <= math.MaxInt64:
		return int64(u), true, true
	}
	return 0, true, false
}

// parseExponent stops counting at 2^40: that is far beyond the digits any text in memory has, so nothing but the sign matters
// there, and adding it to a position cannot overflow.
func parseExponent(tok []byte) int {
	negative := false
	if tok[0] == '+' || tok[0] == '-' {
		negative = tok[0] == '-'
		tok = tok[1:]
	}
	n := 0
	for _, c := range tok {
		if n = n*10 + int(c-'0'); n > 1<<40 {
			n = 1 << 40
		}
	}
	if negative {
		return -n
	}
	return n
}

// appendFloat writes a finite float in the shortest spelling that names it, laid out as ECMAScript does.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if f == 0 {
		return append(dst, '0')
	}
	if f == math.Trunc(f) && math.Abs(f) <= maxInt {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	abs := math.Abs(f)
	if abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
	// e-07 is written e-7.
	if n := len(dst); n >= 4 && (dst[n-3] == '-' || dst[n-3] == '+') && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// needsSpecial reports whether JSON has no spelling that keeps f.
func needsSpecial(f float64) bool {
	return f == 0 && math.Signbit(f) || math.IsNaN(f) || math.IsInf(f, 0)
}
