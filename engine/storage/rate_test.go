package storage_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := storage.NewRate(storage.WithRate(t.Context(), 1<<20))
		start := time.Now()
		for range 50 {
			if err := r.Wait(t.Context(), 1<<18); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start).Round(50 * time.Millisecond); took != 12500*time.Millisecond {
			t.Errorf("50 times 256 KiB at 1 MiB a second took %v", took)
		}
		ending, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := r.Wait(ending, 1<<30); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("a wait whose context ends: %v after %v", err, time.Since(start))
		}
		var none *storage.Rate
		for _, r := range []*storage.Rate{none, storage.NewRate(t.Context()), storage.NewRate(storage.WithRate(t.Context(), 0))} {
			start = time.Now()
			if err := r.Wait(t.Context(), 1<<40); err != nil || time.Since(start) != 0 || r.PerSecond() != 0 {
				t.Errorf("without a bound: %v after %v", err, time.Since(start))
			}
		}
	})
}
