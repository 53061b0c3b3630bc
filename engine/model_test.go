package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine"
)

type item struct {
	Name string  `json:"name"`
	Rank *int    `json:"rank,omitempty"`
	Note *string `json:"note"`
	Tail int     `json:"tail"`
}

// items is the schema of the property test: indexes of one and two components, both ways, unique and not, with values that
// are null or missing.
type items struct {
	schema  *engine.Schema
	all     *engine.Collection[item]
	indexes map[string]*engine.Index[item]
}

// Each index's components, in order.
var itemIndexes = map[string][]string{
	"name":     {"name"},
	"nameDown": {"-name"},
	"rankName": {"rank", "-name"},
	"nameRank": {"name", "-rank"},
	"note":     {"-note"},
	"unique":   {"note", "rank"},
}

func newItems() *items {
	s := engine.NewSchema()
	m := &items{schema: s, all: engine.Define[item](s, "items"), indexes: map[string]*engine.Index[item]{}}
	for name, paths := range itemIndexes {
		if name == "unique" {
			m.indexes[name] = m.all.AddUnique(name, paths...)
		} else {
			m.indexes[name] = m.all.AddIndex(name, paths...)
		}
	}
	return m
}

// model is the naive database: documents by id.
type model map[engine.ID[item]]item

// component returns what a document has at a path: a value, or nil.
func component(v item, path string) any {
	switch strings.TrimPrefix(path, "-") {
	case "name":
		return v.Name
	case "rank":
		if v.Rank != nil {
			return *v.Rank
		}
	case "note":
		if v.Note != nil {
			return *v.Note
		}
	}
	return nil
}

// compareValues orders nil below everything.
func compareValues(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	if s, ok := a.(string); ok {
		return strings.Compare(s, b.(string))
	}
	return cmp.Compare(a.(int), b.(int))
}

// condition is one component's condition: "=" for Eq, or a bound.
type condition struct {
	op    string
	value any
}

func (c condition) holds(v any) bool {
	switch c.op {
	case "=":
		return compareValues(v, c.value) == 0
	case "prefix":
		s, ok := v.(string)
		return ok && strings.HasPrefix(s, c.value.(string))
	}
	if v == nil {
		return false
	}
	n := compareValues(v, c.value)
	return c.op == ">" && n > 0 || c.op == ">=" && n >= 0 || c.op == "<" && n < 0 || c.op == "<=" && n <= 0
}

// scanOf is a scan that was drawn.
type scanOf struct {
	index string // empty: the collection
	eq    []any
	more  []condition // on the component after eq
	desc  bool
	limit int // −1: none
	even  bool
}

// build makes the scan.
func (s scanOf) build(m *items, r engine.Reader) *engine.Scan[item] {
	var scan *engine.Scan[item]
	if s.index == "" {
		scan = m.all.All(r)
	} else {
		scan = m.indexes[s.index].Eq(r, s.eq...)
	}
	for _, c := range s.more {
		switch c.op {
		case ">":
			scan = scan.Gt(c.value)
		case ">=":
			scan = scan.Gte(c.value)
		case "<":
			scan = scan.Lt(c.value)
		case "<=":
			scan = scan.Lte(c.value)
		case "prefix":
			scan = scan.Prefix(c.value.(string))
		}
	}
	if s.desc {
		scan = scan.Desc()
	}
	if s.limit >= 0 {
		scan = scan.Limit(s.limit)
	}
	if s.even {
		scan = scan.Filter(func(d *engine.Doc[item]) bool { return d.Value.Tail%2 == 0 })
	}
	return scan
}

func (s scanOf) run(m *items, r engine.Reader) ([]engine.ID[item], error) {
	ids := []engine.ID[item]{}
	for d, err := range s.build(m, r).Docs() {
		if err != nil {
			return nil, err
		}
		ids = append(ids, d.ID)
	}
	return ids, nil
}

