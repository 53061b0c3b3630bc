package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
)

// echoStore hands a commit log entries as if another writer had just committed them, over a store that has one writer only.
type echoStore struct {
	storage.Store
	mu   sync.Mutex
	echo []storage.LogEntry // guarded by mu: for the next commit
}

func (s *echoStore) Budget() (int, int64) { return s.Store.(storage.Budget).Budget() }

func (s *echoStore) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	s.mu.Lock()
	echo := s.echo
	s.echo = nil
	s.mu.Unlock()
	return s.Store.Commit(ctx, id, func(missed []storage.LogEntry) (storage.Group, error) { return build(append(missed, echo...)) })
}

// A member that read what another writer committed meanwhile is dropped from its group, and with it a later member that read
// its writes; one that read neither stays. Over every store.
func TestDroppedWithThoseThatReadItsWrites(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCounters()
			var mu sync.Mutex
			runs := map[string]int{}
			type step struct {
				From string `json:"from"`
				To   string `json:"to"`
			}
			engine.Mutation(c.schema, "test:follow", func(tx *engine.Tx, a step) (struct{}, error) {
				mu.Lock()
				runs[a.To]++
				mu.Unlock()
				if _, err := c.byName.One(tx, a.From); err != nil && !errors.Is(err, engine.ErrNotFound) {
					return struct{}{}, err
				}
				return struct{}{}, c.increment(tx, a.To)
			})
			echo := &echoStore{Store: open(t)}
			store := newSpy(echo)
			db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Store = store })
			t.Cleanup(store.open)
			before := db.Published()
			if err := c.add(context.Background(), db, "a"); err != nil {
				t.Fatal(err)
			}
			var wrote []storage.LogEntry // the log of a commit that touched a
			for e, err := range echo.Tail(t.Context(), before) {
				if err != nil {
					t.Fatal(err)
				}
				wrote = append(wrote, e)
			}

			store.hold()
			first := start(t, db, "first")
			within(t, "the first commit", store.arrived)
			follow := func(from, to string) func() (*engine.Result, error) {
				accepted, wait := db.StartMutation(context.Background(), engine.Call{Function: "test:follow", Args: encode(t, step{from, to})})
				within(t, "acceptance", accepted)
				return wait
			}
			waits := []func() (*engine.Result, error){first, follow("a", "b"), follow("b", "c"), follow("x", "d")}
			store.next()
			within(t, "the group's commit", store.arrived)
			echo.mu.Lock()
			echo.echo = wrote
			echo.mu.Unlock()
			store.open()
			for _, wait := range waits {
				if _, err := wait(); err != nil {
					t.Error(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			// When both run again, c may meet b's second run and have to run a third time.
			if runs["b"] != 2 || runs["c"] < 2 || runs["d"] != 1 {
				t.Errorf("runs %v, want b and c run again and d once", runs)
			}
			for _, name := range []string{"a", "b", "c", "d"} {
				if n := c.value(t, db, name); n != 1 {
					t.Errorf("%s is %d, want 1", name, n)
				}
			}
		})
	}
}
