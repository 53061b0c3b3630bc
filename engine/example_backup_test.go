package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// A full backup, one of what has changed since, and a database made of both.
func ExampleDB_Backup() {
	type Task struct {
		Title string `json:"title"`
	}
	ctx := context.Background()
	schema := engine.NewSchema()
	tasks := engine.Define[Task](schema, "tasks")
	db := openInMemory(schema)
	defer db.Close()
	add := func(title string) {
		err := db.Update(ctx, func(tx *engine.Tx) error {
			_, err := tasks.Insert(tx, Task{title})
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}

	var monday, tuesday bytes.Buffer // files, most of the time
	add("water the plants")
	first, err := db.Backup(ctx, &monday, engine.BackupOptions{})
	if err != nil {
		log.Fatal(err)
	}
	add("feed the cat")
	second, err := db.Backup(ctx, &tuesday, engine.BackupOptions{Since: first.At})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("documents in the first:", first.Documents, "and in the second:", second.Documents)

	// Restore closes what it has filled; options with a Dir, an empty folder, are the usual case.
	memory := memstore.NewShared(memstore.Options{})
	restored, err := engine.Restore(ctx, schema, engine.Options{Store: memory.Open()}, &monday, &tuesday)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("restored:", restored.Documents, "timestamps go on:", restored.Head > second.At)

	again, err := engine.Open(schema, engine.Options{Store: memory.Open()})
	if err != nil {
		log.Fatal(err)
	}
	defer again.Close()
	err = again.View(ctx, func(r *engine.ReadTx) error {
		for d, err := range tasks.All(r).Docs() {
			if err != nil {
				return err
			}
			fmt.Println("-", d.Value.Title)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// documents in the first: 1 and in the second: 1
	// restored: 2 timestamps go on: true
	// - water the plants
	// - feed the cat
}

// Documents come in as JSON Lines, and go out again.
func ExampleDB_Import() {
	type City struct {
		Name  string `json:"name" jsonschema:"minLength=1"`
		Since int    `json:"since"`
	}
	schema := engine.NewSchema()
	engine.Define[City](schema, "cities")
	db := openInMemory(schema)
	defer db.Close()

	lines := `{"_creationTime": 1700000000000, "name": "Ghent", "since": 1e3}
{"_creationTime": 1700000000001, "name": "Bruges", "since": 1128}
{"_creationTime": 1700000000002, "name": "", "since": 1}
`
	result, err := db.Import(context.Background(), "cities", strings.NewReader(lines), engine.ImportOptions{})
	fmt.Println(result.Created, "created;", err)

	var out strings.Builder
	if _, err := db.Export(context.Background(), "cities", &out); err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		_, members, _ := strings.Cut(line, `",`) // what follows the id, which is another one each time
		_, _ = os.Stdout.WriteString(members)
	}
	// Output:
	// 2 created; engine: import: line 3: invalid document for cities: name: must have at least 1 character
	// "_creationTime":1700000000000,"name":"Ghent","since":1000}
	// "_creationTime":1700000000001,"name":"Bruges","since":1128}
}
