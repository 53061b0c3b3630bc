package engine_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// A mutation that meets a conflict in every run gets through, since what it reads is kept free for it after some tries. In
// a bubble, where time passes only when nobody can go on, others that are not held back always come in between.
func TestReservation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		db := enginetest.Open(t, c.schema)
		var others sync.WaitGroup
		runs := 0
		err := db.Update(context.Background(), func(tx *engine.Tx) error {
			runs++
			if err := c.increment(tx, "hot"); err != nil {
				return err
			}
			written := make(chan struct{})
			others.Go(func() {
				defer close(written)
				if err := c.add(context.Background(), db, "hot"); err != nil {
					t.Error(err)
				}
			})
			select {
			case <-written:
			case <-time.After(20 * time.Millisecond): // it is held back
			}
			return nil
		})
		others.Wait()
		if err != nil {
			t.Fatalf("after %d runs: %v", runs, err)
		}
		if runs < 2 || runs > 11 {
			t.Errorf("it took %d runs, want some conflicts and then a reservation", runs)
		}
		if n := c.value(t, db, "hot"); n != runs+1 {
			t.Errorf("the counter is %d after %d increments", n, runs+1)
		}
	})
}

// Whoever is held back goes when their context ends, at once, and has written nothing.
func TestHeldBackHeedsItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		db := enginetest.Open(t, c.schema)
		const takes, patience = 300 * time.Millisecond, 10 * time.Millisecond
		errGone := errors.New("the client has gone")
		var others sync.WaitGroup
		var counted, left atomic.Int64
		err := db.Update(context.Background(), func(tx *engine.Tx) error {
			if err := c.increment(tx, "hot"); err != nil {
				return err
			}
			began := time.Now()
			ctx, cancel := context.WithCancelCause(context.Background())
			timer := time.AfterFunc(patience, func() { cancel(errGone) })
			others.Go(func() {
				defer cancel(nil)
				defer timer.Stop()
				err := c.add(ctx, db, "hot")
				if err == nil {
					counted.Add(1)
					return
				}
				left.Add(1)
				if !errors.Is(err, errGone) || errors.Is(err, engine.ErrOutcomeUnknown) {
					t.Errorf("held back until its context ended: %v", err)
				}
				if waited := time.Since(began); waited != patience {
					t.Errorf("it went after %v, want %v", waited, patience)
				}
			})
			time.Sleep(takes)
			return nil
		})
		others.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if n := left.Load(); n != 1 {
			t.Errorf("%d were held back, want 1", n)
		}
		if n, want := c.value(t, db, "hot"), int(counted.Load())+1; n != want {
			t.Errorf("the counter is %d, want %d", n, want)
		}
	})
}

// errStarved is what a mutation gives up with that met conflicts more often than enough.
var errStarved = errors.New("it starves")

const enough = 30

// However slow a function is, and however many fast ones write what it reads, it gets through after a few runs.
func TestNobodyStarves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounters()
		db := enginetest.Open(t, c.schema)
		stop := make(chan struct{})
		var fast, slow sync.WaitGroup
		var counted atomic.Int64
		for i := range 8 {
			fast.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(i+1) * time.Millisecond):
					}
					if err := c.add(context.Background(), db, "hot"); err != nil {
						t.Error(err)
						return
					}
					counted.Add(1)
				}
			})
		}
		for _, takes := range []time.Duration{5 * time.Millisecond, 45 * time.Millisecond, 300 * time.Millisecond, 900 * time.Millisecond} {
			for range 3 {
				slow.Go(func() {
					runs := 0
					err := db.Update(context.Background(), func(tx *engine.Tx) error {
						if runs++; runs > enough {
							return errStarved // which ends the test, where it would go on for ever
						}
						if err := c.increment(tx, "hot"); err != nil {
							return err
						}
						time.Sleep(takes)
						return nil
					})
					if err != nil {
						t.Errorf("one that takes %v ran %d times: %v", takes, runs, err)
						return
					}
					counted.Add(1)
				})
			}
		}
		slow.Wait()
		close(stop)
		fast.Wait()
		if n := c.value(t, db, "hot"); n != int(counted.Load()) {
			t.Errorf("they counted to %d, want %d", n, counted.Load())
		}
	})
}
