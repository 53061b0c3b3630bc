package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// crowd starts n mutations over a store that holds its commits back, and waits until nothing moves any more. They tell how
// often their functions ran, and how they ended.
type crowd struct {
	runs    atomic.Int64
	mu      sync.Mutex // guards all below
	ended   int
	errs    []error
	elapsed []time.Duration
}

func (c *crowd) start(n int, run func(i int) error) {
	for i := range n {
		began := time.Now()
		go func() {
			err := run(i)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.ended++
			c.elapsed = append(c.elapsed, time.Since(began))
			if err != nil {
				c.errs = append(c.errs, err)
			}
		}()
	}
	synctest.Wait()
}

func (c *crowd) adding(db *engine.DB, counted *counters) func(int) error {
	return func(i int) error {
		return db.Update(context.Background(), func(tx *engine.Tx) error {
			c.runs.Add(1)
			return counted.increment(tx, fmt.Sprint("n", i))
		})
	}
}

// When the store does not keep up, mutations wait for a bounded time, before their functions run, and then fail as busy.
// Queries go on. When it does keep up again, so do they.
func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		counted := newCounters()
		db, store := openSpied(t, counted.schema, func(o *engine.Options) {
			o.Backlog = engine.Backlog{Mutations: 4, Waiting: 3, Wait: 2 * time.Second}
		})
		store.hold()
		var in, waiting, beyond crowd
		in.start(4, in.adding(db, counted))
		waiting.start(3, waiting.adding(db, counted))
		beyond.start(2, beyond.adding(db, counted))
		if in.runs.Load() != 4 || in.ended != 0 {
			t.Errorf("of the first 4, %d ran and %d ended", in.runs.Load(), in.ended)
		}
		if waiting.runs.Load() != 0 || waiting.ended != 0 {
			t.Errorf("of those that wait, %d ran and %d ended", waiting.runs.Load(), waiting.ended)
		}
		if beyond.runs.Load() != 0 || len(beyond.errs) != 2 || beyond.elapsed[0] != 0 {
			t.Errorf("of those beyond, %d ran, and they ended after %v with %v", beyond.runs.Load(), beyond.elapsed, beyond.errs)
		}
		if n := counted.value(t, db, "n0"); n != 0 {
			t.Errorf("a query sees %d", n)
		}
		if m := db.Metrics(); m.Running != 4 || m.Waiting != 3 || m.Busy != 2 {
			t.Errorf("the metrics tell of %d running, %d waiting, %d refused", m.Running, m.Waiting, m.Busy)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if waiting.runs.Load() != 0 || len(waiting.errs) != 3 {
			t.Fatalf("after the wait, %d ran, and there are the errors %v", waiting.runs.Load(), waiting.errs)
		}
		for i, err := range waiting.errs {
			var e *engine.Error
			if !errors.Is(err, engine.ErrBusy) || !errors.As(err, &e) || e.Code != engine.CodeBusy || waiting.elapsed[i] != 2*time.Second {
				t.Errorf("after %v: %v, want busy after 2 s", waiting.elapsed[i], err)
			}
		}
		store.open()
		synctest.Wait()
		if in.ended != 4 || len(in.errs) != 0 {
			t.Errorf("of the first 4, %d ended, with %v", in.ended, in.errs)
		}
		var again crowd
		again.start(6, again.adding(db, counted))
		if again.ended != 6 || len(again.errs) != 0 || counted.value(t, db, "n3") != 2 {
			t.Errorf("afterwards, %d of 6 ended, with %v", again.ended, again.errs)
		}
		if m := db.Metrics(); m.Running != 0 || m.Waiting != 0 || m.PendingBytes != 0 {
			t.Errorf("in the end the metrics tell of %d running, %d waiting, %d bytes", m.Running, m.Waiting, m.PendingBytes)
		}
	})
}

