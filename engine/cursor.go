package engine

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/mimosadb/mimosa/engine/storage"
)

// binding names the range that cursors of a query belong to: the index as it is defined, and the bounds.
func (q *query) binding() []byte {
	spec := ""
	if q.x != nil {
		spec = q.x.spec
	}
	b := []byte("cursor")
	for _, part := range [][]byte{[]byte(q.coll.name), []byte(spec), q.lo, q.hi} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// How a place in a range is written. The ends have names of their own, so that a cursor that stands there does not grow with
// the bounds.
const (
	placeLow  = iota // before the first key
	placeHigh        // behind the last
	placeKey         // before the key that follows, without what all keys of the range have in common
)

// encode writes a place within the range.
func (q *query) encode(place []byte) []byte {
	switch {
	case bytes.Equal(place, q.lo):
		return []byte{placeLow}
	case bytes.Equal(place, q.hi):
		return []byte{placeHigh}
	}
	return append([]byte{placeKey}, place[commonPrefix(q.lo, q.hi):]...)
}

func (q *query) decode(enc []byte) (place []byte, ok bool) {
	switch {
	case len(enc) == 1 && enc[0] == placeLow:
		return q.lo, true
	case len(enc) == 1 && enc[0] == placeHigh:
		return q.hi, true
	case len(enc) == 0 || enc[0] != placeKey:
		return nil, false
	}
	place = append(bytes.Clone(q.lo[:commonPrefix(q.lo, q.hi)]), enc[1:]...)
	return place, bytes.Compare(place, q.lo) >= 0 && (q.hi == nil || bytes.Compare(place, q.hi) <= 0)
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func (r *pageRead) cursor(place []byte) string {
	return r.q.t.db.seal.close(r.binding, r.q.encode(place))
}

func (r *pageRead) open(cursor string) ([]byte, error) {
	enc, ok := r.q.t.db.seal.open(r.binding, cursor)
	if ok {
		if place, ok := r.q.decode(enc); ok {
			return place, nil
		}
	}
	return nil, invalidCursor("the cursor does not belong to this list; begin at the first page")
}

// seal encrypts what clients keep for the database and must neither read nor make up. Equal texts give equal results, since
// results of queries are compared to see whether they have changed: the nonce is a keyed hash of the text.
type seal struct {
	aead  cipher.AEAD
	nonce []byte // the key of the hash
}

const (
	sealKeyBytes = 32
	// sealBlock is to what texts are filled up, so that their length says little.
	sealBlock = 32
)

func newSeal(key []byte) (*seal, error) {
	derive := func(use string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(use))
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derive("mimosa cursor encryption"))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &seal{aead: aead, nonce: derive("mimosa cursor nonce")}, err
}

var sealText = base64.RawURLEncoding.Strict()

// close encrypts a text for one binding.
func (s *seal) close(binding, text []byte) string {
	text = append(bytes.Clone(text), 0x80)
	text = append(text, make([]byte, (sealBlock-len(text)%sealBlock)%sealBlock)...)
	h := hmac.New(sha256.New, s.nonce)
	writeSized(h, binding)
	h.Write(text)
	nonce := h.Sum(nil)[:s.aead.NonceSize()]
	return sealText.EncodeToString(s.aead.Seal(nonce, nonce, text, binding))
}

// open gives the text back, if it was closed by this database for the same binding.
func (s *seal) open(binding []byte, sealed string) ([]byte, bool) {
	raw, err := sealText.DecodeString(sealed)
	if err != nil || len(raw) < s.aead.NonceSize() {
		return nil, false
	}
	n := s.aead.NonceSize()
	text, err := s.aead.Open(nil, raw[:n:n], raw[n:], binding)
	if err != nil {
		return nil, false
	}
	text = bytes.TrimRight(text, "\x00")
	return bytes.TrimSuffix(text, []byte{0x80}), true
}

func writeSized(h hash.Hash, b []byte) {
	h.Write(binary.AppendUvarint(nil, uint64(len(b))))
	h.Write(b)
}

// sealKey is where the key stands: a version byte and the key.
var sealKey = []byte{spaceMeta, 'k'}

const sealVersion = 1

// openSeal reads the database's key, and makes one where there is none. It is kept with the data, so that cursors survive a
// restart and a restore, and it is not made from Options.Seed, which others may know.
func (db *DB) openSeal(ctx context.Context) error {
	head, err := db.store.Head(ctx)
	if err != nil {
		return err
	}
	snap, err := db.store.At(ctx, head)
	if err != nil {
		return err
	}
	defer snap.Close()
	kv, ok, err := snap.Get(sealKey)
	if err != nil {
		return err
	}
	row := kv.Value
	if !ok {
		row = append([]byte{sealVersion}, make([]byte, sealKeyBytes)...)
		if _, err := crand.Read(row[1:]); err != nil {
			return err
		}
		if err := db.commitRaw(ctx, []storage.Write{{Key: sealKey, Value: row}}); err != nil {
			return err
		}
	}
	if len(row) != 1+sealKeyBytes || row[0] != sealVersion {
		return fmt.Errorf("engine: %w: the key of cursors", storage.ErrCorrupt)
	}
	db.seal, err = newSeal(row[1:])
	return err
}
