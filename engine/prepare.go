package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
	"github.com/mimosadb/mimosa/engine/storage"
)

// formatVersion is the version of the engine's own layout: keys, documents, catalog and log records.
const formatVersion = 1

// ErrNewerFormat says that a database was written by a newer version of Mimosa.
var ErrNewerFormat = errors.New("engine: the database was written by a newer version")

// catalog is what the database knows of the program that used it last. It is one row of JSON.
type catalog struct {
	Format      int                        `json:"format"`
	Collections map[string]*catalogedEntry `json:"collections"`
}

type catalogedEntry struct {
	// Schema is the hash of the JSON Schema that all documents satisfy; empty when some are known not to.
	Schema string `json:"schema"`
	// Indexes are those that are complete, Unfinished those of which there may be entries nevertheless.
	Indexes    []string `json:"indexes"`
	Unfinished []string `json:"unfinished,omitempty"`
}

var catalogKey = []byte{spaceMeta, 'c'}

// prepare brings the database in line with the schema, before anybody uses it.
func (db *DB) prepare(ctx context.Context) error {
	head, err := db.store.Head(ctx)
	if err != nil {
		return err
	}
	snap, err := db.store.At(ctx, head)
	if err != nil {
		return err
	}
	defer snap.Close()
	known := &catalog{Format: formatVersion, Collections: map[string]*catalogedEntry{}}
	kv, ok, err := snap.Get(catalogKey)
	if err != nil {
		return err
	}
	if ok {
		if err := json.Unmarshal(kv.Value, known); err != nil {
			return fmt.Errorf("engine: %w: catalog: %w", storage.ErrCorrupt, err)
		}
		if known.Format > formatVersion {
			return fmt.Errorf("%w: format %d, this one knows %d", ErrNewerFormat, known.Format, formatVersion)
		}
	}
	// First look at everything, and write nothing where something is refused: the program that the database belongs to must
	// find it as it was.
	var plans []*plan
	var refusals []error
	for _, c := range db.schema.collections {
		p, err := db.plan(snap, c, known.Collections[c.name])
		if err != nil {
			refusals = append(refusals, err)
			continue
		}
		plans = append(plans, p)
	}
	if len(refusals) > 0 {
		return errors.Join(refusals...)
	}
	changed, work := !ok, false
	for _, p := range plans {
		changed = changed || p.changed
		work = work || len(p.drop)+len(p.build) > 0
		known.Collections[p.coll.name] = p.during
	}
	if !changed {
		return nil
	}
	// An index is off the catalog before its first entry goes, and on it after its last has come: wherever this is cut
	// short, nobody trusts one that is not whole, and what is left of it is not forgotten.
	if work && ok {
		if err := db.writeCatalog(ctx, known); err != nil {
			return err
		}
	}
	for _, p := range plans {
		if err := db.carryOut(ctx, snap, p); err != nil {
			refusals = append(refusals, err)
		}
		known.Collections[p.coll.name] = p.after
	}
	if len(refusals) > 0 {
		return errors.Join(refusals...)
	}
	return db.writeCatalog(ctx, known)
}

func (db *DB) writeCatalog(ctx context.Context, c *catalog) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return db.commitRaw(ctx, []storage.Write{{Key: catalogKey, Value: raw}})
}

func schemaHash(c *collection) string {
	h := sha256.Sum256(c.typ.JSONSchema())
	return hex.EncodeToString(h[:16])
}

// plan is what has to be done to one collection.
type plan struct {
	coll          *collection
	changed       bool
	drop          []string // specs of indexes whose entries have to go
	build         []*index
	during, after *catalogedEntry
}

