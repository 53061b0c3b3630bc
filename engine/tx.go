package engine

import (
	"context"
	"math/rand/v2"
	"time"
)

// Reader is what both kinds of transaction offer. It is sealed: only *ReadTx and *Tx implement it. A Reader belongs to the
// function it was handed to, is not safe for concurrent use, and errors with ErrDead once that function has returned.
type Reader interface {
	// Context is the call's context. It ends when the function's time limit is reached.
	Context() context.Context
	// Now is the time at which this run of the function began; it stands still while the function runs. Results that
	// used it are not shared or cached.
	Now() time.Time
	// Rand is a source that is fixed for this run of the function. Results that used it are not shared or cached.
	Rand() *rand.Rand
	// Identity is who the function runs as, nil for nobody. What it reads to tell enters the read set: a live query that
	// asked is run again when the session ends.
	Identity() (*Identity, error)
	// Log adds a line to the call's log, which reaches the client in development.
	Log(format string, a ...any)
	// Local returns what SetLocal kept under key in this run of the transaction, or nil.
	Local(key any) any
	// SetLocal keeps a value for this run of the transaction, for code that it calls and triggers that it fires. A rerun
	// starts without it. Keys follow the rules of context.WithValue.
	SetLocal(key, value any)
	reader() *txn
}

// ReadTx is a read-only transaction: a consistent snapshot at one timestamp.
type ReadTx struct{ t *txn }

// Tx is a read-write transaction. Nothing of it is visible outside until it commits, whole.
type Tx struct{ t *txn }

// Context: see [Reader].
func (r *ReadTx) Context() context.Context { return r.t.ctx }

// Now: see [Reader].
func (r *ReadTx) Now() time.Time { return r.t.now() }

// Rand: see [Reader].
func (r *ReadTx) Rand() *rand.Rand { return r.t.random() }

// Identity: see [Reader].
func (r *ReadTx) Identity() (*Identity, error) { return r.t.identity(r) }

// Log: see [Reader].
func (r *ReadTx) Log(format string, a ...any) { r.t.logf(format, a...) }

// Local: see [Reader].
func (r *ReadTx) Local(key any) any { return r.t.local(key) }

// SetLocal: see [Reader].
func (r *ReadTx) SetLocal(key, value any) { r.t.setLocal(key, value) }

func (r *ReadTx) reader() *txn { return r.t }

// Context: see [Reader].
func (tx *Tx) Context() context.Context { return tx.t.ctx }

// Now: see [Reader].
func (tx *Tx) Now() time.Time { return tx.t.now() }

// Rand: see [Reader].
func (tx *Tx) Rand() *rand.Rand { return tx.t.random() }

// Identity: see [Reader].
func (tx *Tx) Identity() (*Identity, error) { return tx.t.identity(tx) }

// Log: see [Reader].
func (tx *Tx) Log(format string, a ...any) { tx.t.logf(format, a...) }

// Local: see [Reader].
func (tx *Tx) Local(key any) any { return tx.t.local(key) }

// SetLocal: see [Reader].
func (tx *Tx) SetLocal(key, value any) { tx.t.setLocal(key, value) }

func (tx *Tx) reader() *txn { return tx.t }

// ReadOnly returns a view of the same transaction that cannot write.
func (tx *Tx) ReadOnly() *ReadTx { return &ReadTx{tx.t} }

// Nested runs fn as a part of the transaction that can fail alone. When fn returns an error, or a trigger of one of its
// writes does, its writes and what they queued are rolled back and the error returned; what it read stays in the read set
// and counts against the limits. Triggers of its writes have all run when it returns.
func (tx *Tx) Nested(fn func(*Tx) error) error { return tx.t.nested(tx, fn) }

// Traced adds to the transaction's trace; package triggers calls it for what it fires. The index it returns is given to
// TraceDone when that has finished.
func (tx *Tx) Traced(f Fired) int { return tx.t.traced(f) }

// TraceDone fills in how long a traced entry took and how it failed, if it did.
func (tx *Tx) TraceDone(i int, took time.Duration, err error) { tx.t.traceDone(i, took, err) }

// Traced: see Tx.Traced.
func (r *ReadTx) Traced(f Fired) int { return r.t.traced(f) }

// TraceDone: see Tx.TraceDone.
func (r *ReadTx) TraceDone(i int, took time.Duration, err error) { r.t.traceDone(i, took, err) }
