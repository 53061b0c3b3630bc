package storagetest

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

func testBudget(t *testing.T, h Harness) {
	s := open(t, h)
	b, ok := s.(storage.Budget)
	if !ok {
		t.Log("the store names no budget")
		return
	}
	writes, bytes := b.Budget()
	if writes < 1000 || bytes < storage.MaxValue+storage.MaxKey {
		t.Fatalf("a budget of %d writes and %d bytes does not hold one write of the largest sizes", writes, bytes)
	}
	put := func(g storage.Group) error {
		_, err := s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) { return g, nil })
		return err
	}
	count := func() (n int) {
		for _, err := range at(t, s, head(t, s)).Scan(nil, nil, false, 0) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	size := min(bytes, 64<<20) // a store without a real bound must not eat the memory of the machine
	few := int(size/storage.MaxValue) + 1
	for _, c := range []struct {
		name string
		g    storage.Group
	}{
		{"few large writes", many(few, size, 0)},
		{"as many writes as bytes allow", many(min(writes, int(size/8)), size, 0)},
		{"all log", many(1, size, int(size)-100)},
		{"log and writes", many(min(writes, 1<<16), size, int(size)/2)},
	} {
		if len(c.g.Writes) > writes {
			continue
		}
		if err := put(c.g); err != nil {
			t.Fatalf("%s, within the budget: %v", c.name, err)
		}
		entries, err := tail(t, s, head(t, s)-1)
		if err != nil || len(entries) != 1 || len(entries[0].Log) != len(c.g.Log) {
			t.Fatalf("%s: the log gives back %d entries, %v", c.name, len(entries), err)
		}
	}
	s = reopen(t, h, s)
	before, n := head(t, s), count()
	if l, ok := s.(storage.LargeBudget); ok {
		if writes, bytes = l.LargeBudget(); writes < 2 {
			t.Fatalf("%d writes, and in one step more", writes)
		}
		few = int(bytes/storage.MaxValue) + 1
	}
	if bytes <= 64<<20 {
		wantErr(t, "four times the bytes", put(many(few*4, bytes*4, 0)), storage.ErrTooLarge)
		wantErr(t, "four times the bytes in the log", put(many(1, bytes*4, int(bytes*4)-100)), storage.ErrTooLarge)
	}
	if writes <= 1<<20 {
		wantErr(t, "four times the writes", put(many(writes*4, int64(writes)*4*8, 0)), storage.ErrTooLarge)
	}
	if head(t, s) != before || count() != n {
		t.Fatal("a group that was refused left something behind")
	}
	commit(t, s, "k=v")
}

// many builds a group of n writes with keys of 8 bytes, and values that bring it to size bytes, log included.
func many(n int, size int64, log int) storage.Group {
	g := storage.Group{Writes: make([]storage.Write, n), Log: make([]byte, log)}
	left := size - int64(8*n) - int64(log)
	zeros := make([]byte, left/int64(n)+1)
	for i := range g.Writes {
		value := left / int64(n-i)
		left -= value
		g.Writes[i] = storage.Write{Key: binary.BigEndian.AppendUint64(nil, uint64(i)), Value: zeros[:value]}
	}
	return g
}

