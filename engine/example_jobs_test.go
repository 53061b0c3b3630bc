package engine_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// What must happen after a transaction is scheduled by it: if it does not commit, nothing happens. The mutation runs once, also when
// the program is restarted in between.
func ExampleMutationRef_Schedule() {
	type Order struct {
		Item string `json:"item"`
		Paid bool   `json:"paid"`
	}
	type OrderArgs struct {
		Order engine.ID[Order] `json:"order"`
	}
	schema := engine.NewSchema()
	orders := engine.Define[Order](schema, "orders")
	expire := engine.Mutation(schema, "orders:expire", func(tx *engine.Tx, a OrderArgs) (string, error) {
		order, err := orders.Get(tx, a.Order)
		if err != nil {
			return "", err
		}
		if order.Value.Paid {
			return "paid in time", nil
		}
		return "expired", orders.Delete(tx, a.Order)
	}, engine.Internal())

	db := openInMemory(schema)
	defer db.Close()
	ctx := context.Background()

	var job engine.JobID
	err := db.Update(ctx, func(tx *engine.Tx) error {
		id, err := orders.Insert(tx, Order{Item: "tea"})
		if err != nil {
			return err
		}
		job, err = expire.Schedule(tx, 50*time.Millisecond, OrderArgs{id})
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	ended, err := waitForJob(ctx, db, job)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ended.Function, ended.State, string(ended.Result))
	// Output: orders:expire succeeded "expired"
}

// waitForJob waits until a job has ended. A live query does the same for a client.
func waitForJob(ctx context.Context, db *engine.DB, id engine.JobID) (j engine.Job, err error) {
	published := make(chan struct{}, 1)
	stop := db.OnPublish(func(engine.Timestamp) {
		select {
		case published <- struct{}{}:
		default:
		}
	})
	defer stop()
	for {
		err := db.View(ctx, func(r *engine.ReadTx) error {
			d, err := engine.Jobs(db.Schema()).Get(r, id)
			if err == nil {
				j = d.Value
			}
			return err
		})
		if err != nil || !j.Finished.IsZero() {
			return j, err
		}
		<-published
	}
}

// An action may call out, so that it runs at most once unless it says that more is no harm. Its job tells how it went.
func ExampleRetry() {
	type Mail struct {
		To string `json:"to"`
	}
	schema := engine.NewSchema()
	failures := 2
	send := engine.Action(schema, "mail:send", func(_ *engine.ActionCtx, m Mail) (string, error) {
		if failures > 0 {
			failures--
			return "", engine.Errorf(engine.CodeBusy, "the mail server does not answer")
		}
		return "sent to " + m.To, nil
	}, engine.Retry(engine.RetryPolicy{Max: 4, Backoff: 10 * time.Millisecond}))

	db := openInMemory(schema)
	defer db.Close()
	var job engine.JobID
	err := db.Update(context.Background(), func(tx *engine.Tx) (err error) {
		job, err = send.Schedule(tx, 0, Mail{"ann@example.org"})
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	ended, err := waitForJob(context.Background(), db, job)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ended.State, "at attempt", ended.Attempts, string(ended.Result))
	// Output: succeeded at attempt 3 "sent to ann@example.org"
}

// A job can be taken back as long as it has not begun.
func ExampleCancelJob() {
	type Note struct {
		Text string `json:"text"`
	}
	schema := engine.NewSchema()
	remind := engine.Mutation(schema, "notes:remind", func(*engine.Tx, Note) (bool, error) { return true, nil })
	db := openInMemory(schema)
	defer db.Close()
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		job, err := remind.Schedule(tx, time.Hour, Note{"tea"})
		if err != nil {
			return err
		}
		state, err := engine.CancelJob(tx, job)
		fmt.Println(state)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: cancelled
}

// A cron runs a function from time to time. What it does next is in a document, like all else.
func ExampleMutationRef_Cron() {
	type None struct{}
	schema := engine.NewSchema()
	report := engine.Mutation(schema, "report:write", func(*engine.Tx, None) (bool, error) { return true, nil }, engine.Internal())
	report.Cron("weekday report", "30 8 * * mon-fri", None{}, engine.InZone("Europe/Berlin"))

	db := openInMemory(schema)
	defer db.Close()
	err := db.View(context.Background(), func(r *engine.ReadTx) error {
		cron, err := engine.Crons(schema).All(r).First()
		if err != nil {
			return err
		}
		berlin, err := time.LoadLocation(cron.Value.Zone)
		if err != nil {
			return err
		}
		fmt.Println(cron.Value.Name, "at", cron.Value.Next.In(berlin).Format("15:04"))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: weekday report at 08:30
}
