package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"

	"github.com/mimosadb/mimosa/engine"
)

// A new version of a program splits a name in two and wants an index. The migration is run once, when the database is opened,
// before anybody else sees the documents.
func ExampleMigrate() {
	dir, err := os.MkdirTemp("", "mimosa")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	quiet := slog.New(slog.DiscardHandler)
	func() { // the version that was in use until now
		type Person struct {
			Name string `json:"name"`
		}
		s := engine.NewSchema()
		people := engine.Define[Person](s, "people")
		db, err := engine.Open(s, engine.Options{Dir: dir, Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		defer db.Close()
		err = db.Update(context.Background(), func(tx *engine.Tx) error {
			_, err := people.Insert(tx, Person{Name: "Ada Lovelace"})
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}()

	type Person struct {
		First string `json:"first" jsonschema:"minLength=1"`
		Last  string `json:"last" jsonschema:"minLength=1"`
	}
	s := engine.NewSchema()
	people := engine.Define[Person](s, "people")
	byLast := people.AddIndex("byLast", "last")
	engine.Migrate(s, people, "2026-11-split-name", func(tx *engine.Tx, p *engine.Doc[Person], stored json.RawMessage) error {
		var old struct{ Name string }
		if err := json.Unmarshal(stored, &old); err != nil {
			return err
		}
		p.Value.First, p.Value.Last, _ = strings.Cut(old.Name, " ")
		return nil
	})
	db, err := engine.Open(s, engine.Options{Dir: dir, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	// Indexes of large collections are built in the background.
	if err := db.WaitIndexes(context.Background()); err != nil {
		log.Fatal(err)
	}
	err = db.View(context.Background(), func(r *engine.ReadTx) error {
		p, err := byLast.One(r, "Lovelace")
		if err != nil {
			return err
		}
		fmt.Printf("%s, %s\n", p.Value.Last, p.Value.First)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	done, err := db.Migrations(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done[0].Name, done[0].Documents)
	// Output:
	// Lovelace, Ada
	// 2026-11-split-name 1
}
