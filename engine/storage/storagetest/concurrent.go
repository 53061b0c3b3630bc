package storagetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
)

// testConcurrent moves amounts between two accounts from several goroutines, each reading the head inside its build, while
// others read, follow the log and compact. Every snapshot must show the same sum, and no transfer may be lost.
func testConcurrent(t *testing.T, h Harness) {
	const writers, transfers, total = 4, 60, 1_000_000
	s := open(t, h)
	commit(t, s, fmt.Sprintf("x=%d", total), "y=0")
	start := head(t, s)

	read := func(ts storage.Timestamp) (x, y int, err error) {
		snap, err := s.At(t.Context(), ts)
		if err != nil {
			return 0, 0, err
		}
		defer snap.Close()
		amounts := map[string]int{}
		for kv, err := range snap.Scan([]byte("x"), []byte("z"), false, 0) {
			if err != nil {
				return 0, 0, err
			}
			if amounts[string(kv.Key)], err = strconv.Atoi(string(kv.Value)); err != nil {
				return 0, 0, err
			}
		}
		return amounts["x"], amounts["y"], nil
	}

	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for range writers {
		writing.Go(func() {
			for range transfers {
				_, err := s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) {
					ts, err := s.Head(t.Context())
					if err != nil {
						return storage.Group{}, err
					}
					x, y, err := read(ts)
					if err != nil {
						return storage.Group{}, err
					}
					g, err := group(fmt.Sprintf("x=%d", x-1), fmt.Sprintf("y=%d", y+1))(nil)
					g.Log = binary.BigEndian.AppendUint64(nil, uint64(y+1))
					return g, err
				})
				if err != nil {
					t.Errorf("transfer: %v", err)
					return
				}
			}
		})
	}
	// until runs f again and again while the writers write, and once more after.
	until := func(f func() error) {
		reading.Go(func() {
			for last := false; ; {
				if err := f(); err != nil {
					t.Error(err)
					return
				}
				if last {
					return
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
		})
	}
	var newest storage.Timestamp
	until(func() error {
		ts, err := s.Head(t.Context())
		if err != nil {
			return err
		}
		if ts < newest {
			return fmt.Errorf("head went back from %d to %d", newest, ts)
		}
		newest = ts
		x, y, err := read(ts)
		if errors.Is(err, storage.ErrTooOld) {
			return nil // compacted between the two calls
		}
		if err != nil || x+y != total {
			return fmt.Errorf("at %d: %d + %d, want a sum of %d (%w)", ts, x, y, total, err)
		}
		return nil
	})
	seen, after := uint64(0), start
	until(func() error {
		for e, err := range s.Tail(t.Context(), after) {
			if err != nil {
				return fmt.Errorf("tail: %w", err)
			}
			if n := binary.BigEndian.Uint64(e.Log); n != seen+1 || e.Timestamp <= after {
				return fmt.Errorf("tail: transfer %d at %d after %d at %d", n, e.Timestamp, seen, after)
			}
			seen, after = seen+1, e.Timestamp
		}
		return nil
	})
	pin := at(t, s, start) // what the follower of the log needs stays, whatever is compacted
	until(func() error {
		ts, err := s.Head(t.Context())
		if err != nil {
			return err
		}
		return s.Compact(t.Context(), storage.Floors{Versions: ts - 1, Log: ts - 1})
	})
	writing.Wait()
	close(done)
	reading.Wait()
	pin.Close()
	if x, y, err := read(head(t, s)); err != nil || y != writers*transfers || x+y != total {
		t.Fatalf("after %d transfers: %d and %d (%v)", writers*transfers, x, y, err)
	}
	if seen != writers*transfers {
		t.Fatalf("the log showed %d transfers of %d", seen, writers*transfers)
	}
}
