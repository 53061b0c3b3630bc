package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// rows lists the stored rows of a keyspace.
func rows(t *testing.T, shared *memstore.Shared, space byte) (out []storage.KV) {
	t.Helper()
	store := shared.Open()
	head, err := store.Head(context.Background())
	must(t, err)
	snap, err := store.At(context.Background(), head)
	must(t, err)
	defer snap.Close()
	for kv, err := range snap.Scan([]byte{space}, []byte{space + 1}, false, 0) {
		must(t, err)
		out = append(out, kv)
	}
	return out
}

// Check finds every kind of fault, and a scan over it is an error and not a wrong result.
func TestCheckFindsFaults(t *testing.T) {
	t.Parallel()
	document := func(t *testing.T, shared *memstore.Shared, owner string) storage.KV {
		for _, kv := range rows(t, shared, 'd') {
			if strings.Contains(string(kv.Value), `"owner":"`+owner+`"`) {
				return kv
			}
		}
		t.Fatalf("no document of %s", owner)
		return storage.KV{}
	}
	ofOwner := func(t *testing.T, shared *memstore.Shared, owner string) storage.KV {
		for _, kv := range rows(t, shared, 'i') {
			if strings.Contains(string(kv.Key), owner) {
				return kv
			}
		}
		t.Fatalf("no index entry of %s", owner)
		return storage.KV{}
	}
	for name, c := range map[string]struct {
		harm func(*testing.T, *memstore.Shared)
		want []string
	}{
		"a document is gone": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, string(document(t, s, "ann").Key), nil)
		}, []string{"byOwner", "byBalance", "does not exist"}},
		"a document has changed": {func(t *testing.T, s *memstore.Shared) {
			d := document(t, s, "ann")
			putRow(t, s, string(d.Key), []byte(strings.Replace(string(d.Value), `"balance":1`, `"balance":9`, 1)))
		}, []string{"byBalance", "has no entry", "does not match"}},
		"a document breaks the schema": {func(t *testing.T, s *memstore.Shared) {
			d := document(t, s, "ann")
			putRow(t, s, string(d.Key), []byte(strings.Replace(string(d.Value), `"balance":1`, `"balance":"x"`, 1)))
		}, []string{"schema of accounts", "balance"}},
		"a document is not JSON": {func(t *testing.T, s *memstore.Shared) {
			d := document(t, s, "ann")
			putRow(t, s, string(d.Key), d.Value[:len(d.Value)-3])
		}, []string{"accounts"}},
		"a document is rubbish": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, string(document(t, s, "ann").Key), []byte("rubbish"))
		}, []string{"begin with its id"}},
		"a document is empty": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, string(document(t, s, "ann").Key), []byte{})
		}, []string{"begin with its id"}},
		"a document has a malformed id": {func(t *testing.T, s *memstore.Shared) {
			d := document(t, s, "ann")
			putRow(t, s, string(d.Key), []byte(`{"_id":"UUUUUUUUUUUUUUUUUUUUUUUUUU"`+string(d.Value[len(`{"_id":"`)+27:])))
		}, []string{"malformed id"}},
		"a document is under another's key": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, string(document(t, s, "ann").Key), document(t, s, "bob").Value)
		}, []string{"under another key"}},
		"a document's key is short": {func(t *testing.T, s *memstore.Shared) {
			d := document(t, s, "ann")
			putRow(t, s, string(d.Key[:7]), d.Value)
		}, []string{"under another key"}},
		"an index entry is gone": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, string(ofOwner(t, s, "ann").Key), nil)
		}, []string{"byOwner", "has no entry"}},
		"an index entry of nothing": {func(t *testing.T, s *memstore.Shared) {
			k := ofOwner(t, s, "ann").Key
			k[len(k)-1]++
			putRow(t, s, string(k), []byte{})
		}, []string{"byOwner", "does not exist"}},
		"an index entry is doubled": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, strings.Replace(string(ofOwner(t, s, "ann").Key), "ann", "anna", 1), []byte{})
		}, []string{"byOwner", "does not match"}},
		"an index entry is short": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, string(ofOwner(t, s, "ann").Key[:6]), []byte{})
		}, []string{"too short"}},
		"a unique value is taken twice": {func(t *testing.T, s *memstore.Shared) {
			ann, bob := ofOwner(t, s, "ann"), ofOwner(t, s, "bob")
			d := document(t, s, "bob")
			putRow(t, s, string(bob.Key), nil)
			putRow(t, s, string(ann.Key[:len(ann.Key)-12])+string(bob.Key[len(bob.Key)-12:]), []byte{})
			putRow(t, s, string(d.Key), []byte(strings.Replace(string(d.Value), `"bob"`, `"ann"`, 1)))
		}, []string{"byOwner", "same values"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared := memstore.NewShared(memstore.Options{})
			b := newBank()
			must(t, reopen(t, shared, b.schema, func(db *engine.DB) {
				b.open(t, db, "ann", 1)
				b.open(t, db, "bob", 2)
				must(t, db.Check(context.Background()))
			}))
			c.harm(t, shared)
			must(t, reopen(t, shared, b.schema, func(db *engine.DB) {
				err := db.Check(context.Background())
				if err == nil {
					t.Fatal("no fault found")
				}
				for _, part := range c.want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q is not in: %v", part, err)
					}
				}
				// Whatever is stored, reading it does not panic.
				for _, scan := range []func(*engine.ReadTx) *engine.Scan[account]{
					func(r *engine.ReadTx) *engine.Scan[account] { return b.accounts.All(r) },
					func(r *engine.ReadTx) *engine.Scan[account] { return b.byOwner.Scan(r) },
					func(r *engine.ReadTx) *engine.Scan[account] { return b.balance.Scan(r).Desc() },
				} {
					err := db.View(context.Background(), func(r *engine.ReadTx) error { return second(scan(r).Collect()) })
					var p *engine.PanicError
					if errors.As(err, &p) {
						t.Errorf("a scan: %v\n%s", err, p.Stack)
					}
				}
			}))
		})
	}
}

