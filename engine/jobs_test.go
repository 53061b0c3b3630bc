package engine_test

import (
	"context"
	"encoding/json"
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
	"github.com/mimosadb/mimosa/triggers"
)

type note struct {
	Text string `json:"text" jsonschema:"maxLength=100"`
}

type noteArgs struct {
	Text string `json:"text" jsonschema:"maxLength=100"`
}

// desk is a schema with things to schedule.
type desk struct {
	schema *engine.Schema
	notes  *engine.Collection[note]
	write  engine.MutationRef[noteArgs, string]
	refuse engine.MutationRef[noteArgs, string]
	call   engine.ActionRef[noteArgs, string]

	called atomic.Int64                          // how often call was begun
	doCall func(*engine.ActionCtx, string) error // what it does, beside; may be nil
}

func newDesk(o ...engine.Option) *desk {
	s := engine.NewSchema()
	d := &desk{schema: s, notes: engine.Define[note](s, "notes")}
	d.write = engine.Mutation(s, "notes:write", func(tx *engine.Tx, a noteArgs) (string, error) {
		if id, err := tx.Identity(); id != nil || err != nil {
			return "", fmt.Errorf("a job ran as %v, %v", id, err)
		}
		_, err := d.notes.Insert(tx, note(a))
		return "wrote " + a.Text, err
	}, engine.Internal())
	d.refuse = engine.Mutation(s, "notes:refuse", func(tx *engine.Tx, a noteArgs) (string, error) {
		if _, err := d.notes.Insert(tx, note(a)); err != nil {
			return "", err
		}
		switch a.Text {
		case "panic":
			panic("at the desk")
		case "uncoded":
			return "", errors.New("not for everybody")
		case "long":
			return "", engine.Errorf("mine", "%s", strings.Repeat("ä", 4000)).With(strings.Repeat("x", 20_000))
		}
		return "", engine.Errorf("mine", "no %s", a.Text).With(map[string]int{"n": 1}).WithIssues(engine.Issue{Path: "text", Rule: "taste", Message: "is bad"})
	})
	d.call = engine.Action(s, "desk:call", func(c *engine.ActionCtx, a noteArgs) (string, error) {
		d.called.Add(1)
		if d.doCall != nil {
			if err := d.doCall(c, a.Text); err != nil {
				return "", err
			}
		}
		return "called " + a.Text, nil
	}, o...)
	return d
}

// schedule runs fn in a transaction and returns the job that it has scheduled.
func schedule(t testing.TB, db *engine.DB, fn func(tx *engine.Tx) (engine.JobID, error)) (id engine.JobID) {
	t.Helper()
	update(t, db, func(tx *engine.Tx) (err error) {
		id, err = fn(tx)
		return err
	})
	return id
}

func (d *desk) job(t testing.TB, db *engine.DB, id engine.JobID) (j engine.Job) {
	t.Helper()
	view(t, db, func(r *engine.ReadTx) error {
		doc, err := engine.Jobs(d.schema).Get(r, id)
		if err != nil {
			return err
		}
		j = doc.Value
		return nil
	})
	return j
}

// await waits until a job has ended.
func (d *desk) await(t testing.TB, db *engine.DB, id engine.JobID) engine.Job {
	t.Helper()
	changed := make(chan struct{}, 1)
	stop := db.OnPublish(func(engine.Timestamp) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	defer stop()
	for {
		if j := d.job(t, db, id); !j.Finished.IsZero() {
			return j
		}
		within(t, "the end of the job", changed)
	}
}

func (d *desk) texts(t testing.TB, db *engine.DB) (out []string) {
	t.Helper()
	view(t, db, func(r *engine.ReadTx) error {
		for n, err := range d.notes.All(r).Docs() {
			if err != nil {
				return err
			}
			out = append(out, n.Value.Text)
		}
		return nil
	})
	return out
}

func TestScheduledFunctionsRun(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		d := newDesk()
		db := open(d.schema)
		before := time.Now()
		w := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 0, noteArgs{"a"}) })
		c := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, -time.Hour, noteArgs{"b"}) })
		j := d.await(t, db, w)
		if j.State != engine.JobSucceeded || string(j.Result) != `"wrote a"` || j.Attempts != 1 || j.Error != nil ||
			j.Function != "notes:write" || string(j.Args) != `{"text":"a"}` || j.Started.Before(before.Add(-time.Second)) || j.Finished.Before(j.Started) {
			t.Errorf("mutation: %+v", j)
		}
		if got := d.texts(t, db); fmt.Sprint(got) != "[a]" {
			t.Errorf("the mutation left %v", got)
		}
		j = d.await(t, db, c)
		if j.State != engine.JobSucceeded || string(j.Result) != `"called b"` || j.Attempts != 1 || d.called.Load() != 1 || j.Due.Before(before.Add(-time.Second)) {
			t.Errorf("action, run %d times: %+v", d.called.Load(), j)
		}
	})
}

