package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// raced runs two transactions of which the second is between the first's read and its commit, and returns how often the
// first ran.
func raced(t *testing.T, db *engine.DB, read func(*engine.Tx) error, between, write func(*engine.Tx) error) int {
	t.Helper()
	runs := 0
	update(t, db, func(tx *engine.Tx) error {
		runs++
		if err := read(tx); err != nil {
			return err
		}
		if runs == 1 {
			// The context of a function is refused, so the other one comes from outside.
			if err := db.Update(context.Background(), between); err != nil {
				return err
			}
		}
		return write(tx)
	})
	return runs
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		noop := func(*engine.Tx) error { return nil }
		insert := func(owner string, balance int) func(*engine.Tx) error {
			return func(tx *engine.Tx) error {
				_, err := b.accounts.Insert(tx, account{Owner: owner, Balance: balance})
				return err
			}
		}
		collect := func(s func(engine.Reader) *engine.Scan[account]) func(*engine.Tx) error {
			return func(tx *engine.Tx) error {
				_, err := s(tx).Collect()
				return err
			}
		}
		cases := []struct {
			name    string
			read    func(*engine.Tx) error
			between func(*engine.Tx) error
			runs    int
		}{
			{"a scan of an empty range and an insert into it", collect(func(r engine.Reader) *engine.Scan[account] { return b.balance.Eq(r, 7) }), insert("p1", 7), 2},
			{"an empty bounded range", collect(func(r engine.Reader) *engine.Scan[account] { return b.balance.Scan(r).Gte(100).Lt(200) }), insert("p2", 150), 2},
			{"a disjoint range", collect(func(r engine.Reader) *engine.Scan[account] { return b.balance.Scan(r).Gte(100).Lt(120) }), insert("p3", 500), 1},
			{"the edge of a range is not in it", collect(func(r engine.Reader) *engine.Scan[account] { return b.balance.Scan(r).Gte(300).Lt(320) }), insert("p4", 320), 1},
			{"a missing key", func(tx *engine.Tx) error {
				_, err := b.byOwner.One(tx, "nobody")
				if errors.Is(err, engine.ErrNotFound) {
					return nil
				}
				return err
			}, insert("nobody", 0), 2},
			{"another missing key", func(tx *engine.Tx) error {
				_, err := b.byOwner.One(tx, "missing")
				if errors.Is(err, engine.ErrNotFound) {
					return nil
				}
				return err
			}, insert("somebody", 0), 1},
			{"a whole collection", collect(func(r engine.Reader) *engine.Scan[account] { return b.accounts.All(r) }), insert("p5", 1), 2},
			{"nothing read", noop, insert("p6", 1), 1},
		}
		db := open(b.schema)
		for i, c := range cases {
			got := raced(t, db, c.read, c.between, insert(fmt.Sprint("writer", i), -1))
			if got != c.runs {
				t.Errorf("%s: ran %d times, want %d", c.name, got, c.runs)
			}
		}
	})
}

// A change of a field that is in no index still conflicts with scans of every index, since they read the document.
func TestUnindexedFieldConflictsWithEveryIndex(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		id := b.open(t, db, "ann", 10)
		n := 0
		annotate := func(tx *engine.Tx) error {
			n++
			return b.accounts.Patch(tx, id, func(a *account) error { a.Note = fmt.Sprint(n); return nil })
		}
		for name, scan := range map[string]func(engine.Reader) *engine.Scan[account]{
			"by balance": func(r engine.Reader) *engine.Scan[account] { return b.balance.Scan(r).Gte(5).Lt(15) },
			"by owner":   func(r engine.Reader) *engine.Scan[account] { return b.byOwner.Scan(r).Prefix("an") },
			"all":        func(r engine.Reader) *engine.Scan[account] { return b.accounts.All(r) },
		} {
			runs := raced(t, db, func(tx *engine.Tx) error { _, err := scan(tx).Collect(); return err }, annotate, func(tx *engine.Tx) error {
				_, err := b.accounts.Insert(tx, account{Owner: name, Balance: -1})
				return err
			})
			if runs != 2 {
				t.Errorf("%s: ran %d times, want 2", name, runs)
			}
		}
	})
}

