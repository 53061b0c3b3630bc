package wire

import (
	"unicode/utf8"
)

// ChunkBytes is the size above which a Transition travels as TransitionChunks, and about that of each of them.
const ChunkBytes = 5_000_000

// AppendChunks cuts the JSON of a Transition into messages of at most size bytes of it each, and returns them in order; id
// names the Transition and must differ from that of any other on the socket. A Transition of size bytes or less is
// returned as the only message, uncut. A size that is not positive means ChunkBytes. Between the messages of one Transition
// no other may be sent but Ping. Cuts are made between characters, so that each piece is a string of its own.
func AppendChunks(dst [][]byte, transition []byte, id string, size int) [][]byte {
	if size <= 0 {
		size = ChunkBytes
	}
	if len(transition) <= size {
		return append(dst, transition)
	}
	var pieces []string
	for rest := transition; len(rest) > 0; {
		n := min(size, len(rest))
		for n < len(rest) && n > 0 && !utf8.RuneStart(rest[n]) {
			n--
		}
		if n == 0 { // smaller than one character: take all of it
			_, n = utf8.DecodeRune(rest)
		}
		pieces = append(pieces, string(rest[:n]))
		rest = rest[n:]
	}
	for i, p := range pieces {
		c := TransitionChunk{Chunk: p, PartNumber: i, TotalParts: len(pieces), TransitionID: id}
		dst = append(dst, c.Append(make([]byte, 0, len(p)+len(p)/4+128)))
	}
	return dst
}

// Assembler puts TransitionChunks together again, for clients and tests. Its zero value is ready.
type Assembler struct {
	parts []byte
	next  int
	total int
	id    string
}

// Add takes the next chunk and returns the JSON of the Transition with the last. A chunk out of its order is an error and
// drops what was collected.
func (a *Assembler) Add(c *TransitionChunk) ([]byte, error) {
	if c.PartNumber == 0 {
		*a = Assembler{total: c.TotalParts, id: c.TransitionID}
	}
	if c.PartNumber != a.next || c.TotalParts != a.total || c.TransitionID != a.id || c.PartNumber >= c.TotalParts {
		*a = Assembler{}
		return nil, &Error{Reason: OutOfOrder, Message: "TransitionChunk", Field: "partNumber"}
	}
	a.parts = append(a.parts, c.Chunk...)
	if a.next++; a.next < a.total {
		return nil, nil
	}
	whole := a.parts
	*a = Assembler{}
	return whole, nil
}
