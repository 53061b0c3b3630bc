package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/robfig/cron/v3"
)

// Cron is what the database knows of a cron: a document of the collection that [Crons] returns. A cron that the program does not
// declare any more is gone when the database has been opened.
type Cron struct {
	Name     string          `json:"name"`
	Spec     string          `json:"spec"`
	Zone     string          `json:"zone"`
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args"`
	// Next is when the next run is due, Job its document. While a run is under way they are that run's.
	Next time.Time `json:"next,omitzero"`
	Job  JobID     `json:"job,omitempty"`
	// Last is when the last run that has ended was due.
	Last time.Time `json:"last,omitzero"`
	// Runs are the jobs that have ended, the oldest first, 200 at most. Those of more than 7 days ago are gone.
	Runs []JobID `json:"runs"`
}

// Crons returns the collection of crons, "_crons". Writing to it is refused with code forbidden.
func Crons(s *Schema) *Collection[Cron] { return s.system.crons }

// keptRuns bounds how many jobs of one cron are kept, so that one that runs every second does not fill the disk.
const keptRuns = 200

// CronOption is a rare choice about one cron.
type CronOption func(*cronEntry)

// InZone has a cron's spec mean the clock of a time zone such as "Europe/Berlin", in place of UTC. A program that names zones
// brings their data along by importing time/tzdata, where its machine may not have them.
func InZone(name string) CronOption { return func(c *cronEntry) { c.zone, c.zoned = name, true } }

// cronEntry is a cron that the program declares.
type cronEntry struct {
	name, spec, zone string
	zoned            bool
	function         *function
	args             []byte
	schedule         cron.Schedule
}

// Cron has the mutation run from time to time, as a job like those of Schedule: exactly once each time, with arguments that are
// fixed here. The spec has five fields, "minute hour day-of-month month day-of-week", with lists, ranges, steps and names
// ("*/15 8-18 * * mon-fri"), or is @hourly, @daily, @weekly, @monthly, @yearly or "@every 90s", which counts from the end of the last
// run. It may begin with "CRON_TZ=Europe/Berlin "; the zone is UTC otherwise.
//
// The next run is planned when one has ended, so that no two runs of a cron overlap, and times that have passed meanwhile are left
// out: after a downtime of whatever length it runs once. Where clocks are put forward, the times that the day does not have are left
// out; where they are put back, those that it has twice come twice.
//
// A name is given once; a cron that is declared again with another spec, function or arguments keeps its name's runs. What is wrong
// with it is reported by Open.
func (m MutationRef[A, R]) Cron(name, spec string, a A, o ...CronOption) {
	addCron(m.f, name, spec, &a, o)
}

// Cron has the action run from time to time, at most once each time or as often as [Retry] says. All else is as with
// MutationRef.Cron.
func (r ActionRef[A, R]) Cron(name, spec string, a A, o ...CronOption) {
	addCron(r.f, name, spec, &a, o)
}

func addCron(f *function, name, spec string, args any, o []CronOption) {
	e := &cronEntry{name: name, spec: spec, zone: "UTC", function: f}
	for _, opt := range o {
		opt(e)
	}
	f.schema.register(func() error {
		if name == "" || len(name) > 64 || strings.ContainsFunc(name, unicode.IsControl) {
			return fmt.Errorf("cron %q: a name has 1 to 64 bytes, and no control characters", name)
		}
		if f.schema.crons[name] != nil {
			return fmt.Errorf("cron %q: declared twice", name)
		}
		if f.args == nil {
			return nil // the function's own problem is recorded already
		}
		var err error
		if e.args, err = f.encodeArgs(args); err != nil {
			return fmt.Errorf("cron %q: %w", name, err)
		}
		if len(e.args) > maxJobArgs {
			return fmt.Errorf("cron %q: %w", name, &LimitError{"ArgumentBytes", maxJobArgs})
		}
		if err := e.parse(); err != nil {
			return fmt.Errorf("cron %q: %w", name, err)
		}
		f.schema.crons[name] = e
		return nil
	})
}

// parse checks what the parser lets pass or stumbles over, and has it do the rest.
func (e *cronEntry) parse() error {
	spec := strings.TrimSpace(e.spec)
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		rest, ok := strings.CutPrefix(spec, prefix)
		if !ok {
			continue
		}
		zone, fields, ok := strings.Cut(rest, " ")
		if !ok {
			return fmt.Errorf("spec %q has nothing but a zone", e.spec)
		}
		if e.zoned {
			return fmt.Errorf("spec %q names a zone, and so does InZone", e.spec)
		}
		spec, e.zone = strings.TrimSpace(fields), zone
		break
	}
	if e.zone == "" || e.zone == "Local" {
		return errors.New("the zone has no name")
	}
	zone, err := time.LoadLocation(e.zone)
	if err != nil {
		return err
	}
	if every, ok := strings.CutPrefix(spec, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil {
			return fmt.Errorf("spec %q: %w", e.spec, err)
		}
		if d < time.Second || d%time.Second != 0 || d > maxDelay {
			return fmt.Errorf("spec %q: it is whole seconds, and at least one", e.spec)
		}
		e.schedule = cron.Every(d)
		return nil
	}
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return fmt.Errorf("spec %q: %w", e.spec, err)
	}
	if s, ok := parsed.(*cron.SpecSchedule); ok {
		s.Location = zone
	}
	if parsed.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() { // a leap year is among the next five
		return fmt.Errorf("spec %q: there is no such day", e.spec)
	}
	e.schedule = parsed
	return nil
}

