package engine_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

type member struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
}

// members is one program: a collection with the indexes that it declares.
type members struct {
	schema *engine.Schema
	all    *engine.Collection[member]
	byAge  *engine.Index[member]
	byName *engine.Index[member] // unique
}

// withIndexes declares the indexes that are named: "byAge", "byName".
func withIndexes(names ...string) *members {
	s := engine.NewSchema()
	m := &members{schema: s, all: engine.Define[member](s, "members")}
	for _, n := range names {
		switch n {
		case "byAge":
			m.byAge = m.all.AddIndex("byAge", "age")
		case "byName":
			m.byName = m.all.AddUnique("byName", "name")
		}
	}
	if m.byAge != nil {
		engine.Query(s, "members:ofAge", func(r *engine.ReadTx, a struct {
			Age int `json:"age"`
		},
		) (int, error) {
			return m.byAge.Eq(r, a.Age).Count()
		})
	}
	return m
}

// fill inserts members m0, m1, … with ages that count up, in transactions of size each.
func (m *members) fill(t testing.TB, db *engine.DB, n, size int) {
	t.Helper()
	for i := 0; i < n; i += size {
		update(t, db, func(tx *engine.Tx) error {
			for j := i; j < min(n, i+size); j++ {
				if _, err := m.all.Insert(tx, member{fmt.Sprint("m", j), j}); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// small is a memory whose commits are small: 14 documents go into one batch of a build.
func small() *memstore.Shared { return memstore.NewShared(memstore.Options{MaxWrites: 20}) }

const smallBatch = 14

// gate is a store that can hold back commits which write index entries, at the head of the queue.
type gate struct {
	storage.Store
	arrived chan struct{}
	pass    chan struct{}
	entries atomic.Int64 // written
}

func newGate(s storage.Store) *gate {
	return &gate{Store: s, arrived: make(chan struct{}, 1<<16), pass: make(chan struct{})}
}

func (g *gate) Budget() (int, int64) { return g.Store.(storage.Budget).Budget() }

// next lets one commit through.
func (g *gate) next(t testing.TB) {
	t.Helper()
	select {
	case g.pass <- struct{}{}:
	case <-time.After(20 * time.Second):
		t.Fatal("no commit is waiting at the gate")
	}
}

// open lets everything through from now on.
func (g *gate) open() { close(g.pass) }

func (g *gate) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	return g.Store.Commit(ctx, id, func(missed []storage.LogEntry) (storage.Group, error) {
		group, err := build(missed)
		n := int64(0)
		for _, w := range group.Writes {
			if w.Key[0] == 'i' {
				n++
			}
		}
		if n > 0 {
			g.arrived <- struct{}{}
			<-g.pass
			g.entries.Add(n)
		}
		return group, err
	})
}

// quietly opens a store that is going to fail: nothing else of Open may meet that.
func quietly(s storage.Store) engine.Options {
	return engine.Options{Store: s, BuildAtOpen: -1, Jobs: engine.JobOptions{Off: true}, Logger: slog.New(slog.DiscardHandler)}
}

func inBackground(o *engine.Options) { o.BuildAtOpen = -1 }

func waitIndexes(t testing.TB, db *engine.DB) {
	t.Helper()
	if err := settled(db); err != nil {
		t.Fatalf("waiting for the indexes: %v", err)
	}
}

// settled is WaitIndexes for a minute.
func settled(db *engine.DB) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return db.WaitIndexes(ctx)
}

// While an index is built, writes go on; in the end it is what the documents are.
func TestIndexIsBuiltWhileOthersWrite(t *testing.T) {
	t.Parallel()
	for name, reopenable := range map[string]func(t *testing.T) func() storage.Store{
		"mem": func(*testing.T) func() storage.Store {
			shared := memstore.NewShared(memstore.Options{})
			return func() storage.Store { return shared.Open() }
		},
		"badger": func(t *testing.T) func() storage.Store {
			dir := t.TempDir()
			return func() storage.Store {
				s, err := badgerstore.Open(badgerstore.Options{Dir: dir})
				must(t, err)
				return s
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := reopenable(t)
			const n = 3000
			before := withIndexes()
			db := enginetest.Open(t, before.schema, func(o *engine.Options) { o.Store = open() })
			before.fill(t, db, n, 1000)
			enginetest.Finish(t, db)

			m := withIndexes("byAge", "byName")
			db = enginetest.Open(t, m.schema, inBackground, func(o *engine.Options) { o.Store = open() })
			var ids []engine.ID[member]
			view(t, db, func(r *engine.ReadTx) error {
				for d, err := range m.all.All(r).Docs() {
					if err != nil {
						return err
					}
					ids = append(ids, d.ID)
				}
				return nil
			})
			seed := rand.Uint64()
			var writers sync.WaitGroup
			for w := range 4 {
				writers.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(w)))
					for i := range 150 {
						err := db.Update(context.Background(), func(tx *engine.Tx) error {
							id := ids[r.IntN(len(ids))]
							switch i % 3 {
							case 0:
								_, err := m.all.Insert(tx, member{fmt.Sprint("new", w, "-", i), -i})
								return err
							case 1:
								return ignoreNotFound(m.all.Patch(tx, id, func(v *member) error { v.Age += 100_000; return nil }))
							}
							return ignoreNotFound(m.all.Delete(tx, id))
						})
						if err != nil {
							t.Error(err)
						}
						if i%10 != 0 {
							continue
						}
						// A query is right, or says that it cannot be.
						err = db.View(context.Background(), func(r *engine.ReadTx) error {
							all, err := m.all.All(r).Count()
							if err != nil {
								return err
							}
							if got, err := m.byAge.Scan(r).Count(); err != nil || got != all {
								return fmt.Errorf("the index has %d of %d: %w", got, all, err)
							}
							return nil
						})
						if err != nil && !errors.Is(err, engine.ErrIndexNotReady) {
							t.Error(err)
						}
					}
				})
			}
			writers.Wait()
			waitIndexes(t, db)
			view(t, db, func(r *engine.ReadTx) error {
				all, err := m.all.All(r).Count()
				if err != nil {
					return err
				}
				byAge, err := m.byAge.Scan(r).Count()
				if err != nil {
					return err
				}
				byName, err := m.byName.Scan(r).Count()
				if err != nil || byAge != all || byName != all {
					t.Errorf("%d documents, %d and %d in the indexes (%v)", all, byAge, byName, err)
				}
				return nil
			})
			must(t, db.Check(context.Background()))
		})
	}
}

