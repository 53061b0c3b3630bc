package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// That a document is not there counts as read: whoever acts on it is run again when the document appears.
func TestMissingDocumentCountsAsRead(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema, func(o *engine.Options) { o.Limits = patient })
	ids, commit, created := make(chan engine.ID[account], 1), make(chan struct{}), make(chan error, 1)
	go func() {
		created <- db.Update(context.Background(), func(tx *engine.Tx) error {
			id, err := b.accounts.Insert(tx, account{Owner: "ann", Balance: 1})
			ids <- id
			<-commit
			return err
		})
	}()
	id := within(t, "the id", ids)
	runs := 0
	update(t, db, func(tx *engine.Tx) error {
		runs++
		_, err := b.accounts.Get(tx, id)
		if runs == 1 {
			if !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("before it is committed: %v, want not found", err)
			}
			close(commit)
			must(t, within(t, "the insert", created))
		} else if err == nil {
			return nil
		}
		return second(b.accounts.Insert(tx, account{Owner: "nobody is there"}))
	})
	if runs != 2 {
		t.Errorf("ran %d times, want 2", runs)
	}
	view(t, db, func(r *engine.ReadTx) error {
		n, err := b.accounts.All(r).Count()
		if n != 1 {
			t.Errorf("%d documents, want 1", n)
		}
		return err
	})
}

// bornAt is a store that tells the first who asks that its head is ts. Every opening of a real one has a head of its own.
type bornAt struct {
	storage.Store
	ts    storage.Timestamp
	asked atomic.Bool
}

func (s *bornAt) Head(ctx context.Context) (storage.Timestamp, error) {
	if s.asked.CompareAndSwap(false, true) {
		return s.ts, nil
	}
	return s.Store.Head(ctx)
}

// Two databases over one store that draw the same id, since seed and clock are the same: the second one draws again.
func TestEqualIDsOfTwoDatabases(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	must(t, reopen(t, shared, newBank().schema, nil))
	open := func() (*bank, *engine.DB) {
		b := newBank()
		return b, enginetest.Open(t, b.schema, func(o *engine.Options) {
			o.Store, o.Seed, o.Clock = &bornAt{Store: shared.Open(), ts: 1}, 5, fixedClock
		})
	}
	here, db := open()
	there, other := open()
	first := here.open(t, db, "ann", 1)
	var drawn []engine.ID[account]
	update(t, other, func(tx *engine.Tx) error {
		id, err := there.accounts.Insert(tx, account{Owner: "bob", Balance: 2})
		drawn = append(drawn, id)
		return err
	})
	if len(drawn) != 2 || drawn[0] != first || drawn[1] == first {
		t.Fatalf("drew %v, want %s and then another", drawn, first)
	}
	view(t, other, func(r *engine.ReadTx) error {
		for id, owner := range map[engine.ID[account]]string{first: "ann", drawn[1]: "bob"} {
			d, err := there.accounts.Get(r, id)
			if err != nil {
				return err
			}
			if d.Value.Owner != owner {
				t.Errorf("%s is of %s, want %s", id, d.Value.Owner, owner)
			}
		}
		return nil
	})
}
