package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/interval"
	"github.com/mimosadb/mimosa/engine/storage"
)

// txn is the core of ReadTx and Tx: a snapshot, what lies above it, and what was read and written.
//
// It is used by one goroutine, that of the function it was made for. Only dead is set from outside.
type txn struct {
	db        *DB
	ctx       context.Context
	writable  bool
	principal Principal
	snap      storage.Snapshot
	base      tentative // what lies above snap; empty for a transaction that only reads
	mine      *overlay  // what it wrote itself

	reads   interval.Set
	scans   map[*scanned]struct{} // that are under way
	touched []string              // document and index keys of every change; see DB.conflicts

	// silent leaves the hooks of writes out, lenient lets new documents have unknown members; both are for imports.
	silent, lenient bool
	granted         bool // the next write may be to a collection of the database's own

	poison error
	level  int // of Nested
	dead   atomic.Bool
	// runaway says that the function still runs although its time is up; set and read only by the goroutine that waited for
	// it, which then leaves everything else of the transaction alone.
	runaway bool

	took       time.Duration // of the function, once it has returned
	start      time.Time
	nextMicros int64
	rand       *rand.Rand // made when it is asked for
	volatile   bool

	readIdentity bool // by any run of any part
	resolved     bool // ident and identErr are set
	ident        *Identity
	identErr     error

	readDocs, writeDocs   int
	readBytes, writeBytes int64

	journal *journal // of a query's run; see Call.Journal
	locals  map[any]any
	log     []string
	trace   []Fired
}

// finish ends the transaction when its function has returned. Scans that were left open, by iter.Pull, have read what they
// have looked at.
func (t *txn) finish() {
	for s := range t.scans {
		s.record(&t.reads)
	}
	t.scans = nil
	t.snap.Close()
}

// usable is the first thing every operation asks.
func (t *txn) usable() error {
	if t.dead.Load() {
		return ErrDead
	}
	if t.poison != nil {
		return t.poison
	}
	return nil
}

func (t *txn) now() time.Time {
	t.volatile = true
	return t.start
}

func (t *txn) random() *rand.Rand {
	t.volatile = true
	if t.rand == nil {
		t.rand = rand.New(rand.NewPCG(t.db.randomBits(), t.db.randomBits()))
	}
	return t.rand
}

func (t *txn) identity(r Reader) (*Identity, error) {
	if err := t.usable(); err != nil {
		return nil, err
	}
	t.readIdentity = true
	if !t.resolved {
		t.resolved = true
		if t.principal != nil {
			t.ident, t.identErr = t.principal.Resolve(r)
			if t.identErr != nil {
				t.ident = nil
			}
		}
	}
	return t.ident, t.identErr
}

func (t *txn) logf(format string, a ...any) {
	if len(t.log) < t.db.limits.LogLines {
		t.log = append(t.log, logLine(format, a))
	}
}

// maxLogLine bounds a log line; lines are kept until the call is answered, and those of a mutation with a Request for 30 days.
const maxLogLine = 4 << 10

func logLine(format string, a []any) string {
	line := fmt.Sprintf(format, a...)
	if len(line) <= maxLogLine {
		return line
	}
	return strings.ToValidUTF8(line[:maxLogLine], "") + "…"
}

func (t *txn) local(key any) any { return t.locals[key] }

func (t *txn) setLocal(key, value any) {
	if t.locals == nil {
		t.locals = map[any]any{}
	}
	t.locals[key] = value
}

func (t *txn) traced(f Fired) int {
	t.trace = append(t.trace, f)
	return len(t.trace) - 1
}

func (t *txn) traceDone(i int, took time.Duration, err error) {
	t.trace[i].Took = took
	t.db.metrics.triggers.observe(took.Seconds())
	if err != nil {
		t.trace[i].Error = err.Error()
	}
}

// lookup returns a key's value without recording that it was read.
func (t *txn) lookup(mine *overlay, key string) ([]byte, bool, error) {
	if e, ok := mine.Get(key); ok {
		return e.value, !e.deleted, nil
	}
	if v, ok := t.base.get(key); ok {
		return v.Value, !v.Deleted, nil
	}
	kv, ok, err := t.snap.Get([]byte(key))
	return kv.Value, ok, err
}

