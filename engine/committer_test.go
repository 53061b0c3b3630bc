package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// add counts a tally up by db.Update.
func (c *counters) add(ctx context.Context, db *engine.DB, name string) error {
	return db.Update(ctx, func(tx *engine.Tx) error { return c.increment(tx, name) })
}

func (c *counters) increment(tx *engine.Tx, name string) error {
	d, err := c.byName.One(tx, name)
	if errors.Is(err, engine.ErrNotFound) {
		_, err = c.tallies.Insert(tx, tally{name, 1})
		return err
	}
	if err != nil {
		return err
	}
	return c.tallies.Patch(tx, d.ID, func(v *tally) error { v.N++; return nil })
}

// occupy starts a mutation whose commit is held back, so that what comes after it is in later groups. wait ends it.
func occupy(t *testing.T, db *engine.DB, store *spy) (wait func()) {
	t.Helper()
	store.hold()
	accepted, w := db.StartMutation(context.Background(), engine.Call{Function: "tally:add", Args: encode(t, addArgs{Name: "occupant"})})
	within(t, "acceptance", accepted)
	within(t, "the commit", store.arrived)
	return func() {
		if _, err := w(); err != nil {
			t.Error(err)
		}
	}
}

// start starts a call of tally:add and waits until it is accepted.
func start(t *testing.T, db *engine.DB, name string) (wait func() (*engine.Result, error)) {
	t.Helper()
	accepted, w := db.StartMutation(context.Background(), engine.Call{Function: "tally:add", Args: encode(t, addArgs{Name: name})})
	within(t, "acceptance", accepted)
	return w
}

// While one group is on its way to the store, the next one grows; all of it is one commit.
func TestOneCommitPerGroup(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store := openSpied(t, c.schema)
	before, _, _ := store.counts()
	end := occupy(t, db, store)
	var waits []func() (*engine.Result, error)
	for i := range 100 {
		waits = append(waits, start(t, db, fmt.Sprint(i)))
	}
	store.open()
	end()
	var ts engine.Timestamp
	for _, w := range waits {
		r, err := w()
		if err != nil {
			t.Fatal(err)
		}
		if ts != 0 && r.Timestamp != ts {
			t.Errorf("members of one group have timestamps %d and %d", ts, r.Timestamp)
		}
		ts = r.Timestamp
	}
	groups, _, _ := store.counts()
	if groups-before != 2 {
		t.Errorf("%d commits for 101 mutations, want 2", groups-before)
	}
}

// Rows are what a commit costs: a document and its index entries, nothing else; and on a hot key the last write alone.
func TestRowsPerMutation(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store := openSpied(t, c.schema)
	rows := func(fn func(*engine.Tx) error) int {
		_, before, _ := store.counts()
		update(t, db, fn)
		_, after, _ := store.counts()
		return after - before
	}
	var id engine.ID[tally]
	if n := rows(func(tx *engine.Tx) (err error) {
		id, err = c.tallies.Insert(tx, tally{"a", 1})
		return err
	}); n != 2 {
		t.Errorf("an insert with a unique index: %d rows, want 2", n)
	}
	if n := rows(func(tx *engine.Tx) error {
		if _, err := c.tallies.Insert(tx, tally{"b", 1}); err != nil {
			return err
		}
		return c.tallies.Patch(tx, id, func(v *tally) error { v.N++; return nil })
	}); n != 3 {
		t.Errorf("an insert and a change of another document's unindexed field: %d rows, want 3", n)
	}
	if n := rows(func(tx *engine.Tx) error {
		for range 10 {
			if err := c.increment(tx, "a"); err != nil {
				return err
			}
		}
		return nil
	}); n != 1 {
		t.Errorf("ten changes of one document: %d rows, want 1", n)
	}

	end := occupy(t, db, store)
	var waits []func() (*engine.Result, error)
	for range 50 {
		waits = append(waits, start(t, db, "a"))
	}
	_, before, _ := store.counts()
	store.open()
	end()
	for _, w := range waits {
		if _, err := w(); err != nil {
			t.Fatal(err)
		}
	}
	_, after, _ := store.counts()
	if after-before != 2+1 {
		t.Errorf("fifty changes of one document in a group, after one insert: %d rows, want 3", after-before)
	}
}

