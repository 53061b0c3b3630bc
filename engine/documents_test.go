package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

func TestDocuments(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		before := time.Now().Add(-time.Millisecond)
		var id engine.ID[account]
		update(t, db, func(tx *engine.Tx) (err error) {
			if id, err = b.accounts.Insert(tx, account{Owner: "ann", Balance: 1, Note: "n"}); err != nil {
				return err
			}
			d, err := b.accounts.Get(tx, id)
			if err != nil || d.ID != id || d.Value != (account{"ann", 1, "n"}) {
				t.Errorf("inside: %+v (%v)", d, err)
			}
			return nil
		})
		get := func() *engine.Doc[account] {
			var d *engine.Doc[account]
			view(t, db, func(r *engine.ReadTx) (err error) { d, err = b.accounts.Get(r, id); return err })
			return d
		}
		d := get()
		if d.ID != id || d.Value != (account{"ann", 1, "n"}) || d.Created.Before(before) || d.Created.After(time.Now()) {
			t.Errorf("inserted: %+v", d)
		}
		created := d.Created
		update(t, db, func(tx *engine.Tx) error {
			return b.accounts.Patch(tx, id, func(a *account) error { a.Balance = 2; return nil })
		})
		if d = get(); d.Value != (account{"ann", 2, "n"}) || !d.Created.Equal(created) {
			t.Errorf("patched: %+v", d)
		}
		update(t, db, func(tx *engine.Tx) error { return b.accounts.Replace(tx, id, account{Owner: "bob"}) })
		if d = get(); d.Value != (account{Owner: "bob"}) || !d.Created.Equal(created) {
			t.Errorf("replaced: %+v", d)
		}
		update(t, db, func(tx *engine.Tx) error { return b.accounts.Delete(tx, id) })
		update(t, db, func(tx *engine.Tx) error {
			for what, err := range map[string]error{
				"get":     second(b.accounts.Get(tx, id)),
				"patch":   b.accounts.Patch(tx, id, func(*account) error { t.Error("called"); return nil }),
				"replace": b.accounts.Replace(tx, id, account{Owner: "x"}),
				"delete":  b.accounts.Delete(tx, id),
				"one":     second(b.byOwner.One(tx, "bob")),
			} {
				if !errors.Is(err, engine.ErrNotFound) {
					t.Errorf("%s of a deleted document: %v", what, err)
				}
			}
			return nil
		})
	})
}

func TestUnique(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	ann, bob := b.open(t, db, "ann", 1), b.open(t, db, "bob", 2)
	_ = ann
	update(t, db, func(tx *engine.Tx) error {
		_, err := b.accounts.Insert(tx, account{Owner: "ann"})
		var e *engine.Error
		if !errors.As(err, &e) || e.Code != engine.CodeAlreadyExists || len(e.Issues) != 1 || e.Issues[0].Path != "owner" || e.Issues[0].Rule != "unique" || strings.Contains(e.Error(), "ann") {
			t.Errorf("insert: %v with %+v", err, e)
		}
		if err := b.accounts.Patch(tx, bob, func(a *account) error { a.Owner = "ann"; return nil }); !errors.Is(err, engine.ErrAlreadyExists) {
			t.Errorf("patch: %v", err)
		}
		if err := b.accounts.Replace(tx, bob, account{Owner: "ann"}); !errors.Is(err, engine.ErrAlreadyExists) {
			t.Errorf("replace: %v", err)
		}
		// A document may keep its own value, and take one that was given up before, in the same transaction too.
		if err := b.accounts.Replace(tx, bob, account{Owner: "bob", Balance: 7}); err != nil {
			t.Error(err)
		}
		if err := b.accounts.Delete(tx, ann); err != nil {
			return err
		}
		return b.accounts.Patch(tx, bob, func(a *account) error { a.Owner = "ann"; return nil })
	})
	if got := b.owners(t, db); got != "ann" {
		t.Errorf("there are %s", got)
	}
}

