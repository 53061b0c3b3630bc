package enginetest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// recorder is a test that runs inside another, so that its failure can be looked at. It belongs to one goroutine at a time.
type recorder struct {
	testing.TB // nil: what a test does beyond the methods below is not expected here
	logged     []string
	failed     []string
	cleanups   []func()
}

// stopped is what Fatal panics with.
type stopped struct{}

func (r *recorder) Helper()                   {}
func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Logf(f string, a ...any)   { r.logged = append(r.logged, fmt.Sprintf(f, a...)) }
func (r *recorder) Errorf(f string, a ...any) { r.failed = append(r.failed, fmt.Sprintf(f, a...)) }
func (r *recorder) Fatal(a ...any)            { r.Fatalf("%s", fmt.Sprint(a...)) }
func (r *recorder) Fatalf(f string, a ...any) {
	r.Errorf(f, a...)
	panic(stopped{})
}

// run runs a test and then what it left to its end, last first.
func run(test func(testing.TB)) *recorder {
	r := &recorder{}
	step := func(f func()) {
		defer func() {
			if p := recover(); p != nil && p != any(stopped{}) {
				panic(p)
			}
		}()
		f()
	}
	step(func() { test(r) })
	for len(r.cleanups) > 0 {
		last := r.cleanups[len(r.cleanups)-1]
		r.cleanups = r.cleanups[:len(r.cleanups)-1]
		step(last)
	}
	return r
}

func (r *recorder) verdict() string {
	if len(r.failed) == 0 {
		return "passed"
	}
	return "failed: " + strings.Join(r.failed, "; ")
}

type word struct {
	Text string `json:"text"`
}

func TestOpenClosesAtTheEnd(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	words := engine.Define[word](s, "words")
	var db *engine.DB
	r := run(func(t testing.TB) {
		db = enginetest.Open(t, s, func(o *engine.Options) { o.Development = true })
		if err := db.Update(context.Background(), func(tx *engine.Tx) error {
			_, err := words.Insert(tx, word{"hello"})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if !db.Options().Development {
			t.Errorf("the options were not changed")
		}
	})
	if r.verdict() != "passed" {
		t.Error(r.verdict())
	}
	if err := db.View(context.Background(), func(*engine.ReadTx) error { return nil }); err != engine.ErrClosed {
		t.Errorf("after the test: %v, want ErrClosed", err)
	}
}

// A test that closes its database itself, in order to open it anew, does not fail for it.
func TestClosedByTheTest(t *testing.T) {
	t.Parallel()
	r := run(func(t testing.TB) {
		if err := enginetest.Open(t, engine.NewSchema()).Close(); err != nil {
			t.Fatal(err)
		}
	})
	if r.verdict() != "passed" {
		t.Error(r.verdict())
	}
}

// A database that cannot be opened ends the test.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	engine.Define[word](s, "words").AddIndex("byNothing", "nothing")
	r := run(func(t testing.TB) {
		enginetest.Open(t, s)
		t.Errorf("the test goes on")
	})
	if v := r.verdict(); !strings.Contains(v, "byNothing") || strings.Contains(v, "goes on") {
		t.Error(v)
	}
}

// A database with an index that lacks an entry fails the test, although the test itself finds nothing wrong.
func TestInconsistent(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	words := engine.Define[word](s, "words")
	words.AddIndex("byText", "text")
	shared := memstore.NewShared(memstore.Options{})
	over := func(o *engine.Options) { o.Store = shared.Open() }
	r := run(func(t testing.TB) {
		err := enginetest.Open(t, s, over).Update(context.Background(), func(tx *engine.Tx) error {
			_, err := words.Insert(tx, word{"hello"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if r.verdict() != "passed" {
		t.Fatal(r.verdict())
	}
	loseIndexEntries(t, shared.Open())
	r = run(func(t testing.TB) { enginetest.Open(t, s, over) })
	if v := r.verdict(); !strings.Contains(v, "inconsistent") || !strings.Contains(v, "byText") {
		t.Error(v)
	}
}

// loseIndexEntries removes the rows of all indexes behind the engine's back.
func loseIndexEntries(t *testing.T, store storage.Store) {
	t.Helper()
	ctx := context.Background()
	head, err := store.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := store.At(ctx, head)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	var g storage.Group
	for kv, err := range snap.Scan([]byte{'i'}, []byte{'i' + 1}, false, 0) {
		if err != nil {
			t.Fatal(err)
		}
		g.Writes = append(g.Writes, storage.Write{Key: kv.Key, Delete: true})
	}
	if len(g.Writes) == 0 {
		t.Fatal("no index entry is stored")
	}
	_, err = store.Commit(ctx, storage.GroupID{1}, func([]storage.LogEntry) (storage.Group, error) { return g, nil })
	if err != nil {
		t.Fatal(err)
	}
}
