//go:build unix

package bench_test

import (
	"io/fs"
	"syscall"
)

// onDisk returns what a file takes on its disk: write-ahead logs are sparse, so that their sizes say nothing.
func onDisk(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(stat.Blocks) * 512 //nolint:unconvert // its type depends on the system
	}
	return info.Size()
}
