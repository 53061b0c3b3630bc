package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
	"github.com/mimosadb/mimosa/engine/storage"
)

// What a mutation with a RequestID gave is recorded in its own transaction, under (session, request), so that a resend finds
// it. A transaction sees one record a key. In the store the records that one group holds of one session share a row, under
// the highest of their requests, since rows are what a commit pays for; a lookup is a scan for the first row at or above.

// requestRecord is what is kept of one mutation.
type requestRecord struct {
	Hash   []byte          `json:"h"`           // of function and canonical arguments
	Caller string          `json:"c,omitempty"` // the principal's key
	Value  json.RawMessage `json:"v"`
	Log    []string        `json:"l,omitempty"`
}

// requestRow is what a store holds of one session and group.
type requestRow struct {
	Requests []uint64        `json:"r"`
	Records  []requestRecord `json:"d"`
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
// enters the read set: of two sends that race, the second is run again and finds the first.
func (t *txn) lookupRequest(r RequestID) (*requestRecord, storage.Timestamp, error) {
	key := requestKey(r)
	t.reads.AddPoint([]byte(key))
	if e, ok := t.view.Get(key); ok && !e.deleted {
		rec := new(requestRecord)
		return rec, 0, json.Unmarshal(e.value, rec)
	}
	prefix := sessionPrefix(r.Session)
	hi := append(prefix[:len(prefix)-1:len(prefix)-1], 1)
	for kv, err := range t.snap.Scan([]byte(key), hi, false, 1) {
		if err != nil {
			return nil, 0, err
		}
		var row requestRow
		if err := json.Unmarshal(kv.Value, &row); err != nil || len(row.Requests) != len(row.Records) {
			return nil, 0, fmt.Errorf("engine: %w: session record", storage.ErrCorrupt)
		}
		for i, n := range row.Requests {
			if n == r.Request {
				return &row.Records[i], kv.Written, nil
			}
		}
	}
	return nil, 0, nil
}

// recordRequest adds the record of a mutation to its transaction.
func (t *txn) recordRequest(r RequestID, rec requestRecord) error {
	raw, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	key := requestKey(r)
	t.set(key, raw, false)
	t.touched = append(t.touched, key)
	return nil
}

// requestRows gathers the records of a group by session.
type requestRows struct {
	rows  map[string]*requestRow
	order []string
	bad   error
}

func newRequestRows() *requestRows { return &requestRows{rows: map[string]*requestRow{}} }

func (r *requestRows) add(w storage.Write) {
	cut := len(w.Key) - 8
	prefix := string(w.Key[:cut])
	row := r.rows[prefix]
	if row == nil {
		row = &requestRow{}
		r.rows[prefix] = row
		r.order = append(r.order, prefix)
	}
	row.Requests = append(row.Requests, binary.BigEndian.Uint64(w.Key[cut:]))
	row.Records = append(row.Records, requestRecord{})
	if err := json.Unmarshal(w.Value, &row.Records[len(row.Records)-1]); err != nil {
		r.bad = err
	}
}

func (r *requestRows) writes() []storage.Write {
	var out []storage.Write
	for _, prefix := range r.order {
		row := r.rows[prefix]
		var high uint64
		for _, n := range row.Requests {
			high = max(high, n)
		}
		raw, err := json.Marshal(row)
		if err != nil {
			continue // records were made by json.Marshal, so they cannot fail here
		}
		out = append(out, storage.Write{Key: binary.BigEndian.AppendUint64([]byte(prefix), high), Value: raw})
	}
	return out
}
