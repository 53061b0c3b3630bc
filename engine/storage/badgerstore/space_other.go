//go:build !(linux || darwin || freebsd)

package badgerstore

import "math"

// freeSpace knows nothing here, and lets everything pass.
func freeSpace(string) (int64, error) { return math.MaxInt64, nil }
