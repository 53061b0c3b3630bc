package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine"
)

// A scan reads a range of an index, in its order. A component with "-" orders from high to low.
func ExampleScan() {
	type Game struct {
		League string `json:"league"`
		Score  int    `json:"score"`
		Player string `json:"player"`
	}
	schema := engine.NewSchema()
	games := engine.Define[Game](schema, "games")
	best := games.AddIndex("best", "league", "-score")
	db := openInMemory(schema)
	defer db.Close()
	ctx := context.Background()

	err := db.Update(ctx, func(tx *engine.Tx) error {
		for _, g := range []Game{{"north", 7, "Ann"}, {"south", 9, "Bob"}, {"north", 12, "Eve"}, {"north", 3, "Joe"}} {
			if _, err := games.Insert(tx, g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	err = db.View(ctx, func(r *engine.ReadTx) error {
		for g, err := range best.Eq(r, "north").Docs() {
			if err != nil {
				return err
			}
			fmt.Println(g.Value.Player, g.Value.Score)
		}
		n, err := best.Eq(r, "north").Gte(5).Lt(10).Count()
		if err != nil {
			return err
		}
		fmt.Println("between 5 and 10:", n)
		last, err := best.Eq(r, "north").Desc().First()
		if err != nil {
			return err
		}
		fmt.Println("last:", last.Value.Player)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// Eve 12
	// Ann 7
	// Joe 3
	// between 5 and 10: 1
	// last: Joe
}

// Strings can be found by what they begin with.
func ExampleScan_Prefix() {
	type Page struct {
		Path string `json:"path"`
	}
	schema := engine.NewSchema()
	pages := engine.Define[Page](schema, "pages")
	byPath := pages.AddUnique("byPath", "path")
	db := openInMemory(schema)
	defer db.Close()

	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		for _, p := range []string{"/about", "/docs", "/docs/start", "/docsets"} {
			if _, err := pages.Insert(tx, Page{p}); err != nil {
				return err
			}
		}
		for p, err := range byPath.Scan(tx).Prefix("/docs/").Docs() { // sees what the transaction has written
			if err != nil {
				return err
			}
			fmt.Println(p.Value.Path)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: /docs/start
}
