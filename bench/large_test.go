package bench_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// BenchmarkLargeMutation is one mutation of 16,000 documents with an index each, as many as the limits allow: how long its
// function ran, and all until it was durable.
func BenchmarkLargeMutation(b *testing.B) {
	type reading struct {
		Meter string `json:"meter"`
		Value int    `json:"value"`
		Note  string `json:"note"`
	}
	s := engine.NewSchema()
	readings := engine.Define[reading](s, "readings")
	readings.AddIndex("byMeter", "meter", "value")
	db, err := engine.Open(s, engine.Options{Dir: b.TempDir(), Limits: engine.Limits{FunctionTime: time.Minute}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	const documents = 16_000
	var inside time.Duration
	b.ReportAllocs()
	for b.Loop() {
		var took time.Duration
		err := db.Update(b.Context(), func(tx *engine.Tx) error {
			began := time.Now()
			for i := range documents {
				r := reading{Meter: fmt.Sprintf("%06d", i*7919%documents), Value: i, Note: "some words, as many as a message has in a chat that goes on"}
				if _, err := readings.Insert(tx, r); err != nil {
					return err
				}
			}
			took = time.Since(began)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		inside += took
	}
	b.ReportMetric(inside.Seconds()/float64(b.N), "function-s/op")
	b.ReportMetric(documents*float64(b.N)/b.Elapsed().Seconds(), "documents/s")
}

// BenchmarkMetrics is one look at the metrics of a database, as often as somebody scrapes them.
func BenchmarkMetrics(b *testing.B) {
	s := engine.NewSchema()
	db, err := engine.Open(s, engine.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		if m := db.Metrics(); m.Published == 0 {
			b.Fatal("nothing is published")
		}
	}
}
