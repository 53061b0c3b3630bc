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

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

type pageOf struct {
	Owner string          `json:"owner,omitempty"`
	Page  engine.PageArgs `json:"paginationOpts"`
}

// newPagedBank is a bank with the pages of its accounts: by balance, with those of some owners left out.
func newPagedBank() *bank {
	b := newBank()
	engine.Query(b.schema, "bank:page", func(r *engine.ReadTx, a pageOf) (engine.Page[string], error) {
		p, err := b.balance.Scan(r).Filter(func(d *engine.Doc[account]) bool { return !strings.HasPrefix(d.Value.Owner, "not ") }).Paginate(a.Page)
		if err != nil {
			return engine.Page[string]{}, err
		}
		return engine.MapPage(p, func(d *engine.Doc[account]) (string, error) { return d.Value.Owner, nil })
	})
	return b
}

// openAccounts opens o0, o10, … with these balances.
func (b *bank) openAccounts(t testing.TB, db *engine.DB, n int) {
	t.Helper()
	update(t, db, func(tx *engine.Tx) error {
		for i := range n {
			if _, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint("o", i*10), Balance: i * 10}); err != nil {
				return err
			}
		}
		return nil
	})
}

func names(p engine.Page[string]) string { return strings.Join(p.Items, " ") }

// page runs bank:page, as a live query with a journal does.
func page(t testing.TB, db *engine.DB, args, journal string) (engine.Page[string], *engine.Evaluation) {
	t.Helper()
	e, err := db.Evaluate(context.Background(), db.Published(), engine.Call{
		Function: "bank:page", Args: json.RawMessage(`{"paginationOpts":` + args + `}`), Journal: journal,
	})
	if err != nil {
		t.Fatal(err)
	}
	var p engine.Page[string]
	if e.Err != nil {
		return p, e
	}
	if err := json.Unmarshal(e.Value, &p); err != nil {
		t.Fatal(err)
	}
	return p, e
}

func quoted(s string) string { return `"` + s + `"` }

// What a client reads: the members of a page, by their names.
func TestPageOnTheWire(t *testing.T) {
	t.Parallel()
	b := newPagedBank()
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 3)
	run := func(args string) string {
		t.Helper()
		res, err := db.RunQuery(context.Background(), engine.Call{Function: "bank:page", Args: json.RawMessage(`{"paginationOpts":` + args + `}`)})
		if err != nil {
			t.Fatal(err)
		}
		return string(res.Value)
	}
	first := run(`{"numItems":2,"cursor":null,"endCursor":null,"id":1}`)
	var p engine.Page[string]
	if err := json.Unmarshal([]byte(first), &p); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"page":["o0","o10"],"isDone":false,"continueCursor":%q,"splitCursor":%q}`, p.ContinueCursor, *p.SplitCursor)
	if first != want {
		t.Errorf("page\n%s, want\n%s", first, want)
	}
	if again := run(`{"numItems":2,"cursor":null,"id":2}`); again != first {
		t.Errorf("the same page is\n%s and then\n%s", first, again)
	}
	last := run(`{"numItems":2,"cursor":` + quoted(p.ContinueCursor) + `,"id":1}`)
	if err := json.Unmarshal([]byte(last), &p); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"page":["o20"],"isDone":true,"continueCursor":%q}`, p.ContinueCursor); last[:len(want)-1] != want[:len(want)-1] {
		t.Errorf("last page\n%s, want\n%s", last, want)
	}
	// So is a page that is full, when nothing follows it.
	full := run(`{"numItems":3,"cursor":null}`)
	if err := json.Unmarshal([]byte(full), &p); err != nil || len(p.Items) != 3 || !p.IsDone {
		t.Errorf("a full page: %s (%v)", full, err)
	}
	if end := run(`{"numItems":3,"cursor":` + quoted(p.ContinueCursor) + `}`); !strings.HasPrefix(end, `{"page":[],"isDone":true,"continueCursor":"`) {
		t.Errorf("behind the last: %s", end)
	}
}