func ignoreNotFound(err error) error {
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	return err
}

// A query on an index that is not ready fails with a code, and a live query runs again when it is.
func TestLiveQueryOnAnIndexBeingBuilt(t *testing.T) {
	t.Parallel()
	shared := small()
	before := withIndexes()
	must(t, reopen(t, shared, before.schema, func(db *engine.DB) { before.fill(t, db, 3*smallBatch, 5) }))
	g := newGate(shared.Open())
	m := withIndexes("byAge")
	db := enginetest.Open(t, m.schema, inBackground, func(o *engine.Options) { o.Store = g })
	t.Cleanup(g.open)
	within(t, "the first batch", g.arrived)
	call := engine.Call{Function: "members:ofAge", Args: []byte(`{"age":7}`)}
	e, err := db.Evaluate(context.Background(), db.Published(), call)
	must(t, err)
	if !errors.Is(e.Err, engine.ErrIndexNotReady) || e.Err.Code != engine.CodeNotReady {
		t.Fatalf("evaluated to %s, %v; want code not_ready", e.Value, e.Err)
	}
	if data := e.Err.Data.(map[string]any); data["collection"] != "members" || data["index"] != "byAge" || data["state"] != "building" {
		t.Errorf("the error's data is %v", data)
	}
	fired := make(chan struct{})
	db.Watch(e, func() { close(fired) })
	if i := db.Indexes(); len(i) != 1 || i[0].State != engine.IndexBuilding || i[0].Name != "byAge" || i[0].Paths[0] != "age" {
		t.Errorf("the indexes are %+v", i)
	}
	waited := make(chan error, 1)
	go func() { waited <- db.WaitIndexes(context.Background()) }()
	g.next(t)
	within(t, "the second batch", g.arrived)
	eventually(t, "progress", func() bool { return db.Indexes()[0].Documents == smallBatch })
	if got := db.Indexes()[0].Total; got != 3*smallBatch {
		t.Errorf("%d documents in all, want %d", got, 3*smallBatch)
	}
	select {
	case <-fired:
		t.Error("the live query was woken by a batch")
	case err := <-waited:
		t.Errorf("waiting ended with %v", err)
	default:
	}
	// Who does not need the index is not concerned.
	view(t, db, func(r *engine.ReadTx) error { return second(m.all.All(r).Count()) })
	g.next(t)
	within(t, "the third batch", g.arrived)
	g.next(t)
	within(t, "the live query", fired)
	must(t, within(t, "waiting", waited))
	e, err = db.Evaluate(context.Background(), db.Published(), call)
	must(t, err)
	if e.Err != nil || string(e.Value) != "1" {
		t.Errorf("evaluated to %s, %v; want 1", e.Value, e.Err)
	}
	// A state from before it was ready stays unreadable.
	if i := db.Indexes()[0]; i.State != engine.IndexReady {
		t.Errorf("the index is %+v", i)
	}
}

