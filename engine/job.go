package engine

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Job is a call of a mutation or an action that was scheduled, or that a cron has planned: a document of the collection that
// [Jobs] returns, written in the transaction that scheduled it. Functions can read and watch jobs like any document, triggers
// can be registered on them; the database alone writes them.
type Job struct {
	// Function is "module:function", Args its arguments, a JSON object.
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args"`
	// Cron is the name of the cron that planned the job, empty for all others.
	Cron  string   `json:"cron,omitempty"`
	State JobState `json:"state" jsonschema:"enum=pending,enum=running,enum=succeeded,enum=failed,enum=cancelled"`
	// Due is when the job was to run in the first place.
	Due time.Time `json:"due"`
	// At is when a pending job is to run, or to run again; when the last attempt of a running one began; when any other ended.
	At time.Time `json:"at"`
	// Attempts counts the runs of an action, the one that is under way included. That of a mutation is 1 once it has succeeded or
	// failed: its reruns are not attempts.
	Attempts int `json:"attempts"`
	// CancelRequested says that CancelJob came too late for the run that was under way. There is no further one.
	CancelRequested bool `json:"cancelRequested,omitempty"`
	// Started is when the last attempt began, Finished when the job reached its last state.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Result is what the function returned. One of more than 256 KiB is not kept, and ResultOmitted says so.
	Result        json.RawMessage `json:"result,omitempty"`
	ResultOmitted bool            `json:"resultOmitted,omitempty"`
	// Error is how the last attempt failed. It stays on a job that waits for its next attempt.
	Error *JobError `json:"error,omitempty"`
}

// JobID is the id of a job.
type JobID = ID[Job]

// JobState says how far a job has got.
type JobState string