func TestPageArguments(t *testing.T) {
	t.Parallel()
	b := newPagedBank()
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 3)
	for args, rule := range map[string]string{
		`{}`:                                                        "required",
		`{"numItems":2}`:                                            "required",
		`{"cursor":null}`:                                           "required",
		`{"numItems":0,"cursor":null}`:                              "minimum",
		`{"numItems":-1,"cursor":null}`:                             "minimum",
		`{"numItems":10001,"cursor":null}`:                          "maximum",
		`{"numItems":2.5,"cursor":null}`:                            "type",
		`{"numItems":"2","cursor":null}`:                            "type",
		`{"numItems":2,"cursor":1}`:                                 "type",
		`{"numItems":2,"cursor":null,"endCursor":false}`:            "type",
		`{"numItems":2,"cursor":null,"maximumRowsRead":0}`:          "minimum",
		`{"numItems":2,"cursor":null,"maximumBytesRead":-1}`:        "minimum",
		`{"numItems":2,"cursor":null,"more":1}`:                     "additionalProperties",
		`{"numItems":2,"cursor":""}`:                                "",
		`{"numItems":2,"cursor":"?"}`:                               "",
		`{"numItems":2,"cursor":null,"endCursor":"AAAA"}`:           "",
		`{"numItems":2,"cursor":"` + strings.Repeat("A", 99) + `"}`: "",
	} {
		_, e := page(t, db, args, "")
		switch {
		case e.Err == nil || e.Err.Code != engine.CodeInvalid:
			t.Errorf("%s: %v, want code invalid", args, e.Err)
		case rule == "":
			if !errors.Is(e.Err, engine.ErrInvalidCursor) || !strings.Contains(e.Err.Message, "InvalidCursor") {
				t.Errorf("%s: %v, want InvalidCursor", args, e.Err)
			}
		case len(e.Err.Issues) == 0 || e.Err.Issues[0].Rule != rule || !strings.HasPrefix(e.Err.Issues[0].Path, "paginationOpts"):
			t.Errorf("%s: %+v, want the rule %s", args, e.Err.Issues, rule)
		}
	}
	view(t, db, func(r *engine.ReadTx) error {
		for _, p := range []engine.PageArgs{{}, {NumItems: -1}, {NumItems: 10_001}, {NumItems: 1, MaximumRowsRead: -1}, {NumItems: 1, MaximumBytesRead: -1}} {
			if _, err := b.balance.Scan(r).Paginate(p); !errors.Is(err, engine.ErrInvalid) {
				t.Errorf("%+v: %v", p, err)
			}
		}
		if _, err := b.balance.Scan(r).Limit(3).Paginate(engine.PageArgs{NumItems: 1}); err == nil || !strings.Contains(err.Error(), "Limit") {
			t.Errorf("with a limit: %v", err)
		}
		if _, err := b.balance.Scan(r).Gt("no number").Paginate(engine.PageArgs{NumItems: 1}); err == nil || !strings.Contains(err.Error(), "byBalance") {
			t.Errorf("a mistaken scan: %v", err)
		}
		return nil
	})
}

// Desc from the cursor at which a page began is the page before, the nearest first.
func TestPagesBackwards(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		b.openAccounts(t, db, 7)
		view(t, db, func(r *engine.ReadTx) error {
			read := func(s *engine.Scan[account], cursor *string) (engine.Page[*engine.Doc[account]], string) {
				p, err := s.Paginate(engine.PageArgs{NumItems: 2, Cursor: cursor})
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, d := range p.Items {
					got = append(got, d.Value.Owner)
				}
				return p, fmt.Sprint(strings.Join(got, " "), " ", p.IsDone)
			}
			var cursor *string
			var got []string
			step := func(back bool) {
				s := b.balance.Scan(r).Gte(10).Lt(60)
				if back {
					s = s.Desc()
				}
				p, text := read(s, cursor)
				cursor, got = &p.ContinueCursor, append(got, text)
			}
			for _, back := range []bool{false, false, false, true, true, true, true, false, false} {
				step(back)
			}
			want := []string{
				"o10 o20 false", "o30 o40 false", "o50 true",
				"o50 o40 false", "o30 o20 false", "o10 true", " true", "o10 o20 false", "o30 o40 false",
			}
			if !slices.Equal(got, want) {
				t.Errorf("read\n%q, want\n%q", got, want)
			}
			return nil
		})
	})
}

