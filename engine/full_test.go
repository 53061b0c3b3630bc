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

// A function that read what was refused in the end is run again, even if it was still running then.
func TestReadOfARefusedWriteIsRunAgain(t *testing.T) {
	t.Parallel()
	b := newBank()
	store := &fullStore{Store: memstore.New(memstore.Options{}), full: make(chan struct{}, 1), arrived: make(chan struct{}), held: make(chan struct{})}
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Store, o.Limits = store, patient })
	id := b.open(t, db, "ann", 1)

	store.full <- struct{}{}
	refused := make(chan error, 1)
	go func() {
		refused <- db.Update(context.Background(), func(tx *engine.Tx) error {
			return b.accounts.Patch(tx, id, func(a *account) error { a.Balance = 100; return nil })
		})
	}()
	within(t, "the commit", store.arrived)
	var seen []int
	read, goOn, done := make(chan struct{}, 100), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- db.Update(context.Background(), func(tx *engine.Tx) error {
			d, err := b.accounts.Get(tx, id)
			if err != nil {
				return err
			}
			seen = append(seen, d.Value.Balance)
			read <- struct{}{}
			<-goOn
			return second(b.accounts.Insert(tx, account{Owner: "copy", Balance: d.Value.Balance}))
		})
	}()
	within(t, "the read", read)
	close(store.held)
	if err := within(t, "the refusal", refused); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("without space: %v", err)
	}
	close(goOn)
	if err := within(t, "the copy", done); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0] != 100 || seen[1] != 1 {
		t.Errorf("its runs read %v, want 100, which was refused, and then 1", seen)
	}
	view(t, db, func(r *engine.ReadTx) error {
		d, err := b.byOwner.One(r, "copy")
		if err == nil && d.Value.Balance != 1 {
			t.Errorf("copied %d, a value that never was", d.Value.Balance)
		}
		return err
	})
}
