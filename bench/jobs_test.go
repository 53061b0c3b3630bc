package bench_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

type jobArgs struct {
	N int `json:"n"`
}

// jobber is a database with a mutation and an action to schedule.
type jobber struct {
	db       *engine.DB
	notes    *engine.Collection[note]
	mutation engine.MutationRef[jobArgs, int]
	action   engine.ActionRef[jobArgs, int]
	done     chan struct{} // something was committed
}

func newJobber(b testing.TB) *jobber {
	b.Helper()
	s := engine.NewSchema()
	j := &jobber{notes: engine.Define[note](s, "notes"), done: make(chan struct{}, 1)}
	j.mutation = engine.Mutation(s, "jobs:write", func(tx *engine.Tx, a jobArgs) (int, error) {
		_, err := j.notes.Insert(tx, note{Room: "r", Text: fmt.Sprint(a.N)})
		return a.N, err
	})
	j.action = engine.Action(s, "jobs:call", func(_ *engine.ActionCtx, a jobArgs) (int, error) { return a.N, nil })
	var err error
	if j.db, err = engine.Open(s, engine.Options{Dir: b.TempDir()}); err != nil {
		b.Fatal(err)
	}
	stop := j.db.OnPublish(func(engine.Timestamp) {
		select {
		case j.done <- struct{}{}:
		default:
		}
	})
	b.Cleanup(func() {
		stop()
		if err := j.db.Close(); err != nil {
			b.Error(err)
		}
	})
	return j
}

// schedule schedules n jobs, many in one transaction.
func (j *jobber) schedule(b testing.TB, n int, after time.Duration, one func(engine.Scheduler, time.Duration, jobArgs) (engine.JobID, error)) {
	b.Helper()
	const batch = 500
	for from := 0; from < n; from += batch {
		err := j.db.Update(context.Background(), func(tx *engine.Tx) error {
			for i := from; i < min(n, from+batch); i++ {
				if _, err := one(tx, after, jobArgs{i}); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, engine.ErrBusy) {
			from -= batch
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// wait waits until so many jobs have ended in all.
func (j *jobber) wait(n int64) {
	for j.ended() < n {
		select {
		case <-j.done:
		case <-time.After(time.Millisecond): // the last commit is counted after it is published
		}
	}
}

// through waits until a job has ended.
func (j *jobber) through(b testing.TB, id engine.JobID) {
	b.Helper()
	for ended := false; !ended; {
		err := j.db.View(context.Background(), func(r *engine.ReadTx) error {
			d, err := engine.Jobs(j.db.Schema()).Get(r, id)
			ended = err == nil && !d.Value.Finished.IsZero()
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		if !ended {
			<-j.done
		}
	}
}

func (j *jobber) ended() int64 {
	m := j.db.Metrics().Jobs
	return int64(m.Succeeded + m.Failed)
}

// BenchmarkJobs measures jobs that are all due at once, from the first that is scheduled to the last that has ended.
func BenchmarkJobs(b *testing.B) {
	for name, one := range map[string]func(*jobber) func(engine.Scheduler, time.Duration, jobArgs) (engine.JobID, error){
		"mutations": func(j *jobber) func(engine.Scheduler, time.Duration, jobArgs) (engine.JobID, error) {
			return j.mutation.Schedule
		},
		"actions": func(j *jobber) func(engine.Scheduler, time.Duration, jobArgs) (engine.JobID, error) {
			return j.action.Schedule
		},
	} {
		b.Run(name, func(b *testing.B) {
			j := newJobber(b)
			b.ResetTimer()
			j.schedule(b, b.N, 0, one(j))
			j.wait(int64(b.N))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}

// BenchmarkScheduling measures what one job costs who schedules it, and how long it takes to have run, while others wait for
// their time.
func BenchmarkScheduling(b *testing.B) {
	for _, pending := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			j := newJobber(b)
			j.schedule(b, pending, 24*time.Hour, j.mutation.Schedule)
			b.ResetTimer()
			var scheduled, through time.Duration
			for i := range b.N {
				began := time.Now()
				var id engine.JobID
				err := j.db.Update(context.Background(), func(tx *engine.Tx) (err error) {
					id, err = j.mutation.Schedule(tx, 0, jobArgs{i})
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
				scheduled += time.Since(began)
				j.through(b, id)
				through += time.Since(began)
			}
			b.ReportMetric(float64(scheduled.Microseconds())/float64(b.N), "µs/scheduled")
			b.ReportMetric(float64(through.Microseconds())/float64(b.N), "µs/through")
		})
	}
}
