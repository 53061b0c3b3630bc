package engine

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
)

// A document's id is 16 bytes, written as 26 characters of base32 in ascending ASCII order, so that ids sort as text as they
// do as bytes:
//
//	4 bytes  the collection: the first bytes of SHA-256 of its name
//	7 bytes  creation time, microseconds since the Unix epoch, big-endian
//	5 bytes  random
//
// The collection is derived from its name and not numbered, so that an id can be checked without a database at hand.
const (
	idBytes  = 16
	idLength = 26
	tagBytes = 4
)

type rawID [idBytes]byte

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func nameTag(name string) (tag [tagBytes]byte) {
	h := sha256.Sum256([]byte(name))
	copy(tag[:], h[:])
	return tag
}

func makeID(tag [tagBytes]byte, micros int64, random uint64) (id rawID) {
	copy(id[:], tag[:])
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(micros))
	copy(id[tagBytes:], b[1:])
	binary.BigEndian.PutUint64(b[:], random)
	copy(id[tagBytes+7:], b[3:])
	return id
}

func (id rawID) String() string { return idEncoding.EncodeToString(id[:]) }

func (id rawID) micros() int64 {
	var b [8]byte
	copy(b[1:], id[tagBytes:tagBytes+7])
	return int64(binary.BigEndian.Uint64(b[:]))
}

// decodeID accepts only the one spelling that String gives.
func decodeID(s string) (id rawID, ok bool) {
	if len(s) != idLength {
		return id, false
	}
	n, err := idEncoding.Decode(id[:], []byte(s))
	return id, err == nil && n == idBytes && id.String() == s
}

// parseID checks that s is an id of c.
func (c *collection) parseID(s string) (rawID, error) {
	id, ok := decodeID(s)
	if !ok {
		return id, &Error{Code: CodeInvalid, Message: "invalid id", Issues: []Issue{{Rule: "id", Message: "is not a well-formed id"}}}
	}
	if [tagBytes]byte(id[:tagBytes]) != c.tag {
		return id, &Error{Code: CodeInvalid, Message: "invalid id", Issues: []Issue{{Rule: "id", Message: "is not an id of " + c.name}}}
	}
	return id, nil
}

// Stored JSON always begins with the system fields in one spelling, so they are found by position.
const systemHead = `{"_id":"`

// systemFields returns id and creation time of a stored document.
func systemFields(raw []byte) (id string, micros int64, err error) {
	if len(raw) < len(systemHead)+idLength+1 || string(raw[:len(systemHead)]) != systemHead {
		return "", 0, fmt.Errorf("engine: a stored document does not begin with its id")
	}
	id = string(raw[len(systemHead) : len(systemHead)+idLength])
	parsed, ok := decodeID(id)
	if !ok {
		return "", 0, fmt.Errorf("engine: a stored document has a malformed id")
	}
	return id, parsed.micros(), nil
}

// withoutSystem returns the stored document's own members as an object.
func withoutSystem(raw []byte) []byte {
	commas := 0
	for i, b := range raw {
		switch {
		case b == ',' && commas == 0:
			commas++
		case b == ',':
			return append([]byte{'{'}, raw[i+1:]...)
		}
	}
	return []byte("{}")
}