// An old snapshot does not see an index that has become ready since.
func TestIndexInAnOldSnapshot(t *testing.T) {
	t.Parallel()
	shared := small()
	before := withIndexes()
	must(t, reopen(t, shared, before.schema, func(db *engine.DB) { before.fill(t, db, 3*smallBatch, 5) }))
	g := newGate(shared.Open())
	m := withIndexes("byAge")
	db := enginetest.Open(t, m.schema, inBackground, func(o *engine.Options) { o.Store = g })
	within(t, "the first batch", g.arrived)
	old := db.Published()
	g.open()
	waitIndexes(t, db)
	e, err := db.Evaluate(context.Background(), old, engine.Call{Function: "members:ofAge", Args: []byte(`{"age":7}`)})
	must(t, err)
	if !errors.Is(e.Err, engine.ErrIndexNotReady) {
		t.Errorf("evaluated to %s, %v; want that it was not ready then", e.Value, e.Err)
	}
}

// A build that was cut short goes on where it stood.
func TestIndexBuildIsResumed(t *testing.T) {
	t.Parallel()
	for _, commits := range []int{1, 2, 5, 9} {
		shared := small()
		before := withIndexes()
		const n = 10*smallBatch + 3
		must(t, reopen(t, shared, before.schema, func(db *engine.DB) { before.fill(t, db, n, 5) }))
		// The first commit is Open's.
		broken := &limited{Store: shared.Open(), left: 1 + commits}
		m := withIndexes("byAge")
		db, err := engine.Open(m.schema, quietly(broken))
		must(t, err)
		within(t, "the failure", db.Failed())
		must(t, db.Close())

		g := newGate(shared.Open())
		g.open()
		m = withIndexes("byAge")
		db = enginetest.Open(t, m.schema, inBackground, func(o *engine.Options) { o.Store = g })
		waitIndexes(t, db)
		must(t, db.Check(context.Background()))
		if got, want := g.entries.Load(), int64(n-commits*smallBatch); got != want {
			t.Errorf("after %d batches, %d entries were written, want %d", commits, got, want)
		}
		enginetest.Finish(t, db)
	}
}

