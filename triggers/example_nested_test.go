package triggers_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

type Import struct {
	Line string `json:"line"`
}

// An error of a trigger fails the whole mutation. Nested bounds it: here a line that a trigger rejects is left out, with
// everything that was written for it, and the others are kept.
func Example_nested() {
	s := engine.NewSchema()
	imports := engine.Define[Import](s, "imports")
	triggers.OnCreate(imports, "parse", func(_ *engine.Tx, d *engine.Doc[Import]) error {
		if d.Value.Line == "" {
			return engine.Errorf(engine.CodeInvalid, "an empty line")
		}
		return nil
	})

	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	err = db.Update(context.Background(), func(tx *engine.Tx) error {
		for _, line := range []string{"one", "", "three"} {
			err := tx.Nested(func(tx *engine.Tx) error {
				_, err := imports.Insert(tx, Import{Line: line})
				return err
			})
			if err != nil {
				fmt.Println(err)
			}
		}
		n, err := imports.All(tx).Count()
		fmt.Println(n, "lines")
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// triggers: imports.OnCreate(parse): an empty line
	// 2 lines
}
