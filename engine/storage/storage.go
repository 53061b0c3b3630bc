package storage

import (
	"context"
	"errors"
	"iter"
)

// Timestamp is a commit timestamp: nanoseconds since the Unix epoch, strictly increasing from group to group and never
// going back. Zero is the empty database, before any commit.
type Timestamp uint64

// Sizes that every store takes. A group with a longer key or value is refused with ErrTooLarge. An empty key and an empty
// value are as good as any other.
const (
	// MaxKey is the length of the longest key, in bytes.
	MaxKey = 64_000
	// MaxValue is the length of the longest value, in bytes.
	MaxValue = 1<<20 - 64
)

// GroupID names a group of commits before it has a timestamp, so that its outcome can be asked for after a lost answer.
// It is chosen by the caller, at random, and never reused.
type GroupID [16]byte

// KV is one stored pair, with the timestamp of the group that wrote it. The slices belong to the receiver.
type KV struct {
	Key, Value []byte
	Written    Timestamp
}

// Write stores Value under Key, or removes Key when Delete is set.
type Write struct {
	Key, Value []byte
	Delete     bool
}

// Group is what one commit stores, all of it or nothing. A key stands at most once in Writes. Log is an opaque record that
// Tail and a later Commit's missed entries give back as it is. A Group with Cancel set commits nothing.
type Group struct {
	Writes []Write
	Log    []byte
	Cancel bool
}

// Floors say what Compact need not keep: versions that only readers below Versions could see, and the log up to Log. A Log
// above Versions counts as Versions.
type Floors struct{ Versions, Log Timestamp }

// LogEntry is one committed group as the log remembers it.
type LogEntry struct {
	Timestamp Timestamp
	ID        GroupID
	Log       []byte
}

// Errors of a store. They are matched with errors.Is.
var (
	// ErrTooOld says that a timestamp lies below what the store still keeps.
	ErrTooOld = errors.New("storage: timestamp is older than what the store keeps")
	// ErrFuture says that a snapshot above the head was asked for.
	ErrFuture = errors.New("storage: timestamp is above the head")
	// ErrUnknownGroup says that no group with this ID is in the log: it was never committed, or the log of its time is gone.
	ErrUnknownGroup = errors.New("storage: unknown group")
	// ErrOutcomeUnknown says that a commit may or may not have happened. The store is poisoned: reopen it and ask Outcome.
	ErrOutcomeUnknown = errors.New("storage: outcome of the commit is unknown")
	// ErrPoisoned says that an earlier commit failed half-way and that the store must be reopened before it is used again.
	// Every method but Close returns it. Snapshots that were open before go on or return it too, as the failure will have it.
	ErrPoisoned = errors.New("storage: poisoned by a failed commit; reopen it")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("storage: closed")
	// ErrTooLarge says that a group is larger than the store takes in one commit, or that one of its keys or values is longer
	// than MaxKey or MaxValue. Nothing was written.
	ErrTooLarge = errors.New("storage: group is too large")
	// ErrDuplicateKey says that a key stands twice in a group's Writes. Nothing was written.
	ErrDuplicateKey = errors.New("storage: key stands twice in a group")
	// ErrFull says that there is too little space left to write safely. Nothing was written, and reading goes on.
	ErrFull = errors.New("storage: too little space left")
	// ErrCorrupt says that stored bytes do not match their checksum, or that the log has a gap.
	ErrCorrupt = errors.New("storage: corrupt")
)

// Snapshot reads the store as of one timestamp, whatever is committed meanwhile. It is not safe for concurrent use. It pins
// its timestamp: Compact keeps what it can see until Close. Close may be called more than once, and by another goroutine than
// the one that reads, whose reading then fails with ErrClosed.
type Snapshot interface {
	Timestamp() Timestamp
	// Get returns the pair of key; ok is false when there is none.
	Get(key []byte) (kv KV, ok bool, err error)
	// Scan yields the pairs with lo <= key < hi in key order, or from the last down when reverse is set, at most limit of
	// them (no limit when it is zero or less). A nil lo or hi is no bound on that side. An error ends the iteration.
	// Several scans of one snapshot may be open at once. A scan that outlives its snapshot ends with ErrClosed.
	Scan(lo, hi []byte, reverse bool, limit int) iter.Seq2[KV, error]
	Close()
}

