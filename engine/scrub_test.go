package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// damaged is a store that finds fault with itself.
type damaged struct {
	storage.Store
	verify func(ctx context.Context) error
}

func (d damaged) Verify(ctx context.Context) error { return d.verify(ctx) }

// errorLines collects what is logged at level ERROR.
type errorLines struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (*errorLines) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (e *errorLines) WithAttrs([]slog.Attr) slog.Handler         { return e }
func (e *errorLines) WithGroup(string) slog.Handler              { return e }

func (e *errorLines) Handle(_ context.Context, r slog.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	e.lines = append(e.lines, line)
	return nil
}

// take returns the lines since the last call.
func (e *errorLines) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := e.lines
	e.lines = nil
	return lines
}

// openDamaged opens a database over a store whose Verify is given. It is not checked at the end.
func openDamaged(t *testing.T, interval time.Duration, verify func(context.Context) error) (*engine.DB, *errorLines) {
	t.Helper()
	log := &errorLines{}
	db, err := engine.Open(newBank().schema, engine.Options{
		Store:         damaged{memstore.New(memstore.Options{}), verify},
		ScrubInterval: interval,
		Logger:        slog.New(log),
	})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db, log
}

func fault(where string) error {
	return fmt.Errorf("%s: %w: %w", where, storage.ErrCorrupt, errors.New("checksum"))
}

func TestCheckAsksTheStore(t *testing.T) {
	t.Parallel()
	db, _ := openDamaged(t, -1, func(ctx context.Context) error {
		if rate := storage.NewRate(ctx).PerSecond(); rate != 0 {
			t.Errorf("somebody waits for a check at %d bytes a second", rate)
		}
		return errors.Join(fault("here"), errors.Join(fault("there")))
	})
	err := db.Check(context.Background())
	if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "here: ") || !strings.Contains(err.Error(), "there: ") {
		t.Errorf("got %v, want both faults", err)
	}
}

// The store is read in the background, an hour after Open and then once a day, and each fault is told of once a time.
func TestScrub(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		_, log := openDamaged(t, 0, func(ctx context.Context) error {
			if rate := storage.NewRate(ctx).PerSecond(); rate != 16<<20 {
				t.Errorf("the store is read at %d bytes a second, want 16 MiB", rate)
			}
			if runs.Add(1) == 2 {
				return nil
			}
			return errors.Join(fault("here"), fault("there"))
		})
		pass := func(d time.Duration) []string {
			time.Sleep(d)
			synctest.Wait()
			return log.take()
		}
		if lines := pass(time.Hour - time.Second); runs.Load() != 0 || len(lines) != 0 {
			t.Errorf("within the first hour: %d runs, %q", runs.Load(), lines)
		}
		lines := pass(2 * time.Second)
		if runs.Load() != 1 || len(lines) != 2 || !strings.Contains(lines[0], "here") || !strings.Contains(lines[1], "there") {
			t.Errorf("after an hour: %d runs, %q, want a line a fault", runs.Load(), lines)
		}
		if lines := pass(23 * time.Hour); runs.Load() != 1 || len(lines) != 0 {
			t.Errorf("within the first day: %d runs, %q", runs.Load(), lines)
		}
		if lines := pass(time.Hour); runs.Load() != 2 || len(lines) != 0 {
			t.Errorf("of a sound store after a day: %d runs, %q", runs.Load(), lines)
		}
		if lines := pass(24 * time.Hour); runs.Load() != 3 || len(lines) != 2 {
			t.Errorf("after another: %d runs, %q", runs.Load(), lines)
		}
	})
}

func TestScrubInterval(t *testing.T) {
	t.Parallel()
	for interval, want := range map[time.Duration]int64{-1: 0, 10 * time.Minute: 6, 48 * time.Hour: 1} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var runs atomic.Int64
				openDamaged(t, interval, func(context.Context) error { runs.Add(1); return nil })
				time.Sleep(time.Hour + time.Second)
				synctest.Wait()
				if runs.Load() != want {
					t.Errorf("%d runs in an hour, want %d", runs.Load(), want)
				}
			})
		})
	}
}

// Close does not wait for a store to be read to its end, and its being closed is no fault.
func TestCloseEndsScrub(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var began, ended atomic.Bool
		db, log := openDamaged(t, time.Minute, func(ctx context.Context) error {
			began.Store(true)
			<-ctx.Done()
			ended.Store(true)
			return ctx.Err()
		})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !began.Load() || ended.Load() {
			t.Fatalf("before Close: began %v, ended %v", began.Load(), ended.Load())
		}
		must(t, db.Close())
		if lines := log.take(); !ended.Load() || len(lines) != 0 {
			t.Errorf("after Close: ended %v, logged %q", ended.Load(), lines)
		}
	})
}

func TestEmbeddedOptions(t *testing.T) {
	t.Parallel()
	o := engine.EmbeddedOptions(engine.Options{Dir: "there", MinFreeBytes: 123})
	if o.Dir != "there" || o.MinFree != 123 || o.Relaxed {
		t.Errorf("got %+v", o)
	}
	if o := engine.EmbeddedOptions(engine.Options{Durability: engine.Relaxed}); !o.Relaxed || o.MinFree != 0 {
		t.Errorf("got %+v", o)
	}
}

// A mark that the disk is below refuses mutations and nothing else; without one they go through.
func TestMinFreeBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBank()
	over := func(least int64, f func(db *engine.DB)) error {
		db, err := engine.Open(b.schema, engine.Options{Dir: dir, MinFreeBytes: least})
		if err != nil {
			return err
		}
		defer func() { must(t, db.Close()) }()
		f(db)
		return nil
	}
	must(t, over(-1, func(db *engine.DB) { b.open(t, db, "ann", 1) }))
	if err := over(1<<62, func(*engine.DB) {}); !errors.Is(err, storage.ErrFull) {
		t.Errorf("a disk without any space: %v, want ErrFull", err)
	}
	must(t, over(1, func(db *engine.DB) {
		b.open(t, db, "bob", 1)
		must(t, db.Check(context.Background()))
	}))
}
