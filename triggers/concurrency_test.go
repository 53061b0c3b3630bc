package triggers_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// counter is kept by a trigger.
type counter struct {
	Members int `json:"members"`
}

// TestCountersUnderConcurrency has many mutations at once insert users, whose trigger counts them in one document. They
// conflict and are run again, their triggers with them; no user may be missed or counted twice.
func TestCountersUnderConcurrency(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 12
	s := engine.NewSchema()
	users, counters := engine.Define[user](s, "users"), engine.Define[counter](s, "counters")
	var runs atomic.Int64
	triggers.OnCreate(users, "count", func(tx *engine.Tx, _ *engine.Doc[user]) error {
		runs.Add(1)
		all, err := counters.All(tx).First()
		if err != nil {
			return err
		}
		return counters.Patch(tx, all.ID, func(c *counter) error { c.Members++; return nil })
	})
	db := enginetest.Open(t, s)
	if err := db.Update(t.Context(), func(tx *engine.Tx) error {
		_, err := counters.Insert(tx, counter{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if err := db.Update(t.Context(), func(tx *engine.Tx) error {
					_, err := users.Insert(tx, user{Name: fmt.Sprintf("%d-%d", w, i)})
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := db.View(t.Context(), func(tx *engine.ReadTx) error {
		n, err := users.All(tx).Count()
		if err != nil {
			return err
		}
		all, err := counters.All(tx).First()
		if err != nil {
			return err
		}
		if n != workers*each || all.Value.Members != n {
			t.Errorf("%d users, counted %d, want %d; the trigger ran %d times", n, all.Value.Members, workers*each, runs.Load())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestTrace checks what the result of a mutation tells of its triggers.
func TestTrace(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	users, rooms := engine.Define[user](s, "users"), engine.Define[room](s, "rooms")
	var userID engine.ID[user]
	var roomID engine.ID[room]
	triggers.BeforeCreate(users, "check", func(*engine.ReadTx, *user) error { return nil })
	triggers.OnCreate(users, "enroll", func(tx *engine.Tx, u *engine.Doc[user]) (err error) {
		userID = u.ID
		// So that there is something to measure, however coarse the clock.
		for start := time.Now(); time.Since(start) == 0; {
		}
		roomID, err = rooms.Insert(tx, room{Name: "r"})
		return err
	})
	triggers.OnCreate(rooms, "fail", func(*engine.Tx, *engine.Doc[room]) error {
		return engine.Errorf(engine.CodeForbidden, "no")
	})
	engine.Mutation(s, "users:create", func(tx *engine.Tx, _ struct{}) (engine.ID[user], error) {
		return users.Insert(tx, user{Name: "bob"})
	})
	db := enginetest.Open(t, s)
	res, err := db.RunMutation(t.Context(), engine.Call{Function: "users:create"})
	if err == nil {
		t.Fatal("the mutation succeeded")
	}
	want := []engine.Fired{
		{Name: "users.BeforeCreate(check)", Document: string(userID), Depth: 1},
		{Name: "users.OnCreate(enroll)", Document: string(userID), Depth: 1},
		{Name: "rooms.OnCreate(fail)", Document: string(roomID), Depth: 2, Error: "no"},
	}
	if len(res.Trace) != len(want) {
		t.Fatalf("the trace is %+v", res.Trace)
	}
	for i, got := range res.Trace {
		if i == 1 && got.Took <= 0 {
			t.Errorf("%s took %v", got.Name, got.Took)
		}
		got.Took = 0
		if got != want[i] {
			t.Errorf("entry %d is %+v, want %+v", i, got, want[i])
		}
	}
}
