package badgerstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/mimosadb/mimosa/engine/storage"
)

// maxFaults is how many damaged rows Verify tells of. Who has so many needs no longer list.
const maxFaults = 100

// Verify implements [storage.Verifier]. It reads the whole database: every block of every table against Badger's checksums,
// every version of every row against its own, and the log for gaps. Of damaged blocks it names the first of each
// table; of rows all, up to 100; of gaps the first. One damage may show in several of these. It takes as long as reading the
// folder twice does, beside other work, or longer where ctx has a rate ([storage.WithRate]); ctx ends it.
func (s *Store) Verify(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	faults := make([]error, 0, 1)
	rate := storage.NewRate(ctx)
	for _, verify := range []func(context.Context, *storage.Rate) error{s.verifyTables, s.verifyRows, s.verifyLog} {
		err := verify(ctx, rate)
		if err == nil {
			continue
		}
		faults = append(faults, err)
		if !errors.Is(err, storage.ErrCorrupt) {
			break // closed, poisoned or cancelled
		}
	}
	return errors.Join(faults...)
}

// verifyTables checks every block of every table. It reads their files by itself: Badger's own check cannot be ended, so that
// Close would wait for it, and stops at the first damage.
func (s *Store) verifyTables(ctx context.Context, rate *storage.Rate) error {
	tables, err := s.tables()
	faults := make([]error, 0, 1)
	for _, t := range tables {
		if err = s.usable(ctx); err == nil {
			err = s.gate.check()
		}
		if err != nil {
			break
		}
		if err = rate.Wait(ctx, int(t.OnDiskSize)); err != nil {
			break
		}
		fault := verifyTable(table.NewFilename(t.ID, s.opts.Dir))
		if fault == nil {
			continue
		}
		var now []badger.TableInfo
		if now, err = s.tables(); err != nil {
			break
		}
		// A table that was merged into another meanwhile has been cut and removed, maybe while it was read. Its rows have
		// checksums of their own, which went with them.
		if slices.ContainsFunc(now, func(u badger.TableInfo) bool { return u.ID == t.ID }) {
			faults = append(faults, fault)
		}
	}
	return errors.Join(append(faults, err)...)
}

// tables lists the tables that are part of the database at this moment. A number is never used again.
func (s *Store) tables() (list []badger.TableInfo, err error) {
	err = s.gate.do(func() error {
		list = s.db.Tables()
		return nil
	})
	return list, err
}

// verifyTable checks the blocks of one table, which it holds in memory meanwhile.
func verifyTable(path string) (err error) {
	defer (&gate{}).recover(&err) // a damaged index makes Badger panic
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("badgerstore: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	content, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("badgerstore: %w", err)
	}
	t, err := table.OpenInMemoryTable(content, 0, &table.Options{})
	if err == nil {
		t.Fd = f // Badger's error names it
		err = t.VerifyChecksum()
	}
	if err != nil {
		return fmt.Errorf("badgerstore: table %s: %w: %w", path, storage.ErrCorrupt, err)
	}
	return nil
}

// cursorBytes is how much verifyRows reads before it begins anew where it is: as long as it holds on to tables, those that were
// merged into others stay on the disk.
const cursorBytes = 64 << 20

// verifyRows checks every version of every row but the tombstones, which have no value.
func (s *Store) verifyRows(ctx context.Context, rate *storage.Rate) error {
	all := span{lo: []byte{0}, hi: []byte{0xff}} // every space
	c, err := s.openIterator(math.MaxUint64, all, badger.IteratorOptions{AllVersions: true})
	if err != nil {
		return err
	}
	defer func() { c.close() }()
	var faults []error
	var last []byte
	for size := 0; ; {
		if err := s.usable(ctx); err != nil {
			return errors.Join(append(faults, err)...)
		}
		r, ok, err := c.next()
		if ok && size >= cursorBytes && !bytes.Equal(r.key, last) {
			c.close()
			if c, err = s.openIterator(math.MaxUint64, span{lo: r.key, hi: all.hi}, badger.IteratorOptions{AllVersions: true}); err != nil {
				return errors.Join(append(faults, err)...)
			}
			size = 0
			continue
		}
		switch {
		case err == nil && !ok:
			return errors.Join(faults...)
		case err == nil:
			last = r.key
			size += len(r.key) + len(r.payload)
			if err := rate.Wait(ctx, len(r.key)+len(r.payload)); err != nil {
				return errors.Join(append(faults, err)...)
			}
			continue
		case len(faults) > 0 && err.Error() == faults[len(faults)-1].Error():
			return errors.Join(faults...) // Badger is stuck where a table cannot be read
		case len(faults) == maxFaults:
			return errors.Join(append(faults, fmt.Errorf("badgerstore: more than %d damaged rows: %w", maxFaults, storage.ErrCorrupt))...)
		}
		faults = append(faults, err)
		if !errors.Is(err, storage.ErrCorrupt) {
			return errors.Join(faults...)
		}
	}
}

func (s *Store) verifyLog(ctx context.Context, rate *storage.Rate) error {
	s.mu.Lock()
	floor := s.floors.Log
	s.mu.Unlock()
	for e, err := range s.Tail(ctx, floor) {
		if err == nil {
			err = rate.Wait(ctx, len(e.Log))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
