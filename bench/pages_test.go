package bench_test

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

type (
	entry struct {
		List string `json:"list"`
		Rank int    `json:"rank"`
		Text string `json:"text"`
	}
	pageOf struct {
		Page engine.PageArgs `json:"paginationOpts"`
	}
	limitOf struct {
		From  int `json:"from"`
		Limit int `json:"limit"`
	}
)

// pagedList is a list of 10,000 documents over the embedded store, read by its pages and by plain scans.
type pagedList struct {
	db      *engine.DB
	entries *engine.Collection[entry]
}

const listLength = 10_000

func newPagedList(b *testing.B) *pagedList {
	b.Helper()
	s := engine.NewSchema()
	l := &pagedList{entries: engine.Define[entry](s, "entries")}
	byRank := l.entries.AddIndex("byRank", "list", "rank")
	engine.Query(s, "entries:page", func(r *engine.ReadTx, a pageOf) (engine.Page[*engine.Doc[entry]], error) {
		return byRank.Eq(r, "a").Paginate(a.Page)
	})
	engine.Query(s, "entries:limit", func(r *engine.ReadTx, a limitOf) ([]*engine.Doc[entry], error) {
		return byRank.Eq(r, "a").Gte(a.From).Limit(a.Limit).Collect()
	})
	db, err := engine.Open(s, engine.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	l.db = db
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	for from := 0; from < listLength; from += 1000 {
		l.update(b, func(tx *engine.Tx) error {
			for i := range 1000 {
				if _, err := l.entries.Insert(tx, entry{"a", 2 * (from + i), "some words, as many as a message has in a chat that goes on"}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return l
}

func (l *pagedList) update(b *testing.B, fn func(*engine.Tx) error) {
	b.Helper()
	if err := l.db.Update(context.Background(), fn); err != nil {
		b.Fatal(err)
	}
}

// evaluate runs a query as a live one is run, and returns its value and its journal.
func (l *pagedList) evaluate(b *testing.B, function string, args any, journal string) *engine.Evaluation {
	b.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		b.Fatal(err)
	}
	e, err := l.db.Evaluate(context.Background(), l.db.Published(), engine.Call{Function: function, Args: raw, Journal: journal})
	if err == nil && e.Err != nil {
		err = e.Err
	}
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// position is what a client reads of a page.
func position(b *testing.B, e *engine.Evaluation) (cursor string, done bool) {
	b.Helper()
	var p engine.Page[json.RawMessage]
	if err := json.Unmarshal(e.Value, &p); err != nil {
		b.Fatal(err)
	}
	return p.ContinueCursor, p.IsDone
}

// BenchmarkPages reads a list of 10,000 documents page by page. Each round also reads it by scans of the same length that are
// told where to begin; "ratio" is how much longer the pages take.
func BenchmarkPages(b *testing.B) {
	for _, n := range []int{20, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			l := newPagedList(b)
			var paged, scanned time.Duration
			for b.Loop() {
				start := time.Now()
				read := 0
				var cursor *string
				for done := false; !done; read++ {
					var next string
					next, done = position(b, l.evaluate(b, "entries:page", pageOf{engine.PageArgs{NumItems: n, Cursor: cursor}}, ""))
					cursor = &next
				}
				if read < listLength/n {
					b.Fatalf("read %d pages", read)
				}
				paged += time.Since(start)
				start = time.Now()
				for from := 0; from <= listLength; from += n {
					var rows []json.RawMessage
					if err := json.Unmarshal(l.evaluate(b, "entries:limit", limitOf{2 * from, n}, "").Value, &rows); err != nil {
						b.Fatal(err)
					}
				}
				scanned += time.Since(start)
			}
			b.ReportMetric(float64(paged.Microseconds())/float64(b.N)/float64(listLength/n+1), "µs/page")
			b.ReportMetric(float64(paged)/float64(scanned), "ratio")
		})
	}
}

// BenchmarkPageRerun runs one page of 100 in the middle of the 10,000 again, by its journal, after an insert into it; each
// insert is taken back. "ratio" is to a plain scan of as many documents.
func BenchmarkPageRerun(b *testing.B) {
	l := newPagedList(b)
	first := l.evaluate(b, "entries:page", pageOf{engine.PageArgs{NumItems: listLength / 4}}, "")
	cursor, _ := position(b, first)
	args := pageOf{engine.PageArgs{NumItems: 100, Cursor: &cursor}}
	journal := l.evaluate(b, "entries:page", args, "").Journal
	var paged, scanned time.Duration
	for b.Loop() {
		var id engine.ID[entry]
		l.update(b, func(tx *engine.Tx) (err error) {
			id, err = l.entries.Insert(tx, entry{"a", listLength/2 + 1, "new"})
			return err
		})
		start := time.Now()
		e := l.evaluate(b, "entries:page", args, journal)
		paged += time.Since(start)
		if e.Journal != journal {
			b.Fatal("the page's end has moved")
		}
		start = time.Now()
		l.evaluate(b, "entries:limit", limitOf{listLength / 2, 101}, "")
		scanned += time.Since(start)
		l.update(b, func(tx *engine.Tx) error { return l.entries.Delete(tx, id) })
	}
	b.ReportMetric(float64(paged.Microseconds())/float64(b.N), "µs/rerun")
	b.ReportMetric(float64(paged)/float64(scanned), "ratio")
}
