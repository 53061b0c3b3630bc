package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine"
)

// Queries and mutations are functions with typed arguments and results. Clients call them by name; arguments are validated
// before the function sees them.
func ExampleMutation() {
	type Message struct {
		Room string `json:"room"`
		Text string `json:"text"`
	}
	type SendArgs struct {
		Room string `json:"room"`
		Text string `json:"text" jsonschema:"minLength=1,maxLength=2000"`
	}
	type ListArgs struct {
		Room string `json:"room"`
	}
	schema := engine.NewSchema()
	messages := engine.Define[Message](schema, "messages")
	byRoom := messages.AddIndex("byRoom", "room")

	engine.Mutation(schema, "messages:send", func(tx *engine.Tx, a SendArgs) (engine.ID[Message], error) {
		if a.Room == "attic" {
			return "", engine.Errorf(engine.CodeForbidden, "nobody may write there")
		}
		return messages.Insert(tx, Message(a))
	})
	engine.Query(schema, "messages:list", func(r *engine.ReadTx, a ListArgs) ([]string, error) {
		texts := []string{}
		for m, err := range byRoom.Eq(r, a.Room).Docs() {
			if err != nil {
				return nil, err
			}
			texts = append(texts, m.Value.Text)
		}
		return texts, nil
	})

	db := openInMemory(schema)
	defer db.Close()
	ctx := context.Background()
	for _, args := range []string{
		`{"room": "hall", "text": "hello"}`,
		`{"room": "hall", "text": ""}`,
		`{"room": "attic", "text": "hello"}`,
	} {
		_, err := db.RunMutation(ctx, engine.Call{Function: "messages:send", Args: json.RawMessage(args)})
		fmt.Println("send:", err)
	}
	res, err := db.RunQuery(ctx, engine.Call{Function: "messages:list", Args: json.RawMessage(`{"room": "hall"}`)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("list:", string(res.Value))
	// Output:
	// send: <nil>
	// send: invalid arguments for messages:send: text: must have at least 1 character
	// send: nobody may write there
	// list: ["hello"]
}

// A mutation that is sent twice under one request id takes effect once: the second send gets the first one's result.
func ExampleRequestID() {
	type Ticket struct {
		Number int `json:"number"`
	}
	schema := engine.NewSchema()
	tickets := engine.Define[Ticket](schema, "tickets")
	engine.Mutation(schema, "tickets:draw", func(tx *engine.Tx, _ struct{}) (int, error) {
		n, err := tickets.All(tx).Count()
		if err != nil {
			return 0, err
		}
		_, err = tickets.Insert(tx, Ticket{n + 1})
		return n + 1, err
	})
	db := openInMemory(schema)
	defer db.Close()
	call := engine.Call{Function: "tickets:draw", Request: &engine.RequestID{Session: "phone", Request: 1}}
	for range 2 {
		res, err := db.RunMutation(context.Background(), call)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(res.Value), res.Replayed)
	}
	// Output:
	// 1 false
	// 1 true
}

// A watch tells when a commit has written into what a query read.
func ExampleDB_Watch() {
	type Task struct {
		Done bool `json:"done"`
	}
	schema := engine.NewSchema()
	tasks := engine.Define[Task](schema, "tasks")
	byDone := tasks.AddIndex("byDone", "done")
	engine.Query(schema, "tasks:open", func(r *engine.ReadTx, _ struct{}) (int, error) {
		return byDone.Eq(r, false).Count()
	})
	db := openInMemory(schema)
	defer db.Close()
	ctx := context.Background()

	e, err := db.Evaluate(ctx, db.Published(), engine.Call{Function: "tasks:open"})
	if err != nil {
		log.Fatal(err)
	}
	changed := make(chan struct{})
	db.Watch(e, func() { close(changed) })

	for _, done := range []bool{true, false} {
		if err := db.Update(ctx, func(tx *engine.Tx) error {
			_, err := tasks.Insert(tx, Task{done})
			return err
		}); err != nil {
			log.Fatal(err)
		}
		select {
		case <-changed:
			fmt.Println("open tasks have changed")
		default:
			fmt.Println("nothing that was read")
		}
	}
	// Output:
	// nothing that was read
	// open tasks have changed
}
