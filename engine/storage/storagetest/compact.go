package storagetest

import (
	"testing"

	"github.com/mimosadb/mimosa/engine/storage"
)

func compact(t *testing.T, s storage.Store, floor storage.Timestamp) {
	t.Helper()
	if err := s.Compact(t.Context(), floor); err != nil {
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
