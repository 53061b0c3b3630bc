package storagetest

import (
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// missed commits a group and returns the logs that its build was handed.
func missed(t *testing.T, s storage.Store, pairs ...string) (got string, ts storage.Timestamp) {
	t.Helper()
	calls := 0
	ts, err := s.Commit(t.Context(), newID(), func(entries []storage.LogEntry) (storage.Group, error) {
		calls++
		var logs []string
		for i, e := range entries {
			if i > 0 && e.Timestamp <= entries[i-1].Timestamp {
				t.Errorf("missed entries out of order: %d after %d", e.Timestamp, entries[i-1].Timestamp)
			}
			logs = append(logs, string(e.Log))
		}
		got = strings.Join(logs, ",")
		g, err := group(pairs...)(nil)
		g.Cancel = len(pairs) == 0
		return g, err
	})
	if err != nil || calls != 1 {
		t.Fatalf("commit %v: %v, build called %d times", pairs, err, calls)
	}
	return got, ts
}

func openSecond(t *testing.T, h Harness) storage.Store {
	t.Helper()
	s, err := h.OpenSecond()
	if err != nil {
		t.Fatalf("open a second handle: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func testHandles(t *testing.T, h Harness) {
	a := open(t, h)
	if got, _ := missed(t, a, "a=1"); got != "" {
		t.Fatalf("the first commit missed %q", got)
	}
	if got, _ := missed(t, a, "a=2"); got != "" {
		t.Fatalf("an only handle missed %q", got)
	}
	if h.OpenSecond == nil {
		return
	}
	b := openSecond(t, h)
	for _, step := range []struct {
		s     storage.Store
		pairs []string
		want  string
	}{
		{b, []string{"b=1"}, ""}, // what was committed before it was opened is not missed
		{b, []string{"b=2"}, ""},
		{a, []string{"a=3"}, "b=1,b=2"},
		{a, []string{"a=4"}, ""},
		{b, nil, "a=3,a=4"}, // handed to a build that commits nothing: handed all the same
		{b, []string{"b=3"}, ""},
		{a, []string{"a=5"}, "b=3"},
	} {
		if got, _ := missed(t, step.s, step.pairs...); got != step.want {
			t.Fatalf("commit %v missed %q, want %q", step.pairs, got, step.want)
		}
	}
	if head(t, a) != head(t, b) {
		t.Fatalf("heads %d and %d differ", head(t, a), head(t, b))
	}
	wantContents(t, a, head(t, b), "a=5 b=3")
	h.Clock.Step(-time.Hour)
	last := head(t, a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if ts := commit(t, b, "b=4"); ts <= last {
		t.Fatalf("commit at %d by another handle, head was %d", ts, last)
	}
	a = openSecond(t, h)
	if got, _ := missed(t, a, "a=6"); got != "" {
		t.Fatalf("a handle that was opened again missed %q", got)
	}
	wantContents(t, b, head(t, b), "a=6 b=4")
}

func testHandlesLeftBehind(t *testing.T, h Harness) {
	if h.OpenSecond == nil {
		return
	}
	a := open(t, h)
	b := openSecond(t, h)
	commit(t, b, "b=1")
	commit(t, a, "a=1")
	compact(t, a, head(t, a))
	// b committed last before a's group: it has missed what Compact has dropped, and must not commit on.
	_, err := b.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) {
		t.Error("build was called with a gap in what it missed")
		return storage.Group{}, nil
	})
	wantErr(t, "commit of a handle that was left behind", err, storage.ErrTooOld)
	if got, _ := missed(t, a, "a=2"); got != "" {
		t.Fatalf("the handle that compacted missed %q", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openSecond(t, h)
	commit(t, b, "b=2")
	wantContents(t, a, head(t, a), "a=2 b=2")
}
