package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// IndexState says whether an index can be read.
type IndexState string

// The states of an index. Writes keep its entries in all of them.
const (
	// IndexReady is an index with all its entries.
	IndexReady IndexState = "ready"
	// IndexBuilding is one that does not have all of them yet. Queries on it fail with ErrIndexNotReady.
	IndexBuilding IndexState = "building"
	// IndexFailed is one that stored documents stand in the way of, see IndexInfo.Faults. Queries on it fail with
	// ErrIndexNotReady. It is built again when one of these documents has changed, and at the next Open.
	IndexFailed IndexState = "failed"
)

// IndexFault says which documents an index cannot be built over, and why.
type IndexFault struct {
	Documents []string `json:"documents"` // ids: two with the same values, or one
	Reason    string   `json:"reason"`
}

// IndexInfo describes an index as it is at this moment.
type IndexInfo struct {
	Collection, Name string
	Unique           bool
	Paths            []string // as declared: "-age" is descending
	State            IndexState
	// Documents is how many of Total have been gone through while it is building. Total is as of the beginning.
	Documents, Total int64
	// Faults are the first of what it failed for, FaultCount how many there were.
	Faults     []IndexFault
	FaultCount int
}

// indexStates is what an open database knows of its indexes.
type indexStates struct {
	of map[*index]*indexState // the declared ones; does not change after Open

	mu      sync.Mutex    // guards changed and the info of all states
	changed chan struct{} // closed, and made anew, when a state changes
}

type indexState struct {
	// ready is the timestamp from which on the index is known to be whole, 0 as long as it is not. It is set after that
	// timestamp was published, and never reset: a snapshot at or above it need not look.
	ready atomic.Uint64
	info  IndexInfo // guarded by indexStates.mu
}

func newIndexStates(s *Schema) *indexStates {
	is := &indexStates{of: map[*index]*indexState{}, changed: make(chan struct{})}
	for _, c := range s.collections {
		for _, x := range c.indexes {
			info := IndexInfo{Collection: c.name, Name: x.name, Unique: x.unique, State: IndexBuilding}
			for _, p := range x.paths {
				sign := ""
				if p.Descending() {
					sign = "-"
				}
				info.Paths = append(info.Paths, sign+p.Name())
			}
			is.of[x] = &indexState{info: info}
		}
	}
	return is
}

// change changes what is said of an index, and wakes who waits.
func (is *indexStates) change(x *index, fn func(*IndexInfo)) {
	is.mu.Lock()
	defer is.mu.Unlock()
	fn(&is.of[x].info)
	close(is.changed)
	is.changed = make(chan struct{})
}

// nowReady says that an index is whole in every snapshot from ts on.
func (is *indexStates) nowReady(x *index, ts Timestamp) {
	is.of[x].ready.Store(uint64(max(ts, 1)))
	is.change(x, func(i *IndexInfo) {
		i.State, i.Faults, i.FaultCount = IndexReady, nil, 0
		i.Documents, i.Total = 0, 0
	})
}

// all returns copies, in the order of registration.
func (is *indexStates) all(s *Schema) []IndexInfo {
	out := []IndexInfo{}
	for _, c := range s.collections {
		if c.system {
			continue
		}
		for _, x := range c.indexes {
			info := is.of[x].info
			info.Paths, info.Faults = slices.Clone(info.Paths), slices.Clone(info.Faults)
			out = append(out, info)
		}
	}
	return out
}

// Indexes returns the indexes that the program declares with their states, in the order of registration. It may be called at any time.
func (db *DB) Indexes() []IndexInfo {
	db.indexes.mu.Lock()
	defer db.indexes.mu.Unlock()
	return db.indexes.all(db.schema)
}

// WaitIndexes waits until no index is building. It returns nil when all are ready, an error that is ErrIndexNotReady and names
// those that failed, the cause of ctx's end, ErrClosed, or ErrFailed. Under Options.Maintenance nothing is built: those that are
// not ready are such an error at once.
func (db *DB) WaitIndexes(ctx context.Context) error {
	for {
		db.indexes.mu.Lock()
		infos, changed := db.indexes.all(db.schema), db.indexes.changed
		db.indexes.mu.Unlock()
		building := false
		var failed []error
		for _, i := range infos {
			switch {
			case i.State == IndexFailed, i.State == IndexBuilding && db.options.Maintenance:
				failed = append(failed, notReady(i))
			case i.State == IndexBuilding:
				building = true
			}
		}
		if !building {
			return errors.Join(failed...)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-db.life.Done():
			return ErrClosed
		case <-db.Failed():
			return ErrFailed
		}
	}
}

// notReady is the error of reading an index that cannot be read.
func notReady(i IndexInfo) *Error {
	e := &Error{Code: CodeNotReady, Data: map[string]any{"collection": i.Collection, "index": i.Name, "state": string(i.State)}}
	if i.State != IndexFailed {
		e.Message = fmt.Sprintf("index %s of %s is being built; try again later", i.Name, i.Collection)
		return e
	}
	e.Message = fmt.Sprintf("index %s of %s could not be built", i.Name, i.Collection)
	if len(i.Faults) > 0 {
		// For who runs the program; the message, which clients see, names no documents.
		e.cause = fmt.Errorf("%d faults, the first: documents %v %s", i.FaultCount, i.Faults[0].Documents, i.Faults[0].Reason)
	}
	return e
}

// isReady says whether an index is whole in the transaction's snapshot for sure. If not, indexReady knows.
func (t *txn) isReady(x *index) bool {
	st := t.db.indexes.of[x]
	if st == nil {
		return false
	}
	ts := st.ready.Load()
	return ts != 0 && Timestamp(ts) <= t.snap.Timestamp()
}

// indexReady returns an error that is ErrIndexNotReady when an index is not whole in what the transaction sees. Its row is
// then a point of the read set, so that a live query is run again when that changes.
func (t *txn) indexReady(x *index) error {
	if t.isReady(x) {
		return nil
	}
	var row indexRow
	ok, err := t.getJSON(indexRowKey(x.tag), &row)
	if err != nil {
		return err
	}
	if ok && row.State == IndexReady {
		return nil
	}
	info := IndexInfo{Collection: x.coll.name, Name: x.name, State: IndexBuilding}
	if ok && row.State == IndexFailed {
		info.State, info.Faults, info.FaultCount = IndexFailed, row.Faults, row.FaultCount
	}
	return notReady(info)
}
