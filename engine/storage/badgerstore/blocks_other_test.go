//go:build !unix

package badgerstore_test

import "testing"

// blocks cannot tell what a folder takes on its disk.
func blocks(*testing.T, string) int64 { return 0 }
