//go:build unix

package badgerstore_test

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
)

// blocks is what a folder takes on its disk: write-ahead logs are sparse, so that their sizes say nothing.
func blocks(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var stat syscall.Stat_t
		if err == nil {
			if err = syscall.Stat(path, &stat); err == nil {
				total += stat.Blocks * 512
			}
		}
		return nil // a file may have gone meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}
