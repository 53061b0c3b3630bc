package engine

import (
	"errors"

	"github.com/mimosadb/mimosa/engine/storage"
)

// openEmbedded opens the default store.
func openEmbedded(Options) (storage.Store, error) {
	return nil, errors.New("engine: the embedded store is not linked in")
}
