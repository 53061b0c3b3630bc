package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine"
)

// livePage is a page that a client watches: evaluated again, with its journal, when the engine says so and not otherwise.
type livePage struct {
	args    engine.PageArgs
	desc    bool
	journal string
	page    engine.Page[engine.ID[item]]
	stale   atomic.Bool
	watch   *engine.Watch
}

type pageQuery struct {
	Desc bool            `json:"desc"`
	Page engine.PageArgs `json:"paginationOpts"`
}

// pagedItems are the items with a query that reads pages of the scan that is set.
type pagedItems struct {
	*items
	db   *engine.DB
	scan atomic.Pointer[scanOf]
}

func newPagedItems() *pagedItems {
	m := &pagedItems{items: newItems()}
	engine.Query(m.schema, "items:page", func(r *engine.ReadTx, a pageQuery) (engine.Page[engine.ID[item]], error) {
		s := *m.scan.Load()
		s.desc = s.desc != a.Desc
		p, err := s.build(m.items, r).Paginate(a.Page)
		if err != nil {
			return engine.Page[engine.ID[item]]{}, err
		}
		return engine.MapPage(p, func(d *engine.Doc[item]) (engine.ID[item], error) { return d.ID, nil })
	})
	return m
}

// evaluate brings a page up to date.
func (m *pagedItems) evaluate(t *rapid.T, p *livePage) {
	args, err := json.Marshal(pageQuery{p.desc, p.args})
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.db.Evaluate(context.Background(), m.db.Published(), engine.Call{Function: "items:page", Args: args, Journal: p.journal})
	if err == nil && e.Err != nil {
		err = e.Err
	}
	if err != nil {
		t.Fatalf("page %s: %v", args, err)
	}
	if p.journal != "" && e.Journal != p.journal {
		t.Fatalf("page %s: its journal has changed", args)
	}
	p.journal = e.Journal
	p.page = engine.Page[engine.ID[item]]{}
	if err := json.Unmarshal(e.Value, &p.page); err != nil {
		t.Fatal(err)
	}
	p.stale.Store(false)
	p.watch = m.db.Watch(e, func() { p.stale.Store(true) })
}

// liveList is what a client makes of pages that follow one another.
type liveList struct {
	m     *pagedItems
	desc  bool // as the scan is not
	rows  int  // MaximumRowsRead
	pages []*livePage
}

func (l *liveList) open(t *rapid.T, args engine.PageArgs) *livePage {
	args.MaximumRowsRead = l.rows
	p := &livePage{args: args, desc: l.desc}
	l.m.evaluate(t, p)
	return p
}

func (l *liveList) more(t *rapid.T, n int) {
	last := l.pages[len(l.pages)-1]
	if last.page.IsDone {
		return
	}
	c := last.page.ContinueCursor
	l.pages = append(l.pages, l.open(t, engine.PageArgs{NumItems: n, Cursor: &c}))
}

// refresh evaluates what has been touched, and splits what has to be split.
func (l *liveList) refresh(t *rapid.T) {
	for i := 0; i < len(l.pages); i++ {
		p := l.pages[i]
		if p.stale.Load() {
			l.m.evaluate(t, p)
		}
		if p.page.Status == engine.PageSplitRequired {
			l.split(t, i)
			i-- // the halves may be too large
		}
		if len(l.pages) > 500 {
			t.Fatal("pages are split for ever")
		}
	}
}

// split does what usePaginatedQuery does.
func (l *liveList) split(t *rapid.T, i int) {
	p := l.pages[i]
	if p.page.SplitCursor == nil {
		t.Fatalf("a page of status %q cannot be split", p.page.Status)
	}
	end := p.page.ContinueCursor
	a, b := p.args, p.args
	a.EndCursor = p.page.SplitCursor
	b.Cursor, b.EndCursor = p.page.SplitCursor, &end
	p.watch.Stop()
	l.pages = slices.Replace(l.pages, i, i+1, l.open(t, a), l.open(t, b))
}

// shown is what the pages hold, one after the other.
func (l *liveList) shown() []engine.ID[item] {
	ids := []engine.ID[item]{}
	for _, p := range l.pages {
		ids = append(ids, p.page.Items...)
	}
	return ids
}

// rest reads on from the last page's end, at once.
func (l *liveList) rest(t *rapid.T) []engine.ID[item] {
	ids := []engine.ID[item]{}
	rest := &liveList{m: l.m, desc: l.desc, rows: l.rows, pages: l.pages[len(l.pages)-1:]}
	for n := 0; !rest.pages[len(rest.pages)-1].page.IsDone; n++ {
		rest.more(t, 3)
		ids = append(ids, rest.pages[len(rest.pages)-1].page.Items...)
		if n > 500 {
			t.Fatal("the list has no end")
		}
	}
	for _, p := range rest.pages[1:] {
		p.watch.Stop()
	}
	return ids
}

