package badgerstore

import (
	"context"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Verify reads the whole database: every version of every row against its checksum, every block of every table against
// Badger's, and the log for gaps. It returns ErrCorrupt and where at the first damage it meets. It takes as long as reading
// the folder does, beside other work; ctx ends it, though not while Badger reads its tables.
func (s *Store) Verify(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	err := s.gate.do(func() error {
		if err := s.db.VerifyChecksum(); err != nil {
			return fmt.Errorf("badgerstore: tables: %w: %w", storage.ErrCorrupt, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.verifyRows(ctx); err != nil {
		return err
	}
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

// verifyRows checks every version of every row but the tombstones, which have no value.
func (s *Store) verifyRows(ctx context.Context) error {
	all := span{lo: []byte{0}, hi: []byte{0xff}} // every space
	c, err := s.openIterator(math.MaxUint64, all, badger.IteratorOptions{AllVersions: true})
	if err != nil {
		return err
	}
	defer c.close()
	for {
		if err := s.usable(ctx); err != nil {
			return err
		}
		_, ok, err := c.next()
		if err != nil || !ok {
			return err
		}
	}
}
