package badgerstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/mimosadb/mimosa/engine/storage"
)

// The first byte of a stored key says what the row is. User keys lie behind a byte of their own, so that no key of a caller
// can be taken for one of the store's, nor for one of Badger's, and no scan leaves its space.
const (
	spaceUser    = 'd' // a caller's pair: the caller's key
	spaceOutcome = 'g' // a committed group: its id
	spaceLog     = 'l' // an entry of the log: timestamp, chunk number
	spaceMeta    = 'm' // the store's own state: a name
	spacePad     = 'p' // what fills memory up: one row without a name
	spaceRedo    = 'r' // a piece of a large group that is being committed: timestamp, part, piece
)

var (
	clockKey = []byte("clock") // the newest head that Open has published
	floorKey = []byte("floor") // below which Compact has dropped
)

// A stored value is a format byte, a CRC-32C, and the payload. The checksum covers the stored key, the timestamp under which
// it is stored, the format byte and the payload, so that a value that turns up under another key or timestamp is found out
// just as a flipped bit is.
const (
	rowFormat    = 1
	envelopeSize = 1 + crc32.Size
	stampSize    = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rowSize is how much of an arena one row takes.
func rowSize(key, payload int) int { return 1 + key + stampSize + envelopeSize + payload }

// arena holds the rows of one transaction, in one allocation.
type arena []byte

// row lays out one row and returns its stored key and value, which point into the arena. The checksummed parts lie side by
// side: key, timestamp, format byte; then the checksum; then the payload.
func (a *arena) row(space byte, key []byte, ts storage.Timestamp, payload ...[]byte) (k, v []byte) {
	b := *a
	start := len(b)
	b = append(b, space)
	b = append(b, key...)
	end := len(b)
	b = binary.BigEndian.AppendUint64(b, uint64(ts))
	format := len(b)
	b = append(b, rowFormat)
	sum := crc32.Update(0, castagnoli, b[start:])
	b = append(b, 0, 0, 0, 0)
	for _, p := range payload {
		b = append(b, p...)
		sum = crc32.Update(sum, castagnoli, p)
	}
	binary.BigEndian.PutUint32(b[format+1:], sum)
	*a = b
	return b[start:end:end], b[format:len(b):len(b)]
}

// key lays out a stored key alone, for a deletion.
func (a *arena) key(space byte, key []byte) []byte {
	start := len(*a)
	*a = append(append(*a, space), key...)
	return (*a)[start:len(*a):len(*a)]
}

// unwrap checks a stored value and returns its payload, which points into it. The key is the stored key; what lies behind it in
// its array is overwritten if there is room.
func unwrap(key []byte, ts storage.Timestamp, value []byte) ([]byte, error) {
	if len(value) < envelopeSize {
		return nil, fmt.Errorf("badgerstore: key %q at %d: value of %d bytes: %w", key, ts, len(value), storage.ErrCorrupt)
	}
	covered := append(binary.BigEndian.AppendUint64(key, uint64(ts)), value[0])
	sum := crc32.Update(0, castagnoli, covered)
	sum = crc32.Update(sum, castagnoli, value[envelopeSize:])
	if sum != binary.BigEndian.Uint32(value[1:]) || value[0] != rowFormat {
		return nil, fmt.Errorf("badgerstore: key %q at %d: checksum: %w", key, ts, storage.ErrCorrupt)
	}
	return value[envelopeSize:len(value):len(value)], nil
}

// The log row of a group. A log longer than a stored value may be continues in further rows: chunk 1, 2, …, which hold
// nothing but their part of it.
type logHead struct {
	id   storage.GroupID
	prev storage.Timestamp // of the group before this one, zero for the first
	// total counts the bytes of all transactions up to and including this group's, so that Open knows how far back the
	// write-ahead logs can reach.
	total  uint64
	chunks int // how many rows the log is spread over
}

const (
	logKeySize  = 8 + 1
	logHeadSize = 16 + 8 + 8 + 1
	// logChunk is how much of a group's log one row holds.
	logChunk = valueThreshold - 256
)

func appendLogKey(b []byte, ts storage.Timestamp, chunk int) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(ts)), byte(chunk))
}

func (h logHead) append(b []byte) []byte {
	b = append(b, h.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.prev))
	b = binary.BigEndian.AppendUint64(b, h.total)
	return append(b, byte(h.chunks))
}

// parseLogKey takes apart a stored key of the log space.
func parseLogKey(key []byte) (ts storage.Timestamp, chunk int, err error) {
	if len(key) != 1+logKeySize || key[0] != spaceLog {
		return 0, 0, fmt.Errorf("badgerstore: log key %q: %w", key, storage.ErrCorrupt)
	}
	return storage.Timestamp(binary.BigEndian.Uint64(key[1:])), int(key[9]), nil
}

// parseLogHead takes apart the payload of a group's first log row.
func parseLogHead(ts storage.Timestamp, payload []byte) (h logHead, log []byte, err error) {
	if len(payload) < logHeadSize || payload[32] == 0 {
		return h, nil, fmt.Errorf("badgerstore: log row at %d: %w", ts, storage.ErrCorrupt)
	}
	h.id = storage.GroupID(payload[:16])
	h.prev = storage.Timestamp(binary.BigEndian.Uint64(payload[16:]))
	h.total = binary.BigEndian.Uint64(payload[24:])
	h.chunks = int(payload[32])
	return h, payload[logHeadSize:], nil
}
