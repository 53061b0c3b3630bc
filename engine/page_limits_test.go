package engine_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// A page that has read as much as it may ends there, and the next one goes on: also where a filter lets little through.
func TestPageLimitsEndItEarly(t *testing.T) {
	t.Parallel()
	b := newPagedBank()
	db := enginetest.Open(t, b.schema)
	update(t, db, func(tx *engine.Tx) error {
		for i := range 30 {
			owner := fmt.Sprintf("not %02d", i)
			if i%10 == 9 {
				owner = fmt.Sprint("o", i)
			}
			if _, err := b.accounts.Insert(tx, account{Owner: owner, Balance: i, Note: strings.Repeat("n", 100)}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		limit, want string
	}{
		{`"maximumRowsRead":8`, " | o9 | o19 | o29 done"},
		{`"maximumRowsRead":10`, "o9 | o19 | o29 done"},
		{`"maximumRowsRead":1000`, "o9 o19 o29 done"},
		{`"maximumBytesRead":1`, strings.Repeat(" | ", 9) + "o9 | " + strings.Repeat(" | ", 9) + "o19 | " + strings.Repeat(" | ", 9) + "o29 done"},
		{`"maximumBytesRead":100000`, "o9 o19 o29 done"},
		// Wherever the pages end, the last document of most of them takes it over the limit, and none is to be split for that.
		{`"maximumBytesRead":500`, ""},
		{`"maximumBytesRead":1501`, ""},
	} {
		var pages []string
		cursor := "null"
		for {
			args := fmt.Sprintf(`{"numItems":5,"cursor":%s,%s}`, cursor, c.limit)
			p, e := page(t, db, args, "")
			if again, _ := page(t, db, args, e.Journal); e.Err != nil || p.Status != "" || again.Status != "" || names(again) != names(p) {
				t.Fatalf("%s: %+v and by its journal %+v (%v)", args, p, again, e.Err)
			}
			pages = append(pages, names(p))
			if p.IsDone {
				break
			}
			cursor = quoted(p.ContinueCursor)
		}
		if n := len(pages); c.want == "" && (n < 3 || n > 15) {
			t.Errorf("%s: %d pages", c.limit, n)
		}
		got := strings.Join(pages, " | ") + " done"
		if c.want == "" {
			c.want, got = "o9 o19 o29", strings.Join(strings.Fields(strings.Join(pages, " ")), " ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.limit, got, c.want)
		}
	}
}

// A page whose end is fixed and that has grown is to be split, and halves that are still too large again.
func TestPageThatHasGrown(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		for what, c := range map[string]struct {
			args   string
			limits func(*engine.Options)
		}{
			"by the limits of the page":        {`{"numItems":4,"cursor":null,"maximumRowsRead":4}`, func(*engine.Options) {}},
			"by the limits of the transaction": {`{"numItems":4,"cursor":null}`, func(o *engine.Options) { o.Limits.ReadDocuments = 32 }},
		} {
			b := newPagedBank()
			db := open(b.schema, c.limits)
			b.openAccounts(t, db, 4)
			p, e := page(t, db, c.args, "")
			journal := e.Journal
			if p.Status != "" || p.SplitCursor == nil {
				t.Fatalf("%s: %+v (%v)", what, p, e.Err)
			}
			end := p.ContinueCursor
			statuses := ""
			for i := range 12 {
				b.open(t, db, fmt.Sprint("in", i), 1+i)
				p, e = page(t, db, c.args, journal)
				if e.Err != nil || p.ContinueCursor != end {
					t.Fatalf("%s, grown by %d: %+v (%v)", what, i, p, e.Err)
				}
				if complete := len(p.Items) == 5+i; complete != (p.Status != engine.PageSplitRequired) {
					t.Errorf("%s, grown by %d: %d items, status %q", what, i, len(p.Items), p.Status)
				}
				statuses += string(p.Status) + " "
			}
			want := strings.Repeat("SplitRecommended ", 4) + strings.Repeat("SplitRequired ", 8)
			if statuses != want {
				t.Errorf("%s: as it grew\n%s, want\n%s", what, statuses, want)
			}
			// The halves, each split in the middle where it has to be, are the page.
			var read func(cursor, end string) string
			pages := 0
			read = func(cursor, end string) string {
				pages++
				extra := ""
				if strings.Contains(c.args, "maximumRowsRead") {
					extra = `,"maximumRowsRead":4`
				}
				p, e := page(t, db, fmt.Sprintf(`{"numItems":4,"cursor":%s,"endCursor":%s%s}`, cursor, end, extra), "")
				if e.Err != nil || e.Journal != "" || quoted(p.ContinueCursor) != end {
					t.Fatalf("%s: %+v (%v), journal %q", what, p, e.Err, e.Journal)
				}
				if p.Status == "" {
					return names(p) + " "
				}
				return read(cursor, quoted(*p.SplitCursor)) + read(quoted(*p.SplitCursor), end)
			}
			got := read("null", quoted(end))
			if want := "o0 in0 in1 in2 in3 in4 in5 in6 in7 in8 o10 in9 in10 in11 o20 o30 "; got != want {
				t.Errorf("%s: the halves are\n%s, want\n%s", what, got, want)
			}
			if pages > 11 {
				t.Errorf("%s: 16 documents were read in %d pages, of at most 4", what, pages)
			}
		}
	})
}

// A last page of which items are missing does not say that it is the end of the list; its second half does.
func TestLastPageThatHasGrown(t *testing.T) {
	t.Parallel()
	b := newPagedBank()
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 4)
	const args = `{"numItems":4,"cursor":null,"maximumRowsRead":4}`
	p, e := page(t, db, args, "")
	if !p.IsDone {
		t.Fatalf("the only page: %+v", p)
	}
	for i := range 5 {
		b.open(t, db, fmt.Sprint("in", i), 1+i)
	}
	if p, _ = page(t, db, args, e.Journal); p.Status != engine.PageSplitRequired || p.IsDone {
		t.Fatalf("a page with items missing: %+v", p)
	}
	end := quoted(p.ContinueCursor)
	second, _ := page(t, db, `{"numItems":4,"cursor":`+quoted(*p.SplitCursor)+`,"endCursor":`+end+`,"maximumRowsRead":4}`, "")
	if names(second) != "in4 o10 o20 o30" && names(second) != "in3 in4 o10 o20 o30" || !second.IsDone {
		t.Errorf("its second half: %+v", second)
	}
	if rest, _ := page(t, db, `{"numItems":4,"cursor":`+end+`}`, ""); len(rest.Items) > 0 || !rest.IsDone {
		t.Errorf("behind it: %+v", rest)
	}
}

// A page of one document cannot be split, however large it is.
func TestPageOfOneLargeDocument(t *testing.T) {
	t.Parallel()
	b := newPagedBank()
	db := enginetest.Open(t, b.schema)
	update(t, db, func(tx *engine.Tx) error {
		return second(b.accounts.Insert(tx, account{Owner: "large", Note: strings.Repeat("n", 1000)}))
	})
	for _, journaled := range []bool{false, true} {
		args := `{"numItems":4,"cursor":null,"maximumBytesRead":10}`
		p, e := page(t, db, args, "")
		if journaled {
			p, e = page(t, db, args, e.Journal)
		}
		if e.Err != nil || names(p) != "large" || p.Status != "" || p.SplitCursor != nil {
			t.Errorf("%+v (%v)", p, e.Err)
		}
	}
}

// A page leaves room for reading what belongs to its items, and one after the other gets less.
func TestPagesWithinTheTransactionsLimits(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Limits.ReadDocuments = 80 })
	b.openAccounts(t, db, 100)
	view(t, db, func(r *engine.ReadTx) error {
		var cursor *string
		read := 0
		for range 8 {
			p, err := b.balance.Scan(r).Paginate(engine.PageArgs{NumItems: 100, Cursor: cursor})
			if err != nil || len(p.Items) < 1 || len(p.Items) > 10 {
				t.Fatalf("a page of %d: %v", len(p.Items), err)
			}
			if p.Items[0].Value.Balance != read*10 {
				t.Errorf("a page begins with %d, want %d", p.Items[0].Value.Balance, read*10)
			}
			read += len(p.Items)
			cursor = &p.ContinueCursor
		}
		if read > 80 {
			t.Errorf("read %d, the limit is 80", read)
		}
		return nil
	})
}

