package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// hook is a write hook made of functions.
type hook struct {
	before func(*engine.ReadTx, *engine.Change) error
	after  func(*engine.Tx, engine.Change) error
	nested func(*engine.Tx, func() error) error
}

func (h *hook) Before(r *engine.ReadTx, c *engine.Change) error {
	if h.before == nil {
		return nil
	}
	return h.before(r, c)
}

func (h *hook) After(tx *engine.Tx, c engine.Change) error {
	if h.after == nil {
		return nil
	}
	return h.after(tx, c)
}

func (h *hook) Nested(tx *engine.Tx, run func() error) error {
	if h.nested == nil {
		return run()
	}
	return h.nested(tx, run)
}

var errBoom = errors.New("boom")

func TestNestedRollsBack(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		id := b.open(t, db, "ann", 10)
		gone := b.open(t, db, "gone", 5)
		update(t, db, func(tx *engine.Tx) error {
			if err := b.accounts.Patch(tx, id, func(a *account) error { a.Balance = 20; return nil }); err != nil {
				return err
			}
			var inner engine.ID[account]
			err := tx.Nested(func(tx *engine.Tx) (err error) {
				if err := b.accounts.Patch(tx, id, func(a *account) error { a.Balance = 30; return nil }); err != nil {
					return err
				}
				if err := b.accounts.Delete(tx, gone); err != nil {
					return err
				}
				if inner, err = b.accounts.Insert(tx, account{Owner: "inner", Balance: 30}); err != nil {
					return err
				}
				if got := b.list(t, tx); got != "ann:30 inner:30" {
					t.Errorf("inside: %s", got)
				}
				return errBoom
			})
			if !errors.Is(err, errBoom) {
				t.Errorf("Nested returned %v", err)
			}
			if got := b.list(t, tx); got != "gone:5 ann:20" {
				t.Errorf("after the rollback: %s", got)
			}
			if _, err := b.accounts.Get(tx, inner); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("a document that was rolled back: %v", err)
			}
			// Its unique value is free, and one that succeeds stays.
			return tx.Nested(func(tx *engine.Tx) error { return second(b.accounts.Insert(tx, account{Owner: "inner", Balance: 40})) })
		})
		view(t, db, func(r *engine.ReadTx) error {
			if got := b.list(t, r); got != "gone:5 ann:20 inner:40" {
				t.Errorf("committed: %s", got)
			}
			return nil
		})
	})
}

// list gives owners and balances by balance.
func (b *bank) list(t testing.TB, r engine.Reader) (out string) {
	t.Helper()
	for d, err := range b.balance.Scan(r).Docs() {
		if err != nil {
			t.Error(err)
			return ""
		}
		if out != "" {
			out += " "
		}
		out += fmt.Sprintf("%s:%d", d.Value.Owner, d.Value.Balance)
	}
	return out
}

func TestNestedInNested(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	insert := func(tx *engine.Tx, owner string) error {
		return second(b.accounts.Insert(tx, account{Owner: owner}))
	}
	update(t, db, func(tx *engine.Tx) error {
		err := tx.Nested(func(tx *engine.Tx) error {
			if err := insert(tx, "outer"); err != nil {
				return err
			}
			if err := tx.Nested(func(tx *engine.Tx) error { return errors.Join(insert(tx, "lost"), errBoom) }); !errors.Is(err, errBoom) {
				t.Errorf("inner: %v", err)
			}
			return tx.Nested(func(tx *engine.Tx) error { return insert(tx, "inner") })
		})
		if err != nil {
			return err
		}
		err = tx.Nested(func(tx *engine.Tx) error {
			if err := tx.Nested(func(tx *engine.Tx) error { return insert(tx, "committed inside what is rolled back") }); err != nil {
				return err
			}
			return errBoom
		})
		if !errors.Is(err, errBoom) {
			t.Errorf("second: %v", err)
		}
		return nil
	})
	if got := b.owners(t, db); got != "inner outer" {
		t.Errorf("there are %s", got)
	}
}

// What a failed part has read is still what the transaction depends on: the decision to go on was made from it.
func TestReadsOfAFailedPartStay(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	runs := raced(t, db, func(tx *engine.Tx) error {
		err := tx.Nested(func(tx *engine.Tx) error {
			n, err := b.balance.Eq(tx, 7).Count()
			if err == nil && n == 0 {
				err = errBoom
			}
			return err
		})
		if errors.Is(err, errBoom) {
			return nil
		}
		return err
	}, func(tx *engine.Tx) error {
		return second(b.accounts.Insert(tx, account{Owner: "between", Balance: 7}))
	}, func(tx *engine.Tx) error {
		return second(b.accounts.Insert(tx, account{Owner: "writer"}))
	})
	if runs != 2 {
		t.Errorf("ran %d times, want 2", runs)
	}
}

