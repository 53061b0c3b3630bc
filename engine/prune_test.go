package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

const day = 24 * time.Hour

// calendar is a clock that is moved by hand.
type calendar struct{ passed atomic.Int64 }

func (c *calendar) now() time.Time       { return fixedClock().Add(time.Duration(c.passed.Load())) }
func (c *calendar) pass(d time.Duration) { c.passed.Add(int64(d)) }

// openCalendar opens a database whose clock, and whose store's, is a calendar.
func openCalendar(t *testing.T, s *engine.Schema) (*engine.DB, *spy, *calendar) {
	t.Helper()
	c := new(calendar)
	store := newSpy(memstore.New(memstore.Options{Clock: c.now}))
	db := enginetest.Open(t, s, func(o *engine.Options) { o.Store, o.Clock, o.Limits = store, c.now, patient })
	t.Cleanup(store.open)
	return db, store, c
}

func prune(t *testing.T, db *engine.DB) {
	t.Helper()
	must(t, engine.PruneRequests(context.Background(), db))
}

// sessionRows counts what is stored of all sessions.
func sessionRows(t *testing.T, store storage.Store) (n int) {
	t.Helper()
	head, err := store.Head(context.Background())
	must(t, err)
	snap, err := store.At(context.Background(), head)
	must(t, err)
	defer snap.Close()
	for _, err := range snap.Scan([]byte("s"), []byte("t"), false, 0) {
		must(t, err)
		n++
	}
	return n
}

func isUnknown(err error) bool {
	return errors.Is(err, engine.ErrOutcomeUnknown) && errors.Is(err, &engine.Error{Code: engine.CodeUnknown})
}

func TestOldRequestsOfASessionInUse(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store, clock := openCalendar(t, c.schema)
	send := func(n uint64) (*engine.Result, error) {
		return db.RunMutation(context.Background(), addCall(t, "s", n, addArgs{Name: fmt.Sprint(n)}))
	}
	expect := func(when string, replayed, unknown []uint64) {
		t.Helper()
		for _, n := range replayed {
			if r, err := send(n); err != nil || !r.Replayed {
				t.Errorf("%s: request %d: replayed %v, %v; want a replay", when, n, r.Replayed, err)
			}
		}
		for _, n := range unknown {
			r, err := send(n)
			if !isUnknown(err) || len(r.Value) > 0 || len(r.Log) > 0 {
				t.Errorf("%s: request %d: %+v, %v; want that its outcome is unknown", when, n, r, err)
			}
		}
		for _, n := range append(replayed, unknown...) {
			if got := c.value(t, db, fmt.Sprint(n)); got != 1 {
				t.Errorf("%s: request %d took effect %d times", when, n, got)
			}
		}
	}
	for _, n := range []uint64{1, 2, 5} {
		must(t, second(send(n)))
	}
	clock.pass(20 * day)
	must(t, second(send(6)))
	must(t, second(send(4))) // below one that is older
	clock.pass(9 * day)
	prune(t, db)
	expect("day 29", []uint64{1, 2, 5, 6, 4}, nil)
	clock.pass(2 * day)
	prune(t, db)
	expect("day 31", []uint64{4, 5, 6}, []uint64{1, 2})
	prune(t, db)
	expect("day 31, again", []uint64{4, 5, 6}, []uint64{1, 2})
	must(t, second(send(3))) // was never sent, and is above what was pruned
	must(t, second(send(7)))
	clock.pass(20 * day)
	prune(t, db)
	expect("day 51", []uint64{3, 7, 4, 5, 6}, []uint64{1, 2}) // 3 is new, and all behind it waits
	must(t, second(send(8)))
	clock.pass(11 * day)
	prune(t, db)
	expect("day 62", []uint64{8}, []uint64{1, 2, 3, 4, 5, 6, 7})
	if n := sessionRows(t, store); n != 2 {
		t.Errorf("%d rows are left, want that of request 8 and the watermark", n)
	}
	if r, err := send(0); !isUnknown(err) {
		t.Errorf("a request below the watermark that was never sent: %+v, %v", r, err)
	}
	clock.pass(20 * day)
	must(t, second(send(9)))
	clock.pass(11 * day)
	prune(t, db)
	expect("day 93", []uint64{9}, []uint64{1, 8})
}

