package promengine_test

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/promengine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

func ExampleNewCollector() {
	db, err := engine.Open(engine.NewSchema(), engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(promengine.NewCollector(db))
	families, err := registry.Gather()
	if err != nil {
		panic(err)
	}
	fmt.Println(families[0].GetName())
	// Output: mimosa_abandoned_functions
}