// A scan that stopped early has not read what comes after.
func TestScanRecordsUpToWhereItStopped(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		for i := range 10 {
			b.open(t, db, fmt.Sprint("o", i), i*10)
		}
		firstTwo := func(desc bool) func(*engine.Tx) error {
			return func(tx *engine.Tx) error {
				s := b.balance.Scan(tx).Limit(2)
				if desc {
					s = s.Desc()
				}
				_, err := s.Collect()
				return err
			}
		}
		n := 0
		run := func(desc bool, balance int) int {
			n++
			return raced(t, db, firstTwo(desc), func(tx *engine.Tx) error {
				_, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint("between", n), Balance: balance})
				return err
			}, func(tx *engine.Tx) error {
				_, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint("writer", n), Balance: 50})
				return err
			})
		}
		if got := run(false, 55); got != 1 {
			t.Errorf("an insert after the last row read: ran %d times, want 1", got)
		}
		if got := run(false, 5); got != 2 {
			t.Errorf("an insert between the rows read: ran %d times, want 2", got)
		}
		if got := run(true, 45); got != 1 {
			t.Errorf("descending, an insert below the last row read: ran %d times, want 1", got)
		}
		if got := run(true, 85); got != 2 {
			t.Errorf("descending, an insert between the rows read: ran %d times, want 2", got)
		}
	})
}

// The row at which a scan stopped was read, like those before it.
func TestScanReadsTheRowItStopsAt(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		ids := []engine.ID[account]{}
		for i := range 5 {
			ids = append(ids, b.open(t, db, fmt.Sprint("o", i), i*10))
		}
		n := 0
		annotate := func(id engine.ID[account]) func(*engine.Tx) error {
			return func(tx *engine.Tx) error {
				n++
				return b.accounts.Patch(tx, id, func(a *account) error { a.Note = fmt.Sprint(n); return nil })
			}
		}
		cases := []struct {
			name string
			last engine.ID[account]
			scan func(r engine.Reader) error
		}{
			{"ascending", ids[1], func(r engine.Reader) error { _, err := b.balance.Scan(r).Limit(2).Collect(); return err }},
			{"descending", ids[3], func(r engine.Reader) error { _, err := b.balance.Scan(r).Desc().Limit(2).Collect(); return err }},
			{"the first", ids[0], func(r engine.Reader) error { _, err := b.balance.Scan(r).First(); return err }},
			{"the first of a collection", ids[0], func(r engine.Reader) error { _, err := b.accounts.All(r).First(); return err }},
			{"the last of a collection", ids[4], func(r engine.Reader) error { _, err := b.accounts.All(r).Desc().First(); return err }},
			{"a loop that breaks", ids[1], func(r engine.Reader) error {
				seen := 0
				for _, err := range b.balance.Scan(r).Docs() {
					if seen++; err != nil || seen == 2 {
						return err
					}
				}
				return nil
			}},
		}
		for i, c := range cases {
			runs := raced(t, db, func(tx *engine.Tx) error { return c.scan(tx) }, annotate(c.last), func(tx *engine.Tx) error {
				_, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint("writer", i), Balance: 25})
				return err
			})
			if runs != 2 {
				t.Errorf("%s: ran %d times, want 2", c.name, runs)
			}
			update(t, db, func(tx *engine.Tx) error { // out of the way of the next case
				d, err := b.byOwner.One(tx, fmt.Sprint("writer", i))
				if err != nil {
					return err
				}
				return b.accounts.Delete(tx, d.ID)
			})
		}
	})
}