// next is the first time after one, zero where there is none within five years.
func (e *cronEntry) next(after time.Time) time.Time { return e.schedule.Next(after.UTC()).UTC() }

// prepareCrons brings the stored crons in line with the declared ones. It is one transaction, which writes nothing where nothing
// has changed.
func (db *DB) prepareCrons(ctx context.Context) error {
	_, err := db.transact(ctx, nil, nil, func(t *txn) ([]byte, error) {
		tx, tables := &Tx{t}, db.schema.system
		stored := map[string]*Doc[Cron]{}
		for d, err := range tables.crons.All(tx).Docs() {
			if err != nil {
				return nil, err
			}
			stored[d.Value.Name] = d
			if db.schema.crons[d.Value.Name] == nil {
				if err := db.dropCron(tx, d); err != nil {
					return nil, err
				}
			}
		}
		for name, e := range db.schema.crons {
			if err := db.prepareCron(tx, e, stored[name]); err != nil {
				return nil, fmt.Errorf("engine: cron %q: %w", name, err)
			}
		}
		return nil, nil
	}, steps{})
	return err
}

func (db *DB) dropCron(tx *Tx, d *Doc[Cron]) error {
	tables := db.schema.system
	if err := deleteSystem(tx, tables.crons, d.ID); err != nil || d.Value.Job == "" {
		return err
	}
	job, err := tables.jobs.Get(tx, d.Value.Job)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil || job.Value.State != JobPending {
		return err
	}
	return db.endJob(tx, job, JobCancelled, nil, &JobError{Code: CodeNotFound, Message: "the cron is not declared any more"})
}

// prepareCron plans the first run of a new cron, and anew that of one which has changed. A run that was under way is left to
// end first.
func (db *DB) prepareCron(tx *Tx, e *cronEntry, d *Doc[Cron]) error {
	tables, now := db.schema.system, tx.t.start
	declared := Cron{Name: e.name, Spec: e.spec, Zone: e.zone, Function: e.function.name, Args: e.args, Runs: []JobID{}}
	if d == nil {
		id, err := insertSystem(tx, tables.crons, declared)
		if err != nil {
			return err
		}
		return db.planRun(tx, e, &Doc[Cron]{ID: id, Value: declared}, now)
	}
	same := d.Value.Spec == e.spec && d.Value.Zone == e.zone && d.Value.Function == e.function.name && string(d.Value.Args) == string(e.args)
	d.Value.Spec, d.Value.Zone, d.Value.Function, d.Value.Args = e.spec, e.zone, e.function.name, e.args
	if d.Value.Job != "" {
		job, err := tables.jobs.Get(tx, d.Value.Job)
		switch {
		case errors.Is(err, ErrNotFound): // it is planned below
		case err != nil:
			return err
		case job.Value.State == JobRunning && same:
			return nil
		case job.Value.State == JobRunning:
			return putSystem(tx, tables.crons, d)
		// One that is due later than the time after the next was planned by a clock that has been set back since.
		case job.Value.State == JobPending && same && !job.Value.At.After(e.next(e.next(now))):
			return nil
		case job.Value.State == JobPending:
			if err := deleteSystem(tx, tables.jobs, job.ID); err != nil {
				return err
			}
		}
	}
	return db.planRun(tx, e, d, now)
}

// planRun enqueues the run of a cron that comes first after a time.
func (db *DB) planRun(tx *Tx, e *cronEntry, d *Doc[Cron], after time.Time) (err error) {
	d.Value.Job, d.Value.Next = "", e.next(after)
	if !d.Value.Next.IsZero() {
		d.Value.Job, err = db.enqueue(tx, Job{Function: e.function.name, Args: e.args, Cron: e.name, Due: d.Value.Next})
		if err != nil {
			return err
		}
	}
	return putSystem(tx, db.schema.system.crons, d)
}

// planNext enqueues the next run of a cron, in the transaction in which one has ended.
func (db *DB) planNext(tx *Tx, ended *Doc[Job]) error {
	e, tables := db.schema.crons[ended.Value.Cron], db.schema.system
	if e == nil {
		return nil
	}
	d, err := tables.byName.One(tx, e.name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil || d.Value.Job != ended.ID {
		return err
	}
	d.Value.Last = ended.Value.Due
	d.Value.Runs = append(d.Value.Runs, ended.ID)
	for len(d.Value.Runs) > keptRuns {
		if err := deleteSystem(tx, tables.jobs, d.Value.Runs[0]); err != nil {
			return err
		}
		d.Value.Runs = d.Value.Runs[1:]
	}
	after := tx.t.start
	if after.Before(ended.Value.Due) { // cancelled ahead of its time, or the clock was set back
		after = ended.Value.Due
	}
	return db.planRun(tx, e, d, after)
}
