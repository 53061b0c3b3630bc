package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// watched is a bank with queries to watch.
func newWatchedBank() *bank {
	b := newBank()
	type bounds struct {
		From int `json:"from"`
		To   int `json:"to"`
	}
	engine.Query(b.schema, "bank:range", func(r *engine.ReadTx, a bounds) ([]string, error) {
		out := []string{}
		for d, err := range b.balance.Scan(r).Gte(a.From).Lt(a.To).Docs() {
			if err != nil {
				return nil, err
			}
			out = append(out, d.Value.Owner)
		}
		return out, nil
	})
	engine.Query(b.schema, "bank:owner", func(r *engine.ReadTx, a struct {
		Owner string `json:"owner"`
	},
	) (int, error) {
		d, err := b.byOwner.One(r, a.Owner)
		if err != nil {
			return 0, err
		}
		return d.Value.Balance, nil
	})
	engine.Query(b.schema, "bank:me", func(r *engine.ReadTx, _ struct{}) (string, error) {
		id, err := r.Identity()
		if err != nil || id == nil {
			return "", err
		}
		return id.User, nil
	})
	engine.Query(b.schema, "bank:dice", func(r *engine.ReadTx, _ struct{}) (int, error) { return r.Rand().IntN(6), nil })
	engine.Query(b.schema, "bank:time", func(r *engine.ReadTx, _ struct{}) (string, error) { return r.Now().String(), nil })
	engine.Query(b.schema, "bank:nothing", func(*engine.ReadTx, struct{}) (int, error) { return 1, nil })
	return b
}

func evaluate(t testing.TB, db *engine.DB, name, args string) *engine.Evaluation {
	t.Helper()
	e, err := db.Evaluate(context.Background(), db.Published(), engine.Call{Function: name, Args: json.RawMessage(args)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWatch(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newWatchedBank()
		db := open(b.schema)
		id := b.open(t, db, "ann", 15)
		fired := map[string]*atomic.Int32{}
		watch := func(name, fn, args string) {
			n := new(atomic.Int32)
			fired[name] = n
			db.Watch(evaluate(t, db, fn, args), func() { n.Add(1) })
		}
		watch("range", "bank:range", `{"from":10,"to":20}`)
		watch("empty range", "bank:range", `{"from":100,"to":200}`)
		watch("owner", "bank:owner", `{"owner":"ann"}`)
		watch("a failed one", "bank:owner", `{"owner":"bob"}`)
		watch("nothing", "bank:nothing", `{}`)
		watch("unknown function", "no:such", `{}`)
		expect := func(after string, want map[string]int32) {
			t.Helper()
			for name, n := range fired {
				if got := n.Load(); got != want[name] {
					t.Errorf("after %s: %s fired %d times, want %d", after, name, got, want[name])
				}
			}
		}
		b.open(t, db, "eve", 50)
		expect("an insert elsewhere", nil)
		b.open(t, db, "bob", 20)
		expect("an insert of what was missing", map[string]int32{"a failed one": 1})
		// A field that is in no index: the range was read through the index all the same.
		update(t, db, func(tx *engine.Tx) error {
			return b.accounts.Patch(tx, id, func(a *account) error { a.Note = "n"; return nil })
		})
		expect("a change of an unindexed field", map[string]int32{"a failed one": 1, "range": 1, "owner": 1})
		update(t, db, func(tx *engine.Tx) error {
			return b.accounts.Patch(tx, id, func(a *account) error { a.Balance = 150; return nil })
		})
		expect("a move into the empty range", map[string]int32{"a failed one": 1, "range": 1, "owner": 1, "empty range": 1})
	})
}

// A watch that registers late fires at once if it has missed something, and only then.
func TestLateWatch(t *testing.T) {
	t.Parallel()
	b := newWatchedBank()
	db := enginetest.Open(t, b.schema)
	e := evaluate(t, db, "bank:range", `{"from":10,"to":20}`)
	b.open(t, db, "elsewhere", 50)
	fired := 0
	w := db.Watch(e, func() { fired++ })
	if fired != 0 {
		t.Error("fired for a commit elsewhere")
	}
	w.Stop()
	w.Stop()
	b.open(t, db, "inside", 15)
	if fired != 0 {
		t.Error("fired after Stop")
	}
	db.Watch(e, func() { fired++ })
	if fired != 1 {
		t.Errorf("a late watch fired %d times before Watch returned, want once", fired)
	}
	db.Watch(evaluate(t, db, "bank:range", `{"from":10,"to":20}`), func() { fired++ })
	if fired != 1 {
		t.Error("fired for what its evaluation has seen")
	}
}

// An evaluation from before the log's window counts as touched, since nobody can tell.
func TestWatchFromBeforeTheWindow(t *testing.T) {
	t.Parallel()
	b := newWatchedBank()
	shared := memstore.NewShared(memstore.Options{})
	var old engine.Timestamp
	must(t, reopen(t, shared, b.schema, func(db *engine.DB) {
		b.open(t, db, "x", 1)
		old = db.Published()
		b.open(t, db, "y", 1)
	}))
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Store = shared.Open() })
	e, err := db.Evaluate(context.Background(), old, engine.Call{Function: "bank:nothing"})
	must(t, err)
	fired := false
	db.Watch(e, func() { fired = true })
	if !fired {
		t.Error("did not fire, though the log begins later")
	}
}

