package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

// JobOptions configure the running of jobs, see [Job].
type JobOptions struct {
	// Mutations and Actions are how many jobs of each kind run at the same time; 16. A single function gets three quarters of
	// them, so that another one need not wait for its jobs to end.
	Mutations, Actions int
	// Off leaves all jobs and crons as they are: none is run, planned, or removed for its age. They can be scheduled and cancelled,
	// and run when the database is opened without it. It is for programs that only look.
	Off bool
}

func (o JobOptions) withDefaults() JobOptions {
	if o.Mutations <= 0 {
		o.Mutations = 16
	}
	if o.Actions <= 0 {
		o.Actions = 16
	}
	return o
}

// The scheduler runs jobs when they are due. What is due is in the index by state, where the pending jobs of each function are
// one range, in order of time: a lane. The scheduler reads each lane ahead a little, from where it last stopped, and is told by
// every commit of what has come into it. Functions take turns, so that one with many jobs due does not keep the others waiting.
//
// Reading ahead is outside all transactions and decides nothing: each job is looked at again by the transaction that runs it.
type scheduler struct {
	db      *DB
	ctx     context.Context // ends with the database, and says ErrClosed
	pending string          // where the pending jobs are in the index by state
	wake    chan struct{}
	slots   [2]int
	counts  jobCounts

	mu      sync.Mutex // guards all below, and the lanes
	lanes   map[string]*lane
	ring    []*lane // the lanes, in the order in which they take turns
	turn    int
	running [2]int
}

// jobCounts count since Open.
type jobCounts struct {
	running   atomic.Int64 // now
	succeeded atomic.Int64
	failed    atomic.Int64
	attempts  atomic.Int64 // of actions that are to be repeated
	late      atomic.Int64 // begun more than a second after they were due
	lateness  atomic.Int64 // nanoseconds between due and begun, of all together
}

// The kinds of slots.
const (
	mutationSlot = iota
	actionSlot
)

// lane is what the scheduler knows of the pending jobs of one function.
type lane struct {
	function string
	slot     int
	lo, hi   []byte

	from    string              // entries below are taken, or gone
	head    string              // the first entry at or above from; empty when there is none, or it is not known
	due     time.Time           // of head
	news    string              // the lowest entry that a commit has touched since the lane was looked at, empty for none
	taken   map[string]struct{} // entries that are in the queue, running or resting
	queue   []turn              // due, the oldest first
	running int
	done    int  // since the mark was raised
	raising bool // the mark
}

// turn is a job that is due.
type turn struct {
	entry string
	id    JobID
	at    time.Time
	tries int // that ended before the job was run, as by code busy
}

const (
	// laneTaken bounds the jobs of one function that are in memory.
	laneTaken = 64
	// raiseAfter is how many jobs a function does before its low-water mark follows.
	raiseAfter = 1024
	// lookAgain is the longest sleep while something is pending: the clock may be moved meanwhile.
	lookAgain = 10 * time.Second
	// lateAfter is what counts as late.
	lateAfter = time.Second

	firstRest, longestRest = 20 * time.Millisecond, 30 * time.Second
)

func newScheduler(db *DB) *scheduler {
	s := &scheduler{
		db: db, wake: make(chan struct{}, 1), lanes: map[string]*lane{},
		slots: [2]int{mutationSlot: db.options.Jobs.Mutations, actionSlot: db.options.Jobs.Actions},
	}
	lo, _ := indexRange(db.schema.system.byState.x.tag)
	s.pending = string(keyenc.AppendString(lo, string(JobPending)))
	return s
}

// begin runs the scheduler. It belongs to the database and ends with it.
func (s *scheduler) begin() {
	ctx, cancel := context.WithCancelCause(context.Background())
	s.ctx = ctx
	context.AfterFunc(s.db.life, func() { cancel(ErrClosed) })
	s.db.calls.Go(s.run)
	s.db.calls.Go(s.purge)
}