// plan finds out what has to be done to a collection. The error is that of documents that break a schema that has changed.
func (db *DB) plan(snap storage.Snapshot, c *collection, was *catalogedEntry) (*plan, error) {
	if was == nil {
		was = &catalogedEntry{}
	}
	p := &plan{coll: c, during: &catalogedEntry{Schema: was.Schema}, after: &catalogedEntry{Schema: schemaHash(c)}}
	retyped := was.Schema != p.after.Schema
	if retyped {
		if err := refuseInvalid(snap, c); err != nil {
			if !db.options.AllowInvalid {
				return nil, err
			}
			db.logger.Warn("opened with documents that break their schema", "collection", c.name, "error", err)
			p.after.Schema = "" // the next Open looks again
		}
	}
	p.changed = was.Schema != p.after.Schema
	for _, x := range c.indexes {
		p.after.Indexes = append(p.after.Indexes, x.spec)
		// A changed Go type may encode the same values differently, so the entries are looked at before they are trusted.
		if slices.Contains(was.Indexes, x.spec) && (!retyped || len(indexFaults(snap, x, 1)) == 0) {
			p.during.Indexes = append(p.during.Indexes, x.spec)
			continue
		}
		p.build = append(p.build, x)
		p.during.Unfinished = append(p.during.Unfinished, x.spec)
	}
	for _, spec := range slices.Concat(was.Indexes, was.Unfinished) {
		if !slices.Contains(p.after.Indexes, spec) {
			p.drop = append(p.drop, spec)
			p.during.Unfinished = append(p.during.Unfinished, spec)
		}
	}
	p.changed = p.changed || len(p.drop)+len(p.build) > 0
	return p, nil
}

// carryOut does it.
func (db *DB) carryOut(ctx context.Context, snap storage.Snapshot, p *plan) error {
	for _, spec := range p.drop {
		lo, hi := indexRange(nameTag(spec))
		if err := db.clear(ctx, snap, lo, hi); err != nil {
			return err
		}
	}
	for _, x := range p.build {
		if err := db.build(ctx, snap, x); err != nil {
			return err
		}
	}
	return nil
}

// refuseInvalid reports the first documents that the collection's schema does not allow.
func refuseInvalid(snap storage.Snapshot, c *collection) error {
	const most = 10
	var errs []error
	lo, hi := documentRange(c.tag)
	for kv, err := range snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return err
		}
		id, _, err := systemFields(kv.Value)
		if err != nil {
			return err
		}
		if issues := c.typ.Validate(kv.Value, doctype.ValidateOptions{AllowUnknown: true, Doc: true}); len(issues) > 0 {
			errs = append(errs, fmt.Errorf("engine: document %s: %w", id, invalid("does not satisfy the schema of "+c.name, issues)))
			if len(errs) == most {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// build writes all entries of an index, in batches. It is not recorded as built before it is, so a crash on the way only
// means that it is built again.
func (db *DB) build(ctx context.Context, snap storage.Snapshot, x *index) error {
	ilo, ihi := indexRange(x.tag)
	if err := db.clear(ctx, snap, ilo, ihi); err != nil {
		return err
	}
	seen := map[string]string{} // unique indexes: components → id
	batch := db.newBatch(ctx)
	lo, hi := documentRange(x.coll.tag)
	for kv, err := range snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return err
		}
		var id rawID
		copy(id[:], kv.Key[1:])
		key, complete, err := x.key(id, kv.Value)
		if err != nil {
			return err
		}
		if x.unique && complete {
			components := key[:len(key)-(idBytes-tagBytes)]
			if other, ok := seen[components]; ok {
				return fmt.Errorf("engine: unique index %s of %s cannot be built: documents %s and %s have the same values",
					x.name, x.coll.name, other, id)
			}
			seen[components] = id.String()
		}
		if err := batch.add(storage.Write{Key: []byte(key)}); err != nil {
			return err
		}
	}
	return batch.flush()
}

// clear deletes a range, in batches.
func (db *DB) clear(ctx context.Context, snap storage.Snapshot, lo, hi []byte) error {
	batch := db.newBatch(ctx)
	for kv, err := range snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return err
		}
		if err := batch.add(storage.Write{Key: kv.Key, Delete: true}); err != nil {
			return err
		}
	}
	return batch.flush()
}

// batch writes many rows that need not be one transaction.
type batch struct {
	db       *DB
	ctx      context.Context
	max      int
	maxBytes int64
	bytes    int64
	rows     []storage.Write
}

func (db *DB) newBatch(ctx context.Context) *batch {
	b := &batch{db: db, ctx: ctx, max: 4096, maxBytes: 1 << 20}
	if s, ok := db.store.(storage.Budget); ok {
		w, by := s.Budget()
		b.max, b.maxBytes = min(b.max, w-groupOverheadRows), min(b.maxBytes, by-groupOverheadBytes)
	}
	return b
}

