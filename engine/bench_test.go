package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

type post struct {
	Author string `json:"author"`
	Slug   string `json:"slug"`
	Text   string `json:"text" jsonschema:"maxLength=2000"`
	Likes  int    `json:"likes"`
}

type blog struct {
	schema *engine.Schema
	posts  *engine.Collection[post]
	bySlug *engine.Index[post]
	plain  *engine.Collection[account]
	tally  *engine.Collection[tally]
}

func newBlog() *blog {
	s := engine.NewSchema()
	b := &blog{schema: s, posts: engine.Define[post](s, "posts"), plain: engine.Define[account](s, "accounts"), tally: engine.Define[tally](s, "tallies")}
	b.bySlug = b.posts.AddUnique("bySlug", "slug")
	engine.Mutation(s, "bench:args", func(*engine.Tx, post) (int, error) { return 0, nil })
	return b
}

const benchText = "A message of a length that messages have, with a little more in it than the shortest of them."

// openBench opens a database on disk, durable, and returns the spy that counts its rows.
func openBench(b *testing.B, s *engine.Schema) (*engine.DB, *spy) {
	b.Helper()
	store, err := badgerstore.Open(badgerstore.Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	counted := newSpy(store)
	db, err := engine.Open(s, engine.Options{Store: counted, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db, counted
}

// benchMutations shares b.N mutations among writers and reports rows and commits per mutation, those of the log not counted.
func benchMutations(b *testing.B, db *engine.DB, store *spy, writers int, run func(writer, n int, tx *engine.Tx) error) {
	b.Helper()
	benchWriters(b, store, writers, func(w, n int) error {
		return db.Update(context.Background(), func(tx *engine.Tx) error { return run(w, n, tx) })
	})
}

// benchCalls is benchMutations for registered ones.
func benchCalls(b *testing.B, db *engine.DB, store *spy, writers int, call func(writer, n int) engine.Call) {
	b.Helper()
	benchWriters(b, store, writers, func(w, n int) error {
		_, err := db.RunMutation(context.Background(), call(w, n))
		return err
	})
}

func benchWriters(b *testing.B, store *spy, writers int, run func(writer, n int) error) {
	b.Helper()
	groups, rows, _ := store.counts()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			for {
				n := int(next.Add(1))
				if n > b.N {
					return
				}
				if err := run(w, n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	groupsAfter, rowsAfter, _ := store.counts()
	b.ReportMetric(float64(rowsAfter-rows)/float64(b.N), "rows/mutation")
	b.ReportMetric(float64(b.N)/float64(max(1, groupsAfter-groups)), "mutations/commit")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mutations/s")
}

func BenchmarkInsert(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			g := newBlog()
			db, store := openBench(b, g.schema)
			benchMutations(b, db, store, writers, func(_, _ int, tx *engine.Tx) error {
				_, err := g.plain.Insert(tx, account{Owner: "somebody", Balance: 1, Note: benchText})
				return err
			})
		})
	}
}

// A document with a unique index, and another document that goes with it, as a trigger writes one.
func BenchmarkInsertUniqueAndSecond(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			g := newBlog()
			db, store := openBench(b, g.schema)
			benchMutations(b, db, store, writers, func(_, n int, tx *engine.Tx) error {
				if _, err := g.posts.Insert(tx, post{Author: "somebody", Slug: fmt.Sprint("post-", n), Text: benchText}); err != nil {
					return err
				}
				_, err := g.plain.Insert(tx, account{Owner: "somebody", Note: benchText})
				return err
			})
		})
	}
}

func BenchmarkHotCounter(b *testing.B) {
	g := newBlog()
	db, store := openBench(b, g.schema)
	var id engine.ID[tally]
	update(b, db, func(tx *engine.Tx) (err error) { id, err = g.tally.Insert(tx, tally{Name: "hot"}); return err })
	benchMutations(b, db, store, 64, func(_, _ int, tx *engine.Tx) error {
		return g.tally.Patch(tx, id, func(t *tally) error { t.N++; return nil })
	})
}

// filled is a database with a thousand posts.
func filled(b *testing.B) (*blog, *engine.DB, []engine.ID[post]) {
	b.Helper()
	g := newBlog()
	db, _ := openBench(b, g.schema)
	return g, db, g.fill(b, db)
}

