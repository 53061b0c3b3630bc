package password

import (
	"context"
	"crypto/rand"
	"sync"

	"github.com/mimosadb/mimosa/engine"
)

// gate lets a bounded number of functions run at a time, a bounded number wait, and turns away the rest.
type gate struct {
	slots   chan struct{}
	waiting chan struct{}
}

func newGate(slots, waiting int) *gate {
	return &gate{slots: make(chan struct{}, slots), waiting: make(chan struct{}, slots+waiting)}
}

var errBusy = engine.Errorf(engine.CodeBusy, "too many sign-ins at once; try again later")

// run runs fn in its turn, unless ctx ends before that.
func (g *gate) run(ctx context.Context, fn func() error) error {
	select {
	case g.waiting <- struct{}{}:
	default:
		return errBusy
	}
	defer func() { <-g.waiting }()
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-g.slots }()
	return fn()
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