// A cursor stays where it is when the documents on both its sides go.
func TestCursorOutlivesItsDocuments(t *testing.T) {
	t.Parallel()
	b := newPagedBank()
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 6)
	first, _ := page(t, db, `{"numItems":3,"cursor":null}`, "")
	update(t, db, func(tx *engine.Tx) error {
		for d, err := range b.balance.Scan(tx).Gte(10).Lte(40).Docs() {
			if err != nil {
				return err
			}
			if err := b.accounts.Delete(tx, d.ID); err != nil {
				return err
			}
		}
		for _, balance := range []int{19, 21} {
			if _, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint("new", balance), Balance: balance}); err != nil {
				return err
			}
		}
		return nil
	})
	if p, _ := page(t, db, `{"numItems":9,"cursor":`+quoted(first.ContinueCursor)+`}`, ""); names(p) != "new21 o50" || !p.IsDone {
		t.Errorf("behind the cursor: %+v", p)
	}
	if p, _ := page(t, db, `{"numItems":1,"cursor":null,"endCursor":`+quoted(first.ContinueCursor)+`}`, ""); names(p) != "o0 new19" || p.IsDone {
		t.Errorf("before the cursor: %+v", p)
	}
}

// A cursor belongs to one range of one index of one database, and is no use elsewhere.
func TestForeignCursors(t *testing.T) {
	t.Parallel()
	b := newBank()
	type other struct {
		Balance int `json:"balance"`
	}
	others := engine.Define[other](b.schema, "others")
	byBalance := others.AddIndex("byBalance", "balance")
	shared := memstore.NewShared(memstore.Options{})
	var cursor string
	must(t, reopen(t, shared, b.schema, func(db *engine.DB) {
		b.openAccounts(t, db, 6)
		view(t, db, func(r *engine.ReadTx) error {
			p, err := b.balance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 2})
			if err != nil {
				return err
			}
			cursor = p.ContinueCursor
			refused := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, engine.ErrInvalidCursor) {
					t.Errorf("%s: %v, want an invalid cursor", what, err)
				}
			}
			try := func(what string, s *engine.Scan[account]) {
				t.Helper()
				_, err := s.Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor})
				refused(what, err)
				_, err = s.Paginate(engine.PageArgs{NumItems: 1, EndCursor: &cursor})
				refused(what+", as an end", err)
			}
			try("another lower bound", b.balance.Scan(r).Gte(11))
			try("without a bound", b.balance.Scan(r))
			try("another upper bound", b.balance.Scan(r).Gte(10).Lt(99))
			try("another index", b.byOwner.Scan(r))
			try("the collection", b.accounts.All(r))
			_, err = byBalance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor})
			refused("another collection", err)
			whole := cursor
			for i := range whole {
				for _, c := range []byte{'A', 'x', whole[i] ^ 1, '=', 0xff} {
					if c == whole[i] {
						continue
					}
					cursor = whole[:i] + string(c) + whole[i+1:]
					_, err := b.balance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor})
					refused(fmt.Sprintf("with %q at %d", c, i), err)
				}
				cursor = whole[:i]
				_, err := b.balance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor})
				refused(fmt.Sprintf("cut at %d", i), err)
			}
			cursor = whole + "A"
			try("with more behind it", b.balance.Scan(r).Gte(10))
			cursor = whole
			// An end before the beginning.
			p2, err := b.balance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor})
			if err != nil {
				return err
			}
			_, err = b.balance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 1, Cursor: &p2.ContinueCursor, EndCursor: &cursor})
			refused("an end before the beginning", err)
			_, err = b.balance.Scan(r).Gte(10).Desc().Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor, EndCursor: &p2.ContinueCursor})
			refused("an end before the beginning, going back", err)
			return nil
		})
	}))
	next := func(b *bank) (owner string, err error) {
		err = reopen(t, shared, b.schema, func(db *engine.DB) {
			err = db.View(context.Background(), func(r *engine.ReadTx) error {
				p, err := b.balance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor})
				if err == nil {
					owner = p.Items[0].Value.Owner
				}
				return err
			})
		})
		return owner, err
	}
	if owner, err := next(b); err != nil || owner != "o30" {
		t.Errorf("after a restart: %q, %v", owner, err)
	}
	// The same name, another definition, and the first one again.
	s := engine.NewSchema()
	changed := &bank{schema: s, accounts: engine.Define[account](s, "accounts")}
	changed.byOwner = changed.accounts.AddUnique("byOwner", "owner")
	changed.balance = changed.accounts.AddIndex("byBalance", "balance", "owner")
	err := reopen(t, shared, s, func(db *engine.DB) {
		view(t, db, func(r *engine.ReadTx) error {
			if _, err := changed.balance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor}); !errors.Is(err, engine.ErrInvalidCursor) {
				t.Errorf("of an index that has changed: %v", err)
			}
			return nil
		})
	})
	must(t, err)
	// Another database with the same documents.
	foreign := newBank()
	fdb := enginetest.Open(t, foreign.schema)
	foreign.openAccounts(t, fdb, 6)
	view(t, fdb, func(r *engine.ReadTx) error {
		if _, err := foreign.balance.Scan(r).Gte(10).Paginate(engine.PageArgs{NumItems: 1, Cursor: &cursor}); !errors.Is(err, engine.ErrInvalidCursor) {
			t.Errorf("of another database: %v", err)
		}
		return nil
	})
}

