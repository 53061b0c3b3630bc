package interval_test

import (
	"fmt"

	"github.com/mimosadb/mimosa/engine/internal/interval"
)

// A scan that found nothing is a read too: an insert into its range is a conflict.
func ExampleSet() {
	var reads interval.Set
	reads.AddPoint([]byte("users/7"))
	reads.Add([]byte("messages/a"), []byte("messages/n"))
	fmt.Println(reads.Contains([]byte("users/7")), reads.Contains([]byte("messages/hello")), reads.Contains([]byte("messages/n")))
	// Output: true true false
}

func ExampleIndex() {
	var room, user interval.Set
	room.Add([]byte("messages/a"), []byte("messages/n"))
	user.AddPoint([]byte("users/7"))

	index := interval.NewIndex[string](0, 1)
	index.Add(&room, "messages:list")
	index.Add(&user, "users:me")
	index.Touch([]byte("messages/hello"), func(query string) bool {
		fmt.Println("rerun", query)
		return true
	})
	// Output: rerun messages:list
}
