package badgerstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
	"github.com/mimosadb/mimosa/engine/storage/storagetest"
)

// TestStoreByParts runs the suite with every group written in parts of three writes.
func TestStoreByParts(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storagetest.Harness {
		clock := storagetest.NewClock()
		o := badgerstore.Options{Dir: t.TempDir(), Clock: clock.Now}
		return storagetest.Harness{
			Open: func() (storage.Store, error) {
				s, err := badgerstore.Open(o)
				if err == nil {
					badgerstore.ByParts(s, 3)
				}
				return s, err
			},
			Clock:      clock,
			LargeBytes: 8 << 20, // TestStore goes to the bounds
		}
	})
}

// A large group of the tests below: it deletes and overwrites what was there, and takes several parts.
const (
	largeRows  = 40_000
	largeLog   = 2 << 20
	largeParts = 3
	largeSteps = 2*largeParts + 2
)

func largeGroup(n int) storage.Group {
	g := storage.Group{Log: make([]byte, largeLog)}
	for i := range g.Log {
		g.Log[i] = byte(i * n >> 3)
	}
	g.Writes = append(g.Writes, storage.Write{Key: []byte("gone"), Delete: true})
	for i := range largeRows {
		g.Writes = append(g.Writes, storage.Write{Key: fmt.Appendf(nil, "large/%05d", i), Value: fmt.Appendf(nil, "value %d of %d", i, n)})
	}
	return g
}

func build(g storage.Group) func([]storage.LogEntry) (storage.Group, error) {
	return func([]storage.LogEntry) (storage.Group, error) { return g, nil }
}

// wantLarge checks that a large group is there as a whole, or not at all.
func wantLarge(t *testing.T, s *badgerstore.Store, n int, there bool) {
	t.Helper()
	ctx := t.Context()
	ts, err := s.Outcome(ctx, crashID(uint64(n)))
	if there != (err == nil) || !there && !errors.Is(err, storage.ErrUnknownGroup) {
		t.Fatalf("outcome of the large group: %d, %v, want it to be there: %v", ts, err, there)
	}
	snap := headSnapshot(t, s)
	if _, ok, err := snap.Get([]byte("gone")); err != nil || ok == there {
		t.Fatalf("what the large group deletes is there: %v (%v)", ok, err)
	}
	rows := 0
	for kv, err := range snap.Scan([]byte("large/"), []byte("large0"), false, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if kv.Written == ts && string(kv.Value) == fmt.Sprintf("value %d of %d", rows, n) {
			rows++
		}
	}
	want := 0
	if there {
		want = largeRows
	}
	if rows != want {
		t.Fatalf("%d rows of the large group are there, want %d", rows, want)
	}
	groups := 0
	for e, err := range s.Tail(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID == crashID(uint64(n)) {
			groups++
			if string(e.Log) != string(largeGroup(n).Log) || e.Timestamp != ts {
				t.Fatal("the log of the large group is another")
			}
		}
	}
	if groups != 0 != there {
		t.Fatalf("the large group is in the log %d times", groups)
	}
	if rows := badgerstore.RedoRows(t, s); rows != 0 {
		t.Fatalf("%d redo rows were left", rows)
	}
}

func mustVerify(t *testing.T, s *badgerstore.Store) {
	t.Helper()
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLargeGroupUnseen looks, at each step of a large group, at what others see: nothing of it until it is there as a whole.
func TestLargeGroupUnseen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var s *badgerstore.Store
	steps := map[string]int{}
	s = mustOpen(t, badgerstore.OnStep(badgerstore.Options{Dir: dir}, func(step string) {
		steps[step]++
		if step == "removed" {
			return
		}
		ctx := context.Background()
		head, err := s.Head(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		snap, err := s.At(ctx, head)
		if err != nil {
			t.Error(err)
			return
		}
		defer snap.Close()
		if kv, ok, err := snap.Get([]byte("gone")); err != nil || !ok {
			t.Errorf("%s: what is going to be deleted: %q, %v, %v", step, kv.Value, ok, err)
		}
		for kv := range snap.Scan([]byte("large/"), []byte("large0"), false, 1) {
			t.Errorf("%s: %q is to be seen", step, kv.Key)
		}
		for e, err := range s.Tail(ctx, 0) {
			if err != nil || e.ID != crashID(0) {
				t.Errorf("%s: group %x is in the log, %v", step, e.ID, err)
			}
		}
		if _, err := s.Outcome(ctx, crashID(1)); !errors.Is(err, storage.ErrUnknownGroup) {
			t.Errorf("%s: outcome %v, want ErrUnknownGroup", step, err)
		}
		if err := s.Verify(ctx); err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}))
	mustCommit(t, s, 0, "gone")
	if _, err := s.Commit(t.Context(), crashID(1), build(largeGroup(1))); err != nil {
		t.Fatal(err)
	}
	if steps["staged"] != largeParts || steps["applied"] != largeParts || steps["committed"] != 1 || steps["removed"] != 1 {
		t.Fatalf("steps: %v", steps)
	}
	wantLarge(t, s, 1, true)
	mustCommit(t, s, 2, "after")
	mustClose(t, s)
	s = mustOpen(t, badgerstore.Options{Dir: dir})
	wantLarge(t, s, 1, true)
	mustVerify(t, s)
}

// stepModes are what a process does that is killed at a step: commit a large group, or finish one that another process began.
const (
	commitMode = "commit-large"
	finishMode = "finish-large"
)

// runStepChild does so, and kills itself at a step.
func runStepChild(mode, dir string, at int) error {
	s, err := badgerstore.Open(badgerstore.OnStep(badgerstore.Options{Dir: dir}, func(string) {
		if at--; at == 0 {
			p, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = p.Kill()
			}
			fmt.Println("not killed:", err)
			select {}
		}
	}))
	if err != nil {
		return err
	}
	if mode == finishMode {
		return s.Close()
	}
	if _, err := s.Commit(context.Background(), crashID(1), build(largeGroup(1))); err != nil {
		return err
	}
	return s.Close()
}

