package engine_test

import (
	"context"
	"sync"
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
