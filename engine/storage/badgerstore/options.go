package badgerstore

import (
	"log/slog"
	"math"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Options says where a store lies and how it behaves. Its zero value works.
type Options struct {
	// Dir is the data folder. It is created when it is missing, and belongs to one open store at a time. "mimosa-data" in the
	// working directory when empty.
	Dir string
	// Relaxed makes Commit return before the group is on disk. Nothing is lost when the process dies, however it dies. When the
	// machine or its power fails, the groups of the last seconds may vanish although they were acknowledged, and with them the
	// memory of their timestamps. What remains is whole groups without a gap in most cases; where it is not, Open says
	// ErrCorrupt. Never set it for data that somebody relies on.
	Relaxed bool
	// MinFree is how many bytes must be free on the disk for a Commit: below, it is refused with ErrFull. Badger writes through
	// mapped memory, so that a disk that is really full kills the process. When zero, a quarter of the disk, but no more than
	// 256 MiB and no less than 48 MiB, below which the tables that memory is written out to may not fit. Nothing is checked
	// when negative, nor on systems other than Linux, macOS, FreeBSD.
	MinFree int64
	// Clock tells the time that timestamps follow; time.Now when nil. It may step back, timestamps do not.
	Clock func() time.Time
	// Logger is told what the store does in the background. Nothing is logged when nil.
	Logger *slog.Logger

	// Tests set these: what is free on the disk of a folder, and its size; and what is told of the steps of a large group.
	space  func(dir string) (free, size int64, err error)
	onStep func(step string)
}

const defaultDir = "mimosa-data"

// Between a look at the free space and the next, one group goes to a write-ahead log, each memory table may become a table,
// and a compaction may write what it merges before it removes what it has merged. That is what must fit below the mark:
// leastMinFree is for the first two and little more, mostMinFree for all with much to spare.
const (
	leastMinFree = 3 * memTableSize
	mostMinFree  = 16 * memTableSize
)

// defaultMinFree is the mark for a disk of a size in bytes.
func defaultMinFree(size int64) int64 { return min(mostMinFree, max(leastMinFree, size/4)) }

func (o Options) withDefaults() Options {
	if o.Dir == "" {
		o.Dir = defaultDir
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.space == nil {
		o.space = diskSpace
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	// memTableSize is what is kept in memory before it becomes a table. It also bounds a group: Badger takes 15 % of it in one
	// transaction. Twice this size is what a write-ahead log occupies, sparsely.
	memTableSize = 16 << 20
	// levelZeroTables is how many tables, each of what was in memory once, Badger lets come together before it merges them. Each
	// is as large as memory, and most of what is in it is there once more below: with four of them a database of 64 MiB that is
	// overwritten takes three times its size, and with one less than twice.
	levelZeroTables = 1
	// valueThreshold is the size from which Badger moves a value out of the tree into a file that it never reclaims by
	// itself. It is the largest that Badger allows, and every stored value stays below it.
	valueThreshold = 1 << 20
)

// badgerOptions translates o. The reasons for what differs from Badger's defaults are in the package documentation.
func (o Options) badgerOptions(m *merging) badger.Options {
	return badger.DefaultOptions(o.Dir).
		WithLogger(badgerLogger{o.Logger, m}).
		WithSyncWrites(!o.Relaxed).
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(memTableSize).
		WithValueLogMaxEntries(math.MaxUint32).
		WithMemTableSize(memTableSize).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithNumLevelZeroTables(levelZeroTables).
		WithNumLevelZeroTablesStall(12).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithMetricsEnabled(false).
		WithChecksumVerificationMode(options.NoVerification).
		WithBypassLockGuard(!badgerLocks)
}
