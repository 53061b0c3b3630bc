package engine_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Whatever a function fails with, its job fails, and says with what as far as there is room.
func TestErrorsThatAreHardToKeep(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		s := engine.NewSchema()
		d := &desk{schema: s}
		type args struct {
			What string `json:"what"`
			Data string `json:"data"`
		}
		fails := func(a args) error {
			switch a.What {
			case "issues":
				e := engine.Errorf("mine", "many")
				for range 100 {
					text := strings.Repeat("\x01", 5000) // each byte is six in JSON
					e = e.WithIssues(engine.Issue{Path: text, Rule: text, Message: text})
				}
				return e
			case "bytes":
				return engine.Errorf("mine", "not text: %s", "\xff\xfe").WithIssues(engine.Issue{Path: "\xff", Rule: "\xff", Message: "\xff"}).With("\xff")
			case "code":
				return engine.Errorf(engine.Code(strings.Repeat("c", 2<<20)), "a long code")
			case "data":
				return engine.Errorf("mine", "data that cannot be encoded").With(func() {})
			}
			return engine.Errorf("mine", "%s", strings.Repeat("\x01", 2<<20))
		}
		m := engine.Mutation(s, "job:mutation", func(_ *engine.Tx, a args) (int, error) { return 0, fails(a) })
		c := engine.Action(s, "job:action", func(_ *engine.ActionCtx, a args) (int, error) { return 0, fails(a) })
		db := open(s)
		for _, what := range []string{"issues", "bytes", "code", "data", "message"} {
			a := args{what, strings.Repeat("d", 500<<10)}
			for kind, fn := range map[string]func(*engine.Tx) (engine.JobID, error){
				"mutation": func(tx *engine.Tx) (engine.JobID, error) { return m.Schedule(tx, 0, a) },
				"action":   func(tx *engine.Tx) (engine.JobID, error) { return c.Schedule(tx, 0, a) },
			} {
				j := d.await(t, db, schedule(t, db, fn))
				if j.State != engine.JobFailed || j.Error == nil || j.Error.Message == "" {
					t.Errorf("%s of a %s: %s, %v", what, kind, j.State, j.Error)
				}
			}
		}
	})
}

// A retry policy whose function panics ends the retries, and nothing else.
func TestARetryPolicyThatPanics(t *testing.T) {
	t.Parallel()
	d := newDesk(engine.Retry(engine.RetryPolicy{If: func(error) bool { panic("in the policy") }}))
	d.doCall = func(*engine.ActionCtx, string) error { return errors.New("no") }
	db := enginetest.Open(t, d.schema)
	id := schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) { return d.call.Schedule(tx, 0, noteArgs{"x"}) })
	if j := d.await(t, db, id); j.State != engine.JobFailed || j.Attempts != 1 || d.called.Load() != 1 {
		t.Errorf("run %d times: %+v", d.called.Load(), j)
	}
}

// More actions with large arguments than one transaction may read are interrupted, and all of them end.
func TestManyLargeInterruptedActions(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { must(t, store.Close()) }) // after the databases on it
	type blob struct {
		Data string `json:"data"`
	}
	const jobs = 40
	began := make(chan struct{}, jobs)
	declare := func() (*engine.Schema, engine.ActionRef[blob, int]) {
		s := engine.NewSchema()
		return s, engine.Action(s, "blob:keep", func(c *engine.ActionCtx, _ blob) (int, error) {
			began <- struct{}{}
			<-c.Context().Done()
			return 0, nil
		})
	}
	s, keep := declare()
	dead := make(chan struct{})
	db, err := engine.Open(s, engine.Options{Store: cut{store, dead}, Jobs: engine.JobOptions{Actions: 2 * jobs}, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	var ids []engine.JobID
	for range jobs {
		ids = append(ids, schedule(t, db, func(tx *engine.Tx) (engine.JobID, error) {
			return keep.Schedule(tx, 0, blob{strings.Repeat("x", 500<<10)})
		}))
	}
	for range jobs {
		within(t, "an action", began)
	}
	close(dead)
	must(t, db.Close())

	s, _ = declare()
	d := &desk{schema: s}
	db = enginetest.Open(t, s, func(o *engine.Options) { o.Store = kept{store} })
	for i, id := range ids {
		if j := d.await(t, db, id); j.State != engine.JobFailed || j.Error.Code != engine.CodeInterrupted {
			t.Errorf("job %d: %s, %v", i, j.State, j.Error)
		}
	}
}
