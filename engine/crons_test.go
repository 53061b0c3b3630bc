package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// runsOf returns when the jobs of a cron were due, in order of their end; one that is pending comes last.
func (d *desk) runsOf(t testing.TB, db *engine.DB, name string) (dues []time.Time) {
	t.Helper()
	view(t, db, func(r *engine.ReadTx) error {
		for j, err := range engine.Jobs(d.schema).All(r).Docs() {
			if err != nil {
				return err
			}
			if j.Value.Cron == name {
				dues = append(dues, j.Value.Due)
			}
		}
		return nil
	})
	return dues
}

func (d *desk) cron(t testing.TB, db *engine.DB, name string) (c engine.Cron, ok bool) {
	t.Helper()
	view(t, db, func(r *engine.ReadTx) error {
		for doc, err := range engine.Crons(d.schema).All(r).Docs() {
			if err != nil {
				return err
			}
			if doc.Value.Name == name {
				c, ok = doc.Value, true
			}
		}
		return nil
	})
	return c, ok
}

func TestACronRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.write.Cron("quarter", "*/15 * * * *", noteArgs{"q"})
		d.call.Cron("often", "@every 90s", noteArgs{"o"})
		db := enginetest.Open(t, d.schema) // at midnight, as every bubble begins
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if n := len(d.texts(t, db)); n != 4 {
			t.Errorf("the mutation ran %d times in an hour, want 4", n)
		}
		if n := d.called.Load(); n != 40 {
			t.Errorf("the action ran %d times in an hour, want 40", n)
		}
		c, _ := d.cron(t, db, "quarter")
		if c.Spec != "*/15 * * * *" || c.Zone != "UTC" || c.Function != "notes:write" || string(c.Args) != `{"text":"q"}` ||
			c.Last.Minute() != 0 || c.Last.Hour() != 1 || c.Next.Sub(c.Last) != 15*time.Minute || len(c.Runs) != 4 {
			t.Errorf("%+v", c)
		}
		if j := d.job(t, db, c.Job); j.State != engine.JobPending || j.Cron != "quarter" || !j.Due.Equal(c.Next) {
			t.Errorf("the next run: %+v", j)
		}
		if j := d.job(t, db, c.Runs[0]); j.State != engine.JobSucceeded || string(j.Result) != `"wrote q"` {
			t.Errorf("the first run: %+v", j)
		}
	})
}

// A failure is no reason to stop, and a run that takes long is not overtaken by the next one.
func TestCronsThatFailOrTakeLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		var at []time.Duration
		start := time.Now()
		var running atomic.Int32
		d.doCall = func(c *engine.ActionCtx, _ string) error {
			if running.Add(1) != 1 {
				t.Error("two runs of one cron at the same time")
			}
			at = append(at, time.Since(start))
			defer running.Add(-1)
			select {
			case <-time.After(150 * time.Second):
			case <-c.Context().Done():
			}
			return nil
		}
		d.refuse.Cron("refused", "* * * * *", noteArgs{"x"})
		d.call.Cron("long", "* * * * *", noteArgs{"x"})
		db := enginetest.Open(t, d.schema)
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		c, _ := d.cron(t, db, "refused")
		if len(c.Runs) != 9 {
			t.Errorf("the failing cron ran %d times, want 9", len(c.Runs))
		}
		if j := d.job(t, db, c.Runs[8]); j.State != engine.JobFailed || j.Error.Code != "mine" {
			t.Errorf("%+v", j)
		}
		if fmt.Sprint(at) != "[1m0s 4m0s 7m0s]" {
			t.Errorf("the long cron ran at %v", at)
		}
	})
}

func TestCancellingTheRunOfACron(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.write.Cron("hourly", "@hourly", noteArgs{"h"})
		db := enginetest.Open(t, d.schema)
		c, _ := d.cron(t, db, "hourly")
		update(t, db, func(tx *engine.Tx) error {
			_, err := engine.CancelJob(tx, c.Job)
			return err
		})
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		if got := d.texts(t, db); len(got) != 0 {
			t.Errorf("the cancelled run took place: %v", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := d.texts(t, db); len(got) != 1 {
			t.Errorf("%d runs after two and a half hours, want 1", len(got))
		}
	})
}

func TestOfACronsRunsSomeAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.write.Cron("minutely", "* * * * *", noteArgs{"m"})
		db := enginetest.Open(t, d.schema)
		time.Sleep(250*time.Minute + time.Second)
		synctest.Wait()
		if n := len(d.runsOf(t, db, "minutely")); n != 201 {
			t.Errorf("%d jobs are left of 250 runs, want the last 200 and the next one", n)
		}
		if n := len(d.texts(t, db)); n != 250 {
			t.Errorf("%d runs", n)
		}
	})
}

