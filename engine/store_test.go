package engine_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// spy is a store that counts what is committed to it and can be made to hold commits back.
type spy struct {
	storage.Store
	arrived chan struct{} // one for each commit that is held back
	pass    chan struct{} // one lets one commit through

	mu     sync.Mutex // guards all below
	held   bool
	opened chan struct{} // closed by open
	groups int
	rows   int
	keys   map[byte]int // rows by keyspace
}

func newSpy(s storage.Store) *spy {
	return &spy{Store: s, arrived: make(chan struct{}, 1024), pass: make(chan struct{}), keys: map[byte]int{}}
}

// Budget implements [storage.Budget].
func (s *spy) Budget() (int, int64) { return s.Store.(storage.Budget).Budget() }

// LargeBudget implements [storage.LargeBudget].
func (s *spy) LargeBudget() (int, int64) {
	if l, ok := s.Store.(storage.LargeBudget); ok {
		return l.LargeBudget()
	}
	return s.Budget()
}

// hold makes every commit from now on wait for next or open.
func (s *spy) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.opened = true, make(chan struct{})
}

// open lets all commits through.
func (s *spy) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		s.held = false
		close(s.opened)
	}
}

// next lets one commit through.
func (s *spy) next() { s.pass <- struct{}{} }

// counts returns what was committed so far.
func (s *spy) counts() (groups, rows int, keys map[byte]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys = map[byte]int{}
	for k, n := range s.keys {
		keys[k] = n
	}
	return s.groups, s.rows, keys
}

func (s *spy) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	s.mu.Lock()
	held, opened := s.held, s.opened
	s.mu.Unlock()
	if held {
		s.arrived <- struct{}{}
		select {
		case <-s.pass:
		case <-opened:
		}
	}
	return s.Store.Commit(ctx, id, func(missed []storage.LogEntry) (storage.Group, error) {
		g, err := build(missed)
		if err == nil && !g.Cancel {
			s.mu.Lock()
			s.groups++
			s.rows += len(g.Writes)
			for _, w := range g.Writes {
				s.keys[w.Key[0]]++
			}
			s.mu.Unlock()
		}
		return g, err
	})
}

// openSpied opens a database over a spy on a store in memory. Commits that are held back at the end of the test go through.
func openSpied(t testing.TB, s *engine.Schema, o ...func(*engine.Options)) (*engine.DB, *spy) {
	t.Helper()
	store := newSpy(memstore.New(memstore.Options{}))
	db := enginetest.Open(t, s, append([]func(*engine.Options){func(o *engine.Options) { o.Store = store }}, o...)...)
	t.Cleanup(store.open)
	return db, store
}

// eventually polls a condition until it holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// within fails the test when a channel is not ready in time.
func within[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("not in time: %s", what)
	}
	return v
}

// fixedClock stands still.
func fixedClock() time.Time { return time.Unix(1_700_000_000, 0) }

// patient are the limits of tests that are not about time, on a machine that may be busy with others.
var patient = engine.Limits{FunctionTime: time.Minute}
