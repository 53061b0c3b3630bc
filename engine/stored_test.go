package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// shelf has queries that give the same documents decoded and as they are stored.
type shelf struct {
	*bank
	storedRef engine.QueryRef[struct{}, []engine.Stored[account]]
}

type found struct {
	First engine.Stored[account]            `json:"first"`
	Maybe *engine.Stored[account]           `json:"maybe"`
	By    map[string]engine.Stored[account] `json:"by"`
	Any   any                               `json:"any"`
}

func newShelf() *shelf {
	s := &shelf{bank: newBank()}
	engine.Query(s.schema, "shelf:decoded", func(r *engine.ReadTx, _ struct{}) (all []engine.Doc[account], err error) {
		for d, err := range s.balance.Scan(r).Gte(2).Desc().Limit(3).Docs() {
			if err != nil {
				return nil, err
			}
			all = append(all, *d)
		}
		return all, nil
	})
	s.storedRef = engine.Query(s.schema, "shelf:stored", func(r *engine.ReadTx, _ struct{}) ([]engine.Stored[account], error) {
		return s.balance.Scan(r).Gte(2).Desc().Limit(3).Stored().Collect()
	})
	engine.Query(s.schema, "shelf:found", func(r *engine.ReadTx, _ struct{}) (found, error) {
		a, err := s.balance.Scan(r).Stored().First()
		return found{First: a, By: map[string]engine.Stored[account]{"a": a}, Any: []any{a}}, err
	})
	engine.Query(s.schema, "shelf:zero", func(*engine.ReadTx, struct{}) (engine.Stored[account], error) {
		return engine.Stored[account]{}, nil
	})
	return s
}

