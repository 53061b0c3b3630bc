package storagetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

func testTail(t *testing.T, h Harness) {
	s := open(t, h)
	var stamps []storage.Timestamp
	var ids []storage.GroupID
	for i := range 20 {
		h.Clock.Step(time.Millisecond)
		id := newID()
		ts, err := s.Commit(t.Context(), id, func([]storage.LogEntry) (storage.Group, error) {
			return storage.Group{Log: []byte(fmt.Sprint("entry ", i))}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		stamps, ids = append(stamps, ts), append(ids, id)
		if i == 9 {
			s = reopen(t, h, s)
		}
	}
	check := func() {
		t.Helper()
		wantTail(t, s, 0, stamps...)
		wantTail(t, s, stamps[0]-1, stamps...)
		for i, after := range stamps {
			wantTail(t, s, after, stamps[i+1:]...)
			wantTail(t, s, after+1, stamps[i+1:]...) // between two groups
		}
		wantTail(t, s, head(t, s))
		wantTail(t, s, head(t, s)+1_000_000)
		entries, err := tail(t, s, stamps[4])
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if want := fmt.Sprint("entry ", i+5); string(e.Log) != want || e.ID != ids[i+5] {
				t.Fatalf("entry %d: %q of group %x, want %q of %x", i+5, e.Log, e.ID, want, ids[i+5])
			}
		}
	}
	check()
	for e, err := range s.Tail(t.Context(), 0) { // left before its end
		if err != nil || e.Timestamp != stamps[0] {
			t.Fatalf("first entry at %d, %v", e.Timestamp, err)
		}
		break
	}
	s = reopen(t, h, s)
	check()
}

func testTailHead(t *testing.T, h Harness) {
	s := open(t, h)
	t1, t2 := commit(t, s, "a=1"), commit(t, s, "a=2")
	var got []storage.Timestamp
	var t3 storage.Timestamp
	seq := s.Tail(t.Context(), 0)
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Timestamp)
		if t3 == 0 {
			t3 = commit(t, s, "a=3")
			// Nothing that this iteration has yet to yield may go away under it.
			if err := s.Compact(t.Context(), storage.Floors{Versions: t3, Log: t3}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint([]storage.Timestamp{t1, t2}) {
		t.Fatalf("tail: %v, want the groups %d and %d of its start", got, t1, t2)
	}
	wantTail(t, s, t3)
}

func testOutcome(t *testing.T, h Harness) {
	s := open(t, h)
	var ids []storage.GroupID
	var stamps []storage.Timestamp
	for range 10 {
		id := newID()
		ts, err := s.Commit(t.Context(), id, group("a=1"))
		if err != nil {
			t.Fatal(err)
		}
		ids, stamps = append(ids, id), append(stamps, ts)
	}
	check := func() {
		t.Helper()
		for i, id := range ids {
			if ts, err := s.Outcome(t.Context(), id); err != nil || ts != stamps[i] {
				t.Fatalf("outcome of group %d: %d, %v, want %d", i, ts, err, stamps[i])
			}
		}
		_, err := s.Outcome(t.Context(), newID())
		wantErr(t, "outcome of a group never committed", err, storage.ErrUnknownGroup)
		_, err = s.Outcome(t.Context(), storage.GroupID{})
		wantErr(t, "outcome of the zero group", err, storage.ErrUnknownGroup)
	}
	check()
	s = reopen(t, h, s)
	check()
	if err := s.Compact(t.Context(), storage.Floors{Versions: stamps[4], Log: stamps[4]}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i, id := range ids {
			ts, err := s.Outcome(t.Context(), id)
			if i <= 4 {
				wantErr(t, fmt.Sprintf("outcome of group %d at or below the floor", i), err, storage.ErrUnknownGroup)
			} else if err != nil || ts != stamps[i] {
				t.Fatalf("outcome of group %d above the floor: %d, %v, want %d", i, ts, err, stamps[i])
			}
		}
		s = reopen(t, h, s)
	}
}

func testCompactTail(t *testing.T, h Harness) {
	s := open(t, h)
	var stamps []storage.Timestamp
	for i := range 1000 {
		if i%100 == 0 {
			h.Clock.Step(time.Second)
		}
		stamps = append(stamps, commit(t, s, fmt.Sprintf("k%d=%d", i%7, i)))
	}
	for _, n := range []int{0, 1, 500, 750, 999} {
		if err := s.Compact(t.Context(), storage.Floors{Versions: stamps[n], Log: stamps[n]}); err != nil {
			t.Fatal(err)
		}
		check := func() {
			t.Helper()
			wantErr(t, "tail from the beginning", tailErr(t, s, 0), storage.ErrTooOld)
			wantErr(t, "tail below the floor", tailErr(t, s, stamps[n]-1), storage.ErrTooOld)
			wantTail(t, s, stamps[n], stamps[n+1:]...)
		}
		check()
		s = reopen(t, h, s)
		check()
	}
	last := commit(t, s, "k=v")
	wantTail(t, s, stamps[999], last)
}