func TestCheckHeedsItsContext(t *testing.T) {
	t.Parallel()
	b := newBank()
	db, _ := openSpied(t, b.schema)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := db.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What the engine keeps beside documents and entries is looked at, too.
func TestCheckOfMeta(t *testing.T) {
	t.Parallel()
	indexRow := func(t *testing.T, s *memstore.Shared) storage.KV {
		for _, kv := range rows(t, s, 'm') {
			if kv.Key[1] == 'i' && strings.Contains(string(kv.Value), "byOwner") {
				return kv
			}
		}
		t.Fatal("the index has no row")
		return storage.KV{}
	}
	for name, c := range map[string]struct {
		harm func(*testing.T, *memstore.Shared)
		kind engine.FaultKind
		want string
	}{
		"a session's row": {func(t *testing.T, s *memstore.Shared) {
			for _, kv := range rows(t, s, 's') {
				putRow(t, s, string(kv.Key), kv.Value[:len(kv.Value)-2])
			}
		}, engine.FaultSession, "session record"},
		"a session's row under another key": {func(t *testing.T, s *memstore.Shared) {
			for _, kv := range rows(t, s, 's') {
				putRow(t, s, string(kv.Key[:len(kv.Key)-1])+"\x09", kv.Value)
			}
		}, engine.FaultSession, "session record"},
		"a session's key": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, "sx", []byte("x"))
		}, engine.FaultSession, "session record"},
		"a watermark": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, "sx\x00", []byte("x"))
		}, engine.FaultSession, "session record"},
		"an index's row": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, string(indexRow(t, s).Key), []byte("{"))
		}, engine.FaultCatalog, "corrupt"},
		"an index's state": {func(t *testing.T, s *memstore.Shared) {
			kv := indexRow(t, s)
			putRow(t, s, string(kv.Key), []byte(strings.Replace(string(kv.Value), "ready", "unheard", 1)))
		}, engine.FaultCatalog, "unheard"},
		"an index's row is another's": {func(t *testing.T, s *memstore.Shared) {
			kv := indexRow(t, s)
			kv.Key[3]++
			putRow(t, s, string(kv.Key), kv.Value)
		}, engine.FaultCatalog, "belongs elsewhere"},
		"an index's row is gone": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, string(indexRow(t, s).Key), nil)
		}, engine.FaultCatalog, "does not know"},
		"a progress of nothing": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, "mpabcd", []byte(`{"phase":"fill"}`))
		}, engine.FaultCatalog, "does not know"},
		"a migration": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, "mmname", []byte(`{"started":5}`))
		}, engine.FaultCatalog, "name"},
		"the catalog": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, "mc", []byte(`[]`))
		}, engine.FaultCatalog, "catalog"},
		"a collection that nobody knows": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, "dabcd567890123456", []byte(`{}`))
		}, engine.FaultCatalog, "collection"},
		"an index that nobody knows": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, "iabcdefghijklmnopqrs", []byte(``))
		}, engine.FaultCatalog, "index"},
		"a key that is nothing": {func(t *testing.T, s *memstore.Shared) {
			putRow(t, s, "ix", []byte(``))
		}, engine.FaultCatalog, "too short"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared := memstore.NewShared(memstore.Options{})
			b := newBank()
			engine.Mutation(b.schema, "accounts:open", func(tx *engine.Tx, a account) (engine.ID[account], error) {
				return b.accounts.Insert(tx, a)
			})
			must(t, reopen(t, shared, b.schema, func(db *engine.DB) {
				_, err := db.RunMutation(context.Background(), engine.Call{
					Function: "accounts:open", Args: []byte(`{"owner":"ann","balance":1}`), Request: &engine.RequestID{Session: "s", Request: 1},
				})
				must(t, err)
			}))
			inspect := func() error {
				return engine.Inspect(context.Background(), b.schema, engine.Options{Store: shared.Open()})
			}
			must(t, inspect())
			c.harm(t, shared)
			before := len(rows(t, shared, 'm'))
			err := inspect()
			var found *engine.CheckError
			if !errors.As(err, &found) || found.Counts[c.kind] == 0 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a fault of kind %s that says %q", err, c.kind, c.want)
			}
			if len(rows(t, shared, 'm')) != before {
				t.Error("inspecting has written something")
			}
		})
	}
}

