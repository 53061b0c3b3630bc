package webhook

import (
	"errors"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// seenEvent is an event that has taken effect. It says nothing of what was in it.
type seenEvent struct {
	// Source is the module's name.
	Source string `json:"source"`
	// Event is the sender's id of it.
	Event string `json:"event"`
	Type  string `json:"type"`
	// Digest is the hash of the body, by which it is noticed that a sender gives one id to two events.
	Digest  string    `json:"digest"`
	Expires time.Time `json:"expires"`
}

// seen are the events of all modules of a schema.
type seen struct {
	c       *engine.Collection[seenEvent]
	byID    *engine.Index[seenEvent]
	expires *engine.Index[seenEvent]
	prune   engine.MutationRef[struct{}, int]
}

// maxPruned bounds how many events one transaction forgets.
const maxPruned = 500

const fnPrune = "auth:pruneWebhookEvents"

type seenKey struct{}

func seenOf(s *engine.Schema) *seen {
	return engine.Attach(s, seenKey{}, func() *seen {
		e := &seen{c: engine.Define[seenEvent](s, "authWebhookEvents")}
		e.byID = e.c.AddUnique("event", "source", "event")
		e.expires = e.c.AddIndex("expires", "expires")
		e.prune = engine.Mutation(s, fnPrune, e.pruneSome, engine.Internal())
		e.prune.Cron(fnPrune, "@hourly", struct{}{})
		return e
	})
}

// note records that an event takes effect in tx. It returns false where it has before, and then whether the body was another.
// Of deliveries at the same time, one commits; the others are run again, and find it.
func (e *seen) note(tx *engine.Tx, v seenEvent) (first, other bool, err error) {
	d, err := e.byID.One(tx, v.Source, v.Event)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		_, err = e.c.Insert(tx, v)
		return true, false, err
	case err != nil:
		return false, false, err
	}
	return false, d.Value.Digest != v.Digest, nil
}

// pruneSome forgets events whose time is over, and goes on in another transaction where there are many.
func (e *seen) pruneSome(tx *engine.Tx, _ struct{}) (int, error) {
	over, err := e.expires.Scan(tx).Lte(tx.Now()).Limit(maxPruned).Collect()
	if err != nil {
		return 0, err
	}
	for _, d := range over {
		if err := e.c.Delete(tx, d.ID); err != nil {
			return 0, err
		}
	}
	if len(over) == maxPruned {
		if _, err := e.prune.Schedule(tx, 0, struct{}{}); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}
