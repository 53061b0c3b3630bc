package password

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// gate lets a bounded number of functions run at a time. A bounded number wait, first come, first served, for a bounded time;
// the rest is turned away.
type gate struct {
	slots    chan struct{}
	waiting  chan struct{}
	patience time.Duration
}

func newGate(slots, waiting int, patience time.Duration) *gate {
	return &gate{make(chan struct{}, slots), make(chan struct{}, slots+waiting), patience}
}

var errBusy = engine.Errorf(engine.CodeBusy, "too many sign-ins at once; try again later")

// run runs fn in its turn, unless ctx or the gate's patience ends before that.
func (g *gate) run(ctx context.Context, fn func() error) error {
	select {
	case g.waiting <- struct{}{}:
	default:
		return errBusy
	}
	defer func() { <-g.waiting }()
	if err := g.enter(ctx); err != nil {
		return err
	}
	defer func() { <-g.slots }()
	return fn()
}

// enter waits for a slot, which the caller gives back.
func (g *gate) enter(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	late := time.NewTimer(g.patience)
	defer late.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-late.C:
		return errBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// decoy is a hash that nobody knows the password of, for the work of verifying where there is none. It is made at the first
// sign-in of whatever kind, so that no later one takes longer for it.
type decoy struct {
	mu    sync.Mutex
	value string // guarded by mu
}

func (d *decoy) hash(c Crypto) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.value != "" {
		return d.value, nil
	}
	hash, err := c.Hash(rand.Text())
	if err == nil {
		d.value = hash
	}
	return hash, err
}
