package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
)

// Writer writes one file. It is used by one goroutine. After an error the file is of no use, and every call returns it again.
type Writer struct {
	w       io.Writer
	digest  hash.Hash
	frames  uint64
	records int64
	bytes   int64
	payload []byte
	err     error
}

// NewWriter begins a file. It is whole when Close has returned without an error.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	a := &Writer{w: w, digest: sha256.New()}
	h.Format = Format
	a.write([]byte(Magic))
	return a, a.encode(kindHeader, h)
}

// Put adds a row.
func (a *Writer) Put(key, value []byte) error {
	if len(key)+len(value) > maxRecord {
		return a.fail(fmt.Errorf("archive: a record of %d bytes is too large", len(key)+len(value)))
	}
	a.payload = append(a.payload, recordPut)
	a.payload = binary.AppendUvarint(a.payload, uint64(len(key)))
	a.payload = append(a.payload, key...)
	a.payload = binary.AppendUvarint(a.payload, uint64(len(value)))
	a.payload = append(a.payload, value...)
	return a.added()
}

// Gone says that what older files hold of a unit does not count any more. Rows of the unit may follow.
func (a *Writer) Gone(key []byte) error {
	if len(key) > maxRecord {
		return a.fail(fmt.Errorf("archive: a record of %d bytes is too large", len(key)))
	}
	a.payload = append(a.payload, recordGone)
	a.payload = binary.AppendUvarint(a.payload, uint64(len(key)))
	a.payload = append(a.payload, key...)
	return a.added()
}

func (a *Writer) added() error {
	a.records++
	if len(a.payload) >= frameTarget {
		return a.flush()
	}
	return a.err
}

// Flush writes out what is gathered.
func (a *Writer) flush() error {
	if len(a.payload) > 0 {
		a.frame(kindRecords, a.payload)
		a.payload = a.payload[:0]
	}
	return a.err
}

// Close writes the trailer. It does not close the writer below, and syncs nothing.
func (a *Writer) Close() (Trailer, error) {
	if err := a.flush(); err != nil {
		return Trailer{}, err
	}
	t := Trailer{Records: a.records, SHA256: hex.EncodeToString(a.digest.Sum(nil))}
	if err := a.encode(kindTrailer, t); err != nil {
		return Trailer{}, err
	}
	a.err = fmt.Errorf("archive: written to after Close")
	return t, nil
}

// Bytes returns how much has been written.
func (a *Writer) Bytes() int64 { return a.bytes }

func (a *Writer) encode(kind byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return a.fail(err)
	}
	a.frame(kind, raw)
	return a.err
}

func (a *Writer) frame(kind byte, payload []byte) {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	sum := checksum(a.frames, head, payload)
	a.frames++
	a.write(head)
	a.write(payload)
	a.write(binary.BigEndian.AppendUint32(nil, sum))
}

func (a *Writer) write(b []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(b)
	a.bytes += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	a.err = err
	a.digest.Write(b)
}

func (a *Writer) fail(err error) error {
	if a.err == nil {
		a.err = err
	}
	return a.err
}
