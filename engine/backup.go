package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/archive"
	"github.com/mimosadb/mimosa/engine/storage"
)

// Errors of backups, matched with errors.Is.
var (
	// ErrBackupBase says that no incremental backup can be made since a timestamp: no backup of this database was made at it,
	// or so long ago (Options.BackupWindow) that what changed since is not known any more. Make a full one.
	ErrBackupBase = errors.New("engine: no incremental backup can be made since this timestamp; make a full one")
	// ErrBackupDamaged says that a backup is not what was written: bytes were changed, or are missing, or it is no backup.
	ErrBackupDamaged = errors.New("engine: the backup is damaged")
	// ErrBackupChain says that the backups given to Restore do not follow one another.
	ErrBackupChain = errors.New("engine: the backups do not follow one another")
)

// BackupOptions configure DB.Backup. The zero value makes a full backup.
type BackupOptions struct {
	// Since makes the backup incremental: it holds what has changed since an earlier one of the same database, whose
	// BackupInfo.At this is.
	Since Timestamp
}

// BackupInfo says what a backup holds.
type BackupInfo struct {
	// At is the timestamp whose state the backup leads to. Since is where it begins, zero for a full one.
	At, Since Timestamp
	// Database names the history that the timestamps belong to: a restored database begins a new one.
	Database string
	// Taken is when it was begun, by the database's clock.
	Taken time.Time
	// Documents is how many documents it holds, Deleted of how many it says that they are gone, Sessions for how many sessions
	// of clients it has requests.
	Documents, Deleted, Sessions int64
	// Bytes is its size.
	Bytes int64
	// Unmarked says that the database could not note that there is this backup, as its disk was too full or a commit had failed:
	// the backup is whole, but no incremental one can follow it. Only Backup tells; the file does not say it.
	Unmarked bool
}

// Backup writes the state at the newest published timestamp to w, while reads and writes go on: documents, the records that
// make resent requests take effect exactly once, and what the database knows of itself. Index entries are left out; [Restore]
// makes them anew. The versions that it reads are kept until it is done, so w should not take longer than it must.
//
// What was written is a backup if and only if Backup returned without an error: then, too, the log since its timestamp begins to
// be kept for the next incremental one, see Options.BackupWindow. w is neither synced nor closed. Backups may run beside one another.
// A full disk, on which mutations are refused, and a commit that has failed are no obstacle: see BackupInfo.Unmarked.
//
// It ends with ctx, and with ErrClosed when the database is closed. Errors: ErrBackupBase; what w failed with.
func (db *DB) Backup(ctx context.Context, w io.Writer, o BackupOptions) (BackupInfo, error) {
	ctx, leave, err := db.enter(ctx)
	if err != nil {
		return BackupInfo{}, err
	}
	defer leave()
	release, err := db.backups.hold(o.Since)
	if err != nil {
		return BackupInfo{}, err
	}
	defer release()
	database, _, err := db.noted(ctx, 0)
	if err != nil {
		return BackupInfo{}, err
	}
	t, err := db.newTxn(ctx, nil, false)
	if err != nil {
		return BackupInfo{}, err
	}
	defer t.finish()
	r := backupRun{db: db, ctx: ctx, snap: t.snap}
	r.info = BackupInfo{At: t.snap.Timestamp(), Since: o.Since, Database: database, Taken: db.clock().UTC()}
	if err := r.write(w); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if errors.Is(err, ErrBackupBase) {
			return BackupInfo{}, err
		}
		return BackupInfo{}, fmt.Errorf("engine: backup: %w", err)
	}
	return r.info, nil
}

// backupRun is one run of Backup.
type backupRun struct {
	db   *DB
	ctx  context.Context
	snap storage.Snapshot
	file *archive.Writer
	info BackupInfo
}

func (r *backupRun) write(w io.Writer) error {
	if r.info.Since > 0 { // see whether there is a log before the first byte is written
		for _, err := range r.db.store.Tail(r.ctx, r.info.Since) {
			if err != nil {
				return baseGone(err)
			}
			break
		}
	}
	var err error
	r.file, err = archive.NewWriter(w, archive.Header{
		Layout: formatVersion, Database: r.info.Database, Since: uint64(r.info.Since), At: uint64(r.info.At), Taken: r.info.Taken,
	})
	if err != nil {
		return err
	}
	if err := r.rows(); err != nil {
		return err
	}
	// The mark comes first: a backup that is whole can be followed by an incremental one.
	_, marked, err := r.db.noted(r.ctx, r.info.At)
	if r.info.Unmarked = !marked; err != nil {
		return err
	}
	if _, err := r.file.Close(); err != nil {
		return err
	}
	r.info.Bytes = r.file.Bytes()
	return nil
}

// rows writes what the file is about, unit by unit in their order: meta rows first, as one unit, since a restore wants to know
// the catalog; then all other keys ascending.
func (r *backupRun) rows() error {
	lo, hi := []byte{spaceMeta}, []byte{spaceMeta + 1}
	if r.info.Since == 0 {
		// Spaces are not named one by one: what may be added to them is in the backup.
		for _, span := range [][2][]byte{{lo, hi}, {nil, {spaceIndex}}, {{spaceIndex + 1}, lo}, {hi, nil}} {
			if err := r.span(span[0], span[1]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := r.file.Gone(lo); err != nil {
		return err
	}
	if err := r.span(lo, hi); err != nil {
		return err
	}
	for unit, err := range r.db.changedUnits(r.ctx, r.info.Since, r.info.At) {
		if err == nil {
			err = r.unit(unit)
		}
		if err != nil {
			return baseGone(err)
		}
	}
	return nil
}

// unit writes what has become of one unit that was touched.
func (r *backupRun) unit(unit string) error {
	if unit[0] == spaceSession {
		if err := r.file.Gone([]byte(unit)); err != nil {
			return err
		}
		return r.span([]byte(unit), sessionEnd([]byte(unit)))
	}
	kv, ok, err := r.snap.Get([]byte(unit))
	switch {
	case err != nil:
		return err
	case !ok:
		r.info.Deleted++
		return r.file.Gone([]byte(unit))
	}
	return r.put(kv)
}

func (r *backupRun) span(lo, hi []byte) error {
	var session string
	for kv, err := range r.snap.Scan(lo, hi, false, 0) {
		if err != nil {
			return err
		}
		if err := r.put(kv); err != nil {
			return err
		}
		if kv.Key[0] == spaceSession {
			if unit := unitOf(kv.Key); unit != session {
				session = unit
				r.info.Sessions++
			}
		}
	}
	return nil
}

func (r *backupRun) put(kv storage.KV) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	switch {
	case kv.Key[0] == spaceDocument:
		r.info.Documents++
	case kv.Key[0] == spaceMeta && ofThisStore(kv.Key):
		return nil
	}
	return r.file.Put(kv.Key, kv.Value)
}

// baseGone names the reason why a log does not reach back.
func baseGone(err error) error {
	if errors.Is(err, storage.ErrTooOld) {
		return fmt.Errorf("%w: %w", ErrBackupBase, err)
	}
	return err
}

// InspectBackup reads a whole backup and says what it holds, or how it is damaged: ErrBackupDamaged, ErrNewerFormat, or what r
// fails with.
func InspectBackup(r io.Reader) (BackupInfo, error) {
	s, err := openBackup(r)
	if err != nil {
		return BackupInfo{}, err
	}
	for s.ok {
		if err := s.advance(); err != nil {
			return BackupInfo{}, err
		}
	}
	return s.info, nil
}