// A unique index over documents that have the same values cannot be built: it says so, new ones are refused, and when the
// documents have been put right it is built without a restart.
func TestUniqueIndexOverDuplicates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := small()
		before := withIndexes()
		must(t, reopen(t, shared, before.schema, func(db *engine.DB) {
			before.fill(t, db, 30, 5)
			for range 2 {
				update(t, db, func(tx *engine.Tx) error { return second(before.all.Insert(tx, member{"m3", 99})) })
			}
		}))
		m := withIndexes("byName")
		db := enginetest.Open(t, m.schema, func(o *engine.Options) { o.Store = shared.Open() })
		i := db.Indexes()[0]
		if i.State != engine.IndexFailed || i.FaultCount != 2 || len(i.Faults) != 2 || len(i.Faults[0].Documents) != 2 {
			t.Fatalf("the index is %+v, want failed with two faults", i)
		}
		err := db.WaitIndexes(context.Background())
		if !errors.Is(err, engine.ErrIndexNotReady) || !strings.Contains(err.Error(), "byName") {
			t.Errorf("waiting: %v", err)
		}
		var coded *engine.Error
		err = db.View(context.Background(), func(r *engine.ReadTx) error { return second(m.byName.One(r, "m1")) })
		if !errors.As(err, &coded) || coded.Code != engine.CodeNotReady || coded.Data.(map[string]any)["state"] != "failed" {
			t.Errorf("a query: %v, want that it failed", err)
		}
		if id := i.Faults[0].Documents[0]; strings.Contains(coded.Message, id) {
			t.Errorf("the message %q tells clients of a document", coded.Message)
		}
		must(t, db.Check(context.Background()))
		err = db.Update(context.Background(), func(tx *engine.Tx) error { return second(m.all.Insert(tx, member{"m3", 1})) })
		if !errors.Is(err, engine.ErrAlreadyExists) {
			t.Errorf("a fourth of the name: %v, want that it exists", err)
		}
		change := func(fn func(tx *engine.Tx, id engine.ID[member]) error) {
			update(t, db, func(tx *engine.Tx) error {
				last, err := m.all.All(tx).Filter(func(d *engine.Doc[member]) bool { return d.Value.Name == "m3" }).Desc().First()
				if err != nil {
					return err
				}
				return fn(tx, last.ID)
			})
		}
		change(func(tx *engine.Tx, id engine.ID[member]) error { return m.all.Delete(tx, id) })
		time.Sleep(time.Hour) // of the bubble
		synctest.Wait()
		if i := db.Indexes()[0]; i.State != engine.IndexFailed || i.FaultCount != 1 {
			t.Errorf("with one of two put right, the index is %+v", i)
		}
		change(func(tx *engine.Tx, id engine.ID[member]) error {
			return m.all.Patch(tx, id, func(v *member) error { v.Name = "other"; return nil })
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		waitIndexes(t, db)
		view(t, db, func(r *engine.ReadTx) error {
			if n, err := m.byName.Eq(r, "m3").Count(); err != nil || n != 1 {
				t.Errorf("%d by name (%v), want 1", n, err)
			}
			return nil
		})
	})
}

// While a unique index is being built, values that have an entry are taken; what only a document has that the build has not
// come to is found in the end.
func TestUniqueWhileBeingBuilt(t *testing.T) {
	t.Parallel()
	shared := small()
	before := withIndexes()
	must(t, reopen(t, shared, before.schema, func(db *engine.DB) { before.fill(t, db, 3*smallBatch, 5) }))
	g := newGate(shared.Open())
	m := withIndexes("byName")
	db := enginetest.Open(t, m.schema, inBackground, func(o *engine.Options) { o.Store = g })
	within(t, "the first batch", g.arrived)
	insert := func(name string) <-chan error {
		done := make(chan error, 1)
		go func() {
			done <- db.Update(context.Background(), func(tx *engine.Tx) error { return second(m.all.Insert(tx, member{name, 0})) })
		}()
		return done
	}
	taken, again := insert("m2"), insert(fmt.Sprint("m", 2*smallBatch))
	g.open()
	if err := within(t, "an insert", taken); !errors.Is(err, engine.ErrAlreadyExists) {
		t.Errorf("of a name that is in the batch on its way: %v, want that it exists", err)
	}
	// Whether the second was refused depends on how far the build was; whichever it is, nothing is lost or doubled unseen.
	if err := within(t, "an insert", again); err == nil {
		if err := settled(db); !errors.Is(err, engine.ErrIndexNotReady) {
			t.Errorf("two have the same name, and the index is %+v (%v)", db.Indexes()[0], err)
		}
	} else if !errors.Is(err, engine.ErrAlreadyExists) {
		t.Error(err)
	}
}

