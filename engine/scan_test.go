package engine_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

type parcel struct {
	City   string    `json:"city"`
	Weight float64   `json:"weight"`
	Sent   time.Time `json:"sent"`
	Fast   bool      `json:"fast"`
	Serial engine.Int64
	Tags   []string `json:"tags"`
	To     address  `json:"to"`
}

type address struct {
	Street string `json:"street"`
}

type parcels struct {
	schema  *engine.Schema
	all     *engine.Collection[parcel]
	byCity  *engine.Index[parcel] // city, then weight from high to low
	bySent  *engine.Index[parcel]
	byMuch  *engine.Index[parcel]
	created *engine.Index[parcel]
	street  *engine.Index[parcel]
}

func newParcels() *parcels {
	s := engine.NewSchema()
	p := &parcels{schema: s, all: engine.Define[parcel](s, "parcels")}
	p.byCity = p.all.AddIndex("byCity", "city", "-weight")
	p.bySent = p.all.AddIndex("bySent", "-sent")
	p.byMuch = p.all.AddIndex("byMuch", "fast", "Serial")
	p.created = p.all.AddIndex("created", "_creationTime")
	p.street = p.all.AddIndex("street", "to.street")
	return p
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func (p *parcels) fill(t *testing.T, db *engine.DB) {
	t.Helper()
	update(t, db, func(tx *engine.Tx) error {
		for i, city := range []string{"Aachen", "Bonn", "Bonn", "Bochum", "Celle", "bonn", "Bonn\x00", "B"} {
			_, err := p.all.Insert(tx, parcel{
				City: city, Weight: float64(i) - 2.5, Sent: noon.Add(time.Duration(i) * time.Nanosecond).In(time.FixedZone("", i*3600)),
				Fast: i%2 == 0, Serial: engine.Int64(i) << 60, To: address{fmt.Sprint("S", i)},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// weights lists what a scan yields by its weights.
func weights(s *engine.Scan[parcel]) string {
	var out []string
	for d, err := range s.Docs() {
		if err != nil {
			return err.Error()
		}
		out = append(out, fmt.Sprint(d.Value.Weight+2.5))
	}
	return strings.Join(out, " ")
}

func TestScans(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		p := newParcels()
		db := open(p.schema)
		p.fill(t, db)
		type named string
		check := func(r engine.Reader) {
			for i, c := range []struct {
				s    *engine.Scan[parcel]
				want string
			}{
				{p.all.All(r), "0 1 2 3 4 5 6 7"},
				{p.all.All(r).Desc(), "7 6 5 4 3 2 1 0"},
				{p.all.All(r).Desc().Desc(), "0 1 2 3 4 5 6 7"},
				{p.all.All(r).Limit(3), "0 1 2"},
				{p.all.All(r).Desc().Limit(2), "7 6"},
				{p.all.All(r).Limit(0), ""},
				{p.all.All(r).Limit(-1), ""},
				{p.all.All(r).Filter(func(d *engine.Doc[parcel]) bool { return d.Value.Fast }).Limit(2), "0 2"},
				{p.all.All(r).Filter(func(d *engine.Doc[parcel]) bool { return d.Value.Fast }).Filter(func(d *engine.Doc[parcel]) bool { return d.Value.Weight > 0 }), "4 6"},
				{p.byCity.Scan(r), "0 7 3 2 1 6 4 5"},
				{p.byCity.Scan(r).Desc(), "5 4 6 1 2 3 7 0"},
				{p.byCity.Eq(r, "Bonn"), "2 1"},
				{p.byCity.Eq(r, named("Bonn")), "2 1"},
				{p.byCity.Eq(r, "Bonn").Desc(), "1 2"},
				{p.byCity.Eq(r, "Bonn", -1.5), "1"},
				{p.byCity.Eq(r), "0 7 3 2 1 6 4 5"},
				{p.byCity.Eq(r, "nowhere"), ""},
				{p.byCity.Eq(r, "Bonn").Gt(-1.5), "2"},
				{p.byCity.Eq(r, "Bonn").Gte(-1.5), "2 1"},
				{p.byCity.Eq(r, "Bonn").Lt(-0.5), "1"},
				{p.byCity.Eq(r, "Bonn").Lte(-0.5), "2 1"},
				{p.byCity.Eq(r, "Bonn").Gt(-1.5).Lt(-0.5), ""},
				{p.byCity.Eq(r, "Bonn").Gt(9).Lt(-9), ""},
				{p.byCity.Scan(r).Gt("B"), "3 2 1 6 4 5"},
				{p.byCity.Scan(r).Gte("Bonn").Lt("Celle"), "2 1 6"},
				{p.byCity.Scan(r).Gt("Bonn").Lte("Celle"), "6 4"},
				{p.byCity.Scan(r).Prefix("Bo"), "3 2 1 6"},
				{p.byCity.Scan(r).Prefix("Bonn"), "2 1 6"},
				{p.byCity.Scan(r).Prefix("Bo").Gt("Bonn").Desc(), "6"},
				{p.byCity.Scan(r).Prefix(""), "0 7 3 2 1 6 4 5"},
				{p.bySent.Scan(r), "7 6 5 4 3 2 1 0"},
				{p.bySent.Eq(r, noon.Add(3)), "3"},
				{p.bySent.Scan(r).Gt(noon.Add(4)), "7 6 5"},
				{p.bySent.Scan(r).Gte(noon.Add(4)).Lte(noon.Add(5)), "5 4"},
				{p.bySent.Scan(r).Lt(noon.Add(2)).Desc(), "0 1"},
				{p.byMuch.Eq(r, true).Gte(0), "0 2 4 6"},
				{p.byMuch.Eq(r, false, engine.Int64(3)<<60), "3"},
				{p.byMuch.Scan(r).Gt(false), "0 2 4 6"},
				{p.created.Scan(r).Gt(time.Unix(0, 0)).Limit(2), "0 1"},
				{p.created.Scan(r).Lt(1.0), ""},
				{p.street.Scan(r).Gte("S3").Lt("S5"), "3 4"},
			} {
				if got := weights(c.s); got != c.want {
					t.Errorf("case %d: %q, want %q", i, got, c.want)
				}
			}
		}
		view(t, db, func(r *engine.ReadTx) error { check(r); return nil })
		// The same when all of it is the transaction's own, or mixed.
		update(t, db, func(tx *engine.Tx) error { check(tx); return nil })
		p = newParcels()
		update(t, open(p.schema), func(tx *engine.Tx) error {
			for i, city := range []string{"Aachen", "Bonn", "Bonn", "Bochum", "Celle", "bonn", "Bonn\x00", "B"} {
				if _, err := p.all.Insert(tx, parcel{City: city, Weight: float64(i) - 2.5, Sent: noon.Add(time.Duration(i)), Fast: i%2 == 0, Serial: engine.Int64(i) << 60, To: address{fmt.Sprint("S", i)}}); err != nil {
					return err
				}
			}
			check(tx)
			return nil
		})
	})
}

func TestScanMistakes(t *testing.T) {
	t.Parallel()
	p := newParcels()
	db := enginetest.Open(t, p.schema)
	p.fill(t, db)
	type foreign struct{}
	view(t, db, func(r *engine.ReadTx) error {
		for what, s := range map[string]*engine.Scan[parcel]{
			"wrong type":           p.byCity.Eq(r, 7),
			"wrong second type":    p.byCity.Eq(r, "Bonn", "heavy"),
			"too many":             p.byCity.Eq(r, "Bonn", 1.0, 2),
			"bound of wrong type":  p.byCity.Scan(r).Gt(false),
			"nil bound":            p.byCity.Scan(r).Gt(nil),
			"nil pointer bound":    p.byCity.Scan(r).Gt((*string)(nil)),
			"nothing left":         p.byCity.Eq(r, "Bonn", 1.0).Gt(2),
			"bound on all":         p.all.All(r).Gt(1),
			"prefix of a number":   p.byCity.Eq(r, "Bonn").Prefix("1"),
			"prefix of a time":     p.bySent.Scan(r).Prefix("2026"),
			"a value of no order":  p.byCity.Eq(r, foreign{}),
			"mistake, then others": p.byCity.Scan(r).Gt(1).Lt("Z").Limit(0),
		} {
			_, first := s.First()
			_, unique := s.Unique()
			_, count := s.Count()
			_, collect := s.Collect()
			for how, err := range map[string]error{"First": first, "Unique": unique, "Count": count, "Collect": collect} {
				if err == nil || errors.Is(err, engine.ErrNotFound) || !strings.HasPrefix(err.Error(), "engine: ") {
					t.Errorf("%s, %s: %v, want an error about the scan", what, how, err)
				}
			}
		}
		return nil
	})
}

func TestFirstAndUnique(t *testing.T) {
	t.Parallel()
	p := newParcels()
	db := enginetest.Open(t, p.schema)
	p.fill(t, db)
	view(t, db, func(r *engine.ReadTx) error {
		if d, err := p.byCity.Eq(r, "Bonn").First(); err != nil || d.Value.Weight != -0.5 {
			t.Errorf("first: %+v (%v)", d, err)
		}
		if _, err := p.byCity.Eq(r, "nowhere").First(); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("first of none: %v", err)
		}
		if _, err := p.byCity.Eq(r, "Bonn").Limit(0).First(); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("first of none by limit: %v", err)
		}
		if d, err := p.byCity.One(r, "Celle"); err != nil || d.Value.City != "Celle" {
			t.Errorf("one: %+v (%v)", d, err)
		}
		if _, err := p.byCity.One(r, "Bonn"); !errors.Is(err, engine.ErrNotUnique) {
			t.Errorf("one of two: %v", err)
		}
		s := p.byCity.Eq(r, "Bonn")
		if d, err := s.First(); err != nil || d.Value.Weight != -0.5 {
			t.Errorf("first: %+v (%v)", d, err)
		}
		if n, err := s.Count(); err != nil || n != 2 {
			t.Errorf("a scan after First counts %d (%v), want 2", n, err)
		}
		if docs, err := p.byCity.Eq(r, "nowhere").Collect(); err != nil || docs == nil || len(docs) != 0 {
			t.Errorf("none: %#v (%v), want an empty slice", docs, err)
		}
		return nil
	})
}

// A scan sees the transaction as at its first step: no row comes twice, none that was written since comes at all.
func TestScanWhileWriting(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		for _, desc := range []bool{false, true} {
			b := newBank()
			db := open(b.schema)
			for i := range 6 {
				b.open(t, db, fmt.Sprint("o", i), i)
			}
			update(t, db, func(tx *engine.Tx) error {
				for i := range 3 { // half of what is scanned is the transaction's own
					if _, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint("n", i), Balance: 10 + i}); err != nil {
						return err
					}
				}
				s := b.balance.Scan(tx)
				if desc {
					s = s.Desc()
				}
				var seen []string
				for d, err := range s.Docs() {
					if err != nil {
						return err
					}
					seen = append(seen, fmt.Sprintf("%s:%d", d.Value.Owner, d.Value.Balance))
					step := 100
					if desc {
						step = -100
					}
					// Moves it to where the scan has yet to come, removes another and adds one.
					if err := b.accounts.Patch(tx, d.ID, func(a *account) error { a.Balance += step; return nil }); err != nil {
						return err
					}
					if d.Value.Owner == "o3" {
						for _, owner := range []string{"o2", "o4"} {
							o, err := b.byOwner.One(tx, owner)
							if err != nil {
								return err
							}
							if err := b.accounts.Delete(tx, o.ID); err != nil {
								return err
							}
						}
						if _, err := b.accounts.Insert(tx, account{Owner: "late", Balance: 5}); err != nil {
							return err
						}
					}
					if len(seen) > 20 {
						return errors.New("the scan finds its own writes")
					}
					if d.Value.Owner == "o4" || d.Value.Owner == "o2" {
						break
					}
				}
				want := []string{"o0:0", "o1:1", "o2:2"}
				if desc {
					want = []string{"n2:12", "n1:11", "n0:10", "o5:5", "o4:4"}
				}
				if !slices.Equal(seen, want) {
					t.Errorf("saw %q, want %q", seen, want)
				}
				// From the start again, it sees all that was done.
				n, err := b.accounts.All(tx).Count()
				if err != nil || n != 9 {
					t.Errorf("there are %d (%v)", n, err)
				}
				return nil
			})
			view(t, db, func(r *engine.ReadTx) error {
				n, err := b.balance.Scan(r).Count()
				if err != nil || n != 9 {
					t.Errorf("committed %d (%v)", n, err)
				}
				return nil
			})
		}
	})
}