func (s *scheduler) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for try := 1; ; try++ {
		err := s.interrupt()
		if err == nil {
			err = s.survey()
		}
		if err == nil {
			break
		}
		if !s.trouble("jobs cannot be run yet", err, timer, try) {
			return
		}
	}
	for try := 1; ; {
		sleep, err := s.look()
		if err != nil {
			if !s.trouble("due jobs cannot be read", err, timer, try) {
				return
			}
			try++
			continue
		}
		try = 1
		s.dispatch()
		timer.Reset(sleep)
		select {
		case <-s.ctx.Done():
			return
		case <-s.db.committer.failed:
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// trouble logs why the scheduler cannot go on, waits, and says whether to try again.
func (s *scheduler) trouble(what string, err error, timer *time.Timer, try int) bool {
	if s.ctx.Err() != nil || errors.Is(err, ErrFailed) {
		return false
	}
	s.db.logger.Error(what, slog.Any("error", err))
	timer.Reset(s.rest(try))
	select {
	case <-s.ctx.Done():
		return false
	case <-s.db.committer.failed:
		return false
	case <-timer.C:
		return true
	}
}

// rest is how long to wait after the n-th time that something did not work.
func (s *scheduler) rest(n int) time.Duration { return jittered(firstRest, longestRest, n, s.random()) }

func (s *scheduler) random() float64 { return float64(s.db.randomBits()>>11) / (1 << 53) }

func (s *scheduler) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// lane returns the lane of a function, made where there is none. The caller holds the lock.
func (s *scheduler) lane(function string) *lane {
	l := s.lanes[function]
	if l != nil {
		return l
	}
	l = &lane{function: function, lo: s.db.lanePrefix(JobPending, function), taken: map[string]struct{}{}}
	l.hi = keyenc.PrefixEnd(l.lo)
	if f := s.db.schema.functions[function]; f != nil && f.kind == KindAction {
		l.slot = actionSlot
	}
	l.from = string(l.hi) // there was nothing, or survey would have found it
	s.lanes[function] = l
	s.ring = append(s.ring, l)
	return l
}

// published hears from the committer what was written, before those who wrote it are answered.
func (s *scheduler) published(news []publication) {
	wake := false
	for _, p := range news {
		for _, k := range p.touched {
			if strings.HasPrefix(k, s.pending) {
				wake = s.noted(k) || wake
			}
		}
	}
	if wake {
		s.signal()
	}
}

// noted notes an entry that has come or gone, and says whether that may make a difference to what is done next.
func (s *scheduler) noted(entry string) bool {
	c, _, err := keyenc.Next([]byte(entry[len(s.pending):]))
	function, ok := c.Value.(string)
	if err != nil || !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lane(function)
	if _, own := l.taken[entry]; own || l.head != "" && entry > l.head {
		return false
	}
	if l.news == "" || entry < l.news {
		l.news = entry
	}
	return true
}

// survey finds the lanes that have jobs when the database has been opened. Of registered functions it begins at their low-water
// marks; others may have jobs that a program before this one has left.
func (s *scheduler) survey() error {
	names := make([]string, 0, len(s.db.schema.functions))
	for name := range s.db.schema.functions {
		names = append(names, name)
	}
	slices.Sort(names)
	t, err := s.db.newTxn(s.ctx, nil, false)
	if err != nil {
		return err
	}
	defer t.finish()
	from := []byte(s.pending)
	for _, name := range names {
		lane := s.db.lanePrefix(JobPending, name)
		if err := s.surveyUnknown(t, from, lane); err != nil {
			return err
		}
		if err := s.surveyLane(t, name); err != nil {
			return err
		}
		from = keyenc.PrefixEnd(lane)
	}
	return s.surveyUnknown(t, from, keyenc.PrefixEnd([]byte(s.pending)))
}

// surveyUnknown looks for lanes of functions that are not registered within a range.
func (s *scheduler) surveyUnknown(t *txn, from, to []byte) error {
	for {
		var entry []byte
		for kv, err := range t.snap.Scan(from, to, false, 1) {
			if err != nil {
				return err
			}
			entry = kv.Key
		}
		if entry == nil {
			return nil
		}
		c, _, err := keyenc.Next(entry[len(s.pending):])
		if err != nil {
			return err
		}
		name, _ := c.Value.(string)
		if err := s.surveyLane(t, name); err != nil {
			return err
		}
		from = keyenc.PrefixEnd(s.db.lanePrefix(JobPending, name))
	}
}

func (s *scheduler) surveyLane(t *txn, function string) error {
	mark, err := t.mark(function)
	if err != nil {
		return err
	}
	prefix := s.db.lanePrefix(JobPending, function)
	lo := laneKey(prefix, mark)
	for kv, err := range t.snap.Scan(lo, keyenc.PrefixEnd(prefix), false, 1) {
		if err != nil {
			return err
		}
		s.mu.Lock()
		l := s.lane(function)
		if l.news == "" || string(kv.Key) < l.news {
			l.news = string(kv.Key)
		}
		s.mu.Unlock()
	}
	return nil
}

// look reads the lanes in which something may be due, and returns how long there is nothing else to do.
func (s *scheduler) look() (time.Duration, error) {
	now := s.db.clock()
	sleep := time.Duration(-1)
	s.mu.Lock()
	lanes := slices.Clone(s.ring)
	s.mu.Unlock()
	for _, l := range lanes {
		due, pending, err := s.lookAt(l, now)
		if err != nil {
			return 0, err
		}
		if pending && (sleep < 0 || due.Sub(now) < sleep) {
			sleep = due.Sub(now)
		}
	}
	if sleep < 0 {
		return 24 * time.Hour, nil // nothing is pending: the next commit with a job wakes it
	}
	return min(max(sleep, 0), lookAgain), nil
}

// lookAt reads a lane, if there is reason to, and returns when its next job is due that is not taken yet.
func (s *scheduler) lookAt(l *lane, now time.Time) (due time.Time, pending bool, err error) {
	s.mu.Lock()
	room := laneTaken - len(l.taken)
	full := room <= laneTaken/4 // whoever ends wakes the scheduler
	idle := l.news == "" && (l.head == "" || l.due.After(now))
	if full || idle {
		defer s.mu.Unlock()
		return l.due, l.head != "" && !full, nil
	}
	if l.news != "" && l.news < l.from {
		l.from = l.news
	}
	// From here on commits are noted whatever they touch, since the snapshot may be from before them.
	l.news, l.head = "", ""
	from, taken := l.from, make(map[string]struct{}, len(l.taken))
	for k := range l.taken {
		taken[k] = struct{}{}
	}
	s.mu.Unlock()

	found, head, due, err := s.read(l, from, taken, room, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if l.news == "" || from < l.news {
			l.news = from // to be read again
		}
		return due, false, err
	}
	for _, f := range found {
		l.taken[f.entry] = struct{}{}
	}
	l.queue = append(l.queue, found...)
	slices.SortStableFunc(l.queue, func(a, b turn) int { return strings.Compare(a.entry, b.entry) })
	l.head, l.due = head, due
	switch {
	case head != "":
		l.from = head
	default:
		l.from = string(l.hi)
	}
	if l.news != "" {
		return now, true, nil
	}
	return due, head != "" && due.After(now), nil
}

// read returns the jobs of a lane that are due, at most room, and the first entry after them.
func (s *scheduler) read(l *lane, from string, taken map[string]struct{}, room int, now time.Time) (found []turn, head string, due time.Time, err error) {
	t, err := s.db.newTxn(s.ctx, nil, false)
	if err != nil {
		return nil, "", due, err
	}
	defer t.finish()
	for kv, err := range t.snap.Scan([]byte(from), l.hi, false, 0) {
		if err != nil {
			return nil, "", due, err
		}
		entry := string(kv.Key)
		if _, ok := taken[entry]; ok {
			continue
		}
		at, err := laneTime(l.lo, kv.Key)
		if err != nil {
			return nil, "", due, err
		}
		if at.After(now) || len(found) == room {
			return found, entry, at, nil
		}
		id := s.db.schema.system.jobs.c.indexedID(kv.Key)
		found = append(found, turn{entry: entry, id: JobID(id.String()), at: at})
	}
	return found, "", due, nil
}

// dispatch starts what there is room for, one function after the other.
func (s *scheduler) dispatch() {
	if s.ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for idle := 0; idle < len(s.ring); {
		s.turn = (s.turn + 1) % len(s.ring)
		l := s.ring[s.turn]
		slots := s.slots[l.slot]
		if len(l.queue) == 0 || s.running[l.slot] >= slots || l.running >= max(1, slots*3/4) {
			idle++
			continue
		}
		idle = 0
		next := l.queue[0]
		l.queue = l.queue[1:]
		l.running++
		s.running[l.slot]++
		s.db.calls.Go(func() { s.serve(l, next) })
	}
}

// serve runs a job in its slot, and lets it rest afterwards where that did not work.
func (s *scheduler) serve(l *lane, t turn) {
	s.counts.running.Add(1)
	again := s.runJob(l.function, t)
	s.counts.running.Add(-1)
	s.mu.Lock()
	l.running--
	s.running[l.slot]--
	s.mu.Unlock()
	s.signal()
	if again {
		t.tries++
		timer := time.NewTimer(s.rest(t.tries))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		case <-s.db.committer.failed:
			return
		}
	}
	s.mu.Lock()
	raise := false
	if again {
		l.queue = slices.Insert(l.queue, 0, t)
	} else {
		delete(l.taken, t.entry)
		l.done++
		if raise = l.done >= raiseAfter && !l.raising; raise {
			l.done, l.raising = 0, true
		}
	}
	s.mu.Unlock()
	s.signal()
	if raise {
		s.raise(l)
	}
}

// raise has a lane's low-water mark follow. What it fails for is no reason to do anything but try later.
func (s *scheduler) raise(l *lane) {
	err := s.db.raiseMark(s.ctx, l.function)
	if err != nil && s.ctx.Err() == nil && !errors.Is(err, errConflict) && !errors.Is(err, ErrFailed) {
		s.db.logger.Warn("the low-water mark of jobs could not be raised", slog.String("function", l.function), slog.Any("error", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.raising = false
}
