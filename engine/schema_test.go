package engine_test

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// line returns the line that it is called from.
func line() int {
	_, _, n, _ := runtime.Caller(1)
	return n
}

// Everything that is wrong is returned by Open, together, each with the file and line where it was written.
func TestWrongRegistrations(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	accounts := engine.Define[account](s, "accounts")
	want := map[int]string{}
	wrong := func(n int, part string) { want[n] = part }

	engine.Define[tally](s, "no dots.")
	wrong(line()-1, "a name is letters")
	engine.Define[tally](s, "accounts")
	wrong(line()-1, "defined twice")
	engine.Define[account](s, "others")
	wrong(line()-1, `is that of collection "accounts" already`)
	engine.Define[string](s, "strings")
	wrong(line()-1, "not a struct")
	type bad struct {
		C chan int `json:"c"`
		D string   `json:"_id"`
	}
	bads := engine.Define[bad](s, "bads")
	wrong(line()-1, "bads")
	bads.AddIndex("ofBad", "c") // not a problem of its own
	accounts.AddIndex("missing", "nowhere")
	wrong(line()-1, "nowhere")
	accounts.AddIndex("twice", "owner", "-owner")
	wrong(line()-1, "stands twice")
	accounts.AddIndex("empty")
	wrong(line()-1, "no paths")
	accounts.AddIndex("same", "owner")
	accounts.AddUnique("same", "owner")
	wrong(line()-1, "defined twice")
	accounts.AddIndex("1st", "owner")
	wrong(line()-1, "a name is letters")
	f := func(*engine.ReadTx, struct{}) (int, error) { return 0, nil }
	engine.Query(s, "plain", f)
	wrong(line()-1, "module:function")
	engine.Query(s, "a:b:c", f)
	wrong(line()-1, "module:function")
	engine.Query(s, "m:ok", f)
	engine.Query(s, "m:ok", f)
	wrong(line()-1, "registered twice")
	engine.Query(s, "m:args", func(*engine.ReadTx, int) (int, error) { return 0, nil })
	wrong(line()-1, "arguments are a struct")
	engine.Mutation(s, "m:result", func(*engine.Tx, struct{}) (chan int, error) { return nil, nil })
	wrong(line()-1, "result")
	engine.ShapeOf[bad](s)
	wrong(line()-1, "shape")
	s.Problem("trouble with %s", "extensions")
	wrong(line()-1, "trouble with extensions")

	store := memstore.New(memstore.Options{})
	_, err := engine.Open(s, engine.Options{Store: store})
	if err == nil {
		t.Fatal("opened")
	}
	found := map[int]string{}
	for _, m := range regexp.MustCompile(`(?m)schema_test\.go:(\d+): (.*)$`).FindAllStringSubmatch(err.Error(), -1) {
		var n int
		if _, err := fmt.Sscan(m[1], &n); err != nil {
			t.Fatal(err)
		}
		found[n] += m[2]
	}
	for n, part := range want {
		if !strings.Contains(found[n], part) {
			t.Errorf("line %d: %q, want %q in it", n, found[n], part)
		}
		delete(found, n)
	}
	if len(found) > 0 {
		t.Errorf("too much: %v", found)
	}
	if _, err := store.Head(t.Context()); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("the store of a failed Open: %v, want it closed", err)
	}
}

// What is registered after Open changes nothing for the database that is open, even while it is in use.
func TestRegisteredAfterOpen(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 20 {
			if err := db.Check(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	late := engine.Define[tally](b.schema, "late")
	index := late.AddIndex("byName", "name")
	engine.Query(b.schema, "late:query", func(*engine.ReadTx, struct{}) (int, error) { return 0, nil })
	wg.Wait()
	for name, err := range map[string]error{
		"insert": db.Update(t.Context(), func(tx *engine.Tx) error { return second(late.Insert(tx, tally{})) }),
		"scan":   db.View(t.Context(), func(r *engine.ReadTx) error { return second(late.All(r).Collect()) }),
		"eq":     db.View(t.Context(), func(r *engine.ReadTx) error { return second(index.Eq(r, "a").Collect()) }),
		"get":    db.View(t.Context(), func(r *engine.ReadTx) error { return second(late.Get(r, "x")) }),
	} {
		if err == nil || !strings.Contains(err.Error(), "late") {
			t.Errorf("%s: %v, want an error that names the collection", name, err)
		}
	}
	if _, ok := db.Lookup("late:query"); ok {
		t.Error("the function is there")
	}
	if late.Schema() != nil {
		t.Error("it has a schema")
	}
	if _, err := engine.Open(b.schema, engine.Options{Store: memstore.New(memstore.Options{})}); err == nil || strings.Count(err.Error(), "registered after Open") != 3 {
		t.Errorf("the next Open says %v", err)
	}
}

// One schema serves several databases, and a collection only those of its own schema.
func TestSchemaOfSeveralDatabases(t *testing.T) {
	t.Parallel()
	b, stranger := newBank(), newBank()
	one, two := enginetest.Open(t, b.schema), enginetest.Open(t, b.schema)
	id := b.open(t, one, "ann", 1)
	view(t, two, func(r *engine.ReadTx) error {
		if _, err := b.accounts.Get(r, id); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("the other database: %v, want not found", err)
		}
		if _, err := stranger.accounts.All(r).Collect(); err == nil || !strings.Contains(err.Error(), "another schema") {
			t.Errorf("another schema's collection: %v", err)
		}
		return nil
	})
	if b.accounts.Owner() != b.schema || (*engine.Collection[account])(nil).Owner() != nil {
		t.Error("Owner is wrong")
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	type key struct{}
	made := 0
	mk := func() *int { made++; n := made; return &n }
	if a, b := engine.Attach(s, key{}, mk), engine.Attach(s, key{}, mk); a != b || made != 1 {
		t.Errorf("made %d times", made)
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	shape := engine.ShapeOf[greetArgs](s)
	if v, err := shape.Decode([]byte(`{"name":"ann","times":2}`)); err != nil || v != (greetArgs{"ann", 2}) {
		t.Errorf("got %+v (%v)", v, err)
	}
	var e *engine.Error
	if _, err := shape.Decode([]byte(`{"name":"","more":1}`)); !errors.As(err, &e) || e.Code != engine.CodeInvalid || len(e.Issues) != 2 || e.Issues[0].Path != "more" || e.Issues[1].Path != "name" {
		t.Errorf("got %v with %+v", err, e)
	}
	if raw, err := shape.Encode(greetArgs{Name: "ann"}); err != nil || string(raw) != `{"name":"ann"}` {
		t.Errorf("got %s (%v)", raw, err)
	}
	if _, err := shape.Encode(greetArgs{Name: "far too long a name"}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("got %v, want invalid", err)
	}
	if !strings.Contains(string(shape.Schema()), "maxLength") {
		t.Errorf("schema %s", shape.Schema())
	}
	broken := engine.ShapeOf[struct {
		C chan int `json:"c"`
	}](s)
	if _, err := broken.Decode([]byte(`{}`)); err == nil || broken.Schema() != nil {
		t.Errorf("a shape that was not compiled decodes (%v)", err)
	}
}