// Two transactions that want the same value do not both get it, though neither has read it.
func TestUniqueUnderConcurrency(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		insert := func(tx *engine.Tx) error { return second(b.accounts.Insert(tx, account{Owner: "ann"})) }
		runs := 0
		err := db.Update(context.Background(), func(tx *engine.Tx) error {
			if err := insert(tx); err != nil {
				return err
			}
			if runs++; runs == 1 {
				return db.Update(context.Background(), insert)
			}
			return nil
		})
		if !errors.Is(err, engine.ErrAlreadyExists) || runs != 1 {
			t.Errorf("after %d whole runs: %v, want already exists", runs, err)
		}
		if got := b.owners(t, db); got != "ann" {
			t.Errorf("there are %s", got)
		}
	})
}

type optional struct {
	Name  *string `json:"name,omitempty"`
	Other *string `json:"other"`
	Rank  int     `json:"rank,omitempty"`
}

// Documents without a value are in an index, and many may be in a unique one.
func TestNullAndMissing(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	c := engine.Define[optional](s, "optionals")
	byName := c.AddUnique("byName", "name", "rank")
	byOther := c.AddUnique("byOther", "other")
	byNameDown := c.AddIndex("byNameDown", "-name")
	byRank := c.AddIndex("byRank", "rank")
	db := enginetest.Open(t, s)
	a, b := "a", "b"
	update(t, db, func(tx *engine.Tx) error {
		for _, v := range []optional{{nil, nil, 1}, {nil, nil, 1}, {&a, &a, 1}, {&b, nil, 1}, {nil, &b, 0}} {
			if _, err := c.Insert(tx, v); err != nil {
				return err
			}
		}
		return nil
	})
	var none *string
	view(t, db, func(r *engine.ReadTx) error {
		for what, scan := range map[string]struct {
			s    *engine.Scan[optional]
			want int
		}{
			"missing":                        {byName.Eq(r, nil), 3},
			"missing, then a value":          {byName.Eq(r, nil, 1), 2},
			"missing, then missing":          {byName.Eq(r, nil, nil), 1},
			"missing, then a bound":          {byName.Eq(r, nil).Gte(0), 2},
			"a nil pointer":                  {byName.Eq(r, none), 3},
			"a pointer":                      {byName.Eq(r, &a), 1},
			"null":                           {byOther.Eq(r, nil), 3},
			"values":                         {byOther.Scan(r).Gte(""), 2},
			"up to a value":                  {byOther.Scan(r).Lt("b"), 1},
			"all":                            {byOther.Scan(r), 5},
			"descending, missing":            {byNameDown.Eq(r, nil), 3},
			"descending, values":             {byNameDown.Scan(r).Gte(""), 2},
			"descending, up to a value":      {byNameDown.Scan(r).Lte("a"), 1},
			"descending, prefix":             {byNameDown.Scan(r).Prefix(""), 2},
			"a zero value that is left out":  {byRank.Eq(r, nil), 1},
			"that zero value, as it is none": {byRank.Eq(r, 0), 0},
		} {
			if n, err := scan.s.Count(); err != nil || n != scan.want {
				t.Errorf("%s: %d (%v), want %d", what, n, err, scan.want)
			}
		}
		return nil
	})
}

func TestIDs(t *testing.T) {
	t.Parallel()
	type other struct {
		X int `json:"x"`
	}
	b := newBank()
	others := engine.Define[other](b.schema, "others")
	engine.Query(b.schema, "ids:take", func(_ *engine.ReadTx, a struct {
		ID engine.ID[account] `json:"id"`
	},
	) (engine.ID[account], error) {
		return a.ID, nil
	})
	db := enginetest.Open(t, b.schema)
	id := b.open(t, db, "ann", 1)
	var foreign engine.ID[other]
	update(t, db, func(tx *engine.Tx) (err error) { foreign, err = others.Insert(tx, other{1}); return err })
	bad := map[string]string{
		"empty": "", "short": string(id)[:25], "long": string(id) + "0", "upper case": strings.ToUpper(string(id)),
		"foreign": string(foreign), "line break": string(id)[:25] + "\n", "not of the alphabet": string(id)[:25] + "u", "unused bits": string(id)[:25] + "z",
	}
	for what, s := range bad {
		if _, err := b.accounts.ParseID(s); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%s: parse: %v", what, err)
		}
		err := db.View(context.Background(), func(r *engine.ReadTx) error { return second(b.accounts.Get(r, engine.ID[account](s))) })
		var e *engine.Error
		if !errors.As(err, &e) || e.Code != engine.CodeInvalid || len(e.Issues) != 1 || e.Issues[0].Rule != "id" {
			t.Errorf("%s: get: %v", what, err)
		}
		_, err = query(t, db, "ids:take", map[string]string{"id": s})
		if !errors.As(err, &e) || e.Code != engine.CodeInvalid || len(e.Issues) != 1 || e.Issues[0].Rule != "id" || e.Issues[0].Path != "id" {
			t.Errorf("%s: as an argument: %v", what, err)
		}
	}
	if got, err := b.accounts.ParseID(string(id)); err != nil || got != id {
		t.Errorf("parsed %q (%v)", got, err)
	}
	if r, err := query(t, db, "ids:take", map[string]any{"id": id}); err != nil || string(r.Value) != fmt.Sprintf("%q", id) {
		t.Errorf("got %s (%v)", r.Value, err)
	}
}

