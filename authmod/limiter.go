package authmod

import (
	"sync"
	"time"
)

// Limiter bounds how often something may fail under one key, such as sign-ins to one account: a bucket of max failures a key,
// refilled evenly over per. What counts is what an attempt turns out to be: one that ends neither by Fail nor by Succeed
// changes nothing. Attempts under way are bounded apart from that, to MaxUnderWay a key, so many may fail beyond max when
// they begin all at once; the key then takes as much longer to recover. Who verifies something guessable asks Try.Again right
// before, which narrows that down to what is verified at the same time. Where it counts that something is done at all, and not
// how it ends, Take counts at once, and never beyond max.
//
// Modules use it by Attempt.Guard, which heeds the limit of the caller's network too, or by Attempt.AllowSend.
//
// It lives in memory: a restart forgets it, and several processes count apart. It is safe for concurrent use.
type Limiter struct {
	max      int
	per      time.Duration
	underWay int // attempts a key

	mu      sync.Mutex
	buckets map[string]bucket // guarded by mu
	swept   time.Time         // guarded by mu
}

// MaxUnderWay bounds the attempts under one key of a Limiter that have begun and not ended.
const MaxUnderWay = 128

// bucket holds how many failures there were at a time, which are forgotten as time goes by, and how many attempts are under
// way.
type bucket struct {
	failed   float64
	at       time.Time
	underWay int
}

// maxBuckets bounds the memory that a Limiter takes: about 20 MB with keys of the length of an e-mail address.
const maxBuckets = 100_000

// NewLimiter returns a limiter of max failures a key, which are forgotten evenly over per. A max below 1 is no limit, of
// attempts under way neither.
func NewLimiter(max int, per time.Duration) *Limiter {
	return &Limiter{max: max, per: per, underWay: MaxUnderWay, buckets: map[string]bucket{}}
}

// Try is an attempt that Limiter.Begin let through. It belongs to one goroutine.
type Try struct {
	limiter *Limiter
	key     string
	ended   bool
}

// Begin begins an attempt under key, which the caller ends by End. The Try is nil where there are too many failures, or too
// many attempts under way; retryAfter then says when to come again.
func (l *Limiter) Begin(key string, now time.Time) (t *Try, retryAfter time.Duration) {
	if l.max < 1 {
		return &Try{limiter: l, ended: true}, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[key]
	if wait := l.wait(b, now); wait > 0 {
		return nil, wait
	}
	if b.underWay >= l.underWay {
		return nil, time.Second
	}
	if !known {
		l.makeRoom(now)
	}
	b.underWay++
	l.buckets[key] = b
	return &Try{limiter: l, key: key}, 0
}

// Take counts one under key, whatever becomes of it, unless there are too many; retryAfter then says when to come again, and
// nothing is counted.
func (l *Limiter) Take(key string, now time.Time) (retryAfter time.Duration, ok bool) {
	if l.max < 1 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[key]
	if wait := l.wait(b, now); wait > 0 {
		return wait, false
	}
	if !known {
		l.makeRoom(now)
	}
	b.failed, b.at = l.failedAt(b, now)+1, now
	l.buckets[key] = b
	return 0, true
}

// giveBack undoes a Take of just now.
func (l *Limiter) giveBack(key string, now time.Time) {
	if l.max < 1 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	b.failed, b.at = max(l.failedAt(b, now)-1, 0), now
	l.put(key, b)
}

// Again says whether there are still failures left under the key, and if not, when to come again.
func (t *Try) Again(now time.Time) (retryAfter time.Duration, ok bool) {
	l := t.limiter
	if l.max < 1 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := l.wait(l.buckets[t.key], now)
	return wait, wait == 0
}

// Fail counts the attempt as failed, and ends it.
func (t *Try) Fail(now time.Time) {
	t.end(func(l *Limiter, b bucket) bucket {
		b.failed, b.at = l.failedAt(b, now)+1, now
		return b
	})
}

// Succeed forgets the key's failures, and ends the attempt.
func (t *Try) Succeed() {
	t.end(func(_ *Limiter, b bucket) bucket {
		b.failed = 0
		return b
	})
}

// End ends the attempt, uncounted if it has not ended yet. To call it again does nothing.
func (t *Try) End() { t.end(func(_ *Limiter, b bucket) bucket { return b }) }

func (t *Try) end(change func(*Limiter, bucket) bucket) {
	if t.ended {
		return
	}
	t.ended = true
	l := t.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[t.key] // the zero one if it has been dropped to make room
	b.underWay = max(b.underWay-1, 0)
	l.put(t.key, change(l, b))
}

// put stores a bucket, unless there is nothing in it. l.mu is held.
func (l *Limiter) put(key string, b bucket) {
	if b.failed == 0 && b.underWay == 0 {
		delete(l.buckets, key)
		return
	}
	l.buckets[key] = b
}

// wait is how long it takes until one more may fail; 0 when one may now. l.mu is held.
func (l *Limiter) wait(b bucket, now time.Time) time.Duration {
	over := l.failedAt(b, now) - float64(l.max) + 1
	if over <= 0 {
		return 0
	}
	return max(time.Duration(over*float64(l.per)/float64(l.max)), time.Millisecond)
}

func (l *Limiter) failedAt(b bucket, now time.Time) float64 {
	gone := max(now.Sub(b.at), 0) // the clock may step back
	return max(b.failed-float64(gone)*float64(l.max)/float64(l.per), 0)
}

// makeRoom makes room for one more key, if there is none: it drops what has recovered; where that is nothing, the least used of
// a few. Whoever fills the limiter with made-up keys thereby pushes out made-up keys rather than an account under attack. l.mu is
// held.
func (l *Limiter) makeRoom(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	use := func(b bucket) float64 { return l.failedAt(b, now) + float64(b.underWay) }
	if since := now.Sub(l.swept); since < 0 || since > l.per/100 { // a sweep looks at them all: not for every new key
		l.swept = now
		for k, b := range l.buckets {
			if use(b) == 0 {
				delete(l.buckets, k)
			}
		}
	}
	for len(l.buckets) >= maxBuckets {
		var victim string
		least, seen := 0.0, 0
		for k, b := range l.buckets { // Go's order is random
			if used := use(b); seen == 0 || used < least {
				victim, least = k, used
			}
			if seen++; seen == 32 {
				break
			}
		}
		delete(l.buckets, victim)
	}
}