// After a downtime a cron runs once, and not once for each time that was missed; so does a job.
func TestCronsAndJobsAfterADowntime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &kept{Store: memstore.New(memstore.Options{})}
		open := func(declare func(*desk)) (*desk, *engine.DB) {
			d := newDesk()
			declare(d)
			db, err := engine.Open(d.schema, engine.Options{Store: store})
			must(t, err)
			return d, db
		}
		hourly := func(d *desk) { d.write.Cron("hourly", "@hourly", noteArgs{"h"}) }
		d, db := open(hourly)
		schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 3*time.Hour, noteArgs{"job"}) })
		time.Sleep(90 * time.Minute)
		must(t, db.Close())
		time.Sleep(5*time.Hour + 15*time.Minute) // it is 6:45
		d, db = open(hourly)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := fmt.Sprint(d.texts(t, db)); got != "[h h job]" && got != "[h job h]" {
			t.Errorf("after a downtime: %s, want one run of the job, and one of the cron beside that at 1:00", got)
		}
		if c, _ := d.cron(t, db, "hourly"); c.Next.Hour() != 7 {
			t.Errorf("the next run is at %v", c.Next)
		}
		must(t, db.Close())

		// Declared with another spec and function, which holds from now on.
		d, db = open(func(d *desk) { d.call.Cron("hourly", "30 * * * *", noteArgs{"c"}) })
		c, _ := d.cron(t, db, "hourly")
		if c.Next.Format("15:04") != "07:30" || c.Function != "desk:call" || len(c.Runs) != 2 {
			t.Errorf("declared anew: %+v", c)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n, notes := d.called.Load(), len(d.texts(t, db)); n != 1 || notes != 3 {
			t.Errorf("declared anew: %d runs of the new function, %d notes of the old one", n, notes)
		}
		must(t, db.Close())

		// Opened again without a change, nothing is written.
		before, err := store.Head(t.Context())
		must(t, err)
		d, db = open(func(d *desk) { d.call.Cron("hourly", "30 * * * *", noteArgs{"c"}) })
		if db.Published() != before {
			t.Error("crons that have not changed were written")
		}
		must(t, db.Close())

		// Not declared any more.
		d, db = open(func(*desk) {})
		if _, ok := d.cron(t, db, "hourly"); ok {
			t.Error("a cron that is not declared any more is still there")
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := d.called.Load(); n != 0 {
			t.Errorf("it ran %d times", n)
		}
		must(t, db.Check(t.Context()))
		must(t, db.Close())
	})
}

// A run that was planned by a clock that has been set back since does not keep its cron waiting.
func TestACronAndAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &kept{Store: memstore.New(memstore.Options{})}
		open := func(shift time.Duration) (*desk, *engine.DB) {
			d := newDesk()
			d.write.Cron("hourly", "@hourly", noteArgs{"h"})
			db, err := engine.Open(d.schema, engine.Options{Store: store, Clock: func() time.Time { return time.Now().Add(shift) }})
			must(t, err)
			return d, db
		}
		_, db := open(1000 * day)
		must(t, db.Close())
		d, db := open(0)
		defer db.Close()
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		if n := len(d.texts(t, db)); n != 2 {
			t.Errorf("%d runs in two hours", n)
		}
	})
}

func TestCronsInZones(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, spec, zone string
		from             string // UTC
		want             string // the next runs, UTC
	}{
		{"utc", "0 3 * * *", "", "2025-01-01T00:00:00Z", "[01-01 03:00 01-02 03:00 01-03 03:00]"},
		{"by option", "0 3 * * *", "Europe/Berlin", "2025-01-01T00:00:00Z", "[01-01 02:00 01-02 02:00 01-03 02:00]"},
		{"by prefix", "CRON_TZ=America/New_York 0 3 * * *", "", "2025-01-01T00:00:00Z", "[01-01 08:00 01-02 08:00 01-03 08:00]"},
		{"descriptor in a zone", "@daily", "Asia/Kolkata", "2025-01-01T00:00:00Z", "[01-01 18:30 01-02 18:30 01-03 18:30]"},
		// On 30 March 2025 clocks in Berlin went from 2:00 to 3:00, on 26 October from 3:00 to 2:00.
		{"over the spring change", "30 12 * * *", "Europe/Berlin", "2025-03-29T00:00:00Z", "[03-29 11:30 03-30 10:30 03-31 10:30]"},
		{"a time that is left out", "30 2 * * *", "Europe/Berlin", "2025-03-29T00:00:00Z", "[03-29 01:30 03-31 00:30 04-01 00:30]"},
		{"a time that comes twice", "30 2 * * *", "Europe/Berlin", "2025-10-25T00:00:00Z", "[10-25 00:30 10-26 00:30 10-26 01:30]"},
		{"hourly over the autumn change", "@hourly", "Europe/Berlin", "2025-10-25T23:30:00Z", "[10-26 00:00 10-26 01:00 10-26 02:00]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				from, err := time.Parse(time.RFC3339, c.from)
				must(t, err)
				time.Sleep(time.Until(from))
				d := newDesk()
				var o []engine.CronOption
				if c.zone != "" {
					o = append(o, engine.InZone(c.zone))
				}
				d.write.Cron("c", c.spec, noteArgs{"x"}, o...)
				db := enginetest.Open(t, d.schema)
				time.Sleep(4 * day)
				synctest.Wait()
				var got []string
				for _, due := range d.runsOf(t, db, "c")[:3] {
					got = append(got, due.Format("01-02 15:04"))
				}
				if fmt.Sprint(got) != c.want {
					t.Errorf("due at %v, want %s", got, c.want)
				}
			})
		})
	}
}