func TestUnusedSessionsAreForgotten(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store, clock := openCalendar(t, c.schema)
	send := func(session string, n uint64) *engine.Result {
		return mutate(t, db, addCall(t, session, n, addArgs{Name: fmt.Sprint(session, n)}))
	}
	// One with more rows than one transaction removes, neighbours by name, and one that has a watermark before it is left.
	for n := range uint64(600) {
		send("many", n)
	}
	for _, s := range []string{"man", "many ", "manz"} {
		send(s, 1)
	}
	clock.pass(20 * day)
	send("man", 2)
	clock.pass(11 * day)
	prune(t, db)
	if n := sessionRows(t, store); n != 2 {
		t.Errorf("day 31: %d rows, want a row and a watermark of the one session that is in use", n)
	}
	if !send("man", 2).Replayed {
		t.Error("a recent request took effect again")
	}
	clock.pass(20 * day)
	prune(t, db)
	if n := sessionRows(t, store); n != 0 {
		t.Errorf("day 51: %d rows, want none", n)
	}
	// Whoever comes back begins anew.
	if send("man", 1).Replayed || !send("man", 1).Replayed {
		t.Error("a session that was forgotten cannot be used again")
	}
}

// Records that are not durable yet are of a session in use, and a watermark that is not durable yet is heeded.
func TestPruneWhileASessionComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		db, store, clock := openCalendar(t, c.schema)
		mutate(t, db, addCall(t, "s", 1, addArgs{Name: "a"}))
		clock.pass(31 * day)
		store.hold()
		_, wait := db.StartMutation(context.Background(), addCall(t, "s", 2, addArgs{Name: "b"}))
		synctest.Wait()
		pruned := make(chan error, 1)
		go func() { pruned <- engine.PruneRequests(context.Background(), db) }()
		synctest.Wait()
		_, again := db.StartMutation(context.Background(), addCall(t, "s", 2, addArgs{Name: "b"}))
		_, below := db.StartMutation(context.Background(), addCall(t, "s", 0, addArgs{Name: "c"}))
		synctest.Wait()
		store.open()
		must(t, second(wait()))
		must(t, within(t, "pruning", pruned))
		if r, err := again(); err != nil || !r.Replayed {
			t.Errorf("what was on its way, sent again: %+v, %v; want a replay", r, err)
		}
		if _, err := below(); !isUnknown(err) {
			t.Errorf("below the watermark on its way: %v, want that it is unknown", err)
		}
		if _, err := db.RunMutation(context.Background(), addCall(t, "s", 1, addArgs{Name: "a"})); !isUnknown(err) {
			t.Errorf("what was pruned: %v, want that it is unknown", err)
		}
	})
}

// A mutation that has looked for its record before pruning, and is accepted after it, is run again: its number lies below
// the watermark now.
func TestPruneConflictsWithARunningMutation(t *testing.T) {
	t.Parallel()
	c := newCounters()
	running, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	engine.Mutation(c.schema, "tally:slow", func(tx *engine.Tx, _ struct{}) (struct{}, error) {
		once.Do(func() { close(running); <-goOn })
		_, err := c.tallies.Insert(tx, tally{"slow", 1})
		return struct{}{}, err
	})
	db, _, clock := openCalendar(t, c.schema)
	mutate(t, db, addCall(t, "s", 5, addArgs{Name: "a"}))
	clock.pass(20 * day)
	mutate(t, db, addCall(t, "s", 6, addArgs{Name: "b"}))
	clock.pass(11 * day)
	_, wait := db.StartMutation(context.Background(), engine.Call{
		Function: "tally:slow", Args: []byte(`{}`), Request: &engine.RequestID{Session: "s", Request: 4},
	})
	within(t, "its first run", running)
	prune(t, db)
	close(goOn)
	if _, err := wait(); !isUnknown(err) {
		t.Errorf("below the watermark: %v, want that it is unknown", err)
	}
	if n := c.value(t, db, "slow"); n != 0 {
		t.Errorf("it took effect %d times although its answer is that it was not run", n)
	}
}

