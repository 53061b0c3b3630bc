package engine_test

import (
	"context"
	"fmt"
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

func TestJobsWaitForTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		db := enginetest.Open(t, d.schema)
		start := time.Now()
		schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) {
			return d.write.ScheduleAt(tx, start.Add(72*time.Hour), noteArgs{"third"})
		})
		schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, time.Hour, noteArgs{"second"}) })
		first := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) {
			return d.write.Schedule(tx, 1500*time.Millisecond, noteArgs{"first"})
		})
		for _, step := range []struct {
			at   time.Duration
			want string
		}{{time.Second, "[]"}, {1501 * time.Millisecond, "[first]"}, {59 * time.Minute, "[first]"}, {time.Hour + time.Second, "[first second]"}, {71 * time.Hour, "[first second]"}, {73 * time.Hour, "[first second third]"}} {
			time.Sleep(step.at - time.Since(start))
			synctest.Wait()
			if got := fmt.Sprint(d.texts(t, db)); got != step.want {
				t.Errorf("after %v: %s, want %s", step.at, got, step.want)
			}
		}
		if j := d.job(t, db, first); j.Started.Sub(start) != 1500*time.Millisecond {
			t.Errorf("begun after %v", j.Started.Sub(start))
		}
	})
}

// A clock that is moved neither loses jobs nor runs them early.
func TestJobsAndAClockThatIsMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		var shift atomic.Int64
		db := enginetest.Open(t, d.schema, func(o *engine.Options) {
			o.Clock = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
		})
		pass := func() { time.Sleep(30 * time.Second); synctest.Wait() }
		expect := func(when, want string) {
			t.Helper()
			got := d.texts(t, db)
			slices.Sort(got)
			if fmt.Sprint(got) != want {
				t.Errorf("%s: %v, want %s", when, got, want)
			}
		}
		in := func(after time.Duration, text string) {
			t.Helper()
			schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, after, noteArgs{text}) })
		}
		in(time.Hour, "a")
		pass()
		expect("before", "[]")
		shift.Store(int64(2 * time.Hour))
		pass()
		expect("put forward", "[a]")
		in(time.Hour, "b")
		shift.Store(0) // back by two hours: what is scheduled now is due before what has been done
		in(time.Minute, "c")
		in(0, "d")
		pass()
		expect("put back", "[a d]")
		pass()
		pass()
		expect("put back, and a minute later", "[a c d]")
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		expect("in the end", "[a b c d]")
	})
}

func TestOldJobsAreRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		db := enginetest.Open(t, d.schema)
		count := func() (n int) {
			t.Helper()
			view(t, db, func(r *engine.ReadTx) (err error) {
				n, err = engine.Jobs(d.schema).All(r).Count()
				return err
			})
			return n
		}
		far := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 30*day, noteArgs{"far"}) })
		gone := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 300*day, noteArgs{"cancelled"}) })
		update(t, db, func(tx *engine.Tx) error {
			_, err := engine.CancelJob(tx, gone)
			return err
		})
		for range 3 { // more than one batch in all
			update(t, db, func(tx *engine.Tx) error {
				for range 100 {
					if _, err := d.write.Schedule(tx, 0, noteArgs{"x"}); err != nil {
						return err
					}
					if _, err := d.refuse.Schedule(tx, 0, noteArgs{"x"}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		time.Sleep(6 * day)
		schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 0, noteArgs{"late"}) })
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		if n := count(); n != 603 {
			t.Errorf("%d jobs after almost seven days, want 603", n)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := count(); n != 2 {
			t.Errorf("%d jobs after seven days, want the one that waits and the late one", n)
		}
		if j := d.job(t, db, far); j.State != engine.JobPending {
			t.Errorf("%+v", j)
		}
	})
}

// A store that refuses for a while is no fault of a job.
func TestJobsOutliveAFullStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		store := &filledStore{Store: memstore.New(memstore.Options{})}
		db := enginetest.Open(t, d.schema, func(o *engine.Options) { o.Store = store })
		schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, time.Second, noteArgs{"a"}) })
		call := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, time.Second, noteArgs{"b"}) })
		failing := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.refuse.Schedule(tx, time.Second, noteArgs{"c"}) })
		store.full.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if d.called.Load() != 0 {
			t.Errorf("an action ran that could not be marked as running")
		}
		if got := d.texts(t, db); len(got) > 0 {
			t.Errorf("notes: %v", got)
		}
		store.full.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := d.texts(t, db); fmt.Sprint(got) != "[a]" {
			t.Errorf("notes: %v", got)
		}
		if j := d.job(t, db, call); j.State != engine.JobSucceeded || d.called.Load() != 1 {
			t.Errorf("action, run %d times: %+v", d.called.Load(), j)
		}
		if j := d.job(t, db, failing); j.State != engine.JobFailed || j.Error.Code != "mine" {
			t.Errorf("%+v", j)
		}
	})
}

// How an action went is stored even where the store was full when it ended.
func TestTheEndOfAnActionOutlivesAFullStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		store := &filledStore{Store: memstore.New(memstore.Options{})}
		d.doCall = func(*engine.ActionCtx, string) error { store.full.Store(true); return nil }
		db := enginetest.Open(t, d.schema, func(o *engine.Options) { o.Store = store })
		id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{"b"}) })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if j := d.job(t, db, id); j.State != engine.JobRunning {
			t.Errorf("with a full store: %+v", j)
		}
		store.full.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if j := d.job(t, db, id); j.State != engine.JobSucceeded || d.called.Load() != 1 {
			t.Errorf("action, run %d times: %+v", d.called.Load(), j)
		}
	})
}

// filledStore is a store that refuses commits while it is full.
type filledStore struct {
	storage.Store
	full atomic.Bool
}

func (f *filledStore) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	if f.full.Load() {
		return 0, storage.ErrFull
	}
	return f.Store.Commit(ctx, id, build)
}
