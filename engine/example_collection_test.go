package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// openInMemory opens a database for an example.
func openInMemory(s *engine.Schema) *engine.DB {
	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	return db
}

// Collections are declared from Go types, whose tags say what is allowed.
func ExampleDefine() {
	type User struct {
		Email string `json:"email" jsonschema:"format=email"`
		Name  string `json:"name" jsonschema:"minLength=1,maxLength=40"`
	}
	schema := engine.NewSchema()
	users := engine.Define[User](schema, "users")
	byEmail := users.AddUnique("byEmail", "email")

	db := openInMemory(schema)
	defer db.Close()
	ctx := context.Background()

	err := db.Update(ctx, func(tx *engine.Tx) error {
		_, err := users.Insert(tx, User{Email: "ann@example.org", Name: "Ann"})
		return err
	})
	fmt.Println("insert:", err)

	err = db.Update(ctx, func(tx *engine.Tx) error {
		_, err := users.Insert(tx, User{Email: "ann@example.org", Name: "Another Ann"})
		return err
	})
	fmt.Println("taken:", errors.Is(err, engine.ErrAlreadyExists))

	err = db.Update(ctx, func(tx *engine.Tx) error {
		_, err := users.Insert(tx, User{Email: "nowhere"})
		return err
	})
	var invalid *engine.Error
	if errors.As(err, &invalid) {
		for _, issue := range invalid.Issues {
			fmt.Println("invalid:", issue.Path, issue.Rule)
		}
	}

	err = db.View(ctx, func(r *engine.ReadTx) error {
		ann, err := byEmail.One(r, "ann@example.org")
		if err != nil {
			return err
		}
		fmt.Println("found:", ann.Value.Name)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// insert: <nil>
	// taken: true
	// invalid: email format
	// invalid: name minLength
	// found: Ann
}

// Patch reads, changes and writes in one step. When nothing changed, nothing is written and no trigger runs.
func ExampleCollection_Patch() {
	type Counter struct {
		N int `json:"n"`
	}
	schema := engine.NewSchema()
	counters := engine.Define[Counter](schema, "counters")
	db := openInMemory(schema)
	defer db.Close()

	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		id, err := counters.Insert(tx, Counter{})
		if err != nil {
			return err
		}
		for range 3 {
			if err := counters.Patch(tx, id, func(c *Counter) error { c.N++; return nil }); err != nil {
				return err
			}
		}
		c, err := counters.Get(tx, id)
		if err != nil {
			return err
		}
		fmt.Println(c.Value.N)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 3
}