// get returns a key's value and records the point as read, found or not.
func (t *txn) get(key string) ([]byte, bool, error) {
	t.reads.AddPoint([]byte(key))
	return t.lookup(t.mine, key)
}

// countRead counts a document against the limits. A call that exceeds one fails, even where its function ignores the error.
func (t *txn) countRead(raw []byte) error {
	t.readDocs++
	t.readBytes += int64(len(raw))
	if t.readDocs > t.db.limits.ReadDocuments {
		return t.poisonWith(&LimitError{"ReadDocuments", int64(t.db.limits.ReadDocuments)})
	}
	if t.readBytes > t.db.limits.ReadBytes {
		return t.poisonWith(&LimitError{"ReadBytes", t.db.limits.ReadBytes})
	}
	return nil
}

// uncount takes back what countRead has counted of a document that is going to be read again.
func (t *txn) uncount(raw []byte) {
	t.readDocs--
	t.readBytes -= int64(len(raw))
}

// getDocument returns a document's stored JSON.
func (t *txn) getDocument(c *collection, id string) ([]byte, error) {
	if err := t.usableFor(c); err != nil {
		return nil, err
	}
	raw, err := c.parseID(id)
	if err != nil {
		return nil, err
	}
	doc, ok, err := t.get(documentKey(raw))
	if err != nil {
		return nil, err
	}
	if err := t.countRead(doc); err != nil {
		return nil, err
	}
	if !ok {
		return nil, &Error{Code: CodeNotFound, Message: "no such document in " + c.name}
	}
	return doc, nil
}

func (t *txn) usableFor(c *collection) error {
	if c.typ == nil {
		return c.unregistered()
	}
	if c.schema != t.db.schema {
		return fmt.Errorf("engine: collection %s belongs to another schema", c.name)
	}
	return t.usable()
}

// set stores an entry of the transaction's own.
func (t *txn) set(key string, value []byte, deleted bool) {
	t.mine.Set(key, entry{value: value, deleted: deleted})
}

// writes returns what the transaction leaves, one write a key, in the order of the keys.
func (t *txn) writes() []storage.Write {
	out := make([]storage.Write, 0, t.mine.Len())
	t.mine.Scan(func(k string, e entry) bool {
		out = append(out, storage.Write{Key: []byte(k), Value: e.value, Delete: e.deleted})
		return true
	})
	return out
}

// nested runs fn as a part that can fail alone.
func (t *txn) nested(tx *Tx, fn func(*Tx) error) error {
	if err := t.usable(); err != nil {
		return err
	}
	if t.level >= t.db.limits.Nesting {
		return &LimitError{"Nesting", int64(t.db.limits.Nesting)}
	}
	t.level++
	mine, touched, resolved := t.mine.Copy(), len(t.touched), t.resolved
	done := false
	rollback := func() {
		t.mine = mine
		if !resolved { // who the caller is may have been found in what is rolled back
			t.resolved, t.ident, t.identErr = false, nil, nil
		}
		t.touched = t.touched[:touched]
		t.poison = nil
	}
	defer func() {
		t.level--
		if !done { // fn panicked: whoever recovers finds the transaction as it was before
			rollback()
		}
	}()
	run := func() error {
		err := fn(tx)
		if err == nil {
			err = t.poison // a trigger failed and fn ignored it
		}
		return err
	}
	for _, h := range slices.Backward(t.db.schema.hooks) {
		if n, ok := h.(NestHook); ok {
			inner := run
			run = func() error { return n.Nested(tx, inner) }
		}
	}
	err := run()
	done = true
	if t.dead.Load() {
		return ErrDead
	}
	if err == nil {
		err = t.poison
	}
	if err != nil {
		rollback()
	}
	return err
}

// CascadeDepth returns the limit on triggers that fire one another, for package triggers.
func CascadeDepth(r Reader) int { return r.reader().db.limits.CascadeDepth }