// Entries that are left over from before an index was declared again neither show nor stand in anybody's way.
func TestLeftoverEntries(t *testing.T) {
	t.Parallel()
	shared := small()
	m := withIndexes("byName", "byAge")
	must(t, reopen(t, shared, m.schema, func(db *engine.DB) { m.fill(t, db, 3*smallBatch, 3) }))
	// The indexes go; not all of their entries do, before the program ends.
	without := withIndexes()
	broken := &limited{Store: shared.Open(), left: 2}
	db, err := engine.Open(without.schema, quietly(broken))
	must(t, err)
	within(t, "the failure", db.Failed())
	must(t, db.Close())
	left := len(rows(t, shared, 'i'))
	if left == 0 || left == 6*smallBatch {
		t.Fatalf("%d entries are left; the test has lost its point", left)
	}
	for _, kv := range rows(t, shared, 'd') { // as a program that does not keep the indexes would
		putRow(t, shared, string(kv.Key), []byte(strings.Replace(string(kv.Value), `"name":"m`, `"name":"x`, 1)))
	}
	m = withIndexes("byName", "byAge")
	g := newGate(shared.Open())
	db = enginetest.Open(t, m.schema, inBackground, func(o *engine.Options) { o.Store = g })
	within(t, "the first batch", g.arrived)
	inserted := make(chan error, 1)
	go func() { // names that entries are left of
		inserted <- db.Update(context.Background(), func(tx *engine.Tx) error {
			for i := 3*smallBatch - 2; i < 3*smallBatch; i++ {
				if _, err := m.all.Insert(tx, member{fmt.Sprint("m", i), -1}); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	g.open()
	must(t, within(t, "an insert", inserted))
	waitIndexes(t, db)
	view(t, db, func(r *engine.ReadTx) error {
		for name, want := range map[string]int{"m1": 0, "x1": 1, "x30": 1, "m30": 0, "m41": 1, "x41": 1} {
			if n, err := m.byName.Eq(r, name).Count(); err != nil || n != want {
				t.Errorf("%s stands %d times (%v), want %d; %d entries were left over", name, n, err, want, left)
			}
		}
		return nil
	})
}

// A value that is too long for an index keeps it from being ready, and nobody from working with the document.
func TestValueTooLongForAnIndex(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memstore.NewShared(memstore.Options{})
		before := withIndexes()
		var long, longer engine.ID[member]
		must(t, reopen(t, shared, before.schema, func(db *engine.DB) {
			before.fill(t, db, 10, 10)
			update(t, db, func(tx *engine.Tx) (err error) {
				if long, err = before.all.Insert(tx, member{strings.Repeat("x", 20_000), 1}); err != nil {
					return err
				}
				longer, err = before.all.Insert(tx, member{strings.Repeat("y", 30_000), 2})
				return err
			})
		}))
		m := withIndexes("byName")
		db := enginetest.Open(t, m.schema, func(o *engine.Options) { o.Store = shared.Open() })
		i := db.Indexes()[0]
		if i.State != engine.IndexFailed || i.FaultCount != 2 || i.Faults[0].Documents[0] != string(long) {
			t.Fatalf("the index is %+v, want failed over two documents", i)
		}
		update(t, db, func(tx *engine.Tx) error { return m.all.Delete(tx, long) })
		update(t, db, func(tx *engine.Tx) error {
			return m.all.Patch(tx, longer, func(v *member) error { v.Name = "y"; return nil })
		})
		time.Sleep(time.Hour) // of the bubble
		synctest.Wait()
		waitIndexes(t, db)
		view(t, db, func(r *engine.ReadTx) error { return second(m.byName.One(r, "y")) })
	})
}

// Indexes of small collections, and of empty ones, are there when Open returns.
func TestBuildAtOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		documents, atOpen int
		want              engine.IndexState
	}{
		{0, -1, engine.IndexReady},
		{1, 0, engine.IndexReady},
		{30, 30, engine.IndexReady},
		{31, 30, engine.IndexBuilding},
		{1, -1, engine.IndexBuilding},
		{1000, 0, engine.IndexReady},
		{1001, 0, engine.IndexBuilding},
	} {
		shared := memstore.NewShared(memstore.Options{})
		before := withIndexes()
		must(t, reopen(t, shared, before.schema, func(db *engine.DB) { before.fill(t, db, c.documents, 100) }))
		g := newGate(shared.Open())
		if c.want == engine.IndexReady {
			g.open()
		}
		m := withIndexes("byAge")
		db := enginetest.Open(t, m.schema, func(o *engine.Options) { o.Store, o.BuildAtOpen = g, c.atOpen })
		if got := db.Indexes()[0].State; got != c.want {
			t.Errorf("%d documents, BuildAtOpen %d: %s, want %s", c.documents, c.atOpen, got, c.want)
		}
		if c.want == engine.IndexBuilding {
			g.open()
		}
	}
}

