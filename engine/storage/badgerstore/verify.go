package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// maxFaults is how many damaged rows Verify tells of. Who has so many needs no longer list.
const maxFaults = 100

// Verify implements [storage.Verifier]. It reads the whole database: every block of every table against Badger's checksums,
// every version of every row against its own, and the log for gaps. Of damaged blocks it names the first, which Badger stops
// at; of rows all, up to 100; of gaps the first. One damage may show in several of these. It takes as long as reading the
// folder does, beside other work; ctx ends it, though not while Badger reads its tables.
func (s *Store) Verify(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	faults := make([]error, 0, 1)
	for _, verify := range []func(context.Context) error{s.verifyTables, s.verifyRows, s.verifyLog} {
		err := verify(ctx)
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

func (s *Store) verifyTables(context.Context) error {
	return s.gate.do(func() error {
		if err := s.db.VerifyChecksum(); err != nil {
			return fmt.Errorf("badgerstore: tables: %w: %w", storage.ErrCorrupt, err)
		}
		return nil
	})
}

// verifyRows checks every version of every row but the tombstones, which have no value.
func (s *Store) verifyRows(ctx context.Context) error {
	all := span{lo: []byte{0}, hi: []byte{0xff}} // every space
	c, err := s.openIterator(math.MaxUint64, all, badger.IteratorOptions{AllVersions: true})
	if err != nil {
		return err
	}
	defer c.close()
	var faults []error
	for {
		if err := s.usable(ctx); err != nil {
			return errors.Join(append(faults, err)...)
		}
		_, ok, err := c.next()
		switch {
		case err == nil && !ok:
			return errors.Join(faults...)
		case err == nil:
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

func (s *Store) verifyLog(ctx context.Context) error {
	s.mu.Lock()
	floor := s.floor
	s.mu.Unlock()
	for _, err := range s.Tail(ctx, floor) {
		if err != nil {
			return err
		}
	}
	return nil
}
