package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

// laneTaken bounds the jobs of one function that are in memory.
const laneTaken = 64

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
