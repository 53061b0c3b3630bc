package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ExportInfo says what was exported.
type ExportInfo struct {
	// At is the timestamp whose state it is.
	At Timestamp
	// Documents is how many lines there are.
	Documents int64
}

// Export writes the documents of a collection to w as JSON Lines, one document a line, in order of creation: the JSON that is
// stored, {"_id", "_creationTime", …fields}. With collection "" it writes those of all collections that the program has, one
// collection after the other by name, without those whose names begin with an underscore, which are the database's own. Ids tell
// the collections apart; see [Schema.CollectionOf].
//
// All of it is the state at one published timestamp, while reads and writes go on. The versions that it reads are kept until it
// is done. w is neither synced nor closed. Export ends with ctx, and with ErrClosed when the database is closed. Errors: code not_found for a collection that does not exist; what
// w fails with. [DB.Import] reads what it writes.
func (db *DB) Export(ctx context.Context, collection string, w io.Writer) (ExportInfo, error) {
	ctx, leave, err := db.enter(ctx)
	if err != nil {
		return ExportInfo{}, err
	}
	defer leave()
	exported, err := db.exported(collection)
	if err != nil {
		return ExportInfo{}, err
	}
	t, err := db.newTxn(ctx, nil, false)
	if err != nil {
		return ExportInfo{}, err
	}
	defer t.finish()
	out := bufio.NewWriterSize(w, 64<<10)
	info := ExportInfo{At: t.snap.Timestamp()}
	for _, c := range exported {
		lo, hi := documentRange(c.tag)
		for kv, err := range t.snap.Scan(lo, hi, false, 0) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err == nil {
				_, err = out.Write(kv.Value) // which is not ours to append to
			}
			if err == nil {
				err = out.WriteByte('\n')
			}
			if err != nil {
				return info, fmt.Errorf("engine: export of %s: %w", c.name, err)
			}
			info.Documents++
		}
	}
	if err := out.Flush(); err != nil {
		return info, fmt.Errorf("engine: export: %w", err)
	}
	return info, nil
}

// exported returns the collections that a name stands for.
func (db *DB) exported(name string) ([]*collection, error) {
	if name != "" {
		c, err := db.schema.find(name)
		return []*collection{c}, err
	}
	var out []*collection
	for _, c := range db.schema.collections {
		if !strings.HasPrefix(c.name, "_") {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *collection) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

func (s *Schema) find(name string) (*collection, error) {
	c := s.byName[name]
	if c == nil || c.typ == nil {
		return nil, Errorf(CodeNotFound, "no collection %q", name)
	}
	return c, nil
}

// CollectionOf returns the name of the collection that an id, in its text form, belongs to; ok is false when it is malformed, or
// of no collection that the schema has.
func (s *Schema) CollectionOf(id string) (name string, ok bool) {
	c := s.collectionOf(id)
	if c == nil {
		return "", false
	}
	return c.name, true
}

func (s *Schema) collectionOf(id string) *collection {
	raw, ok := decodeID(id)
	if !ok {
		return nil
	}
	for _, c := range s.collections {
		if c.tag == [tagBytes]byte(raw[:tagBytes]) {
			return c
		}
	}
	return nil
}