func (m model) scan(s scanOf) []engine.ID[item] {
	paths := itemIndexes[s.index]
	ids := slices.SortedFunc(maps.Keys(m), func(a, b engine.ID[item]) int {
		for _, p := range paths {
			n := compareValues(component(m[a], p), component(m[b], p))
			if strings.HasPrefix(p, "-") {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return cmp.Compare(a, b)
	})
	out := []engine.ID[item]{}
	if s.desc {
		slices.Reverse(ids)
	}
	for _, id := range ids {
		ok := !s.even || m[id].Tail%2 == 0
		for i, v := range s.eq {
			ok = ok && (condition{"=", v}).holds(component(m[id], paths[i]))
		}
		for _, c := range s.more {
			ok = ok && c.holds(component(m[id], paths[len(s.eq)]))
		}
		if ok && (s.limit < 0 || len(out) < s.limit) {
			out = append(out, id)
		}
	}
	return out
}

// taken says whether another document has the unique values.
func (m model) taken(id engine.ID[item], v item) bool {
	if v.Note == nil || v.Rank == nil {
		return false
	}
	for other, o := range m {
		if other != id && o.Note != nil && o.Rank != nil && *o.Note == *v.Note && *o.Rank == *v.Rank {
			return true
		}
	}
	return false
}

func pointer[T any](v T) *T { return &v }

// The values are few, so that they meet, and awkward.
var (
	drawName = rapid.SampledFrom([]string{"", "a", "a\x00", "a\x00\x01", "aa", "ab", "a\xc3\xbf", "b"})
	drawNote = rapid.SampledFrom([]*string{nil, pointer(""), pointer("n"), pointer("n\x00"), pointer("nn")})
	drawRank = rapid.SampledFrom([]*int{nil, pointer(-1<<53 + 1), pointer(-1), pointer(0), pointer(1), pointer(1<<53 - 1)})
	drawItem = rapid.Custom(func(t *rapid.T) item {
		return item{drawName.Draw(t, "name"), drawRank.Draw(t, "rank"), drawNote.Draw(t, "note"), rapid.IntRange(0, 9).Draw(t, "tail")}
	})
	drawScan = rapid.Custom(func(t *rapid.T) scanOf {
		s := scanOf{desc: rapid.Bool().Draw(t, "desc"), limit: -1, even: rapid.IntRange(0, 4).Draw(t, "even") == 0}
		if rapid.Bool().Draw(t, "limited") {
			s.limit = rapid.IntRange(0, 5).Draw(t, "limit")
		}
		s.index = rapid.SampledFrom(append([]string{""}, slices.Sorted(maps.Keys(itemIndexes))...)).Draw(t, "index")
		if s.index == "" {
			return s
		}
		paths := itemIndexes[s.index]
		for range rapid.IntRange(0, len(paths)).Draw(t, "eq") {
			s.eq = append(s.eq, drawValue(t, paths[len(s.eq)], true))
		}
		if len(s.eq) == len(paths) {
			return s
		}
		path := paths[len(s.eq)]
		for range rapid.IntRange(0, 2).Draw(t, "bounds") {
			ops := []string{">", ">=", "<", "<="}
			if !strings.HasSuffix(path, "rank") {
				ops = append(ops, "prefix")
			}
			s.more = append(s.more, condition{rapid.SampledFrom(ops).Draw(t, "op"), drawValue(t, path, false)})
		}
		return s
	})
)

func drawValue(t *rapid.T, path string, orNil bool) any {
	for {
		v := component(drawItem.Draw(t, "of"), path)
		if v != nil || orNil {
			return v
		}
	}
}

// operate does random operations in one transaction, alike on the model. It returns the model that is left, which is the
// given one if it failed.
func (m *items) operate(t *rapid.T, tx *engine.Tx, have model, depth int) (model, error) {
	now := maps.Clone(have)
	ids := func() []engine.ID[item] { return slices.Sorted(maps.Keys(now)) }
	for range rapid.IntRange(1, 12).Draw(t, "operations") {
		kind := rapid.SampledFrom([]string{"insert", "insert", "patch", "replace", "delete", "get", "scan", "scan", "nested", "missing", "delete while scanning"}).Draw(t, "kind")
		if len(now) == 0 && (kind == "patch" || kind == "replace" || kind == "delete" || kind == "get") {
			kind = "insert"
		}
		switch kind {
		case "insert":
			v := drawItem.Draw(t, "item")
			id, err := m.all.Insert(tx, v)
			if now.taken("", v) {
				if !errors.Is(err, engine.ErrAlreadyExists) {
					t.Fatalf("insert of %+v, which is taken: %v", v, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("insert: %v", err)
			}
			now[id] = v
		case "patch", "replace":
			id := rapid.SampledFrom(ids()).Draw(t, "id")
			v := drawItem.Draw(t, "item")
			var err error
			if kind == "patch" {
				keep := rapid.Bool().Draw(t, "keep")
				if keep {
					v.Name, v.Rank = now[id].Name, now[id].Rank
				}
				err = m.all.Patch(tx, id, func(d *item) error {
					if show(*d) != show(now[id]) {
						t.Fatalf("patch was given %s, want %s", show(*d), show(now[id]))
					}
					*d = v
					return nil
				})
			} else {
				err = m.all.Replace(tx, id, v)
			}
			if now.taken(id, v) {
				if !errors.Is(err, engine.ErrAlreadyExists) {
					t.Fatalf("%s to %s, which is taken: %v", kind, show(v), err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			now[id] = v
		case "delete":
			id := rapid.SampledFrom(ids()).Draw(t, "id")
			if err := m.all.Delete(tx, id); err != nil {
				t.Fatalf("delete: %v", err)
			}
			delete(now, id)
			if err := m.all.Delete(tx, id); !errors.Is(err, engine.ErrNotFound) {
				t.Fatalf("second delete: %v", err)
			}
		case "get":
			id := rapid.SampledFrom(ids()).Draw(t, "id")
			d, err := m.all.Get(tx, id)
			if err != nil || show(d.Value) != show(now[id]) {
				t.Fatalf("get: %+v (%v), want %s", d, err, show(now[id]))
			}
		case "missing":
			if len(have) > 0 {
				for id := range have {
					if _, still := now[id]; !still {
						if _, err := m.all.Get(tx, id); !errors.Is(err, engine.ErrNotFound) {
							t.Fatalf("get of a deleted document: %v", err)
						}
					}
				}
			}
		case "scan":
			m.compare(t, tx, now, drawScan.Draw(t, "scan"))
		case "delete while scanning":
			s := drawScan.Draw(t, "scan")
			want := now.scan(s)
			got, err := s.runDeleting(m, tx)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("a scan %+v that deletes: %v (%v), want %v", s, got, err, want)
			}
			for _, id := range got {
				delete(now, id)
			}
		case "nested":
			if depth == 3 {
				continue
			}
			fail := rapid.Bool().Draw(t, "fail")
			inner := now
			err := tx.Nested(func(tx *engine.Tx) (err error) {
				if inner, err = m.operate(t, tx, now, depth+1); err == nil && fail {
					err = errBoom
				}
				return err
			})
			switch {
			case fail && !errors.Is(err, errBoom):
				t.Fatalf("nested: %v", err)
			case !fail && err != nil:
				return have, err
			case !fail:
				now = inner
			}
		}
	}
	return now, nil
}

// runDeleting deletes each document that the scan yields, at once.
func (s scanOf) runDeleting(m *items, tx *engine.Tx) ([]engine.ID[item], error) {
	ids, err := s.run(m, tx)
	if err != nil {
		return nil, err
	}
	i := 0
	scan := m.all.All(tx)
	for d, err := range scan.Docs() { // walks over its own deletions
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, d.ID) {
			i++
			if err := m.all.Delete(tx, d.ID); err != nil {
				return nil, err
			}
		}
	}
	if i != len(ids) {
		return nil, fmt.Errorf("came across %d of %d", i, len(ids))
	}
	return ids, nil
}

func show(v item) string {
	return fmt.Sprintf("%q %v %v %d", v.Name, component(v, "rank"), component(v, "note"), v.Tail)
}

func (m *items) compare(t *rapid.T, r engine.Reader, have model, s scanOf) {
	got, err := s.run(m, r)
	if want := have.scan(s); err != nil || !slices.Equal(got, want) {
		t.Fatalf("scan %+v\ngot  %v (%v)\nwant %v", s, got, err, want)
	}
}

// Random transactions, with parts that are rolled back, do what a naive model does, and see their own writes.
func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newItems()
			var db *engine.DB
			rapid.Check(t, func(rt *rapid.T) {
				if db == nil {
					var err error
					if db, err = engine.Open(m.schema, engine.Options{Store: store(t), Seed: 3, Limits: patient, Logger: slog.New(slog.DiscardHandler)}); err != nil {
						rt.Fatal(err)
					}
					t.Cleanup(func() {
						if err := db.Close(); err != nil {
							t.Error(err)
						}
					})
				} else if err := db.Update(context.Background(), func(tx *engine.Tx) error {
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
					rt.Fatal(err)
				}
				have := model{}
				for range rapid.IntRange(1, 4).Draw(rt, "transactions") {
					fail := rapid.IntRange(0, 3).Draw(rt, "abort") == 0
					after := have
					err := inline(rt, db, func(tx *engine.Tx) (err error) {
						if after, err = m.operate(rt, tx, have, 0); err == nil && fail {
							err = errBoom
						}
						return err
					})
					switch {
					case fail && errors.Is(err, errBoom):
					case err != nil:
						rt.Fatal(err)
					default:
						have = after
					}
				}
				scans := []scanOf{{limit: -1}}
				for name := range itemIndexes {
					scans = append(scans, scanOf{index: name, limit: -1}, scanOf{index: name, limit: -1, desc: true})
				}
				if err := db.View(context.Background(), func(r *engine.ReadTx) error {
					for _, s := range scans {
						got, err := s.run(m, r)
						if want := have.scan(s); err != nil || !slices.Equal(got, want) {
							return fmt.Errorf("committed, scan %+v: got %v (%w), want %v", s, got, err, want)
						}
					}
					return nil
				}); err != nil {
					rt.Fatal(err)
				}
				if err := db.Check(context.Background()); err != nil {
					rt.Fatal(err)
				}
			})
		})
	}
}

// inline runs an update whose function calls rapid. Rapid ends a test by a panic on its own goroutine and wants to see it
// there, while the engine turns the panics of functions into errors.
func inline(t *rapid.T, db *engine.DB, fn func(*engine.Tx) error) error {
	err := db.Update(context.Background(), fn)
	var p *engine.PanicError
	if errors.As(err, &p) {
		panic(p.Value)
	}
	t.Log("update:", err)
	return err
}