func TestScanDeletesWhatItWalksOver(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	for i := range 10 {
		b.open(t, db, fmt.Sprint("o", i), i)
	}
	update(t, db, func(tx *engine.Tx) error {
		n := 0
		for d, err := range b.balance.Scan(tx).Docs() {
			if err != nil {
				return err
			}
			n++
			docs, err := b.balance.Scan(tx).Gte(d.Value.Balance).Limit(2).Collect()
			if err != nil {
				return err
			}
			for _, d := range docs {
				if err := b.accounts.Delete(tx, d.ID); err != nil {
					return err
				}
			}
		}
		if n != 10 {
			t.Errorf("saw %d of the 10 that were there at its first step", n)
		}
		return nil
	})
	if got := b.owners(t, db); got != "" {
		t.Errorf("left: %s", got)
	}
}

// A scan that is pulled, and never stopped, has read what it looked at.
func TestPulledScanCountsAsRead(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	for i := range 10 {
		b.open(t, db, fmt.Sprint("o", i), i*10)
	}
	n := 0
	run := func(desc bool, balance int) int {
		n++
		var stops []func()
		defer func() {
			for _, stop := range stops {
				stop()
			}
		}()
		return raced(t, db, func(tx *engine.Tx) error {
			s := b.balance.Scan(tx)
			if desc {
				s = s.Desc()
			}
			next, stop := iter.Pull2(s.Docs())
			stops = append(stops, stop)
			for range 2 {
				if _, err, ok := next(); err != nil || !ok {
					return fmt.Errorf("pulled %v: %w", ok, err)
				}
			}
			return nil
		}, func(tx *engine.Tx) error {
			return second(b.accounts.Insert(tx, account{Owner: fmt.Sprint("between", n), Balance: balance}))
		}, func(tx *engine.Tx) error {
			return second(b.accounts.Insert(tx, account{Owner: fmt.Sprint("writer", n), Balance: 50}))
		})
	}
	for _, c := range []struct {
		desc          bool
		balance, runs int
	}{{false, 55, 1}, {false, 5, 2}, {true, 45, 1}, {true, 85, 2}} {
		if got := run(c.desc, c.balance); got != c.runs {
			t.Errorf("desc %v, insert at %d: ran %d times, want %d", c.desc, c.balance, got, c.runs)
		}
	}
}