// An error of an After hook fails the whole mutation, even where it is ignored; a Nested bounds it.
func TestPoison(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"an error": func() error { return errBoom },
		"a panic":  func() error { panic(errBoom) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBank()
			b.schema.OnWrite(&hook{after: func(_ *engine.Tx, c engine.Change) error {
				if d, err := engine.DecodeAfter[account](&c); err != nil || d == nil || d.Value.Owner != "bad" {
					return err
				}
				return fail()
			}})
			db := enginetest.Open(t, b.schema)
			isBoom := func(err error) bool {
				var p *engine.PanicError
				return errors.Is(err, errBoom) || errors.As(err, &p) && p.Value == errBoom
			}
			err := db.Update(context.Background(), func(tx *engine.Tx) error {
				if _, err := b.accounts.Insert(tx, account{Owner: "good"}); err != nil {
					return err
				}
				if _, err := b.accounts.Insert(tx, account{Owner: "bad"}); !isBoom(err) {
					t.Errorf("the insert returned %v", err)
				}
				for what, err := range map[string]error{
					"insert": second(b.accounts.Insert(tx, account{Owner: "more"})),
					"scan":   second(b.balance.Scan(tx).Collect()),
					"nested": tx.Nested(func(*engine.Tx) error { return nil }),
					"who":    second(tx.Identity()),
				} {
					if !isBoom(err) {
						t.Errorf("%s after it: %v", what, err)
					}
				}
				return nil
			})
			if !isBoom(err) {
				t.Errorf("the mutation returned %v", err)
			}
			if got := b.owners(t, db); got != "" {
				t.Errorf("something was kept: %s", got)
			}
			update(t, db, func(tx *engine.Tx) error {
				if _, err := b.accounts.Insert(tx, account{Owner: "good"}); err != nil {
					return err
				}
				err := tx.Nested(func(tx *engine.Tx) error {
					_, _ = b.accounts.Insert(tx, account{Owner: "bad"})
					return nil
				})
				if !isBoom(err) {
					t.Errorf("Nested returned %v", err)
				}
				return second(b.accounts.Insert(tx, account{Owner: "after"}))
			})
			if got := b.owners(t, db); got != "after good" {
				t.Errorf("there are %s", got)
			}
		})
	}
}

// Refusals before the write undo that write alone.
func TestRefusalsPoisonNothing(t *testing.T) {
	t.Parallel()
	b := newBank()
	b.schema.OnWrite(&hook{before: func(_ *engine.ReadTx, c *engine.Change) error {
		switch d, err := engine.DecodeAfter[account](c); {
		case err != nil || d == nil:
			return err
		case d.Value.Owner == "refused":
			return engine.Errorf(engine.CodeForbidden, "not this one")
		case d.Value.Owner == "changed":
			d.Value.Balance++
			return engine.SetAfter(c, &d.Value)
		case d.Value.Owner == "broken":
			d.Value.Owner = ""
			return engine.SetAfter(c, &d.Value)
		}
		return nil
	}})
	db := enginetest.Open(t, b.schema)
	update(t, db, func(tx *engine.Tx) error {
		id, err := b.accounts.Insert(tx, account{Owner: "changed", Balance: 1})
		if err != nil {
			return err
		}
		if _, err := b.accounts.Insert(tx, account{Owner: "refused"}); !errors.Is(err, &engine.Error{Code: engine.CodeForbidden}) {
			t.Errorf("refused by a hook: %v", err)
		}
		if _, err := b.accounts.Insert(tx, account{Owner: "broken"}); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("made invalid by a hook: %v", err)
		}
		if _, err := b.accounts.Insert(tx, account{}); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("invalid: %v", err)
		}
		if _, err := b.accounts.Insert(tx, account{Owner: "changed"}); !errors.Is(err, engine.ErrAlreadyExists) {
			t.Errorf("not unique: %v", err)
		}
		if err := b.accounts.Patch(tx, id, func(*account) error { return errBoom }); !errors.Is(err, errBoom) {
			t.Errorf("a change that failed: %v", err)
		}
		if err := b.accounts.Delete(tx, id); err != nil {
			return err
		}
		if err := b.accounts.Delete(tx, id); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		return second(b.accounts.Insert(tx, account{Owner: "changed", Balance: 5}))
	})
	view(t, db, func(r *engine.ReadTx) error {
		if got := b.list(t, r); got != "changed:6" {
			t.Errorf("there are %s", got)
		}
		return nil
	})
}

