package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/mimosadb/mimosa/engine/storage"
)

// loader writes the rows of a restore, in groups as large as the store takes in one step, with the entries of those indexes
// that were complete when the backup was made and that the program still has. What else there is to build is left to Open.
type loader struct {
	ctx      context.Context
	schema   *Schema
	store    storage.Store
	unique   *rand.Rand
	max      int
	maxBytes int64

	rows  []storage.Write
	bytes int64

	catalog *catalog
	indexes map[[tagBytes]byte][]*index // to build, by collection
	failed  map[string]bool             // specs of those that could not be

	documents, sessions int64
	session             string
}

func newLoader(ctx context.Context, s *Schema, store storage.Store, seed uint64) (*loader, error) {
	head, err := store.Head(ctx)
	if err != nil {
		return nil, err
	}
	l := &loader{
		ctx: ctx, schema: s, store: store, unique: newUnique(seed, head),
		max: 4096, maxBytes: 1 << 20, failed: map[string]bool{},
	}
	if b, ok := store.(storage.Budget); ok {
		l.max, l.maxBytes = b.Budget()
		l.max, l.maxBytes = l.max-groupOverheadRows, l.maxBytes-groupOverheadBytes
	}
	return l, nil
}

// begin marks the database as unfinished.
func (l *loader) begin() error {
	return l.commit([]storage.Write{{Key: restoringKey, Value: []byte{1}}})
}

// row adds a row of the backup. Meta rows come first.
func (l *loader) row(key, value []byte) error {
	switch {
	case key[0] == spaceMeta && ofThisStore(key):
		return nil
	case string(key) == string(catalogKey):
		return l.plan(value)
	case key[0] == spaceDocument:
		l.documents++
		if err := l.entries(key, value); err != nil {
			return err
		}
	case key[0] == spaceSession:
		if unit := unitOf(key); unit != l.session {
			l.session = unit
			l.sessions++
		}
	}
	return l.write(storage.Write{Key: key, Value: value})
}

// plan decides which indexes are built. The catalog itself is written at the end.
func (l *loader) plan(raw []byte) error {
	known := &catalog{}
	if err := json.Unmarshal(raw, known); err != nil {
		return fmt.Errorf("%w: catalog: %w", ErrBackupDamaged, err)
	}
	if known.Format > formatVersion {
		return fmt.Errorf("%w: format %d, this one knows %d", ErrNewerFormat, known.Format, formatVersion)
	}
	l.catalog, l.indexes = known, map[[tagBytes]byte][]*index{}
	for _, c := range l.schema.collections {
		was := known.Collections[c.name]
		for _, x := range c.indexes {
			if was != nil && slices.Contains(was.Indexes, x.spec) {
				l.indexes[c.tag] = append(l.indexes[c.tag], x)
			}
		}
	}
	return nil
}

// entries writes the index entries of a document. An index that does not take it, since the program's type has changed, is
// Open's to judge.
func (l *loader) entries(key, value []byte) error {
	if len(key) != 1+idBytes {
		return fmt.Errorf("%w: a document's key of %d bytes", ErrBackupDamaged, len(key))
	}
	id := rawID(key[1:])
	for _, x := range l.indexes[[tagBytes]byte(id[:tagBytes])] {
		entry, _, err := x.key(id, value)
		if err != nil {
			l.failed[x.spec] = true
			continue
		}
		if err := l.write(storage.Write{Key: []byte(entry)}); err != nil {
			return err
		}
	}
	return nil
}

// end writes what is left, the catalog with the indexes that there are now, and takes the mark away with it.
func (l *loader) end() error {
	if err := l.flush(); err != nil {
		return err
	}
	last := []storage.Write{{Key: restoringKey, Delete: true}}
	if l.catalog != nil {
		for name, c := range l.catalog.Collections {
			l.settle(name, c)
		}
		raw, err := json.Marshal(l.catalog)
		if err != nil {
			return err
		}
		last = append(last, storage.Write{Key: catalogKey, Value: raw})
	}
	return l.commit(last)
}

// settle says of a collection which indexes are there: none but those that were built.
func (l *loader) settle(name string, c *catalogedEntry) {
	c.Indexes, c.Unfinished = nil, nil
	for _, x := range l.indexes[nameTag(name)] {
		if l.failed[x.spec] {
			c.Unfinished = append(c.Unfinished, x.spec)
		} else {
			c.Indexes = append(c.Indexes, x.spec)
		}
	}
}

func (l *loader) write(w storage.Write) error {
	size := int64(len(w.Key) + len(w.Value))
	if len(l.rows) > 0 && (len(l.rows) >= l.max || l.bytes+size > l.maxBytes) {
		if err := l.flush(); err != nil {
			return err
		}
	}
	l.rows = append(l.rows, w)
	l.bytes += size
	return nil
}

func (l *loader) flush() error {
	if len(l.rows) == 0 {
		return nil
	}
	err := l.commit(l.rows)
	l.rows, l.bytes = l.rows[:0], 0
	return err
}

// commit writes rows that nobody reads yet, so that the log says of them nothing but that they are there.
func (l *loader) commit(rows []storage.Write) error {
	var id storage.GroupID
	binary.LittleEndian.PutUint64(id[:8], l.unique.Uint64())
	binary.LittleEndian.PutUint64(id[8:], l.unique.Uint64())
	_, err := l.store.Commit(l.ctx, id, func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: rows, Log: []byte{logVersion}}, nil
	})
	return err
}
