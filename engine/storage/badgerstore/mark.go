package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/mimosadb/mimosa/engine/storage"
)

// mark is the side file that remembers the newest durable timestamp outside Badger. Badger replays a damaged write-ahead log
// up to the damage and drops the rest without a word; the mark tells that something is missing from the end.
//
// It is written after each durable write and never synced: it may lag behind after a power failure, which only makes the
// check weaker, but never runs ahead. Two slots are written in turn, so that a torn write leaves the other one.
type mark struct {
	f    *os.File
	next int64 // the slot to write: 0 or 1
}

// A slot is a timestamp and the CRC-32C of slot number and timestamp, and has a disk sector to itself.
const (
	markSlotSize   = 8 + crc32.Size
	markSlotStride = 512
)

// openMark opens the side file and returns what it remembers; zero when it is new or no slot is whole.
func openMark(path string) (*mark, storage.Timestamp, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("badgerstore: open %s: %w", path, err)
	}
	m := &mark{f: f}
	var newest storage.Timestamp
	for slot := range int64(2) {
		var b [markSlotSize]byte
		if _, err := f.ReadAt(b[:], slot*markSlotStride); err != nil {
			if errors.Is(err, io.EOF) {
				continue // never written
			}
			return nil, 0, errors.Join(fmt.Errorf("badgerstore: read %s: %w", path, err), f.Close())
		}
		ts := storage.Timestamp(binary.BigEndian.Uint64(b[:]))
		if b == markSlot(slot, ts) && ts >= newest {
			newest, m.next = ts, 1-slot
		}
	}
	return m, newest, nil
}

func markSlot(slot int64, ts storage.Timestamp) (b [markSlotSize]byte) {
	binary.BigEndian.PutUint64(b[:], uint64(ts))
	sum := crc32.Update(crc32.Update(0, castagnoli, []byte{byte(slot)}), castagnoli, b[:8])
	binary.BigEndian.PutUint32(b[8:], sum)
	return b
}

// write remembers ts, which must be durable.
func (m *mark) write(ts storage.Timestamp) error {
	b := markSlot(m.next, ts)
	if _, err := m.f.WriteAt(b[:], m.next*markSlotStride); err != nil {
		return err
	}
	m.next = 1 - m.next
	return nil
}

func (m *mark) close() error { return m.f.Close() }
