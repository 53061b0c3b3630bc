package memstore_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Two handles over one memory are like two processes over one server: what one has committed, the other is handed as missed
// at its next commit, before it decides what to write.
func ExampleShared() {
	ctx := context.Background()
	shared := memstore.NewShared(memstore.Options{})
	here, there := shared.Open(), shared.Open()
	defer func() { _ = here.Close() }()
	defer func() { _ = there.Close() }()

	_, err := here.Commit(ctx, storage.GroupID{1}, func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{
			Writes: []storage.Write{{Key: []byte("greeting"), Value: []byte("hello")}},
			Log:    []byte("greeting was set"),
		}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = there.Commit(ctx, storage.GroupID{2}, func(missed []storage.LogEntry) (storage.Group, error) {
		for _, m := range missed {
			fmt.Printf("missed: %s\n", m.Log)
		}
		return storage.Group{Cancel: true}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// missed: greeting was set
}
