package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Three versions of a program's types. They share the name that its collections have.
type (
	personV1 struct {
		Name string `json:"name"`
		Age  int    `json:"age"`
	}
	personV2 struct {
		Name string `json:"name" jsonschema:"maxLength=5"`
		Age  int    `json:"age" jsonschema:"maximum=20000"`
	}
	noteV1 struct {
		Text string `json:"text"`
	}
	noteV2 struct {
		Text string `json:"text" jsonschema:"maxLength=3"`
	}
)

// reopen opens a schema over a shared memory and closes it again after use.
func reopen(t *testing.T, shared *memstore.Shared, s *engine.Schema, use func(*engine.DB), change ...func(*engine.Options)) error {
	t.Helper()
	o := engine.Options{Store: shared.Open(), Limits: patient, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	db, err := engine.Open(s, o)
	if err != nil {
		return err
	}
	if use != nil {
		use(db)
	}
	return db.Close()
}

func allowInvalid(o *engine.Options) { o.AllowInvalid = true }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestIndexIsBuiltAndRemoved(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	plain := func() (*engine.Schema, *engine.Collection[personV2]) {
		s := engine.NewSchema()
		return s, engine.Define[personV2](s, "people")
	}
	s, people := plain()
	const n = 10_000 // more than one batch
	must(t, reopen(t, shared, s, func(db *engine.DB) {
		for i := 0; i < n; i += 1000 {
			update(t, db, func(tx *engine.Tx) error {
				for j := range 1000 {
					if _, err := people.Insert(tx, personV2{"p", i + j}); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}))
	indexRows := func() (rows int) {
		store := shared.Open()
		head, err := store.Head(context.Background())
		must(t, err)
		snap, err := store.At(context.Background(), head)
		must(t, err)
		defer snap.Close()
		for _, err := range snap.Scan([]byte("i"), []byte("j"), false, 0) {
			must(t, err)
			rows++
		}
		return rows
	}
	s, people = plain()
	byAge := people.AddIndex("byAge", "-age")
	unique := people.AddUnique("unique", "age", "name")
	must(t, reopen(t, shared, s, func(db *engine.DB) {
		waitIndexes(t, db)
		must(t, db.Check(context.Background()))
		view(t, db, func(r *engine.ReadTx) error {
			d, err := byAge.Scan(r).First()
			if err != nil || d.Value.Age != n-1 {
				t.Errorf("first of the descending index: %+v (%v)", d, err)
			}
			d, err = unique.One(r, 77, "p")
			if err != nil || d.Value.Age != 77 {
				t.Errorf("by the unique index: %+v (%v)", d, err)
			}
			return nil
		})
	}))
	if rows := indexRows(); rows != 2*n {
		t.Errorf("%d index entries, want %d", rows, 2*n)
	}
	s, _ = plain()
	must(t, reopen(t, shared, s, func(db *engine.DB) {
		eventually(t, "the entries of indexes that are gone, too", func() bool { return indexRows() == 0 })
		must(t, db.Check(context.Background()))
	}))
}

// While an index is not declared, nobody keeps it; when it comes back, it is built anew.
func TestIndexThatComesBack(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	for round := range 4 {
		s := engine.NewSchema()
		people := engine.Define[personV2](s, "people")
		var byAge *engine.Index[personV2]
		if round%2 == 0 {
			byAge = people.AddIndex("byAge", "age")
		}
		must(t, reopen(t, shared, s, func(db *engine.DB) {
			update(t, db, func(tx *engine.Tx) error { _, err := people.Insert(tx, personV2{"p", round}); return err })
			if byAge != nil {
				view(t, db, func(r *engine.ReadTx) error {
					if n, err := byAge.Scan(r).Count(); err != nil || n != round+1 {
						t.Errorf("round %d: the index has %d (%v)", round, n, err)
					}
					return nil
				})
			}
			must(t, db.Check(context.Background()))
		}))
	}
}

// A changed definition under the same name is another index.
func TestRedefinedIndex(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	for _, paths := range [][]string{{"age"}, {"-age"}, {"age", "name"}, {"name", "age"}} {
		s := engine.NewSchema()
		people := engine.Define[personV2](s, "people")
		x := people.AddIndex("x", paths...)
		must(t, reopen(t, shared, s, func(db *engine.DB) {
			update(t, db, func(tx *engine.Tx) error { _, err := people.Insert(tx, personV2{"p", 1}); return err })
			must(t, db.Check(context.Background()))
			view(t, db, func(r *engine.ReadTx) error {
				all, err := people.All(r).Count()
				if err != nil {
					return err
				}
				if n, err := x.Scan(r).Count(); err != nil || n != all {
					t.Errorf("%v: the index has %d of %d (%v)", paths, n, all, err)
				}
				return nil
			})
		}))
	}
}

func TestSchemaChangeIsRefused(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	s1 := engine.NewSchema()
	old := engine.Define[personV1](s1, "people")
	must(t, reopen(t, shared, s1, func(db *engine.DB) {
		update(t, db, func(tx *engine.Tx) error {
			for _, p := range []personV1{{"short", 1}, {"too long", 2}, {"x", 99_999}} {
				if _, err := old.Insert(tx, p); err != nil {
					return err
				}
			}
			return nil
		})
	}))
	v2 := func() (*engine.Schema, *engine.Collection[personV2], *engine.Index[personV2]) {
		s := engine.NewSchema()
		c := engine.Define[personV2](s, "people")
		return s, c, c.AddIndex("byAge", "age")
	}
	s2, _, _ := v2()
	err := reopen(t, shared, s2, nil)
	var invalid *engine.Error
	if !errors.As(err, &invalid) || invalid.Code != engine.CodeInvalid || len(invalid.Issues) == 0 {
		t.Fatalf("got %v, want an error of code invalid with issues", err)
	}
	for _, part := range []string{"name", "age", "people"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	// With the option it opens; what is invalid can be read, but not written without being put right.
	s2, people, byAge := v2()
	must(t, reopen(t, shared, s2, func(db *engine.DB) {
		update(t, db, func(tx *engine.Tx) error {
			docs, err := byAge.Scan(tx).Collect()
			if err != nil || len(docs) != 3 {
				t.Fatalf("%d documents (%v), want all 3", len(docs), err)
			}
			long := docs[1]
			if long.Value.Name != "too long" {
				t.Fatalf("second by age is %+v", long)
			}
			if err := people.Patch(tx, long.ID, func(p *personV2) error { p.Age = 3; return nil }); !errors.Is(err, engine.ErrInvalid) {
				t.Errorf("a patch that leaves it invalid: %v, want invalid", err)
			}
			return people.Patch(tx, long.ID, func(p *personV2) error { p.Name = "fits"; return nil })
		})
	}, allowInvalid))
	// As long as something is invalid, only the option opens it.
	s2, _, _ = v2()
	if err := reopen(t, shared, s2, nil); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("opened again without the option: %v, want invalid", err)
	}
	s2, people, byAge = v2()
	must(t, reopen(t, shared, s2, func(db *engine.DB) {
		update(t, db, func(tx *engine.Tx) error {
			d, err := byAge.Scan(tx).Desc().First()
			if err != nil {
				return err
			}
			return people.Delete(tx, d.ID)
		})
	}, allowInvalid))
	s2, _, _ = v2()
	must(t, reopen(t, shared, s2, func(db *engine.DB) { must(t, db.Check(context.Background())) }))
}

// A refused Open leaves the database to the program that it belongs to, indexes included.
func TestRefusedOpenChangesNothing(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	v1 := func() (*engine.Schema, *engine.Collection[personV2], *engine.Index[personV2], *engine.Collection[noteV1]) {
		s := engine.NewSchema()
		people, notes := engine.Define[personV2](s, "people"), engine.Define[noteV1](s, "notes")
		return s, people, people.AddIndex("byAge", "age"), notes
	}
	s, people, _, notes := v1()
	must(t, reopen(t, shared, s, func(db *engine.DB) {
		update(t, db, func(tx *engine.Tx) error {
			if _, err := people.Insert(tx, personV2{"p", 1}); err != nil {
				return err
			}
			_, err := notes.Insert(tx, noteV1{"long text"})
			return err
		})
	}))
	s2 := engine.NewSchema()
	engine.Define[personV2](s2, "people") // without its index
	engine.Define[noteV2](s2, "notes")
	if err := reopen(t, shared, s2, nil); !errors.Is(err, engine.ErrInvalid) {
		t.Fatalf("got %v, want invalid", err)
	}
	s, _, byAge, _ := v1()
	must(t, reopen(t, shared, s, func(db *engine.DB) {
		view(t, db, func(r *engine.ReadTx) error {
			if n, err := byAge.Eq(r, 1).Count(); err != nil || n != 1 {
				t.Errorf("the index has %d (%v), want 1", n, err)
			}
			return nil
		})
		must(t, db.Check(context.Background()))
	}))
}

// Wherever Open is interrupted, the next one puts things right.
func TestInterruptedOpen(t *testing.T) {
	t.Parallel()
	for stop := range 12 {
		shared := memstore.NewShared(memstore.Options{MaxWrites: 20, MaxBytes: 64 << 10})
		s := engine.NewSchema()
		people := engine.Define[personV2](s, "people")
		people.AddIndex("going", "name")
		must(t, reopen(t, shared, s, func(db *engine.DB) {
			for i := range 40 {
				update(t, db, func(tx *engine.Tx) error { _, err := people.Insert(tx, personV2{"p", i}); return err })
			}
		}))
		s2 := engine.NewSchema()
		people2 := engine.Define[personV2](s2, "people")
		coming := people2.AddIndex("coming", "age")
		broken := &limited{Store: shared.Open(), left: stop}
		db, err := engine.Open(s2, engine.Options{Store: broken})
		if err == nil {
			must(t, db.Close())
			if stop < 3 {
				t.Errorf("building in %d commits of 16 rows", stop)
			}
		}
		// Either program may come next.
		must(t, reopen(t, shared, s, func(db *engine.DB) { must(t, db.Check(context.Background())) }))
		must(t, reopen(t, shared, s2, func(db *engine.DB) {
			must(t, db.Check(context.Background()))
			view(t, db, func(r *engine.ReadTx) error {
				if n, err := coming.Scan(r).Count(); err != nil || n != 40 {
					t.Errorf("stopped after %d commits: the index has %d (%v)", stop, n, err)
				}
				return nil
			})
		}))
	}
}

// limited is a store that fails after a number of commits.
type limited struct {
	storage.Store
	left int
}

func (l *limited) Budget() (int, int64) { return l.Store.(storage.Budget).Budget() }

func (l *limited) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	if l.left--; l.left < 0 {
		return 0, errors.New("interrupted")
	}
	return l.Store.Commit(ctx, id, build)
}

func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	putRow(t, shared, "mc", []byte(`{"format":3,"collections":["unheard","of"]}`))
	c := newCounters()
	err := reopen(t, shared, c.schema, nil)
	if !errors.Is(err, engine.ErrNewerFormat) || !strings.Contains(err.Error(), "format 3") || !strings.Contains(err.Error(), "knows 2") {
		t.Errorf("got %v, want ErrNewerFormat with both formats", err)
	}
	err = engine.Inspect(context.Background(), c.schema, engine.Options{Store: shared.Open()})
	if !errors.Is(err, engine.ErrNewerFormat) {
		t.Errorf("a check: %v, want ErrNewerFormat", err)
	}
	putRow(t, shared, "mc", []byte(`{"format":1,"coll`))
	if err := reopen(t, shared, c.schema, nil); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("got %v, want storage.ErrCorrupt", err)
	}
}

// putRow writes one row past the engine; no value removes it.
func putRow(t *testing.T, shared *memstore.Shared, key string, value []byte) {
	t.Helper()
	store := shared.Open()
	_, err := store.Commit(context.Background(), storage.GroupID{byte(len(value)), 9}, func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: []storage.Write{{Key: []byte(key), Value: value, Delete: value == nil}}}, nil
	})
	must(t, err)
}