// change inserts, moves and deletes at random, in one transaction.
func (m *pagedItems) change(t *rapid.T, have model) model {
	now := maps.Clone(have)
	err := inline(t, m.db, func(tx *engine.Tx) error {
		now = maps.Clone(have)
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			kind := rapid.SampledFrom([]string{"insert", "insert", "insert", "move", "delete"}).Draw(t, "kind")
			v := drawItem.Draw(t, "item")
			if kind == "insert" || len(now) == 0 {
				id, err := m.all.Insert(tx, v)
				if errors.Is(err, engine.ErrAlreadyExists) {
					continue
				}
				if err != nil {
					return err
				}
				now[id] = v
				continue
			}
			id := rapid.SampledFrom(slices.Sorted(maps.Keys(now))).Draw(t, "id")
			if kind == "delete" {
				if err := m.all.Delete(tx, id); err != nil {
					return err
				}
				delete(now, id)
				continue
			}
			switch err := m.all.Replace(tx, id, v); {
			case errors.Is(err, engine.ErrAlreadyExists):
			case err != nil:
				return err
			default:
				now[id] = v
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// Whatever is inserted, moved and deleted while a list is watched page by page, in both directions from anywhere, the pages
// put together are the list, without overlap or gap; and pages that were not touched need not be read again for that.
func TestLivePagesAgainstAModel(t *testing.T) {
	t.Parallel()
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newPagedItems()
			var err error
			if m.db, err = engine.Open(m.schema, engine.Options{Store: store(t), Seed: 4, Limits: patient, Logger: slog.New(slog.DiscardHandler)}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := m.db.Close(); err != nil {
					t.Error(err)
				}
			})
			rapid.Check(t, func(rt *rapid.T) {
				have := m.clear(rt)
				s := drawScan.Draw(rt, "of")
				s.limit = -1
				m.scan.Store(&s)
				for range rapid.IntRange(0, 8).Draw(rt, "before") {
					have = m.change(rt, have)
				}
				size := rapid.IntRange(1, 4)
				rows := rapid.SampledFrom([]int{0, 1, 3, 8}).Draw(rt, "rows")
				// A first page, and from its end a list on and a list back.
				first := (&liveList{m: m, rows: rows}).open(rt, engine.PageArgs{NumItems: size.Draw(rt, "items")})
				first.watch.Stop()
				middle := &first.page.ContinueCursor
				lists := []*liveList{{m: m, rows: rows}, {m: m, rows: rows}, {m: m, rows: rows, desc: true}}
				for i, l := range lists {
					args := engine.PageArgs{NumItems: size.Draw(rt, "items")}
					if i > 0 {
						args.Cursor = middle
					}
					l.pages = []*livePage{l.open(rt, args)}
				}
				for range rapid.IntRange(1, 6).Draw(rt, "steps") {
					switch l := rapid.SampledFrom(lists).Draw(rt, "list"); rapid.SampledFrom([]string{"change", "change", "more", "split"}).Draw(rt, "step") {
					case "change":
						have = m.change(rt, have)
					case "more":
						l.more(rt, size.Draw(rt, "items"))
					case "split":
						i := rapid.IntRange(0, len(l.pages)-1).Draw(rt, "page")
						if l.pages[i].page.SplitCursor != nil {
							l.split(rt, i)
						}
					}
					for _, l := range lists {
						l.refresh(rt)
					}
					if err := compareLists(rt, have.scan(s), lists); err != nil {
						rt.Fatalf("%v\nscan %+v", err, s)
					}
				}
				for _, l := range lists {
					for _, p := range l.pages {
						p.watch.Stop()
					}
				}
			})
		})
	}
}

// compareLists compares what is shown with the whole list: one list from the beginning, one on and one back from the middle.
func compareLists(t *rapid.T, want []engine.ID[item], lists []*liveList) error {
	if got := append(lists[0].shown(), lists[0].rest(t)...); !slices.Equal(got, want) {
		return fmt.Errorf("the list\ngot  %v\nwant %v", got, want)
	}
	on, back := append(lists[1].shown(), lists[1].rest(t)...), append(lists[2].shown(), lists[2].rest(t)...)
	slices.Reverse(back)
	if got := append(back, on...); !slices.Equal(got, want) {
		return fmt.Errorf("back and on\ngot  %v\nwant %v", got, want)
	}
	return nil
}

func (m *pagedItems) clear(t *rapid.T) model {
	if err := m.db.Update(context.Background(), func(tx *engine.Tx) error {
		for d, err := range m.all.All(tx).Docs() {
			if err != nil {
				return err
			}
			if err := m.all.Delete(tx, d.ID); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return model{}
}