func TestWrongCronsAreErrorsOfOpen(t *testing.T) {
	t.Parallel()
	for name, declare := range map[string]func(*desk){
		"five fields":    func(d *desk) { d.write.Cron("c", "* * * *", noteArgs{}) },
		"seconds":        func(d *desk) { d.write.Cron("c", "0 * * * * *", noteArgs{}) },
		"out of range":   func(d *desk) { d.write.Cron("c", "61 * * * *", noteArgs{}) },
		"empty":          func(d *desk) { d.write.Cron("c", "", noteArgs{}) },
		"no such day":    func(d *desk) { d.write.Cron("c", "0 0 31 2 *", noteArgs{}) },
		"unknown zone":   func(d *desk) { d.write.Cron("c", "@hourly", noteArgs{}, engine.InZone("Europe/Atlantis")) },
		"unknown prefix": func(d *desk) { d.write.Cron("c", "CRON_TZ=Europe/Atlantis @hourly", noteArgs{}) },
		"empty zone":     func(d *desk) { d.write.Cron("c", "@hourly", noteArgs{}, engine.InZone("")) },
		"zone alone":     func(d *desk) { d.write.Cron("c", "CRON_TZ=UTC", noteArgs{}) },
		"two zones":      func(d *desk) { d.write.Cron("c", "CRON_TZ=UTC @hourly", noteArgs{}, engine.InZone("UTC")) },
		"unknown word":   func(d *desk) { d.write.Cron("c", "@fortnightly", noteArgs{}) },
		"every nothing":  func(d *desk) { d.write.Cron("c", "@every 0s", noteArgs{}) },
		"every less":     func(d *desk) { d.write.Cron("c", "@every -5s", noteArgs{}) },
		"every half":     func(d *desk) { d.write.Cron("c", "@every 1500ms", noteArgs{}) },
		"every what":     func(d *desk) { d.write.Cron("c", "@every now", noteArgs{}) },
		"no name":        func(d *desk) { d.write.Cron("", "@hourly", noteArgs{}) },
		"twice":          func(d *desk) { d.write.Cron("c", "@hourly", noteArgs{}); d.call.Cron("c", "@daily", noteArgs{}) },
		"arguments":      func(d *desk) { d.write.Cron("c", "@hourly", noteArgs{strings.Repeat("x", 101)}) },
		"retry of mutation": func(d *desk) {
			engine.Mutation(d.schema, "a:b", func(*engine.Tx, noteArgs) (int, error) { return 0, nil }, engine.Retry(engine.RetryPolicy{}))
		},
		"negative retry": func(d *desk) {
			engine.Action(d.schema, "a:b", func(*engine.ActionCtx, noteArgs) (int, error) { return 0, nil }, engine.Retry(engine.RetryPolicy{Max: -1}))
		},
	} {
		d := newDesk()
		declare(d)
		db, err := engine.Open(d.schema, engine.Options{Store: memstore.New(memstore.Options{})})
		if err == nil {
			t.Errorf("%s: no error", name)
			must(t, db.Close())
			continue
		}
		if !strings.Contains(err.Error(), "crons_test.go:") {
			t.Errorf("%s: the error does not say where: %v", name, err)
		}
	}
}

// A program that only looks runs nothing, plans nothing and removes nothing.
func TestJobsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.write.Cron("hourly", "@hourly", noteArgs{"h"})
		db := enginetest.Open(t, d.schema, func(o *engine.Options) { o.Jobs.Off = true })
		id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 0, noteArgs{"x"}) })
		time.Sleep(10 * day)
		synctest.Wait()
		if j := d.job(t, db, id); j.State != engine.JobPending || len(d.runsOf(t, db, "hourly")) > 0 {
			t.Errorf("%+v", j)
		}
		err := db.Update(context.Background(), func(tx *engine.Tx) error {
			_, err := engine.CancelJob(tx, id)
			return err
		})
		if err != nil || errors.Is(err, engine.ErrClosed) {
			t.Error(err)
		}
	})
}
