package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Errors of Restore and of what it leaves, matched with errors.Is.
var (
	// ErrNotEmpty says that Restore was given a folder or a store with something in it.
	ErrNotEmpty = errors.New("engine: a backup is restored into an empty folder only")
	// ErrRestoreUnfinished says that a restore into this database began and did not come to its end. What is there is not
	// whole; remove the folder, and restore again.
	ErrRestoreUnfinished = errors.New("engine: a restore into this database was not finished; remove its folder and restore again")
)

// RestoreInfo says what Restore has restored.
type RestoreInfo struct {
	// At is the timestamp whose state was restored, Head the newest of the restored database, which lies above it.
	At, Head Timestamp
	// Documents is how many there are, Sessions for how many sessions of clients there are records of requests.
	Documents, Sessions int64
	// Migrations are those that s has and that the data has not been through. The next Open runs them.
	Migrations []string
}

// Restore makes a database of a full backup and the incremental ones that follow it, each the one before, in their order. o is
// what the database is opened with afterwards: Dir, which is missing or empty, or Store, which is empty and is closed by Restore.
//
// Everything is verified: each backup against its checksums and its end, the chain, and then the database that came of it, which
// is opened with s and compared, documents against schema and indexes, as DB.Check does; nothing else is run, no hook of
// Schema.OnOpen, no trigger and no migration; documents that migrations have yet to reach may break the schema. Ids, creation times and records of requests are what they were. Timestamps go on above those of
// the backups, and not below the clock; the history of the timestamps is a new one, so that no incremental backup of the restored
// database follows one of those that it was made from.
//
// Backups that are none, or do not follow one another, leave what o names as it was. A restore that fails later, or whose process
// is killed, leaves a database that Open refuses with ErrRestoreUnfinished, or nothing, but with an error of the last step, of s
// being none that the data satisfies: then the data is there for another program.
// Errors: ErrNotEmpty, ErrBackupDamaged, ErrBackupChain, ErrNewerFormat, those of Open, what a reader fails with.
func Restore(ctx context.Context, s *Schema, o Options, backups ...io.Reader) (info RestoreInfo, err error) {
	if err := s.seal(); err != nil {
		return info, errors.Join(err, closeStore(o.Store))
	}
	o = o.withDefaults()
	if err := isEmptyDir(o); err != nil {
		return info, err
	}
	// Before anything is made: backups of the wrong kind or order leave the folder as it is.
	sources, err := openBackups(backups)
	if err != nil {
		return info, errors.Join(err, closeStore(o.Store))
	}
	store, err := openEmpty(ctx, o)
	if err != nil {
		return info, errors.Join(err, closeStore(store))
	}
	if info, err = restoreInto(ctx, s, store, o.seed(), sources); err != nil {
		return info, errors.Join(err, store.Close())
	}
	// From here on it is a database.
	o.Store, o.Maintenance = store, true
	db, err := Open(s, o) // which closes the store where it fails
	if err != nil {
		return info, err
	}
	info.Head, info.Migrations = db.Published(), db.pending
	return info, errors.Join(db.check(ctx, true), db.Close())
}

func closeStore(s storage.Store) error {
	if s == nil {
		return nil
	}
	return s.Close()
}

// isEmptyDir makes sure that there is nothing in the folder of o, where it has one.
func isEmptyDir(o Options) error {
	switch {
	case o.Store != nil:
		return nil
	case o.Dir == "":
		return errNowhere
	}
	switch entries, err := os.ReadDir(o.Dir); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("engine: restore: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("%w: %s holds %s", ErrNotEmpty, o.Dir, entries[0].Name())
	}
	return nil
}

// openEmpty opens the store of o, and makes sure that there is nothing in it.
func openEmpty(ctx context.Context, o Options) (storage.Store, error) {
	store := o.Store
	if store == nil {
		var err error
		if store, err = openEmbedded(o); err != nil {
			return nil, err
		}
	}
	head, err := store.Head(ctx)
	if err != nil {
		return store, err
	}
	snap, err := store.At(ctx, head)
	if err != nil {
		return store, err
	}
	defer snap.Close()
	for _, err := range snap.Scan(nil, nil, false, 1) {
		if err != nil {
			return store, err
		}
		return store, fmt.Errorf("%w: the store holds data", ErrNotEmpty)
	}
	return store, nil
}

// restoreInto merges backups into an empty store: of each unit, what the newest of them has that has it.
func restoreInto(ctx context.Context, s *Schema, store storage.Store, seed uint64, sources []*backupSource) (info RestoreInfo, err error) {
	info.At = sources[len(sources)-1].info.At
	if err := advance(ctx, store, info.At); err != nil {
		return info, err
	}
	l, err := newLoader(ctx, s, store, seed)
	if err != nil {
		return info, err
	}
	// The mark is there before the first row and goes with the last one.
	if err := l.begin(); err != nil {
		return info, err
	}
	for {
		unit, source := lowestUnit(sources)
		if source == nil {
			break
		}
		if err := ctx.Err(); err != nil {
			return info, err
		}
		for i, other := range sources {
			for other.ok && other.unit == unit {
				if other == source && !other.rec.Gone {
					if err := l.row(other.rec.Key, other.rec.Value); err != nil {
						return info, err
					}
				}
				if err := other.advance(); err != nil {
					return info, fmt.Errorf("backup %d of %d: %w", i+1, len(sources), err)
				}
			}
		}
	}
	info.Documents, info.Sessions = l.documents, l.sessions
	return info, l.end()
}

// lowestUnit returns the unit that comes next, and the newest source that has it; none at the end.
func lowestUnit(sources []*backupSource) (unit string, newest *backupSource) {
	for _, s := range sources {
		if s.ok && (newest == nil || compareUnits(s.unit, unit) <= 0) {
			unit, newest = s.unit, s
		}
	}
	return unit, newest
}

// advance sees to it that all timestamps to come lie above ts.
func advance(ctx context.Context, store storage.Store, ts Timestamp) error {
	if a, ok := store.(storage.Advancer); ok {
		return a.Advance(ctx, ts)
	}
	head, err := store.Head(ctx)
	if err == nil && head < ts {
		err = fmt.Errorf("the backup is at %d, the store at %d, and it cannot be moved on; set the clock right", ts, head)
	}
	return err
}

// newUnique is the source of what must never come again: ids of documents and of groups, not even in a database that is
// reopened with the same seed.
func newUnique(seed uint64, born Timestamp) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(born)))
}
