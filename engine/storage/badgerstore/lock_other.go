//go:build !(unix && !aix && !solaris) && !windows

package badgerstore

import (
	"errors"
	"fmt"
	"runtime"
)

const badgerLocks = true

type folderLock struct{}

// lockFolder refuses: without a lock that the system drops with the process, two processes could write one folder.
func lockFolder(dir string) (*folderLock, error) {
	return nil, fmt.Errorf("badgerstore: open %s: %w on %s", dir, errors.ErrUnsupported, runtime.GOOS)
}

func (*folderLock) release() error { return nil }

func syncFolder(string) error { return nil }
