package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// Many move money at once, some in parts that fail, while others look: nobody ever sees a state that no order of the
// transfers could have made.
func TestTransfers(t *testing.T) {
	t.Parallel()
	const accounts, start, writers, each = 8, 100, 12, 40
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		var ids []engine.ID[account]
		for i := range accounts {
			ids = append(ids, b.open(t, db, fmt.Sprint("o", i), start))
		}
		sum := func(r engine.Reader) (total, n int, err error) {
			for d, err := range b.balance.Scan(r).Docs() {
				if err != nil {
					return 0, 0, err
				}
				if d.Value.Balance < 0 {
					return 0, 0, fmt.Errorf("%s holds %d", d.Value.Owner, d.Value.Balance)
				}
				total += d.Value.Balance
				n++
			}
			return total, n, nil
		}
		transfer := func(tx *engine.Tx, from, to engine.ID[account], amount int) error {
			if err := b.accounts.Patch(tx, to, func(a *account) error { a.Balance += amount; return nil }); err != nil {
				return err
			}
			return b.accounts.Patch(tx, from, func(a *account) error {
				if a.Balance -= amount; a.Balance < 0 {
					return engine.Errorf("broke", "not enough money")
				}
				return nil
			})
		}
		var wg, lookers sync.WaitGroup
		var broke, moved atomic.Int32
		for w := range writers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(w)))
				for range each {
					from, to, amount := ids[rnd.IntN(accounts)], ids[rnd.IntN(accounts)], rnd.IntN(80)
					nested, count := rnd.IntN(2) == 0, rnd.IntN(4) == 0
					err := db.Update(context.Background(), func(tx *engine.Tx) error {
						if count {
							if total, _, err := sum(tx); err != nil || total != accounts*start {
								return fmt.Errorf("inside, the accounts hold %d (%w)", total, err)
							}
						}
						if !nested {
							return transfer(tx, from, to, amount)
						}
						err := tx.Nested(func(tx *engine.Tx) error { return transfer(tx, from, to, amount) })
						if errors.Is(err, &engine.Error{Code: "broke"}) {
							broke.Add(1)
							return transfer(tx, to, to, 0)
						}
						return err
					})
					switch {
					case err == nil:
						moved.Add(1)
					case errors.Is(err, &engine.Error{Code: "broke"}):
						broke.Add(1)
					default:
						t.Error(err)
					}
				}
			})
		}
		stop := make(chan struct{})
		for range 2 {
			lookers.Go(func() {
				for {
					err := db.View(context.Background(), func(r *engine.ReadTx) error {
						total, n, err := sum(r)
						if err == nil && (total != accounts*start || n != accounts) {
							err = fmt.Errorf("%d accounts hold %d", n, total)
						}
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		wg.Wait()
		close(stop)
		lookers.Wait()
		if moved.Load() == 0 || broke.Load() == 0 {
			t.Errorf("%d transfers, %d refusals: the test has lost its point", moved.Load(), broke.Load())
		}
	})
}

// Two kinds of rows are kept in step by everybody: a document for each number taken, and a counter of them. Whoever takes a
// number finds it by a scan that ends where the numbers do, so that all meet in one empty range.
func TestPhantomsUnderLoad(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		counter := b.open(t, db, "counter", -1)
		const writers, each = 8, 25
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					err := db.Update(context.Background(), func(tx *engine.Tx) error {
						next := 0
						d, err := b.balance.Scan(tx).Gte(0).Desc().First()
						switch {
						case err == nil:
							next = d.Value.Balance + 1
						case !errors.Is(err, engine.ErrNotFound):
							return err
						}
						if _, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint(w, "/", i), Balance: next}); err != nil {
							return err
						}
						return b.accounts.Patch(tx, counter, func(a *account) error { a.Balance--; return nil })
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		view(t, db, func(r *engine.ReadTx) error {
			want := 0
			for d, err := range b.balance.Scan(r).Gte(0).Docs() {
				if err != nil {
					return err
				}
				if d.Value.Balance != want {
					t.Errorf("number %d stands where %d should", d.Value.Balance, want)
				}
				want++
			}
			d, err := b.accounts.Get(r, counter)
			if err != nil || want != writers*each || d.Value.Balance != -1-want {
				t.Errorf("%d numbers, the counter says %d (%v), want %d", want, -1-d.Value.Balance, err, writers*each)
			}
			return nil
		})
	})
}
