package triggers_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

type Order struct {
	Item   string `json:"item"`
	Status string `json:"status"`
	Ship   struct {
		City string `json:"city"`
	} `json:"ship"`
}

// An OnUpdate can be narrowed to changes of some fields, or to any condition on the document before and after.
func ExampleOnUpdate() {
	s := engine.NewSchema()
	orders := engine.Define[Order](s, "orders")

	triggers.OnUpdate(orders, "reroute", func(_ *engine.Tx, before, after *engine.Doc[Order]) error {
		fmt.Println("from", before.Value.Ship.City, "to", after.Value.Ship.City)
		return nil
	}, triggers.Fields("ship.city"))
	triggers.OnUpdate(orders, "ship", func(_ *engine.Tx, _, after *engine.Doc[Order]) error {
		fmt.Println("shipping", after.Value.Item)
		return nil
	}, triggers.When(func(before, after *engine.Doc[Order]) bool {
		return before.Value.Status != "paid" && after.Value.Status == "paid"
	}))

	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	err = db.Update(context.Background(), func(tx *engine.Tx) error {
		order := Order{Item: "lamp", Status: "new"}
		order.Ship.City = "Rome"
		id, err := orders.Insert(tx, order)
		if err != nil {
			return err
		}
		for _, change := range []func(*Order){
			func(o *Order) { o.Ship.City = "Oslo" },
			func(o *Order) { o.Status = "paid" },
			func(o *Order) { o.Status = "paid" }, // changes nothing, so nothing runs
			func(o *Order) { o.Item = "large lamp" },
		} {
			if err := orders.Patch(tx, id, func(o *Order) error { change(o); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// from Rome to Oslo
	// shipping lamp
}