// What a page read is what lies between its ends: what happens beyond them does not touch it.
func TestWhatPagesRead(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newPagedBank()
		db := open(b.schema)
		b.openAccounts(t, db, 9)
		first, _ := page(t, db, `{"numItems":3,"cursor":null}`, "")
		from := quoted(first.ContinueCursor)
		middle, _ := page(t, db, `{"numItems":3,"cursor":`+from+`}`, "")
		n := 0
		for _, c := range []struct {
			what, args, journal string
			quiet, touching     []int // balances that are inserted
		}{
			{"the first page", `{"numItems":3,"cursor":null}`, "", []int{20, 21, 30, 500}, []int{-5, 5, 19}},
			{"a page in the middle", `{"numItems":3,"cursor":` + from + `}`, "", []int{-3, 19, 50, 99}, []int{20, 29, 49}},
			{"a page with both ends", `{"numItems":1,"cursor":` + from + `,"endCursor":` + quoted(middle.ContinueCursor) + `}`, "", []int{-3, 19, 50, 99}, []int{20, 29, 49}},
			{"the last page", `{"numItems":30,"cursor":` + quoted(middle.ContinueCursor) + `}`, "", []int{-3, 19, 49}, []int{50, 88, 999}},
			{"a full last page", `{"numItems":3,"cursor":` + quoted(middle.ContinueCursor) + `}`, "", []int{-3, 19, 49}, []int{50, 79, 80, 999}},
		} {
			for _, again := range []bool{false, true} { // as it was read first, and by its journal
				for i, balance := range append(slices.Clone(c.quiet), c.touching...) {
					_, e := page(t, db, c.args, "")
					if again {
						_, e = page(t, db, c.args, e.Journal)
					}
					var touched atomic.Bool
					w := db.Watch(e, func() { touched.Store(true) })
					n++
					id := b.open(t, db, fmt.Sprint("new", n), balance)
					if want := i >= len(c.quiet); touched.Load() != want {
						t.Errorf("%s, an insert at %d: touched %v, want %v", c.what, balance, touched.Load(), want)
					}
					w.Stop()
					update(t, db, func(tx *engine.Tx) error { return b.accounts.Delete(tx, id) })
				}
			}
		}
	})
}

