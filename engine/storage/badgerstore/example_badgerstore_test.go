package badgerstore_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "badgerstore")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := badgerstore.Open(badgerstore.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = s.Close() }()

	// Two groups; the second replaces what the first has stored.
	var stamps []storage.Timestamp
	for i, text := range []string{"hello", "goodbye"} {
		ts, err := s.Commit(ctx, storage.GroupID{byte(i)}, func([]storage.LogEntry) (storage.Group, error) {
			return storage.Group{Writes: []storage.Write{{Key: []byte("greeting"), Value: []byte(text)}}}, nil
		})
		if err != nil {
			log.Fatal(err)
		}
		stamps = append(stamps, ts)
	}

	// Each timestamp still shows what was there.
	for _, ts := range stamps {
		snap, err := s.At(ctx, ts)
		if err != nil {
			log.Fatal(err)
		}
		kv, _, err := snap.Get([]byte("greeting"))
		snap.Close()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(kv.Value))
	}
	// Output:
	// hello
	// goodbye
}