func (b *batch) add(w storage.Write) error {
	size := int64(len(w.Key) + len(w.Value))
	if len(b.rows) > 0 && (len(b.rows) >= b.max || b.bytes+size > b.maxBytes) {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.rows = append(b.rows, w)
	b.bytes += size
	return nil
}

func (b *batch) flush() error {
	if len(b.rows) == 0 {
		return nil
	}
	err := b.db.commitRaw(b.ctx, b.rows)
	b.rows, b.bytes = nil, 0
	return err
}

// commitRaw writes rows outside the committer, while the database is being opened.
func (db *DB) commitRaw(ctx context.Context, rows []storage.Write) error {
	_, err := db.store.Commit(ctx, db.newGroupID(), func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: rows, Log: []byte{logVersion}}, nil
	})
	return err
}

// Check reads all documents and index entries of the newest published state and returns every fault that it finds, joined:
// documents that do not decode or that break their schema, index entries that are missing, wrong or doubled. A store that is a
// [storage.Verifier] is read as a whole besides: what is damaged in old versions, in the log, or so that it is not found any more.
func (db *DB) Check(ctx context.Context) error {
	if err := db.begin(); err != nil {
		return err
	}
	defer db.calls.Done()
	snap, err := db.store.At(ctx, db.Published())
	if err != nil {
		return err
	}
	defer snap.Close()
	var faults []error
	for _, c := range db.schema.collections {
		faults = append(faults, documentFaults(snap, c)...)
		for _, x := range c.indexes {
			faults = append(faults, indexFaults(snap, x, 0)...)
		}
		if err := context.Cause(ctx); err != nil {
			return errors.Join(append(faults, err)...)
		}
	}
	return errors.Join(append(faults, db.storeFaults(ctx)...)...)
}

func documentFaults(snap storage.Snapshot, c *collection) (faults []error) {
	lo, hi := documentRange(c.tag)
	for kv, err := range snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return append(faults, err)
		}
		id, _, err := systemFields(kv.Value)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: key %x: %w", c.name, kv.Key, err))
			continue
		}
		if raw, ok := decodeID(id); !ok || documentKey(raw) != string(kv.Key) {
			faults = append(faults, fmt.Errorf("engine: document %s of %s is stored under another key", id, c.name))
		}
		if issues := c.typ.Validate(kv.Value, doctype.ValidateOptions{AllowUnknown: true, Doc: true}); len(issues) > 0 {
			faults = append(faults, fmt.Errorf("engine: document %s: %w", id, invalid("does not satisfy the schema of "+c.name, issues)))
		}
	}
	return faults
}

// indexFaults compares an index with its documents, both ways. It stops after most faults, if most is not zero.
func indexFaults(snap storage.Snapshot, x *index, most int) (faults []error) {
	full := func() bool { return most > 0 && len(faults) >= most }
	fault := func(format string, a ...any) {
		faults = append(faults, fmt.Errorf("engine: index %s of %s: "+format, append([]any{x.name, x.coll.name}, a...)...))
	}
	lo, hi := documentRange(x.coll.tag)
	for kv, err := range snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return append(faults, err)
		}
		if full() {
			return faults
		}
		var id rawID
		copy(id[:], kv.Key[1:])
		key, _, err := x.key(id, kv.Value)
		if err != nil {
			fault("document %s: %w", id, err)
			continue
		}
		if _, ok, err := snap.Get([]byte(key)); err != nil {
			return append(faults, err)
		} else if !ok {
			fault("document %s has no entry", id)
		}
	}
	var previous string
	ilo, ihi := indexRange(x.tag)
	for kv, err := range snap.Scan(ilo, ihi, false, 0) {
		if err != nil {
			return append(faults, err)
		}
		if full() {
			return faults
		}
		if len(kv.Key) < partition+idBytes-tagBytes {
			fault("key %x is too short", kv.Key)
			continue
		}
		id := x.coll.indexedID(kv.Key)
		doc, ok, err := snap.Get([]byte(documentKey(id)))
		if err != nil {
			return append(faults, err)
		}
		if !ok {
			fault("points to %s, which does not exist", id)
			continue
		}
		key, complete, err := x.key(id, doc.Value)
		if err != nil || key != string(kv.Key) {
			fault("an entry of document %s does not match it", id)
			continue
		}
		if components := key[:len(key)-(idBytes-tagBytes)]; x.unique && complete {
			if components == previous {
				fault("two documents have the same values, one of them %s", id)
			}
			previous = components
		}
	}
	return faults
}
