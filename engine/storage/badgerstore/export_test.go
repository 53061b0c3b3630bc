package badgerstore

import (
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// FreeSpace is what the store sees of a folder's disk.
func FreeSpace(t *testing.T, dir string) int64 {
	t.Helper()
	n, err := freeSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Wrap and Unwrap are the two directions of a stored row.
func Wrap(space byte, key []byte, ts storage.Timestamp, payload []byte) (k, v []byte) {
	return new(arena).row(space, key, ts, payload)
}

func Unwrap(key []byte, ts storage.Timestamp, value []byte) ([]byte, error) {
	return unwrap(append([]byte{}, key...), ts, value)
}

// ParseLog takes apart a log row as reading the log does.
func ParseLog(key, payload []byte) error {
	ts, _, err := parseLogKey(key)
	if err != nil {
		return err
	}
	_, _, err = parseLogHead(ts, payload)
	return err
}

// Flatten makes Badger merge its tables until a condition holds, which it gets the number of tables on each level for. Tables
// appear while it works, when memory is written out.
func Flatten(t *testing.T, s *Store, done func(levels map[int]int) bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err := s.db.Flatten(1); err != nil {
			t.Fatal(err)
		}
		levels := map[int]int{}
		for _, table := range s.db.Tables() {
			levels[table.Level]++
		}
		if done(levels) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("badger does not give space back: tables by level %v", levels)
		}
	}
}
