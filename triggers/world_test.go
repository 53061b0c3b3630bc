package triggers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// The collections of the scripts, of one shape and three types.
type (
	user thing
	room thing
	note thing
)

// rig is a database whose triggers are scripted.
type rig struct {
	*player
	db       *engine.DB
	colls    map[string]collection
	function []stmt // the body of the mutation that is about to run
	failure  error  // what that body returned
}

func newRig(t *testing.T, defs []*scripted, options ...func(*engine.Options)) *rig {
	t.Helper()
	s := engine.NewSchema()
	r := &rig{player: newPlayer(), colls: map[string]collection{
		"users": typed[user]{engine.Define[user](s, "users")},
		"rooms": typed[room]{engine.Define[room](s, "rooms")},
		"notes": typed[note]{engine.Define[note](s, "notes")},
	}}
	for _, c := range r.colls {
		c.addKey()
	}
	for _, def := range defs {
		c := r.colls[def.collection]
		if c == nil {
			t.Fatalf("no collection %s", def.collection)
		}
		if err := c.register(r, def); err != nil {
			t.Fatal(err)
		}
	}
	engine.Mutation(s, "test:run", func(tx *engine.Tx, _ struct{}) (struct{}, error) {
		r.failure = r.player.function(transaction{r, tx, tx}, r.function)
		return struct{}{}, r.failure
	})
	r.db = enginetest.Open(t, s, options...)
	return r
}

// mutate runs body as a mutation and writes down how it ended.
func (r *rig) mutate(t *testing.T, body []stmt) *engine.Result {
	t.Helper()
	r.function, r.failure = body, nil
	res, err := r.db.RunMutation(t.Context(), engine.Call{Function: "test:run"})
	if err == nil {
		r.printf("committed")
		return res
	}
	if r.failure != nil {
		r.printf("returned: %s", r.show(r.failure))
	}
	var pub *engine.Error
	if !errors.As(err, &pub) {
		t.Fatalf("RunMutation returned an uncoded error: %v", err)
	}
	if pub.Code == engine.CodeInternal {
		// Its message is a log id.
		r.printf("failed: internal")
	} else {
		r.printf("failed: %s: %v", pub.Code, pub)
	}
	if pub.Data != nil {
		data, err := json.Marshal(pub.Data)
		if err != nil {
			t.Fatal(err)
		}
		r.printf("data: %s", data)
	}
	return res
}

