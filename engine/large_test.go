package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// The limits of a mutation are those of Limits: 16,000 documents with two index entries each, and 16 MiB of documents, are one
// transaction. One more is refused, and leaves nothing.
func TestLargeMutations(t *testing.T) {
	t.Parallel()
	for limit, c := range map[string]struct {
		documents int
		note      string
	}{
		"WriteDocuments": {16_000, ""},
		"WriteBytes":     {256, strings.Repeat("x", 64<<10-160)},
	} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
				b := newBank()
				db := open(b.schema, func(o *engine.Options) { o.Limits = patient })
				insert := func(n, round int) error {
					return db.Update(context.Background(), func(tx *engine.Tx) error {
						for i := range n {
							if _, err := b.accounts.Insert(tx, account{Owner: fmt.Sprintf("%d/%06d", round, i), Balance: i, Note: c.note}); err != nil {
								return err
							}
						}
						return nil
					})
				}
				if err := insert(c.documents, 1); err != nil {
					t.Fatal(err)
				}
				var over *engine.LimitError
				if err := insert(c.documents+1, 2); !errors.As(err, &over) || over.Limit != limit {
					t.Errorf("one more: %v", err)
				}
				b.open(t, db, "small", -1) // what follows a large one finds its place
				view(t, db, func(r *engine.ReadTx) error {
					n, err := b.accounts.All(r).Count()
					if err != nil || n != c.documents+1 {
						t.Errorf("there are %d documents (%v), want %d", n, err, c.documents+1)
					}
					return nil
				})
			})
		})
	}
}

// While a large mutation is on its way, others see it and follow it, large ones too, and those that met it are run again.
func TestLargeMutationsAmongOthers(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store := openSpied(t, c.schema, func(o *engine.Options) { o.Limits = patient })
	end := occupy(t, db, store)
	const many = 2000
	fill := func(tx *engine.Tx) error {
		for i := range many {
			if err := c.increment(tx, fmt.Sprint("n", i)); err != nil {
				return err
			}
		}
		return nil
	}
	done := make(chan error, 8)
	ran := make(chan struct{}, 64)
	go func() {
		done <- db.Update(context.Background(), func(tx *engine.Tx) error { defer func() { ran <- struct{}{} }(); return fill(tx) })
	}()
	within(t, "the first large mutation", ran)
	for range 3 {
		go func() {
			done <- db.Update(context.Background(), func(tx *engine.Tx) error { defer func() { ran <- struct{}{} }(); return fill(tx) })
		}()
		go func() {
			done <- db.Update(context.Background(), func(tx *engine.Tx) error {
				defer func() { ran <- struct{}{} }()
				return c.increment(tx, "n7")
			})
		}()
	}
	for range 6 {
		within(t, "the others", ran)
	}
	store.open()
	end()
	for range 7 {
		if err := within(t, "an answer", done); err != nil {
			t.Error(err)
		}
	}
	if n, other := c.value(t, db, "n7"), c.value(t, db, "n8"); n != 7 || other != 4 {
		t.Errorf("they counted to %d and %d, want 7 and 4", n, other)
	}
}

// A large mutation that is sent again before it is durable is found, like a small one, and not run again.
func TestLargeMutationSentAgain(t *testing.T) {
	t.Parallel()
	c := newCounters()
	runs := 0
	engine.Mutation(c.schema, "tally:many", func(tx *engine.Tx, _ struct{}) (int, error) {
		runs++
		for i := range 600 {
			if err := c.increment(tx, fmt.Sprint("n", i)); err != nil {
				return 0, err
			}
		}
		return runs, nil
	})
	db, store := openSpied(t, c.schema)
	end := occupy(t, db, store)
	call := engine.Call{Function: "tally:many", Request: &engine.RequestID{Session: "s", Request: 1}}
	accepted, first := db.StartMutation(context.Background(), call)
	within(t, "acceptance", accepted)
	accepted, again := db.StartMutation(context.Background(), call)
	within(t, "acceptance", accepted)
	store.open()
	end()
	a, err := first()
	if err != nil {
		t.Fatal(err)
	}
	b, err := again()
	if err != nil || !b.Replayed || string(a.Value) != "1" || string(b.Value) != "1" || c.value(t, db, "n7") != 1 {
		t.Errorf("first %s, then %s, replayed: %v (%v); counted to %d", a.Value, b.Value, b.Replayed, err, c.value(t, db, "n7"))
	}
}

