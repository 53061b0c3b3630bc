package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// A test opens a database of its own, in memory, and says what it expects. That documents and indexes agree at its end, and
// that the database closes, is seen to.
func Example() {
	type Seat struct {
		Row    int    `json:"row"`
		Number int    `json:"number"`
		Taker  string `json:"taker"`
	}
	schema := engine.NewSchema()
	seats := engine.Define[Seat](schema, "seats")
	seats.AddUnique("byPlace", "row", "number")

	test := func(t testing.TB) { // in a program's tests: func TestOneTaker(t *testing.T)
		db := enginetest.Open(t, schema)
		take := func(who string) error {
			return db.Update(context.Background(), func(tx *engine.Tx) error {
				_, err := seats.Insert(tx, Seat{Row: 3, Number: 14, Taker: who})
				return err
			})
		}
		if err := take("first"); err != nil {
			t.Fatal(err)
		}
		if err := take("second"); !errors.Is(err, &engine.Error{Code: engine.CodeAlreadyExists}) {
			t.Errorf("a seat taken twice: %v", err)
		}
	}
	fmt.Println(run(test).verdict())
	// Output:
	// passed
}