// The states of a job. A mutation goes from pending to one of the last three in the transaction that it runs in; an action is
// running in between, and pending again before another attempt.
const (
	JobPending   JobState = "pending"
	JobRunning   JobState = "running"
	JobSucceeded JobState = "succeeded"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

func (s JobState) finished() bool { return s == JobSucceeded || s == JobFailed || s == JobCancelled }

// JobError is how a job failed, in the form in which a client would see it: what was not meant for clients has code internal
// and the id of a line of the log. Message is cut at 4 KiB, 32 issues of 32 KiB in all are kept, and Data of more than 16 KiB is
// left out.
type JobError struct {
	Code    Code            `json:"code"`
	Message string          `json:"message"`
	Issues  []Issue         `json:"issues,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Error returns the message.
func (e *JobError) Error() string { return e.Message }

const (
	// maxJobArgs and maxJobResult leave room for one another, and for an error, in one document.
	maxJobArgs   = 512 << 10
	maxJobResult = 256 << 10

	// A byte of text may be six in JSON.
	maxJobCode       = 64
	maxJobMessage    = 4 << 10
	maxJobIssues     = 32
	maxJobIssueBytes = 32 << 10 // of all of them
	maxJobData       = 16 << 10
)

// jobError makes of an error what can be stored, whatever its function has put into it: a job that could not be marked as failed
// would be run for ever.
func jobError(e *Error) *JobError {
	j := &JobError{Code: Code(clip(string(e.Code), maxJobCode)), Message: clip(e.Message, maxJobMessage)}
	size := 0
	for _, i := range e.Issues[:min(len(e.Issues), maxJobIssues)] {
		kept := Issue{Path: clip(i.Path, maxJobMessage), Rule: clip(i.Rule, maxJobMessage), Message: clip(i.Message, maxJobMessage)}
		if size += len(kept.Path) + len(kept.Rule) + len(kept.Message); size > maxJobIssueBytes {
			break
		}
		j.Issues = append(j.Issues, kept)
	}
	if e.Data != nil {
		if data, err := json.Marshal(e.Data); err == nil && len(data) <= maxJobData {
			j.Data = data
		}
	}
	return j
}

// clip cuts a text at a rune's boundary, and leaves out of it what is no text.
func clip(s string, most int) string {
	if len(s) > most {
		cut := most
		for cut > 0 && s[cut]&0xc0 == 0x80 {
			cut--
		}
		s = s[:cut]
	}
	return strings.ToValidUTF8(s, "?")
}

// jobTables are the collections that the database keeps for itself in every schema.
type jobTables struct {
	jobs    *Collection[Job]
	byState *Index[Job]
	crons   *Collection[Cron]
	byName  *Index[Cron]
}

func newJobTables(s *Schema) *jobTables {
	t := &jobTables{jobs: defineSystem[Job](s, "_jobs"), crons: defineSystem[Cron](s, "_crons")}
	t.byState = t.jobs.AddIndex("byState", "state", "function", "at")
	t.byName = t.crons.AddUnique("byName", "name")
	return t
}

// Jobs returns the collection of jobs, "_jobs". Finished ones stay for 7 days; of the runs of one cron, the last 200 at most.
// Writing to it is refused with code forbidden: jobs come by Schedule and go by [CancelJob] and with time.
func Jobs(s *Schema) *Collection[Job] { return s.system.jobs }

// JobsByState returns the index of jobs by state, function and Job.At.
func JobsByState(s *Schema) *Index[Job] { return s.system.byState }

// CancelJob takes a job back, in the transaction of tx, and returns the state that it leaves it in. JobCancelled says that the
// job will not run; it is no error to cancel twice. A job that has finished stays as it is: JobSucceeded or JobFailed. JobRunning
// is an action that is under way: nothing can call it back, but no attempt follows it, and Job.CancelRequested says so; a job
// that cancels itself is told the same and goes on. Of a cron, one run is cancelled, and the next one planned.
//
// Errors: ErrNotFound for a job that never was or is more than 7 days old, code invalid for an id of anything else.
func CancelJob(tx *Tx, id JobID) (JobState, error) {
	tables := tx.t.db.schema.system
	d, err := tables.jobs.Get(tx, id)
	if err != nil {
		return "", err
	}
	if self, ok := tx.t.local(runningJob{}).(JobID); ok && self == id {
		return JobRunning, nil
	}
	switch d.Value.State {
	case JobPending:
		return JobCancelled, tx.t.db.endJob(tx, d, JobCancelled, nil, d.Value.Error)
	case JobRunning:
		if d.Value.CancelRequested {
			return JobRunning, nil
		}
		d.Value.CancelRequested = true
		return JobRunning, putSystem(tx, tables.jobs, d)
	}
	return d.Value.State, nil
}

// runningJob is the key of the local that names the job whose transaction it is.
type runningJob struct{}

// insertSystem and putSystem write to a collection that only the database writes.
func insertSystem[T any](tx *Tx, c *Collection[T], v T) (ID[T], error) {
	tx.t.granted = true
	defer func() { tx.t.granted = false }()
	return c.Insert(tx, v)
}

func putSystem[T any](tx *Tx, c *Collection[T], d *Doc[T]) error {
	tx.t.granted = true
	defer func() { tx.t.granted = false }()
	return c.Replace(tx, d.ID, d.Value)
}

func deleteSystem[T any](tx *Tx, c *Collection[T], id ID[T]) error {
	tx.t.granted = true
	defer func() { tx.t.granted = false }()
	err := c.Delete(tx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// putJob stores a job. Where a document cannot hold the result or the error that a function has given, they are left out of it.
func (db *DB) putJob(tx *Tx, d *Doc[Job]) error {
	err := putSystem(tx, db.schema.system.jobs, d)
	j := &d.Value
	if !errors.Is(err, ErrInvalid) || j.Result == nil && j.Error == nil {
		return err
	}
	if j.Result != nil {
		j.Result, j.ResultOmitted = nil, true
	}
	if j.Error != nil {
		j.Error = &JobError{Code: CodeInternal, Message: "an error that cannot be stored"}
	}
	return putSystem(tx, db.schema.system.jobs, d)
}

// endJob stores how a job has ended, and plans the next run of its cron.
func (db *DB) endJob(tx *Tx, d *Doc[Job], state JobState, result []byte, failure *JobError) error {
	now := tx.t.start.UTC()
	j := &d.Value
	j.State, j.At, j.Finished, j.Error = state, now, now, failure
	j.Result, j.ResultOmitted = nil, len(result) > maxJobResult
	if !j.ResultOmitted {
		j.Result = result
	}
	if err := db.putJob(tx, d); err != nil {
		return err
	}
	if j.Cron == "" {
		return nil
	}
	return db.planNext(tx, d)
}
