package engine_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// slowScans is a store of which the next scan of an index, once it is armed, waits after its snapshot was taken.
type slowScans struct {
	storage.Store
	armed   atomic.Bool
	arrived chan struct{}
	pass    chan struct{}
}

func (s *slowScans) At(ctx context.Context, at storage.Timestamp) (storage.Snapshot, error) {
	snap, err := s.Store.At(ctx, at)
	return slowSnapshot{snap, s}, err
}

type slowSnapshot struct {
	storage.Snapshot
	store *slowScans
}

func (s slowSnapshot) Scan(lo, hi []byte, reverse bool, limit int) iter.Seq2[storage.KV, error] {
	if len(lo) > 0 && lo[0] == 'i' && s.store.armed.CompareAndSwap(true, false) {
		s.store.arrived <- struct{}{}
		<-s.store.pass
	}
	return s.Snapshot.Scan(lo, hi, reverse, limit)
}

// A job that is committed while the scheduler reads what is due, on a snapshot from before it, is run when it is due.
func TestJobsThatComeWhileDueOnesAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ first, then time.Duration }{{0, 0}, {time.Second, 0}, {0, time.Minute}, {time.Second, time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			store := &slowScans{Store: memstore.New(memstore.Options{}), arrived: make(chan struct{}, 1), pass: make(chan struct{})}
			d := newDesk()
			db := enginetest.Open(t, d.schema, func(o *engine.Options) { o.Store = store })
			add := func(after time.Duration, text string) {
				t.Helper()
				schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, after, noteArgs{text}) })
			}
			synctest.Wait()
			if c.first > 0 { // the scheduler knows of it, and looks again when it is due
				add(c.first, "first")
				synctest.Wait()
				store.armed.Store(true)
			} else {
				store.armed.Store(true)
				add(c.first, "first")
			}
			<-store.arrived
			add(c.then, "then")
			synctest.Wait()
			close(store.pass)
			time.Sleep(time.Millisecond)
			synctest.Wait()
			want := []string{"first", "then"}
			if c.then > 0 {
				want = want[:1]
			}
			if got := d.texts(t, db); !slices.Equal(sorted(got), want) {
				t.Errorf("%+v: %q, want %q", c, got, want)
			}
			time.Sleep(c.then)
			synctest.Wait()
			if got := fmt.Sprint(sorted(d.texts(t, db))); got != "[first then]" {
				t.Errorf("%+v, in the end: %s", c, got)
			}
		})
	}
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}