// No answer that was computed on what is not durable yet arrives before it is: not that of the mutation itself, nor of one
// that only reads, nor an error.
func TestAnswersWaitForDurability(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store := openSpied(t, c.schema)
	end := occupy(t, db, store)
	write := start(t, db, "a")

	var mu sync.Mutex
	var early []string
	released := false
	var wg sync.WaitGroup
	ran := make(chan struct{}, 3)
	run := func(name string, fn func() error) {
		wg.Go(func() {
			err := fn()
			mu.Lock()
			defer mu.Unlock()
			if !released {
				early = append(early, fmt.Sprintf("%s (%v)", name, err))
			}
		})
	}
	run("a write", func() error { _, err := write(); return err })
	sawTentative := 0
	run("a mutation that only reads", func() error {
		return db.Update(context.Background(), func(tx *engine.Tx) error {
			d, err := c.byName.One(tx, "a")
			if err == nil {
				sawTentative = d.Value.N
			}
			ran <- struct{}{}
			return err
		})
	})
	refused := errors.New("refused")
	run("an error", func() error {
		err := db.Update(context.Background(), func(tx *engine.Tx) error {
			_, err := c.byName.One(tx, "a")
			ran <- struct{}{}
			return errors.Join(err, refused)
		})
		if !errors.Is(err, refused) {
			t.Errorf("got %v, want the function's own error", err)
		}
		return err
	})
	run("a refused insert", func() error {
		_, err := db.RunMutation(context.Background(), engine.Call{Function: "tally:add", Args: encode(t, addArgs{Name: "a", Fail: true})})
		ran <- struct{}{}
		return err
	})
	within(t, "the first function", ran)
	within(t, "the second function", ran)
	// Meanwhile queries read the published head, and are answered at once.
	r, err := db.RunQuery(context.Background(), engine.Call{Function: "tally:get", Args: encode(t, addArgs{Name: "a"})})
	if err != nil || string(r.Value) != "0" {
		t.Errorf("a query sees %s (%v), want the published 0", r.Value, err)
	}
	if n := c.value(t, db, "a"); n != 0 {
		t.Errorf("a view sees %d, want the published 0", n)
	}
	mu.Lock()
	released = true
	mu.Unlock()
	store.open()
	end()
	wg.Wait()
	if len(early) > 0 {
		t.Errorf("answered before they were durable: %v", early)
	}
	if sawTentative != 1 {
		t.Errorf("a mutation saw %d, want the tentative 1", sawTentative)
	}
	if n := c.value(t, db, "a"); n != 1 {
		t.Errorf("a view sees %d afterwards, want 1", n)
	}
}

// Nor does the answer that a function ran out of time on it.
func TestTimeoutsWaitForDurability(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		db, store := openSpied(t, c.schema, func(o *engine.Options) { o.Limits.FunctionTime = time.Second })
		end := occupy(t, db, store)
		var err error
		answered := false
		go func() {
			err = db.Update(context.Background(), func(tx *engine.Tx) error {
				<-tx.Context().Done()
				return nil
			})
			answered = true
		}()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if answered {
			t.Errorf("answered %v before the state is durable that it ran on", err)
		}
		store.open()
		end()
		synctest.Wait()
		var limit *engine.LimitError
		if !answered || !errors.As(err, &limit) || limit.Limit != "FunctionTime" {
			t.Errorf("answered %v: %v", answered, err)
		}
	})
}

// What another writer commits does not hold up those who have nothing to do with it.
func TestAnswersAfterAnotherWritersCommit(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	ca, cb := newCounters(), newCounters()
	a := enginetest.Open(t, ca.schema, func(o *engine.Options) { o.Store = shared.Open() })
	b := enginetest.Open(t, cb.schema, func(o *engine.Options) { o.Store, o.Seed = shared.Open(), 2 })
	for i := range 3 {
		must(t, cb.add(context.Background(), b, "foreign"))
		must(t, ca.add(context.Background(), a, "own"))
		done := make(chan error, 1)
		go func() {
			done <- a.Update(context.Background(), func(tx *engine.Tx) error {
				d, err := ca.byName.One(tx, "foreign")
				if err == nil && d.Value.N != i+1 {
					t.Errorf("sees %d, want %d", d.Value.N, i+1)
				}
				return err
			})
		}()
		if err := within(t, "a read-only answer", done); err != nil {
			t.Error(err)
		}
	}
}

// A mutation all of whose writes were rolled back commits nothing.
func TestNothingLeftToCommit(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store := openSpied(t, c.schema)
	before, _, _ := store.counts()
	update(t, db, func(tx *engine.Tx) error {
		if err := tx.Nested(func(tx *engine.Tx) error { return errors.Join(c.increment(tx, "a"), errBoom) }); !errors.Is(err, errBoom) {
			t.Errorf("nested: %v", err)
		}
		return nil
	})
	if after, _, _ := store.counts(); after != before {
		t.Errorf("%d groups were committed", after-before)
	}
}

