package engine

import (
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// openEmbedded opens the default store.
func openEmbedded(o Options) (storage.Store, error) { return badgerstore.Open(embeddedOptions(o)) }

// embeddedOptions says what the options of a database are to its default store.
func embeddedOptions(o Options) badgerstore.Options {
	return badgerstore.Options{
		Dir: o.Dir, Relaxed: o.Durability == Relaxed, MinFree: o.MinFreeBytes, Clock: o.Clock, Logger: o.Logger,
	}
}
