package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// Whoever exceeds a limit is told which, and nothing of the call is kept, even where the function ignores the error.
func TestLimits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	insert := func(b *bank, tx *engine.Tx, n int, note string) error {
		var errs error
		for i := range n {
			_, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint(n, "new", i), Note: note})
			errs = errors.Join(errs, err)
		}
		return errs
	}
	for name, c := range map[string]struct {
		limits engine.Limits
		within func(*bank, *engine.Tx) error
		beyond func(*bank, *engine.Tx) error
	}{
		"ReadDocuments": {
			engine.Limits{ReadDocuments: 5},
			func(b *bank, tx *engine.Tx) error { return second(b.accounts.All(tx).Limit(5).Collect()) },
			func(b *bank, tx *engine.Tx) error { return second(b.accounts.All(tx).Limit(6).Collect()) },
		},
		"ReadDocuments of none": { // what was not found is part of what was read
			engine.Limits{ReadDocuments: 5},
			func(b *bank, tx *engine.Tx) error { return misses(b, tx, 5) },
			func(b *bank, tx *engine.Tx) error { return misses(b, tx, 6) },
		},
		"ReadBytes": {
			engine.Limits{ReadBytes: 1000},
			func(b *bank, tx *engine.Tx) error { return second(b.accounts.All(tx).Limit(5).Collect()) },
			func(b *bank, tx *engine.Tx) error { return second(b.accounts.All(tx).Collect()) },
		},
		"WriteDocuments": {
			engine.Limits{WriteDocuments: 5},
			func(b *bank, tx *engine.Tx) error { return insert(b, tx, 5, "") },
			func(b *bank, tx *engine.Tx) error { return insert(b, tx, 6, "") },
		},
		"WriteBytes": {
			engine.Limits{WriteBytes: 10_000},
			func(b *bank, tx *engine.Tx) error { return insert(b, tx, 8, long) },
			func(b *bank, tx *engine.Tx) error { return insert(b, tx, 12, long) },
		},
	} {
		for _, ignore := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/", ignore), func(t *testing.T) {
				t.Parallel()
				b, limits := newBank(), c.limits
				limits.FunctionTime = 10 * time.Second
				db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Limits = limits })
				for i := range 12 {
					b.open(t, db, fmt.Sprint("o", i), i)
				}
				if err := db.Update(context.Background(), func(tx *engine.Tx) error { return c.within(b, tx) }); err != nil {
					t.Errorf("within the limit: %v", err)
				}
				before := b.owners(t, db)
				err := db.Update(context.Background(), func(tx *engine.Tx) error {
					if _, err := b.accounts.Insert(tx, account{Owner: "first", Note: "kept?"}); err != nil {
						return err
					}
					if err := c.beyond(b, tx); !ignore {
						return err
					}
					return nil
				})
				var limit *engine.LimitError
				if !errors.As(err, &limit) || limit.Limit != strings.Fields(name)[0] || limit.Max <= 0 {
					t.Errorf("beyond the limit: %v, want the limit %s", err, name)
				}
				if after := b.owners(t, db); after != before {
					t.Errorf("something was kept: %s, before %s", after, before)
				}
			})
		}
	}
}

// misses looks n times for what is not there, by id and by index in turn.
func misses(b *bank, tx *engine.Tx, n int) error {
	id, err := b.accounts.Insert(tx, account{Owner: "gone"})
	if err == nil {
		_, err = b.accounts.Get(tx, id)
	}
	if err == nil {
		err = b.accounts.Delete(tx, id)
	}
	for i := 2; i < n && err == nil; i++ { // two were read
		if i%2 == 0 {
			_, err = b.accounts.Get(tx, id)
		} else {
			_, err = b.byOwner.One(tx, fmt.Sprint("nobody", i))
		}
		if errors.Is(err, engine.ErrNotFound) {
			err = nil
		}
	}
	return err
}

// owners lists the owners of all accounts, in pieces that no limit minds.
func (b *bank) owners(t testing.TB, db *engine.DB) string {
	t.Helper()
	var all []string
	last := ""
	for {
		var got *engine.Doc[account]
		view(t, db, func(r *engine.ReadTx) error {
			d, err := b.byOwner.Scan(r).Gt(last).First()
			if errors.Is(err, engine.ErrNotFound) {
				return nil
			}
			got = d
			return err
		})
		if got == nil {
			return strings.Join(all, " ")
		}
		last = got.Value.Owner
		all = append(all, last)
	}
}

