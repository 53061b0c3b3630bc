package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Of backups that are made beside one another each can be followed by an incremental one.
func TestBackupsBesideOneAnother(t *testing.T) {
	t.Parallel()
	overMedia(t, func(t *testing.T, fresh func(clock func() time.Time) medium) {
		b := newBank()
		db, _ := launch(t, fresh(nil), b.schema, nil)
		defer func() { must(t, db.Close()) }()
		var mu sync.Mutex
		var made []engine.Timestamp
		var wg sync.WaitGroup
		end := make(chan struct{})
		for i := range 16 {
			b.open(t, db, fmt.Sprint("owner", i), 1)
			begun := make(chan struct{})
			var once sync.Once
			wg.Go(func() {
				info, err := db.Backup(context.Background(), writerFunc(func(p []byte) (int, error) {
					once.Do(func() { close(begun) })
					<-end // so that all of them end at once
					return len(p), nil
				}), engine.BackupOptions{})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				made = append(made, info.At)
			})
			within(t, "the backup's beginning", begun)
		}
		close(end)
		wg.Wait()
		for _, at := range made {
			if _, err := db.Backup(context.Background(), io.Discard, engine.BackupOptions{Since: at}); err != nil {
				t.Errorf("since %d, at which a backup was made: %v", at, err)
			}
		}
	})
}

// unwritable is a store whose commits fail when it is said so.
type unwritable struct {
	storage.Store
	is atomic.Bool
}

func (u *unwritable) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	if u.is.Load() {
		return 0, errors.New("a write failed")
	}
	return u.Store.Commit(ctx, id, build)
}

// What is published can be saved after a commit has failed, before the program is started again.
func TestBackupAfterAFailure(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	b := newBank()
	broken := &unwritable{Store: shared.Open()}
	db, err := engine.Open(b.schema, plain(broken, nil))
	must(t, err)
	defer func() { _ = db.Close() }()
	b.open(t, db, "ann", 7)
	broken.is.Store(true)
	err = db.Update(t.Context(), func(tx *engine.Tx) error { return second(b.accounts.Insert(tx, account{Owner: "bob"})) })
	if !errors.Is(err, engine.ErrFailed) {
		t.Fatalf("a write: %v, want that it failed", err)
	}
	var file bytes.Buffer
	info, err := db.Backup(t.Context(), &file, engine.BackupOptions{})
	if err != nil || !info.Unmarked {
		t.Fatalf("a backup: %+v, %v; want one that is not marked", info, err)
	}
	if got := restore(t, media["mem"](t, nil), b.schema, nil, file.Bytes()); got.Documents != 1 {
		t.Errorf("%d documents were restored, want 1", got.Documents)
	}
}
