package password_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

// A class of a hundred that signs up at the same moment, on two cores, with hashes that take a tenth of a second: all get in.
func TestAClassSignsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots, people = 2, 100
		run := password.NewGate(slots, slots*password.WaitersPerSlot, password.Patience)
		errs := make(chan error, people)
		for range people {
			go func() {
				errs <- run(t.Context(), func() error { time.Sleep(100 * time.Millisecond); return nil })
			}()
		}
		for range people {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// Nobody waits for longer than the gate has patience, and what waited is not run afterwards.
func TestWaitingIsBoundedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		run := password.NewGate(1, 1000, 10*time.Second)
		const calls = 10 // of 3 s each: those that begin at 0, 3, 6 and 9 s run
		start := time.Now()
		errs := make(chan error, calls)
		ran := 0
		for range calls {
			go func() {
				errs <- run(t.Context(), func() error { ran++; time.Sleep(3 * time.Second); return nil })
			}()
		}
		busy := 0
		for range calls {
			if err := <-errs; errors.Is(err, &engine.Error{Code: engine.CodeBusy}) {
				busy++
			} else if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); ran != 4 || busy != calls-4 || took != 12*time.Second {
			t.Errorf("%d ran, %d were turned away, in %v", ran, busy, took)
		}
	})
}

// So many wait; whoever comes then is turned away at once.
func TestWaitingIsBoundedInNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots, waiting = 2, 5
		run := password.NewGate(slots, waiting, time.Hour)
		release := make(chan struct{})
		errs := make(chan error, slots+waiting)
		for range slots + waiting {
			go func() { errs <- run(t.Context(), func() error { <-release; return nil }) }()
		}
		synctest.Wait()
		if err := run(t.Context(), func() error { return nil }); !errors.Is(err, &engine.Error{Code: engine.CodeBusy}) {
			t.Errorf("one more: %v", err)
		}
		close(release)
		for range slots + waiting {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if err := run(t.Context(), func() error { return nil }); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		gone, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("gone"))
		if err := run(gone, func() error { t.Error("run for nobody"); return nil }); err == nil || err.Error() != "gone" {
			t.Errorf("a caller who has gone: %v", err)
		}
	})
}
