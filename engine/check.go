package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
	"github.com/mimosadb/mimosa/engine/storage"
)

// FaultKind says what a fault is about.
type FaultKind string

// The kinds of faults.
const (
	FaultDocument FaultKind = "document" // one that does not decode, or is stored where it does not belong
	FaultSchema   FaultKind = "schema"   // a document that breaks the schema of its collection
	FaultIndex    FaultKind = "index"    // an entry that is missing, wrong or doubled
	FaultCatalog  FaultKind = "catalog"  // what the database says of itself does not decode, or does not fit what is stored
	FaultSession  FaultKind = "session"  // a record of requests that does not decode
	FaultStore    FaultKind = "store"    // bytes that do not match their checksum, or a gap in the log
)

// Fault is one fault that a check has found.
type Fault struct {
	Kind FaultKind
	Err  error
}

func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the error itself, which may be an *Error with issues, or storage.ErrCorrupt.
func (f *Fault) Unwrap() error { return f.Err }

// FaultsKept is how many faults of one kind a check keeps.
const FaultsKept = 100

// CheckError is what a check has found: all faults, up to FaultsKept of one kind, and how many there are.
type CheckError struct {
	Faults []*Fault          // in the order in which they were found
	Counts map[FaultKind]int // of all, those that were not kept included
}

// Count is how many faults there are, those that were not kept included.
func (e *CheckError) Count() (n int) {
	for _, c := range e.Counts {
		n += c
	}
	return n
}

