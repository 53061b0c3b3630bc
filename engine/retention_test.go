package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
)

// Versions are kept for ten seconds when little is written, and for less when much is, but never for less than two.
func TestRetentionFloor(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, c := range []struct {
		name   string
		second uint64 // bytes written in each
		kept   time.Duration
	}{
		{"nothing", 0, 10 * time.Second},
		{"little", mib / 2, 10 * time.Second},
		{"much", 2 * mib, 4 * time.Second},
		{"very much", 100 * mib, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			floor := engine.Retention()
			start := time.Unix(1_800_000_000, 0)
			var got engine.Timestamp
			var now time.Time
			var last engine.Timestamp
			for i := range 60 {
				now = start.Add(time.Duration(i) * time.Second)
				got = floor(now, engine.Timestamp(now.UnixNano()), uint64(i)*c.second)
				if got < last {
					t.Fatalf("second %d: the floor went back from %d to %d", i, last, got)
				}
				last = got
			}
			if kept := time.Duration(now.UnixNano() - int64(got)); kept != c.kept {
				t.Errorf("versions are kept for %v, want %v", kept, c.kept)
			}
		})
	}
	// The head stands still: the floor goes up to it, not further.
	floor := engine.Retention()
	head := engine.Timestamp(1_800_000_000_000_000_000)
	for i := range 60 {
		if got := floor(time.Unix(1_800_000_000+int64(i), 0), head, 1<<40); got > head {
			t.Fatalf("floor %d above the head %d", got, head)
		} else if i == 59 && got != head {
			t.Fatalf("floor %d, want the head %d", got, head)
		}
	}
}

// What a function reads is kept for as long as it may run, and no longer: one that never returns does not keep what others have
// overwritten and deleted.
func TestAbandonedFunctionPinsNothing(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema, func(o *engine.Options) { o.Limits.FunctionTime = 2 * time.Second })
		id := b.open(t, db, "ann", 1)
		release, after := make(chan struct{}), make(chan error, 1)
		at := db.Published()
		put := func() {
			update(t, db, func(tx *engine.Tx) error {
				return b.accounts.Patch(tx, id, func(a *account) error { a.Balance++; return nil })
			})
			must(t, engine.CompactTo(t.Context(), db, db.Published()))
		}
		err := db.View(t.Context(), func(r *engine.ReadTx) error {
			put()
			if err := engine.ReadAt(t.Context(), db, at); err != nil {
				t.Errorf("what a running function reads: %v", err)
			}
			<-release // longer than it may
			_, err := b.accounts.Get(r, id)
			after <- err
			return err
		})
		var limit *engine.LimitError
		if !errors.As(err, &limit) || limit.Limit != "FunctionTime" {
			t.Fatalf("a function that does not return: %v, want its time limit", err)
		}
		put()
		if err := engine.ReadAt(t.Context(), db, at); !errors.Is(err, storage.ErrTooOld) {
			t.Errorf("what the abandoned function has read is kept: %v", err)
		}
		close(release)
		if err := <-after; !errors.Is(err, engine.ErrDead) {
			t.Errorf("an abandoned function reads on: %v, want ErrDead", err)
		}
	})
}