// Store is the seam between the engine and what keeps the bytes: ordered keys in versions, and groups of commits. All its
// methods are safe for concurrent use; Commit calls run one after the other.
type Store interface {
	// Head returns the timestamp of the newest group that is durable and visible. A reopened store's head is at least the
	// newest group's ever acknowledged.
	Head(ctx context.Context) (Timestamp, error)
	// At opens a snapshot at exactly ts, which need not be the timestamp of a group: it shows what was committed at or before
	// it. ErrTooOld below what Compact has kept, ErrFuture above the head.
	At(ctx context.Context, ts Timestamp) (Snapshot, error)
	// Commit holds the head exclusively while it calls build once, with the log entries that other handles have committed
	// since this handle was opened or last called a build (none where the store has one writer), and stores the group that
	// build returns under a timestamp above the head. When build fails, its error is returned and nothing is written. It
	// returns after the group is durable. ErrOutcomeUnknown when that cannot be told. With Group.Cancel nothing is written and
	// the head is returned. ErrTooOld, without a call of build, when Compact has dropped entries that this handle missed:
	// reopen it. ctx is heeded until build is called, not after. The store reads the group's slices and keeps none of them.
	// build may read the store, but calling Commit, Compact or Close from it is a deadlock.
	Commit(ctx context.Context, id GroupID, build func(missed []LogEntry) (Group, error)) (Timestamp, error)
	// Outcome returns the timestamp of a committed group, or ErrUnknownGroup. It remembers groups above the log's floor, as
	// Compact has last raised it; what lies at or below that is unknown.
	Outcome(ctx context.Context, id GroupID) (Timestamp, error)
	// Tail yields the groups committed after a timestamp, up to the head at the start of the iteration, in order, none
	// missing, or ErrTooOld when the log no longer reaches back so far. After the head or above it there are none. While an
	// iteration runs, Compact spares the entries it has yet to yield. The sequence may be iterated more than once.
	Tail(ctx context.Context, after Timestamp) iter.Seq2[LogEntry, error]
	// Compact allows the store to drop versions and log entries that only readers below the floors could ask for: afterwards At
	// below Floors.Versions and Tail below Floors.Log are refused with ErrTooOld. The newest version of a key stays, and so
	// does all that an open snapshot or a running Tail can see: the floor of versions that takes effect is the lowest of
	// Floors.Versions, the head and the oldest open snapshot; the log's is the lowest of Floors.Log, the floor of versions and
	// what running iterations have yet to yield. Neither ever goes back. It is a permission: space may be reclaimed later.
	Compact(ctx context.Context, floors Floors) error
	// Close waits for a running Commit, then releases the store. Everything on it and on its open snapshots and iterations
	// fails with ErrClosed afterwards. A second Close does nothing and returns nil.
	Close() error
}

// Budget is implemented by a store whose commits are bounded in size. The engine fills its groups up to it.
type Budget interface {
	// Budget returns how many writes and how many bytes of keys, values and Log one group may hold. A group within both is
	// never refused for its size; a larger one may be, with ErrTooLarge.
	Budget() (writes int, bytes int64)
}

// LargeBudget is implemented by a store that also takes groups beyond its Budget. It writes them in several steps, and all or
// nothing all the same; that costs about three times the writing, and other commits wait meanwhile.
type LargeBudget interface {
	// LargeBudget returns what Budget does, for such a group. A group within both bounds is never refused for its size, whether
	// or not it is within Budget; a larger one may be, with ErrTooLarge.
	LargeBudget() (writes int, bytes int64)
}

// Advancer is implemented by a store whose clock can be moved on.
type Advancer interface {
	// Advance makes the head at least ts, durably, and all later timestamps lie above it, whatever the clock says. It commits
	// nothing. It is for data that was moved from elsewhere, whose timestamps must not come again. A ts below the head changes
	// nothing; one that a clock could not tell, after the year 2262, is an error.
	Advance(ctx context.Context, ts Timestamp) error
}

// Verifier is implemented by a store that can check what it has stored.
type Verifier interface {
	// Verify reads everything and returns an ErrCorrupt for each damage that it finds, joined by errors.Join; where there is no
	// end of it, as many as tell how bad it is. It runs beside other work, as fast as it can, or as WithRate
	// says. One that ctx or Close has ended returns why, beside
	// what it had found until then.
	Verify(ctx context.Context) error
}