// Nobody has to ask for it: an open database prunes soon after Open, and from time to time.
func TestPruningIsDoneByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		db, store, clock := openCalendar(t, c.schema)
		for _, session := range []string{"first", "second"} {
			mutate(t, db, addCall(t, session, 1, addArgs{Name: "a"}))
			clock.pass(31 * day)
			time.Sleep(2 * time.Hour) // of the bubble
			synctest.Wait()
			if n := sessionRows(t, store); n != 0 {
				t.Errorf("%s: %d rows are left", session, n)
			}
		}
	})
}

// A session that is used through another database on the same store is not forgotten, although this one has not heard of it.
func TestPruneOfASessionUsedElsewhere(t *testing.T) {
	t.Parallel()
	clock := new(calendar)
	shared := memstore.NewShared(memstore.Options{Clock: clock.now})
	open := func() *engine.DB {
		return enginetest.Open(t, newCounters().schema, func(o *engine.Options) { o.Store, o.Clock = shared.Open(), clock.now })
	}
	there := open()
	mutate(t, there, addCall(t, "s", 1, addArgs{Name: "a"}))
	here := open()
	clock.pass(31 * day)
	mutate(t, there, addCall(t, "s", 2, addArgs{Name: "b"}))
	prune(t, here)
	if r, err := here.RunMutation(context.Background(), addCall(t, "s", 1, addArgs{Name: "a"})); !isUnknown(err) {
		t.Errorf("what was pruned: %+v, %v; want that it is unknown", r, err)
	}
	if !mutate(t, here, addCall(t, "s", 2, addArgs{Name: "b"})).Replayed {
		t.Error("what was sent to the other took effect again")
	}
}

// Under concurrency no request takes effect twice, whatever is pruned meanwhile.
func TestPruneUnderLoad(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	c := newCounters()
	db, _, clock := openCalendar(t, c.schema)
	const workers, each = 4, 60
	var next atomic.Uint64
	var unknown atomic.Int32
	var succeeded [workers*each + 1]atomic.Bool
	var work, pruning sync.WaitGroup
	stop := make(chan struct{})
	pruning.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := engine.PruneRequests(context.Background(), db); err != nil {
				t.Error(err)
				return
			}
		}
	})
	send := func(n uint64) {
		_, err := db.RunMutation(context.Background(), addCall(t, "s", n, addArgs{Name: fmt.Sprint(n)}))
		switch {
		case err == nil:
			succeeded[n].Store(true)
		case isUnknown(err):
			unknown.Add(1)
		default:
			t.Errorf("request %d: %v", n, err)
		}
	}
	for w := range workers {
		work.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for range each {
				n := next.Add(1)
				clock.pass(day)
				var two sync.WaitGroup
				two.Go(func() { send(n) })
				two.Go(func() { send(n) })
				send(1 + r.Uint64N(n))
				two.Wait()
			}
		})
	}
	work.Wait()
	close(stop)
	pruning.Wait()
	for n := range succeeded {
		want := 0
		if succeeded[n].Load() {
			want = 1
		}
		if got := c.value(t, db, fmt.Sprint(n)); got != want {
			t.Errorf("request %d took effect %d times, want %d (seed %d)", n, got, want, seed)
		}
	}
	if unknown.Load() == 0 {
		t.Errorf("nothing was pruned meanwhile (seed %d)", seed)
	}
}
