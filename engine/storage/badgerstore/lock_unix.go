//go:build unix && !aix && !solaris

package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// folderLock keeps other stores out of a data folder. It is the lock that Badger itself and its tools take, an advisory lock
// on the folder, only taken before anything in it is looked at. The kernel drops it when the process ends.
type folderLock struct{ f *os.File }

// badgerLocks says whether Badger takes a lock of its own as well. Here it would be the same one.
const badgerLocks = false

func lockFolder(dir string) (*folderLock, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("badgerstore: open %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("badgerstore: open %s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("badgerstore: lock %s: %w", dir, err)
	}
	return &folderLock{f}, nil
}

// release unlocks before it closes: a child process that is just being started has a copy of the file until it executes its
// program, and the lock would last as long.
func (l *folderLock) release() error {
	return errors.Join(syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN), l.f.Close())
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
