package engine_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// What is due is looked for above a mark that follows the work that is done; no job is ever below it, whatever the clock does.
func TestTheLowWaterMarkOfJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &kept{Store: memstore.New(memstore.Options{})}
		var shift atomic.Int64
		var d *desk
		var db *engine.DB
		open := func() {
			d = newDesk()
			var err error
			db, err = engine.Open(d.schema, engine.Options{
				Store: store, Clock: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) },
			})
			must(t, err)
		}
		reopen := func() {
			must(t, db.Close())
			open()
			synctest.Wait()
		}
		mark := func() time.Time {
			t.Helper()
			m, err := engine.JobMark(db, "notes:write")
			must(t, err)
			return m
		}
		done := func(want int) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if n := len(d.texts(t, db)); n != want {
				t.Fatalf("%d jobs were run, want %d", n, want)
			}
		}
		many := func(n int) {
			update(t, db, func(tx *engine.Tx) error {
				for i := range n {
					if _, err := d.write.Schedule(tx, 0, noteArgs{fmt.Sprint(i)}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		open()
		defer func() { must(t, db.Close()) }()
		waits := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) {
			return d.write.Schedule(tx, 48*time.Hour, noteArgs{"waits"})
		})
		if m := mark(); !m.IsZero() {
			t.Errorf("a mark at %v before anything was done", m)
		}
		many(2000)
		done(2000)
		high := mark()
		if high.IsZero() || high.After(d.job(t, db, waits).At) {
			t.Errorf("after 2,000 jobs the mark is at %v; want above them, and not above the job that waits", high)
		}
		reopen()
		many(1)
		done(2001)

		// What is scheduled when the clock has been put back is below the mark, and found, at once and after a restart.
		shift.Store(int64(-24 * time.Hour))
		many(1)
		if m := mark(); !m.Before(high) {
			t.Errorf("the mark stays at %v above a job that is due before", m)
		}
		done(2002)
		schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, time.Hour, noteArgs{"below"}) })
		reopen()
		time.Sleep(2 * time.Hour)
		done(2003)
		shift.Store(0)
		time.Sleep(48 * time.Hour)
		done(2004)
	})
}

// The mark stops at the first job that is pending, also where it is overdue.
func TestTheMarkOfJobsStopsAtWhatIsPending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &kept{Store: memstore.New(memstore.Options{})}
		d := newDesk()
		db, err := engine.Open(d.schema, engine.Options{Store: store, Jobs: engine.JobOptions{Off: true}})
		must(t, err)
		gone := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 0, noteArgs{"cancelled"}) })
		time.Sleep(time.Second)
		first := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 0, noteArgs{"a"}) })
		time.Sleep(time.Second)
		schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 0, noteArgs{"b"}) })
		update(t, db, func(tx *engine.Tx) error {
			_, err := engine.CancelJob(tx, gone)
			return err
		})
		time.Sleep(time.Hour)
		must(t, engine.RaiseJobMark(db, "notes:write"))
		if m, err := engine.JobMark(db, "notes:write"); err != nil || !m.Equal(d.job(t, db, first).At) {
			t.Errorf("the mark is at %v, %v; want the first job, at %v", m, err, d.job(t, db, first).At)
		}
		must(t, db.Close())
		d = newDesk()
		db, err = engine.Open(d.schema, engine.Options{Store: store})
		must(t, err)
		synctest.Wait()
		if got := d.texts(t, db); len(got) != 2 {
			t.Errorf("notes: %v", got)
		}
		must(t, db.Close())
	})
}