// testLargeGroups commits groups beyond what the store writes in one step: they are whole, in the log and in what is read.
func testLargeGroups(t *testing.T, h Harness) {
	s := open(t, h)
	l, ok := s.(storage.LargeBudget)
	if !ok {
		t.Skip("the store names no larger budget")
	}
	writes, bytes := l.LargeBudget()
	bytes = min(bytes, 64<<20)
	if h.LargeBytes > 0 {
		writes = int(int64(writes) * h.LargeBytes / bytes)
		bytes = h.LargeBytes
	}
	before := commit(t, s, "a=1", "b=1", "c=1")
	pinned := at(t, s, before)
	for _, c := range []struct {
		name        string
		writes, log int
		size        int64
	}{
		{"as many writes as it takes", writes, 1000, int64(writes) * 20},
		{"large values", int(bytes / 1_000_000), 5 << 20, bytes},
		{"a large log", 2, int(bytes) - 1000, bytes},
	} {
		g := many(c.writes, c.size, c.log)
		for i := range g.Log {
			g.Log[i] = byte(i * 2654435761 >> 13)
		}
		g.Writes[c.writes-1] = storage.Write{Key: []byte("b"), Delete: true}
		g.Writes[c.writes/2].Key = []byte("a") // overwritten, in the middle
		if c.writes == 2 {
			g.Writes[0].Key = []byte("a")
			g.Writes[1].Key = []byte("b")
		}
		id := newID()
		ts, err := s.Commit(t.Context(), id, func([]storage.LogEntry) (storage.Group, error) { return g, nil })
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		check := func() {
			t.Helper()
			seen := 0
			for kv, err := range at(t, s, ts).Scan(nil, nil, false, 0) {
				if err != nil {
					t.Fatal(err)
				}
				if kv.Written == ts {
					seen++
				}
				if string(kv.Key) == "b" {
					t.Fatalf("%s: a key that was deleted is there", c.name)
				}
			}
			if seen != c.writes-1 {
				t.Fatalf("%s: %d pairs of the group are there, want %d", c.name, seen, c.writes-1)
			}
			entries, err := tail(t, s, ts-1)
			if err != nil || len(entries) != 1 || entries[0].ID != id || !slices.Equal(entries[0].Log, g.Log) {
				t.Fatalf("%s: the log gives back %d entries, %v", c.name, len(entries), err)
			}
			if at, err := s.Outcome(t.Context(), id); err != nil || at != ts {
				t.Fatalf("%s: outcome %d, %v, want %d", c.name, at, err, ts)
			}
		}
		check()
		if got := collect(t, pinned.Scan([]byte("a"), nil, false, 0)); got != "a=1 b=1 c=1" {
			t.Fatalf("%s: a snapshot from before it shows %q", c.name, got)
		}
		s = reopen(t, h, s)
		check()
		before = commit(t, s, "a=1", "b=1")
		pinned = at(t, s, before)
		entries, err := tail(t, s, ts-1)
		if err != nil || len(entries) != 2 || entries[1].Timestamp != before {
			t.Fatalf("%s: %d entries after it (%v), want 2", c.name, len(entries), err)
		}
	}
	g := many(10, 1000, 0)
	g.Writes[9].Key = g.Writes[3].Key
	g.Log = make([]byte, bytes/2)
	_, err := s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) { return g, nil })
	wantErr(t, "a large group with a key twice", err, storage.ErrDuplicateKey)
	if head(t, s) != before {
		t.Fatal("a group that was refused moved the head")
	}
}

func testGroups(t *testing.T, h Harness) {
	s := open(t, h)
	t1 := commit(t, s, "a=1", "b=1", "c=1")
	_, err := s.Commit(t.Context(), newID(), group("d=1", "a=2", "d=2"))
	wantErr(t, "a key twice in a group", err, storage.ErrDuplicateKey)
	if got := head(t, s); got != t1 {
		t.Fatalf("head %d after a refused group, want %d", got, t1)
	}
	t2, err := s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{}, nil // nothing to store is still a group, with a timestamp and a place in the log
	})
	if err != nil || t2 <= t1 || head(t, s) != t2 {
		t.Fatalf("an empty group: %d, %v", t2, err)
	}
	t3 := commit(t, s, "nowhere", "b") // deleting what is not there is no error
	wantContents(t, s, t2, "a=1 b=1 c=1")
	wantContents(t, s, t3, "a=1 c=1")
	wantTail(t, s, 0, t1, t2, t3)
	s = reopen(t, h, s)
	wantContents(t, s, head(t, s), "a=1 c=1")
	wantTail(t, s, 0, t1, t2, t3)
}

func testBuildFails(t *testing.T, h Harness) {
	s := open(t, h)
	before := commit(t, s, "a=1")
	sorry := errors.New("sorry")
	id := newID()
	_, err := s.Commit(t.Context(), id, func([]storage.LogEntry) (storage.Group, error) {
		g, _ := group("a=2", "b=2")(nil)
		return g, sorry
	})
	wantErr(t, "a build that fails", err, sorry)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic of build was swallowed")
			}
		}()
		_, _ = s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) { panic("oh") })
	}()
	if got := head(t, s); got != before {
		t.Fatalf("head %d after builds that failed, want %d", got, before)
	}
	_, err = s.Outcome(t.Context(), id)
	wantErr(t, "outcome of a group never committed", err, storage.ErrUnknownGroup)
	commit(t, s, "c=3")
	wantContents(t, s, head(t, s), "a=1 c=3")
}

