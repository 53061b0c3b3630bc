package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

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

	known   *known                      // what the backup says of itself
	indexes map[[tagBytes]byte][]*index // to build, by collection; nil until documents come
	failed  map[*index]bool             // those that could not be

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
		max: 4096, maxBytes: 1 << 20, failed: map[*index]bool{}, known: newKnown(),
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
		return l.say(l.known.addCatalog(value))
	case key[0] == spaceMeta && len(key) > 1 && key[1] == metaIndex:
		l.known.add(storage.KV{Key: key, Value: value})
		return l.say(nil)
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

// say turns what does not decode into an error.
func (l *loader) say(err error) error {
	if problems := errors.Join(l.known.problems...); err == nil && problems != nil {
		return fmt.Errorf("%w: %w", ErrBackupDamaged, problems)
	}
	return err
}

// plan decides which indexes are built. The rows that say so are written at the end.
func (l *loader) plan() {
	l.known.upgrade()
	l.indexes = map[[tagBytes]byte][]*index{}
	for _, c := range l.schema.collections {
		for _, x := range c.indexes {
			if row := l.known.indexes[x.tag]; row != nil && row.State == IndexReady {
				l.indexes[c.tag] = append(l.indexes[c.tag], x)
			}
		}
	}
}

// entries writes the index entries of a document. An index that does not take it, since the program's type has changed, is
// Open's to judge.
func (l *loader) entries(key, value []byte) error {
	if len(key) != 1+idBytes {
		return fmt.Errorf("%w: a document's key of %d bytes", ErrBackupDamaged, len(key))
	}
	id := rawID(key[1:])
	if l.indexes == nil {
		l.plan()
	}
	for _, x := range l.indexes[[tagBytes]byte(id[:tagBytes])] {
		entry, _, err := x.key(id, value)
		if err != nil {
			l.failed[x] = true
			continue
		}
		if err := l.write(storage.Write{Key: []byte(entry)}); err != nil {
			return err
		}
	}
	return nil
}

// end writes what is left, the rows of the indexes that there are now, then the catalog, and takes the mark away with it.
func (l *loader) end() error {
	if err := l.flush(); err != nil {
		return err
	}
	if l.indexes == nil {
		l.plan()
	}
	var last []storage.Write
	for _, indexes := range l.indexes {
		for _, x := range indexes {
			row := &indexRow{Spec: x.spec, State: IndexReady}
			if l.failed[x] {
				row.State = IndexBuilding // what there is of it is right
				last = append(last, jsonRow(progressKey(x.tag), &indexProgress{Phase: phaseFill}))
			}
			last = append(last, jsonRow(indexRowKey(x.tag), row))
		}
	}
	for _, w := range last {
		if err := l.write(w); err != nil {
			return err
		}
	}
	if err := l.flush(); err != nil {
		return err
	}
	last = []storage.Write{{Key: restoringKey, Delete: true}}
	if !l.known.fresh {
		last = append(last, jsonRow(string(catalogKey), l.known.catalog))
	}
	return l.commit(last)
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
