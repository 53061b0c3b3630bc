package engine_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// A list that is handed on as it is stored is neither decoded nor encoded again. Its client sees no difference.
func ExampleStored() {
	type Message struct {
		Channel string `json:"channel"`
		Text    string `json:"text"`
	}
	s := engine.NewSchema()
	messages := engine.Define[Message](s, "messages")
	byChannel := messages.AddIndex("byChannel", "channel")
	latest := func(r engine.Reader) ([]engine.Stored[Message], error) {
		return byChannel.Eq(r, "general").Desc().Limit(50).Stored().Collect()
	}
	engine.Query(s, "messages:latest", func(r *engine.ReadTx, _ struct{}) ([]engine.Stored[Message], error) { return latest(r) })

	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	ctx := context.Background()
	err = db.Update(ctx, func(tx *engine.Tx) error {
		_, err := messages.Insert(tx, Message{"general", "hello"})
		return err
	})
	if err != nil {
		panic(err)
	}
	err = db.View(ctx, func(r *engine.ReadTx) error {
		list, err := latest(r)
		for _, m := range list {
			fmt.Println(strings.HasSuffix(string(m.JSON()), `"channel":"general","text":"hello"}`))
			doc, err := m.Doc() // where one is to be looked at after all
			if err != nil {
				return err
			}
			fmt.Println(doc.Value.Text)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// true
	// hello
}
