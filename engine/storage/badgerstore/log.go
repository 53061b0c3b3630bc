package badgerstore

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Tail implements [storage.Store]. Each entry names the one before it, so that a missing one is found out.
func (s *Store) Tail(ctx context.Context, after storage.Timestamp) iter.Seq2[storage.LogEntry, error] {
	return func(yield func(storage.LogEntry, error) bool) {
		if err := s.tail(ctx, after, func(e storage.LogEntry) bool { return yield(e, nil) }); err != nil {
			yield(storage.LogEntry{}, err)
		}
	}
}

func (s *Store) tail(ctx context.Context, after storage.Timestamp, yield func(storage.LogEntry) bool) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	head, newest := s.head, s.newest
	s.mu.Unlock()
	if after >= newest {
		return s.gate.check()
	}
	pinned := after
	if err := s.gate.do(func() error { return s.pinLog(pinned) }); err != nil {
		return err
	}
	defer func() { s.unpinLog(pinned) }()
	l, err := s.openLog(head, after+1)
	if err != nil {
		return err
	}
	defer l.cursor.close()
	for last := after; last < newest; {
		if err := s.usable(ctx); err != nil {
			return err
		}
		h, e, err := l.next()
		if err != nil {
			return err
		}
		if h.prev > last || last > after && h.prev != last { // the first one may follow a group below after
			return fmt.Errorf("badgerstore: log: group %d follows %d, found %d: %w", e.Timestamp, h.prev, last, storage.ErrCorrupt)
		}
		last = e.Timestamp
		if !yield(e) {
			return nil
		}
		s.repinLog(pinned, last) // what was yielded need not be kept for this iteration any more
		pinned = last
	}
	return nil
}

// logReader reads groups from the log, in order.
type logReader struct{ cursor *cursor }

// openLog opens the log as of a timestamp, from another one on.
func (s *Store) openLog(ts, from storage.Timestamp) (logReader, error) {
	c, err := s.openCursor(ts, newSpan(spaceLog, appendLogKey(nil, from, 0), nil, false))
	return logReader{c}, err
}

// next returns the next group. The caller knows that there is one.
func (l logReader) next() (h logHead, e storage.LogEntry, err error) {
	r, ok, err := l.cursor.next()
	if err != nil {
		return h, e, err
	}
	if !ok {
		return h, e, fmt.Errorf("badgerstore: log: groups are missing at its end: %w", storage.ErrCorrupt)
	}
	ts, chunk, err := parseLogKey(r.key)
	if err != nil {
		return h, e, err
	}
	h, log, err := parseLogHead(ts, r.payload)
	if err != nil {
		return h, e, err
	}
	if chunk != 0 {
		return h, e, fmt.Errorf("badgerstore: log: group %d begins with part %d: %w", ts, chunk, storage.ErrCorrupt)
	}
	for want := 1; want < h.chunks; want++ {
		r, ok, err := l.cursor.next()
		if err != nil {
			return h, e, err
		}
		if !ok {
			return h, e, fmt.Errorf("badgerstore: log: group %d lacks part %d: %w", ts, want, storage.ErrCorrupt)
		}
		if t, chunk, err := parseLogKey(r.key); err != nil || t != ts || chunk != want {
			return h, e, fmt.Errorf("badgerstore: log: group %d lacks part %d: %w", ts, want, storage.ErrCorrupt)
		}
		log = append(log, r.payload...)
	}
	return h, storage.LogEntry{Timestamp: ts, ID: h.id, Log: log}, nil
}

// newestGroup returns the timestamp of the last group in the log, zero when it is empty.
func (s *Store) newestGroup() (storage.Timestamp, error) {
	c, err := s.openCursor(math.MaxUint64, newSpan(spaceLog, nil, nil, true))
	if err != nil {
		return 0, err
	}
	defer c.close()
	r, ok, err := c.next()
	if err != nil || !ok {
		return 0, err
	}
	ts, _, err := parseLogKey(r.key)
	return ts, err
}

// recentBytes is how far back from its end Open checks the log for gaps. Only what was in write-ahead logs can have been
// damaged without Badger noticing, and that is never more than a few of them; tables are listed in a manifest.
const recentBytes = 16 * memTableSize

// checkRecentLog follows the log back from its newest group and makes sure that none is missing. It returns the running total
// of bytes.
func (s *Store) checkRecentLog(newest storage.Timestamp) (total uint64, err error) {
	if newest == 0 {
		return 0, nil
	}
	c, err := s.openCursor(math.MaxUint64, newSpan(spaceLog, nil, appendLogKey(nil, newest+1, 0), true))
	if err != nil {
		return 0, err
	}
	defer c.close()
	for want, parts := newest, 0; ; {
		r, ok, err := c.next()
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, fmt.Errorf("log: group %d is missing: %w", want, storage.ErrCorrupt)
		}
		ts, chunk, err := parseLogKey(r.key)
		if err != nil {
			return 0, err
		}
		if chunk > 0 && ts == want {
			parts++
			continue // the head of the group comes last in this direction
		}
		if ts != want {
			return 0, fmt.Errorf("log: group %d is missing, found %d: %w", want, ts, storage.ErrCorrupt)
		}
		h, _, err := parseLogHead(ts, r.payload)
		if err != nil {
			return 0, err
		}
		if h.chunks != parts+1 {
			return 0, fmt.Errorf("log: group %d has %d parts of %d: %w", ts, parts+1, h.chunks, storage.ErrCorrupt)
		}
		if ts == newest {
			total = h.total
		}
		if h.prev <= s.floors.Log || total-h.total > recentBytes {
			return total, nil
		}
		want, parts = h.prev, 0
	}
}
