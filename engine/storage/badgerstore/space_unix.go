//go:build linux || darwin || freebsd

package badgerstore

import "syscall"

// freeSpace returns how many bytes an unprivileged process may still write to the folder's disk.
func freeSpace(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
