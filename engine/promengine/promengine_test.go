package promengine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/promengine"
)

type note struct {
	Text string `json:"text"`
}

// What is collected is what the database says, under names that follow the conventions.
func TestCollector(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	notes := engine.Define[note](s, "notes")
	db := enginetest.Open(t, s)
	c := promengine.NewCollector(db)
	for i := range 3 {
		if err := db.Update(context.Background(), func(tx *engine.Tx) error {
			_, err := notes.Insert(tx, note{fmt.Sprint(i)})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v (%v)", problems, err)
	}
	m := db.Metrics()
	want := fmt.Sprintf(`
# HELP mimosa_committed_mutations_total Mutations that have become durable.
# TYPE mimosa_committed_mutations_total counter
mimosa_committed_mutations_total 3
# HELP mimosa_written_bytes_total Bytes of keys, values and log that commits wrote.
# TYPE mimosa_written_bytes_total counter
mimosa_written_bytes_total %d
# HELP mimosa_function_failures_total Runs of functions that ended with an error.
# TYPE mimosa_function_failures_total counter
mimosa_function_failures_total{kind="action"} 0
mimosa_function_failures_total{kind="mutation"} 0
mimosa_function_failures_total{kind="query"} 0
`, m.Bytes)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"mimosa_committed_mutations_total", "mimosa_written_bytes_total", "mimosa_function_failures_total"); err != nil {
		t.Error(err)
	}
}

// fixed are metrics that stand still.
type fixed engine.Metrics

func (f fixed) Metrics() engine.Metrics { return engine.Metrics(f) }

// Buckets are cumulative, and the values above all bounds are in the count alone.
func TestHistograms(t *testing.T) {
	t.Parallel()
	f := fixed{GroupSize: engine.Histogram{Bounds: []float64{1, 4}, Counts: []uint64{2, 3, 5}, Count: 10, Sum: 77}}
	want := `
# HELP mimosa_commit_group_mutations Mutations in a group.
# TYPE mimosa_commit_group_mutations histogram
mimosa_commit_group_mutations_bucket{le="1"} 2
mimosa_commit_group_mutations_bucket{le="4"} 5
mimosa_commit_group_mutations_bucket{le="+Inf"} 10
mimosa_commit_group_mutations_sum 77
mimosa_commit_group_mutations_count 10
`
	if err := testutil.CollectAndCompare(promengine.NewCollector(f), strings.NewReader(want), "mimosa_commit_group_mutations"); err != nil {
		t.Error(err)
	}
}
