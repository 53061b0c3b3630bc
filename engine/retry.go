package engine

import (
	"errors"
	"time"
)

// RetryPolicy says how often a scheduled action is attempted, and how long to wait in between: after the n-th failure
// Backoff·2ⁿ⁻¹, at most MaxBackoff, of which between a half and the whole is waited, at random. A zero field means its default.
type RetryPolicy struct {
	// Max is how many attempts there are in all; 5.
	Max int
	// Backoff is the wait before the second attempt; one second.
	Backoff time.Duration
	// MaxBackoff is the longest wait; one hour.
	MaxBackoff time.Duration
	// If says whether an error is worth another attempt; when nil every one is, but for code invalid. The error is what the action
	// returned, in its public form, with the original as its cause, or one of code interrupted.
	If func(error) bool
}

const (
	defaultAttempts   = 5
	defaultBackoff    = time.Second
	defaultMaxBackoff = time.Hour
)

// Retry has the scheduled runs of an action attempted again when they fail or are interrupted, a crash of the program included:
// the action must bear to be run more than once. It is for actions alone. Calls by clients and by other functions are not
// repeated, they are answered with their error. The job keeps the number of attempts and the last error.
func Retry(p RetryPolicy) Option { return func(f *function) { f.retry = &p } }

var errRetryKind = errors.New("Retry is for actions: a mutation is run again where it was not to blame, and has failed otherwise")

func (p *RetryPolicy) check() error {
	if p.Max < 0 || p.Backoff < 0 || p.MaxBackoff < 0 {
		return errors.New("Retry with a negative number")
	}
	return nil
}

// after returns how long to wait when an attempt has failed, and whether there is to be another one. random is in [0, 1).
func (p *RetryPolicy) after(attempts int, err error, random float64) (time.Duration, bool) {
	if p == nil {
		return 0, false
	}
	most := p.Max
	if most == 0 {
		most = defaultAttempts
	}
	if attempts >= most {
		return 0, false
	}
	if p.If != nil && !p.If(err) || p.If == nil && errors.Is(err, ErrInvalid) {
		return 0, false
	}
	first, longest := p.Backoff, p.MaxBackoff
	if first == 0 {
		first = defaultBackoff
	}
	if longest == 0 {
		longest = defaultMaxBackoff
	}
	return jittered(first, longest, attempts, random), true
}

// jittered returns between a half and the whole of first·2ⁿ⁻¹, at most longest.
func jittered(first, longest time.Duration, n int, random float64) time.Duration {
	wait := min(first, longest)
	for i := 1; i < n && wait < longest; i++ {
		wait = min(2*wait, longest)
	}
	return wait/2 + time.Duration(random*float64(wait/2))
}