func testCancel(t *testing.T, h Harness) {
	s := open(t, h)
	before := commit(t, s, "a=1")
	id := newID()
	ts, err := s.Commit(t.Context(), id, func([]storage.LogEntry) (storage.Group, error) {
		g, _ := group("a=2", "b=2")(nil)
		g.Cancel = true
		return g, nil
	})
	if err != nil || ts != before {
		t.Fatalf("a cancelled group: %d, %v, want the head %d", ts, err, before)
	}
	wantContents(t, s, head(t, s), "a=1")
	wantTail(t, s, before)
	_, err = s.Outcome(t.Context(), id)
	wantErr(t, "outcome of a cancelled group", err, storage.ErrUnknownGroup)
}

func testCommitContext(t *testing.T, h Harness) {
	s := open(t, h)
	before := head(t, s)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	called := false
	build := func([]storage.LogEntry) (storage.Group, error) {
		called = true
		return storage.Group{}, nil
	}
	_, err := s.Commit(gone, newID(), build)
	wantErr(t, "commit with a cancelled context", err, context.Canceled)

	// One commit holds the head; a second one waits for it, and stops waiting when its context ends.
	inner, cancel := context.WithCancel(t.Context())
	waiting := &watchedContext{Context: inner, watched: make(chan struct{})}
	_, err = s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) {
		second := make(chan error, 1)
		go func() {
			_, err := s.Commit(waiting, newID(), build)
			second <- err
		}()
		giveUp, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		select {
		case <-waiting.watched:
		case <-giveUp.Done():
			t.Error("a waiting commit does not watch its context")
		}
		cancel()
		select {
		case err := <-second:
			wantErr(t, "a waiting commit whose context ended", err, context.Canceled)
		case <-giveUp.Done():
			t.Error("a waiting commit did not heed its context")
		}
		return storage.Group{Cancel: true}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if called || head(t, s) != before {
		t.Fatalf("build called: %v, head moved: %v", called, head(t, s) != before)
	}
	_, err = s.Head(gone)
	wantErr(t, "head with a cancelled context", err, context.Canceled)
	for _, err := range s.Tail(gone, 0) {
		wantErr(t, "tail with a cancelled context", err, context.Canceled)
	}
}

// watchedContext tells when somebody begins to wait for its end.
type watchedContext struct {
	context.Context
	once    sync.Once
	watched chan struct{}
}

func (c *watchedContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.watched) })
	return c.Context.Done()
}

func testTimestamps(t *testing.T, h Harness) {
	s := open(t, h)
	h.Clock.Step(time.Minute)
	now := storage.Timestamp(h.Clock.Now().UnixNano())
	t1 := commit(t, s, "a=1")
	if t1 != now {
		t.Fatalf("a commit after a pause at %d, want the clock's %d", t1, now)
	}
	t2 := commit(t, s, "a=2") // the clock stands still
	if t2 <= t1 {
		t.Fatalf("commit at %d, then at %d", t1, t2)
	}
	h.Clock.Step(-time.Hour)
	t3 := commit(t, s, "a=3")
	if t3 <= t2 {
		t.Fatalf("the clock stepped back: commit at %d, then at %d", t2, t3)
	}
	last := t3
	for i := range 3 {
		h.Clock.Step(-time.Hour)
		s = reopen(t, h, s)
		// What was published stays published: even a head that no group has, since snapshots of it may have been handed out.
		if got := head(t, s); got <= last {
			t.Fatalf("reopening %d with a clock that stepped back: head %d, was %d", i, got, last)
		}
		last = head(t, s)
		wantContents(t, s, last, "a=3")
	}
	t4 := commit(t, s, "a=4")
	if t4 <= last {
		t.Fatalf("commit after reopening at %d, head was %d", t4, last)
	}
	wantContents(t, s, last, "a=3")
	wantContents(t, s, t4, "a=4")

	h.Clock.Step(365 * 24 * time.Hour)
	s = reopen(t, h, s)
	now = storage.Timestamp(h.Clock.Now().UnixNano())
	if got := head(t, s); got != now {
		t.Fatalf("head after reopening a year later %d, want the clock's %d", got, now)
	}
	h.Clock.Step(-100 * 365 * 24 * time.Hour) // before the epoch
	if ts := commit(t, s, "a=5"); ts <= now {
		t.Fatalf("the clock stepped before the epoch: commit at %d, head was %d", ts, now)
	}
}
