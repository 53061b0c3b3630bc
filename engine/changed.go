package engine

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/mimosadb/mimosa/engine/storage"
)

// A unit is what a backup holds or replaces as a whole: a document, or all that is kept of a session, since rows of records
// stand under other keys than those that the log names; and the meta rows together.

// unitOf returns the unit that a key belongs to; none for an index entry.
func unitOf(key []byte) string {
	if len(key) == 0 {
		return ""
	}
	switch key[0] {
	case spaceIndex:
		return ""
	case spaceMeta:
		return string(key[:1])
	case spaceSession:
		if end := bytes.IndexByte(key, 0); end >= 0 {
			return string(key[:end+1])
		}
	}
	return string(key)
}

// compareUnits is the order in which a backup has them.
func compareUnits(a, b string) int {
	const meta = string(rune(spaceMeta))
	switch {
	case a == b:
		return 0
	case a == meta:
		return -1
	case b == meta:
		return 1
	}
	return cmp.Compare(a, b)
}

// maxChangedUnits bounds what changedUnits keeps in memory, to some 50 MiB.
const maxChangedUnits = 1 << 18

// changedUnits yields the units, meta rows aside, that groups after since and up to at have touched, ascending, each once. It
// keeps a bounded number in memory: where there are more, the log is read again for those above.
func (db *DB) changedUnits(ctx context.Context, since, at Timestamp) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for after := ""; ; {
			l := lowest{above: after, most: db.backups.most}
			for e, err := range db.store.Tail(ctx, since) {
				if err == nil && e.Timestamp > at {
					break
				}
				if err == nil {
					err = l.entry(e)
				}
				if err != nil {
					yield("", err)
					return
				}
			}
			l.trim()
			for _, u := range l.units {
				if !yield(u, nil) {
					return
				}
			}
			if !l.full {
				return
			}
			after = l.units[len(l.units)-1]
		}
	}
}

// lowest gathers the lowest distinct units above a bound.
type lowest struct {
	above string
	most  int
	units []string
	full  bool // there are more than most
	below string
}

func (l *lowest) entry(e storage.LogEntry) error {
	touched, err := decodeLog(e.Log)
	if err != nil {
		return err
	}
	for _, k := range touched {
		if u := unitOf([]byte(k)); u != "" && k[0] != spaceMeta {
			l.add(u)
		}
	}
	return nil
}

func (l *lowest) add(u string) {
	if u <= l.above || l.full && u >= l.below {
		return
	}
	if l.units = append(l.units, u); len(l.units) >= 2*l.most {
		l.trim()
	}
}

func (l *lowest) trim() {
	slices.Sort(l.units)
	l.units = slices.Compact(l.units)
	if len(l.units) <= l.most {
		return
	}
	l.full, l.below = true, l.units[l.most]
	clear(l.units[l.most:])
	l.units = l.units[:l.most]
}