// A cursor tells nothing of the documents that it lies between, nor, but for steps of 32 bytes, how long their values are.
func TestCursorsTellNothing(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	lengths := map[int]bool{}
	for _, owner := range []string{"a-secret", "b-secret-more"} {
		b.open(t, db, owner, 1)
	}
	view(t, db, func(r *engine.ReadTx) error {
		for n := range 2 {
			for _, desc := range []bool{false, true} {
				s := b.byOwner.Scan(r)
				if desc {
					s = s.Desc()
				}
				p, err := s.Paginate(engine.PageArgs{NumItems: n + 1})
				if err != nil {
					return err
				}
				raw, err := base64.RawURLEncoding.DecodeString(p.ContinueCursor)
				if err != nil || strings.Contains(string(raw), "secret") {
					t.Errorf("cursor %q (%v)", raw, err)
				}
				lengths[len(raw)] = true
			}
		}
		return nil
	})
	if len(lengths) != 1 {
		t.Errorf("cursors have %d different lengths", len(lengths))
	}
}

// Whatever a client sends as a cursor or a journal, it gets a page or an error of code invalid.
func FuzzCursor(f *testing.F) {
	b := newPagedBank()
	db := enginetest.Open(f, b.schema)
	b.openAccounts(f, db, 5)
	p, e := page(f, db, `{"numItems":2,"cursor":null}`, "")
	f.Add(p.ContinueCursor, e.Journal)
	f.Add(e.Journal, p.ContinueCursor)
	f.Add("", "")
	f.Add(*p.SplitCursor, strings.Repeat("A", 200))
	f.Fuzz(func(t *testing.T, cursor, journal string) {
		args, err := json.Marshal(pageOf{Page: engine.PageArgs{NumItems: 2, Cursor: &cursor, EndCursor: &journal}})
		if err != nil {
			t.Skip()
		}
		for _, raw := range []string{string(args), `{"paginationOpts":{"numItems":2,"cursor":null}}`} {
			e, err := db.Evaluate(context.Background(), db.Published(), engine.Call{Function: "bank:page", Args: json.RawMessage(raw), Journal: journal})
			if err != nil || e.Err != nil && e.Err.Code != engine.CodeInvalid {
				t.Errorf("cursor %q, journal %q: %v, %v", cursor, journal, err, e.Err)
			}
		}
	})
}

