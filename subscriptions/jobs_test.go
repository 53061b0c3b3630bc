package subscriptions_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/subscriptions"
)

// Jobs are documents: a live query of them follows a scheduled action from its beginning to its end.
func TestLiveQueryOfJobs(t *testing.T) {
	t.Parallel()
	a := newApp()
	jobs := engine.Jobs(a.schema)
	work := engine.Action(a.schema, "work:do", func(c *engine.ActionCtx, in gateArgs) (string, error) {
		return "did " + in.Gate, a.gate(in.Gate).pass(c.Context())
	}, engine.Internal())
	engine.Mutation(a.schema, "work:schedule", func(tx *engine.Tx, in gateArgs) (engine.JobID, error) {
		return work.Schedule(tx, 0, in)
	})
	engine.Mutation(a.schema, "work:never", func(tx *engine.Tx, in gateArgs) (engine.JobState, error) {
		id, err := work.Schedule(tx, time.Hour, in)
		if err != nil {
			return "", err
		}
		return engine.CancelJob(tx, id)
	})
	engine.Query(a.schema, "work:jobs", func(r *engine.ReadTx, _ none) ([]*engine.Doc[engine.Job], error) {
		return jobs.All(r).Collect()
	})
	engine.Query(a.schema, "work:running", func(r *engine.ReadTx, _ none) (int, error) {
		return engine.JobsByState(a.schema).Eq(r, engine.JobRunning).Count()
	})
	h := serve(t, a, enginetest.Open(t, a.schema), subscriptions.Options{})
	c := h.connect()
	c.watch(0, "work:jobs", `{}`, 1, "work:running", `{}`)
	c.expect(`T 1.0 0=[] 1=0`)
	c.mutate(0, "work:schedule", `{"gate":"g"}`)
	shows := func(id uint32, parts ...string) func() bool {
		return func() bool {
			for _, p := range parts {
				if !strings.Contains(c.values[id], p) {
					return false
				}
			}
			return true
		}
	}
	c.until("the action to run", shows(0, `"function":"work:do"`, `"state":"running"`, `"args":{"gate":"g"}`))
	c.until("the count of running jobs", func() bool { return c.values[1] == "1" })
	close(a.gate("g").open)
	c.until("its end", shows(0, `"state":"succeeded"`, `"result":"did g"`))
	c.until("the count of running jobs", func() bool { return c.values[1] == "0" })
	c.mutate(1, "work:never", `{"gate":"h"}`)
	c.until("a cancelled job", shows(0, `"state":"cancelled"`))
}
