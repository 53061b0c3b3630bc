package storage

import (
	"context"
	"errors"
	"iter"
)

// Timestamp is a commit timestamp: nanoseconds since the Unix epoch, strictly increasing from group to group and never
// going back. Zero is the empty database, before any commit.
type Timestamp uint64

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
	ErrPoisoned = errors.New("storage: poisoned by a failed commit; reopen it")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("storage: closed")
	// ErrTooLarge says that a group is larger than the store takes in one commit. Nothing was written.
	ErrTooLarge = errors.New("storage: group is too large")
	// ErrCorrupt says that stored bytes do not match their checksum, or that the log has a gap.
	ErrCorrupt = errors.New("storage: corrupt")
)

// Snapshot reads the store as of one timestamp, whatever is committed meanwhile. It is not safe for concurrent use. It pins
// its timestamp: Compact keeps what it can see until Close. Close may be called more than once.
type Snapshot interface {
	Timestamp() Timestamp
	// Get returns the pair of key; ok is false when there is none.
	Get(key []byte) (kv KV, ok bool, err error)
	// Scan yields the pairs with lo <= key < hi in key order, or from the last down when reverse is set, at most limit of
	// them (no limit when it is zero or less). A nil lo or hi is no bound on that side. An error ends the iteration.
	// Several scans of one snapshot may be open at once.
	Scan(lo, hi []byte, reverse bool, limit int) iter.Seq2[KV, error]
	Close()
}

// Store is the seam between the engine and what keeps the bytes: ordered keys in versions, and groups of commits. All its
// methods are safe for concurrent use; Commit calls run one after the other.
type Store interface {
	// Head returns the timestamp of the newest group that is durable and visible. A reopened store's head is at least the
	// newest group's ever acknowledged.
	Head(ctx context.Context) (Timestamp, error)
	// At opens a snapshot at exactly ts. ErrTooOld below what Compact has kept, ErrFuture above the head.
	At(ctx context.Context, ts Timestamp) (Snapshot, error)
	// Commit holds the head exclusively while it calls build once, with the log entries that this store handle has not yet
	// been handed or committed itself (none where the store has one writer), and stores the group that build returns under a
	// timestamp above the head. When build fails, its error is returned and nothing is written. It returns after the group is
	// durable. ErrOutcomeUnknown when that cannot be told. With Group.Cancel nothing is written and the head is returned.
	Commit(ctx context.Context, id GroupID, build func(missed []LogEntry) (Group, error)) (Timestamp, error)
	// Outcome returns the timestamp of a committed group, or ErrUnknownGroup.
	Outcome(ctx context.Context, id GroupID) (Timestamp, error)
	// Tail yields the groups committed after a timestamp up to the head of the call's time, in order, none missing, or
	// ErrTooOld when the log no longer reaches back so far.
	Tail(ctx context.Context, after Timestamp) iter.Seq2[LogEntry, error]
	// Compact allows the store to drop versions and log entries that only readers below floor could ask for. The newest
	// version of a key stays, and so does all that an open snapshot can see. It is a permission: space may be reclaimed later.
	Compact(ctx context.Context, floor Timestamp) error
	// Close waits for a running Commit, then releases the store. Snapshots still open fail with ErrClosed afterwards.
	Close() error
}

// Budget is implemented by a store whose commits are bounded in size. The engine fills its groups up to it.
type Budget interface {
	// Budget returns how many writes and how many bytes of keys and values one group may hold.
	Budget() (writes int, bytes int64)
}
