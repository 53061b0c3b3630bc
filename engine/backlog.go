package engine

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Backlog bounds what may be under way when mutations come faster than the store commits them. A mutation that finds no room
// waits, before its function runs, and fails with ErrBusy when there is still none after Wait; nothing has happened then.
// Queries are not held up.
type Backlog struct {
	// Mutations is how many may run or wait for their commit at once; 8,192.
	Mutations int
	// Bytes is how much they may hold in memory that has been accepted and is not durable yet: keys, documents, index entries.
	// It is exceeded by one mutation at the most; 64 MiB.
	Bytes int64
	// Waiting is how many may wait for room; one more fails at once; 65,536.
	Waiting int
	// Wait is how long one waits; 5 s.
	Wait time.Duration
}

func (b Backlog) withDefaults() Backlog {
	if b.Mutations <= 0 {
		b.Mutations = 8192
	}
	if b.Bytes <= 0 {
		b.Bytes = 64 << 20
	}
	if b.Waiting <= 0 {
		b.Waiting = 64 << 10
	}
	if b.Wait <= 0 {
		b.Wait = 5 * time.Second
	}
	return b
}

// backlog lets mutations in, first come, first served.
type backlog struct {
	limits Backlog

	mu      sync.Mutex // guards all below
	members int        // that are in
	bytes   int64      // accepted and not published
	waiting list.List  // of chan struct{}, which is closed when its mutation is in; the first to come is the first
}

func errBusy() error {
	return &Error{Code: CodeBusy, Message: "there are more mutations than can be committed; try again later"}
}

// enter waits for room until the deadline or the end of ctx. Who gets in must leave.
func (b *backlog) enter(ctx context.Context, deadline time.Time) error {
	b.mu.Lock()
	if b.waiting.Len() == 0 && b.room() {
		b.members++
		b.mu.Unlock()
		return nil
	}
	if b.waiting.Len() >= b.limits.Waiting {
		b.mu.Unlock()
		return errBusy()
	}
	in := make(chan struct{})
	place := b.waiting.PushBack(in)
	b.mu.Unlock()

	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var err error
	select {
	case <-in:
		return nil
	case <-timer.C:
		err = errBusy()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-in: // just now
		return nil
	default:
	}
	b.waiting.Remove(place)
	return err
}

// reenter lets others pass and waits for room again. After a failure, too, the caller is in, and must leave.
func (b *backlog) reenter(ctx context.Context, deadline time.Time) error {
	if !time.Now().Before(deadline) {
		return errBusy()
	}
	b.leave()
	err := b.enter(ctx, deadline)
	if err != nil {
		b.mu.Lock()
		b.members++
		b.mu.Unlock()
	}
	return err
}

func (b *backlog) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members--
	b.admit()
}

// add counts what was accepted, unless there is too much already.
func (b *backlog) add(bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes >= b.limits.Bytes {
		return false
	}
	b.bytes += bytes
	return true
}

// remove counts out what was published, or taken back.
func (b *backlog) remove(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= bytes
	b.admit()
}

func (b *backlog) room() bool { return b.members < b.limits.Mutations && b.bytes < b.limits.Bytes }

// admit lets in whom there is room for. The caller holds the lock.
func (b *backlog) admit() {
	for b.waiting.Len() > 0 && b.room() {
		b.members++
		close(b.waiting.Remove(b.waiting.Front()).(chan struct{}))
	}
}

// state is for the metrics.
func (b *backlog) state() (members, waiting int, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.members, b.waiting.Len(), b.bytes
}
