package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// bucket returns in which bucket the only value of a histogram that was empty before lies, as its upper bound.
func bucket(t *testing.T, before, after engine.Histogram) float64 {
	t.Helper()
	if after.Count-before.Count != 1 {
		t.Fatalf("%d values more, want 1", after.Count-before.Count)
	}
	for i := range after.Bounds {
		if after.Counts[i] != before.Counts[i] {
			return after.Bounds[i]
		}
	}
	return -1
}

// Each number moves by what was done.
func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		triggers.OnCreate(c.tallies, "slow", func(tx *engine.Tx, _ *engine.Doc[tally]) error {
			time.Sleep(20 * time.Millisecond)
			return nil
		})
		engine.Action(c.schema, "tally:act", func(*engine.ActionCtx, struct{}) (int, error) { time.Sleep(2 * time.Second); return 0, nil })
		db, store := openSpied(t, c.schema)
		was := db.Metrics()
		step := func() (before, after engine.Metrics) {
			before, was = was, db.Metrics()
			return before, was
		}

		update(t, db, func(tx *engine.Tx) error { return c.increment(tx, "a") })
		b, a := step()
		if a.Commits-b.Commits != 1 || a.Committed-b.Committed != 1 || a.Rows-b.Rows != 2 || a.Bytes-b.Bytes < 100 || a.Published <= b.Published {
			t.Errorf("a mutation: from %+v to %+v", b, a)
		}
		if n := bucket(t, b.GroupSize, a.GroupSize); n != 1 {
			t.Errorf("its group is of %v", n)
		}
		if n := bucket(t, b.Triggers, a.Triggers); n != 0.025 || a.Triggers.Sum-b.Triggers.Sum != 0.02 {
			t.Errorf("its trigger took %v", n)
		}
		if n := bucket(t, b.Mutations.Time, a.Mutations.Time); n != 0.025 || a.Mutations.Failed != 0 {
			t.Errorf("its function took %v", n)
		}
		if n := bucket(t, b.ReadSet, a.ReadSet); n != 2 { // the new id, and the range of the name
			t.Errorf("it read %v ranges", n)
		}

		if err := db.Update(context.Background(), func(*engine.Tx) error { return errors.New("no") }); err == nil {
			t.Error("no error")
		}
		if b, a := step(); a.Mutations.Failed-b.Mutations.Failed != 1 || a.Commits != b.Commits {
			t.Errorf("a failed mutation: from %+v to %+v", b, a)
		}

		c.value(t, db, "a")
		if b, a := step(); a.Queries.Time.Count-b.Queries.Time.Count != 1 || a.Queries.Failed != 0 || a.Mutations.Time.Count != b.Mutations.Time.Count {
			t.Errorf("a query: from %+v to %+v", b, a)
		}

		if _, err := db.RunAction(context.Background(), engine.Call{Function: "tally:act"}); err != nil {
			t.Error(err)
		}
		b, a = step()
		if n := bucket(t, b.Actions.Time, a.Actions.Time); n != 2.5 {
			t.Errorf("the action took %v", n)
		}

		e, err := db.Evaluate(context.Background(), db.Published(), engine.Call{Function: "tally:get", Args: encode(t, addArgs{Name: "a"})})
		if err != nil {
			t.Fatal(err)
		}
		w := db.Watch(e, func() {})
		if n := db.Metrics().Watches; n != 1 {
			t.Errorf("%d watches, want 1", n)
		}
		w.Stop()
		if n := db.Metrics().Watches; n != 0 {
			t.Errorf("%d watches, want none", n)
		}
		db.Watch(e, func() {})
		update(t, db, func(tx *engine.Tx) error { return c.increment(tx, "a") })
		if n := db.Metrics().Watches; n != 0 {
			t.Errorf("%d watches after it fired, want none", n)
		}

		step()
		end := occupy(t, db, store)
		wait := start(t, db, "x")
		b, a = step()
		if a.Queued != 1 || a.Running != 2 || a.PendingBytes == 0 || a.Commits != b.Commits {
			t.Errorf("behind a commit: %+v", a)
		}
		time.Sleep(3 * time.Second)
		store.open()
		end()
		if _, err := wait(); err != nil {
			t.Error(err)
		}
		b, a = step()
		if took := a.CommitTime.Sum - b.CommitTime.Sum; a.Commits-b.Commits != 2 || took < 3 || took > 3.1 || a.Queued != 0 || a.PendingBytes != 0 {
			t.Errorf("two commits took %v: %+v", took, a)
		}
	})
}

func TestMetricsOfConflicts(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Limits.Attempts = 10 })
	runs := 0
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		runs++
		if m := db.Metrics(); m.Transactions != 1 {
			t.Errorf("%d transactions run, want 1", m.Transactions)
		}
		if _, err := c.byName.One(tx, "hot"); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
		if runs <= 9 {
			if err := c.add(context.Background(), db, "hot"); err != nil {
				return err
			}
		}
		return c.increment(tx, "mine")
	})
	if err != nil {
		t.Fatal(err)
	}
	m := db.Metrics()
	if m.Conflicts != 9 || m.Retries != 9 || m.Reservations != 1 || m.Busy != 0 || m.Transactions != 0 {
		t.Errorf("after %d runs: %d conflicts, %d retries, %d reservations, %d busy, %d running", runs, m.Conflicts, m.Retries, m.Reservations, m.Busy, m.Transactions)
	}
}

func TestMetricsOfAbandoned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Limits.FunctionTime = time.Second })
		release := make(chan struct{})
		if err := db.View(context.Background(), func(*engine.ReadTx) error { <-release; return nil }); err == nil {
			t.Error("no error")
		}
		if m := db.Metrics(); m.Abandoned != 1 || m.Transactions != 1 || m.Queries.Failed != 1 {
			t.Errorf("%d abandoned, %d running, %d failed", m.Abandoned, m.Transactions, m.Queries.Failed)
		}
		close(release)
		synctest.Wait()
		if m := db.Metrics(); m.Abandoned != 0 || m.Transactions != 0 {
			t.Errorf("%d abandoned, %d running", m.Abandoned, m.Transactions)
		}
	})
}