// A document that is too large is refused like one that breaks its schema: the transaction stays usable.
func TestDocumentBytes(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Limits.DocumentBytes = 2000 })
	update(t, db, func(tx *engine.Tx) error {
		id, err := b.accounts.Insert(tx, account{Owner: "a", Note: "small"})
		if err != nil {
			return err
		}
		var limit *engine.LimitError
		if _, err := b.accounts.Insert(tx, account{Owner: "b", Note: strings.Repeat("x", 2000)}); !errors.As(err, &limit) || limit.Limit != "DocumentBytes" || limit.Max != 2000 {
			t.Errorf("insert: %v", err)
		}
		if err := b.accounts.Patch(tx, id, func(a *account) error { a.Note = strings.Repeat("x", 2000); return nil }); !errors.As(err, &limit) {
			t.Errorf("patch: %v", err)
		}
		d, err := b.accounts.Get(tx, id)
		if err != nil || d.Value.Note != "small" {
			t.Errorf("afterwards it is %+v (%v)", d, err)
		}
		return nil
	})
	// The most that there is cannot be raised, and fits the stores.
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema, func(o *engine.Options) { o.Limits.DocumentBytes = 1 << 30 })
		note := strings.Repeat("x", db.Options().Limits.DocumentBytes-200)
		update(t, db, func(tx *engine.Tx) error {
			return second(b.accounts.Insert(tx, account{Owner: "a", Note: note}))
		})
		var limit *engine.LimitError
		if err := db.Update(context.Background(), func(tx *engine.Tx) error {
			return second(b.accounts.Insert(tx, account{Owner: "b", Note: note + note[:300]}))
		}); !errors.As(err, &limit) || limit.Limit != "DocumentBytes" {
			t.Errorf("got %v", err)
		}
	})
}

func TestIndexKeyBytes(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		update(t, db, func(tx *engine.Tx) error {
			if _, err := b.accounts.Insert(tx, account{Owner: strings.Repeat("x", 16_000)}); err != nil {
				t.Errorf("16,000 bytes: %v", err)
			}
			var limit *engine.LimitError
			if _, err := b.accounts.Insert(tx, account{Owner: strings.Repeat("x", 17_000)}); !errors.As(err, &limit) || limit.Limit != "IndexKeyBytes" {
				t.Errorf("17,000 bytes: %v", err)
			}
			// Bytes that take two in a key count as such.
			if _, err := b.accounts.Insert(tx, account{Owner: strings.Repeat("\x00", 9_000)}); !errors.As(err, &limit) {
				t.Errorf("9,000 zero bytes: %v", err)
			}
			return nil
		})
	})
}

func TestArgumentAndResultBytes(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Limits.ArgumentBytes, o.Limits.ResultBytes = 100, 200 })
	for name, a := range map[string]addArgs{
		"ArgumentBytes": {Name: strings.Repeat("x", 100)},
		"ResultBytes":   {Name: "a", Size: 300},
	} {
		_, err := db.RunMutation(context.Background(), engine.Call{Function: "tally:add", Args: encode(t, a)})
		var limit *engine.LimitError
		var e *engine.Error
		if !errors.As(err, &limit) || limit.Limit != name || !errors.As(err, &e) || e.Code != engine.CodeTooLarge {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if data, ok := e.Data.(map[string]any); !ok || data["limit"] != name {
			t.Errorf("%s: data %v", name, e.Data)
		}
	}
	if n := c.value(t, db, "a"); n != 0 {
		t.Error("a mutation whose result was refused took effect")
	}
}

func TestNestingLimit(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Limits.Nesting = 3 })
	deepest := 0
	var down func(tx *engine.Tx, level int) error
	down = func(tx *engine.Tx, level int) error {
		return tx.Nested(func(tx *engine.Tx) error {
			deepest = max(deepest, level)
			return down(tx, level+1)
		})
	}
	err := db.Update(context.Background(), func(tx *engine.Tx) error { return down(tx, 1) })
	var limit *engine.LimitError
	if !errors.As(err, &limit) || limit.Limit != "Nesting" || deepest != 3 {
		t.Errorf("went %d deep, then %v", deepest, err)
	}
	// Beside one another there may be many.
	update(t, db, func(tx *engine.Tx) error {
		for range 100 {
			if err := tx.Nested(func(*engine.Tx) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestLogLines(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	engine.Query(s, "log:much", func(r *engine.ReadTx, _ struct{}) (int, error) {
		for i := range 10 {
			r.Log("line %d", i)
		}
		return 0, nil
	})
	db := enginetest.Open(t, s, func(o *engine.Options) { o.Limits.LogLines = 3 })
	r, err := query(t, db, "log:much", struct{}{})
	if err != nil || len(r.Log) != 3 || r.Log[2] != "line 2" {
		t.Errorf("got %q (%v)", r.Log, err)
	}
}

// At its time limit a function is given up: its caller is answered, and whatever it does afterwards fails.
func TestFunctionTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBank()
		db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Limits.FunctionTime = time.Second })
		id := b.open(t, db, "a", 1)
		release, late := make(chan struct{}), make(chan []error, 1)
		start := time.Now()
		err := db.Update(context.Background(), func(tx *engine.Tx) error {
			if err := b.accounts.Patch(tx, id, func(a *account) error { a.Balance = 2; return nil }); err != nil {
				return err
			}
			<-release
			tx.Log("still here")
			late <- []error{
				second(b.accounts.Get(tx, id)), second(b.accounts.Insert(tx, account{Owner: "late"})), second(b.balance.Scan(tx).Collect()),
				tx.Nested(func(*engine.Tx) error { return nil }), context.Cause(tx.Context()),
			}
			return nil
		})
		var limit *engine.LimitError
		if !errors.As(err, &limit) || limit.Limit != "FunctionTime" || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if n := db.Abandoned(); n != 1 {
			t.Errorf("%d functions abandoned, want 1", n)
		}
		close(release)
		errs := <-late
		for i, err := range errs[:4] {
			if !errors.Is(err, engine.ErrDead) {
				t.Errorf("late call %d: %v, want ErrDead", i, err)
			}
		}
		if errs[4] == nil {
			t.Error("its context did not end")
		}
		synctest.Wait()
		if n := db.Abandoned(); n != 0 {
			t.Errorf("%d functions abandoned, want none", n)
		}
		view(t, db, func(r *engine.ReadTx) error {
			d, err := b.accounts.Get(r, id)
			if err != nil || d.Value.Balance != 1 {
				t.Errorf("it is %+v (%v), want it untouched", d, err)
			}
			return nil
		})
	})
}

func TestActionTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		release := make(chan struct{})
		late := make(chan error, 1)
		add := engine.Mutation(c.schema, "action:add", func(tx *engine.Tx, _ struct{}) (int, error) { return 0, c.increment(tx, "late") })
		engine.Action(c.schema, "action:heeds", func(a *engine.ActionCtx, _ struct{}) (int, error) {
			<-a.Context().Done()
			return 0, a.Context().Err()
		})
		engine.Action(c.schema, "action:ignores", func(a *engine.ActionCtx, _ struct{}) (int, error) {
			<-release
			_, err := add.Run(a, struct{}{})
			late <- err
			return 0, nil
		})
		db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Limits.ActionTime = time.Minute })
		for _, name := range []string{"action:heeds", "action:ignores"} {
			start := time.Now()
			_, err := db.RunAction(context.Background(), engine.Call{Function: name})
			var limit *engine.LimitError
			if !errors.As(err, &limit) || limit.Limit != "ActionTime" || time.Since(start) != time.Minute {
				t.Errorf("%s: after %v: %v", name, time.Since(start), err)
			}
		}
		close(release)
		if err := <-late; err == nil {
			t.Error("an abandoned action could still write")
		}
		if n := c.value(t, db, "late"); n != 0 {
			t.Error("an abandoned action wrote")
		}
	})
}

// A function that ends its goroutine, as testing.T.Fatal does, is answered at once and keeps nothing.
func TestFunctionThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		if _, err := b.accounts.Insert(tx, account{Owner: "a"}); err != nil {
			return err
		}
		runtime.Goexit()
		return nil
	})
	if err == nil || b.owners(t, db) != "" {
		t.Errorf("got %v, and there are %q", err, b.owners(t, db))
	}
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Limits.Attempts = 3 })
	runs := 0
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		runs++
		if _, err := c.byName.One(tx, "hot"); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
		if err := c.add(context.Background(), db, "hot"); err != nil {
			return err
		}
		return c.increment(tx, "mine")
	})
	if !errors.Is(err, &engine.Error{Code: engine.CodeBusy}) || runs != 3 {
		t.Errorf("after %d runs: %v, want busy after 3", runs, err)
	}
	if n := c.value(t, db, "mine"); n != 0 {
		t.Error("it took effect all the same")
	}
}

// A log line is cut where it is too long, between two characters.
func TestLogLineLength(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	engine.Query(s, "log:long", func(r *engine.ReadTx, _ struct{}) (int, error) {
		r.Log("%s", strings.Repeat("é", 100_000))
		return 0, nil
	})
	engine.Action(s, "log:act", func(a *engine.ActionCtx, _ struct{}) (int, error) {
		a.Log("x%s", strings.Repeat("é", 100_000))
		return 0, nil
	})
	db := enginetest.Open(t, s)
	for name, want := range map[string]string{"log:long": strings.Repeat("é", 2048) + "…", "log:act": "x" + strings.Repeat("é", 2047) + "…"} {
		r, err := db.Run(context.Background(), engine.Call{Function: name})
		if err != nil || len(r.Log) != 1 || r.Log[0] != want {
			t.Errorf("%s: a line of %d bytes (%v), want %d", name, len(r.Log[0]), err, len(want))
		}
	}
}
