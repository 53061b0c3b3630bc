package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Badger drops old versions and deleted rows when it merges the tables that they are in, and merges tables by their size alone.
// Steady writing keeps that going. But what a few small deletions have made garbage stays, until much else is written; so the
// store looks from time to time how much of its tables could go, and has Badger merge them when that is much.
const (
	// leastGarbage is what is not worth it, garbageShare which part of the tables it must be besides: with 45 %, tables are at
	// most 1.8 times what they must keep.
	leastGarbage = 32 << 20
	garbageShare = 0.45

	// A look is due when so much was written since the last, or the time has come and anything was.
	lookBytes    = 4 * memTableSize
	lookInterval = 30 * time.Second

	// A look is at so many tables at the most, and so many rows of each.
	lookTables = 1024
	lookRows   = 200

	// Merging gives up when so many more memory tables were written out meanwhile: it then only stands in the way of Badger's
	// own, which goes on with many writers.
	mostFlushes = 8
)

// garbage is an estimate: the size of all tables, and how much of it could go. stale are the first keys of tables on lower levels
// that have much of it.
type garbage struct {
	tables, dead int64
	stale        [][]byte
}

func (g garbage) much() bool {
	return g.dead >= leastGarbage && float64(g.dead) >= garbageShare*float64(g.tables)
}

