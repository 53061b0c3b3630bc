package doctype

import "strconv"

// The members that the engine adds to every document.
const (
	memberID      = "_id"
	memberCreated = "_creationTime"
)

// WithSystem puts the members _id and _creationTime in front of the members of an encoded document. The creation time is
// given in microseconds since the epoch and written in milliseconds, with up to three decimals.
func WithSystem(id string, creationMicros int64, encoded []byte) []byte {
	dst := make([]byte, 0, len(encoded)+len(id)+48)
	dst = appendSystem(dst, id, creationMicros)
	i := 0
	for i < len(encoded) && encoded[i] != '{' {
		i++
	}
	if i == len(encoded) {
		return append(dst, '}')
	}
	rest := scanner{data: encoded, pos: i + 1}
	if rest.next() != '}' {
		dst = append(dst, ',')
	}
	return append(dst, encoded[rest.pos:]...)
}

// appendSystem writes an object's beginning up to its second member.
func appendSystem(dst []byte, id string, micros int64) []byte {
	dst = append(dst, `{"_id":`...)
	dst = appendString(dst, id)
	dst = append(dst, `,"_creationTime":`...)
	return appendMillis(dst, micros)
}

// appendMillis writes microseconds as milliseconds. The spelling is the shortest that names its double for every time until 2109,
// when milliseconds pass 2^42 and doubles begin to lie more than a microsecond apart.
func appendMillis(dst []byte, micros int64) []byte {
	ms, frac := micros/1000, micros%1000
	if micros < 0 {
		dst = append(dst, '-')
		ms, frac = -ms, -frac
	}
	dst = strconv.AppendInt(dst, ms, 10)
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}
