package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
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
	meters  jobMeters

	mu      sync.Mutex // guards all below, and the lanes
	lanes   map[string]*lane
	ring    []*lane // the lanes, in the order in which they take turns
	turn    int
	running [2]int
}

// The kinds of slots.
const (
	mutationSlot = iota
	actionSlot
)

const (
	// raiseAfter is how many jobs a function does before its low-water mark follows.
	raiseAfter = 1024
	// lookAgain is the longest sleep while something is pending: the clock may be moved meanwhile.
	lookAgain = 10 * time.Second

	firstRest, longestRest = 20 * time.Millisecond, 30 * time.Second
)

func newScheduler(db *DB) *scheduler {
	s := &scheduler{
		db: db, wake: make(chan struct{}, 1), lanes: map[string]*lane{},
		slots: [2]int{mutationSlot: db.options.Jobs.Mutations, actionSlot: db.options.Jobs.Actions},
	}
	s.meters.delay.bounds, s.meters.delay.unit = timeBounds, 1e-9
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
	s.meters.running.Add(1)
	again := s.runJob(l.function, t)
	s.meters.running.Add(-1)
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