// orders is what the process that is killed writes: each round one large mutation of orders, whose triggers write a line for
// each and count them.
type (
	order struct {
		Round int `json:"round"`
		N     int `json:"n"`
	}
	orderLine struct {
		Order engine.ID[order] `json:"order"`
		Round int              `json:"round"`
	}
)

type orders struct {
	schema *engine.Schema
	orders *engine.Collection[order]
	lines  *engine.Collection[orderLine]
	count  *counters
}

func newOrders() *orders {
	c := newCounters()
	o := &orders{schema: c.schema, orders: engine.Define[order](c.schema, "orders"), lines: engine.Define[orderLine](c.schema, "lines"), count: c}
	o.orders.AddUnique("byRound", "round", "n")
	o.lines.AddIndex("byOrder", "order")
	triggers.OnCreate(o.orders, "line", func(tx *engine.Tx, d *engine.Doc[order]) error {
		_, err := o.lines.Insert(tx, orderLine{d.ID, d.Value.Round})
		return err
	})
	return o
}

const (
	ordersPerRound = 4500 // with what the triggers write, more than one step of the store takes
	ordersDir      = "MIMOSA_TEST_ORDERS"
)

// write is the process that is killed: it writes, and says on its standard output what was acknowledged.
func (o *orders) write(t *testing.T, dir string) {
	db, err := engine.Open(o.schema, engine.Options{Dir: dir, Limits: patient})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("\nopened")
	for {
		round := 0
		err := db.Update(context.Background(), func(tx *engine.Tx) error {
			if err := o.count.increment(tx, "rounds"); err != nil {
				return err
			}
			d, err := o.count.byName.One(tx, "rounds")
			if err != nil {
				return err
			}
			round = d.Value.N
			for i := range ordersPerRound {
				if _, err := o.orders.Insert(tx, order{round, i}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("acknowledged", round)
	}
}

// A process that is killed in the middle of large mutations leaves each of them whole or not at all, what their triggers wrote
// included, and none that was acknowledged is missing.
func TestKilledInLargeMutations(t *testing.T) {
	if dir := os.Getenv(ordersDir); dir != "" {
		newOrders().write(t, dir)
		return
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acknowledged := 0
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledInLargeMutations$")
		cmd.Env = append(os.Environ(), ordersDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var opened time.Time
		first := 0
		for lines.Scan() {
			if lines.Text() == "opened" {
				opened = time.Now()
			}
			if n, _ := fmt.Sscanf(lines.Text(), "acknowledged %d", &acknowledged); n == 1 && first == 0 {
				first = acknowledged
				// Somewhere in the next round or the one after: a round takes about as long as this one did.
				time.AfterFunc(time.Duration(2*rnd.Float64()*float64(time.Since(opened))), func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
		if first == 0 {
			t.Fatal("the writer did not write")
		}
		o := newOrders()
		db := enginetest.Open(t, o.schema, func(opts *engine.Options) {
			opts.Dir = dir
			opts.Limits.ReadDocuments = 1 << 30
			opts.Limits.ReadBytes = 1 << 40
			opts.Limits.FunctionTime = time.Minute
		})
		rounds := o.count.value(t, db, "rounds")
		if rounds < acknowledged || rounds > acknowledged+1 {
			t.Errorf("there are %d rounds, %d were acknowledged", rounds, acknowledged)
		}
		acknowledged = rounds
		view(t, db, func(r *engine.ReadTx) error {
			perRound := map[int]int{}
			for d, err := range o.orders.All(r).Docs() {
				if err != nil {
					return err
				}
				perRound[d.Value.Round]++
			}
			for d, err := range o.lines.All(r).Docs() {
				if err != nil {
					return err
				}
				perRound[-d.Value.Round]++
			}
			for round := 1; round <= rounds; round++ {
				if perRound[round] != ordersPerRound || perRound[-round] != ordersPerRound {
					t.Errorf("round %d has %d orders and %d lines, want %d", round, perRound[round], perRound[-round], ordersPerRound)
				}
			}
			if len(perRound) != 2*rounds {
				t.Errorf("there are orders or lines of %d rounds, want %d", len(perRound)-rounds, rounds)
			}
			return nil
		})
		enginetest.Finish(t, db)
	}
}
