package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

type (
	person struct {
		Email string `json:"email"`
	}
	welcome struct {
		Person engine.ID[person] `json:"person"`
	}
)

// signUps is what the entry budget is about: a document with a unique index, and one that a trigger writes.
func signUps() *engine.Schema {
	s := engine.NewSchema()
	people := engine.Define[person](s, "people")
	people.AddUnique("byEmail", "email")
	welcomes := engine.Define[welcome](s, "welcomes")
	triggers.OnCreate(people, "welcome", func(tx *engine.Tx, p *engine.Doc[person]) error {
		_, err := welcomes.Insert(tx, welcome{p.ID})
		return err
	})
	engine.Mutation(s, "people:signUp", func(tx *engine.Tx, p person) (engine.ID[person], error) { return people.Insert(tx, p) })
	return s
}

func signUp(n int, id *engine.RequestID) engine.Call {
	raw, err := json.Marshal(person{fmt.Sprintf("%06d@example.com", n)})
	if err != nil {
		panic(err)
	}
	return engine.Call{Function: "people:signUp", Args: raw, Request: id}
}

// The entry budget: a mutation that inserts a document with a unique index and one more by a trigger costs three rows. What one
// session sends into a group adds one row, however much it is.
func TestRowsOfAGroup(t *testing.T) {
	t.Parallel()
	const n, sessions = 100, 4
	s := signUps()
	db, store := openSpied(t, s)
	store.hold()
	_, first := db.StartMutation(context.Background(), signUp(0, nil))
	within(t, "the commit that the others wait behind", store.arrived)
	var waits []func() (*engine.Result, error)
	for i := range n {
		accepted, wait := db.StartMutation(context.Background(),
			signUp(i+1, &engine.RequestID{Session: fmt.Sprint("session", i%sessions), Request: uint64(i / sessions)}))
		within(t, "acceptance", accepted)
		waits = append(waits, wait)
	}
	groups, rows, _ := store.counts()
	store.open()
	for _, wait := range append(waits, first) {
		if _, err := wait(); err != nil {
			t.Fatal(err)
		}
	}
	groupsAfter, rowsAfter, keys := store.counts()
	// The spy counts what a group writes beside the store's own rows, of which there are few a group.
	if got, want := rowsAfter-rows, 3+3*n+sessions; got != want || groupsAfter-groups != 2 {
		t.Errorf("%d rows in %d groups (%v by keyspace), want %d in 2", got, groupsAfter-groups, keys, want)
	}
}

// BenchmarkEntryBudget signs people up, 64 at a time, each within a session of its own: rows/mutation is what that costs, 3 of
// documents and index entries, and the session's, which it shares with nobody.
func BenchmarkEntryBudget(b *testing.B) {
	db, store := openBench(b, signUps())
	benchCalls(b, db, store, 64, func(writer, n int) engine.Call {
		return signUp(n, &engine.RequestID{Session: fmt.Sprint("session", writer), Request: uint64(n)})
	})
}
