package engine_test

import (
	"context"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

type account struct {
	Owner   string `json:"owner" jsonschema:"minLength=1"`
	Balance int    `json:"balance"`
	Note    string `json:"note,omitempty"`
}

// bank is the schema that most tests use.
type bank struct {
	schema   *engine.Schema
	accounts *engine.Collection[account]
	byOwner  *engine.Index[account]
	balance  *engine.Index[account]
}

func newBank() *bank {
	s := engine.NewSchema()
	b := &bank{schema: s, accounts: engine.Define[account](s, "accounts")}
	b.byOwner = b.accounts.AddUnique("byOwner", "owner")
	b.balance = b.accounts.AddIndex("byBalance", "balance")
	return b
}

// stores are the stores that the engine's suite runs over.
var stores = map[string]func(testing.TB) storage.Store{
	"mem": func(testing.TB) storage.Store { return memstore.New(memstore.Options{}) },
	"badger": func(t testing.TB) storage.Store {
		s, err := badgerstore.Open(badgerstore.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
}

// overStores runs a test over every store.
func overStores(t *testing.T, test func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB)) {
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(s *engine.Schema, o ...func(*engine.Options)) *engine.DB {
				return enginetest.Open(t, s, append([]func(*engine.Options){func(o *engine.Options) { o.Store = store(t) }}, o...)...)
			})
		})
	}
}

func update(t testing.TB, db *engine.DB, fn func(*engine.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, db *engine.DB, fn func(*engine.ReadTx) error) {
	t.Helper()
	if err := db.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func (b *bank) open(t testing.TB, db *engine.DB, owner string, balance int) engine.ID[account] {
	t.Helper()
	var id engine.ID[account]
	update(t, db, func(tx *engine.Tx) (err error) {
		id, err = b.accounts.Insert(tx, account{Owner: owner, Balance: balance})
		return err
	})
	return id
}