// Who was answered is seen by whoever begins afterwards, queries included, and watches are told first.
func TestPublishedBeforeAnswered(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		c := newCounters()
		db := open(c.schema)
		var told atomic.Uint64
		stop := db.OnPublish(func(ts engine.Timestamp) { told.Store(uint64(ts)) })
		defer stop()
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				name := fmt.Sprint(w)
				for i := range 20 {
					r, err := db.RunMutation(context.Background(), engine.Call{Function: "tally:add", Args: encode(t, addArgs{Name: name})})
					if err != nil {
						t.Error(err)
						return
					}
					if told.Load() < uint64(r.Timestamp) {
						t.Errorf("answered with %d, published %d", r.Timestamp, told.Load())
					}
					if n := c.value(t, db, name); n != i+1 {
						t.Errorf("a view after an answer sees %d, want %d", n, i+1)
					}
				}
			})
		}
		wg.Wait()
	})
}

// While somebody is being told of a commit, its mutation is not answered.
func TestAnswersWaitForPublication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		db := enginetest.Open(t, c.schema)
		goOn := make(chan struct{})
		stop := db.OnPublish(func(engine.Timestamp) { <-goOn })
		defer stop()
		answered := make(chan error, 1)
		go func() { answered <- c.add(context.Background(), db, "a") }()
		synctest.Wait()
		if len(answered) > 0 {
			t.Error("answered before everybody was told")
		}
		close(goOn)
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})
}

// A member that is taken back because of another writer leaves the writes of those before it in place.
func TestTakenBackMemberLeavesOthersInPlace(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	store := newSpy(shared.Open())
	ca := newCounters()
	read := make(chan int, 8)
	engine.Mutation(ca.schema, "test:dependent", func(tx *engine.Tx, _ struct{}) (int, error) {
		if _, err := ca.byName.One(tx, "foreign"); err != nil {
			return 0, err
		}
		if err := ca.increment(tx, "hot"); err != nil {
			return 0, err
		}
		d, err := ca.byName.One(tx, "hot")
		if err != nil {
			return 0, err
		}
		read <- d.Value.N
		return d.Value.N, nil
	})
	a := enginetest.Open(t, ca.schema, func(o *engine.Options) { o.Store = store })
	t.Cleanup(store.open)
	for _, name := range []string{"foreign", "hot"} {
		if err := ca.add(context.Background(), a, name); err != nil {
			t.Fatal(err)
		}
	}
	cb := newCounters()
	b := enginetest.Open(t, cb.schema, func(o *engine.Options) { o.Store, o.Seed = shared.Open(), 2 })

	end := occupy(t, a, store)
	first := start(t, a, "hot")
	accepted, dependent := a.StartMutation(context.Background(), engine.Call{Function: "test:dependent"})
	within(t, "acceptance", accepted)
	if n := within(t, "the first run", read); n != 3 {
		t.Fatalf("the dependent mutation made %d of it, want 3", n)
	}
	if err := cb.add(context.Background(), b, "foreign"); err != nil {
		t.Fatal(err)
	}
	store.next() // the occupant's group meets the foreign commit
	end()
	within(t, "the next group", store.arrived)
	if n := within(t, "the second run", read); n != 3 {
		t.Errorf("rerun, the dependent mutation made %d of it, want 3: the write before it is gone", n)
	}
	store.open()
	if _, err := first(); err != nil {
		t.Error(err)
	}
	if _, err := dependent(); err != nil {
		t.Error(err)
	}
	if n := ca.value(t, a, "hot"); n != 3 {
		t.Errorf("the counter is %d, want 3", n)
	}
}

