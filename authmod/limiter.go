package authmod

import (
	"sync"
	"time"
)

// Limiter bounds how often something may fail under one key, such as sign-ins to one account: a bucket of max attempts a key,
// refilled evenly over per. An attempt is taken before its outcome is known, so that a burst in parallel counts, and given
// back by Reset when it succeeds. It lives in memory: a restart forgets it, and several processes count apart. It is safe
// for concurrent use.
type Limiter struct {
	max int
	per time.Duration

	mu      sync.Mutex
	buckets map[string]bucket // guarded by mu
	swept   time.Time         // guarded by mu
}

// bucket holds how many attempts were used up at a time; they come back as time goes by.
type bucket struct {
	used float64
	at   time.Time
}

// maxBuckets bounds the memory that a Limiter takes: about 20 MB with keys of the length of an e-mail address.
const maxBuckets = 100_000

// NewLimiter returns a limiter of max attempts a key, which come back evenly over per. A max below 1 is no limit.
func NewLimiter(max int, per time.Duration) *Limiter {
	return &Limiter{max: max, per: per, buckets: map[string]bucket{}}
}

// Take counts an attempt under key. When there is none left it says so, and after how long there is one.
func (l *Limiter) Take(key string, now time.Time) (retryAfter time.Duration, ok bool) {
	if l.max < 1 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[key]
	b.used, b.at = l.usedAt(b, now), now
	if b.used > float64(l.max)-1 {
		over := b.used - float64(l.max) + 1
		return max(time.Duration(over*float64(l.per)/float64(l.max)), time.Millisecond), false
	}
	b.used++
	if !known && len(l.buckets) >= maxBuckets {
		l.makeRoom(now)
	}
	l.buckets[key] = b
	return 0, true
}

// Reset forgets the attempts under key.
func (l *Limiter) Reset(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.buckets, key)
}

func (l *Limiter) usedAt(b bucket, now time.Time) float64 {
	gone := max(now.Sub(b.at), 0) // the clock may step back
	return max(b.used-float64(gone)*float64(l.max)/float64(l.per), 0)
}

// makeRoom drops what has recovered; where that is nothing, the least used of a few. Whoever fills the limiter with made-up
// keys thereby pushes out made-up keys rather than an account under attack.
func (l *Limiter) makeRoom(now time.Time) {
	if since := now.Sub(l.swept); since < 0 || since > l.per/100 { // a sweep looks at them all: not for every new key
		l.swept = now
		for k, b := range l.buckets {
			if l.usedAt(b, now) == 0 {
				delete(l.buckets, k)
			}
		}
	}
	for len(l.buckets) >= maxBuckets {
		var victim string
		least, seen := 0.0, 0
		for k, b := range l.buckets { // Go's order is random
			if used := l.usedAt(b, now); seen == 0 || used < least {
				victim, least = k, used
			}
			if seen++; seen == 32 {
				break
			}
		}
		delete(l.buckets, victim)
	}
}
