package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// What a database says of itself stands in the keyspace m, in rows of JSON:
//
//	m c              the catalog: the format, and of each collection the schema that its documents satisfy
//	m i + index tag  an index that there may be entries of, and whether it may be read; see indexRow
//	m p + index tag  how far building or dropping it has come; see indexProgress
//	m m + name       a migration; see migrationRow
//
// An index is its row, and not its mention in the program, so that one that is not whole is never taken for one that is:
// a row is there before the first entry, and goes after the last.

// formatVersion is the version of the engine's own layout: keys, documents, catalog and log records. Format 1 kept the indexes
// in the catalog, without a state; it is read, and written anew by Open.
const formatVersion = 2

// ErrNewerFormat says that a database was written by a newer version of Mimosa.
var ErrNewerFormat = errors.New("engine: the database was written by a newer version")

// catalog is what the database knows of the program that used it last.
type catalog struct {
	Format      int                       `json:"format"`
	Collections map[string]*catalogedType `json:"collections"`
}

type catalogedType struct {
	// Schema is the hash of the JSON Schema that all documents satisfy; empty when some are known not to.
	Schema string `json:"schema"`
	// Of format 1 alone: the indexes that are complete, and those of which there may be entries nevertheless.
	Indexes    []string `json:"indexes,omitempty"`
	Unfinished []string `json:"unfinished,omitempty"`
}

// indexRow is the state of one index. It is touched when that changes, and is read by whoever meets an index that is not
// known to be ready, so that live queries that failed are run again when it is.
type indexRow struct {
	Spec       string       `json:"spec"`
	State      IndexState   `json:"state"`
	Faults     []IndexFault `json:"faults,omitempty"`
	FaultCount int          `json:"faultCount,omitempty"`
}

func (r *indexRow) collection() string { name, _, _ := strings.Cut(r.Spec, "/"); return name }

func (r *indexRow) name() string {
	parts := strings.SplitN(r.Spec, "/", 3)
	return parts[min(1, len(parts)-1)]
}

// indexDropping is the state of an index that the program does not declare any more.
const indexDropping IndexState = "dropping"

// Phases of building an index, and dropping it.
const (
	phaseSweep  = "sweep"  // remove the entries that do not match their document
	phaseFill   = "fill"   // write those that are missing
	phaseVerify = "verify" // look for values that stand twice in a unique index
	phaseDrop   = "drop"   // remove all entries
)

// indexProgress says how far building or dropping an index has come. A row that is missing is the beginning.
type indexProgress struct {
	Phase     string `json:"phase"`
	After     []byte `json:"after,omitempty"` // the last key of the phase that is done: an entry, or a document
	Documents int64  `json:"documents"`       // filled in
	Total     int64  `json:"total"`           // as counted when the phase began
	// What cannot be indexed, found so far.
	Faults     []IndexFault `json:"faults,omitempty"`
	FaultCount int          `json:"faultCount,omitempty"`
}

// migrationRow is the record of a migration. It stays when the program does not register it any more.
type migrationRow struct {
	Collection string    `json:"collection"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished,omitzero"`
	Documents  int64     `json:"documents"`
	After      []byte    `json:"after,omitempty"` // the last document that is done
	Last       []byte    `json:"last,omitempty"`  // the last one to do: later ones were made as they should be
}

var catalogKey = []byte{spaceMeta, 'c'}

const (
	metaIndex     = 'i'
	metaProgress  = 'p'
	metaMigration = 'm'
)

func indexRowKey(tag [tagBytes]byte) string {
	return string(append([]byte{spaceMeta, metaIndex}, tag[:]...))
}

func progressKey(tag [tagBytes]byte) string {
	return string(append([]byte{spaceMeta, metaProgress}, tag[:]...))
}

func migrationKey(name string) string { return string([]byte{spaceMeta, metaMigration}) + name }

// known is all of that, as of one snapshot.
type known struct {
	catalog    *catalog
	fresh      bool // there is no catalog: a new database
	indexes    map[[tagBytes]byte]*indexRow
	progress   map[[tagBytes]byte]*indexProgress
	migrations map[string]*migrationRow
	upgraded   bool     // read from format 1
	stale      [][]byte // rows that a format 1 database should not have
	problems   []error  // rows that do not decode
}

// readKnown reads it. Rows that do not decode are problems, and only an error of the store or a newer format ends it.
func readKnown(snap storage.Snapshot) (*known, error) {
	k := newKnown()
	if kv, ok, err := snap.Get(catalogKey); err != nil {
		return nil, err
	} else if ok {
		if err := k.addCatalog(kv.Value); err != nil {
			return nil, err
		}
	}
	for kv, err := range snap.Scan([]byte{spaceMeta, metaIndex}, []byte{spaceMeta, metaProgress + 1}, false, 0) {
		if err != nil {
			return nil, err
		}
		k.add(kv)
	}
	k.upgrade()
	return k, nil
}

