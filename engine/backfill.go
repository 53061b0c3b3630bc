package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/interval"
	"github.com/mimosadb/mimosa/engine/storage"
)

// Indexes are built and dropped while the database is used, in batches, each of which is a transaction like any other: it reads
// documents, writes the entries that they lack, and how far it has come. A document that somebody changes meanwhile makes it a
// conflict, and it runs again; whoever checks a unique index, and met none of these entries, does so too.
//
// From Open on every write keeps the entries of every declared index, ready or not. So an entry is missing only of a document
// that nobody has written since, and when all documents have been gone through there is none.

const (
	buildBatch = 256       // documents, or entries, that one transaction looks at
	buildBytes = 256 << 10 // of rows that it writes, at the most
	dropBatch  = 1024

	buildLogInterval = 10 * time.Second
	maxIndexFaults   = 10 // that are kept of one index
	noRoomPause      = 10 * time.Millisecond

	// retryMin and retryMax are how long a build that failed waits after a change that may help, more each time.
	retryMin = time.Second
	retryMax = time.Minute
)

// background runs fn in a transaction of the database's own, without hooks, limits or a goroutine, until it is accepted, and
// waits until it is durable. try counts from 1; with each conflict fn should do less.
func (db *DB) background(ctx context.Context, fn func(t *txn, try int) error) (Timestamp, error) {
	var own *reservation
	defer func() { db.committer.release(own) }()
	for try := 1; ; try++ {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		t, err := db.newTxn(ctx, nil, true)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		err = fn(t, try)
		t.finish()
		t.took = time.Since(began)
		if err != nil {
			return 0, err
		}
		t.reads.Seal()
		m := &member{reads: &t.reads, writes: t.writes(), touched: t.touched}
		if err = db.committer.admit(m); err == nil {
			err = db.committer.accept(ctx, t.base.seq, own, m)
		}
		var ts Timestamp
		if err == nil {
			ts, err = db.committer.await(ctx, m)
		}
		if errors.Is(err, errNoRoom) { // others go first
			try--
			if err = pause(ctx, noRoomPause); err == nil {
				continue
			}
		}
		if !errors.Is(err, errConflict) {
			return ts, err
		}
		if try >= triesBeforeReserve {
			own = db.committer.reserve(&t.reads, t.took, own)
		}
	}
}

// batchRows is how many rows a batch may write, besides those that say how far it has come.
func (db *DB) batchRows(most int) int {
	return max(1, min(most, db.committer.group.writes-groupOverheadRows-2))
}

func (db *DB) batchBytes() int64 {
	return max(1, min(buildBytes, (db.committer.group.bytes-groupOverheadBytes)/4))
}

// build is one index being built.
type build struct {
	db      *DB
	x       *index
	from    Timestamp // published when it began
	total   int64
	base    uint64 // sequence number at the last batch, to see whether others write
	began   time.Time
	logged  time.Time
	resumed int64
}