// WaitIndexes ends with its context, and with the database.
func TestWaitIndexesEnds(t *testing.T) {
	t.Parallel()
	shared := small()
	before := withIndexes()
	must(t, reopen(t, shared, before.schema, func(db *engine.DB) { before.fill(t, db, 3*smallBatch, 5) }))
	g := newGate(shared.Open())
	db := enginetest.Open(t, withIndexes("byAge").schema, inBackground, func(o *engine.Options) { o.Store = g })
	within(t, "the first batch", g.arrived)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := db.WaitIndexes(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- db.WaitIndexes(context.Background()) }()
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	if err := within(t, "waiting", waited); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	g.open()
	must(t, within(t, "closing", closed))
}

// Under Maintenance nothing is built, and nobody waits for it.
func TestIndexesUnderMaintenance(t *testing.T) {
	t.Parallel()
	shared := small()
	before := withIndexes()
	must(t, reopen(t, shared, before.schema, func(db *engine.DB) { before.fill(t, db, smallBatch, 5) }))
	m := withIndexes("byAge")
	must(t, reopen(t, shared, m.schema, func(db *engine.DB) {
		if err := db.WaitIndexes(context.Background()); !errors.Is(err, engine.ErrIndexNotReady) {
			t.Errorf("got %v, want that the index is not ready", err)
		}
		must(t, db.Check(context.Background()))
	}, func(o *engine.Options) { o.Maintenance = true }))
	m = withIndexes("byAge")
	must(t, reopen(t, shared, m.schema, func(db *engine.DB) { waitIndexes(t, db) }))
}

// A database of format 1 is brought to this one: what was complete is trusted, what was not is built anew.
func TestUpgradeOfFormat1(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	m := withIndexes("byAge", "byName")
	must(t, reopen(t, shared, m.schema, func(db *engine.DB) { m.fill(t, db, 50, 10) }))
	var schema string
	for _, kv := range rows(t, shared, 'm') {
		if string(kv.Key) == "mc" {
			_, schema, _ = strings.Cut(string(kv.Value), `"schema":"`)
			schema, _, _ = strings.Cut(schema, `"`)
		} else {
			putRow(t, shared, string(kv.Key), nil)
		}
	}
	putRow(t, shared, "mc", fmt.Appendf(nil, `{"format":1,"collections":{
		"members":{"schema":%q,"indexes":["members/byAge/index/age"],"unfinished":["members/byName/unique/name"]},
		"gone":{"schema":"x","indexes":["gone/x/index/y"]}}}`, schema))
	unfinished := sha256.Sum256([]byte("members/byName/unique/name"))
	for i, kv := range rows(t, shared, 'i') {
		if i%2 == 0 && string(kv.Key[1:5]) == string(unfinished[:4]) {
			putRow(t, shared, string(kv.Key), nil)
		}
	}
	for range 2 {
		m = withIndexes("byAge", "byName")
		db := enginetest.Open(t, m.schema, func(o *engine.Options) { o.Store = shared.Open() })
		waitIndexes(t, db)
		must(t, db.Check(context.Background()))
		view(t, db, func(r *engine.ReadTx) error {
			if n, err := m.byName.Scan(r).Count(); err != nil || n != 50 {
				t.Errorf("the index has %d (%v), want 50", n, err)
			}
			return nil
		})
		enginetest.Finish(t, db)
	}
}
