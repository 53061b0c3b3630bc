package subscriptions_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/subscriptions"
)

type greeting struct {
	Name string `json:"name"`
}

// A program mounts the server beside its own routes, and shuts it down before its database.
func ExampleServer() {
	schema := engine.NewSchema()
	engine.Query(schema, "greetings:hello", func(_ *engine.ReadTx, in greeting) (string, error) {
		return "hello " + in.Name, nil
	})
	db, err := engine.Open(schema, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := subscriptions.New(db, subscriptions.Options{AllowedOrigins: []string{"https://app.example.com"}})
	mux := http.NewServeMux()
	mux.Handle("/api/", server)
	web := httptest.NewServer(mux)

	resp, err := http.Post(web.URL+"/api/query", "application/json",
		strings.NewReader(`{"path":"greetings:hello","args":[{"name":"ann"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Println(resp.StatusCode, string(body))

	web.Close()
	if err := server.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	if err := db.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: 200 {"status":"success","value":"hello ann","logLines":[]}
}
