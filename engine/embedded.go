package engine

import (
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// openEmbedded opens the default store.
func openEmbedded(o Options) (storage.Store, error) {
	return badgerstore.Open(badgerstore.Options{Dir: o.Dir, Relaxed: o.Durability == Relaxed, Clock: o.Clock, Logger: o.Logger})
}
