package badgerstore

import (
	"context"
	"fmt"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Between two looks at whether a Commit waits its turn, dropLog deletes so many rows, or reads so many bytes; the last group may
// go beyond either.
const (
	dropAtOnce = 512
	dropBytes  = 4 << 20
)

// Compact implements [storage.Store]. It makes the new floors durable before it drops anything, so that a reopened store
// refuses what may be gone. Versions go when Badger next rewrites the tables they are in, which it is made to do in the background
// where there is much to be gained. When ctx ends, or the process does,
// the floors hold all the same, and what is left to drop is dropped by a later Compact.
func (s *Store) Compact(ctx context.Context, floors storage.Floors) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.compacting.Lock()
	defer s.compacting.Unlock()
	version, err := s.raiseFloors(ctx, floors)
	if err != nil || version == 0 {
		return err
	}
	for more := true; more; {
		if more, err = s.dropLog(ctx, version); err != nil {
			return err
		}
	}
	s.reclaimInBackground()
	return nil
}

// raiseFloors refuses new readers below the floors and makes that durable. It returns the timestamp under which the floors are
// stored, zero when there is nothing to do.
func (s *Store) raiseFloors(ctx context.Context, floors storage.Floors) (version storage.Timestamp, err error) {
	if err := s.takeTurn(ctx); err != nil {
		return 0, err
	}
	defer s.giveTurn()
	s.mu.Lock()
	floors.Versions = min(floors.Versions, s.head)
	for ts := range s.pins {
		floors.Versions = min(floors.Versions, ts)
	}
	floors.Versions = max(floors.Versions, s.floors.Versions)
	floors.Log = min(floors.Log, floors.Versions)
	for ts := range s.logPins {
		floors.Log = min(floors.Log, ts)
	}
	floors.Log = max(floors.Log, s.floors.Log)
	if floors == s.floors {
		s.mu.Unlock()
		return 0, nil
	}
	s.floors = floors
	s.mu.Unlock()

	version = s.nextTimestamp()
	if err := s.writeMeta(floorKey, version, floors.Versions, floors.Log, s.newestNow()); err != nil {
		return 0, err
	}
	s.db.SetDiscardTs(uint64(floors.Versions))
	return version, nil
}

// dropLog removes some of the log rows at or below its floor, and the outcomes of their groups. The newest group's row stays:
// it says where the clock stands and what the next group follows. The rows are deleted under the floors' own timestamp, which
// is above theirs. It reports whether there may be more.
func (s *Store) dropLog(ctx context.Context, version storage.Timestamp) (more bool, err error) {
	if err := s.takeTurn(ctx); err != nil {
		return false, err
	}
	defer s.giveTurn()
	s.mu.Lock()
	end := min(s.floors.Log+1, s.newest)
	s.mu.Unlock()
	if s.dropped >= end {
		return false, nil
	}
	c, err := s.openCursor(version, newSpan(spaceLog, appendLogKey(nil, s.dropped, 0), appendLogKey(nil, end, 0), false))
	if err != nil {
		return false, err
	}
	defer c.close()

	b := newBatch(s, dropAtOnce*(rowSize(logKeySize, 0)+rowSize(16, 0))/2)
	var last storage.Timestamp
	for rows, size := 0, 0; ; {
		r, ok, err := c.next()
		if err != nil {
			return false, err
		}
		if !ok {
			more = false
			break
		}
		ts, chunk, err := parseLogKey(r.key)
		if err != nil {
			return false, err
		}
		if chunk == 0 {
			if rows >= dropAtOnce || size >= dropBytes {
				more = true
				break
			}
			rows++
			h, _, err := parseLogHead(ts, r.payload)
			if err != nil {
				return false, err
			}
			if err := b.delete(spaceOutcome, h.id[:]); err != nil {
				return false, err
			}
		}
		if err := b.delete(spaceLog, r.key[1:]); err != nil {
			return false, err
		}
		rows, size, last = rows+1, size+len(r.payload), ts
	}
	if last == 0 {
		return false, nil
	}
	if err := b.commit(version); err != nil {
		return false, fmt.Errorf("badgerstore: drop the log up to %d: %w", last, err)
	}
	s.dropped = last
	return more, nil
}