// Error has one line a fault, and one for each kind of which some were not kept.
func (e *CheckError) Error() string {
	var lines []string
	kept := map[FaultKind]int{}
	for _, f := range e.Faults {
		lines = append(lines, f.Error())
		kept[f.Kind]++
	}
	for _, kind := range slices.Sorted(maps.Keys(e.Counts)) {
		if more := e.Counts[kind] - kept[kind]; more > 0 {
			lines = append(lines, fmt.Sprintf("engine: %d more faults of kind %s", more, kind))
		}
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults that were kept.
func (e *CheckError) Unwrap() []error {
	out := make([]error, len(e.Faults))
	for i, f := range e.Faults {
		out[i] = f
	}
	return out
}

// Check reads everything that is stored and returns a *CheckError with all that is wrong with it: documents that do not decode or
// that break their schema; entries of indexes that are missing, wrong or doubled, of one that is still being built those that are
// wrong; documents and entries that belong to nothing; records of requests, of indexes and of migrations that do not decode. A
// store that is a [storage.Verifier] is read as a whole besides: what is damaged in old versions, in the log, or so that it is not
// found any more. It sees the newest published state, runs beside other work, and keeps little in memory. When ctx ends, the
// error is its cause, joined with what was found until then.
func (db *DB) Check(ctx context.Context) error { return db.check(ctx, false) }

// check is Check; where migrating is set, without the documents that break their schema but are going to be migrated.
func (db *DB) check(ctx context.Context, migrating bool) error {
	if err := db.begin(); err != nil {
		return err
	}
	defer db.calls.Done()
	snap, err := db.store.At(ctx, db.Published())
	if err != nil {
		return err
	}
	defer snap.Close()
	return check(ctx, db.schema, db.store, snap, migrating)
}

// Inspect checks a database that is not open, as it is stored: like Check, but nothing is brought in line with the schema first.
// Nothing is written, no index built, no migration run, no function called; documents that break a schema that has changed are
// faults and no refusal. Of o it heeds Dir, Store, which it closes, MinFreeBytes and Logger. The embedded store is recovered
// from a crash as by Open. Other errors than a *CheckError say why it could not be checked: wrong registrations, ErrNewerFormat,
// ErrRestoreUnfinished, or an error of the store.
func Inspect(ctx context.Context, s *Schema, o Options) (err error) {
	store, err := openStore(s, o.withDefaults())
	if err != nil {
		return err
	}
	defer func() {
		if closing := store.Close(); closing != nil {
			err = errors.Join(err, fmt.Errorf("engine: closing the store: %w", closing))
		}
	}()
	head, err := store.Head(ctx)
	if err != nil {
		return err
	}
	snap, err := store.At(ctx, head)
	if err != nil {
		return err
	}
	defer snap.Close()
	if _, unfinished, err := snap.Get(restoringKey); err != nil {
		return err
	} else if unfinished {
		return ErrRestoreUnfinished
	}
	return check(ctx, s, store, snap, false)
}

// checker looks for faults in one snapshot.
type checker struct {
	ctx   context.Context
	s     *Schema
	snap  storage.Snapshot
	known *known
	found CheckError
	rows  int
	first bool // the first fault ends it
	// migrating leaves alone documents that break their schema while migrations of their collection have yet to run.
	migrating bool
	err       error // ends it: of ctx, or of a store that cannot be read
}

func check(ctx context.Context, s *Schema, store storage.Store, snap storage.Snapshot, migrating bool) error {
	c := &checker{ctx: ctx, s: s, snap: snap, migrating: migrating, found: CheckError{Counts: map[FaultKind]int{}}}
	if c.known, c.err = readKnown(snap); c.err != nil {
		return c.err
	}
	for _, err := range c.known.problems {
		c.fault(FaultCatalog, err)
	}
	for _, coll := range s.collections {
		c.documents(coll)
		for _, x := range coll.indexes {
			c.index(x)
		}
	}
	c.strays()
	c.sessions()
	if v, ok := store.(storage.Verifier); ok && c.err == nil {
		for _, err := range parts(v.Verify(ctx)) {
			if c.err = context.Cause(ctx); c.err != nil {
				break
			}
			c.fault(FaultStore, err)
		}
	}
	if len(c.found.Faults) == 0 {
		return c.err
	}
	if c.err == nil {
		return &c.found
	}
	return errors.Join(c.err, &c.found)
}

func (c *checker) fault(kind FaultKind, err error) {
	if c.found.Counts[kind]++; c.found.Counts[kind] <= FaultsKept {
		c.found.Faults = append(c.found.Faults, &Fault{Kind: kind, Err: err})
	}
}

// scan yields the rows of a range. A row that the store finds damaged is a fault, and ends the range; the rest of the store is
// still looked at.
func (c *checker) scan(lo, hi []byte) iter.Seq[storage.KV] {
	return func(yield func(storage.KV) bool) {
		if c.err != nil {
			return
		}
		for kv, err := range c.snap.Scan(lo, hi, false, 0) {
			if c.rows++; err == nil && c.rows%1024 == 1 {
				if c.err = context.Cause(c.ctx); c.err != nil {
					return
				}
			}
			switch {
			case errors.Is(err, storage.ErrCorrupt):
				c.fault(FaultStore, err)
				return
			case err != nil:
				c.err = err
				return
			case !yield(kv) || c.err != nil || c.first && len(c.found.Faults) > 0:
				return
			}
		}
	}
}

// get returns a row, or false when there is none, or none that can be read.
func (c *checker) get(key string) (storage.KV, bool) {
	kv, ok, err := c.snap.Get([]byte(key))
	switch {
	case errors.Is(err, storage.ErrCorrupt):
		c.fault(FaultStore, err)
		return kv, false
	case err != nil:
		c.err = err
		return kv, false
	}
	return kv, ok
}

// documents looks at the documents of a collection.
func (c *checker) documents(coll *collection) {
	note := ""
	for _, m := range c.s.migrations {
		if row := c.known.migrations[m.name]; m.coll == coll && !c.known.fresh && (row == nil || row.Finished.IsZero()) {
			note = fmt.Sprintf("; migration %q has yet to run", m.name)
		}
	}
	lo, hi := documentRange(coll.tag)
	for kv := range c.scan(lo, hi) {
		id, _, err := systemFields(kv.Value)
		if err != nil {
			c.fault(FaultDocument, fmt.Errorf("%s: key %x: %w", coll.name, kv.Key, err))
			continue
		}
		if raw, ok := decodeID(id); !ok || documentKey(raw) != string(kv.Key) {
			c.fault(FaultDocument, fmt.Errorf("engine: document %s of %s is stored under another key", id, coll.name))
		}
		if c.migrating && note != "" {
			continue
		}
		if issues := coll.typ.Validate(kv.Value, doctype.ValidateOptions{AllowUnknown: true, Doc: true}); len(issues) > 0 {
			err := invalid("does not satisfy the schema of "+coll.name, issues)
			c.fault(FaultSchema, fmt.Errorf("engine: document %s: %w%s", id, err, note))
		}
	}
}

// index compares an index with its documents, as far as it should be there.
func (c *checker) index(x *index) {
	row, progress := c.known.indexes[x.tag], c.known.progress[x.tag]
	switch {
	case row == nil: // not opened by this program yet; if there are entries, strays tells
		return
	case row.State == indexDropping:
		return
	case row.State == IndexReady:
		c.missing(x)
	case progress == nil || progress.Phase == phaseSweep || progress.Phase == phaseDrop:
		return // there may be anything
	}
	c.wrong(x, row.State == IndexReady)
}

func (c *checker) indexFault(x *index, format string, a ...any) {
	c.fault(FaultIndex, fmt.Errorf("engine: index %s of %s: "+format, append([]any{x.name, x.coll.name}, a...)...))
}

// missing finds documents without an entry.
func (c *checker) missing(x *index) {
	lo, hi := documentRange(x.coll.tag)
	for kv := range c.scan(lo, hi) {
		var id rawID
		copy(id[:], kv.Key[1:])
		key, _, err := x.key(id, kv.Value)
		if err != nil {
			c.indexFault(x, "document %s: %w", id, err)
			continue
		}
		if _, ok := c.get(key); !ok && c.err == nil {
			c.indexFault(x, "document %s has no entry", id)
		}
	}
}

// wrong finds entries that do not match their document, and, where values must be unique, ones that stand twice.
func (c *checker) wrong(x *index, unique bool) {
	var previous string
	lo, hi := indexRange(x.tag)
	for kv := range c.scan(lo, hi) {
		if len(kv.Key) < partition+idBytes-tagBytes {
			c.indexFault(x, "key %x is too short", kv.Key)
			continue
		}
		id := x.coll.indexedID(kv.Key)
		doc, ok := c.get(documentKey(id))
		if c.err != nil {
			return
		}
		if !ok {
			c.indexFault(x, "points to %s, which does not exist", id)
			continue
		}
		key, complete, err := x.key(id, doc.Value)
		if err != nil || key != string(kv.Key) {
			c.indexFault(x, "an entry of document %s does not match it", id)
			continue
		}
		if values := string(components(kv.Key)); unique && x.unique && complete {
			if values == previous {
				c.indexFault(x, "two documents have the same values, one of them %s", id)
			}
			previous = values
		}
	}
}

// hasIndexFault says whether an index differs from its documents.
func hasIndexFault(snap storage.Snapshot, x *index) bool {
	c := &checker{ctx: context.Background(), snap: snap, first: true, found: CheckError{Counts: map[FaultKind]int{}}}
	c.missing(x)
	if len(c.found.Faults) == 0 {
		c.wrong(x, true)
	}
	return len(c.found.Faults) > 0 || c.err != nil
}

// strays finds documents and entries of collections and indexes that the catalog does not know.
func (c *checker) strays() {
	collections := map[[tagBytes]byte]bool{}
	for name := range c.known.catalog.Collections {
		collections[nameTag(name)] = true
	}
	for _, space := range []byte{spaceDocument, spaceIndex} {
		for from := []byte{space}; from != nil && c.err == nil; {
			next := []byte(nil)
			for kv := range c.scan(from, []byte{space + 1}) {
				var tag [tagBytes]byte
				copy(tag[:], kv.Key[1:])
				_, next = prefixRange(space, tag)
				switch {
				case len(kv.Key) < partition:
					c.fault(FaultCatalog, fmt.Errorf("engine: key %x is too short", kv.Key))
					next = append(bytes.Clone(kv.Key), 0)
				case space == spaceDocument && !collections[tag]:
					c.fault(FaultCatalog, fmt.Errorf("engine: documents of a collection that the catalog does not know, key %x", kv.Key))
				case space == spaceIndex && c.known.indexes[tag] == nil:
					c.fault(FaultCatalog, fmt.Errorf("engine: entries of an index that the catalog does not know, key %x", kv.Key))
				}
				break
			}
			from = next
		}
	}
	for tag := range c.known.progress {
		if c.known.indexes[tag] == nil {
			c.fault(FaultCatalog, fmt.Errorf("engine: progress of index %x, which the catalog does not know", tag))
		}
	}
}

// sessions looks at the records of requests.
func (c *checker) sessions() {
	for kv := range c.scan([]byte{spaceSession}, []byte{spaceSession + 1}) {
		if !validSessionRow(kv) {
			c.fault(FaultSession, fmt.Errorf("%w: key %x", errSessionRow, kv.Key))
		}
	}
}

// validSessionRow says whether a row of a session is a watermark, or holds records that decode, the highest of them its own.
func validSessionRow(kv storage.KV) bool {
	end := bytes.IndexByte(kv.Key, 0)
	switch {
	case end < 0:
		return false
	case end == len(kv.Key)-1:
		return len(kv.Value) == 9 && kv.Value[0] == watermarkVersion
	case len(kv.Key) != end+1+8:
		return false
	}
	row := rowReader{b: kv.Value}
	if row.byte() != rowVersion || len(row.b) == 0 {
		return false
	}
	var last uint64
	for len(row.b) > 0 && !row.bad {
		n, record := row.number(), row.bytes()
		if row.bad {
			break
		}
		if _, err := decodeRecord(record); err != nil {
			return false
		}
		last = n
	}
	own := requestKey(RequestID{Session: string(kv.Key[1:end]), Request: last})
	return !row.bad && own == string(kv.Key)
}
