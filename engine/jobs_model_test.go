package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// modelJob is what the model knows of a job. Whatever is due has been done once time has passed.
type modelJob struct {
	id     engine.JobID
	kind   string
	due    time.Time
	state  engine.JobState
	effect string // of the note that it writes, or of the call that it makes
}

type jobModel struct {
	store *kept
	desk  *desk
	db    *engine.DB
	dead  chan struct{}
	mu    sync.Mutex
	calls map[string]int // guarded by mu, while jobs run: effects of actions
	jobs  []*modelJob
	next  int
}

func (m *jobModel) open() error {
	m.desk = newDesk()
	m.desk.doCall = func(_ *engine.ActionCtx, text string) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls[text]++
		return nil
	}
	m.dead = make(chan struct{})
	var err error
	m.db, err = engine.Open(m.desk.schema, engine.Options{Store: cut{m.store, m.dead}})
	return err
}

// settle lets everybody do what there is to do, and has the model follow.
func (m *jobModel) settle(rt *rapid.T) {
	synctest.Wait()
	now := time.Now()
	for _, j := range m.jobs {
		if j.state == engine.JobPending && !j.due.After(now) {
			j.state = engine.JobSucceeded
			if j.kind == "refuse" {
				j.state = engine.JobFailed
			}
		}
	}
	err := m.db.View(context.Background(), func(r *engine.ReadTx) error {
		notes := map[string]int{}
		for n, err := range m.desk.notes.All(r).Docs() {
			if err != nil {
				return err
			}
			notes[n.Value.Text]++
		}
		count, err := engine.Jobs(m.desk.schema).All(r).Count()
		if err != nil || count != len(m.jobs) {
			rt.Fatalf("%d jobs, the model has %d: %v", count, len(m.jobs), err)
		}
		for _, j := range m.jobs {
			d, err := engine.Jobs(m.desk.schema).Get(r, j.id)
			if err != nil {
				return err
			}
			if d.Value.State != j.state {
				rt.Fatalf("%s %s, due in %v: %s, want %s (%v)", j.kind, j.effect, j.due.Sub(now), d.Value.State, j.state, d.Value.Error)
			}
			want := 0
			if j.state == engine.JobSucceeded {
				want = 1
			}
			if got := notes[j.effect] + m.calls[j.effect]; got != want {
				rt.Fatalf("%s %s, %s: %d effects, want %d", j.kind, j.effect, j.state, got, want)
			}
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func (m *jobModel) schedule(rt *rapid.T) {
	kind := rapid.SampledFrom([]string{"write", "refuse", "call"}).Draw(rt, "kind")
	delay := time.Duration(rapid.IntRange(-60, 7200).Draw(rt, "delay")) * time.Second
	rollback := rapid.IntRange(0, 4).Draw(rt, "rollback") == 0
	m.next++
	j := &modelJob{kind: kind, state: engine.JobPending, effect: strconv.Itoa(m.next), due: time.Now().Add(delay)}
	undo := errors.New("undo")
	err := m.db.Update(context.Background(), func(tx *engine.Tx) error {
		do := func(tx *engine.Tx) (err error) {
			switch a := (noteArgs{j.effect}); kind {
			case "write":
				j.id, err = m.desk.write.Schedule(tx, delay, a)
			case "refuse":
				j.id, err = m.desk.refuse.Schedule(tx, delay, a)
			default:
				j.id, err = m.desk.call.Schedule(tx, delay, a)
			}
			if err == nil && rollback {
				err = undo
			}
			return err
		}
		if err := tx.Nested(do); !errors.Is(err, undo) {
			return err
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	if !rollback {
		m.jobs = append(m.jobs, j)
	}
}

func (m *jobModel) cancel(rt *rapid.T) {
	if len(m.jobs) == 0 {
		return
	}
	m.settle(rt) // so that what is due has been done
	j := m.jobs[rapid.IntRange(0, len(m.jobs)-1).Draw(rt, "job")]
	if j.state == engine.JobPending {
		j.state = engine.JobCancelled
	}
	err := m.db.Update(context.Background(), func(tx *engine.Tx) error {
		state, err := engine.CancelJob(tx, j.id)
		if err == nil && state != j.state {
			err = fmt.Errorf("cancelling gave %s, want %s", state, j.state)
		}
		return err
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func (m *jobModel) reopen(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "crash") {
		close(m.dead) // from here on nothing reaches the store
		time.Sleep(time.Duration(rapid.IntRange(0, 600).Draw(rt, "dying")) * time.Second)
	}
	if err := m.db.Close(); err != nil {
		rt.Fatal(err)
	}
	time.Sleep(time.Duration(rapid.IntRange(0, 3600).Draw(rt, "down")) * time.Second)
	if err := m.open(); err != nil {
		rt.Fatal(err)
	}
}

// inBubble runs fn in a bubble of its own, and takes a failure of the property out of it.
func inBubble(t *testing.T, fn func(t *testing.T)) {
	var failure any
	synctest.Test(t, func(t *testing.T) {
		defer func() { failure = recover() }()
		fn(t)
	})
	if failure != nil {
		panic(failure)
	}
}

// Whatever is scheduled, cancelled and rolled back, over time, restarts and crashes, is done once when it is due, and is what its
// document says.
func TestJobsLikeTheirModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func(t *testing.T) {
			store := memstore.New(memstore.Options{})
			m := &jobModel{store: &kept{store}, calls: map[string]int{}}
			must(t, m.open())
			defer func() {
				_ = m.db.Close()
				_ = store.Close()
			}()
			rt.Repeat(map[string]func(*rapid.T){
				"schedule":       m.schedule,
				"schedule again": m.schedule,
				"cancel":         m.cancel,
				"reopen":         m.reopen,
				"pass": func(rt *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 3600).Draw(rt, "seconds")) * time.Second)
				},
				"": m.settle,
			})
			if err := m.db.Check(context.Background()); err != nil {
				rt.Fatal(err)
			}
		})
	})
}
