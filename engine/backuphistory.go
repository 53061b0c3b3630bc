package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// An incremental backup is made from the log, so that a backup leaves a mark from which on the log is kept. The marks, and the
// name of the history that they belong to, are one row. A restored database has none: its timestamps go on, but what its log
// says about the time before is nothing, and an incremental backup of it cannot follow one of the database that it was made from.

// backupWindow is the default of Options.BackupWindow, maxBackupMarks how many backups are remembered at the most: the newest.
const (
	backupWindow   = 48 * time.Hour
	maxBackupMarks = 1024
)

// backupHistory is the row of marks.
type backupHistory struct {
	Database string      `json:"database"`
	Backups  []Timestamp `json:"backups"`
}

// backups is what the running database knows of them.
type backups struct {
	window time.Duration
	clock  func() time.Time
	most   int // units that changedUnits keeps in memory; see there

	mu    sync.Mutex // guards all below
	marks []Timestamp
	held  map[Timestamp]int // by running backups
}

func newBackups(o Options) *backups {
	b := &backups{window: o.BackupWindow, clock: o.Clock, most: maxChangedUnits, held: map[Timestamp]int{}}
	if b.window == 0 {
		b.window = backupWindow
	}
	return b
}

// oldest is where the window begins. Where it is negative it has no extent.
func (b *backups) oldest() Timestamp {
	now := b.clock()
	if b.window > 0 {
		now = now.Add(-b.window)
	}
	return Timestamp(max(0, now.UnixNano()))
}

// hold keeps the log since a backup while another one is made that follows it.
func (b *backups) hold(since Timestamp) (release func(), err error) {
	if since == 0 {
		return func() {}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.marks, since) {
		return nil, fmt.Errorf("%w: no backup of this database at %d is remembered", ErrBackupBase, since)
	}
	b.held[since]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.held[since]--; b.held[since] == 0 {
			delete(b.held, since)
		}
	}, nil
}

// logFloor is up to where the log may go when versions up to floor may.
func (b *backups) logFloor(floor Timestamp) Timestamp {
	oldest := b.oldest()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.marks {
		if at >= oldest && b.window > 0 {
			floor = min(floor, at)
			break // they ascend
		}
	}
	for at := range b.held {
		floor = min(floor, at)
	}
	return floor
}

// add remembers marks. Backups that end at once come here in any order, so that what one has recorded lacks others'.
func (b *backups) add(marks []Timestamp) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marks = b.kept(slices.Concat(b.marks, marks))
}

// loadBackups reads the marks when the database is opened, and refuses one whose restore was not finished.
func (db *DB) loadBackups(ctx context.Context, head Timestamp) error {
	snap, err := db.store.At(ctx, head)
	if err != nil {
		return err
	}
	defer snap.Close()
	if _, unfinished, err := snap.Get(restoringKey); err != nil || unfinished {
		if err == nil {
			err = ErrRestoreUnfinished
		}
		return err
	}
	kv, ok, err := snap.Get(backupsKey)
	if err != nil || !ok {
		return err
	}
	h, err := decodeHistory(kv.Value)
	if err == nil {
		db.backups.marks = h.Backups // nobody else is there yet; those that have left the window may still be followed
	}
	return err
}

func decodeHistory(raw []byte) (h backupHistory, err error) {
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, fmt.Errorf("engine: %w: marks of backups: %w", storage.ErrCorrupt, err)
	}
	return h, nil
}

// backupHistory returns the row of marks, with a name drawn where there is none, and adds a mark unless at is zero. Marks that
// have left the window go. What could not be noted for want of space is returned too, with ErrFull.
func (db *DB) backupHistory(ctx context.Context, at Timestamp) (h backupHistory, err error) {
	_, err = db.transact(ctx, nil, nil, func(t *txn) ([]byte, error) {
		raw, ok, err := t.get(string(backupsKey))
		if err != nil {
			return nil, err
		}
		h = backupHistory{}
		if ok {
			if h, err = decodeHistory(raw); err != nil {
				return nil, err
			}
		}
		if h.Database != "" && at == 0 {
			return nil, nil
		}
		if h.Database == "" {
			id := db.newGroupID()
			h.Database = hex.EncodeToString(id[:])
		}
		if at > 0 {
			h.Backups = append(h.Backups, at)
		}
		h.Backups = db.backups.kept(h.Backups)
		if raw, err = json.Marshal(h); err != nil {
			return nil, err
		}
		t.set(string(backupsKey), raw, false)
		t.touched = append(t.touched, string(backupsKey))
		return nil, nil
	}, steps{})
	if err != nil {
		return h, err
	}
	if at > 0 {
		db.backups.add(h.Backups)
	}
	return h, nil
}

// noted is backupHistory, which waits where there is no room for mutations, as long as ctx lasts. That nothing can be written at
// all, since the disk is full or a commit has failed, is no error: then the database's name may be that of this one backup, and
// there is no mark.
func (db *DB) noted(ctx context.Context, at Timestamp) (database string, marked bool, err error) {
	for {
		h, err := db.backupHistory(ctx, at)
		switch {
		case err == nil:
			return h.Database, at > 0, nil
		case errors.Is(err, storage.ErrFull), errors.Is(err, ErrFailed):
			if h.Database == "" {
				id := db.newGroupID()
				h.Database = hex.EncodeToString(id[:])
			}
			return h.Database, false, nil
		case !errors.Is(err, ErrBusy):
			return "", false, err
		}
		if err := pause(ctx, busyPause); err != nil {
			return "", false, err
		}
	}
}

// busyPause is between two tries of what has time.
const busyPause = 100 * time.Millisecond

// kept returns the marks that are worth keeping, ascending.
func (b *backups) kept(marks []Timestamp) []Timestamp {
	oldest := b.oldest()
	marks = slices.DeleteFunc(marks, func(at Timestamp) bool { return at < oldest || b.window < 0 })
	slices.Sort(marks)
	marks = slices.Compact(marks)
	return marks[max(0, len(marks)-maxBackupMarks):]
}