// killAtStep runs it in a process of its own, and reports whether that came to its end.
func killAtStep(t *testing.T, mode, dir string, at int) (ended bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childModeEnv+"="+mode, childDirEnv+"="+dir, childStepEnv+"="+strconv.Itoa(at))
	out, err := cmd.CombinedOutput()
	if len(out) > 0 {
		t.Fatalf("%s: %s", mode, out)
	}
	return err == nil
}

// TestKillAtEachStep kills a process after each step of a large group, and another one after each step of finishing it. Until
// the one row that commits it, there is nothing of it; from then on it is there, as a whole.
func TestKillAtEachStep(t *testing.T) {
	t.Parallel()
	for at := 1; at <= largeSteps+1; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := mustOpen(t, badgerstore.Options{Dir: dir})
			before := mustCommit(t, s, 0, "gone", "stays")
			mustClose(t, s)
			if ended := killAtStep(t, commitMode, dir, at); ended != (at > largeSteps) {
				t.Fatalf("the process came to its end: %v", ended)
			}
			there := at > largeParts
			// Those who finish it are killed too, each one step later than the one before: Open applies all parts anew.
			for finish := 1; there && finish <= largeParts; finish++ {
				unfinished := at <= 2*largeParts+1
				if ended := killAtStep(t, finishMode, dir, finish); ended == unfinished {
					t.Fatalf("finishing up to step %d came to its end: %v", finish, ended)
				}
			}
			for range 2 {
				s = mustOpen(t, badgerstore.Options{Dir: dir}) // the first call works
				wantLarge(t, s, 1, there)
				mustVerify(t, s)
				if head, err := s.Head(t.Context()); err != nil || head <= before {
					t.Fatalf("head %d (%v), was %d", head, err, before)
				}
				mustClose(t, s)
			}
			s = mustOpen(t, badgerstore.Options{Dir: dir})
			ts := mustCommit(t, s, 2, "stays")
			if kv, ok, err := headSnapshot(t, s).Get([]byte("stays")); err != nil || !ok || kv.Written != ts {
				t.Fatalf("a commit after it: %v, %v, %v", kv, ok, err)
			}
			if _, err := s.Commit(t.Context(), crashID(3), build(largeGroup(3))); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			wantLarge(t, mustOpen(t, badgerstore.Options{Dir: dir}), 3, true)
		})
	}
}

// TestLargeGroupNeedsSpace refuses one that the disk may not have room for before anything is written, and goes on.
func TestLargeGroupNeedsSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	free := int64(1 << 40)
	o := badgerstore.WithSpace(badgerstore.Options{Dir: dir, MinFree: 100 << 20}, func() int64 { return free })
	s := mustOpen(t, o)
	before := mustCommit(t, s, 0, "gone")
	g := largeGroup(1)
	size := int64(len(g.Log))
	for _, w := range g.Writes {
		size += int64(len(w.Key) + len(w.Value))
	}
	free = o.MinFree + 3*size
	if _, err := s.Commit(t.Context(), crashID(1), build(g)); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("a large group without space: %v, want ErrFull", err)
	}
	wantLarge(t, s, 1, false)
	if head, err := s.Head(t.Context()); err != nil || head != before {
		t.Fatalf("head %d (%v), want %d", head, err, before)
	}
	mustCommit(t, s, 2, "small")
	free = o.MinFree + 4*size
	if _, err := s.Commit(t.Context(), crashID(1), build(g)); err != nil {
		t.Fatal(err)
	}
	wantLarge(t, s, 1, true)

	// One that a kill has interrupted needs space to be finished; Open says so as long as there is none.
	mustClose(t, s)
	interrupted := t.TempDir()
	o.Dir = dir
	s = mustOpen(t, badgerstore.OnStep(o, func(step string) {
		if step == "committed" {
			copyFolder(t, dir, interrupted)
		}
	}))
	if _, err := s.Commit(t.Context(), crashID(3), build(largeGroup(3))); err != nil {
		t.Fatal(err)
	}
	o.Dir = interrupted
	free = o.MinFree/4 + size
	for range 2 {
		refusedWith(t, o, storage.ErrFull)
	}
	free = o.MinFree/4 + 2*size
	wantLarge(t, mustOpen(t, o), 3, true)
}

