package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// migration is the core of what Migrate registers.
type migration struct {
	name string
	coll *collection
	// run hands a document to the function: seen is what of it decodes, raw all of it. It returns the encoding of its value
	// afterwards, and whether that has changed.
	run func(tx *Tx, seen, raw []byte) (after []byte, changed bool, err error)
}

// Migrate registers a change of stored documents that is made once in the life of a database, named for good: "2026-11-split-name".
// Open runs it, before it returns and before it checks the documents against a schema that has changed, so that everybody else
// only ever sees documents in their new shape. fn is called with each document of c, in order of creation. doc is what of it
// fits T: members of another name or type are left out, their fields zero. stored is all of it, as it was written. What fn leaves
// in doc.Value is stored in its place, if it differs or if the document as it stands breaks its schema; members that T does
// not know are gone then. It is an update like any other: validated, with triggers (whose view of the document before is that of
// doc), with indexes. fn may write other documents too, and may delete or update this one itself, which is then left at that.
// Documents that are made while Open migrates are as they should be: no migration that has begun, or waits for another, takes
// them up.
// While Open runs, a query on an index that is not built yet fails with ErrIndexNotReady.
//
// Migrations run in the order of registration. Those of one collection that follow one another are run as one: a document goes
// through all of them, and is stored after the last; stored is what the one before has made of it. Documents are taken in
// batches of one transaction each, as large as the limits allow, in which how far it has come is recorded: Open may be
// interrupted at any time, by the end of the process too, and the next one goes on. fn may be called again for a document of a
// batch that was not committed, so it must have no effects outside the transaction.
//
// An error of fn, or of storing what it made, is an error of Open that names the migration and the document. What was done
// before that batch stays done. A new database has nothing to migrate: its migrations are recorded as done without a call. So
// are, later, those that were recorded and are registered no more. A migration that is registered in front of others that are done
// runs after them. DB.Migrations returns the records.
func Migrate[T any](s *Schema, c *Collection[T], name string, fn func(tx *Tx, doc *Doc[T], stored json.RawMessage) error) {
	m := &migration{name: name}
	if c != nil {
		m.coll = c.c
	}
	m.run = func(tx *Tx, seen, raw []byte) ([]byte, bool, error) {
		d, err := decodeDoc[T](m.coll, seen)
		if err != nil {
			return nil, false, err
		}
		// What was stored may decode to what cannot be encoded, such as a number out of range; then anything is a change.
		before, beforeErr := m.coll.encode(&d.Value)
		if err := fn(tx, d, raw); err != nil {
			return nil, false, err
		}
		after, err := m.coll.encode(&d.Value)
		return after, beforeErr != nil || !bytes.Equal(before, after), err
	}
	s.migration(m, fn == nil)
}

// migration registers a migration.
func (s *Schema) migration(m *migration, empty bool) {
	s.register(func() error {
		switch {
		case !validMigrationName(m.name):
			return fmt.Errorf("migration %q: a name is 1 to 128 letters, digits, hyphens, underscores, dots and colons", m.name)
		case m.coll == nil || m.coll.schema != s:
			return fmt.Errorf("migration %q: its collection is not of this schema", m.name)
		case empty:
			return fmt.Errorf("migration %q: has no function", m.name)
		case slices.ContainsFunc(s.migrations, func(o *migration) bool { return o.name == m.name }):
			return fmt.Errorf("migration %q: registered twice", m.name)
		}
		s.migrations = append(s.migrations, m)
		return nil
	})
}

