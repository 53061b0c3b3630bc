package engine

import (
	"sync"
	"sync/atomic"

	"github.com/mimosadb/mimosa/engine/internal/interval"
	"github.com/mimosadb/mimosa/engine/storage"
)

// Watch is an interest in everything that one evaluation read.
type Watch struct {
	w     *watches
	reads *interval.Set
	after Timestamp
	fire  func()
	fired atomic.Bool
}

// watches finds the watches that a commit touches, and remembers the last commits for those that register late.
type watches struct {
	mu       sync.Mutex // guards all below
	index    *interval.Index[*Watch]
	live     int           // watches in it
	log      []publication // ascending; what was published lately
	logKeys  int
	floor    Timestamp // the log is whole above it
	most     window
	watchers map[int]func(Timestamp)
	nextID   int
}

// window bounds the log. A watch of an evaluation from before it fires at once.
type window struct{ groups, keys int }

// keysAtOnce is for how many touched keys publish looks before it lets others have the lock.
const keysAtOnce = 512

var watchWindow = window{groups: 8 << 10, keys: 1 << 20}

func newWatches(head Timestamp, seed uint64) *watches {
	return &watches{index: interval.NewIndex[*Watch](partition, seed), floor: head, most: watchWindow, watchers: map[int]func(Timestamp){}}
}

// Watch calls touched once when a commit newer than the evaluation has written into what it read: from the committer's
// goroutine, so it must not block nor call the database. It is called before Watch returns if that has happened already, or
// if the evaluation is too old to tell. Stop the watch when it is no longer wanted; after it fired, that is not needed.
func (db *DB) Watch(e *Evaluation, touched func()) *Watch {
	w := &Watch{w: db.watches, reads: e.reads, after: e.Timestamp, fire: touched}
	if w.reads == nil {
		w.reads = new(interval.Set)
		w.reads.Seal()
	}
	ws := db.watches
	ws.mu.Lock()
	late := w.after < ws.floor
	for i := len(ws.log) - 1; i >= 0 && !late && ws.log[i].ts > w.after; i-- {
		late = readsAny(w.reads, ws.log[i].touched)
	}
	if !late {
		ws.index.Add(w.reads, w)
		ws.live++
	}
	ws.mu.Unlock()
	if late {
		w.touch(false)
	}
	return w
}

// Stop ends the watch. It may be called more than once; a call of touched may still be running when it returns.
func (w *Watch) Stop() {
	if w.fired.CompareAndSwap(false, true) {
		w.w.mu.Lock()
		w.w.index.Remove(w.reads, w)
		w.w.live--
		w.w.mu.Unlock()
	}
}

func (w *Watch) touch(registered bool) {
	if !w.fired.CompareAndSwap(false, true) {
		return
	}
	if registered {
		w.w.mu.Lock()
		w.w.index.Remove(w.reads, w)
		w.w.live--
		w.w.mu.Unlock()
	}
	w.fire()
}

func (ws *watches) count() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.live
}

// OnPublish calls fn with every published timestamp, after the watches that its commit touched and before its mutations are
// answered, from the committer's goroutine: fn must not block nor call the database. stop ends it.
func (db *DB) OnPublish(fn func(Timestamp)) (stop func()) {
	ws := db.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	id := ws.nextID
	ws.nextID++
	ws.watchers[id] = fn
	return func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		delete(ws.watchers, id)
	}
}

// publish is the committer's news.
func (ws *watches) publish(news []publication) {
	ws.mu.Lock()
	// First into the log: whoever registers while the lock is let go finds it there.
	for _, p := range news {
		ws.log = append(ws.log, p)
		ws.logKeys += len(p.touched)
	}
	hit := map[*Watch]struct{}{}
	looked := 0
	for _, p := range news {
		for _, k := range p.touched {
			if looked++; looked%keysAtOnce == 0 {
				ws.mu.Unlock()
				ws.mu.Lock()
			}
			ws.index.Touch([]byte(k), func(w *Watch) bool {
				if w.after < p.ts {
					hit[w] = struct{}{}
				}
				return true
			})
		}
	}
	cut := 0
	for len(ws.log)-cut > ws.most.groups || ws.logKeys > ws.most.keys && cut < len(ws.log) {
		ws.logKeys -= len(ws.log[cut].touched)
		ws.floor = ws.log[cut].ts
		ws.log[cut].touched = nil
		cut++
	}
	ws.log = ws.log[cut:]
	var head storage.Timestamp
	if len(news) > 0 {
		head = news[len(news)-1].ts
	}
	fns := make([]func(Timestamp), 0, len(ws.watchers))
	for _, fn := range ws.watchers {
		fns = append(fns, fn)
	}
	ws.mu.Unlock()
	for w := range hit {
		w.touch(true)
	}
	for _, fn := range fns {
		fn(head)
	}
}
