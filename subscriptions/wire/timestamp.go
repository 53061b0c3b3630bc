package wire

import (
	"encoding/base64"
	"encoding/binary"
)

// Timestamp is a commit timestamp, nanoseconds since the Unix epoch. On the wire it is the padded base64 of its eight
// bytes, least significant first; zero, before any commit, is "AAAAAAAAAAA=".
type Timestamp uint64

// String returns the timestamp as it stands on the wire.
func (t Timestamp) String() string {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], uint64(t))
	return base64.StdEncoding.EncodeToString(raw[:])
}

// ParseTimestamp reads what String writes and nothing else: eight bytes, padded, no stray bits. The error is an [*Error].
func ParseTimestamp(s string) (Timestamp, error) {
	var raw [9]byte // one more than a timestamp, so that the decoder may fill whole quanta
	if len(s) != 12 {
		return 0, &Error{Reason: BadField, Detail: "a timestamp is base64 of eight bytes"}
	}
	n, err := base64.StdEncoding.Strict().Decode(raw[:], []byte(s))
	if err != nil || n != 8 {
		return 0, &Error{Reason: BadField, Detail: "a timestamp is base64 of eight bytes"}
	}
	return Timestamp(binary.LittleEndian.Uint64(raw[:8])), nil
}

func (t Timestamp) append(dst []byte) []byte {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], uint64(t))
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, raw[:])
	return append(dst, '"')
}

// StateVersion says what a client has been told: which set of queries, as whom, at which time. Each socket starts at the
// zero value, and every Transition starts where the one before it ended.
type StateVersion struct {
	QuerySet uint32
	Identity uint32
	TS       Timestamp
}

func (v StateVersion) append(dst []byte) []byte {
	dst = append(dst, `{"querySet":`...)
	dst = appendUint(dst, uint64(v.QuerySet))
	dst = append(dst, `,"identity":`...)
	dst = appendUint(dst, uint64(v.Identity))
	dst = append(dst, `,"ts":`...)
	dst = v.TS.append(dst)
	return append(dst, '}')
}