// An unchanged program opens without writing anything.
func TestReopeningUnchangedWritesNothing(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	c := newCounters()
	must(t, reopen(t, shared, c.schema, nil))
	store := newSpy(shared.Open())
	db := enginetest.Open(t, newCounters().schema, func(o *engine.Options) { o.Store = store })
	_ = db
	if groups, _, _ := store.counts(); groups != 0 {
		t.Errorf("%d commits", groups)
	}
}

// A failing OnOpen hook fails Open, and the store is closed.
func TestOnOpen(t *testing.T) {
	t.Parallel()
	c := newCounters()
	boom := errors.New("boom")
	fail := true
	c.schema.OnOpen(func(ctx context.Context, db *engine.DB) error {
		if err := c.add(ctx, db, "opened"); err != nil {
			return err
		}
		if fail {
			return boom
		}
		return nil
	})
	shared := memstore.NewShared(memstore.Options{})
	store := shared.Open()
	if _, err := engine.Open(c.schema, engine.Options{Store: store}); !errors.Is(err, boom) {
		t.Errorf("got %v, want the hook's error", err)
	}
	if _, err := store.Head(context.Background()); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("the store of a failed Open: %v, want it closed", err)
	}
	fail = false
	must(t, reopen(t, shared, c.schema, func(db *engine.DB) {
		if n := c.value(t, db, "opened"); n != 2 {
			t.Errorf("the hooks' writes: %d, want 2", n)
		}
	}))
}

