package subscriptions_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// forgetful is a store that no longer keeps what it is asked for, as often as it is told to.
type forgetful struct {
	storage.Store
	times atomic.Int64
}

func (s *forgetful) Budget() (int, int64) { return s.Store.(storage.Budget).Budget() }

func (s *forgetful) At(ctx context.Context, ts storage.Timestamp) (storage.Snapshot, error) {
	if s.times.Add(-1) >= 0 {
		return nil, storage.ErrTooOld
	}
	return s.Store.At(ctx, ts)
}

// When versions go before queries could be evaluated at them, that is begun anew, and nothing of it is forgotten: what is
// watched is answered, what is removed confirmed.
func TestVersionsGoneWhileEvaluating(t *testing.T) {
	t.Parallel()
	store := &forgetful{Store: memstore.New(memstore.Options{})}
	h := setup(t, subscriptions.Options{}, func(o *engine.Options) { o.Store = store })
	c := h.connect()
	c.watch(0, "notes:list", `{"room":"a"}`)
	c.until("the first query", func() bool { return c.values[0] == `[]` })
	store.times.Store(3)
	m := &wire.ModifyQuerySet{BaseVersion: c.next, NewVersion: c.next + 1, Modifications: []wire.QueryChange{
		{Remove: true, QueryID: 0},
		{QueryID: 1, Path: "notes:list", Args: json.RawMessage(`{"room":"b"}`)},
	}}
	c.next++
	c.send(m)
	c.until("the second query", func() bool { return c.values[1] == `[]` })
	if v, there := c.values[0]; there {
		t.Errorf("the removed query was not confirmed: it is still %s", v)
	}
	if n := store.times.Load(); n >= 0 {
		t.Errorf("the store was to forget %d times more", n)
	}
}
