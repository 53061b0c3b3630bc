package authmod_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
)

// fail makes an attempt that fails, if it is let through.
func fail(l *authmod.Limiter, key string, now time.Time) (retryAfter time.Duration, ok bool) {
	try, wait := l.Begin(key, now)
	if try == nil {
		return wait, false
	}
	defer try.End()
	try.Fail(now)
	return 0, true
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	l := authmod.NewLimiter(3, time.Hour)
	for i := range 3 {
		if _, ok := fail(l, "a", now); !ok {
			t.Fatalf("attempt %d refused", i)
		}
	}
	wait, ok := fail(l, "a", now)
	if ok || wait != 20*time.Minute {
		t.Fatalf("the fourth: %v, after %v", ok, wait)
	}
	if _, ok := fail(l, "b", now); !ok {
		t.Error("another key is refused")
	}
	if _, ok := fail(l, "a", now.Add(wait-time.Second)); ok {
		t.Error("allowed before its time")
	}
	try, _ := l.Begin("a", now.Add(wait))
	if try == nil {
		t.Fatal("refused when its time has come")
	}
	if wait, ok := try.Again(now.Add(wait)); !ok || wait != 0 {
		t.Errorf("not again: %v %v", wait, ok)
	}
	if try, _ := l.Begin("a", now.Add(wait-time.Hour)); try != nil {
		t.Error("a clock that steps back gives attempts")
	}
	try.Succeed()
	for i := range 3 {
		if _, ok := fail(l, "a", now.Add(wait)); !ok {
			t.Fatalf("attempt %d after a success refused", i)
		}
	}
	unlimited := authmod.NewLimiter(-1, time.Hour)
	var open []*authmod.Try
	for range 2 * authmod.MaxUnderWay {
		try, _ := unlimited.Begin("a", now)
		if try == nil {
			t.Fatal("no limit is one")
		}
		if _, ok := try.Again(now); !ok {
			t.Fatal("no limit is one the second time")
		}
		open = append(open, try)
	}
	for _, try := range open {
		try.Fail(now)
	}
}

// An attempt counts by how it ends, once.
func TestLimiterCountsFailures(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	l := authmod.NewLimiter(2, time.Hour)
	for range 10 {
		try, _ := l.Begin("a", now)
		if try == nil {
			t.Fatal("what did not fail counts")
		}
		try.End()
		try.Fail(now) // too late
	}
	first, _ := l.Begin("a", now)
	second, _ := l.Begin("a", now)
	first.Fail(now)
	first.Fail(now)
	if _, ok := second.Again(now); !ok {
		t.Error("a failure counts twice")
	}
	if _, ok := fail(l, "a", now); !ok {
		t.Error("the second failure is refused")
	}
	if wait, ok := second.Again(now); ok || wait != 30*time.Minute {
		t.Errorf("again after the limit: %v %v", wait, ok)
	}
	// What was under way may fail beyond the limit, and is made up for by waiting longer.
	second.Fail(now)
	if wait, ok := fail(l, "a", now); ok || wait != time.Hour {
		t.Errorf("beyond the limit: %v %v", wait, ok)
	}
}

func TestLimiterBoundsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	l := authmod.NewLimiter(10, time.Hour)
	var begun atomic.Int64
	var all sync.WaitGroup
	tries := make(chan *authmod.Try, authmod.MaxUnderWay)
	for range 8 {
		all.Go(func() {
			for range authmod.MaxUnderWay {
				if try, wait := l.Begin("a", now); try != nil {
					begun.Add(1)
					tries <- try
				} else if wait != time.Second {
					t.Errorf("wait %v", wait)
				}
			}
		})
	}
	all.Wait()
	if n := begun.Load(); n != authmod.MaxUnderWay {
		t.Errorf("%d attempts begun, want %d", n, authmod.MaxUnderWay)
	}
	(<-tries).End()
	if try, _ := l.Begin("a", now); try == nil {
		t.Error("a place that was given back is not given away")
	}
}

// A flood of made-up keys neither takes memory without bound nor frees the key under attack.
func TestLimiterUnderAFlood(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	l := authmod.NewLimiter(5, time.Hour)
	for range 5 {
		fail(l, "victim", now)
	}
	for i := range 150_000 {
		fail(l, strconv.Itoa(i), now)
	}
	if _, ok := fail(l, "victim", now); ok {
		t.Error("the flood has washed the victim's count away")
	}
}