// An answer that only read what was taken back is computed anew.
func TestReadsOfTakenBackStateRunAgain(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	store := newSpy(shared.Open())
	ca := newCounters()
	engine.Mutation(ca.schema, "test:copy", func(tx *engine.Tx, _ struct{}) (int, error) {
		d, err := ca.byName.One(tx, "foreign")
		if err != nil {
			return 0, err
		}
		_, err = ca.tallies.Insert(tx, tally{"copy", d.Value.N})
		return d.Value.N, err
	})
	a := enginetest.Open(t, ca.schema, func(o *engine.Options) { o.Store = store })
	t.Cleanup(store.open)
	if err := ca.add(context.Background(), a, "foreign"); err != nil {
		t.Fatal(err)
	}
	cb := newCounters()
	b := enginetest.Open(t, cb.schema, func(o *engine.Options) { o.Store, o.Seed = shared.Open(), 2 })
	end := occupy(t, a, store)
	accepted, doomed := a.StartMutation(context.Background(), engine.Call{Function: "test:copy"})
	within(t, "acceptance", accepted)
	seen, runs := make(chan int, 4), atomic.Int32{}
	done := make(chan error, 1)
	go func() {
		done <- a.Update(context.Background(), func(tx *engine.Tx) error {
			runs.Add(1)
			d, err := ca.byName.One(tx, "copy")
			if err == nil {
				seen <- d.Value.N
			}
			return err
		})
	}()
	if n := within(t, "the first read", seen); n != 1 {
		t.Errorf("first saw %d, want 1", n)
	}
	if err := cb.add(context.Background(), b, "foreign"); err != nil {
		t.Fatal(err)
	}
	store.open()
	end()
	if r, err := doomed(); err != nil || string(r.Value) != "2" {
		t.Errorf("the mutation gave %s (%v), want 2", r.Value, err)
	}
	// Whatever it answers in the end, it is not that the copy is 1.
	err := within(t, "the read", done)
	last := 0
	for len(seen) > 0 {
		last = <-seen
	}
	if err == nil && last != 2 || err != nil && !errors.Is(err, engine.ErrNotFound) || runs.Load() < 2 {
		t.Errorf("after %d runs it answered %d and %v", runs.Load(), last, err)
	}
}

// When a commit fails, those in it cannot be told what became of them, those behind it can, and nothing goes on.
func TestFailedCommit(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]memstore.Fault{"before": memstore.FailBefore, "after": memstore.FailAfter} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared := memstore.NewShared(memstore.Options{})
			handle := shared.Open()
			store := newSpy(handle)
			c := newCounters()
			db, err := engine.Open(c.schema, engine.Options{Store: store, Limits: patient, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			store.hold()
			inFlight := start(t, db, "flight")
			within(t, "the commit", store.arrived)
			behind := start(t, db, "behind")
			reads := make(chan error, 1)
			ran := make(chan struct{}, 1)
			go func() {
				reads <- db.Update(context.Background(), func(tx *engine.Tx) error {
					_, err := c.byName.One(tx, "flight")
					ran <- struct{}{}
					return err
				})
			}()
			within(t, "the read", ran)
			handle.FailNextCommit(fault)
			store.open()
			if _, err := inFlight(); !errors.Is(err, engine.ErrOutcomeUnknown) {
				t.Errorf("in the group: %v, want ErrOutcomeUnknown", err)
			}
			if _, err := behind(); !errors.Is(err, engine.ErrFailed) || errors.Is(err, engine.ErrOutcomeUnknown) {
				t.Errorf("behind the group: %v, want ErrFailed alone", err)
			}
			if err := within(t, "the read's answer", reads); !errors.Is(err, engine.ErrFailed) {
				t.Errorf("who read the group's writes: %v, want ErrFailed", err)
			}
			if err := c.add(context.Background(), db, "later"); !errors.Is(err, engine.ErrFailed) || errors.Is(err, engine.ErrOutcomeUnknown) {
				t.Errorf("later: %v, want ErrFailed alone", err)
			}
			within(t, "the news of it", db.Failed())
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			again := newCounters()
			db = enginetest.Open(t, again.schema, func(o *engine.Options) { o.Store = shared.Open() })
			want := 0
			if fault == memstore.FailAfter {
				want = 1
			}
			if n := again.value(t, db, "flight"); n != want {
				t.Errorf("after reopening the group's write is %d, want %d", n, want)
			}
			if n := again.value(t, db, "behind") + again.value(t, db, "later"); n != 0 {
				t.Errorf("what was answered with an error is there")
			}
		})
	}
}

// Close waits for what has been accepted, and says so to those who asked for it.
func TestCloseWhileMutationsAreUnderWay(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	store := newSpy(shared.Open())
	c := newCounters()
	db, err := engine.Open(c.schema, engine.Options{Store: store, Limits: patient})
	if err != nil {
		t.Fatal(err)
	}
	end := occupy(t, db, store)
	queued := start(t, db, "a")
	inside := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- db.Update(context.Background(), func(tx *engine.Tx) error {
			close(inside)
			<-tx.Context().Done()
			return context.Cause(tx.Context())
		})
	}()
	within(t, "the function", inside)
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	eventually(t, "calls are refused", func() bool {
		return errors.Is(db.View(context.Background(), func(*engine.ReadTx) error { return nil }), engine.ErrClosed)
	})
	select {
	case err := <-closed:
		t.Fatalf("closed (%v) before what was accepted is durable", err)
	default:
	}
	store.open()
	end()
	if _, err := queued(); err != nil {
		t.Errorf("an accepted mutation was answered %v", err)
	}
	if err := within(t, "the running function", ended); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("a running function was told %v, want ErrClosed", err)
	}
	if err := within(t, "Close", closed); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	again := newCounters()
	if n := again.value(t, enginetest.Open(t, again.schema, func(o *engine.Options) { o.Store = shared.Open() }), "a"); n != 1 {
		t.Errorf("after reopening the counter is %d, want 1", n)
	}
}