// documents writes down what is stored.
func (r *rig) documents(t *testing.T) {
	t.Helper()
	err := r.db.View(context.Background(), func(tx *engine.ReadTx) error {
		for _, name := range []string{"users", "rooms", "notes"} {
			all, err := r.colls[name].all(tx)
			if err != nil {
				return err
			}
			for _, v := range all {
				r.printf("%s %s", name, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// transaction is the world of the engine. tx is nil in Before triggers.
type transaction struct {
	rig    *rig
	reader engine.Reader
	tx     *engine.Tx
}

func (w transaction) insert(coll string, v thing) (string, error) {
	return w.rig.colls[coll].insert(w.tx, v)
}

func (w transaction) patch(coll, handle string, change func(*thing) error) error {
	return w.rig.colls[coll].patch(w.tx, handle, change)
}

func (w transaction) replace(coll, handle string, v thing) error {
	return w.rig.colls[coll].replace(w.tx, handle, v)
}

func (w transaction) delete(coll, handle string) error { return w.rig.colls[coll].delete(w.tx, handle) }

func (w transaction) get(coll, handle string) (*thing, error) {
	return w.rig.colls[coll].get(w.reader, handle)
}

func (w transaction) nested(fn func(world) error) error {
	return w.tx.Nested(func(tx *engine.Tx) error { return fn(transaction{w.rig, tx, tx}) })
}

// collection is a typed collection without its type parameter.
type collection interface {
	insert(tx *engine.Tx, v thing) (string, error)
	patch(tx *engine.Tx, id string, change func(*thing) error) error
	replace(tx *engine.Tx, id string, v thing) error
	delete(tx *engine.Tx, id string) error
	get(r engine.Reader, id string) (*thing, error)
	all(r engine.Reader) ([]*thing, error)
	addKey()
	register(r *rig, def *scripted) error
}

type typed[T user | room | note] struct{ c *engine.Collection[T] }

func (c typed[T]) insert(tx *engine.Tx, v thing) (string, error) {
	id, err := c.c.Insert(tx, T(v))
	return string(id), err
}

func (c typed[T]) patch(tx *engine.Tx, id string, change func(*thing) error) error {
	return c.c.Patch(tx, engine.ID[T](id), func(v *T) error { return lend(v, change) })
}

func (c typed[T]) replace(tx *engine.Tx, id string, v thing) error {
	return c.c.Replace(tx, engine.ID[T](id), T(v))
}

func (c typed[T]) delete(tx *engine.Tx, id string) error { return c.c.Delete(tx, engine.ID[T](id)) }

func (c typed[T]) get(r engine.Reader, id string) (*thing, error) {
	d, err := c.c.Get(r, engine.ID[T](id))
	if err != nil {
		return nil, err
	}
	v := thing(d.Value)
	return &v, nil
}

func (c typed[T]) all(r engine.Reader) ([]*thing, error) {
	docs, err := c.c.All(r).Collect()
	out := make([]*thing, len(docs))
	for i, d := range docs {
		v := thing(d.Value)
		out[i] = &v
	}
	return out, err
}

func (c typed[T]) addKey() { c.c.AddUnique("by_key", "key") }

func (c typed[T]) register(r *rig, def *scripted) error {
	var o []triggers.Option
	if def.fields != nil {
		o = append(o, triggers.Fields(def.fields...))
	}
	if def.when != "" {
		o = append(o, triggers.When(func(before, after *engine.Doc[T]) bool {
			if def.when == "panic" {
				r.printf("%s %s", def.label(), value(after).Name)
				panic("boom")
			}
			return env{before: value(before), after: value(after)}.holds(def.when)
		}))
	}
	// What a script does to its copies must be seen by whoever else holds them, so that a shared copy is noticed.
	on := func(tx *engine.Tx, before, after *engine.Doc[T]) error {
		b, a := value(before), value(after)
		defer func() { restore(before, b); restore(after, a) }()
		return r.fire(def, transaction{r, tx, tx}, handleOf(before, after), b, a)
	}
	reading := func(tx *engine.ReadTx, before *engine.Doc[T], after *T) error {
		b := value(before)
		if after == nil {
			return r.fire(def, transaction{r, tx, nil}, handleOf(before, nil), b, nil)
		}
		return lend(after, func(a *thing) error { return r.fire(def, transaction{r, tx, nil}, handleOf(before, nil), b, a) })
	}
	switch def.kind {
	case "BeforeCreate":
		triggers.BeforeCreate(c.c, def.name, func(tx *engine.ReadTx, v *T) error { return reading(tx, nil, v) }, o...)
	case "BeforeUpdate":
		triggers.BeforeUpdate(c.c, def.name, reading, o...)
	case "BeforeDelete":
		triggers.BeforeDelete(c.c, def.name, func(tx *engine.ReadTx, before *engine.Doc[T]) error { return reading(tx, before, nil) }, o...)
	case "OnCreate":
		triggers.OnCreate(c.c, def.name, func(tx *engine.Tx, doc *engine.Doc[T]) error { return on(tx, nil, doc) }, o...)
	case "OnUpdate":
		triggers.OnUpdate(c.c, def.name, on, o...)
	case "OnDelete":
		triggers.OnDelete(c.c, def.name, func(tx *engine.Tx, before *engine.Doc[T]) error { return on(tx, before, nil) }, o...)
	default:
		return fmt.Errorf("no kind of trigger: %s", def.kind)
	}
	return nil
}

// lend hands fn the value as a thing and takes back what fn made of it.
func lend[T user | room | note](v *T, fn func(*thing) error) error {
	lent := thing(*v)
	defer func() { *v = T(lent) }()
	return fn(&lent)
}

func value[T user | room | note](d *engine.Doc[T]) *thing {
	if d == nil {
		return nil
	}
	v := thing(d.Value)
	return &v
}

func handleOf[T user | room | note](before, after *engine.Doc[T]) string {
	switch {
	case before != nil:
		return string(before.ID)
	case after != nil:
		return string(after.ID)
	}
	return ""
}

func restore[T user | room | note](d *engine.Doc[T], v *thing) {
	if d != nil {
		d.Value = T(*v)
	}
}

// traceLines spells a trace, without durations.
func traceLines(trace []engine.Fired) []string {
	lines := make([]string, len(trace))
	for i, f := range trace {
		lines[i] = fmt.Sprintf("%d %s", f.Depth, f.Name)
		if f.Error != "" {
			lines[i] += " ! " + f.Error
		}
	}
	return slices.Clip(lines)
}

// firedIn returns the names of triggers in a player's transcript, in the order in which they ran.
func firedIn(transcript string) []string {
	var names []string
	for line := range strings.Lines(transcript) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), ") "); ok && triggerLine.MatchString(name+")") {
			names = append(names, name+")")
		}
	}
	return names
}
