package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// A program of the property test declares some of these. Two share a name, so that one replaces the other.
var memberIndexes = []struct {
	name   string
	unique bool
	paths  []string
}{
	{"x", false, []string{"age"}},
	{"x", false, []string{"-age", "name"}},
	{"y", false, []string{"name"}},
	{"z", true, []string{"name", "age"}},
	{"x", true, []string{"name"}},
}

// indexKey is what the model orders members by.
func indexKey(m member, paths []string) func(member) int {
	return func(other member) int {
		for _, p := range paths {
			c := 0
			switch p {
			case "age":
				c = cmp.Compare(m.Age, other.Age)
			case "-age":
				c = cmp.Compare(other.Age, m.Age)
			case "name":
				c = cmp.Compare(m.Name, other.Name)
			}
			if c != 0 {
				return c
			}
		}
		return 0
	}
}

// modelSession is one run of a program with some indexes.
type modelSession struct {
	declared []int // of memberIndexes, different names
	writers  [][]modelOp
	wait     bool // for the indexes, before the program ends
}

// modelOp is one write of one writer: an insert, or a change or removal of the n-th document that it has inserted.
type modelOp struct {
	kind  int
	which int
	value member
}

func drawSession(rt *rapid.T) modelSession {
	var s modelSession
	used := map[string]bool{}
	for i := range memberIndexes {
		if n := memberIndexes[i].name; !used[n] && rapid.Bool().Draw(rt, "declare") {
			used[n] = true
			s.declared = append(s.declared, i)
		}
	}
	op := rapid.Custom(func(rt *rapid.T) modelOp {
		return modelOp{
			kind:  rapid.IntRange(0, 4).Draw(rt, "kind"),
			which: rapid.IntRange(0, 1000).Draw(rt, "which"),
			value: member{fmt.Sprint(rapid.IntRange(0, 40).Draw(rt, "name")), rapid.IntRange(0, 9).Draw(rt, "age")},
		}
	})
	for range rapid.IntRange(1, 3).Draw(rt, "writers") {
		s.writers = append(s.writers, rapid.SliceOfN(op, 0, 30).Draw(rt, "ops"))
	}
	s.wait = rapid.Bool().Draw(rt, "wait")
	return s
}

// modelRun is the model, which each writer's documents are a part of, and the memory it is a model of.
type modelRun struct {
	shared *memstore.Shared
	mu     sync.Mutex // guards all below
	docs   map[engine.ID[member]]member
	owned  map[int][]engine.ID[member]
}

func (m *modelRun) write(db *engine.DB, all *engine.Collection[member], w int, op modelOp) error {
	m.mu.Lock()
	mine := m.owned[w]
	m.mu.Unlock()
	if op.kind < 2 || len(mine) == 0 {
		var id engine.ID[member]
		err := db.Update(context.Background(), func(tx *engine.Tx) (err error) { id, err = all.Insert(tx, op.value); return err })
		if err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.docs[id] = op.value
		m.owned[w] = append(m.owned[w], id)
		return nil
	}
	id := mine[op.which%len(mine)]
	if op.kind == 4 {
		if err := db.Update(context.Background(), func(tx *engine.Tx) error { return all.Delete(tx, id) }); err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.docs, id)
		m.owned[w] = slices.DeleteFunc(slices.Clone(mine), func(i engine.ID[member]) bool { return i == id })
		return nil
	}
	if err := db.Update(context.Background(), func(tx *engine.Tx) error { return all.Replace(tx, id, op.value) }); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.docs[id] = op.value
	return nil
}

// compare checks an index against the model: it is as it should be, or, where it is not ready, says so.
func (m *modelRun) compare(db *engine.DB, x *engine.Index[member], i int, settled bool) error {
	def := memberIndexes[i]
	want := slices.SortedFunc(maps.Values(m.docs), func(a, b member) int { return indexKey(a, def.paths)(b) })
	double := false
	for j := range want {
		double = double || j > 0 && indexKey(want[j], def.paths)(want[j-1]) == 0
	}
	var got []member
	err := db.View(context.Background(), func(r *engine.ReadTx) error {
		got = nil
		for d, err := range x.Scan(r).Docs() {
			if err != nil {
				return err
			}
			got = append(got, d.Value)
		}
		return nil
	})
	switch {
	case errors.Is(err, engine.ErrIndexNotReady) && !settled:
		return nil
	case errors.Is(err, engine.ErrIndexNotReady) && def.unique && double:
		return nil
	case err != nil:
		return fmt.Errorf("index %s %v: %w", def.name, def.paths, err)
	case def.unique && double:
		return fmt.Errorf("unique index %s %v is ready over values that stand twice", def.name, def.paths)
	case len(got) != len(want):
		return fmt.Errorf("index %s %v has %d documents, the model %d", def.name, def.paths, len(got), len(want))
	}
	for j := range got {
		if indexKey(got[j], def.paths)(want[j]) != 0 {
			return fmt.Errorf("index %s %v: number %d is %+v, in the model %+v", def.name, def.paths, j, got[j], want[j])
		}
	}
	return nil
}

// session is one run of a program.
func (m *modelRun) session(s modelSession) (err error) {
	schema := engine.NewSchema()
	all := engine.Define[member](schema, "members")
	indexes := map[int]*engine.Index[member]{}
	for _, i := range s.declared {
		if def := memberIndexes[i]; def.unique {
			indexes[i] = all.AddUnique(def.name, def.paths...)
		} else {
			indexes[i] = all.AddIndex(def.name, def.paths...)
		}
	}
	db, err := engine.Open(schema, engine.Options{
		Store: m.shared.Open(), BuildAtOpen: -1, Limits: patient, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var writers sync.WaitGroup
	failures := make([]error, len(s.writers))
	for w, ops := range s.writers {
		writers.Go(func() {
			for _, op := range ops {
				if err := m.write(db, all, w, op); err != nil && !errors.Is(err, engine.ErrAlreadyExists) {
					failures[w] = err
				}
			}
		})
	}
	writers.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	for i, x := range indexes {
		if err := m.compare(db, x, i, false); err != nil {
			return err
		}
	}
	if !s.wait {
		return db.Check(context.Background())
	}
	if err := db.WaitIndexes(context.Background()); err != nil && !errors.Is(err, engine.ErrIndexNotReady) {
		return err
	}
	time.Sleep(time.Hour) // of the bubble: an index that failed over what was put right since is ready by then
	for i, x := range indexes {
		if err := m.compare(db, x, i, true); err != nil {
			return err
		}
	}
	return db.Check(context.Background())
}

// Whatever indexes come, go and change from one run of a program to the next, and whoever writes while they are built: an index
// that can be read is what the documents are.
func TestIndexesModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sessions := rapid.SliceOfN(rapid.Custom(drawSession), 2, 6).Draw(rt, "sessions")
		last := sessions[len(sessions)-1]
		last.writers, last.wait = nil, true
		sessions = append(sessions, last)
		var err error
		synctest.Test(t, func(*testing.T) {
			m := &modelRun{
				shared: memstore.NewShared(memstore.Options{MaxWrites: 20}),
				docs:   map[engine.ID[member]]member{}, owned: map[int][]engine.ID[member]{},
			}
			for i, s := range sessions {
				if err = m.session(s); err != nil {
					err = fmt.Errorf("session %d: %w", i, err)
					return
				}
			}
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}
