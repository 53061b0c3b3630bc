package authmod_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	l := authmod.NewLimiter(3, time.Hour)
	for i := range 3 {
		if _, ok := l.Take("a", now); !ok {
			t.Fatalf("attempt %d refused", i)
		}
	}
	wait, ok := l.Take("a", now)
	if ok || wait != 20*time.Minute {
		t.Fatalf("the fourth: %v, after %v", ok, wait)
	}
	if _, ok := l.Take("b", now); !ok {
		t.Error("another key is refused")
	}
	if _, ok := l.Take("a", now.Add(wait-time.Second)); ok {
		t.Error("allowed before its time")
	}
	if _, ok := l.Take("a", now.Add(wait)); !ok {
		t.Error("refused when its time has come")
	}
	if _, ok := l.Take("a", now.Add(wait-time.Hour)); ok {
		t.Error("a clock that steps back gives attempts")
	}
	l.Reset("a")
	for i := range 3 {
		if _, ok := l.Take("a", now.Add(wait)); !ok {
			t.Fatalf("attempt %d after a reset refused", i)
		}
	}
	unlimited := authmod.NewLimiter(-1, time.Hour)
	for range 100 {
		if _, ok := unlimited.Take("a", now); !ok {
			t.Fatal("no limit is one")
		}
	}
}

func TestLimiterInParallel(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	l := authmod.NewLimiter(10, time.Hour)
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if _, ok := l.Take("a", now); ok {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := allowed.Load(); n != 10 {
		t.Errorf("%d attempts allowed, want 10", n)
	}
}

// A flood of made-up keys neither takes memory without bound nor frees the key under attack.
func TestLimiterUnderAFlood(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	l := authmod.NewLimiter(5, time.Hour)
	for range 5 {
		l.Take("victim", now)
	}
	for i := range 150_000 {
		l.Take(strconv.Itoa(i), now)
	}
	if _, ok := l.Take("victim", now); ok {
		t.Error("the flood has washed the victim's count away")
	}
}
