package badgerstore_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// FuzzRow stores a row and reads it back, and makes sure that a change of any bit of the value, another key and another
// timestamp are all found out.
func FuzzRow(f *testing.F) {
	f.Add([]byte("key"), uint64(1), []byte("payload"), uint(0))
	f.Add([]byte{}, uint64(0), []byte{}, uint(3))
	f.Add([]byte{0xff}, uint64(1<<63), bytes.Repeat([]byte{0}, 100), uint(40))
	f.Fuzz(func(t *testing.T, key []byte, stamp uint64, payload []byte, flip uint) {
		ts := storage.Timestamp(stamp)
		k, v := badgerstore.Wrap('d', key, ts, payload)
		if k[0] != 'd' || !bytes.Equal(k[1:], key) {
			t.Fatalf("stored key %q of %q", k, key)
		}
		if got, err := badgerstore.Unwrap(k, ts, v); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("read back %q, %v, want %q", got, err, payload)
		}
		wrong := func(what string, k []byte, ts storage.Timestamp, v []byte) {
			t.Helper()
			if got, err := badgerstore.Unwrap(k, ts, v); !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("%s: %q, %v, want ErrCorrupt", what, got, err)
			}
		}
		wrong("another timestamp", k, ts^1<<(flip%64), v)
		other := bytes.Clone(k)
		other[flip%uint(len(k))] ^= 1 << (flip % 8)
		wrong("another key", other, ts, v)
		damaged := bytes.Clone(v)
		damaged[flip%uint(len(v))] ^= 1 << (flip % 7)
		wrong("a flipped bit", k, ts, damaged)
		wrong("a cut value", k, ts, v[:flip%uint(len(v))])
	})
}

// FuzzParse gives the parsers of the log bytes that a checksum has not looked at.
func FuzzParse(f *testing.F) {
	f.Add([]byte("l\x00\x00\x00\x00\x00\x00\x00\x01\x00"), bytes.Repeat([]byte{1}, 33))
	f.Add([]byte("l"), []byte{})
	f.Fuzz(func(t *testing.T, key, payload []byte) {
		if err := badgerstore.ParseLog(key, payload); err != nil && !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("%v, want ErrCorrupt", err)
		}
	})
}