func TestNothingIsScheduledByWhatFails(t *testing.T) {
	t.Parallel()
	d := newDesk()
	db := enginetest.Open(t, d.schema)
	boom := errors.New("boom")
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		if _, err := d.write.Schedule(tx, 0, noteArgs{"lost"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	var id engine.JobID
	update(t, db, func(tx *engine.Tx) error {
		err := tx.Nested(func(tx *engine.Tx) error {
			if _, err := d.write.Schedule(tx, 0, noteArgs{"lost too"}); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			return err
		}
		id, err = d.write.Schedule(tx, 0, noteArgs{"kept"})
		return err
	})
	d.await(t, db, id)
	view(t, db, func(r *engine.ReadTx) error {
		n, err := engine.Jobs(d.schema).All(r).Count()
		if n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
		return err
	})
	if got := d.texts(t, db); fmt.Sprint(got) != "[kept]" {
		t.Errorf("notes: %v", got)
	}
}

func TestWhatCannotBeScheduled(t *testing.T) {
	t.Parallel()
	d := newDesk()
	db := enginetest.Open(t, d.schema)
	other := newDesk()
	big := engine.Mutation(d.schema, "too:late", func(*engine.Tx, noteArgs) (int, error) { return 0, nil })
	for name, c := range map[string]struct {
		fn   func(tx *engine.Tx) (engine.JobID, error)
		want error
	}{
		"arguments": {func(tx *engine.Tx) (engine.JobID, error) {
			return d.write.Schedule(tx, 0, noteArgs{strings.Repeat("x", 101)})
		}, engine.ErrInvalid},
		"far": {func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 1<<63-1, noteArgs{}) }, engine.ErrInvalid},
		"far time": {func(tx *engine.Tx) (engine.JobID, error) {
			return d.call.ScheduleAt(tx, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), noteArgs{})
		}, engine.ErrInvalid},
		"no time":        {func(tx *engine.Tx) (engine.JobID, error) { return d.write.ScheduleAt(tx, time.Time{}, noteArgs{}) }, engine.ErrInvalid},
		"another schema": {func(tx *engine.Tx) (engine.JobID, error) { return other.write.Schedule(tx, 0, noteArgs{}) }, nil},
		"unregistered":   {func(tx *engine.Tx) (engine.JobID, error) { return big.Schedule(tx, 0, noteArgs{}) }, nil},
	} {
		update(t, db, func(tx *engine.Tx) error {
			id, err := c.fn(tx)
			if err == nil || id != "" || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %q, %v", name, id, err)
			}
			return nil // a refusal does not end the transaction
		})
	}
	view(t, db, func(r *engine.ReadTx) error {
		n, err := engine.Jobs(d.schema).All(r).Count()
		if n != 0 {
			t.Errorf("%d jobs were scheduled nevertheless", n)
		}
		return err
	})
}

func TestLargeArgumentsOfAJob(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	type blob struct {
		Data string `json:"data"`
	}
	echo := engine.Mutation(s, "blob:echo", func(_ *engine.Tx, a blob) (string, error) { return a.Data, nil })
	db := enginetest.Open(t, s)
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		_, err := echo.Schedule(tx, 0, blob{strings.Repeat("x", 512<<10)})
		return err
	})
	var limit *engine.LimitError
	if !errors.As(err, &limit) || limit.Limit != "ArgumentBytes" {
		t.Errorf("arguments of more than 512 KiB: %v", err)
	}
	d := &desk{schema: s}
	id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) {
		return echo.Schedule(tx, 0, blob{strings.Repeat("x", 500<<10)})
	})
	if j := d.await(t, db, id); j.State != engine.JobSucceeded || j.Result != nil || !j.ResultOmitted {
		t.Errorf("a result of 500 KiB: %s, %d bytes, omitted %v, %v", j.State, len(j.Result), j.ResultOmitted, j.Error)
	}
}