// A caller that goes while its commit is under way does not know what became of it; the commit does.
func TestCallerLeavesDuringCommit(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store := openSpied(t, c.schema)
	store.hold()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.add(ctx, db, "a") }()
	within(t, "the commit", store.arrived)
	cancel()
	if err := within(t, "the answer", done); !errors.Is(err, engine.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrOutcomeUnknown and context.Canceled", err)
	}
	store.open()
	eventually(t, "the write is there", func() bool { return c.value(t, db, "a") == 1 })
	if err := c.add(ctx, db, "a"); !errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrOutcomeUnknown) {
		t.Errorf("a call that never began: %v, want context.Canceled alone", err)
	}
}

// Groups keep within what the store takes; nothing that a function does can fail a commit.
func TestTransactionsAgainstASmallStore(t *testing.T) {
	t.Parallel()
	for _, maxBytes := range []int64{16 << 10, 64 << 10} {
		t.Run(fmt.Sprint(maxBytes), func(t *testing.T) {
			t.Parallel()
			c := newCounters()
			store := memstore.New(memstore.Options{MaxWrites: 400, MaxBytes: maxBytes})
			db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Store = store })
			fits, tooLarge := 0, 0
			for n := 1; n < 600; n += 7 {
				err := db.Update(context.Background(), func(tx *engine.Tx) error {
					for i := range n {
						if _, err := c.tallies.Insert(tx, tally{fmt.Sprint(n, "/", i), i}); err != nil {
							return err
						}
					}
					return nil
				})
				var limit *engine.LimitError
				switch {
				case err == nil:
					fits++
				case errors.As(err, &limit):
					tooLarge++
				default:
					t.Fatalf("%d documents: %v", n, err)
				}
			}
			if fits == 0 || tooLarge == 0 {
				t.Errorf("%d fit and %d did not: the test has lost its point", fits, tooLarge)
			}
			// And together, groups are cut where the store wants them cut.
			var wg sync.WaitGroup
			for w := range 64 {
				wg.Go(func() {
					for i := range 10 {
						if _, err := db.RunMutation(context.Background(), addCall(t, fmt.Sprint("s", w), uint64(i), addArgs{Name: fmt.Sprint("w", w), Size: 100})); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// Many who want the same document all get it in the end.
func TestHotDocument(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		c := newCounters()
		db := open(c.schema)
		const writers, each = 32, 10
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					if err := c.add(context.Background(), db, "hot"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := c.value(t, db, "hot"); n != writers*each {
			t.Errorf("the counter is %d, want %d", n, writers*each)
		}
	})
}

// A function that takes long while others keep writing what it reads gets its turn.
func TestSlowReaderOfAHotDocument(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.add(context.Background(), db, "hot"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	runs := 0
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		runs++
		if _, err := c.byName.One(tx, "hot"); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
		// Others get their writes in meanwhile, unless they are held back for this one.
		before := db.Published()
		for range 100 {
			if db.Published() > before {
				break
			}
			_ = c.value(t, db, "hot")
		}
		return c.increment(tx, "slow")
	})
	close(stop)
	wg.Wait()
	if err != nil {
		t.Errorf("after %d runs: %v", runs, err)
	}
	if n := c.value(t, db, "slow"); n != 1 {
		t.Errorf("took effect %d times", n)
	}
}

// Timestamps ascend, and who is answered with one finds it published.
func TestWrittenTimestampsAscend(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		c := newCounters()
		db := open(c.schema)
		var last storage.Timestamp
		for range 20 {
			r := mutate(t, db, engine.Call{Function: "tally:add", Args: encode(t, addArgs{Name: "a"})})
			if r.Timestamp <= last || db.Published() < r.Timestamp {
				t.Errorf("timestamp %d after %d, published %d", r.Timestamp, last, db.Published())
			}
			last = r.Timestamp
		}
	})
}
