package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine"
)

// A query that reads its list page by page takes PageArgs and gives a Page: what usePaginatedQuery of the convex client sends
// and reads. MapPage shows clients less than, or more than, the documents.
func ExampleScan_Paginate() {
	type Message struct {
		Room string `json:"room"`
		Text string `json:"text"`
	}
	type ListArgs struct {
		Room string          `json:"room"`
		Page engine.PageArgs `json:"paginationOpts"`
	}
	schema := engine.NewSchema()
	messages := engine.Define[Message](schema, "messages")
	byRoom := messages.AddIndex("byRoom", "room")

	engine.Query(schema, "messages:list", func(r *engine.ReadTx, a ListArgs) (engine.Page[string], error) {
		page, err := byRoom.Eq(r, a.Room).Desc().Paginate(a.Page) // the newest first
		if err != nil {
			return engine.Page[string]{}, err
		}
		return engine.MapPage(page, func(m *engine.Doc[Message]) (string, error) { return m.Value.Text, nil })
	})

	db := openInMemory(schema)
	defer db.Close()
	ctx := context.Background()
	err := db.Update(ctx, func(tx *engine.Tx) error {
		for i := range 5 {
			if _, err := messages.Insert(tx, Message{"hall", fmt.Sprint("message ", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	args := ListArgs{Room: "hall", Page: engine.PageArgs{NumItems: 2}}
	for {
		raw, err := json.Marshal(args)
		if err != nil {
			log.Fatal(err)
		}
		res, err := db.RunQuery(ctx, engine.Call{Function: "messages:list", Args: raw})
		if err != nil {
			log.Fatal(err)
		}
		var page engine.Page[string]
		if err := json.Unmarshal(res.Value, &page); err != nil {
			log.Fatal(err)
		}
		fmt.Println(page.Items)
		if page.IsDone {
			break
		}
		args.Page.Cursor = &page.ContinueCursor
	}
	// Output:
	// [message 4 message 3]
	// [message 2 message 1]
	// [message 0]
}

// A cursor is a place between documents and has no direction. The page before the one that began at a cursor is what Desc
// yields from there, the nearest first; it ends where the page before that begins.
func ExampleScan_Paginate_back() {
	type Day struct {
		Name string `json:"name"`
	}
	schema := engine.NewSchema()
	days := engine.Define[Day](schema, "days")
	db := openInMemory(schema)
	defer db.Close()
	ctx := context.Background()
	err := db.Update(ctx, func(tx *engine.Tx) error {
		for _, name := range []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} {
			if _, err := days.Insert(tx, Day{name}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	var cursor *string // where the next page begins
	read := func(r engine.Reader, back bool, n int) error {
		scan := days.All(r)
		if back {
			scan = scan.Desc()
		}
		page, err := scan.Paginate(engine.PageArgs{NumItems: n, Cursor: cursor})
		if err != nil {
			return err
		}
		cursor = &page.ContinueCursor
		names := []string{}
		for _, d := range page.Items {
			names = append(names, d.Value.Name)
		}
		fmt.Println(names)
		return nil
	}
	err = db.View(ctx, func(r *engine.ReadTx) error {
		for _, step := range []struct {
			back bool
			n    int
		}{{false, 2}, {false, 2}, {true, 2}, {true, 2}, {false, 3}} {
			if err := read(r, step.back, step.n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// [Mon Tue]
	// [Wed Thu]
	// [Thu Wed]
	// [Tue Mon]
	// [Mon Tue Wed]
}
