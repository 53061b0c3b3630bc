//go:build linux || darwin || freebsd

package badgerstore

import "syscall"

// diskSpace returns how many bytes an unprivileged process may still write to the folder's disk, and how many the disk has.
func diskSpace(dir string) (free, size int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), nil
}
