package engine

import (
	"context"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Old versions are kept for those who will ask for a timestamp that they have just been told: live queries, which are evaluated
// at the timestamp of a publication, and begin anew where that is gone. What is being read stays for as long as it is, and need
// not be kept for.
const (
	// keepVersions is how long versions are kept when little is written, and keepBytes how much may be written before they go
	// earlier, so that the size on disk depends on what is stored and not on how fast it changes.
	keepVersions = 10 * time.Second
	keepBytes    = 8 << 20
	// keepAtLeast is how long they are kept however much is written.
	keepAtLeast = 2 * time.Second

	// Every retentionTick it is looked how much was written. The store is told every compactInterval, or when half of keepBytes
	// was written since.
	retentionTick   = time.Second
	compactInterval = 10 * time.Second
)

// retention decides up to where versions may go. It belongs to maintain.
type retention struct {
	samples []sample // ascending
}

// sample says how many bytes had been written, in all, when a timestamp was the published one.
type sample struct {
	at    Timestamp
	bytes uint64
}

// floor notes what was written up to the published head, and returns up to where versions may go.
func (r *retention) floor(now time.Time, head Timestamp, written uint64) Timestamp {
	before := func(d time.Duration) Timestamp { return Timestamp(max(0, now.Add(-d).UnixNano())) }
	r.samples = append(r.samples, sample{head, written})
	floor := before(keepVersions)
	drop := 0
	for i, s := range r.samples {
		if s.at > before(keepAtLeast) || s.bytes+keepBytes > written {
			break
		}
		floor, drop = max(floor, s.at), i
	}
	r.samples = r.samples[drop:]
	for len(r.samples) > 1 && r.samples[1].at <= floor {
		r.samples = r.samples[1:]
	}
	return min(floor, head)
}

// maintain lets the store reclaim old versions. It belongs to the database and ends with it.
func (db *DB) maintain() {
	defer db.calls.Done()
	db.calls.Go(db.scrub)
	db.calls.Go(db.prune)
	tick := time.NewTicker(retentionTick)
	defer tick.Stop()
	var keep retention
	var told uint64
	for ticks := time.Duration(1); ; ticks++ {
		select {
		case <-db.life.Done():
			return
		case <-tick.C:
		}
		written := db.metrics.bytes.Load()
		floor := keep.floor(db.clock(), db.Published(), written)
		if ticks*retentionTick < compactInterval && written-told < keepBytes/2 {
			continue
		}
		ticks, told = 0, written
		if err := db.compactTo(db.life, floor); err != nil && db.life.Err() == nil {
			db.logger.Error("old versions could not be reclaimed", "error", err)
		}
	}
}

// compact lets the versions go that are older than they are kept for when little is written.
func (db *DB) compact(ctx context.Context) error {
	floor := Timestamp(max(0, db.clock().Add(-keepVersions).UnixNano()))
	return db.compactTo(ctx, min(floor, db.Published()))
}

func (db *DB) compactTo(ctx context.Context, floor Timestamp) error {
	return db.store.Compact(ctx, storage.Floors{Versions: floor, Log: db.backups.logFloor(floor)})
}
