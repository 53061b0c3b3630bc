package password

import (
	"context"
	"time"
)

// The bounds of the queue.
const (
	WaitersPerSlot = waitersPerSlot
	Patience       = patience
)

// NewGate returns what runs functions behind a gate.
func NewGate(slots, waiting int, patience time.Duration) func(context.Context, func() error) error {
	return newGate(slots, waiting, patience).run
}