// What is forwarded is what would have been decoded and encoded again, under the same schema.
func TestStoredIsTheSameResult(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		s := newShelf()
		db := open(s.schema)
		for i, owner := range []string{"a", "b \"quoted\" é", "c", "d", "e"} {
			s.open(t, db, owner, i)
		}
		decoded, err := query(t, db, "shelf:decoded", struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := query(t, db, "shelf:stored", struct{}{})
		if err != nil || string(stored.Value) != string(decoded.Value) || strings.Count(string(stored.Value), "_id") != 3 {
			t.Errorf("stored:  %s (%v)\ndecoded: %s", stored.Value, err, decoded.Value)
		}
		d, _ := db.Lookup("shelf:decoded")
		got, _ := db.Lookup("shelf:stored")
		if string(got.Result) != string(d.Result) {
			t.Errorf("schema of stored:  %s\nschema of decoded: %s", got.Result, d.Result)
		}
		r, err := query(t, db, "shelf:found", struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		var first struct{ First json.RawMessage }
		if err := json.Unmarshal(r.Value, &first); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"first":%s,"maybe":null,"by":{"a":%[1]s},"any":[%[1]s]}`, first.First)
		if string(r.Value) != want || !strings.HasPrefix(string(first.First), `{"_id":`) {
			t.Errorf("within a result: %s, want %s", r.Value, want)
		}
	})
}

func TestStoredDocument(t *testing.T) {
	t.Parallel()
	s := newShelf()
	db := enginetest.Open(t, s.schema)
	id := s.open(t, db, "a", 1)
	s.open(t, db, "b", 2)
	s.open(t, db, "c", 2)
	view(t, db, func(r *engine.ReadTx) error {
		want, err := s.accounts.Get(r, id)
		if err != nil {
			return err
		}
		d, err := s.accounts.GetStored(r, id)
		if err != nil {
			return err
		}
		doc, err := d.Doc()
		if err != nil || *doc != *want || d.ID() != id || !d.Created().Equal(want.Created) {
			t.Errorf("it is %s %s %v (%v), want %+v", d.JSON(), d.ID(), d.Created(), err, want)
		}
		if raw, err := json.Marshal(d); err != nil || string(raw) != string(d.JSON()) {
			t.Errorf("encoding/json makes of it %s (%v)", raw, err)
		}
		if d, err := s.byOwner.Eq(r, "b").Stored().Unique(); err != nil || !strings.Contains(string(d.JSON()), `"owner":"b"`) {
			t.Errorf("Unique: %s (%v)", d.JSON(), err)
		}
		if _, err := s.balance.Eq(r, 2).Stored().Unique(); !errors.Is(err, engine.ErrNotUnique) {
			t.Errorf("Unique of two: %v", err)
		}
		if _, err := s.balance.Eq(r, 3).Stored().Unique(); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("Unique of none: %v", err)
		}
		if _, err := s.balance.Eq(r, 3).Stored().First(); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("First of none: %v", err)
		}
		all, err := s.accounts.All(r).Filter(func(d *engine.Doc[account]) bool { return d.Value.Owner != "a" }).Limit(1).Stored().Collect()
		if err != nil || len(all) != 1 || !strings.Contains(string(all[0].JSON()), `"owner":"b"`) {
			t.Errorf("filtered: %v (%v)", all, err)
		}
		none, err := s.accounts.All(r).Limit(0).Stored().Collect()
		if err != nil || none == nil || len(none) != 0 {
			t.Errorf("none: %v (%v)", none, err)
		}
		return nil
	})
	view(t, db, func(r *engine.ReadTx) error {
		if _, err := s.accounts.GetStored(r, "nonsense"); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("of a malformed id: %v", err)
		}
		return nil
	})
	// Inside a mutation it is what the mutation has made of it.
	update(t, db, func(tx *engine.Tx) error {
		if err := s.accounts.Patch(tx, id, func(a *account) error { a.Balance = 9; return nil }); err != nil {
			return err
		}
		d, err := s.accounts.GetStored(tx, id)
		if err != nil || !strings.Contains(string(d.JSON()), `"balance":9`) {
			t.Errorf("after a patch: %s (%v)", d.JSON(), err)
		}
		if err := s.accounts.Delete(tx, id); err != nil {
			return err
		}
		if _, err := s.accounts.GetStored(tx, id); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("after a delete: %v", err)
		}
		return nil
	})
}

// A live query that gave stored documents is run again when one of them changes, and not when others do.
func TestStoredIsWatched(t *testing.T) {
	t.Parallel()
	s := newShelf()
	db := enginetest.Open(t, s.schema)
	ids := []engine.ID[account]{s.open(t, db, "a", 1), s.open(t, db, "b", 5)}
	e, err := db.Evaluate(context.Background(), db.Published(), engine.Call{Function: "shelf:stored"})
	if err != nil || e.Err != nil {
		t.Fatal(err, e.Err)
	}
	touched := make(chan struct{}, 1)
	defer db.Watch(e, func() { touched <- struct{}{} }).Stop()
	patch := func(id engine.ID[account]) {
		update(t, db, func(tx *engine.Tx) error {
			return s.accounts.Patch(tx, id, func(a *account) error { a.Note += "x"; return nil })
		})
	}
	patch(ids[0])
	select {
	case <-touched:
		t.Error("touched by a document that is not in it")
	default:
	}
	patch(ids[1])
	select {
	case <-touched:
	default:
		t.Error("not touched by a document that is in it")
	}
}

func TestStoredThatIsNone(t *testing.T) {
	t.Parallel()
	s := newShelf()
	db := enginetest.Open(t, s.schema)
	if _, err := query(t, db, "shelf:zero", struct{}{}); !errors.Is(err, &engine.Error{Code: engine.CodeInternal}) {
		t.Errorf("as a result: %v", err)
	}
	var zero engine.Stored[account]
	if _, err := zero.Doc(); err == nil || zero.ID() != "" || !zero.Created().IsZero() {
		t.Errorf("it is %s %v (%v)", zero.ID(), zero.Created(), err)
	}
	if _, err := json.Marshal(zero); err == nil {
		t.Error("encoding/json takes it")
	}
}

// An action gets what a query gave, and can decode it.
func TestStoredFromAnAction(t *testing.T) {
	t.Parallel()
	s := newShelf()
	engine.Action(s.schema, "shelf:act", func(a *engine.ActionCtx, _ struct{}) (string, error) {
		got, err := s.storedRef.Run(a, struct{}{})
		if err != nil || len(got) != 1 {
			return "", fmt.Errorf("%d documents: %w", len(got), err)
		}
		d, err := got[0].Doc()
		if err != nil {
			return "", err
		}
		return d.Value.Owner, nil
	})
	db := enginetest.Open(t, s.schema)
	s.open(t, db, "a", 2)
	r, err := db.RunAction(context.Background(), engine.Call{Function: "shelf:act"})
	if err != nil || string(r.Value) != `"a"` {
		t.Errorf("got %s (%v)", r.Value, err)
	}
}

func TestStoredElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	type holder struct {
		Doc engine.Stored[account] `json:"doc"`
	}
	engine.Define[account](s, "accounts")
	engine.Define[holder](s, "holders")
	engine.Query(s, "stored:args", func(*engine.ReadTx, holder) (int, error) { return 0, nil })
	_, err := engine.Open(s, engine.Options{Dir: t.TempDir()})
	if err == nil || strings.Count(err.Error(), "can be in a result only") != 2 {
		t.Errorf("Open: %v", err)
	}
}

// A page of stored documents is that of decoded ones, on the wire and in its schema.
func TestStoredPage(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		s := newShelf()
		some := func(r *engine.ReadTx) *engine.Scan[account] {
			return s.balance.Scan(r).Desc().Filter(func(d *engine.Doc[account]) bool { return d.Value.Owner != "c" })
		}
		engine.Query(s.schema, "shelf:decodedPage", func(r *engine.ReadTx, a pageOf) (engine.Page[*engine.Doc[account]], error) {
			return some(r).Paginate(a.Page)
		})
		engine.Query(s.schema, "shelf:storedPage", func(r *engine.ReadTx, a pageOf) (engine.Page[engine.Stored[account]], error) {
			return some(r).Stored().Paginate(a.Page)
		})
		engine.Query(s.schema, "shelf:pageShape", func(*engine.ReadTx, pageOf) (p engine.Page[engine.Doc[account]], err error) { return p, err })
		db := open(s.schema)
		for i, owner := range []string{"a", "b", "c", "d", "e"} {
			s.open(t, db, owner, i)
		}
		var cursor *string
		sizes := ""
		for done := false; !done; {
			args := pageOf{Page: engine.PageArgs{NumItems: 2, Cursor: cursor}}
			decoded, err := query(t, db, "shelf:decodedPage", args)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := query(t, db, "shelf:storedPage", args)
			if err != nil || string(stored.Value) != string(decoded.Value) || stored.Journal != decoded.Journal {
				t.Fatalf("stored:  %s (%v)\ndecoded: %s", stored.Value, err, decoded.Value)
			}
			var p engine.Page[json.RawMessage]
			if err := json.Unmarshal(stored.Value, &p); err != nil {
				t.Fatal(err)
			}
			sizes += fmt.Sprint(len(p.Items), " ")
			cursor, done = &p.ContinueCursor, p.IsDone
		}
		if sizes != "2 2 " {
			t.Errorf("pages of %s, want 2 2", sizes)
		}
		bad := "x"
		if _, err := query(t, db, "shelf:storedPage", pageOf{Page: engine.PageArgs{NumItems: 2, Cursor: &bad}}); err == nil || !strings.Contains(err.Error(), "InvalidCursor") {
			t.Errorf("a foreign cursor: %v", err)
		}
		want, _ := db.Lookup("shelf:pageShape")
		got, _ := db.Lookup("shelf:storedPage")
		// But for the page's own name.
		if s := strings.ReplaceAll(string(got.Result), "_Stored_5b_", "_Doc_5b_"); len(want.Result) == 0 || s != string(want.Result) {
			t.Errorf("schema of stored:  %s\nschema of decoded: %s", got.Result, want.Result)
		}
	})
}