func (g *blog) fill(b *testing.B, db *engine.DB) (ids []engine.ID[post]) {
	b.Helper()
	update(b, db, func(tx *engine.Tx) error {
		for i := range 1000 {
			id, err := g.posts.Insert(tx, post{Author: "somebody", Slug: fmt.Sprintf("post-%04d", i), Text: benchText})
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids
}

func BenchmarkGet(b *testing.B) {
	g, db, ids := filled(b)
	b.ReportAllocs()
	view(b, db, func(r *engine.ReadTx) error {
		b.ResetTimer()
		for i := range 20_000 { // in one transaction, below its limit
			if i >= b.N {
				return nil
			}
			if _, err := g.posts.Get(r, ids[i%len(ids)]); err != nil {
				return err
			}
		}
		return nil
	})
	for i := 20_000; i < b.N; i++ {
		view(b, db, func(r *engine.ReadTx) error { _, err := g.posts.Get(r, ids[i%len(ids)]); return err })
	}
}

func BenchmarkView(b *testing.B) {
	g, db, ids := filled(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		view(b, db, func(r *engine.ReadTx) error { _, err := g.posts.Get(r, ids[i%len(ids)]); return err })
	}
}

func BenchmarkScan100(b *testing.B) {
	for name, scan := range map[string]func(*blog, *engine.ReadTx) *engine.Scan[post]{
		"collection": func(g *blog, r *engine.ReadTx) *engine.Scan[post] { return g.posts.All(r).Limit(100) },
		"index": func(g *blog, r *engine.ReadTx) *engine.Scan[post] {
			return g.bySlug.Scan(r).Gte("post-0500").Limit(100)
		},
		"descending": func(g *blog, r *engine.ReadTx) *engine.Scan[post] { return g.bySlug.Scan(r).Desc().Limit(100) },
	} {
		b.Run(name, func(b *testing.B) {
			g, db, _ := filled(b)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				view(b, db, func(r *engine.ReadTx) error {
					n, err := scan(g, r).Count()
					if n != 100 {
						b.Fatalf("%d documents", n)
					}
					return err
				})
			}
		})
	}
}

// Validating and decoding the arguments of a call, and what it costs to run one that does nothing.
func BenchmarkArguments(b *testing.B) {
	g := newBlog()
	db, _ := openBench(b, g.schema)
	raw, err := json.Marshal(post{Author: "somebody", Slug: "post", Text: benchText, Likes: 3})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := db.RunMutation(context.Background(), engine.Call{Function: "bench:args", Args: raw}); err != nil {
			b.Fatal(err)
		}
	}
}

// The committer's validation: a mutation that read much, against others that were accepted meanwhile.
func BenchmarkValidation(b *testing.B) {
	for _, reads := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("reads=%d", reads), func(b *testing.B) {
			g, db, ids := filled(b)
			var wg sync.WaitGroup
			stop := make(chan struct{})
			for range 8 { // writers of what nobody reads
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if err := db.Update(context.Background(), func(tx *engine.Tx) error {
							_, err := g.plain.Insert(tx, account{Owner: "other"})
							return err
						}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			b.ResetTimer()
			for range b.N {
				update(b, db, func(tx *engine.Tx) error {
					for i := range reads {
						if _, err := g.posts.Get(tx, ids[i]); err != nil {
							return err
						}
					}
					_, err := g.tally.Insert(tx, tally{Name: "reader"})
					return err
				})
			}
			b.StopTimer()
			close(stop)
			wg.Wait()
		})
	}
}

// A query that lists a thousand documents, decoded and encoded again or forwarded as they are stored.
func BenchmarkList1000(b *testing.B) {
	g := newBlog()
	engine.Query(g.schema, "list:decoded", func(r *engine.ReadTx, _ struct{}) ([]*engine.Doc[post], error) { return g.bySlug.Scan(r).Collect() })
	engine.Query(g.schema, "list:stored", func(r *engine.ReadTx, _ struct{}) ([]engine.Stored[post], error) {
		return g.bySlug.Scan(r).Stored().Collect()
	})
	db, _ := openBench(b, g.schema)
	g.fill(b, db)
	for _, name := range []string{"decoded", "stored"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := db.RunQuery(context.Background(), engine.Call{Function: "list:" + name}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