// TestLargeGroupPoisons makes Badger fail in the middle of a large group, by a new write-ahead log that cannot be made.
func TestLargeGroupPoisons(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20 << 20, 10 << 20} { // fails while it is staged, and while it is applied
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			committed := false
			s := mustOpen(t, badgerstore.OnStep(badgerstore.Options{Dir: dir}, func(step string) { committed = committed || step == "committed" }))
			mustCommit(t, s, 0, "gone")
			obstacle := filepath.Join(dir, "00002.mem")
			if err := os.Mkdir(obstacle, 0o700); err != nil {
				t.Fatal(err)
			}
			g := largeGroup(1)
			for i := range size >> 20 {
				g.Writes = append(g.Writes, storage.Write{Key: fmt.Appendf(nil, "x%d", i), Value: make([]byte, 1<<20-100)})
			}
			_, err := s.Commit(t.Context(), crashID(1), build(g))
			if !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatalf("commit: %v, want ErrOutcomeUnknown", err)
			}
			if _, err := s.Head(t.Context()); !errors.Is(err, storage.ErrPoisoned) {
				t.Fatalf("head: %v, want ErrPoisoned", err)
			}
			if committed != (size == 10<<20) {
				t.Fatalf("the group was committed: %v", committed)
			}
			if err := s.Close(); err != nil {
				t.Logf("close of a poisoned store: %v", err)
			}
			if err := os.Remove(obstacle); err != nil {
				t.Fatal(err)
			}
			wantLarge(t, mustOpen(t, badgerstore.Options{Dir: dir}), 1, committed)
		})
	}
}

// TestLargeGroupLosesPart takes a part of a large group away, as a damaged write-ahead log may: the log has a piece in each.
func TestLargeGroupLosesPart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	mustCommit(t, s, 0, "gone")
	ts, err := s.Commit(t.Context(), crashID(1), build(largeGroup(1)))
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, 2, "after")
	mustClose(t, s)
	key := append(binary.BigEndian.AppendUint64([]byte("l"), uint64(ts)), 1)
	withBadger(t, dir, func(db *badger.DB) error {
		txn := db.NewTransactionAt(1<<63, true)
		if _, err := txn.Get(key); err != nil {
			return err
		}
		return errors.Join(txn.Delete(key), txn.CommitAt(uint64(ts), nil))
	})
	refused(t, dir, storage.ErrCorrupt)
}

// TestDamagedRedo loses a redo row of a group that is committed, which is an error, and of one that never was, which is none.
func TestDamagedRedo(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"staged", "committed"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			live, dir := t.TempDir(), t.TempDir()
			once := false
			s := mustOpen(t, badgerstore.OnStep(badgerstore.Options{Dir: live}, func(at string) {
				if at == step && !once {
					once = true
					copyFolder(t, live, dir)
				}
			}))
			mustCommit(t, s, 0, "gone")
			ts, err := s.Commit(t.Context(), crashID(1), build(largeGroup(1)))
			if err != nil {
				t.Fatal(err)
			}
			key := append(binary.BigEndian.AppendUint64([]byte("r"), uint64(ts)), 0, 0)
			withBadger(t, dir, func(db *badger.DB) error {
				txn := db.NewTransactionAt(1<<63, true)
				if _, err := txn.Get(key); err != nil {
					return err
				}
				return errors.Join(txn.Set(key, []byte("nothing of the kind")), txn.CommitAt(uint64(ts), nil))
			})
			if step == "committed" {
				refused(t, dir, storage.ErrCorrupt)
				return
			}
			wantLarge(t, mustOpen(t, badgerstore.Options{Dir: dir}), 1, false)
		})
	}
}

// withBadger opens a closed database with Badger alone.
func withBadger(t *testing.T, dir string, f func(db *badger.DB) error) {
	t.Helper()
	db, err := badger.OpenManaged(badger.DefaultOptions(dir).WithLogger(nil).WithCompression(options.None).WithValueThreshold(1 << 20))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestFormatRedo pins what a large group leaves when a kill interrupts it right after it was committed.
func TestFormatRedo(t *testing.T) {
	t.Parallel()
	live, dir := t.TempDir(), t.TempDir()
	o := badgerstore.Options{Dir: live, Clock: func() time.Time { return time.Unix(0, 1000) }}
	s := mustOpen(t, badgerstore.OnStep(o, func(step string) {
		if step == "committed" {
			copyFolder(t, live, dir)
		}
	}))
	badgerstore.ByParts(s, 2)
	g := storage.Group{Log: []byte("the log"), Writes: []storage.Write{
		{Key: []byte("a"), Value: []byte("one")}, {Key: []byte("b"), Delete: true}, {Key: []byte("c")},
	}}
	if _, err := s.Commit(t.Context(), crashID(0), build(g)); err != nil {
		t.Fatal(err)
	}
	wantDump(t, dir, "redo2.txt")
}
