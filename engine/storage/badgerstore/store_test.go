package badgerstore_test

import (
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
	"github.com/mimosadb/mimosa/engine/storage/storagetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		relaxed bool
	}{{"synchronous", false}, {"relaxed", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, func(t *testing.T) storagetest.Harness {
				o := badgerstore.Options{Dir: t.TempDir(), Relaxed: c.relaxed}
				clock := storagetest.NewClock()
				o.Clock = clock.Now
				return storagetest.Harness{
					Open:  func() (storage.Store, error) { return badgerstore.Open(o) },
					Clock: clock,
				}
			})
		})
	}
}
