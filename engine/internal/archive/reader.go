package archive

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Reader reads one file. It is used by one goroutine.
//
// What Next gives has been checked against the checksum of its frame. That the file is whole, with no frame missing, is known
// when Next has returned io.EOF, and not before.
type Reader struct {
	r       *bufio.Reader
	digest  hash.Hash
	frames  uint64
	records int64
	offset  int64
	header  Header
	trailer Trailer
	rest    []byte // of the frame that is being taken apart
	err     error
}

// NewReader reads the header of a file.
func NewReader(r io.Reader) (*Reader, error) {
	a := &Reader{r: bufio.NewReaderSize(r, 128<<10), digest: sha256.New()}
	magic := make([]byte, len(Magic))
	n, err := io.ReadFull(a.r, magic)
	switch {
	case n < len(magic) && (err == io.EOF || err == io.ErrUnexpectedEOF), err == nil && string(magic) != Magic:
		return nil, ErrForeign
	case err != nil:
		return nil, err
	}
	a.offset = int64(n)
	a.digest.Write(magic)
	kind, payload, err := a.frame()
	if err != nil {
		return nil, err
	}
	if kind != kindHeader {
		return nil, a.damaged("it has no header")
	}
	if err := json.Unmarshal(payload, &a.header); err != nil {
		return nil, a.damaged("its header is not readable")
	}
	if a.header.Format > Format {
		return nil, fmt.Errorf("%w: format %d, this one knows %d", ErrNewer, a.header.Format, Format)
	}
	return a, nil
}

// Header returns what the file says of itself.
func (a *Reader) Header() Header { return a.header }

// Trailer returns the trailer, when Next has returned io.EOF.
func (a *Reader) Trailer() Trailer { return a.trailer }

// Bytes returns how much of the file has been read.
func (a *Reader) Bytes() int64 { return a.offset }

// Next returns the next record, or io.EOF after the last one of a file that is whole. The slices belong to the caller. An error
// is returned again by every later call.
func (a *Reader) Next() (Record, error) {
	for a.err == nil && len(a.rest) == 0 {
		a.advance()
	}
	if a.err != nil {
		return Record{}, a.err
	}
	rec, ok := a.record()
	if !ok {
		a.err = a.damaged("a record is not readable")
		return Record{}, a.err
	}
	a.records++
	return rec, nil
}

// advance reads the next frame, and where that is the trailer checks that all is well.
func (a *Reader) advance() {
	before := hex.EncodeToString(a.digest.Sum(nil))
	kind, payload, err := a.frame()
	switch {
	case err != nil:
		a.err = err
	case kind == kindRecords && len(payload) > 0:
		a.rest = payload
	case kind != kindTrailer:
		a.err = a.damaged("a frame is of no known kind")
	case json.Unmarshal(payload, &a.trailer) != nil:
		a.err = a.damaged("its trailer is not readable")
	case a.trailer.SHA256 != before || a.trailer.Records != a.records:
		a.err = a.damaged("it is not what its trailer says")
	default:
		if _, err := a.r.ReadByte(); err == nil {
			a.err = a.damaged("something follows its end")
		} else {
			a.err = err // io.EOF, or what reading failed with
		}
	}
}

// frame reads one frame and checks it.
func (a *Reader) frame() (kind byte, payload []byte, err error) {
	var head [frameHead]byte
	if err := a.read(head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxPayload {
		return 0, nil, a.damaged("a frame is longer than any can be")
	}
	payload = make([]byte, size)
	if err := a.read(payload); err != nil {
		return 0, nil, err
	}
	var sum [4]byte
	if err := a.read(sum[:]); err != nil {
		return 0, nil, err
	}
	if binary.BigEndian.Uint32(sum[:]) != checksum(a.frames, head[:], payload) {
		return 0, nil, a.damaged("a checksum does not match")
	}
	a.frames++
	return head[0], payload, nil
}

func (a *Reader) read(b []byte) error {
	n, err := io.ReadFull(a.r, b)
	a.offset += int64(n)
	a.digest.Write(b[:n])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return a.damaged("it ends before its trailer")
	}
	return err
}

// record takes one record off the frame.
func (a *Reader) record() (rec Record, ok bool) {
	switch a.rest[0] {
	case recordPut:
	case recordGone:
		rec.Gone = true
	default:
		return rec, false
	}
	a.rest = a.rest[1:]
	if rec.Key, ok = a.bytes(); !ok || rec.Gone {
		return rec, ok
	}
	rec.Value, ok = a.bytes()
	return rec, ok
}

func (a *Reader) bytes() ([]byte, bool) {
	n, width := binary.Uvarint(a.rest)
	if width <= 0 || n > uint64(len(a.rest)-width) {
		return nil, false
	}
	b := a.rest[width : width+int(n) : width+int(n)]
	a.rest = a.rest[width+int(n):]
	return b, true
}

func (a *Reader) damaged(what string) error {
	return fmt.Errorf("%w: %s, by byte %d", ErrDamaged, what, a.offset)
}