func newKnown() *known {
	return &known{
		catalog: &catalog{Format: formatVersion, Collections: map[string]*catalogedType{}}, fresh: true,
		indexes: map[[tagBytes]byte]*indexRow{}, progress: map[[tagBytes]byte]*indexProgress{}, migrations: map[string]*migrationRow{},
	}
}

// addCatalog takes in the catalog, before any other row. The error is that of a newer format, of which nothing else is known.
func (k *known) addCatalog(raw []byte) error {
	k.fresh = false
	var format struct{ Format int }
	if err := json.Unmarshal(raw, &format); err != nil {
		k.problem("catalog", err)
		return nil
	}
	if format.Format > formatVersion {
		return fmt.Errorf("%w: format %d, this one knows %d", ErrNewerFormat, format.Format, formatVersion)
	}
	if err := json.Unmarshal(raw, k.catalog); err != nil {
		k.problem("catalog", err)
		return nil
	}
	if k.catalog.Collections == nil {
		k.catalog.Collections = map[string]*catalogedType{}
	}
	for name, c := range k.catalog.Collections {
		if c == nil {
			k.problem("catalog: collection "+name, errors.New("is null"))
			delete(k.catalog.Collections, name)
		}
	}
	return nil
}

func (k *known) problem(what string, err error) {
	k.problems = append(k.problems, fmt.Errorf("engine: %w: %s: %w", storage.ErrCorrupt, what, err))
}

// add takes in one row.
func (k *known) add(kv storage.KV) {
	rest := kv.Key[2:]
	var tag [tagBytes]byte
	if kv.Key[1] == metaIndex || kv.Key[1] == metaProgress {
		if len(rest) != tagBytes {
			k.problem(fmt.Sprintf("row %q", kv.Key), errors.New("has a malformed key"))
			return
		}
		tag = [tagBytes]byte(rest)
		if k.catalog.Format == 1 {
			k.stale = append(k.stale, kv.Key)
			return
		}
	}
	switch kv.Key[1] {
	case metaIndex:
		row, err := decodeIndexRow(tag, kv.Value)
		if err != nil {
			k.problem(fmt.Sprintf("index %x", tag), err)
			return
		}
		k.indexes[tag] = row
	case metaProgress:
		p, err := decodeProgress(kv.Value)
		if err != nil {
			k.problem(fmt.Sprintf("progress of index %x", tag), err)
			return
		}
		k.progress[tag] = p
	case metaMigration:
		m := new(migrationRow)
		if err := json.Unmarshal(kv.Value, m); err != nil {
			k.problem(fmt.Sprintf("migration %q", rest), err)
			return
		}
		k.migrations[string(rest)] = m
	}
}

func decodeIndexRow(tag [tagBytes]byte, raw []byte) (*indexRow, error) {
	row := new(indexRow)
	if err := json.Unmarshal(raw, row); err != nil {
		return nil, err
	}
	if nameTag(row.Spec) != tag {
		return nil, fmt.Errorf("is that of %q, which belongs elsewhere", row.Spec)
	}
	switch row.State {
	case IndexReady, IndexBuilding, IndexFailed, indexDropping:
		return row, nil
	}
	return nil, fmt.Errorf("unknown state %q", row.State)
}

func decodeProgress(raw []byte) (*indexProgress, error) {
	p := new(indexProgress)
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, err
	}
	switch p.Phase {
	case phaseSweep, phaseFill, phaseVerify, phaseDrop:
		return p, nil
	}
	return nil, fmt.Errorf("unknown phase %q", p.Phase)
}

// upgrade makes rows of what format 1 says. Its unfinished indexes have entries that nobody can trust.
func (k *known) upgrade() {
	if k.fresh || k.catalog.Format >= formatVersion {
		return
	}
	k.upgraded = true
	for _, c := range k.catalog.Collections {
		for _, spec := range c.Unfinished {
			k.indexes[nameTag(spec)] = &indexRow{Spec: spec, State: indexDropping}
		}
		for _, spec := range c.Indexes {
			k.indexes[nameTag(spec)] = &indexRow{Spec: spec, State: IndexReady}
		}
		c.Indexes, c.Unfinished = nil, nil
	}
	k.catalog.Format = formatVersion
}

// jsonRow makes a row. What it is given always encodes.
func jsonRow(key string, v any) storage.Write {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("engine: a row that does not encode: " + err.Error())
	}
	return storage.Write{Key: []byte(key), Value: raw}
}

// setJSON stores a row in a transaction.
func (t *txn) setJSON(key string, v any) { t.set(key, jsonRow(key, v).Value, false) }

// getJSON reads a row into v and records that it was read; false when there is none.
func (t *txn) getJSON(key string, v any) (bool, error) {
	raw, ok, err := t.get(key)
	if err != nil || !ok {
		return false, err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, fmt.Errorf("engine: %w: row %q: %w", storage.ErrCorrupt, key, err)
	}
	return true, nil
}
