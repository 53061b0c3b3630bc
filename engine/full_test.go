package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// fullStore refuses commits for want of space while full is set.
type fullStore struct {
	storage.Store
	full    chan struct{} // holds a token for the commit that is to find no space
	arrived chan struct{} // closed when that commit is there
	held    chan struct{} // closed when it may go on
}

func (s *fullStore) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	select {
	case <-s.full:
		close(s.arrived)
		<-s.held
		return 0, storage.ErrFull
	default:
		return s.Store.Commit(ctx, id, build)
	}
}

// A store without space refuses mutations; nothing of them is left, and the database goes on when there is space again.
func TestFullStoreRefusesAndGoesOn(t *testing.T) {
	t.Parallel()
	b := newBank()
	store := &fullStore{Store: memstore.New(memstore.Options{}), full: make(chan struct{}, 1), arrived: make(chan struct{}), held: make(chan struct{})}
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Store = store })
	id := b.open(t, db, "ann", 1)

	store.full <- struct{}{}
	add := func(tx *engine.Tx) error {
		return b.accounts.Patch(tx, id, func(a *account) error { a.Balance++; return nil })
	}
	refused := make(chan error)
	go func() { refused <- db.Update(context.Background(), add) }()
	<-store.arrived
	// The next one reads what is going to be refused, and is run again on what is there then.
	next := make(chan error)
	ran := make(chan int, 10)
	go func() {
		next <- db.Update(context.Background(), func(tx *engine.Tx) error {
			d, err := b.accounts.Get(tx, id)
			if err != nil {
				return err
			}
			ran <- d.Value.Balance
			return add(tx)
		})
	}()
	<-ran
	close(store.held)
	if err := <-refused; !errors.Is(err, &engine.Error{Code: engine.CodeBusy}) || !errors.Is(err, storage.ErrFull) {
		t.Errorf("without space: %v, want an error of code busy", err)
	}
	if err := <-next; err != nil {
		t.Errorf("after that: %v", err)
	}
	view(t, db, func(r *engine.ReadTx) error {
		d, err := b.accounts.Get(r, id)
		if err == nil && d.Value.Balance != 2 {
			t.Errorf("the balance is %d, want 2: one addition was refused, one was not", d.Value.Balance)
		}
		return err
	})
}