// A panic in a part leaves the transaction as it was before it, for whoever recovers.
func TestPanicInNested(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	update(t, db, func(tx *engine.Tx) error {
		func() {
			defer func() {
				if p := recover(); p != errBoom {
					t.Errorf("recovered %v", p)
				}
			}()
			err := tx.Nested(func(tx *engine.Tx) error {
				if _, err := b.accounts.Insert(tx, account{Owner: "lost"}); err != nil {
					return err
				}
				panic(errBoom)
			})
			t.Errorf("went on with %v", err)
		}()
		return second(b.accounts.Insert(tx, account{Owner: "kept"}))
	})
	if got := b.owners(t, db); got != "kept" {
		t.Errorf("there are %s", got)
	}
}

// A hook that keeps state of its own wraps every Nested, hooks in their order, and may fail it.
func TestNestHook(t *testing.T) {
	t.Parallel()
	b := newBank()
	var order []string
	wrap := func(name string) *hook {
		return &hook{nested: func(_ *engine.Tx, run func() error) error {
			order = append(order, name+" in")
			err := run()
			order = append(order, fmt.Sprintf("%s out (%v)", name, err))
			if name == "outer" && err == nil {
				err = errBoom
			}
			return err
		}}
	}
	b.schema.OnWrite(wrap("outer"))
	b.schema.OnWrite(wrap("inner"))
	db := enginetest.Open(t, b.schema)
	update(t, db, func(tx *engine.Tx) error {
		if err := tx.Nested(func(tx *engine.Tx) error { return second(b.accounts.Insert(tx, account{Owner: "a"})) }); !errors.Is(err, errBoom) {
			t.Errorf("got %v", err)
		}
		return nil
	})
	if got, want := fmt.Sprint(order), "[outer in inner in inner out (<nil>) outer out (<nil>)]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := b.owners(t, db); got != "" {
		t.Errorf("there are %s", got)
	}
}

// Who the caller is, once found in a part that is rolled back, is found again.
func TestIdentityFoundInARolledBackPart(t *testing.T) {
	t.Parallel()
	g := newGreeter()
	p := principal{key: "k", resolve: func(r engine.Reader) (*engine.Identity, error) {
		d, err := g.byName.One(r, "session")
		if err != nil {
			return nil, nil //nolint:nilerr // no session, nobody
		}
		return &engine.Identity{User: d.Value.Name}, nil
	}}
	engine.Mutation(g.schema, "test:nested", func(tx *engine.Tx, _ struct{}) (string, error) {
		var inside *engine.Identity
		err := tx.Nested(func(tx *engine.Tx) (err error) {
			d, err := g.byName.One(tx, "session")
			if err != nil {
				return err
			}
			if err := g.tallies.Delete(tx, d.ID); err != nil {
				return err
			}
			if inside, err = tx.Identity(); err != nil {
				return err
			}
			return errBoom
		})
		if !errors.Is(err, errBoom) || inside != nil {
			return "", fmt.Errorf("inside it was %v (%w)", inside, err)
		}
		id, err := tx.Identity()
		if err != nil || id == nil {
			return "nobody", err
		}
		return id.User, nil
	})
	db := enginetest.Open(t, g.schema)
	must(t, g.add(context.Background(), db, "session"))
	r, err := db.RunMutation(context.Background(), engine.Call{Function: "test:nested", Principal: p})
	if err != nil || string(r.Value) != `"session"` {
		t.Errorf("got %s (%v)", r.Value, err)
	}
}

// Hooks around a nested part learn that it has failed even where its function ignored the error of a trigger.
func TestNestHookLearnsOfAnIgnoredFailure(t *testing.T) {
	t.Parallel()
	b := newBank()
	var told error
	b.schema.OnWrite(&hook{
		after:  func(*engine.Tx, engine.Change) error { return errBoom },
		nested: func(_ *engine.Tx, run func() error) error { told = run(); return told },
	})
	db := enginetest.Open(t, b.schema)
	update(t, db, func(tx *engine.Tx) error {
		err := tx.Nested(func(tx *engine.Tx) error {
			_, _ = b.accounts.Insert(tx, account{Owner: "ann"})
			return nil
		})
		if !errors.Is(err, errBoom) {
			t.Errorf("the part: %v, want what its trigger failed with", err)
		}
		return nil
	})
	if !errors.Is(told, errBoom) {
		t.Errorf("the hook was told %v, want what the trigger failed with", told)
	}
}