// Of an index that is being built what is wrong is a fault, and what is missing is not.
func TestCheckOfAnIndexBeingBuilt(t *testing.T) {
	t.Parallel()
	shared := small()
	before := withIndexes()
	must(t, reopen(t, shared, before.schema, func(db *engine.DB) { before.fill(t, db, 5*smallBatch, 5) }))
	broken := &limited{Store: shared.Open(), left: 3}
	m := withIndexes("byAge")
	db, err := engine.Open(m.schema, quietly(broken))
	must(t, err)
	within(t, "the failure", db.Failed())
	must(t, db.Close())
	inspect := func() error {
		return engine.Inspect(context.Background(), m.schema, engine.Options{Store: shared.Open()})
	}
	entries := rows(t, shared, 'i')
	if len(entries) == 0 || len(entries) == 5*smallBatch {
		t.Fatalf("%d entries are there; the test has lost its point", len(entries))
	}
	must(t, inspect())
	wrong := entries[0].Key
	wrong[7]++
	putRow(t, shared, string(wrong), []byte{})
	if err := inspect(); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("got %v, want a wrong entry", err)
	}
}

// A check tells all faults, and keeps so many of each kind.
func TestCheckCountsFaults(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	const n = engine.FaultsKept + 23
	m := withIndexes("byAge")
	must(t, reopen(t, shared, m.schema, func(db *engine.DB) { m.fill(t, db, n, 100) }))
	for _, kv := range rows(t, shared, 'i') {
		putRow(t, shared, string(kv.Key), nil)
	}
	must(t, reopen(t, shared, m.schema, func(db *engine.DB) {
		err := db.Check(context.Background())
		var found *engine.CheckError
		if !errors.As(err, &found) || found.Count() != n || found.Counts[engine.FaultIndex] != n || len(found.Faults) != engine.FaultsKept {
			t.Fatalf("got %v, want %d faults, %d of them told", err, n, engine.FaultsKept)
		}
		if lines := strings.Split(err.Error(), "\n"); len(lines) != engine.FaultsKept+1 || !strings.Contains(lines[engine.FaultsKept], "23 more") {
			t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
		}
	}))
}