// With its journal a page ends where it ended, whatever comes and goes in it.
func TestJournalKeepsAPagesEnd(t *testing.T) {
	t.Parallel()
	b := newPagedBank()
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 5)
	first, e := page(t, db, `{"numItems":2,"cursor":null}`, "")
	journal := e.Journal
	if journal == "" || names(first) != "o0 o10" {
		t.Fatalf("first: %+v, journal %q", first, journal)
	}
	b.open(t, db, "in", 5)
	b.open(t, db, "behind", 15)
	if p, e := page(t, db, `{"numItems":2,"cursor":null}`, journal); names(p) != "o0 in o10" || p.ContinueCursor != first.ContinueCursor || e.Journal != journal {
		t.Errorf("with its journal: %+v", p)
	}
	if p, _ := page(t, db, `{"numItems":2,"cursor":null}`, ""); names(p) != "o0 in" {
		t.Errorf("without: %+v", p)
	}
	// A journal that is not this query's own has no effect, and gives way to a right one.
	for _, foreign := range []string{"x", "A", strings.Repeat("A", 60), journal[:len(journal)-1], first.ContinueCursor} {
		if p, e := page(t, db, `{"numItems":2,"cursor":null}`, foreign); names(p) != "o0 in" || e.Journal == foreign || e.Journal == "" {
			t.Errorf("with the journal %q: %+v, then %q", foreign, p, e.Journal)
		}
	}
	if p, _ := page(t, db, `{"numItems":2,"cursor":`+quoted(first.ContinueCursor)+`}`, journal); names(p) != "behind o20" {
		t.Errorf("with the journal of another page: %+v", p)
	}
	// A failure leaves it alone.
	if _, e := page(t, db, `{"numItems":2,"cursor":"x"}`, journal); e.Err == nil || e.Journal != journal {
		t.Errorf("after a failure: %v, journal %q", e.Err, e.Journal)
	}
	// The last page keeps its end as well, which is that of the list.
	last, e := page(t, db, `{"numItems":9,"cursor":`+quoted(first.ContinueCursor)+`}`, "")
	if !last.IsDone {
		t.Fatalf("last: %+v", last)
	}
	b.open(t, db, "at the end", 1000)
	if p, _ := page(t, db, `{"numItems":9,"cursor":`+quoted(first.ContinueCursor)+`}`, e.Journal); names(p) != "behind o20 o30 o40 at the end" || !p.IsDone {
		t.Errorf("the last page: %+v", p)
	}
}

