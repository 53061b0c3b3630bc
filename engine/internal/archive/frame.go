package archive

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// Magic begins every file. Its line ends and its zero are changed by whatever treats the file as text.
const Magic = "mimosa-backup\r\n\x00"

// Format is the version of the format that this package writes. It reads this one and older ones.
const Format = 1

// Errors of a Reader, matched with errors.Is. What reading itself fails with is returned as it is.
var (
	// ErrForeign says that what is read is no backup at all.
	ErrForeign = errors.New("archive: not a backup")
	// ErrDamaged says that bytes of a backup are not what was written, or that some are missing or too many.
	ErrDamaged = errors.New("archive: damaged backup")
	// ErrNewer says that a backup was written by a newer version.
	ErrNewer = errors.New("archive: written by a newer version")
)

// Header says what a file holds.
type Header struct {
	// Format is set by the Writer.
	Format int `json:"format"`
	// Layout is the version of the rows, which is the user's affair.
	Layout int `json:"layout"`
	// Database names the history of commits that Since and At belong to.
	Database string `json:"database"`
	// Since is where an incremental file begins, zero for a full one, and At what it leads to.
	Since uint64 `json:"since"`
	At    uint64 `json:"at"`
	// Taken is when it was begun, by the clock of the database.
	Taken time.Time `json:"taken"`
}

// Trailer says that a file is whole.
type Trailer struct {
	Records int64  `json:"records"`
	SHA256  string `json:"sha256"`
}

const (
	kindHeader  = 'h'
	kindRecords = 'r'
	kindTrailer = 't'

	frameHead = 1 + 4
	// frameTarget is the size at which a frame of records is written. A record that is larger is a frame of its own.
	frameTarget = 64 << 10
	// maxPayload bounds what a reader takes for a length: the largest record that a writer accepts, in a frame of others.
	maxPayload = 4 << 20
	maxRecord  = maxPayload - frameTarget - 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of the n-th frame. head is its kind and length.
func checksum(n uint64, head, payload []byte) uint32 {
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], n)
	sum := crc32.Update(0, castagnoli, number[:])
	sum = crc32.Update(sum, castagnoli, head)
	return crc32.Update(sum, castagnoli, payload)
}

// Record is one record of a file.
type Record struct {
	// Gone says that there is no value: what older files have of this unit does not count.
	Gone       bool
	Key, Value []byte
}

const (
	recordPut  = 1
	recordGone = 2
)
