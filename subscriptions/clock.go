package subscriptions

import "time"

// Clock is the source of time of a Server: of its pings, of the expiry of tokens, and of how long it waits for things. A
// test hands in one that it moves by hand. Deadlines of writes to the network follow the machine's clock.
type Clock interface {
	Now() time.Time
	// AfterFunc runs f in its own goroutine once d has passed, and returns a function that prevents it; that reports
	// whether it did.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
