package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
	"github.com/mimosadb/mimosa/engine/storage"
)

// Open brings a database in line with the schema in two steps. The first, before anybody uses it, looks at everything, refuses,
// and notes in the index rows what has to be done. It writes nothing where it refuses: the program that the database belongs
// to must find it as it was. The second does it, through the committer: migrations, then what they have put off; small indexes
// at once, all else in the background.

// buildAtOpen is the default of Options.BuildAtOpen.
const buildAtOpen = 1000

// preparation is what the first step leaves to the second.
type preparation struct {
	catalog    *catalog
	builds     []*index
	drops      []*indexRow
	migrations []*migration
	unseen     map[*collection]bool // retyped ones that are looked at when their migrations have run
}

// prepare is the first step.
func (db *DB) prepare(ctx context.Context) (*preparation, error) {
	head, err := db.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	snap, err := db.store.At(ctx, head)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	k, err := readKnown(snap)
	if err == nil {
		err = errors.Join(k.problems...)
	}
	if err != nil {
		return nil, err
	}
	p := &preparation{catalog: k.catalog, unseen: map[*collection]bool{}}
	b := db.newBatch(ctx)
	for _, m := range db.schema.migrations {
		switch row := k.migrations[m.name]; {
		case k.fresh: // there is nothing to migrate, now or ever
			now := db.clock()
			b.put(jsonRow(migrationKey(m.name), &migrationRow{Collection: m.coll.name, Started: now, Finished: now}))
		case row == nil || row.Finished.IsZero():
			p.migrations = append(p.migrations, m)
		}
	}
	retyped, err := db.refuse(snap, p)
	if err != nil {
		return nil, err
	}
	for _, key := range k.stale { // of format 1; some are written again below, by a later commit or in its place
		b.put(storage.Write{Key: key, Delete: true})
	}
	changed := k.fresh || k.upgraded
	for _, c := range db.schema.collections {
		hash, isRetyped := retyped[c]
		if err := db.planIndexes(snap, k, p, b, c, isRetyped); err != nil {
			return nil, err
		}
		was := k.catalog.Collections[c.name]
		if was == nil {
			was = &catalogedType{}
			k.catalog.Collections[c.name] = was
			changed = true
		}
		if isRetyped && !p.unseen[c] && was.Schema != hash {
			was.Schema, changed = hash, true
		}
	}
	db.planOthers(k, p, b)
	if changed { // last: what it says holds when all else is written
		b.put(jsonRow(string(catalogKey), k.catalog))
	}
	return p, b.flush()
}

// refuse looks at the documents of collections whose schema has changed. It returns, of each of these, the hash to note: that of
// the schema, or none where documents break it and may, so that the next Open looks again.
func (db *DB) refuse(snap storage.Snapshot, p *preparation) (retyped map[*collection]string, err error) {
	migrated := map[*collection]bool{}
	for _, m := range p.migrations {
		migrated[m.coll] = true
	}
	retyped = map[*collection]string{}
	var refusals []error
	for _, c := range db.schema.collections {
		was, hash := p.catalog.Collections[c.name], schemaHash(c)
		switch {
		case was != nil && was.Schema == hash:
			continue
		case migrated[c]:
			p.unseen[c] = true
		default:
			valid, err := db.look(snap, c)
			if err != nil {
				refusals = append(refusals, err)
			}
			if !valid {
				hash = ""
			}
		}
		retyped[c] = hash
	}
	return retyped, errors.Join(refusals...)
}

// look says whether all documents of a collection satisfy its schema. That they do not is an error, unless it is allowed.
func (db *DB) look(snap storage.Snapshot, c *collection) (valid bool, err error) {
	err = refuseInvalid(snap, c)
	if err == nil {
		return true, nil
	}
	if !db.options.AllowInvalid || !errors.Is(err, ErrInvalid) {
		return false, err
	}
	db.logger.Warn("opened with documents that break their schema", "collection", c.name, "error", err)
	return false, nil
}

func schemaHash(c *collection) string {
	h := sha256.Sum256(c.typ.JSONSchema())
	return hex.EncodeToString(h[:16])
}

// planIndexes writes down what has to be done about the indexes of one collection. Ones of a collection that the program does
// not declare are left as they are: nobody writes to it.
func (db *DB) planIndexes(snap storage.Snapshot, k *known, p *preparation, b *batch, c *collection, retyped bool) error {
	for _, x := range c.indexes {
		row, progress := k.indexes[x.tag], k.progress[x.tag]
		state, from := IndexBuilding, phaseSweep
		switch {
		case row == nil:
			from = phaseFill
			if empty, err := isEmpty(snap, c); err != nil {
				return err
			} else if empty {
				state = IndexReady
			}
		case row.State == IndexReady:
			// A changed Go type may encode the same values differently, so the entries are looked at before they are trusted.
			if !retyped || !hasIndexFault(snap, x) {
				state = IndexReady
			}
		case row.State == indexDropping || retyped || progress == nil:
		case progress.FaultCount > 0: // found in another run: they may have been put right since
			from = phaseFill
		default:
			from = "" // go on where it stands
		}
		if state == IndexReady {
			db.indexes.nowReady(x, 1)
		} else {
			p.builds = append(p.builds, x)
		}
		// The progress first: what it says of another phase means nothing to a row that is not written yet.
		if state == IndexBuilding && from != "" {
			b.put(jsonRow(progressKey(x.tag), &indexProgress{Phase: from}))
		}
		if row == nil || row.State != state || k.upgraded {
			b.put(jsonRow(indexRowKey(x.tag), &indexRow{Spec: x.spec, State: state}))
		}
	}
	return nil
}