// buildIndex builds an index from where it stands, until it is ready or has failed. It returns what it has failed over, nil if
// it is ready.
func (db *DB) buildIndex(ctx context.Context, x *index) (over *Evaluation, err error) {
	b := &build{db: db, x: x, from: db.Published(), began: time.Now()}
	if b.total, err = db.countDocuments(ctx, x.coll); err != nil {
		return nil, err
	}
	for {
		began, before := time.Now(), b.base
		var p *indexProgress
		ts, err := db.background(ctx, func(t *txn, try int) (err error) {
			p, err = b.step(t, buildBatch>>min(try-1, 8))
			b.base = t.base.seq
			return err
		})
		if err != nil {
			return nil, err
		}
		switch {
		case p == nil:
			b.ready(ts)
			return nil, nil
		case p.Phase == phaseVerify:
			return b.finish(ctx, p)
		}
		b.report(p)
		// The own transaction is one; more of them are others', who go first.
		if before != 0 && b.base > before+1 {
			if err := pause(ctx, time.Since(began)); err != nil {
				return nil, err
			}
		}
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (db *DB) countDocuments(ctx context.Context, c *collection) (n int64, err error) {
	snap, err := db.store.At(ctx, db.Published())
	if err != nil {
		return 0, err
	}
	defer snap.Close()
	lo, hi := documentRange(c.tag)
	for _, err := range snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return 0, err
		}
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
	return n, nil
}

// step is one batch: it looks at up to limit entries or documents and returns how far that is, or nil when the index is ready.
func (b *build) step(t *txn, limit int) (*indexProgress, error) {
	var row indexRow
	if ok, err := t.getJSON(indexRowKey(b.x.tag), &row); err != nil {
		return nil, err
	} else if ok && row.State == IndexReady {
		return nil, nil // somebody else was faster
	}
	p := &indexProgress{Phase: phaseSweep}
	if _, err := t.getJSON(progressKey(b.x.tag), p); err != nil {
		return nil, err
	}
	var done bool
	var err error
	switch p.Phase {
	case phaseSweep, phaseDrop:
		if p.Phase == phaseDrop { // of when it was on its way out
			*p = indexProgress{Phase: phaseSweep}
		}
		if done, err = b.sweep(t, p, limit); done {
			*p = indexProgress{Phase: phaseFill}
		}
	case phaseFill:
		if p.Total == 0 {
			p.Total = b.total
		}
		if done, err = b.fill(t, p, limit); done {
			if !b.x.unique && p.FaultCount == 0 {
				b.setReady(t)
				return nil, nil
			}
			p.Phase, p.After = phaseVerify, nil
		}
	}
	if err != nil {
		return nil, err
	}
	t.setJSON(progressKey(b.x.tag), p)
	t.touched = append(t.touched, progressKey(b.x.tag))
	return p, nil
}

// sweep removes entries that do not match their documents: they are from before the index was declared again, or from when
// values had another type.
func (b *build) sweep(t *txn, p *indexProgress, limit int) (done bool, err error) {
	lo, hi := indexRange(b.x.tag)
	if len(p.After) > 0 {
		lo = append(p.After, 0)
	}
	limit = b.db.batchRows(limit)
	n := 0
	err = t.scan(t.mine.Copy(), lo, hi, false, func(key string, _ []byte) (bool, error) {
		if n++; n > limit {
			return false, nil
		}
		p.After = []byte(key)
		if len(key) >= partition+idBytes-tagBytes {
			if ok, err := t.holds(b.x, b.x.coll.indexedID([]byte(key)), key); ok || err != nil {
				return true, err
			}
		}
		t.set(key, nil, true)
		return true, nil
	})
	if errors.Is(err, errStopped) {
		return false, nil
	}
	return err == nil, err
}

// fill writes the entries that documents lack.
func (b *build) fill(t *txn, p *indexProgress, limit int) (done bool, err error) {
	lo, hi := documentRange(b.x.coll.tag)
	if len(p.After) > 0 {
		lo = append(p.After, 0)
	}
	limit, room := b.db.batchRows(limit), b.db.batchBytes()
	mine := t.mine.Copy()
	n := 0
	err = t.scan(mine, lo, hi, false, func(key string, raw []byte) (bool, error) {
		if n++; n > limit || room <= 0 {
			return false, nil
		}
		p.After = []byte(key)
		p.Documents++
		t.reads.AddPoint([]byte(key))
		if len(key) != 1+idBytes {
			return true, p.fault("is stored under a malformed key", fmt.Sprintf("%x", key[1:]))
		}
		id := rawID([]byte(key[1:]))
		entry, _, err := b.x.key(id, raw)
		if err != nil {
			var limit *LimitError
			if errors.As(err, &limit) {
				return true, p.fault(fmt.Sprintf("has values of more than %d bytes", limit.Max), id.String())
			}
			return true, p.fault("cannot be decoded", id.String())
		}
		if _, ok, err := t.lookup(mine, entry); ok || err != nil {
			return true, err
		}
		t.set(entry, nil, false)
		t.touched = append(t.touched, entry)
		room -= 2 * int64(len(entry)) // in the row, and in the log
		return true, nil
	})
	if errors.Is(err, errStopped) {
		return false, nil
	}
	return err == nil, err
}

// fault notes documents that the index cannot take.
func (p *indexProgress) fault(reason string, ids ...string) error {
	if p.FaultCount++; p.FaultCount <= maxIndexFaults {
		p.Faults = append(p.Faults, IndexFault{Documents: ids, Reason: reason})
	}
	return nil
}

func (b *build) setReady(t *txn) {
	t.setJSON(indexRowKey(b.x.tag), &indexRow{Spec: b.x.spec, State: IndexReady})
	t.set(progressKey(b.x.tag), nil, true)
	t.touched = append(t.touched, indexRowKey(b.x.tag), progressKey(b.x.tag))
}

// finish decides about an index that has all entries that it can have. No two documents have come to have the same values
// since, as every write finds the entries of all others.
func (b *build) finish(ctx context.Context, p *indexProgress) (over *Evaluation, err error) {
	again := &indexProgress{Phase: phaseVerify, Documents: p.Documents, Total: p.Total}
	if p.FaultCount > 0 { // of documents without an entry
		again.Phase, again.Documents = phaseFill, 0
	}
	if b.x.unique {
		if err := b.duplicates(ctx, p); err != nil {
			return nil, err
		}
	}
	ts, err := b.db.background(ctx, func(t *txn, _ int) error {
		if p.FaultCount == 0 {
			b.setReady(t)
			return nil
		}
		row := &indexRow{Spec: b.x.spec, State: IndexFailed, Faults: p.Faults, FaultCount: p.FaultCount}
		t.setJSON(indexRowKey(b.x.tag), row)
		t.setJSON(progressKey(b.x.tag), again)
		t.touched = append(t.touched, indexRowKey(b.x.tag), progressKey(b.x.tag))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if p.FaultCount == 0 {
		b.ready(ts)
		return nil, nil
	}
	return b.failed(p), nil
}

// duplicates looks for values that stand twice. They are neighbours in the index.
func (b *build) duplicates(ctx context.Context, p *indexProgress) error {
	snap, err := b.db.store.At(ctx, b.db.Published())
	if err != nil {
		return err
	}
	defer snap.Close()
	lo, hi := indexRange(b.x.tag)
	var previous []byte
	n := 0
	for kv, err := range snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return err
		}
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(kv.Key) < partition+idBytes-tagBytes {
			return fmt.Errorf("engine: %w: key %x in index %s of %s", storage.ErrCorrupt, kv.Key, b.x.name, b.x.coll.name)
		}
		before := previous
		previous = kv.Key
		if len(before) != len(kv.Key) || string(components(before)) != string(components(kv.Key)) {
			continue
		}
		id := b.x.coll.indexedID(kv.Key)
		doc, ok, err := snap.Get([]byte(documentKey(id)))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if _, complete, err := b.x.key(id, doc.Value); err == nil && complete {
			_ = p.fault("have the same values", b.x.coll.indexedID(before).String(), id.String())
		}
	}
	return nil
}

// components is an entry without the id of its document.
func components(entry []byte) []byte { return entry[:len(entry)-(idBytes-tagBytes)] }

func (b *build) attrs(more ...any) []any {
	return append([]any{"collection", b.x.coll.name, "index", b.x.name}, more...)
}

// report shows how far the build is: to the program always, in the log from time to time.
func (b *build) report(p *indexProgress) {
	if p.Phase != phaseFill {
		return
	}
	b.db.indexes.change(b.x, func(i *IndexInfo) { i.Documents, i.Total = p.Documents, p.Total })
	switch {
	case b.logged.IsZero():
		b.resumed = max(0, p.Documents-buildBatch)
		b.db.logger.Info("building an index", b.attrs("documents", p.Total, "done", b.resumed)...)
	case time.Since(b.logged) < buildLogInterval:
		return
	default:
		percent := min(100, 100*p.Documents/max(1, p.Total))
		b.db.logger.Info("building an index", b.attrs("documents", p.Total, "done", p.Documents, "percent", percent)...)
	}
	b.logged = time.Now()
}

func (b *build) ready(ts Timestamp) {
	b.db.indexes.nowReady(b.x, ts)
	b.db.logger.Info("an index is ready", b.attrs("documents", b.total, "took", time.Since(b.began).Round(time.Millisecond))...)
}

// failed tells that the index could not be built, and returns what would have to change: one of the documents.
func (b *build) failed(p *indexProgress) *Evaluation {
	b.db.indexes.change(b.x, func(i *IndexInfo) {
		i.State, i.Faults, i.FaultCount = IndexFailed, p.Faults, p.FaultCount
	})
	for _, f := range p.Faults {
		b.db.logger.Error("an index could not be built", b.attrs("documents", f.Documents, "reason", f.Reason, "faults", p.FaultCount)...)
	}
	reads := new(interval.Set)
	for _, f := range p.Faults {
		for _, id := range f.Documents {
			if raw, ok := decodeID(id); ok {
				reads.AddPoint([]byte(documentKey(raw)))
			}
		}
	}
	reads.Seal()
	return &Evaluation{Result: Result{Timestamp: b.from}, reads: reads}
}

// work builds and drops what Open has left to do. It belongs to the database and ends with it.
func (db *DB) work(builds []*index, drops []*indexRow) {
	for _, x := range builds {
		db.insist("an index could not be built for now", func() error {
			over, err := db.buildIndex(db.life, x)
			if over != nil {
				db.calls.Go(func() { db.retry(x, over) })
			}
			return err
		})
	}
	for _, row := range drops {
		db.insist("an index could not be dropped for now", func() error { return db.drop(db.life, row) })
	}
}

// insist runs fn until it succeeds or the database ends. What it can fail with is the store's, such as that the disk is full.
func (db *DB) insist(failed string, fn func() error) {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := fn()
		if err == nil || db.life.Err() != nil || errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed) {
			return
		}
		db.logger.Error(failed, "error", err, "again in", wait)
		if pause(db.life, wait) != nil {
			return
		}
	}
}

