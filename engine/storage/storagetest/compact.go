package storagetest

import (
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
)

func compact(t *testing.T, s storage.Store, floor storage.Timestamp) {
	t.Helper()
	if err := s.Compact(t.Context(), storage.Floors{Versions: floor, Log: floor}); err != nil {
		t.Fatalf("compact to %d: %v", floor, err)
	}
}

func testCompactPins(t *testing.T, h Harness) {
	s := open(t, h)
	t1, t2 := commit(t, s, "a=1", "b=1"), commit(t, s, "a=2", "b")
	t3, t4 := commit(t, s, "a=3"), commit(t, s, "a", "c=4")
	pinned, again := at(t, s, t2), at(t, s, t2)
	compact(t, s, t4)
	wantErr(t, "snapshot below the pin", atErr(t, s, t1), storage.ErrTooOld)
	wantErr(t, "tail below the pin", tailErr(t, s, t1), storage.ErrTooOld)
	wantContents(t, s, t2, "a=2")
	wantTail(t, s, t2, t3, t4)
	again.Close()
	again.Close() // counts once
	compact(t, s, t4)
	if got := collect(t, pinned.Scan(nil, nil, true, 0)); got != "a=2" {
		t.Fatalf("a pinned snapshot at %d after compacting: %q", t2, got)
	}
	pinned.Close()
	compact(t, s, t3)
	wantErr(t, "snapshot at the pin that was closed", atErr(t, s, t2), storage.ErrTooOld)
	wantContents(t, s, t3, "a=3")
	compact(t, s, t1) // the floor never goes back
	wantErr(t, "snapshot below the floor", atErr(t, s, t2), storage.ErrTooOld)
	compact(t, s, t4+1_000_000_000) // above the head: up to the head
	wantErr(t, "snapshot below the head", atErr(t, s, t3), storage.ErrTooOld)
	wantContents(t, s, t4, "c=4")
	t5 := commit(t, s, "d=5")
	wantContents(t, s, t5, "c=4 d=5")
	wantContents(t, s, t4, "c=4")
	wantTail(t, s, t4, t5)
}

func testCompactNewest(t *testing.T, h Harness) {
	s := open(t, h)
	commit(t, s, "kept=1", "gone=1", "back=1")
	commit(t, s, "gone", "back")
	commit(t, s, "back=2")
	for range 3 {
		compact(t, s, head(t, s))
		wantContents(t, s, head(t, s), "back=2 kept=1")
		s = reopen(t, h, s)
		wantContents(t, s, head(t, s), "back=2 kept=1")
	}
}

func testCompactReopen(t *testing.T, h Harness) {
	s := open(t, h)
	t1, t2, t3 := commit(t, s, "a=1"), commit(t, s, "a=2"), commit(t, s, "a=3")
	compact(t, s, t2)
	for range 2 {
		wantErr(t, "snapshot below the floor", atErr(t, s, t1), storage.ErrTooOld)
		wantErr(t, "snapshot of the empty database", atErr(t, s, 0), storage.ErrTooOld)
		wantErr(t, "tail below the floor", tailErr(t, s, t1), storage.ErrTooOld)
		wantContents(t, s, t2, "a=2")
		wantContents(t, s, t3, "a=3")
		wantTail(t, s, t2, t3)
		s = reopen(t, h, s)
	}
	// The log may be empty below the head; the clock remembers all the same.
	compact(t, s, head(t, s))
	before := head(t, s)
	h.Clock.Step(-1e18)
	s = reopen(t, h, s)
	if got := head(t, s); got <= before {
		t.Fatalf("head %d after compacting everything and reopening, was %d", got, before)
	}
	t4 := commit(t, s, "a=4")
	wantTail(t, s, before, t4)
	wantContents(t, s, t4, "a=4")
}

// testCompactFloors lets versions go and keeps the log, as one does who backs up what has changed from time to time.
func testCompactFloors(t *testing.T, h Harness) {
	s := open(t, h)
	ids := make([]storage.GroupID, 6)
	stamps := make([]storage.Timestamp, len(ids))
	for i := range ids {
		ids[i] = newID()
		ts, err := s.Commit(t.Context(), ids[i], group("a=1", "b=2"))
		if err != nil {
			t.Fatal(err)
		}
		stamps[i] = ts
	}
	floors := func(versions, log int) {
		t.Helper()
		if err := s.Compact(t.Context(), storage.Floors{Versions: stamps[versions], Log: stamps[log]}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(versions, log int) {
		t.Helper()
		for range 2 {
			for i, id := range ids {
				switch ts, err := s.Outcome(t.Context(), id); {
				case i <= log:
					wantErr(t, "outcome at or below the log's floor", err, storage.ErrUnknownGroup)
				case err != nil || ts != stamps[i]:
					t.Fatalf("outcome of group %d: %d, %v, want %d", i, ts, err, stamps[i])
				}
			}
			wantErr(t, "snapshot below the floor of versions", atErr(t, s, stamps[versions]-1), storage.ErrTooOld)
			wantContents(t, s, stamps[versions], "a=1 b=2")
			wantErr(t, "tail below the log's floor", tailErr(t, s, stamps[log]-1), storage.ErrTooOld)
			wantTail(t, s, stamps[log], stamps[log+1:]...)
			s = reopen(t, h, s)
		}
	}
	floors(3, 1)
	want(3, 1)
	floors(2, 2) // versions do not come back
	want(3, 2)
	floors(3, 5) // the log goes up to the versions
	want(3, 3)
	pinned := at(t, s, stamps[4])
	floors(5, 5)
	want(4, 4) // whoever closes the store closes the snapshot
	pinned.Close()
	floors(5, 0)
	want(5, 4)
}

// testAdvance moves the clock on.
func testAdvance(t *testing.T, h Harness) {
	s := open(t, h)
	a, ok := s.(storage.Advancer)
	if !ok {
		t.Skip("the store cannot be moved on")
	}
	t1 := commit(t, s, "a=1")
	to := t1 + 3_600_000_000_000
	for _, ts := range []storage.Timestamp{to, to - 1, 0, to} {
		if err := a.Advance(t.Context(), ts); err != nil {
			t.Fatal(err)
		}
		if got := head(t, s); got != to {
			t.Fatalf("advanced to %d: head %d, want %d", ts, got, to)
		}
	}
	wantContents(t, s, to, "a=1")
	wantTail(t, s, t1)
	t2 := commit(t, s, "a=2")
	if t2 <= to {
		t.Fatalf("a commit at %d, the head was %d", t2, to)
	}
	if err := a.Advance(t.Context(), t2+5); err != nil {
		t.Fatal(err)
	}
	h.Clock.Step(-1e18)
	s = reopen(t, h, s)
	if got := head(t, s); got < t2+5 {
		t.Fatalf("head %d after reopening, was %d", got, t2+5)
	}
	wantContents(t, s, t2-1, "a=1")
	wantContents(t, s, head(t, s), "a=2")
	wantTail(t, s, 0, t1, t2)
	a = s.(storage.Advancer)
	before := head(t, s)
	if err := a.Advance(t.Context(), 1<<63); err == nil || head(t, s) != before {
		t.Fatalf("advanced to the end of time: %v, head %d, was %d", err, head(t, s), before)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "advance a closed store", a.Advance(t.Context(), before+1), storage.ErrClosed)
}