func TestFailedJobsKeepTheirError(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		d := newDesk()
		d.doCall = func(_ *engine.ActionCtx, text string) error { return engine.Errorf("mine", "no %s", text) }
		db := open(d.schema)
		fail := func(text string) engine.Job {
			t.Helper()
			id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.refuse.Schedule(tx, 0, noteArgs{text}) })
			j := d.await(t, db, id)
			if j.State != engine.JobFailed || j.Error == nil || j.Attempts != 1 || j.Result != nil {
				t.Fatalf("%s: %+v", text, j)
			}
			return j
		}
		if e := fail("coded").Error; e.Code != "mine" || e.Message != "no coded" || string(e.Data) != `{"n":1}` || len(e.Issues) != 1 || e.Issues[0].Rule != "taste" {
			t.Errorf("coded: %+v", e)
		}
		for _, text := range []string{"panic", "uncoded"} {
			if e := fail(text).Error; e.Code != engine.CodeInternal || !strings.HasPrefix(e.Message, "internal error, log id ") {
				t.Errorf("%s: %+v", text, e)
			}
		}
		if e := fail("long").Error; len(e.Message) > 4096 || !strings.HasSuffix(e.Message, "ä") || e.Data != nil {
			t.Errorf("long: %d bytes, ends with %q, data %d", len(e.Message), e.Message[len(e.Message)-2:], len(e.Data))
		}
		id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{"call"}) })
		if j := d.await(t, db, id); j.State != engine.JobFailed || j.Error.Message != "no call" || d.called.Load() != 1 {
			t.Errorf("action, run %d times: %+v", d.called.Load(), j)
		}
		if got := d.texts(t, db); len(got) > 0 {
			t.Errorf("failed mutations left %v", got)
		}
	})
}

func TestCancelJob(t *testing.T) {
	t.Parallel()
	d := newDesk(engine.Retry(engine.RetryPolicy{Backoff: time.Hour}))
	began, end := make(chan struct{}), make(chan error)
	d.doCall = func(*engine.ActionCtx, string) error {
		close(began)
		return <-end
	}
	db := enginetest.Open(t, d.schema)
	cancel := func(id engine.JobID) (s engine.JobState, err error) {
		err = db.Update(context.Background(), func(tx *engine.Tx) (err error) {
			s, err = engine.CancelJob(tx, id)
			return err
		})
		return s, err
	}
	expect := func(id engine.JobID, want engine.JobState) {
		t.Helper()
		if s, err := cancel(id); err != nil || s != want {
			t.Errorf("cancel: %s, %v; want %s", s, err, want)
		}
	}
	later := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, time.Hour, noteArgs{"never"}) })
	expect(later, engine.JobCancelled)
	expect(later, engine.JobCancelled)
	if j := d.job(t, db, later); j.State != engine.JobCancelled || j.Attempts != 0 {
		t.Errorf("cancelled: %+v", j)
	}
	// In the transaction that scheduled it, and rolled back.
	update(t, db, func(tx *engine.Tx) (err error) {
		if later, err = d.write.Schedule(tx, time.Hour, noteArgs{"later"}); err != nil {
			return err
		}
		_ = tx.Nested(func(tx *engine.Tx) error {
			if s, err := engine.CancelJob(tx, later); s != engine.JobCancelled || err != nil {
				t.Errorf("cancel in the same transaction: %s, %v", s, err)
			}
			return errors.New("undo")
		})
		return nil
	})
	if j := d.job(t, db, later); j.State != engine.JobPending {
		t.Errorf("a cancellation was undone, and the job is %s", j.State)
	}
	done := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, 0, noteArgs{"done"}) })
	d.await(t, db, done)
	expect(done, engine.JobSucceeded)

	running := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{"x"}) })
	within(t, "the action", began)
	expect(running, engine.JobRunning)
	if j := d.job(t, db, running); j.State != engine.JobRunning || !j.CancelRequested || j.Attempts != 1 {
		t.Errorf("running: %+v", j)
	}
	end <- errors.New("it would be run again")
	if j := d.await(t, db, running); j.State != engine.JobCancelled || j.Error == nil || d.called.Load() != 1 {
		t.Errorf("cancelled while it ran: %+v", j)
	}
	if _, err := cancel("nonsense"); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a malformed id: %v", err)
	}
	strange := later[:len(later)-5] + "0" + later[len(later)-4:]
	if strange == later {
		strange = later[:len(later)-5] + "1" + later[len(later)-4:]
	}
	if _, err := cancel(strange); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("an unknown id: %v", err)
	}
}

func TestAJobThatCancelsItselfAndSchedules(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	d := &desk{schema: s}
	type args struct {
		Left int `json:"left"`
	}
	var own atomic.Value
	var chain engine.MutationRef[args, engine.JobState]
	chain = engine.Mutation(s, "chain:link", func(tx *engine.Tx, a args) (engine.JobState, error) {
		if a.Left == 0 {
			return "", nil
		}
		next, err := chain.Schedule(tx, 0, args{a.Left - 1})
		if err != nil {
			return "", err
		}
		id := own.Swap(next).(engine.JobID)
		return engine.CancelJob(tx, id)
	})
	db := enginetest.Open(t, s)
	gate := make(chan struct{})
	begin := engine.JobID("")
	update(t, db, func(tx *engine.Tx) (err error) {
		begin, err = chain.Schedule(tx, 0, args{3})
		own.Store(begin)
		return err
	})
	close(gate)
	if j := d.await(t, db, begin); j.State != engine.JobSucceeded || string(j.Result) != `"running"` {
		t.Errorf("a job that cancelled itself: %+v", j)
	}
}