// planOthers writes down what has to be done about indexes that the program does not declare. Those of a collection that it
// does not declare either are left as they are, since nobody writes to it; one that was to go still goes.
func (db *DB) planOthers(k *known, p *preparation, b *batch) {
	declared := map[[tagBytes]byte]bool{}
	for _, c := range db.schema.collections {
		for _, x := range c.indexes {
			declared[x.tag] = true
		}
	}
	for tag, row := range k.indexes {
		if declared[tag] {
			continue
		}
		going := row.State == indexDropping
		if db.schema.byName[row.collection()] != nil {
			row.State = indexDropping
		}
		if k.upgraded || !going && row.State == indexDropping {
			b.put(jsonRow(indexRowKey(tag), &indexRow{Spec: row.Spec, State: row.State}))
		}
		if row.State == indexDropping {
			p.drops = append(p.drops, row)
		}
	}
	slices.SortFunc(p.drops, func(a, b *indexRow) int { return cmp.Compare(a.Spec, b.Spec) })
}

func isEmpty(snap storage.Snapshot, c *collection) (bool, error) {
	lo, hi := documentRange(c.tag)
	for _, err := range snap.Scan(lo, hi, false, 1) {
		return false, err
	}
	return true, nil
}

// complete is the second step. It returns what is left to do in the background.
func (db *DB) complete(ctx context.Context, p *preparation) (builds []*index, err error) {
	waiting := map[*collection]bool{}
	for _, m := range p.migrations {
		waiting[m.coll] = true
	}
	atOnce := func(now bool) error {
		for _, x := range p.builds {
			if waiting[x.coll] == now {
				continue
			}
			small, err := db.isSmall(ctx, x.coll)
			if err != nil {
				return err
			}
			if !small {
				builds = append(builds, x)
				continue
			}
			over, err := db.buildIndex(ctx, x)
			if err != nil {
				return err
			}
			if over != nil {
				db.calls.Go(func() { db.retry(x, over) })
			}
		}
		return nil
	}
	if err := atOnce(true); err != nil {
		return nil, err
	}
	if err := db.migrate(ctx, p.migrations); err != nil {
		return nil, err
	}
	if err := db.lookAgain(ctx, p); err != nil {
		return nil, err
	}
	return builds, atOnce(false)
}

// lookAgain looks at the collections that have been migrated, as prepare has looked at the others.
func (db *DB) lookAgain(ctx context.Context, p *preparation) error {
	if len(p.unseen) == 0 {
		return nil
	}
	snap, err := db.store.At(ctx, db.Published())
	if err != nil {
		return err
	}
	defer snap.Close()
	var refusals []error
	for _, c := range db.schema.collections {
		if !p.unseen[c] {
			continue
		}
		valid, err := db.look(snap, c)
		if err != nil {
			refusals = append(refusals, err)
			continue
		}
		hash := ""
		if valid {
			hash = schemaHash(c)
		}
		p.catalog.Collections[c.name].Schema = hash
	}
	if len(refusals) > 0 {
		return errors.Join(refusals...)
	}
	_, err = db.background(ctx, func(t *txn, _ int) error {
		t.setJSON(string(catalogKey), p.catalog)
		return nil
	})
	return err
}

// isSmall says whether indexes of a collection are built before Open returns.
func (db *DB) isSmall(ctx context.Context, c *collection) (bool, error) {
	most := db.options.BuildAtOpen
	if most < 0 {
		return false, nil
	}
	if most == 0 {
		most = buildAtOpen
	}
	snap, err := db.store.At(ctx, db.Published())
	if err != nil {
		return false, err
	}
	defer snap.Close()
	lo, hi := documentRange(c.tag)
	n := 0
	for _, err := range snap.Scan(lo, hi, false, most+1) {
		if err != nil {
			return false, err
		}
		n++
	}
	return n <= most, nil
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

// batch writes rows, in order, in as few commits as the store takes them.
type batch struct {
	db       *DB
	ctx      context.Context
	max      int
	maxBytes int64
	bytes    int64
	rows     []storage.Write
	err      error
}

func (db *DB) newBatch(ctx context.Context) *batch {
	b := &batch{db: db, ctx: ctx, max: 4096, maxBytes: 1 << 20}
	if s, ok := db.store.(storage.Budget); ok {
		w, by := s.Budget()
		b.max, b.maxBytes = min(b.max, w-groupOverheadRows), min(b.maxBytes, by-groupOverheadBytes)
	}
	return b
}

// put adds a row. A key that it holds already is written once, as it was put last. An error is that of flush.
func (b *batch) put(w storage.Write) {
	size := int64(len(w.Key) + len(w.Value))
	if i := slices.IndexFunc(b.rows, func(r storage.Write) bool { return string(r.Key) == string(w.Key) }); i >= 0 {
		b.bytes -= int64(len(b.rows[i].Key) + len(b.rows[i].Value))
		b.rows = slices.Delete(b.rows, i, i+1)
	}
	if len(b.rows) > 0 && (len(b.rows) >= b.max || b.bytes+size > b.maxBytes) {
		b.err = cmp.Or(b.err, b.flush())
	}
	b.rows = append(b.rows, w)
	b.bytes += size
}

// flush writes what is left, and returns the first error of all.
func (b *batch) flush() error {
	if b.err != nil || len(b.rows) == 0 {
		return b.err
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