// What has left the log counts as touched, whether it left for the number of groups or for that of keys.
func TestWatchFromBeforeTheLogWasCut(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string][2]int{"groups": {4, 1 << 20}, "keys": {1 << 20, 12}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newWatchedBank()
			db := enginetest.Open(t, b.schema)
			engine.SetWatchWindow(db, bounds[0], bounds[1])
			inside := evaluate(t, db, "bank:range", `{"from":10,"to":20}`)
			b.open(t, db, "inside", 15)
			elsewhere := evaluate(t, db, "bank:range", `{"from":100,"to":200}`)
			for i := range 3 {
				b.open(t, db, fmt.Sprint(i), 50)
			}
			fired := 0
			db.Watch(elsewhere, func() { fired++ }).Stop()
			if fired != 0 {
				t.Error("fired although the log tells that nothing of it was written")
			}
			for i := range 3 {
				b.open(t, db, fmt.Sprint(3+i), 50)
			}
			db.Watch(inside, func() { fired++ })
			if fired != 1 {
				t.Error("did not fire for a write that the log has forgotten")
			}
		})
	}
}

// Under load no watch misses a commit: whoever has not been told has the current result.
func TestNoWatchIsMissed(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newWatchedBank()
		db := open(b.schema)
		var writers, readers sync.WaitGroup
		stop := make(chan struct{})
		for w := range 4 {
			writers.Go(func() {
				for i := range 40 {
					err := db.Update(context.Background(), func(tx *engine.Tx) error {
						return second(b.accounts.Insert(tx, account{Owner: fmt.Sprint(w, "-", i), Balance: w*10 + i%10}))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		for w := range 4 {
			readers.Go(func() {
				args := fmt.Sprintf(`{"from":%d,"to":%d}`, w*10, w*10+10)
				last := engine.Timestamp(0)
				for {
					at := db.Published()
					if at < last {
						t.Errorf("the head went back from %d to %d", last, at)
					}
					last = at
					e, err := db.Evaluate(context.Background(), at, engine.Call{Function: "bank:range", Args: json.RawMessage(args)})
					if err != nil || e.Err != nil {
						t.Error(err, e.Err)
						return
					}
					touched := make(chan struct{})
					watch := db.Watch(e, func() { close(touched) })
					select {
					case <-touched:
					case <-stop:
						watch.Stop()
						now := evaluate(t, db, "bank:range", args)
						if string(now.Value) != string(e.Value) {
							select {
							case <-touched: // told in the meantime
							default:
								t.Errorf("range %s changed from %s to %s and nobody said so", args, e.Value, now.Value)
							}
						}
						return
					}
				}
			})
		}
		writers.Wait()
		close(stop)
		readers.Wait()
	})
}

func TestEvaluation(t *testing.T) {
	t.Parallel()
	b := newWatchedBank()
	db := enginetest.Open(t, b.schema)
	b.open(t, db, "ann", 15)
	at := db.Published()
	b.open(t, db, "bob", 16)
	e, err := db.Evaluate(context.Background(), at, engine.Call{Function: "bank:range", Args: json.RawMessage(`{"from":10,"to":20}`)})
	if err != nil || string(e.Value) != `["ann"]` || e.Timestamp != at || e.ReadIdentity || e.Volatile {
		t.Errorf("as of before: %+v (%v)", e, err)
	}
	if e := evaluate(t, db, "bank:owner", `{"owner":"nobody"}`); e.Err == nil || e.Err.Code != engine.CodeNotFound || e.Value != nil {
		t.Errorf("a failing query: %+v", e)
	}
	if e := evaluate(t, db, "bank:owner", `{"owner":7}`); e.Err == nil || e.Err.Code != engine.CodeInvalid {
		t.Errorf("wrong arguments: %+v", e)
	}
	if e := evaluate(t, db, "bank:me", `{}`); !e.ReadIdentity || e.Identity != nil || string(e.Value) != `""` {
		t.Errorf("nobody: %+v", e)
	}
	for _, name := range []string{"bank:dice", "bank:time"} {
		if e := evaluate(t, db, name, `{}`); !e.Volatile || e.ReadIdentity {
			t.Errorf("%s: %+v", name, e)
		}
	}
	me, err := db.Evaluate(context.Background(), at, engine.Call{Function: "bank:me", Principal: someone("ann")})
	if err != nil || string(me.Value) != `"ann"` || me.Identity == nil || me.Identity.User != "ann" {
		t.Errorf("ann: %+v (%v)", me, err)
	}
	if _, err := db.Evaluate(context.Background(), at+1<<62, engine.Call{Function: "bank:nothing"}); !errors.Is(err, storage.ErrFuture) {
		t.Errorf("in the future: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.Evaluate(ctx, at, engine.Call{Function: "bank:nothing"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// What an identity was found from is watched with it.
func TestEvaluateIdentity(t *testing.T) {
	t.Parallel()
	b := newWatchedBank()
	db := enginetest.Open(t, b.schema)
	id := b.open(t, db, "ann", 1)
	p := principal{key: "ann", resolve: func(r engine.Reader) (*engine.Identity, error) {
		d, err := b.accounts.Get(r, id)
		if errors.Is(err, engine.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if d.Value.Note == "broken" {
			return &engine.Identity{User: "half"}, errBoom
		}
		return &engine.Identity{User: d.Value.Owner}, nil
	}}
	resolve := func() (*engine.Evaluation, *atomic.Int32) {
		e, err := db.EvaluateIdentity(context.Background(), db.Published(), p)
		must(t, err)
		n := new(atomic.Int32)
		db.Watch(e, func() { n.Add(1) })
		return e, n
	}
	e, fired := resolve()
	if e.Identity == nil || e.Identity.User != "ann" || e.Err != nil {
		t.Errorf("resolved %+v", e)
	}
	b.open(t, db, "other", 1)
	if fired.Load() != 0 {
		t.Error("fired for another document")
	}
	update(t, db, func(tx *engine.Tx) error {
		return b.accounts.Patch(tx, id, func(a *account) error { a.Note = "broken"; return nil })
	})
	if fired.Load() != 1 {
		t.Error("did not fire")
	}
	if e, _ = resolve(); e.Identity != nil || e.Err == nil {
		t.Errorf("one that fails to resolve: %+v", e)
	}
	update(t, db, func(tx *engine.Tx) error { return b.accounts.Delete(tx, id) })
	if e, _ = resolve(); e.Identity != nil || e.Err != nil {
		t.Errorf("nobody: %+v", e)
	}
	if e, err := db.EvaluateIdentity(context.Background(), db.Published(), nil); err != nil || e.Identity != nil || e.Err != nil {
		t.Errorf("no principal: %+v (%v)", e, err)
	}
}

// Watches are told before anybody who only waits for a new timestamp.
func TestOnPublish(t *testing.T) {
	t.Parallel()
	b := newWatchedBank()
	db := enginetest.Open(t, b.schema)
	var mu sync.Mutex
	var order []string
	note := func(s string) func() {
		return func() { mu.Lock(); defer mu.Unlock(); order = append(order, s) }
	}
	stop := db.OnPublish(func(ts engine.Timestamp) {
		if ts != db.Published() {
			t.Errorf("told %d, published %d", ts, db.Published())
		}
		note("published")()
	})
	db.Watch(evaluate(t, db, "bank:range", `{"from":10,"to":20}`), note("touched"))
	b.open(t, db, "ann", 15)
	note("answered")()
	stop()
	b.open(t, db, "bob", 15)
	if got := fmt.Sprint(order); got != "[touched published answered]" {
		t.Errorf("order %s", got)
	}
}

// Whoever registers while a large publication is under way is told of it, whether it comes before the key that it read is
// looked at or after.
func TestWatchDuringALargePublication(t *testing.T) {
	t.Parallel()
	b := newWatchedBank()
	engine.Mutation(b.schema, "bank:fill", func(tx *engine.Tx, _ struct{}) (int, error) {
		for i := range 4000 {
			if _, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint(i), Balance: i % 2}); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Limits = patient })
	e := evaluate(t, db, "bank:range", `{"from":0,"to":1}`)
	var fired, registered atomic.Int64
	watch := func() {
		registered.Add(1)
		db.Watch(e, func() { fired.Add(1) })
	}
	watch() // before it
	committed := make(chan struct{})
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			<-committed // it is going to be published now
			for range 500 {
				watch()
			}
		})
	}
	call := engine.Call{Function: "bank:fill", Committed: func(engine.Timestamp) { close(committed) }}
	if _, err := db.RunMutation(context.Background(), call); err != nil {
		t.Fatal(err)
	}
	others.Wait()
	if f, r := fired.Load(), registered.Load(); f != r || r != 1001 {
		t.Errorf("of %d watches, %d were told", r, f)
	}
}