func TestOnlyTheDatabaseWritesJobs(t *testing.T) {
	t.Parallel()
	d := newDesk()
	db := enginetest.Open(t, d.schema)
	id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.write.Schedule(tx, time.Hour, noteArgs{"x"}) })
	jobs := engine.Jobs(d.schema)
	update(t, db, func(tx *engine.Tx) error {
		_, insert := jobs.Insert(tx, engine.Job{})
		_, cron := engine.Crons(d.schema).Insert(tx, engine.Cron{})
		for name, err := range map[string]error{
			"insert": insert, "insert of a cron": cron, "delete": jobs.Delete(tx, id), "replace": jobs.Replace(tx, id, engine.Job{}),
			"patch": jobs.Patch(tx, id, func(j *engine.Job) error { j.State = engine.JobSucceeded; return nil }),
		} {
			if !errors.Is(err, &engine.Error{Code: engine.CodeForbidden}) && !errors.Is(err, engine.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		return nil
	})
	if j := d.job(t, db, id); j.State != engine.JobPending {
		t.Errorf("the job: %+v", j)
	}
	s := engine.NewSchema()
	engine.Define[note](s, "_notes")
	if _, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})}); err == nil || !strings.Contains(err.Error(), "jobs_test.go") {
		t.Errorf("a collection _notes: %v", err)
	}
}

func TestAnActionSchedules(t *testing.T) {
	t.Parallel()
	d := newDesk()
	var id engine.JobID
	d.doCall = func(c *engine.ActionCtx, text string) (err error) {
		id, err = d.write.Schedule(c, 0, noteArgs{text})
		return err
	}
	db := enginetest.Open(t, d.schema)
	if _, err := db.RunAction(context.Background(), engine.Call{Function: "desk:call", Args: json.RawMessage(`{"text":"from an action"}`)}); err != nil {
		t.Fatal(err)
	}
	if j := d.await(t, db, id); j.State != engine.JobSucceeded {
		t.Errorf("%+v", j)
	}
}

// Jobs count against nothing that the function may do itself.
func TestAJobHasTheLimitsOfAnyCall(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	d := &desk{schema: s, notes: engine.Define[note](s, "notes")}
	type args struct {
		N int `json:"n"`
	}
	many := engine.Mutation(s, "notes:many", func(tx *engine.Tx, a args) (int, error) {
		for range a.N {
			if _, err := d.notes.Insert(tx, note{"x"}); err != nil {
				return 0, err
			}
		}
		return a.N, nil
	})
	db := enginetest.Open(t, s, func(o *engine.Options) { o.Limits.WriteDocuments, o.Limits.ReadDocuments = 5, 5 })
	for n, want := range map[int]engine.JobState{5: engine.JobSucceeded, 6: engine.JobFailed} {
		id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return many.Schedule(tx, 0, args{n}) })
		j := d.await(t, db, id)
		if j.State != want || n == 6 && j.Error.Code != engine.CodeTooLarge {
			t.Errorf("%d writes of 5: %s, %+v", n, j.State, j.Error)
		}
	}
}

// A job that is due, and taken into memory to wait for a slot, can still be cancelled.
func TestCancellingAJobThatIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		var ran []string
		end := make(chan struct{})
		d.doCall = func(_ *engine.ActionCtx, text string) error {
			ran = append(ran, text) // there is one slot
			<-end
			return nil
		}
		db := enginetest.Open(t, d.schema, func(o *engine.Options) { o.Jobs.Actions = 1 })
		call := func(text string) engine.JobID {
			return schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{text}) })
		}
		call("first")
		second := call("second")
		call("third")
		synctest.Wait()
		update(t, db, func(tx *engine.Tx) error {
			_, err := engine.CancelJob(tx, second)
			return err
		})
		close(end)
		synctest.Wait()
		if fmt.Sprint(ran) != "[first third]" {
			t.Errorf("ran: %v", ran)
		}
		if j := d.job(t, db, second); j.State != engine.JobCancelled {
			t.Errorf("%+v", j)
		}
	})
}

// Triggers see jobs like all documents, in the transaction in which the job changes.
func TestTriggersOnJobs(t *testing.T) {
	t.Parallel()
	d := newDesk()
	triggers.OnUpdate(engine.Jobs(d.schema), "alert", func(tx *engine.Tx, _, after *engine.Doc[engine.Job]) error {
		if after.Value.State != engine.JobFailed {
			return nil
		}
		_, err := d.notes.Insert(tx, note{Text: after.Value.Function + ": " + after.Value.Error.Message})
		return err
	})
	db := enginetest.Open(t, d.schema)
	id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.refuse.Schedule(tx, 0, noteArgs{"tea"}) })
	d.await(t, db, id)
	if got := fmt.Sprint(d.texts(t, db)); got != "[notes:refuse: no tea]" {
		t.Errorf("%s", got)
	}
}