// reclaimInBackground begins a look, and what follows from it, unless one is under way or none is due. Close ends it.
func (s *Store) reclaimInBackground() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Clock()
	written := s.written.Load()
	since := now.Sub(s.looked)
	due := written-s.lookedAt >= lookBytes || written != s.lookedAt && !s.inVain && (since >= lookInterval || since < 0)
	if s.reclaiming || !due || s.life.Err() != nil {
		return
	}
	s.reclaiming, s.looked, s.lookedAt = true, now, written
	s.background.Go(func() {
		err := s.reclaim(s.life)
		if err != nil && s.life.Err() == nil && !errors.Is(err, storage.ErrPoisoned) {
			s.log.Warn("badgerstore: space was not given back", "dir", s.opts.Dir, "error", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reclaiming = false
	})
}

// reclaim looks for garbage, and has tables merged where there is much.
func (s *Store) reclaim(ctx context.Context) error {
	before, err := s.look(ctx)
	if err != nil || !before.much() {
		return err
	}
	// A merge writes what it merges before it removes it.
	if err := s.opts.checkSpace(s.opts.MinFree + before.tables); err != nil {
		return err
	}
	if err := s.flatten(ctx); err != nil {
		return err
	}
	after, err := s.look(ctx)
	if err != nil {
		return err
	}
	if after.much() {
		// Either what makes it garbage is still in memory, where deletions take little room; or rows and their deletions came
		// to the lowest level while readers could still tell them apart, and nothing was written between them since.
		if err := s.poke(ctx, after.stale); err != nil {
			return err
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
		if err := s.flatten(ctx); err != nil {
			return err
		}
		if after, err = s.look(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.inVain = after.much() // then it is tried again when much more was written
	s.mu.Unlock()
	s.log.Info("badgerstore: gave space back", "dir", s.opts.Dir, "before", before.tables, "after", after.tables)
	return nil
}

// look estimates how much of the tables could go, from the first rows of each, or of some where there are many. It takes some
// ten milliseconds for a hundred tables.
func (s *Store) look(ctx context.Context) (g garbage, err error) {
	tables, err := s.tables()
	if err != nil {
		return g, err
	}
	rand.Shuffle(len(tables), func(i, j int) { tables[i], tables[j] = tables[j], tables[i] }) // an estimate need not be the same twice
	c, err := s.openIterator(math.MaxUint64, span{}, badger.IteratorOptions{AllVersions: true})
	if err != nil {
		return g, err
	}
	defer c.close()
	s.mu.Lock()
	floor := s.floors.Versions
	s.mu.Unlock()
	var looked, dead float64
	for i, t := range tables {
		g.tables += int64(t.OnDiskSize)
		if i >= lookTables {
			continue
		}
		share := 0.0
		err := s.usable(ctx)
		from := t.Left[:max(0, len(t.Left)-stampSize)] // behind the key is its version
		if err == nil {
			err = s.gate.do(func() error {
				share = sample(c.it, from, uint64(floor))
				return nil
			})
		}
		if err != nil {
			return g, err
		}
		looked += float64(t.OnDiskSize)
		dead += share * float64(t.OnDiskSize)
		if t.Level > 0 && share >= garbageShare {
			g.stale = append(g.stale, from)
		}
	}
	if looked > 0 {
		g.dead = int64(float64(g.tables) * dead / looked)
	}
	return g, nil
}

// sample returns how much of some rows from a key on is of no use to readers at the floor or above: versions below the newest
// that they can see, and deletions.
func sample(it *badger.Iterator, from []byte, floor uint64) float64 {
	var all, dead int64
	var key []byte
	settled := false
	it.Seek(from)
	for range lookRows {
		if !it.Valid() {
			break
		}
		item := it.Item()
		if string(item.Key()) != string(key) {
			key, settled = item.KeyCopy(key), false
		}
		size := item.EstimatedSize()
		all += size
		if settled || item.Version() <= floor && item.IsDeletedOrExpired() {
			dead += size
		}
		settled = settled || item.Version() <= floor
		it.Next()
	}
	if all == 0 {
		return 0
	}
	return float64(dead) / float64(all)
}

// poke writes a deletion of what is not there into the range of each of some tables, so that merging comes by them. It stands
// under the timestamp of the floor, at which there is nothing to be seen of that key, and hides nothing that was written later.
func (s *Store) poke(ctx context.Context, keys [][]byte) error {
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer s.giveTurn()
	s.mu.Lock()
	ts := s.floors.Versions
	s.mu.Unlock()
	b := newBatch(s, len(keys)*rowSize(64, 0))
	for _, key := range keys {
		beside := append(slices.Clone(key), 0)
		_, there, err := s.get(ts, beside[0], beside[1:])
		if err != nil || there || len(beside) > storage.MaxKey {
			continue
		}
		if err := b.delete(beside[0], beside[1:]); err != nil {
			return err
		}
	}
	return b.commit(ts)
}

// flatten has Badger merge all tables above the bottom into it, beside readers and writers. Badger cannot be told to stop, but
// says what it does before each step, on the same goroutine: that is where it is stopped, by a panic.
func (s *Store) flatten(ctx context.Context) (err error) {
	if err := s.usable(ctx); err != nil {
		return err
	}
	flushes := 0
	s.merging.step = func(what string) {
		if s.onMerge != nil {
			s.onMerge()
		}
		if strings.Contains(what, "level:0 ") {
			flushes++
		}
		if flushes > mostFlushes || s.usable(ctx) != nil {
			panic(errStopped)
		}
	}
	defer func() {
		s.merging.step = nil
		switch p := recover(); {
		case p == nil:
		case p == errStopped: //nolint:errorlint // it is that very value
			err = s.usable(ctx)
		default:
			err = fmt.Errorf("badgerstore: badger panicked: %v", p)
		}
	}()
	return s.db.Flatten(1)
}

var errStopped = errors.New("badgerstore: merging was stopped")

// merging is told by Badger's logger what Flatten does next. It is used by the goroutine that reclaims alone.
type merging struct{ step func(what string) }

// before is called with Badger's messages.
func (m *merging) before(format string, args []any) {
	if m != nil && strings.HasPrefix(format, "Attempting to compact") && m.step != nil {
		m.step(fmt.Sprint(args...))
	}
}

// flush has Badger write its memory out to a table; more than once where all tables are on the uppermost level, and fewer than
// Badger begins to merge at.
func (s *Store) flush(ctx context.Context) error {
	for {
		if err := s.flushMemory(ctx); err != nil {
			return err
		}
		tables, err := s.tables()
		if err != nil {
			return err
		}
		if len(tables) > levelZeroTables || slices.ContainsFunc(tables, func(t badger.TableInfo) bool { return t.Level > 0 }) {
			return nil
		}
	}
}

// flushMemory does it once. There is no call for that but to fill memory up: with one row, again and again under the timestamp of
// the floor, where each takes the place of the one before.
func (s *Store) flushMemory(ctx context.Context) error {
	if err := s.opts.checkSpace(s.opts.MinFree/2 + 2*memTableSize); err != nil {
		return err
	}
	// By this row it is known when memory as it is now has been written out.
	newest, err := s.rewriteClock(ctx)
	if err != nil {
		return err
	}
	padding := make([]byte, valueThreshold-256)
	for size := 0; size <= memTableSize; size += len(padding) {
		if err := s.pad(ctx, padding); err != nil {
			return err
		}
	}
	if err := s.pad(ctx, nil); err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		tables, err := s.tables()
		if err == nil {
			err = s.usable(ctx)
		}
		if err != nil || slices.ContainsFunc(tables, func(t badger.TableInfo) bool { return t.MaxVersion >= uint64(newest) }) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rewriteClock writes the clock row as it stands, and returns the timestamp under which it has.
func (s *Store) rewriteClock(ctx context.Context) (storage.Timestamp, error) {
	if err := s.takeTurn(ctx); err != nil {
		return 0, err
	}
	defer s.giveTurn()
	s.mu.Lock()
	head, newest := s.head, s.newest
	s.mu.Unlock()
	ts := s.nextTimestamp()
	return ts, s.writeMeta(clockKey, ts, head, newest)
}

// pad writes the row that fills memory, or removes it when there is nothing to put into it.
func (s *Store) pad(ctx context.Context, padding []byte) error {
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer s.giveTurn()
	s.mu.Lock()
	ts := s.floors.Versions // does not move while the turn is held; Badger takes nothing below it
	s.mu.Unlock()
	b := newBatch(s, rowSize(0, len(padding)))
	var err error
	if padding == nil {
		err = b.delete(spacePad, nil)
	} else {
		err = b.put(spacePad, nil, ts, padding)
	}
	if err != nil {
		return err
	}
	return b.commit(ts)
}