// A query may read pages of several lists, and several of one; it keeps the end of each. A run that reads none forgets none.
func TestJournalOfSeveralPages(t *testing.T) {
	t.Parallel()
	b := newBank()
	var silent, failing atomic.Bool
	engine.Query(b.schema, "bank:both", func(r *engine.ReadTx, _ struct{}) ([]string, error) {
		out := []string{}
		if silent.Load() {
			return out, nil
		}
		for _, s := range []*engine.Scan[account]{b.balance.Scan(r), b.balance.Scan(r).Desc(), b.byOwner.Scan(r), b.balance.Scan(r)} {
			p, err := s.Paginate(engine.PageArgs{NumItems: 1 + len(out)})
			if err != nil {
				return nil, err
			}
			text := ""
			for _, d := range p.Items {
				text += d.Value.Owner + " "
			}
			out = append(out, text)
		}
		if failing.Load() {
			return nil, errBoom
		}
		return out, nil
	})
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 6)
	run := func(journal, want string) string {
		t.Helper()
		res, err := db.RunQuery(context.Background(), engine.Call{Function: "bank:both", Journal: journal})
		if err != nil || string(res.Value) != want {
			t.Errorf("got %s (%v), want %s", res.Value, err, want)
		}
		return res.Journal
	}
	journal := run("", `["o0 ","o50 o40 ","o0 o10 o20 ","o0 o10 o20 o30 "]`)
	silent.Store(true)
	if kept := run(journal, `[]`); kept != journal {
		t.Errorf("a run that reads no page leaves %q of the journal", kept)
	}
	silent.Store(false)
	failing.Store(true)
	res, err := db.RunQuery(context.Background(), engine.Call{Function: "bank:both", Journal: journal[:9]})
	if err == nil || res.Journal != journal[:9] {
		t.Errorf("a run that fails (%v) makes %q of the journal", err, res.Journal)
	}
	failing.Store(false)
	for _, a := range []account{{Owner: "a", Balance: -1}, {Owner: "z", Balance: 45}, {Owner: "o11", Balance: 35}} {
		b.open(t, db, a.Owner, a.Balance)
	}
	if again := run(journal, `["a o0 ","o50 z o40 ","a o0 o10 o11 o20 ","a o0 o10 o20 o30 "]`); again != journal {
		t.Error("the journal has changed")
	}
}

// So many pages that no client could keep where they end are refused.
func TestTooManyPages(t *testing.T) {
	t.Parallel()
	b := newBank()
	engine.Query(b.schema, "bank:many", func(r *engine.ReadTx, a struct {
		N int `json:"n"`
	},
	) (int, error) {
		for i := range a.N {
			if _, err := b.balance.Scan(r).Gte(i).Paginate(engine.PageArgs{NumItems: 1}); err != nil {
				return 0, err
			}
		}
		return a.N, nil
	})
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 1)
	if e := evaluate(t, db, "bank:many", `{"n":500}`); e.Err != nil || len(e.Journal) > 64<<10 {
		t.Errorf("500 pages: %v, a journal of %d bytes", e.Err, len(e.Journal))
	}
	if e := evaluate(t, db, "bank:many", `{"n":3000}`); e.Err == nil || e.Err.Code != engine.CodeTooLarge {
		t.Errorf("3,000 pages: %v", e.Err)
	}
}

// Mutations read pages too, what they have written included.
func TestPageOfATransactionsOwnWrites(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 3)
	update(t, db, func(tx *engine.Tx) error {
		if _, err := b.accounts.Insert(tx, account{Owner: "own", Balance: 5}); err != nil {
			return err
		}
		var got []string
		var cursor *string
		for done := false; !done; {
			p, err := b.balance.Scan(tx).Paginate(engine.PageArgs{NumItems: 2, Cursor: cursor})
			if err != nil {
				return err
			}
			for _, d := range p.Items {
				got = append(got, d.Value.Owner)
				if err := b.accounts.Delete(tx, d.ID); err != nil {
					return err
				}
			}
			cursor, done = &p.ContinueCursor, p.IsDone
		}
		if want := []string{"o0", "own", "o10", "o20"}; !slices.Equal(got, want) {
			t.Errorf("read %q, want %q", got, want)
		}
		return nil
	})
}

