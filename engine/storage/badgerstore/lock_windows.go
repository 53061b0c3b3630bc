package badgerstore

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
)

// folderLock keeps other stores out of a data folder: a file that is opened without sharing. The system drops it when the
// process ends.
type folderLock struct{ h syscall.Handle }

// badgerLocks says whether Badger takes a lock of its own as well.
const badgerLocks = true

const errSharingViolation = syscall.Errno(32)

func lockFolder(dir string) (*folderLock, error) {
	path, err := syscall.UTF16PtrFromString(filepath.Join(dir, "mimosa.lock"))
	if err != nil {
		return nil, fmt.Errorf("badgerstore: lock %s: %w", dir, err)
	}
	h, err := syscall.CreateFile(path, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, errSharingViolation):
		return nil, fmt.Errorf("badgerstore: open %s: %w", dir, ErrLocked)
	case err != nil:
		return nil, fmt.Errorf("badgerstore: lock %s: %w", dir, err)
	}
	return &folderLock{h}, nil
}

func (l *folderLock) release() error { return syscall.CloseHandle(l.h) }

// syncFolder does nothing: Windows has no such call, and its file systems log their own changes.
func syncFolder(string) error { return nil }
