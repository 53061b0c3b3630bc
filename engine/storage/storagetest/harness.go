package storagetest

import (
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Harness is one database under test, empty at first.
type Harness struct {
	// Open opens the database, and opens it again after the last handle was closed. The suite closes what it opens.
	Open func() (storage.Store, error)
	// OpenSecond opens a further handle on the database while others are open. Nil for a store with one writer.
	OpenSecond func() (storage.Store, error)
	// LargeBytes makes the large groups that the suite commits smaller, in bytes and writes alike. When zero they are as large as
	// the store takes them, and at most 64 MiB.
	LargeBytes int64
	// Clock is the clock that the store was given. The suite sets it.
	Clock *Clock
}

// Clock is a clock that stands still until it is set. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// NewClock returns a clock that stands at some instant.
func NewClock() *Clock { return &Clock{now: time.Unix(1_800_000_000, 0)} }

// Now returns the instant at which the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Step moves the clock by d, which may be negative.
func (c *Clock) Step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Run runs the suite. fresh makes an empty database for each test; the tests run in parallel.
func Run(t *testing.T, fresh func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, h Harness)
	}{
		{"Empty", testEmpty},
		{"SnapshotsAtExactTimestamps", testSnapshots},
		{"SlicesAreOwned", testSlices},
		{"Sizes", testSizes},
		{"Budget", testBudget},
		{"LargeGroups", testLargeGroups},
		{"ScanBounds", testScanBounds},
		{"ScanStopsAndNests", testScanNesting},
		{"GroupWholeOrNot", testGroups},
		{"BuildFails", testBuildFails},
		{"Cancel", testCancel},
		{"CommitContext", testCommitContext},
		{"TimestampsNeverGoBack", testTimestamps},
		{"Tail", testTail},
		{"TailSeesHeadOfItsStart", testTailHead},
		{"Outcome", testOutcome},
		{"CompactBelowPins", testCompactPins},
		{"CompactKeepsTheNewest", testCompactNewest},
		{"CompactAndTail", testCompactTail},
		{"CompactSurvivesReopening", testCompactReopen},
		{"CompactFloors", testCompactFloors},
		{"Advance", testAdvance},
		{"Close", testClose},
		{"CloseUnderReaders", testCloseReaders},
		{"CloseWaitsForCommit", testCloseWaits},
		{"Concurrent", testConcurrent},
		{"Handles", testHandles},
		{"HandlesLeftBehind", testHandlesLeftBehind},
		{"Model", testModel},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, fresh(t))
		})
	}
}