// Ids sort by creation, as text too, within a transaction and from one to the next.
func TestCreationOrder(t *testing.T) {
	t.Parallel()
	b := newBank()
	// Transactions that begin in one microsecond are in no order: this clock never shows the same twice.
	var steps atomic.Int64
	db := enginetest.Open(t, b.schema, func(o *engine.Options) {
		o.Clock = func() time.Time { return fixedClock().Add(time.Duration(steps.Add(1)) * time.Millisecond) }
	})
	var ids []engine.ID[account]
	for i := range 10 {
		update(t, db, func(tx *engine.Tx) error {
			for j := range 10 {
				id, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint(i, j), Balance: -i*10 - j})
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return nil
		})
	}
	if !slices.IsSorted(ids) {
		t.Error("ids are not in creation order")
	}
	view(t, db, func(r *engine.ReadTx) error {
		docs, err := b.accounts.All(r).Collect()
		if err != nil {
			return err
		}
		for i, d := range docs {
			if d.ID != ids[i] || i > 0 && !d.Created.After(docs[i-1].Created) {
				t.Errorf("document %d of All is %s of %v", i, d.ID, d.Created)
			}
		}
		return nil
	})
}

// A Patch keeps what an older or newer program stored; a Replace does not.
func TestUnknownMembers(t *testing.T) {
	t.Parallel()
	type wide struct {
		Name  string         `json:"name"`
		Extra int            `json:"extra"`
		Deep  map[string]any `json:"deep"`
	}
	type narrow struct {
		Name string `json:"name"`
	}
	shared := memstore.NewShared(memstore.Options{})
	s := engine.NewSchema()
	wides := engine.Define[wide](s, "things")
	var ids []engine.ID[wide]
	must(t, reopen(t, shared, s, func(db *engine.DB) {
		update(t, db, func(tx *engine.Tx) error {
			for range 2 {
				id, err := wides.Insert(tx, wide{"n", 7, map[string]any{"k": "v"}})
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return nil
		})
	}))
	s2 := engine.NewSchema()
	narrows := engine.Define[narrow](s2, "things")
	must(t, reopen(t, shared, s2, func(db *engine.DB) {
		update(t, db, func(tx *engine.Tx) error {
			if err := narrows.Patch(tx, engine.ID[narrow](ids[0]), func(n *narrow) error { n.Name = "patched"; return nil }); err != nil {
				return err
			}
			return narrows.Replace(tx, engine.ID[narrow](ids[1]), narrow{"replaced"})
		})
	}))
	s3 := engine.NewSchema()
	raws := engine.Define[struct {
		Name  string `json:"name"`
		Extra *int   `json:"extra,omitempty"`
	}](s3, "things")
	must(t, reopen(t, shared, s3, func(db *engine.DB) {
		view(t, db, func(r *engine.ReadTx) error {
			docs, err := raws.All(r).Collect()
			if err != nil {
				return err
			}
			if d := docs[0].Value; d.Name != "patched" || d.Extra == nil || *d.Extra != 7 {
				t.Errorf("patched: %+v", d)
			}
			if d := docs[1].Value; d.Name != "replaced" || d.Extra != nil {
				t.Errorf("replaced: %+v", d)
			}
			return nil
		})
	}))
}

// A write that changes nothing is none: no hook runs, nothing is stored, nobody is disturbed.
func TestNoOpUpdates(t *testing.T) {
	t.Parallel()
	b := newBank()
	fired := 0
	revert := false
	b.schema.OnWrite(&hook{
		before: func(_ *engine.ReadTx, c *engine.Change) error {
			fired++
			if revert && c.Op == engine.Update {
				d, err := engine.DecodeBefore[account](c)
				if err != nil {
					return err
				}
				return engine.SetAfter(c, &d.Value)
			}
			return nil
		},
		after: func(*engine.Tx, engine.Change) error { fired++; return nil },
	})
	db, store := openSpied(t, b.schema)
	id := b.open(t, db, "ann", 1)
	fired = 0
	groups, _, _ := store.counts()
	update(t, db, func(tx *engine.Tx) error {
		return errors.Join(
			b.accounts.Patch(tx, id, func(*account) error { return nil }),
			b.accounts.Replace(tx, id, account{Owner: "ann", Balance: 1}))
	})
	if after, _, _ := store.counts(); fired != 0 || after != groups {
		t.Errorf("%d hooks ran and %d groups were committed", fired, after-groups)
	}
	revert = true
	update(t, db, func(tx *engine.Tx) error {
		return b.accounts.Patch(tx, id, func(a *account) error { a.Balance = 9; return nil })
	})
	if after, _, _ := store.counts(); fired != 1 || after != groups {
		t.Errorf("a change that a Before hook took back: %d hooks ran and %d groups were committed", fired, after-groups)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	b := newBank()
	var ops []string
	b.schema.OnWrite(&hook{after: func(_ *engine.Tx, c engine.Change) error {
		before, err := engine.DecodeBefore[account](&c)
		if err != nil {
			return err
		}
		after, err := engine.DecodeAfter[account](&c)
		if err != nil {
			return err
		}
		ops = append(ops, fmt.Sprintf("%s %s %v %v balance=%v note=%v", c.Op, c.Collection, before != nil, after != nil, c.Changed("balance"), c.Changed("note")))
		if _, err := engine.DecodeAfter[tally](&c); err == nil {
			t.Error("decoded as another type")
		}
		if c.Op == engine.Delete {
			if err := engine.SetAfter(&c, &account{Owner: "zombie"}); err == nil {
				t.Error("SetAfter on a delete")
			}
		}
		return nil
	}})
	db := enginetest.Open(t, b.schema)
	id := b.open(t, db, "ann", 1)
	update(t, db, func(tx *engine.Tx) error {
		if err := b.accounts.Patch(tx, id, func(a *account) error { a.Note = "n"; return nil }); err != nil {
			return err
		}
		return b.accounts.Delete(tx, id)
	})
	want := []string{
		"create accounts false true balance=true note=false",
		"update accounts true true balance=false note=true",
		"delete accounts true false balance=true note=true",
	}
	if !slices.Equal(ops, want) {
		t.Errorf("got %q", ops)
	}
}

// A document as a function's result is the wire's: system fields first.
func TestDocumentOnTheWire(t *testing.T) {
	t.Parallel()
	b := newBank()
	engine.Query(b.schema, "accounts:list", func(r *engine.ReadTx, _ struct{}) ([]*engine.Doc[account], error) {
		return b.accounts.All(r).Collect()
	})
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Clock = fixedClock })
	if r, err := query(t, db, "accounts:list", struct{}{}); err != nil || string(r.Value) != "[]" {
		t.Errorf("none: %s (%v)", r.Value, err)
	}
	id := b.open(t, db, "ann", 1)
	r, err := query(t, db, "accounts:list", struct{}{})
	want := fmt.Sprintf(`[{"_id":"%s","_creationTime":1700000000000,"owner":"ann","balance":1}]`, id)
	if err != nil || string(r.Value) != want {
		t.Errorf("got  %s (%v)\nwant %s", r.Value, err, want)
	}
	if !json.Valid(b.accounts.Schema()) || b.accounts.Name() != "accounts" || b.byOwner.Name() != "byOwner" {
		t.Error("the collection does not describe itself")
	}
}