// Ids stay apart even where clock and seed give the same ones again.
func TestIDsAreNotReused(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	for i := range 3 {
		c := newCounters()
		must(t, reopen(t, shared, c.schema, func(db *engine.DB) {
			must(t, c.add(context.Background(), db, fmt.Sprint(i)))
			view(t, db, func(r *engine.ReadTx) error {
				if n, err := c.tallies.All(r).Count(); err != nil || n != i+1 {
					t.Errorf("%d documents (%v) after %d inserts", n, err, i+1)
				}
				return nil
			})
		}, func(o *engine.Options) { o.Seed, o.Clock = 5, fixedClock }))
	}
}

func TestOpenWithoutAPlace(t *testing.T) {
	t.Parallel()
	if _, err := engine.Open(engine.NewSchema(), engine.Options{}); err == nil || !strings.Contains(err.Error(), "Dir") {
		t.Errorf("got %v, want an error that says what is missing", err)
	}
}

// The embedded store keeps what was written.
func TestEmbeddedStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 2 {
		c := newCounters()
		db, err := engine.Open(c.schema, engine.Options{Dir: dir, Limits: patient, Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		if n := c.value(t, db, "a"); n != i {
			t.Errorf("the counter is %d, want %d", n, i)
		}
		must(t, c.add(context.Background(), db, "a"))
		must(t, db.Close())
	}
}