// A restored database takes the cursors and journals of the one that was backed up.
func TestCursorsAfterARestore(t *testing.T) {
	t.Parallel()
	b := newPagedBank()
	db := enginetest.Open(t, b.schema)
	b.openAccounts(t, db, 5)
	first, e := page(t, db, `{"numItems":2,"cursor":null}`, "")
	var backup bytes.Buffer
	if _, err := db.Backup(context.Background(), &backup, engine.BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	shared := memstore.NewShared(memstore.Options{})
	if _, err := engine.Restore(context.Background(), b.schema, engine.Options{Store: shared.Open()}, &backup); err != nil {
		t.Fatal(err)
	}
	must(t, reopen(t, shared, b.schema, func(restored *engine.DB) {
		b.open(t, restored, "in", 5)
		if p, again := page(t, restored, `{"numItems":2,"cursor":null}`, e.Journal); names(p) != "o0 in o10" || p.ContinueCursor != first.ContinueCursor || again.Journal != e.Journal {
			t.Errorf("the first page is %+v (%v)", p, again.Err)
		}
		if p, again := page(t, restored, `{"numItems":2,"cursor":`+quoted(first.ContinueCursor)+`}`, ""); names(p) != "o20 o30" {
			t.Errorf("the second page is %+v (%v)", p, again.Err)
		}
	}))
}