// Whoever waits is let in in order, as soon as there is room.
func TestRoomInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		counted := newCounters()
		db, store := openSpied(t, counted.schema, func(o *engine.Options) { o.Backlog.Mutations = 1 })
		store.hold()
		var mu sync.Mutex
		var order []int
		var c crowd
		for i := range 20 {
			c.start(1, func(int) error {
				return db.Update(context.Background(), func(tx *engine.Tx) error {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					return counted.increment(tx, "hot")
				})
			})
		}
		store.open()
		synctest.Wait()
		if c.ended != 20 || len(c.errs) != 0 || counted.value(t, db, "hot") != 20 {
			t.Fatalf("%d ended, with %v", c.ended, c.errs)
		}
		for i, n := range order {
			if i != n {
				t.Fatalf("they ran in the order %v", order)
			}
		}
	})
}

// What is accepted and not durable is bounded in bytes, too, also by those that had begun to run when there was still room.
func TestPendingBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBank()
		db, store := openSpied(t, b.schema, func(o *engine.Options) { o.Backlog.Bytes = 10_000 })
		store.hold()
		var c crowd
		together := make(chan struct{})
		c.start(8, func(i int) error {
			return db.Update(context.Background(), func(tx *engine.Tx) error {
				c.runs.Add(1)
				<-together
				return second(b.accounts.Insert(tx, account{Owner: fmt.Sprint(i), Note: strings.Repeat("x", 4000)}))
			})
		})
		close(together)
		synctest.Wait()
		if m := db.Metrics(); m.PendingBytes < 10_000 || m.PendingBytes > 15_000 || m.Waiting != 5 {
			t.Errorf("%d bytes are pending, and %d wait, want 3 documents and 5", m.PendingBytes, m.Waiting)
		}
		store.open()
		synctest.Wait()
		if len(c.errs) != 0 || c.ended != 8 || c.runs.Load() < 13 {
			t.Errorf("%d ended in %d runs, with %v", c.ended, c.runs.Load(), c.errs)
		}
		view(t, db, func(r *engine.ReadTx) error {
			if n, err := b.accounts.All(r).Count(); err != nil || n != 8 {
				t.Errorf("there are %d documents (%v)", n, err)
			}
			return nil
		})
	})
}

// Who has gone does not wait, nor does the database for who waits.
func TestWaitingForRoomEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		counted := newCounters()
		db, store := openSpied(t, counted.schema, func(o *engine.Options) { o.Backlog.Mutations = 1 })
		store.hold()
		var in, waiting crowd
		in.start(1, in.adding(db, counted))
		ctx, cancel := context.WithCancel(context.Background())
		gone := errors.New("")
		waiting.start(1, func(int) error {
			gone = db.Update(ctx, func(tx *engine.Tx) error { waiting.runs.Add(1); return nil })
			return nil
		})
		waiting.start(1, waiting.adding(db, counted))
		cancel()
		synctest.Wait()
		if !errors.Is(gone, context.Canceled) || waiting.ended != 1 {
			t.Errorf("who has gone is told %v", gone)
		}
		closed := false
		go func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			closed = true
		}()
		synctest.Wait()
		if len(waiting.errs) != 1 || !errors.Is(waiting.errs[0], engine.ErrClosed) || waiting.runs.Load() != 0 {
			t.Errorf("who waits is told %v", waiting.errs)
		}
		store.open()
		synctest.Wait()
		if !closed || len(in.errs) != 0 || in.ended != 1 {
			t.Errorf("closed: %v, who was in is told %v", closed, in.errs)
		}
	})
}

// An action has no place among the mutations, so that those that it runs find theirs however many actions there are.
func TestActionsInACrowd(t *testing.T) {
	t.Parallel()
	counted := newCounters()
	add := engine.Mutation(counted.schema, "crowd:add", func(tx *engine.Tx, a addArgs) (int, error) { return 0, counted.increment(tx, "hot") })
	engine.Action(counted.schema, "crowd:act", func(a *engine.ActionCtx, _ struct{}) (int, error) {
		for range 3 {
			if _, err := add.Run(a, addArgs{}); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	db := enginetest.Open(t, counted.schema, func(o *engine.Options) { o.Backlog.Mutations, o.Backlog.Wait = 2, time.Minute })
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := db.RunAction(context.Background(), engine.Call{Function: "crowd:act"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := counted.value(t, db, "hot"); n != 120 {
		t.Errorf("they counted to %d, want 120", n)
	}
}
