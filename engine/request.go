package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
	"github.com/mimosadb/mimosa/engine/storage"
)

// What a mutation with a RequestID gave is recorded in its own transaction, under (session, request), so that a resend finds
// it. A transaction sees one record a key. In the store the records that one group holds of one session share rows, since rows
// are what a commit pays for: a row holds requests that follow one another without a gap, and stands under the highest.
//
// A lookup is a scan for the first row at or above the request. That finds it whatever was committed in which order: were
// there a row in between, its request would be one of those that the right row holds, and no request is recorded twice.

// requestRecord is what is kept of one mutation.
type requestRecord struct {
	Hash   []byte // of function and canonical arguments
	Caller string // the principal's key
	Value  json.RawMessage
	Log    []string
}

// recordVersion and rowVersion begin the encodings of a record and of a row.
//
//	record  version, 1 | hash | caller | number of log lines | each log line | value, to the end
//	row     version, 1 | of each record: request, record
//
// Numbers are unsigned varints, and whatever has no end of its own is preceded by its length.
const (
	recordVersion = 1
	rowVersion    = 1

	// rowOverhead is the most that a record takes in a row beside itself.
	rowOverhead = 1 + binary.MaxVarintLen64 + binary.MaxVarintLen32
	// maxRecordBytes is what a store takes in one value.
	maxRecordBytes = storage.MaxValue - rowOverhead
)

func (r *requestRecord) encode() []byte {
	b := []byte{recordVersion}
	b = appendBytes(b, r.Hash)
	b = appendBytes(b, []byte(r.Caller))
	b = binary.AppendUvarint(b, uint64(len(r.Log)))
	for _, l := range r.Log {
		b = appendBytes(b, []byte(l))
	}
	return append(b, r.Value...)
}

func decodeRecord(b []byte) (*requestRecord, error) {
	d := rowReader{b: b}
	if d.byte() != recordVersion {
		return nil, errSessionRow
	}
	r := &requestRecord{Hash: d.bytes(), Caller: string(d.bytes())}
	for range d.number() {
		if d.bad {
			break
		}
		r.Log = append(r.Log, string(d.bytes()))
	}
	r.Value = d.b
	if d.bad {
		return nil, errSessionRow
	}
	return r, nil
}

var errSessionRow = fmt.Errorf("engine: %w: session record", storage.ErrCorrupt)

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// rowReader takes a row apart. Once it is bad, it gives zeros.
type rowReader struct {
	b   []byte
	bad bool
}

func (d *rowReader) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *rowReader) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *rowReader) bytes() []byte {
	n := d.number()
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func callHash(c Call) ([]byte, error) {
	args := c.Args
	if len(args) == 0 {
		args = []byte("{}")
	}
	canonical, err := doctype.Canonical(args)
	if err != nil {
		return nil, &Error{Code: CodeInvalid, Message: "invalid arguments for " + c.Function, Issues: []Issue{{Rule: "json", Message: "is not valid JSON"}}}
	}
	h := sha256.New()
	h.Write([]byte(c.Function))
	h.Write([]byte{0})
	h.Write(canonical)
	return h.Sum(nil)[:16], nil
}

func callerKey(p Principal) string {
	if p == nil {
		return ""
	}
	return p.Key()
}

// lookupRequest finds the record of a request and the timestamp of its group, zero when it is not durable yet. The point
// enters the read set: of two sends that race, the second is run again and finds the first. It fails with errForgotten where
// there may have been a record that was pruned. A row is found as long as the snapshot has it, even if it is going to be.
func (t *txn) lookupRequest(r RequestID) (*requestRecord, storage.Timestamp, error) {
	key := requestKey(r)
	t.reads.AddPoint([]byte(key))
	if v, ok := t.base.get(key); ok && !v.Deleted && v.Seq > t.base.stable {
		rec, err := decodeRecord(v.Value)
		return rec, 0, err
	}
	prefix := sessionPrefix(r.Session)
	for kv, err := range t.snap.Scan([]byte(key), sessionEnd(prefix), false, 1) {
		if err != nil {
			return nil, 0, err
		}
		row := rowReader{b: kv.Value}
		if row.byte() != rowVersion {
			return nil, 0, errSessionRow
		}
		for len(row.b) > 0 && !row.bad {
			n, record := row.number(), row.bytes()
			if n == r.Request && !row.bad {
				rec, err := decodeRecord(record)
				return rec, kv.Written, err
			}
		}
		if row.bad {
			return nil, 0, errSessionRow
		}
	}
	mark, marked, err := t.watermark(prefix)
	if err == nil && marked && r.Request <= mark {
		err = errForgotten
	}
	return nil, 0, err
}

// recordRequest adds the record of a mutation to its transaction.
func (t *txn) recordRequest(r RequestID, rec requestRecord) error {
	raw := rec.encode()
	if len(raw) > maxRecordBytes {
		return &LimitError{"ResultBytes", maxRecordBytes}
	}
	key := requestKey(r)
	t.set(key, raw, false)
	t.touched = append(t.touched, key)
	return nil
}

// requestRows gathers the records of a group by session.
type requestRows struct {
	rows  map[string][]storage.Write
	order []string
}

func newRequestRows() *requestRows { return &requestRows{rows: map[string][]storage.Write{}} }

func (r *requestRows) add(w storage.Write) {
	prefix := string(w.Key[:len(w.Key)-8])
	if r.rows[prefix] == nil {
		r.order = append(r.order, prefix)
	}
	r.rows[prefix] = append(r.rows[prefix], w)
}

func (r *requestRows) writes() []storage.Write {
	var out []storage.Write
	for _, prefix := range r.order {
		records := r.rows[prefix]
		slices.SortFunc(records, func(a, b storage.Write) int { return bytes.Compare(a.Key, b.Key) })
		var row storage.Write
		var high uint64
		for _, w := range records {
			n := binary.BigEndian.Uint64(w.Key[len(prefix):])
			if row.Key != nil && (n != high+1 || len(row.Value)+rowOverhead+len(w.Value) > storage.MaxValue) {
				out = append(out, row)
				row = storage.Write{}
			}
			if row.Key == nil {
				row.Value = []byte{rowVersion}
			}
			row.Key, high = w.Key, n
			row.Value = appendBytes(binary.AppendUvarint(row.Value, n), w.Value)
		}
		out = append(out, row)
	}
	return out
}