// retry builds an index that has failed again whenever one of the documents that it failed over has changed, until it is ready.
func (db *DB) retry(x *index, over *Evaluation) {
	for wait := retryMin; over != nil; wait = min(2*wait, retryMax) {
		touched := make(chan struct{})
		w := db.Watch(over, func() { close(touched) })
		select {
		case <-touched:
		case <-db.life.Done():
			w.Stop()
			return
		}
		if pause(db.life, wait) != nil { // who corrects one document will correct more
			return
		}
		over = nil
		db.insist("an index could not be built for now", func() (err error) {
			over, err = db.buildIndex(db.life, x)
			return err
		})
	}
}

// drop removes the entries of an index that is not declared any more, and then its row.
func (db *DB) drop(ctx context.Context, row *indexRow) error {
	tag := nameTag(row.Spec)
	began, entries := time.Now(), 0
	db.logger.Info("dropping an index", "collection", row.collection(), "index", row.name())
	for done := false; !done; {
		began, removed := time.Now(), 0
		_, err := db.background(ctx, func(t *txn, _ int) error {
			var p indexProgress
			if _, err := t.getJSON(progressKey(tag), &p); err != nil {
				return err
			}
			if p.Phase != phaseDrop { // of when it was being built
				p = indexProgress{Phase: phaseDrop}
			}
			lo, hi := indexRange(tag)
			if len(p.After) > 0 {
				lo = append(p.After, 0)
			}
			limit, room := db.batchRows(dropBatch), db.batchBytes()
			removed = 0
			err := t.scan(t.mine.Copy(), lo, hi, false, func(key string, _ []byte) (bool, error) {
				if removed == limit || room <= 0 {
					return false, nil
				}
				removed++
				p.After = []byte(key)
				room -= int64(len(key))
				t.set(key, nil, true)
				return true, nil
			})
			if done = err == nil; done {
				t.set(indexRowKey(tag), nil, true)
				t.set(progressKey(tag), nil, true)
				return nil
			}
			t.setJSON(progressKey(tag), &p)
			if errors.Is(err, errStopped) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		entries += removed
		if err := pause(ctx, time.Since(began)); err != nil { // nobody waits for it
			return err
		}
	}
	db.logger.Info("an index is gone", "collection", row.collection(), "index", row.name(), "entries", entries,
		"took", time.Since(began).Round(time.Millisecond))
	return nil
}
