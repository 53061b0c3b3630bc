package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Two versions of a program's type: a name becomes two, an age that was text becomes a number.
type (
	contactV1 struct {
		Name string `json:"name"`
		Age  string `json:"age"`
	}
	contactV2 struct {
		First string `json:"first" jsonschema:"minLength=1"`
		Last  string `json:"last" jsonschema:"minLength=1"`
		Age   int    `json:"age" jsonschema:"minimum=0"`
	}
)

// oldContacts returns a memory with n contacts of version 1.
func oldContacts(t testing.TB, n int, o memstore.Options) *memstore.Shared {
	t.Helper()
	shared := memstore.NewShared(o)
	s := engine.NewSchema()
	c := engine.Define[contactV1](s, "contacts")
	c.AddIndex("byAge", "age")
	db, err := engine.Open(s, engine.Options{Store: shared.Open(), Limits: patient, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 5 {
		update(t, db, func(tx *engine.Tx) error {
			for j := i; j < min(n, i+5); j++ {
				if _, err := c.Insert(tx, contactV1{fmt.Sprintf("First%d Last%d", j, j), fmt.Sprint(j)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return shared
}

// contacts is the new program.
type contacts struct {
	schema *engine.Schema
	all    *engine.Collection[contactV2]
	byAge  *engine.Index[contactV2]
	byLast *engine.Index[contactV2]
}

func newContacts() *contacts {
	s := engine.NewSchema()
	c := &contacts{schema: s, all: engine.Define[contactV2](s, "contacts")}
	c.byAge = c.all.AddIndex("byAge", "age")
	c.byLast = c.all.AddUnique("byLast", "last")
	return c
}

// split is the migration from version 1 to 2.
func split(_ *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
	var old contactV1
	if err := json.Unmarshal(stored, &old); err != nil {
		return err
	}
	if d.Value != (contactV2{}) {
		return fmt.Errorf("of the old document, %+v decoded", d.Value)
	}
	d.Value.First, d.Value.Last, _ = strings.Cut(old.Name, " ")
	_, err := fmt.Sscan(old.Age, &d.Value.Age)
	return err
}

// changes is a hook that decodes every change, as triggers do.
type changes struct{ seen []string }

func (c *changes) Before(*engine.ReadTx, *engine.Change) error { return nil }

func (c *changes) After(_ *engine.Tx, ch engine.Change) error {
	if ch.Collection != "contacts" || ch.Op != engine.Update {
		return nil
	}
	before, err := engine.DecodeBefore[contactV2](&ch)
	if err != nil {
		return err
	}
	after, err := engine.DecodeAfter[contactV2](&ch)
	if err != nil {
		return err
	}
	c.seen = append(c.seen, fmt.Sprintf("%s%s>%s", before.Value.First, before.Value.Last, after.Value.First))
	return nil
}

func TestMigration(t *testing.T) {
	t.Parallel()
	const n = 60
	shared := oldContacts(t, n, memstore.Options{MaxWrites: 64})
	// Without a migration the program is refused.
	if err := reopen(t, shared, newContacts().schema, nil); !errors.Is(err, engine.ErrInvalid) {
		t.Fatalf("got %v, want invalid", err)
	}
	calls := 0
	open := func() (*contacts, *changes, *engine.DB) {
		c, hook := newContacts(), &changes{}
		c.schema.OnWrite(hook)
		engine.Migrate(c.schema, c.all, "2026-11-split-name", func(tx *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
			calls++
			return split(tx, d, stored)
		})
		return c, hook, enginetest.Open(t, c.schema, func(o *engine.Options) { o.Store, o.Clock = shared.Open(), fixedClock })
	}
	c, hook, db := open()
	view(t, db, func(r *engine.ReadTx) error {
		for _, x := range []*engine.Index[contactV2]{c.byAge, c.byLast} {
			if got, err := x.Scan(r).Count(); err != nil || got != n {
				t.Errorf("%s has %d (%v), want %d", x.Name(), got, err, n)
			}
		}
		for i := range n {
			d, err := c.byAge.One(r, i)
			if err != nil || d.Value != (contactV2{fmt.Sprint("First", i), fmt.Sprint("Last", i), i}) {
				t.Fatalf("number %d is %+v (%v)", i, d, err)
			}
		}
		return nil
	})
	for _, kv := range rows(t, shared, 'd') {
		if strings.Contains(string(kv.Value), `"name"`) {
			t.Fatalf("the old member is still there: %s", kv.Value)
		}
	}
	if len(hook.seen) < n || hook.seen[0] != ">First0" {
		t.Errorf("hooks saw %d updates, the first %q", len(hook.seen), hook.seen[:1])
	}
	records, err := db.Migrations(context.Background())
	must(t, err)
	if len(records) != 1 || records[0].Name != "2026-11-split-name" || records[0].Collection != "contacts" || records[0].Documents != n ||
		!records[0].Started.Equal(fixedClock()) || !records[0].Finished.Equal(fixedClock()) {
		t.Errorf("the record is %+v", records)
	}
	must(t, db.Close())
	calls = 0
	_, _, db = open()
	must(t, db.Close())
	if calls != 0 {
		t.Errorf("it ran again, %d times", calls)
	}
	// The record outlives the registration.
	must(t, reopen(t, shared, newContacts().schema, func(db *engine.DB) {
		if again, err := db.Migrations(context.Background()); err != nil || len(again) != 1 {
			t.Errorf("the records are %+v (%v)", again, err)
		}
	}))
}

// In a new database there is nothing to migrate, now or later.
func TestMigrationOfANewDatabase(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	for range 2 {
		c := newContacts()
		engine.Migrate(c.schema, c.all, "m", func(*engine.Tx, *engine.Doc[contactV2], json.RawMessage) error { return errors.New("called") })
		must(t, reopen(t, shared, c.schema, func(db *engine.DB) {
			update(t, db, func(tx *engine.Tx) error {
				return second(c.all.Insert(tx, contactV2{"a", fmt.Sprint(len(rows(t, shared, 'd'))), 1}))
			})
			if r, err := db.Migrations(context.Background()); err != nil || len(r) != 1 || r[0].Finished.IsZero() || r[0].Documents != 0 {
				t.Errorf("the records are %+v (%v)", r, err)
			}
		}))
	}
}

// A migration that fails stops Open at its document; what was done before is not done again.
func TestMigrationThatFails(t *testing.T) {
	t.Parallel()
	const n, batch = 200, 128
	shared := oldContacts(t, n, memstore.Options{})
	boom := errors.New("boom")
	for _, failure := range []struct {
		do   func(d *engine.Doc[contactV2]) error
		want error
	}{
		{func(*engine.Doc[contactV2]) error { return boom }, boom},
		{func(d *engine.Doc[contactV2]) error { d.Value.Age = -1; return nil }, engine.ErrInvalid},
		{func(d *engine.Doc[contactV2]) error { d.Value = contactV2{}; return nil }, engine.ErrInvalid}, // nothing done
		{func(d *engine.Doc[contactV2]) error { d.Value.Last = "Last3"; return nil }, engine.ErrAlreadyExists},
		{func(*engine.Doc[contactV2]) error { panic("boom") }, nil},
	} {
		c := newContacts()
		id := ""
		engine.Migrate(c.schema, c.all, "m", func(tx *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
			if err := split(tx, d, stored); err != nil || d.Value.Age != 150 {
				return err
			}
			id = string(d.ID)
			return failure.do(d)
		})
		err := reopen(t, shared, c.schema, nil)
		if err == nil || failure.want != nil && !errors.Is(err, failure.want) {
			t.Fatalf("got %v, want %v", err, failure.want)
		}
		if failure.want != nil && (!strings.Contains(err.Error(), `migration "m"`) || !strings.Contains(err.Error(), id)) {
			t.Errorf("%q does not name the migration and the document %s", err, id)
		}
	}
	c := newContacts()
	again := map[engine.ID[contactV2]]bool{}
	engine.Migrate(c.schema, c.all, "m", func(tx *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
		again[d.ID] = true
		return split(tx, d, stored)
	})
	db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Store = shared.Open() })
	if len(again) != n-batch {
		t.Errorf("%d documents went through it again, of %d", len(again), n)
	}
	if r, err := db.Migrations(context.Background()); err != nil || r[0].Documents != n {
		t.Errorf("the records are %+v (%v)", r, err)
	}
}

// Wherever a migration is interrupted, each document goes through it once in the end.
func TestInterruptedMigration(t *testing.T) {
	t.Parallel()
	const n = 60
	type step struct {
		First string `json:"first"`
		Last  string `json:"last"`
		Age   int    `json:"age"`
		Steps int    `json:"steps"`
	}
	for stop := range 10 {
		shared := oldContacts(t, n, memstore.Options{MaxWrites: 40})
		program := func() (*engine.Schema, *engine.Collection[step]) {
			s := engine.NewSchema()
			c := engine.Define[step](s, "contacts")
			c.AddIndex("byAge", "age")
			for _, name := range []string{"one", "two"} {
				engine.Migrate(s, c, name, func(_ *engine.Tx, d *engine.Doc[step], _ json.RawMessage) error { d.Value.Steps++; return nil })
			}
			return s, c
		}
		s, _ := program()
		db, err := engine.Open(s, engine.Options{Store: &limited{Store: shared.Open(), left: stop}, Limits: patient, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			must(t, db.Close())
			if stop < 3 {
				t.Errorf("60 documents in %d commits of 34 rows", stop)
			}
		}
		s, c := program()
		db = enginetest.Open(t, s, func(o *engine.Options) { o.Store = shared.Open() })
		view(t, db, func(r *engine.ReadTx) error {
			for d, err := range c.All(r).Docs() {
				if err != nil {
					return err
				}
				if d.Value.Steps != 2 {
					t.Errorf("stopped after %d commits: a document has had %d steps, want 2", stop, d.Value.Steps)
				}
			}
			return nil
		})
		records, err := db.Migrations(context.Background())
		must(t, err)
		for _, r := range records {
			if r.Documents != n || r.Finished.IsZero() {
				t.Errorf("stopped after %d commits: the record is %+v", stop, r)
			}
		}
	}
}

// Migrations of one collection that follow one another are one: what lies between them need not satisfy the schema. A later one
// that an older program did not have goes through all documents, those that the first has done alone included.
func TestMigrationsTogether(t *testing.T) {
	t.Parallel()
	shared := oldContacts(t, 20, memstore.Options{})
	c := newContacts()
	s := c.schema
	engine.Migrate(s, c.all, "name", func(_ *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
		var old contactV1
		if err := json.Unmarshal(stored, &old); err != nil {
			return err
		}
		d.Value.First = old.Name // Last is empty, which breaks the schema
		return nil
	})
	engine.Migrate(s, c.all, "last", func(_ *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
		var members map[string]any
		if err := json.Unmarshal(stored, &members); err != nil {
			return err
		}
		if members["first"] != d.Value.First || members["name"] != d.Value.First || members["_id"] != string(d.ID) {
			return fmt.Errorf("stored is %s, and the document %+v", stored, d.Value)
		}
		d.Value.First, d.Value.Last, _ = strings.Cut(d.Value.First, " ")
		return nil
	})
	must(t, reopen(t, shared, s, func(db *engine.DB) { must(t, db.Check(context.Background())) }))
	c = newContacts()
	engine.Migrate(c.schema, c.all, "first of all", nil) // wrong in two ways
	if err := reopen(t, shared, c.schema, nil); err == nil || !strings.Contains(err.Error(), "first of all") {
		t.Errorf("got %v, want that it is wrong", err)
	}
	c = newContacts()
	order := ""
	for _, name := range []string{"zero", "name", "last", "three"} {
		engine.Migrate(c.schema, c.all, name, func(_ *engine.Tx, d *engine.Doc[contactV2], _ json.RawMessage) error {
			if d.Value.First == "First7" {
				order += name + " "
			}
			return nil
		})
	}
	writes := newSpy(shared.Open())
	must(t, reopen(t, shared, c.schema, nil, func(o *engine.Options) { o.Store = writes }))
	if order != "zero three " {
		t.Errorf("the others ran as %q", order)
	}
	if _, _, keys := writes.counts(); keys['d'] != 0 {
		t.Errorf("%d documents were written although nothing changed", keys['d'])
	}
}

// A migration may delete its document, write it by itself, and write others; batches shrink to what the limits allow.
func TestMigrationThatWrites(t *testing.T) {
	t.Parallel()
	shared := oldContacts(t, 30, memstore.Options{MaxWrites: 30})
	c := newContacts()
	moved := engine.Define[member](c.schema, "moved")
	engine.Migrate(c.schema, c.all, "m", func(tx *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
		if err := split(tx, d, stored); err != nil {
			return err
		}
		switch d.Value.Age % 3 {
		case 0:
			for i := range 4 {
				if _, err := moved.Insert(tx, member{fmt.Sprint(d.Value.Last, "-", i), d.Value.Age}); err != nil {
					return err
				}
			}
			return c.all.Delete(tx, d.ID)
		case 1:
			d.Value.First = "by itself"
			return c.all.Replace(tx, d.ID, d.Value)
		}
		return nil
	})
	db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Store = shared.Open() })
	view(t, db, func(r *engine.ReadTx) error {
		left, err := c.all.All(r).Count()
		if err != nil {
			return err
		}
		others, err := moved.All(r).Count()
		if err != nil || left != 20 || others != 40 {
			t.Errorf("%d documents are left, %d were written elsewhere (%v)", left, others, err)
		}
		d, err := c.byAge.One(r, 1)
		if err != nil || d.Value.First != "by itself" {
			t.Errorf("the document that it wrote by itself is %+v (%v)", d, err)
		}
		return nil
	})
}

// A function that exceeds its time fails when one document is too much, and not before.
func TestMigrationPerDocumentLimits(t *testing.T) {
	t.Parallel()
	shared := oldContacts(t, 20, memstore.Options{})
	c := newContacts()
	pad := engine.Define[noteV1](c.schema, "notes")
	most := 0
	engine.Migrate(c.schema, c.all, "m", func(tx *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
		if err := split(tx, d, stored); err != nil {
			return err
		}
		most = max(most, d.Value.Age)
		return second(pad.Insert(tx, noteV1{strings.Repeat("x", 900)}))
	})
	// A thousand bytes a document and a little more: three or so fit.
	db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Store, o.Limits.WriteBytes = shared.Open(), 4000 })
	view(t, db, func(r *engine.ReadTx) error {
		if n, err := pad.All(r).Count(); err != nil || n != 20 || most != 19 {
			t.Errorf("%d notes (%v), want one a document", n, err)
		}
		return nil
	})
	shared = oldContacts(t, 20, memstore.Options{})
	err := reopen(t, shared, c.schema, nil, func(o *engine.Options) { o.Limits.WriteBytes = 500 })
	var limit *engine.LimitError
	if !errors.As(err, &limit) || limit.Limit != "WriteBytes" || !strings.Contains(err.Error(), `migration "m"`) {
		t.Errorf("got %v, want the limit and the migration", err)
	}
}

func TestMigrationRegistration(t *testing.T) {
	t.Parallel()
	fn := func(*engine.Tx, *engine.Doc[contactV2], json.RawMessage) error { return nil }
	elsewhere := newContacts()
	c := newContacts()
	engine.Migrate(c.schema, c.all, "", fn)
	engine.Migrate(c.schema, c.all, "with space", fn)
	engine.Migrate(c.schema, c.all, "without", nil)
	engine.Migrate(c.schema, elsewhere.all, "elsewhere", fn)
	engine.Migrate(c.schema, (*engine.Collection[contactV2])(nil), "none", fn)
	engine.Migrate(c.schema, c.all, "twice", fn)
	engine.Migrate(c.schema, c.all, "twice", fn)
	err := reopen(t, memstore.NewShared(memstore.Options{}), c.schema, nil)
	if err == nil {
		t.Fatal("opened")
	}
	for _, want := range []string{`""`, "with space", "without", "elsewhere", "none", "registered twice", "migrate_test.go:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// A backup of an older program is restored by a newer one: its migrations run when it is opened, not before, and until then
// nothing is imported, since they would take it for old.
func TestRestoreBeforeMigrations(t *testing.T) {
	t.Parallel()
	old := oldContacts(t, 7, memstore.Options{})
	s := engine.NewSchema()
	engine.Define[contactV1](s, "contacts").AddIndex("byAge", "age")
	db, err := engine.Open(s, engine.Options{Store: old.Open(), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	full, _ := backup(t, db, 0)
	must(t, db.Close())

	shared := memstore.NewShared(memstore.Options{})
	c := newContacts()
	engine.Migrate(c.schema, c.all, "split", split)
	o := engine.Options{Store: shared.Open(), Limits: patient, Logger: slog.New(slog.DiscardHandler)}
	info, err := engine.Restore(t.Context(), c.schema, o, bytes.NewReader(full))
	if err != nil || !slices.Equal(info.Migrations, []string{"split"}) || info.Documents != 7 {
		t.Fatalf("restored %+v, %v", info, err)
	}

	o.Store, o.Maintenance = shared.Open(), true
	db, err = engine.Open(c.schema, o)
	must(t, err)
	line := `{"first":"New","last":"One","age":1}`
	if _, err := db.Import(t.Context(), "contacts", strings.NewReader(line), engine.ImportOptions{}); !errors.Is(err, &engine.Error{Code: engine.CodeConflict}) {
		t.Errorf("an import before the migration: %v", err)
	}
	if err := db.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `migration "split" has yet to run`) {
		t.Errorf("the check says %v", err)
	}
	must(t, db.Close())

	o.Store, o.Maintenance = shared.Open(), false
	db, err = engine.Open(c.schema, o)
	must(t, err)
	if _, err := db.Import(t.Context(), "contacts", strings.NewReader(line), engine.ImportOptions{}); err != nil {
		t.Errorf("an import after the migration: %v", err)
	}
	must(t, db.Check(t.Context()))
	must(t, db.Close())
}

// Documents that a migration makes in its own collection are made as they are to be: no batch takes them up.
func TestMigrationThatAddsToItsCollection(t *testing.T) {
	t.Parallel()
	const n = 300 // some batches
	shared := oldContacts(t, n, memstore.Options{})
	for interrupted := range 2 {
		c := newContacts()
		calls := 0
		engine.Migrate(c.schema, c.all, "twins", func(tx *engine.Tx, d *engine.Doc[contactV2], stored json.RawMessage) error {
			if calls++; calls > 3*n {
				return errors.New("this does not end")
			}
			if interrupted == 0 && calls > n/2 {
				return errors.New("interrupted")
			}
			if err := split(tx, d, stored); err != nil {
				return err
			}
			return second(c.all.Insert(tx, contactV2{First: d.Value.First, Last: "twin of " + d.Value.Last, Age: d.Value.Age}))
		})
		err := reopen(t, shared, c.schema, func(db *engine.DB) {
			view(t, db, func(r *engine.ReadTx) error {
				if got, err := c.all.All(r).Count(); err != nil || got != 2*n {
					t.Errorf("%d documents (%v), want each and its twin: %d", got, err, 2*n)
				}
				return nil
			})
			infos, err := db.Migrations(t.Context())
			must(t, err)
			if infos[0].Documents != n {
				t.Errorf("the migration has gone through %d documents, want %d", infos[0].Documents, n)
			}
		})
		if interrupted == 0 && (err == nil || !strings.Contains(err.Error(), "interrupted")) {
			t.Fatalf("the first time: %v", err)
		}
		if interrupted == 1 {
			must(t, err)
		}
	}
}

// A migration whose single document takes too long is named by the error.
func TestMigrationThatTakesTooLong(t *testing.T) {
	t.Parallel()
	shared := oldContacts(t, 3, memstore.Options{})
	c := newContacts()
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	engine.Migrate(c.schema, c.all, "endless", func(*engine.Tx, *engine.Doc[contactV2], json.RawMessage) error {
		<-stop
		return nil
	})
	err := reopen(t, shared, c.schema, nil, func(o *engine.Options) { o.Limits.FunctionTime = 20 * time.Millisecond })
	var limit *engine.LimitError
	if !errors.As(err, &limit) || limit.Limit != "FunctionTime" || !strings.Contains(err.Error(), `"endless"`) {
		t.Errorf("got %v, want the limit and the migration", err)
	}
}
