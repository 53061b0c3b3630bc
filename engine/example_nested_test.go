package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine"
)

// A part of a transaction that fails is rolled back alone; the rest goes on.
func ExampleTx_Nested() {
	type Row struct {
		Key string `json:"key" jsonschema:"minLength=1"`
	}
	schema := engine.NewSchema()
	rows := engine.Define[Row](schema, "rows")
	rows.AddUnique("byKey", "key")
	db := openInMemory(schema)
	defer db.Close()

	// An import that keeps what it can: of each pair both rows or none.
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		for _, pair := range [][2]string{{"a", "b"}, {"c", "a"}, {"d", ""}, {"e", "f"}} {
			err := tx.Nested(func(tx *engine.Tx) error {
				for _, key := range pair {
					if _, err := rows.Insert(tx, Row{key}); err != nil {
						return err
					}
				}
				return nil
			})
			var e *engine.Error
			if errors.As(err, &e) {
				fmt.Println("left out:", pair, e.Code)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	err = db.View(context.Background(), func(r *engine.ReadTx) error {
		for row, err := range rows.All(r).Docs() {
			if err != nil {
				return err
			}
			fmt.Print(row.Value.Key, " ")
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// left out: [c a] already_exists
	// left out: [d ] invalid
	// a b e f
}