func validMigrationName(name string) bool {
	for i := range len(name) {
		b := name[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && !bytes.Contains([]byte("-_.:"), []byte{b}) {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// MigrationInfo is the record of a migration.
type MigrationInfo struct {
	Name, Collection string
	Started          time.Time
	Finished         time.Time // zero while it is not
	Documents        int64     // that it has gone through
}

// Migrations returns the records of all migrations that this database has begun, those that are not registered any more
// included, by the time when they began and then by name.
func (db *DB) Migrations(ctx context.Context) ([]MigrationInfo, error) {
	_, leave, err := db.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	snap, err := db.store.At(ctx, db.Published())
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	k, err := readKnown(snap)
	if err != nil {
		return nil, err
	}
	out := []MigrationInfo{}
	for name, r := range k.migrations {
		out = append(out, MigrationInfo{Name: name, Collection: r.Collection, Started: r.Started, Finished: r.Finished, Documents: r.Documents})
	}
	slices.SortFunc(out, func(a, b MigrationInfo) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Name, b.Name)) })
	return out, nil
}

// migrateBatch is how many documents go through a migration in one transaction.
const migrateBatch = 128

// migrate runs migrations, those of one collection that follow one another together.
func (db *DB) migrate(ctx context.Context, pending []*migration) error {
	if err := db.beginMigrations(ctx, pending); err != nil {
		return err
	}
	for len(pending) > 0 {
		n := 1
		for n < len(pending) && pending[n].coll == pending[0].coll {
			n++
		}
		if err := db.migrateCollection(ctx, pending[:n]); err != nil {
			return err
		}
		pending = pending[n:]
	}
	return nil
}

// beginMigrations records, before the first of them runs, up to where each has to go.
func (db *DB) beginMigrations(ctx context.Context, pending []*migration) error {
	if len(pending) == 0 {
		return nil
	}
	_, err := db.background(ctx, func(t *txn, _ int) error {
		for _, m := range pending {
			row := &migrationRow{Collection: m.coll.name, Started: t.start}
			if ok, err := t.getJSON(migrationKey(m.name), row); err != nil {
				return err
			} else if ok && (len(row.Last) > 0 || !row.Finished.IsZero()) {
				continue
			}
			lo, hi := documentRange(m.coll.tag)
			row.Last = lo // below all documents
			err := t.scan(t.mine.Copy(), lo, hi, true, func(key string, _ []byte) (bool, error) {
				row.Last = []byte(key)
				return false, nil
			})
			if err != nil && !errors.Is(err, errStopped) {
				return err
			}
			t.setJSON(migrationKey(m.name), row)
			t.touched = append(t.touched, migrationKey(m.name))
		}
		return nil
	})
	return err
}

// migrateCollection runs migrations of one collection to their end.
func (db *DB) migrateCollection(ctx context.Context, group []*migration) error {
	names := make([]string, len(group))
	for i, m := range group {
		names[i] = m.name
	}
	attrs := []any{"migrations", names, "collection", group[0].coll.name}
	began := time.Now()
	logged, total, size := began, int64(0), migrateBatch
	db.logger.Info("migrating documents", attrs...)
	for {
		n, done, err := db.migrateDocuments(ctx, group, size)
		var limit *LimitError
		switch {
		case errors.As(err, &limit) && size > 1:
			size /= 2 // fewer documents may be within it
			continue
		case errors.As(err, &limit): // it may be that of the transaction, which no document has met by itself
			return fmt.Errorf("engine: migrations %q of %s: %w", names, group[0].coll.name, err)
		case err != nil:
			return err
		}
		total += int64(n)
		if done {
			db.logger.Info("documents are migrated", append(attrs, "documents", total, "took", time.Since(began).Round(time.Millisecond))...)
			return nil
		}
		if time.Since(logged) >= buildLogInterval {
			logged = time.Now()
			db.logger.Info("migrating documents", append(attrs, "done", total)...)
		}
	}
}

// migrateDocuments is one transaction: the next documents, and the records. done says that there are no more.
func (db *DB) migrateDocuments(ctx context.Context, group []*migration, size int) (n int, done bool, err error) {
	type outcome struct {
		n    int
		done bool
	}
	var out atomic.Pointer[outcome] // a run whose time was up may still be under way
	_, err = db.transact(ctx, nil, nil, func(t *txn) ([]byte, error) {
		rows := make([]*migrationRow, len(group))
		var from, last []byte
		for i, m := range group {
			rows[i] = new(migrationRow)
			if _, err := t.getJSON(migrationKey(m.name), rows[i]); err != nil {
				return nil, err
			}
			if i == 0 || string(rows[i].After) < string(from) {
				from = rows[i].After
			}
			if i == 0 || string(rows[i].Last) > string(last) {
				last = rows[i].Last
			}
		}
		lo, _ := documentRange(group[0].coll.tag)
		if len(from) > 0 {
			lo = append(bytes.Clone(from), 0)
		}
		hi := append(bytes.Clone(last), 0)
		keys := make([]string, 0, size)
		err := t.scan(t.mine, lo, hi, false, func(key string, _ []byte) (bool, error) {
			if len(keys) == size {
				return false, nil
			}
			keys = append(keys, key)
			return true, nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			return nil, err
		}
		n, done := len(keys), err == nil
		for _, key := range keys {
			var todo []*migration
			for i, m := range group {
				if rows[i].Finished.IsZero() && key > string(rows[i].After) && key <= string(rows[i].Last) {
					todo = append(todo, m)
					rows[i].Documents++
				}
			}
			if err := t.migrateDocument(todo, key); err != nil {
				return nil, err
			}
		}
		for i, m := range group {
			if !rows[i].Finished.IsZero() {
				continue
			}
			if n > 0 {
				rows[i].After = []byte(max(keys[n-1], string(rows[i].After)))
			}
			if done {
				rows[i].Finished, rows[i].After, rows[i].Last = t.start, nil, nil
			}
			t.setJSON(migrationKey(m.name), rows[i])
			t.touched = append(t.touched, migrationKey(m.name))
		}
		out.Store(&outcome{n, done})
		return nil, nil
	}, steps{})
	if err != nil {
		return 0, false, err
	}
	o := out.Load()
	return o.n, o.done, nil
}

// migrateDocument runs a document through migrations and stores what came of it.
func (t *txn) migrateDocument(todo []*migration, key string) error {
	stored, ok, err := t.get(key)
	if err != nil || !ok || len(todo) == 0 {
		return err // a migration of another document may have deleted it
	}
	c, tx := todo[0].coll, &Tx{t}
	text, micros, err := systemFields(stored)
	if err != nil {
		return fmt.Errorf("engine: migration %q stopped at key %x: %w", todo[0].name, key, err)
	}
	raw, changed := stored, false
	seen := c.decodable(stored)
	first := seen
	var after []byte
	for _, m := range todo {
		fail := func(err error) error {
			return fmt.Errorf("engine: migration %q stopped at document %s of %s: %w", m.name, text, c.name, err)
		}
		enc, differs, err := m.run(tx, seen, bytes.Clone(raw))
		if err != nil {
			return fail(err)
		}
		if err := t.usable(); err != nil {
			return fail(err)
		}
		if now, ok, err := t.lookup(t.mine, key); err != nil {
			return fail(err)
		} else if !ok || !bytes.Equal(now, stored) {
			return nil // it has seen to the document itself
		}
		changed = changed || differs
		after = doctype.WithSystem(text, micros, enc)
		if m != todo[len(todo)-1] {
			merged, err := c.typ.Merge(withoutSystem(raw), enc)
			if err != nil {
				return fail(err)
			}
			raw, seen = doctype.WithSystem(text, micros, merged), after
			continue
		}
		if !changed && len(c.typ.Validate(stored, doctype.ValidateOptions{AllowUnknown: true, Doc: true})) == 0 {
			return nil
		}
		if err := t.replaceMigrated(tx, c, rawID([]byte(key[1:])), first, stored, after); err != nil {
			return fail(err)
		}
	}
	return nil
}

// replaceMigrated is update, of a document that may not decode.
func (t *txn) replaceMigrated(tx *Tx, c *collection, id rawID, seen, stored, after []byte) error {
	if doctype.Equal(stored, after) {
		return t.invalidAsItIs(c, after)
	}
	if err := t.beginWrite(c); err != nil {
		return err
	}
	ch := &Change{
		Collection: c.name, Op: Update, ID: id.String(), Created: time.UnixMicro(id.micros()).UTC(),
		Before: seen, After: after, coll: c, stored: stored,
	}
	if err := t.before(tx, ch); err != nil {
		return err
	}
	if err := t.admit(c, id, ch); err != nil {
		return err
	}
	return t.store(tx, c, id, ch)
}

// invalidAsItIs returns the error of a document that a migration has left as it was although it breaks the schema.
func (t *txn) invalidAsItIs(c *collection, doc []byte) error {
	if issues := c.typ.Validate(doc, doctype.ValidateOptions{AllowUnknown: true, Doc: true}); len(issues) > 0 {
		return invalid("invalid document for "+c.name, issues)
	}
	return nil
}

// decodable returns the stored document, or as much of it as decodes: without the members whose values are of another type.
func (c *collection) decodable(stored []byte) []byte {
	if c.decodes(stored) {
		return stored
	}
	var members map[string]json.RawMessage
	text, micros, err := systemFields(stored)
	if err != nil || json.Unmarshal(withoutSystem(stored), &members) != nil {
		return stored // it is not JSON, and decoding it says so
	}
	for name, value := range members {
		alone, err := json.Marshal(map[string]json.RawMessage{name: value})
		if err != nil || !c.decodes(alone) {
			delete(members, name)
		}
	}
	rest, err := json.Marshal(members)
	if err != nil {
		return stored
	}
	return doctype.WithSystem(text, micros, rest)
}

func (c *collection) decodes(raw []byte) bool {
	return c.typ.Decode(raw, reflect.New(c.goType).Interface()) == nil
}