// Two transactions that each read what the other writes must not both see the old state.
func TestWriteSkew(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		x, y := b.open(t, db, "x", 60), b.open(t, db, "y", 60)
		withdraw := func(from engine.ID[account]) func(*engine.Tx) error {
			return func(tx *engine.Tx) error {
				dx, err := b.accounts.Get(tx, x)
				if err != nil {
					return err
				}
				dy, err := b.accounts.Get(tx, y)
				if err != nil {
					return err
				}
				if dx.Value.Balance+dy.Value.Balance < 100 {
					return nil
				}
				return b.accounts.Patch(tx, from, func(a *account) error { a.Balance -= 100; return nil })
			}
		}
		runs := 0
		update(t, db, func(tx *engine.Tx) error {
			if runs++; runs == 1 {
				if err := withdraw(x)(tx); err != nil {
					return err
				}
				return db.Update(context.Background(), withdraw(y))
			}
			return withdraw(x)(tx)
		})
		view(t, db, func(r *engine.ReadTx) error {
			dx, err := b.accounts.Get(r, x)
			if err != nil {
				return err
			}
			dy, err := b.accounts.Get(r, y)
			if err != nil {
				return err
			}
			if sum := dx.Value.Balance + dy.Value.Balance; sum != 20 {
				t.Errorf("the accounts hold %d together, want 20", sum)
			}
			return nil
		})
	})
}

// Without validation the same history goes wrong: the switch works, and the tests above would notice.
func TestWithoutValidationWriteSkewHappens(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := openUnsafe(t, b)
	var runs atomic.Int32
	err := db.Update(context.Background(), func(tx *engine.Tx) error {
		if runs.Add(1) == 1 {
			if _, err := b.balance.Eq(tx, 7).Collect(); err != nil {
				return err
			}
			if err := db.Update(context.Background(), func(tx *engine.Tx) error {
				_, err := b.accounts.Insert(tx, account{Owner: "phantom", Balance: 7})
				return err
			}); err != nil {
				return err
			}
		}
		_, err := b.accounts.Insert(tx, account{Owner: "writer", Balance: 7})
		return err
	})
	if err != nil || runs.Load() != 1 {
		t.Errorf("ran %d times with %v, want once without an error", runs.Load(), err)
	}
}

func openUnsafe(t *testing.T, b *bank) *engine.DB {
	t.Helper()
	db, err := engine.Open(b.schema, engine.Options{Store: memstore.New(memstore.Options{}), UnsafeNoValidation: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Two databases over one store: what the other committed is validated against when the group is built.
func TestMemberDroppedByAnotherWriter(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	open := func(b *bank) *engine.DB {
		db, err := engine.Open(b.schema, engine.Options{
			Store: shared.Open(), Seed: 7,
			// Reservations do not reach another writer, which may be faster many times in a row.
			Limits: engine.Limits{Attempts: 1 << 20, FunctionTime: 10 * time.Second},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
	ba, bb := newBank(), newBank()
	a := open(ba)
	id := ba.open(t, a, "hot", 0)
	other := open(bb)
	const each = 50
	done := make(chan error, 8)
	for w := range 8 {
		db, b := a, ba
		if w%2 == 1 {
			db, b = other, bb
		}
		go func() {
			var err error
			for range each {
				err = errors.Join(err, db.Update(context.Background(), func(tx *engine.Tx) error {
					return b.accounts.Patch(tx, engine.ID[account](id), func(a *account) error { a.Balance++; return nil })
				}))
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil && !errors.Is(err, engine.ErrNotFound) {
			t.Fatal(err)
		}
	}
	var got int
	update(t, a, func(tx *engine.Tx) error { // a write brings what the other one committed
		_, err := ba.accounts.Insert(tx, account{Owner: "marker"})
		return err
	})
	view(t, a, func(r *engine.ReadTx) error {
		d, err := ba.accounts.Get(r, id)
		if err == nil {
			got = d.Value.Balance
		}
		return err
	})
	if got != 8*each {
		t.Errorf("the counter is %d after %d increments by two writers", got, 8*each)
	}
}