// A page that is full is the last where nothing follows it, in both directions, and then has what comes there later.
func TestFullLastPage(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newPagedBank()
		db := open(b.schema)
		b.openAccounts(t, db, 4)
		first, e := page(t, db, `{"numItems":2,"cursor":null}`, "")
		last, e2 := page(t, db, `{"numItems":2,"cursor":`+quoted(first.ContinueCursor)+`}`, "")
		if first.IsDone || names(last) != "o20 o30" || !last.IsDone {
			t.Fatalf("pages %+v and %+v", first, last)
		}
		b.open(t, db, "later", 40)
		if p, _ := page(t, db, `{"numItems":2,"cursor":`+quoted(first.ContinueCursor)+`}`, e2.Journal); names(p) != "o20 o30 later" || !p.IsDone {
			t.Errorf("the last page, when there is more: %+v", p)
		}
		view(t, db, func(r *engine.ReadTx) error {
			for _, s := range []*engine.Scan[account]{b.balance.Scan(r).Gte(20).Desc(), b.balance.Scan(r).Lt(30), b.accounts.All(r).Desc()} {
				want, err := s.Count()
				if err != nil {
					return err
				}
				if p, err := s.Paginate(engine.PageArgs{NumItems: want - 1}); err != nil || p.IsDone {
					t.Errorf("all but one of %d: done %v (%v)", want, p.IsDone, err)
				}
				if p, err := s.Paginate(engine.PageArgs{NumItems: want}); err != nil || !p.IsDone {
					t.Errorf("all %d: done %v (%v)", want, p.IsDone, err)
				}
			}
			return nil
		})
		// What follows a live page may go without touching it: it ends where it ended.
		update(t, db, func(tx *engine.Tx) error {
			for d, err := range b.balance.Scan(tx).Gte(20).Docs() {
				if err != nil {
					return err
				}
				if err := b.accounts.Delete(tx, d.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if p, again := page(t, db, `{"numItems":2,"cursor":null}`, e.Journal); names(p) != "o0 o10" || p.IsDone || string(again.Value) != string(e.Value) {
			t.Errorf("the first page, when nothing follows any more: %+v", p)
		}
	})
}

// A mutation that was told that more follows is run again when that goes, although it is not on the page.
func TestIsDoneOfAMutation(t *testing.T) {
	t.Parallel()
	for _, desc := range []bool{false, true} {
		b := newBank()
		db := enginetest.Open(t, b.schema)
		b.openAccounts(t, db, 3)
		var told []bool
		update(t, db, func(tx *engine.Tx) error {
			s := b.balance.Scan(tx).Gte(5)
			if desc {
				s = b.balance.Scan(tx).Lte(15).Desc()
			}
			p, err := s.Paginate(engine.PageArgs{NumItems: 1})
			if err != nil {
				return err
			}
			told = append(told, p.IsDone)
			if len(told) == 1 {
				owner := "o20"
				if desc {
					owner = "o0"
				}
				update(t, db, func(tx *engine.Tx) error {
					d, err := b.byOwner.One(tx, owner)
					if err != nil {
						return err
					}
					return b.accounts.Delete(tx, d.ID)
				})
			}
			_, err = b.accounts.Insert(tx, account{Owner: fmt.Sprint("done ", p.IsDone), Balance: -1000})
			return err
		})
		if !slices.Equal(told, []bool{false, true}) {
			t.Errorf("descending %v: IsDone was %v, want false and then true", desc, told)
		}
	}
}

func TestMapPage(t *testing.T) {
	t.Parallel()
	split := "s"
	p := engine.Page[int]{Items: []int{1, 2}, IsDone: true, ContinueCursor: "c", SplitCursor: &split, Status: engine.PageSplitRecommended}
	got, err := engine.MapPage(p, func(n int) (string, error) { return fmt.Sprint(n), nil })
	want := `{"page":["1","2"],"isDone":true,"continueCursor":"c","splitCursor":"s","pageStatus":"SplitRecommended"}`
	if enc, _ := json.Marshal(got); err != nil || string(enc) != want {
		t.Errorf("%s (%v), want %s", enc, err, want)
	}
	if _, err := engine.MapPage(p, func(n int) (string, error) { return "", errBoom }); !errors.Is(err, errBoom) {
		t.Errorf("error %v", err)
	}
	if got, err := engine.MapPage(engine.Page[int]{}, func(n int) (string, error) { return "", nil }); err != nil || got.Items == nil {
		t.Errorf("of none: %#v (%v), want an empty list", got, err)
	}
}
