package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// kept is a store that outlives the databases that are opened on it.
type kept struct{ storage.Store }

func (kept) Close() error { return nil }

// cut is a store that a process dies on: from a moment on its commits do not come about.
type cut struct {
	storage.Store
	dead chan struct{}
}

func (c cut) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	select {
	case <-c.dead:
		return 0, errors.New("the process is dead")
	default:
		return c.Store.Commit(ctx, id, build)
	}
}

func (cut) Close() error { return nil }

// An action that was under way when its process died is not begun again, unless it may be.
func TestInterruptedActions(t *testing.T) {
	t.Parallel()
	for _, retry := range []bool{false, true} {
		t.Run(fmt.Sprintf("retry %v", retry), func(t *testing.T) {
			t.Parallel()
			store := memstore.New(memstore.Options{})
			t.Cleanup(func() { must(t, store.Close()) }) // after the databases on it
			var o []engine.Option
			if retry {
				o = append(o, engine.Retry(engine.RetryPolicy{Max: 2, Backoff: time.Millisecond}))
			}
			d := newDesk(o...)
			began := make(chan struct{})
			d.doCall = func(c *engine.ActionCtx, _ string) error {
				close(began)
				<-c.Context().Done()
				return nil
			}
			dead := make(chan struct{})
			db, err := engine.Open(d.schema, engine.Options{Store: cut{store, dead}})
			must(t, err)
			id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{"x"}) })
			within(t, "the action", began)
			close(dead)
			must(t, db.Close())

			d = newDesk(o...)
			db = enginetest.Open(t, d.schema, func(o *engine.Options) { o.Store = kept{store} })
			j := d.await(t, db, id)
			switch {
			case !retry && (j.State != engine.JobFailed || j.Error.Code != engine.CodeInterrupted || j.Attempts != 1 || d.called.Load() != 0):
				t.Errorf("run %d times after the restart: %+v", d.called.Load(), j)
			case retry && (j.State != engine.JobSucceeded || j.Error != nil || j.Attempts != 2 || d.called.Load() != 1):
				t.Errorf("run %d times after the restart: %+v", d.called.Load(), j)
			}
		})
	}
}

// Close tells actions, waits for those that heed it, and keeps how they ended.
func TestCloseAndRunningActions(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { must(t, store.Close()) }) // after the databases on it
	d := newDesk()
	began := make(chan struct{}, 2)
	d.doCall = func(c *engine.ActionCtx, text string) error {
		began <- struct{}{}
		<-c.Context().Done()
		if text == "finishes" {
			return nil
		}
		return c.Context().Err()
	}
	db, err := engine.Open(d.schema, engine.Options{Store: kept{store}})
	must(t, err)
	finishes := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{"finishes"}) })
	stops := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{"stops"}) })
	within(t, "an action", began)
	within(t, "the other action", began)
	must(t, db.Close())

	d = newDesk()
	db = enginetest.Open(t, d.schema, func(o *engine.Options) { o.Store, o.Jobs.Off = kept{store}, true })
	if j := d.job(t, db, finishes); j.State != engine.JobSucceeded {
		t.Errorf("one that finished while the database was closed: %+v", j)
	}
	if j := d.job(t, db, stops); j.State != engine.JobFailed || j.Error.Code != engine.CodeInterrupted {
		t.Errorf("one that stopped: %+v", j)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(engine.Retry(engine.RetryPolicy{
			Max: 6, Backoff: time.Minute, MaxBackoff: 4 * time.Minute,
			If: func(err error) bool { return !errors.Is(err, &engine.Error{Code: "final"}) },
		}))
		var mu sync.Mutex
		var times []time.Time
		d.doCall = func(_ *engine.ActionCtx, text string) error {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Now())
			switch {
			case text == "final":
				return engine.Errorf("final", "never mind")
			case text == "third" && len(times) == 3:
				return nil
			}
			return engine.Errorf("mine", "attempt %d", len(times))
		}
		db := enginetest.Open(t, d.schema)
		run := func(text string) engine.Job {
			t.Helper()
			times = nil
			id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{text}) })
			time.Sleep(time.Second)
			synctest.Wait()
			if j := d.job(t, db, id); text != "final" && (j.State != engine.JobPending || j.Error.Message != "attempt 1" || j.Attempts != 1 || !j.At.After(j.Due)) {
				t.Errorf("%s, after one attempt: %+v", text, j)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			return d.job(t, db, id)
		}
		if j := run("always"); j.State != engine.JobFailed || j.Attempts != 6 || j.Error.Message != "attempt 6" || len(times) != 6 {
			t.Errorf("always: %d runs, %+v", len(times), j)
		}
		for i, longest := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 4 * time.Minute, 4 * time.Minute} {
			if wait := times[i+1].Sub(times[i]); wait < longest/2 || wait > longest+lookAgainSlack {
				t.Errorf("%v before attempt %d, want between %v and %v", wait, i+2, longest/2, longest)
			}
		}
		if j := run("third"); j.State != engine.JobSucceeded || j.Attempts != 3 || j.Error != nil {
			t.Errorf("third: %+v", j)
		}
		if j := run("final"); j.State != engine.JobFailed || j.Attempts != 1 || len(times) != 1 {
			t.Errorf("final: %d runs, %+v", len(times), j)
		}
	})
}

