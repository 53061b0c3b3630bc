package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Open opens the database in a folder, or makes a new one. It replays what a killed process left, checks that no
// acknowledged group is missing at the end and that the log has no gap where it may have been damaged, and publishes a head
// above all that was ever published, whatever the clock says.
//
// Its errors are ErrLocked, ErrNotWritable, ErrNewerFormat, ErrForeign, [storage.ErrFull], [storage.ErrCorrupt], or what Badger
// says; each names the folder. A failed Open leaves nothing open. Trying again is of use with ErrLocked only.
func Open(o Options) (*Store, error) {
	o = o.withDefaults()
	if err := prepareFolder(o.Dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	s, err := openLocked(o)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	s.lock = lock
	return s, nil
}

func openLocked(o Options) (*Store, error) {
	if err := checkFormat(o.Dir); err != nil {
		return nil, err
	}
	if o.MinFree == 0 {
		_, size, err := o.space(o.Dir)
		if err != nil {
			return nil, fmt.Errorf("badgerstore: size of the disk of %s: %w", o.Dir, err)
		}
		o.MinFree = defaultMinFree(size)
	}
	// Opening writes too: what write-ahead logs hold becomes tables. It may go below the mark, or no full disk could be opened
	// and cleared, but not to where writing kills.
	if err := o.checkSpace(o.MinFree / 4); err != nil {
		return nil, err
	}
	removed, err := removeEmptyFiles(o.Dir)
	if err != nil {
		return nil, err
	}
	if len(removed) > 0 {
		o.Logger.Info("badgerstore: removed empty files that a killed process left", "dir", o.Dir, "files", removed)
	}
	mark, marked, err := openMark(filepath.Join(o.Dir, markFile))
	if err != nil {
		return nil, err
	}
	merging := new(merging)
	db, err := openBadger(o, merging)
	if err != nil {
		return nil, errors.Join(err, mark.close())
	}
	s := &Store{
		db: db, opts: o, log: o.Logger, mark: mark,
		names: folderEntries{dir: o.Dir, flush: syncFolder},
		turn:  make(chan struct{}, 1), merging: merging,
		pins: map[storage.Timestamp]int{}, logPins: map[storage.Timestamp]int{},
	}
	s.gate.cursors = map[*cursor]struct{}{}
	s.life, s.end = context.WithCancel(context.Background())
	s.setBudget()
	if err := s.restore(marked); err != nil {
		return nil, errors.Join(fmt.Errorf("badgerstore: open %s: %w", o.Dir, err), db.Close(), mark.close())
	}
	// Whatever this version writes that an older one would misread is written after this.
	if err := writeFormat(o.Dir); err != nil {
		return nil, errors.Join(err, db.Close(), mark.close())
	}
	s.turn <- struct{}{}
	return s, nil
}

func openBadger(o Options, m *merging) (db *badger.DB, err error) {
	defer (&gate{}).recover(&err)
	db, err = badger.OpenManaged(o.badgerOptions(m))
	if err == nil {
		return db, nil
	}
	if strings.Contains(err.Error(), "Cannot acquire directory lock") { // Badger has no error of its own for it
		return nil, fmt.Errorf("badgerstore: open %s: %w", o.Dir, ErrLocked)
	}
	return nil, fmt.Errorf("badgerstore: open %s: %w", o.Dir, err)
}

// restore reads where the database stands, checks it against the side file and itself, and publishes a new head. It runs
// before anybody else has the store.
func (s *Store) restore(marked storage.Timestamp) error {
	clock, floor, err := s.readMeta()
	if err != nil {
		return err
	}
	s.floors = storage.Floors{Versions: floor.at(0), Log: floor.at(1)}
	if len(floor.ts) == 1 {
		s.floors.Log = s.floors.Versions // format 1 has one for both
	}
	s.db.SetDiscardTs(uint64(s.floors.Versions))
	large, err := s.finishRedo()
	if err != nil {
		return err
	}
	newest, err := s.newestGroup()
	if err != nil {
		return err
	}
	if known := max(large, clock.at(1), floor.at(2)); newest < known {
		return fmt.Errorf("log: ends at %d, group %d is missing: %w", newest, known, storage.ErrCorrupt)
	}
	s.newest = newest
	s.last = max(newest, clock.at(0), clock.written, floor.written)
	if s.last < marked {
		return fmt.Errorf("written up to %d, but only up to %d is there; restore a backup, or remove %s to accept the loss: %w",
			marked, s.last, markFile, storage.ErrCorrupt)
	}
	if s.total, err = s.checkRecentLog(newest); err != nil {
		return err
	}
	if err := s.removeRedo(); err != nil {
		return err
	}
	s.head = s.nextTimestamp()
	if err := s.writeMeta(clockKey, s.head, s.head, newest); err != nil {
		return err
	}
	if s.opts.Relaxed { // the clock, at least, is never lost
		if err := s.db.Sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	return nil
}

// meta is a row of the store's own state: some numbers, and the timestamp under which it is stored, zero when there is no such
// row. What an older format does not have reads as zero.
type meta struct {
	ts      []storage.Timestamp
	written storage.Timestamp
}

func (m meta) at(i int) storage.Timestamp {
	if i >= len(m.ts) {
		return 0
	}
	return m.ts[i]
}

func (s *Store) readMeta() (clock, floors meta, err error) {
	if clock, err = s.readMetaRow(clockKey, 2); err == nil {
		floors, err = s.readMetaRow(floorKey, 3)
	}
	return clock, floors, err
}

// readMetaRow reads a row of at most so many numbers.
func (s *Store) readMetaRow(key []byte, most int) (meta, error) {
	r, ok, err := s.get(math.MaxUint64, spaceMeta, key)
	if err != nil || !ok {
		return meta{}, err
	}
	if len(r.payload) == 0 || len(r.payload)%8 != 0 || len(r.payload) > 8*most {
		return meta{}, fmt.Errorf("row %s of %d bytes: %w", key, len(r.payload), storage.ErrCorrupt)
	}
	m := meta{written: r.ts}
	for b := r.payload; len(b) > 0; b = b[8:] {
		m.ts = append(m.ts, storage.Timestamp(binary.BigEndian.Uint64(b)))
	}
	return m, nil
}

// writeMeta stores a row of the store's own state in a transaction of its own. The caller holds the turn.
func (s *Store) writeMeta(key []byte, ts storage.Timestamp, values ...storage.Timestamp) error {
	b := newBatch(s, rowSize(len(key), 8*len(values)))
	var payload []byte
	for _, v := range values {
		payload = binary.BigEndian.AppendUint64(payload, uint64(v))
	}
	if err := b.put(spaceMeta, key, ts, payload); err != nil {
		return err
	}
	s.last = max(s.last, ts)
	if err := b.commit(ts); err != nil {
		return err
	}
	s.remember(ts)
	return nil
}

// nextTimestamp returns the timestamp after the last one: the clock's, or one more than the last where the clock lags behind.
// The caller holds the turn.
func (s *Store) nextTimestamp() storage.Timestamp {
	if now := s.opts.Clock().UnixNano(); now > 0 && storage.Timestamp(now) > s.last {
		return storage.Timestamp(now)
	}
	return s.last + 1
}

// setBudget derives from Badger's limits what one transaction may hold. Badger counts an entry's key, value and 12 bytes more,
// and one entry for the end of the transaction.
func (s *Store) setBudget() {
	const (
		perWrite = 1 + envelopeSize + 12 // space, envelope, Badger's own
		spare    = 4 << 10               // outcome row, log rows and their heads, end of transaction
		ownRows  = 16
	)
	s.oneWrites = min(16<<10, int(s.db.MaxBatchCount())-ownRows)
	s.oneBytes = s.db.MaxBatchSize() - int64(s.oneWrites)*perWrite - spare
	s.partWrites, s.partBytes = s.oneWrites, s.oneBytes
}
