package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/interval"
	"github.com/mimosadb/mimosa/engine/storage"
)

// DB is an open database. All its methods are safe for concurrent use.
type DB struct {
	schema    *Schema
	options   Options
	limits    Limits
	store     storage.Store
	committer *committer
	watches   *watches
	workers   workers
	metrics   *meters
	backups   *backups
	indexes   *indexStates
	jobs      *scheduler
	logger    *slog.Logger
	clock     func() time.Time

	randMu sync.Mutex // guards rand and unique
	rand   *rand.Rand // of the seed
	unique *rand.Rand // of the seed and the state of the store

	seal *seal // of cursors and journals

	life    context.Context // ends with Close
	end     context.CancelFunc
	callers callers
	calls   sync.WaitGroup // running calls and maintenance
	state   sync.RWMutex   // guards closed against calls that begin
	closed  bool

	pending []string // migrations that Options.Maintenance has put off; not changed after Open

	abandoned atomic.Int64 // functions still running past their time limit
}

// Open opens a database with what s declares. It returns all that is wrong with the registrations at once, each with its
// place. Where it fails, Options.Store is closed. Migrations that the database has not seen are run first, see Migrate. Then
// it refuses a database in which documents break a schema that has changed, see Options.AllowInvalid; one written by a newer
// version it refuses at once, with ErrNewerFormat. New indexes are built, and those that are not declared any more are dropped,
// in the background, see DB.Indexes and Options.BuildAtOpen.
func Open(s *Schema, o Options) (*DB, error) {
	o = o.withDefaults()
	store, err := openStore(s, o)
	if err != nil {
		return nil, err
	}
	seed := o.seed()
	db := &DB{
		schema: s, options: o, limits: o.Limits, store: store, logger: o.Logger, clock: o.Clock, metrics: newMeters(),
		rand: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)),
	}
	db.life, db.end = context.WithCancel(context.Background())
	fail := func(err error) (*DB, error) {
		db.end()
		return nil, errors.Join(err, store.Close())
	}
	born, err := store.Head(db.life)
	if err != nil {
		return fail(err)
	}
	// Ids of documents and groups are never used again, not even by a database that is reopened with the same seed.
	db.unique = newUnique(seed, born)
	db.backups = newBackups(o)
	if err := db.loadBackups(db.life, born); err != nil {
		return fail(err)
	}
	db.indexes = newIndexStates(s)
	todo, err := db.prepare(db.life)
	if err != nil {
		return fail(err)
	}
	if err := db.openSeal(db.life); err != nil {
		return fail(err)
	}
	head, err := store.Head(db.life)
	if err != nil {
		return fail(err)
	}
	db.watches = newWatches(head, seed)
	db.jobs = newScheduler(db)
	db.committer = newCommitter(store, head, o, db.metrics, db.newGroupID, db.published)
	if o.Maintenance {
		for _, m := range todo.migrations {
			db.pending = append(db.pending, m.name)
		}
		return db, nil
	}
	builds, err := db.complete(db.life, todo)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	db.calls.Go(func() { db.work(builds, todo.drops) })
	db.calls.Add(1)
	go db.maintain()
	if !o.Jobs.Off {
		if err := db.prepareCrons(db.life); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	for _, fn := range s.onOpen {
		if err := fn(db.life, db); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	if !o.Jobs.Off {
		db.jobs.begin()
	}
	return db, nil
}

// openStore seals a schema and opens the store that options with their defaults say. Where it fails, Options.Store is closed.
func openStore(s *Schema, o Options) (storage.Store, error) {
	if err := s.seal(); err != nil {
		return nil, errors.Join(err, closeStore(o.Store))
	}
	if o.Store != nil {
		return o.Store, nil
	}
	if o.Dir == "" {
		return nil, errNowhere
	}
	return openEmbedded(o)
}

// published is told by the committer what has been written, before those who wrote it are answered.
func (db *DB) published(news []publication) {
	db.watches.publish(news)
	db.jobs.published(news)
}

// Close refuses new calls, ends the contexts of running ones, waits for them (for actions that do not heed it, two seconds; they
// cannot use the database any more) and for what has been accepted to be durable,
// and closes the store. Further calls return ErrClosed. Close may be called more than once.
func (db *DB) Close() error {
	db.state.Lock()
	if db.closed {
		db.state.Unlock()
		return nil
	}
	db.closed = true
	db.state.Unlock()
	db.end()
	db.callers.end()
	db.calls.Wait()
	db.workers.close()
	db.committer.close()
	return db.store.Close()
}

// begin counts a call in, unless the database is closed.
func (db *DB) begin() error {
	db.state.RLock()
	defer db.state.RUnlock()
	if db.closed {
		return ErrClosed
	}
	db.calls.Add(1)
	return nil
}

// enter begins a call from outside. It ends with its caller and with the database: the context says which.
func (db *DB) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	if inside(ctx) {
		return nil, nil, ErrInsideFunction
	}
	if err := db.begin(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := db.callers.add(cancel)
	return ctx, func() {
		db.callers.remove(c)
		cancel(nil)
		db.calls.Done()
	}, nil
}

// Schema returns what the database was opened with.
func (db *DB) Schema() *Schema { return db.schema }

// Options returns the options in force, defaults filled in.
func (db *DB) Options() Options { return db.options }

// Now is the time by the database's clock.
func (db *DB) Now() time.Time { return db.clock() }

// Published returns the timestamp of the newest published state, the one that queries read.
func (db *DB) Published() Timestamp { return db.committer.head() }

// Failed is closed when a commit has failed: from then on every write fails with ErrFailed, and the database has to be
// opened again, which recovers what was acknowledged. A program that cannot do that ends, so that it is started again.
func (db *DB) Failed() <-chan struct{} { return db.committer.failed }

// Done is closed when Close begins: from then on calls return ErrClosed.
func (db *DB) Done() <-chan struct{} { return db.life.Done() }

// Abandoned returns how many functions still run past their time limit. They cannot touch the database any more.
func (db *DB) Abandoned() int64 { return db.abandoned.Load() }

// Functions describes the registered functions, sorted by name.
func (db *DB) Functions() []FunctionInfo {
	out := make([]FunctionInfo, 0, len(db.schema.functions))
	for _, f := range db.schema.functions {
		out = append(out, f.info())
	}
	slices.SortFunc(out, func(a, b FunctionInfo) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Lookup describes one registered function.
func (db *DB) Lookup(name string) (FunctionInfo, bool) {
	f := db.schema.functions[name]
	if f == nil {
		return FunctionInfo{}, false
	}
	return f.info(), true
}

func (f *function) info() FunctionInfo {
	return FunctionInfo{Name: f.name, Kind: f.kind, Internal: f.internal, Args: f.args.JSONSchema(), Result: f.result.JSONSchema()}
}

func (db *DB) randomBits() uint64 {
	db.randMu.Lock()
	defer db.randMu.Unlock()
	return db.rand.Uint64()
}

func (db *DB) uniqueBits() uint64 {
	db.randMu.Lock()
	defer db.randMu.Unlock()
	return db.unique.Uint64()
}

func (db *DB) newGroupID() (id storage.GroupID) {
	db.randMu.Lock()
	defer db.randMu.Unlock()
	binary.LittleEndian.PutUint64(id[:8], db.unique.Uint64())
	binary.LittleEndian.PutUint64(id[8:], db.unique.Uint64())
	return id
}

// newTxn begins a transaction on the published head, or on the tentative head for one that writes.
func (db *DB) newTxn(ctx context.Context, p Principal, writable bool) (*txn, error) {
	// The head may be compacted away between the two steps only if this goroutine sleeps for keepVersions; then try again.
	for {
		if !writable {
			at := db.Published()
			t, err := db.newTxnAt(ctx, p, at)
			if errors.Is(err, storage.ErrTooOld) && db.Published() != at {
				continue
			}
			return t, err
		}
		ts, base, err := db.committer.view()
		if err != nil {
			return nil, err
		}
		snap, err := db.store.At(ctx, ts)
		if errors.Is(err, storage.ErrTooOld) && db.Published() != ts {
			continue
		}
		if err != nil {
			return nil, err
		}
		return db.assemble(ctx, p, snap, base, true), nil
	}
}

// newTxnAt begins a read-only transaction at a published timestamp.
func (db *DB) newTxnAt(ctx context.Context, p Principal, at Timestamp) (*txn, error) {
	snap, err := db.store.At(ctx, at)
	if err != nil {
		return nil, err
	}
	return db.assemble(ctx, p, snap, tentative{}, false), nil
}

func (db *DB) assemble(ctx context.Context, p Principal, snap storage.Snapshot, base tentative, writable bool) *txn {
	now := db.clock()
	return &txn{
		db: db, ctx: context.WithValue(ctx, insideKey{}, true), principal: p, writable: writable,
		snap: snap, base: base, mine: new(overlay), reads: interval.Set{},
		start: now, nextMicros: now.UnixMicro(),
	}
}

// insideKey marks the context of a function, so that View and Update can refuse to run inside it.
type insideKey struct{}

func inside(ctx context.Context) bool { return ctx.Value(insideKey{}) != nil }
