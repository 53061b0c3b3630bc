package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
)

// noSpace refuses all commits while it is set.
type noSpace struct {
	storage.Store
	set atomic.Bool
}

func (s *noSpace) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	if s.set.Load() {
		return 0, storage.ErrFull
	}
	return s.Store.Commit(ctx, id, build)
}

// A disk that is full is when a backup is wanted most. It is made, full or incremental, and says that none can follow it.
func TestBackupOfAFullDisk(t *testing.T) {
	t.Parallel()
	overMedia(t, func(t *testing.T, fresh func(clock func() time.Time) medium) {
		for name, earlier := range map[string]bool{"the first one": false, "after another": true} {
			b := newBank()
			store, err := fresh(nil)()
			must(t, err)
			disk := &noSpace{Store: store}
			db, err := engine.Open(b.schema, plain(disk, nil))
			must(t, err)
			b.open(t, db, "ann", 1)
			var files [][]byte
			var since engine.Timestamp
			if earlier {
				file, info := backup(t, db, 0)
				if info.Unmarked {
					t.Errorf("%s: with space it is unmarked", name)
				}
				files, since = append(files, file), info.At
				b.open(t, db, "bob", 2)
			}
			disk.set.Store(true)
			file, info := unmarked(t, db, since)
			want := dump(t, store, info.At)
			full, _ := unmarked(t, db, 0)
			_, err = db.Backup(t.Context(), io.Discard, engine.BackupOptions{Since: info.At})
			if !errors.Is(err, engine.ErrBackupBase) {
				t.Errorf("%s: a backup since one that was not noted: %v, want ErrBackupBase", name, err)
			}
			disk.set.Store(false)
			must(t, db.Close())
			for _, chain := range [][][]byte{append(files, file), {full}} {
				m := fresh(nil)
				restored := restore(t, m, b.schema, nil, chain...)
				store, err := m()
				must(t, err)
				sameRows(t, dump(t, store, restored.Head), want)
				must(t, store.Close())
			}
		}
	})
}

// unmarked makes a backup that cannot be noted, and reads it.
func unmarked(t *testing.T, db *engine.DB, since engine.Timestamp) ([]byte, engine.BackupInfo) {
	t.Helper()
	var b bytes.Buffer
	info, err := db.Backup(t.Context(), &b, engine.BackupOptions{Since: since})
	must(t, err)
	if !info.Unmarked {
		t.Error("the backup does not say that it is unmarked")
	}
	if _, err := engine.InspectBackup(bytes.NewReader(b.Bytes())); err != nil {
		t.Error(err)
	}
	return b.Bytes(), info
}
