package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// A unique index that is declared over documents that have the same values cannot be built. The database works without it, and
// says which documents are in the way; it is built as soon as they are not.
func ExampleDB_Indexes() {
	type User struct {
		Email string `json:"email"`
	}
	memory := memstore.NewShared(memstore.Options{})
	quiet := slog.New(slog.DiscardHandler)
	func() { // the version without the index
		s := engine.NewSchema()
		users := engine.Define[User](s, "users")
		db, err := engine.Open(s, engine.Options{Store: memory.Open(), Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		defer db.Close()
		for range 2 {
			err := db.Update(context.Background(), func(tx *engine.Tx) error {
				_, err := users.Insert(tx, User{"ann@example.com"})
				return err
			})
			if err != nil {
				log.Fatal(err)
			}
		}
	}()
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	byEmail := users.AddUnique("byEmail", "email")
	db, err := engine.Open(s, engine.Options{Store: memory.Open(), Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for _, x := range db.Indexes() {
		fmt.Println(x.Collection, x.Name, x.State)
		for _, f := range x.Faults {
			fmt.Println(len(f.Documents), "documents", f.Reason)
		}
	}
	err = db.View(context.Background(), func(r *engine.ReadTx) error {
		_, err := byEmail.One(r, "ann@example.com")
		return err
	})
	fmt.Println(errors.Is(err, engine.ErrIndexNotReady))
	err = db.Update(context.Background(), func(tx *engine.Tx) error {
		_, err := users.Insert(tx, User{"ann@example.com"})
		return err
	})
	fmt.Println(errors.Is(err, engine.ErrAlreadyExists))
	// Output:
	// users byEmail failed
	// 2 documents have the same values
	// true
	// true
}