// lookAgainSlack is how much later than due a job may begin in a bubble's time, where nothing but sleep takes time.
const lookAgainSlack = time.Millisecond

// Jobs of functions that the program does not have any more fail, and say so; a function that has become an action runs as one.
func TestJobsOfFunctionsThatHaveGone(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { must(t, store.Close()) }) // after the databases on it
	d := newDesk()
	db, err := engine.Open(d.schema, engine.Options{Store: kept{store}, Jobs: engine.JobOptions{Off: true}})
	must(t, err)
	gone := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.refuse.Schedule(tx, 0, noteArgs{"x"}) })
	changed := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 0, noteArgs{"x"}) })
	read := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{"x"}) })
	must(t, db.Close())

	s := engine.NewSchema()
	d = &desk{schema: s, notes: engine.Define[note](s, "notes")}
	engine.Action(s, "notes:write", func(*engine.ActionCtx, noteArgs) (string, error) { return "as an action", nil })
	engine.Query(s, "desk:call", func(*engine.ReadTx, noteArgs) (string, error) { return "", nil })
	db = enginetest.Open(t, s, func(o *engine.Options) { o.Store = kept{store} })
	if j := d.await(t, db, gone); j.State != engine.JobFailed || j.Error.Code != engine.CodeNotFound || j.Error.Message != `no function "notes:refuse"` {
		t.Errorf("gone: %+v", j)
	}
	if j := d.await(t, db, changed); j.State != engine.JobSucceeded || string(j.Result) != `"as an action"` {
		t.Errorf("changed: %+v", j)
	}
	if j := d.await(t, db, read); j.State != engine.JobFailed || j.Error.Code != engine.CodeInvalid {
		t.Errorf("now a query: %+v", j)
	}
}

// A flood of one function's jobs, short or long, does not keep another's waiting.
func TestJobsOfManyFunctionsTakeTurns(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		s := engine.NewSchema()
		d := &desk{schema: s}
		type none struct{}
		var mu sync.Mutex
		var order []string
		ran := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		flood := engine.Action(s, "a:flood", func(*engine.ActionCtx, none) (int, error) { ran("flood"); return 0, nil })
		one := engine.Action(s, "b:one", func(*engine.ActionCtx, none) (int, error) { ran("one"); return 0, nil })
		two := engine.Action(s, "c:two", func(*engine.ActionCtx, none) (int, error) { ran("two"); return 0, nil })
		// The first job, at once, holds the only slot until all others are scheduled: they are due together, the flood first.
		release, holding := make(chan struct{}), make(chan struct{})
		first := engine.Action(s, "e:first", func(*engine.ActionCtx, none) (int, error) { close(holding); <-release; return 0, nil })
		db := open(s, func(o *engine.Options) { o.Jobs.Actions = 1 })
		schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return first.Schedule(tx, 0, none{}) })
		within(t, "the first action", holding)
		var last []engine.JobID
		update(t, db, func(tx *engine.Tx) error {
			last = nil
			for range 200 {
				if _, err := flood.Schedule(tx, -time.Second, none{}); err != nil {
					return err
				}
			}
			for range 10 {
				for _, f := range []engine.ActionRef[none, int]{one, two} {
					id, err := f.Schedule(tx, 0, none{})
					if err != nil {
						return err
					}
					last = append(last, id)
				}
			}
			return nil
		})
		close(release)
		for _, id := range last {
			d.await(t, db, id)
		}
		mu.Lock()
		at := len(order) - 1 - slices.Index(reversed(order), "two")
		floods := 0
		for _, o := range order[:at] {
			if o == "flood" {
				floods++
			}
		}
		mu.Unlock()
		if floods > 15 {
			t.Errorf("%d jobs of the flood were run before ten of each other function", floods)
		}
	})
}

// Jobs that do not end leave a slot for those of other functions.
func TestJobsThatDoNotEndLeaveRoom(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	d := &desk{schema: s}
	type none struct{}
	hold := make(chan struct{})
	stuck := engine.Action(s, "a:stuck", func(*engine.ActionCtx, none) (int, error) { <-hold; return 0, nil })
	other := engine.Action(s, "b:other", func(*engine.ActionCtx, none) (int, error) { return 0, nil })
	db := enginetest.Open(t, s, func(o *engine.Options) { o.Jobs.Actions = 4 })
	var ends []engine.JobID
	update(t, db, func(tx *engine.Tx) error {
		ends = nil
		for range 20 {
			id, err := stuck.Schedule(tx, 0, none{})
			if err != nil {
				return err
			}
			ends = append(ends, id)
		}
		return nil
	})
	id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return other.Schedule(tx, 0, none{}) })
	if j := d.await(t, db, id); j.State != engine.JobSucceeded {
		t.Errorf("%+v", j)
	}
	view(t, db, func(r *engine.ReadTx) error {
		n, err := engine.JobsByState(s).Eq(r, engine.JobRunning).Count()
		if n > 3 {
			t.Errorf("%d jobs of one function run at the same time, want 3 of 4 slots", n)
		}
		return err
	})
	close(hold)
	for _, id := range ends {
		d.await(t, db, id)
	}
}

func reversed(s []string) []string {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}
