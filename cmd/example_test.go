package cmd_test

import (
	"testing/fstest"

	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
)

// A whole program: a guest book, its page, and one entry to begin with.
func ExampleMain() {
	type Entry struct {
		Name string `json:"name" jsonschema:"minLength=1,maxLength=50"`
		Text string `json:"text" jsonschema:"minLength=1,maxLength=500"`
	}
	s := engine.NewSchema()
	entries := engine.Define[Entry](s, "entries")
	engine.Query(s, "book:read", func(r *engine.ReadTx, _ struct{}) ([]*engine.Doc[Entry], error) {
		return entries.All(r).Desc().Limit(50).Collect()
	})
	engine.Mutation(s, "book:sign", func(tx *engine.Tx, e Entry) (engine.ID[Entry], error) {
		return entries.Insert(tx, e)
	})
	cmd.Main(cmd.App{
		Name: "guestbook", Schema: s,
		Static: fstest.MapFS{"index.html": {Data: []byte("<!doctype html>…")}}, // an embed.FS in most programs
		Seed: func(tx *engine.Tx) error {
			_, err := entries.Insert(tx, Entry{Name: "The house", Text: "Welcome!"})
			return err
		},
	})
}
