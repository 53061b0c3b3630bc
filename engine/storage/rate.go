package storage

import (
	"context"
	"time"
)

// Rate bounds how fast something reads, so that it leaves the disk and the processor to others. It is used by one goroutine at
// a time. The nil Rate does not bound anything.
type Rate struct {
	perSecond int64
	start     time.Time
	done      int64
}

type rateKey struct{}

// WithRate returns a context under which a [Verifier] reads so many bytes a second, on average. Zero or less is no bound.
func WithRate(ctx context.Context, bytesPerSecond int64) context.Context {
	return context.WithValue(ctx, rateKey{}, bytesPerSecond)
}

// NewRate returns the bound that a context was given by WithRate, which counts from now; nil where there is none.
func NewRate(ctx context.Context) *Rate {
	perSecond, _ := ctx.Value(rateKey{}).(int64)
	if perSecond <= 0 {
		return nil
	}
	return &Rate{perSecond: perSecond, start: time.Now()}
}

// PerSecond returns the bound in bytes a second, zero for none.
func (r *Rate) PerSecond() int64 {
	if r == nil {
		return 0
	}
	return r.perSecond
}

// rest is the shortest time that is worth waiting for.
const rest = 10 * time.Millisecond

// Wait counts bytes that were read, and waits until it is time to read on, or ctx ends.
func (r *Rate) Wait(ctx context.Context, bytes int) error {
	if r == nil {
		return ctx.Err()
	}
	r.done += int64(bytes)
	due := time.Duration(float64(r.done) / float64(r.perSecond) * float64(time.Second))
	ahead := due - time.Since(r.start)
	if ahead < rest {
		return ctx.Err()
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
