package badgerstore

import "errors"

// Errors of Open, besides those of package storage. They are matched with errors.Is; their text names the folder.
var (
	// ErrLocked says that another process, or another store in this one, has the data folder open.
	ErrLocked = errors.New("badgerstore: data folder is in use")
	// ErrNotWritable says that the data folder cannot be created or written to.
	ErrNotWritable = errors.New("badgerstore: data folder is not writable")
	// ErrNewerFormat says that the data was written by a newer version of Mimosa, in a format that this one does not know.
	ErrNewerFormat = errors.New("badgerstore: data folder has a newer format")
	// ErrForeign says that the folder holds a Badger database that is not a Mimosa store.
	ErrForeign = errors.New("badgerstore: folder holds another program's data")
)
