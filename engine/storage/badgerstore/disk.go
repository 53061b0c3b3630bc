package badgerstore

import (
	"fmt"
	"os"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// checkSpace returns ErrFull when less than a number of bytes is free.
func (o Options) checkSpace(least int64) error {
	if o.MinFree < 0 {
		return nil
	}
	free, _, err := o.space(o.Dir)
	if err != nil {
		return fmt.Errorf("badgerstore: free space of %s: %w", o.Dir, err)
	}
	if free < least {
		return fmt.Errorf("badgerstore: %s: %d bytes free of at least %d: %w", o.Dir, free, least, storage.ErrFull)
	}
	return nil
}

// folderEntries makes the names of new files durable. Badger syncs what it writes to a new write-ahead log, but not the folder
// that the log has been added to; most file systems make the name durable with the content, and are not bound to.
type folderEntries struct {
	dir    string
	flush  func(dir string) error // makes the names in a folder durable
	synced time.Time              // the folder's time of change at the last sync; zero when that was too recent to tell
}

// stampGrain is more than the granularity of the times of change that file systems keep. Two changes within it may have the
// same time.
const stampGrain = 20 * time.Millisecond

// sync makes names durable if any have changed. It costs one stat if not.
func (e *folderEntries) sync() error {
	info, err := os.Stat(e.dir)
	if err != nil {
		return err
	}
	changed := info.ModTime()
	if changed.Equal(e.synced) {
		return nil
	}
	settled := time.Since(changed) > stampGrain // before the sync, so that a change during it counts as later
	if err := e.flush(e.dir); err != nil {
		return err
	}
	e.synced = time.Time{}
	if settled {
		e.synced = changed
	}
	return nil
}