// What a scan has read is one range, whatever ended it.
func TestWhatScansRead(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	for i := range 10 {
		b.open(t, db, fmt.Sprint("o", i), i*10)
	}
	n := 0
	for _, c := range []struct {
		what   string
		read   func(*engine.Tx) error
		insert int
		runs   int
	}{
		{"a filter that rejects", func(tx *engine.Tx) error {
			return second(b.balance.Scan(tx).Lt(30).Filter(func(*engine.Doc[account]) bool { return false }).Collect())
		}, 25, 2},
		{"a filter and a limit", func(tx *engine.Tx) error {
			return second(b.balance.Scan(tx).Filter(func(d *engine.Doc[account]) bool { return d.Value.Balance >= 30 }).Limit(1).Collect())
		}, 31, 1},
		{"what a filter passed over", func(tx *engine.Tx) error {
			return second(b.balance.Scan(tx).Filter(func(d *engine.Doc[account]) bool { return d.Value.Balance >= 30 }).Limit(1).Collect())
		}, 11, 2},
		{"one of two", func(tx *engine.Tx) error {
			if _, err := b.balance.Scan(tx).Gte(60).Unique(); !errors.Is(err, engine.ErrNotUnique) {
				return fmt.Errorf("unique: %w", err)
			}
			return nil
		}, 75, 1},
		{"between the two", func(tx *engine.Tx) error {
			if _, err := b.balance.Scan(tx).Gte(60).Unique(); !errors.Is(err, engine.ErrNotUnique) {
				return fmt.Errorf("unique: %w", err)
			}
			return nil
		}, 65, 2},
		{"a loop that breaks", func(tx *engine.Tx) error {
			for d, err := range b.balance.Scan(tx).Docs() {
				if err != nil || d.Value.Balance >= 20 {
					return err
				}
			}
			return nil
		}, 22, 1},
		{"a panic", func(tx *engine.Tx) error {
			defer func() { _ = recover() }()
			for range b.balance.Scan(tx).Desc().Limit(3).Docs() {
				panic("in the loop")
			}
			return nil
		}, 95, 2},
		{"bounds that exclude each other", func(tx *engine.Tx) error {
			return second(b.balance.Scan(tx).Gt(50).Lt(40).Collect())
		}, 45, 1},
		{"a limit of none", func(tx *engine.Tx) error { return second(b.balance.Scan(tx).Limit(0).Collect()) }, 45, 1},
		{"exactly the limit", func(tx *engine.Tx) error { return second(b.balance.Scan(tx).Gte(88).Limit(1).Collect()) }, 97, 1},
		{"fewer than the limit", func(tx *engine.Tx) error { return second(b.balance.Scan(tx).Gte(98).Limit(9).Collect()) }, 99, 2},
	} {
		n++
		var inserted engine.ID[account]
		runs := raced(t, db, c.read, func(tx *engine.Tx) (err error) {
			inserted, err = b.accounts.Insert(tx, account{Owner: fmt.Sprint("between", n), Balance: c.insert})
			return err
		}, func(tx *engine.Tx) error {
			return second(b.accounts.Insert(tx, account{Owner: fmt.Sprint("writer", n), Balance: -1000}))
		})
		if runs != c.runs {
			t.Errorf("%s: ran %d times, want %d", c.what, runs, c.runs)
		}
		update(t, db, func(tx *engine.Tx) error {
			w, err := b.byOwner.One(tx, fmt.Sprint("writer", n))
			if err != nil {
				return err
			}
			return errors.Join(b.accounts.Delete(tx, inserted), b.accounts.Delete(tx, w.ID))
		})
	}
}

// Reads of a query are at one timestamp, whatever is committed meanwhile.
func TestViewIsASnapshot(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		b := newBank()
		db := open(b.schema)
		id := b.open(t, db, "ann", 1)
		view(t, db, func(r *engine.ReadTx) error {
			if err := db.Update(context.Background(), func(tx *engine.Tx) error {
				if err := b.accounts.Delete(tx, id); err != nil {
					return err
				}
				return second(b.accounts.Insert(tx, account{Owner: "bob"}))
			}); err != nil {
				return err
			}
			if got := b.list(t, r); got != "ann:1" {
				t.Errorf("saw %s", got)
			}
			return second(b.accounts.Get(r, id))
		})
	})
}
