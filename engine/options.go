package engine

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Durability says when a mutation is answered.
type Durability uint8

const (
	// Durable answers after fsync. It is the default.
	Durable Durability = iota
	// Relaxed answers before fsync: after a power failure or a crash of the operating system, mutations that were
	// acknowledged, and results that were pushed, may never have happened. A crash of the process alone loses nothing.
	Relaxed
)

// Options configure Open. The zero value, with Dir or Store set, works.
type Options struct {
	// Dir is the folder of the embedded store; it is made where it does not exist. Unused when Store is set.
	Dir string
	// Store keeps the data in place of the embedded store. The database closes it.
	Store storage.Store
	// Durability applies to the embedded store.
	Durability Durability
	// MinFreeBytes is how much space must be free on the disk of Dir for a mutation: below, it fails with [storage.ErrFull],
	// and queries go on. A disk that is really full would kill the process. When zero, a quarter of the disk, but no more than
	// 256 MiB and no less than 48 MiB. Negative is without a check. It applies to the embedded store.
	MinFreeBytes int64
	// ScrubInterval is how often a store that can ([storage.Verifier]; the embedded one can) is read as a whole in the
	// background, in search of damage that nobody has met yet. Each fault is one line of the log at level ERROR. Once a day
	// when zero, the first time an hour after Open or sooner; never when negative. DB.Check does the same at once.
	ScrubInterval time.Duration
	// Limits bound what one call may do; a zero field means its default.
	Limits Limits
	// Backlog bounds how many mutations may be under way when they come faster than the store commits them.
	Backlog Backlog
	// AllowInvalid opens a database in which stored documents break a schema that has changed. They can be read, and are
	// validated when they are written. Without it, Open goes on refusing as long as there are any.
	AllowInvalid bool
	// BuildAtOpen is up to how many documents of a collection its new indexes are built before Open returns, 1,000 when zero,
	// none when negative. Those of larger ones are built in the background, see DB.Indexes; an empty collection's are ready at
	// once.
	BuildAtOpen int
	// Jobs configure how scheduled functions and crons are run.
	Jobs JobOptions
	// Development sends the log lines of functions, and the texts of internal errors, to clients.
	Development bool
	// Clock is the source of time, time.Now by default.
	Clock func() time.Time
	// Seed makes Rand reproducible, and ids over a store and a clock that are; zero seeds from the operating system.
	Seed uint64
	// Logger receives what the database has to say, slog.Default() by default.
	Logger *slog.Logger
	// UnsafeNoValidation switches the detection of conflicts off. It exists so that tests can show that they would notice.
	UnsafeNoValidation bool
	// BackupWindow is how long after a backup an incremental one may follow it. The log since the oldest backup within it is
	// kept for that: some bytes for each key that a mutation touches, once a mutation. 48 hours when zero; when negative none
	// is kept, and all backups are full ones.
	BackupWindow time.Duration
	// Maintenance opens the database to look after it: nothing goes on in the background, and the functions of Schema.OnOpen
	// do not run. Calls and transactions work as ever. It is for programs that check, back up, export or import and end then.
	Maintenance bool
}

var errNowhere = errors.New("engine: Options has neither Dir nor Store")

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Limits = o.Limits.withDefaults()
	o.Backlog = o.Backlog.withDefaults()
	o.Jobs = o.Jobs.withDefaults()
	return o
}

// seed returns the seed, drawn from the operating system where it is zero.
func (o Options) seed() uint64 {
	if o.Seed != 0 {
		return o.Seed
	}
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// Limits bound one call. A call that exceeds one fails with a *LimitError naming it, and nothing of it is kept.
//
// What a mutation writes must also be what the store takes in one transaction, documents and index entries alike: over the
// embedded store 262,140 rows and about 64 MiB, of which a document takes one row and one for each index, in bytes twice its
// index keys; the errors are TransactionRows and TransactionBytes. The result of a mutation with a Request is kept with it and
// is limited to about 1 MiB.
type Limits struct {
	ReadDocuments  int           // documents read, and look-ups that found none; 32,000
	ReadBytes      int64         // bytes of documents read; 16 MiB
	WriteDocuments int           // documents written, those of triggers included; 16,000
	WriteBytes     int64         // bytes of documents written; 16 MiB
	DocumentBytes  int           // bytes of one stored document; 1 MiB − 4 KiB, which is also the most
	ArgumentBytes  int           // bytes of a call's arguments; 1 MiB
	ResultBytes    int           // bytes of a call's result; 8 MiB
	Nesting        int           // levels of Tx.Nested; 64
	CascadeDepth   int           // triggers that fire one another; 32
	FunctionTime   time.Duration // one run of a query or mutation; 1 s
	ActionTime     time.Duration // one run of an action; 10 min
	Attempts       int           // runs of a mutation that keeps meeting conflicts; 100
	LogLines       int           // log lines kept of one call, each cut at 4 KiB; 256
}

const maxDocumentBytes = 1<<20 - 4<<10

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def64 := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	defTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.ReadDocuments, 32_000)
	def64(&l.ReadBytes, 16<<20)
	def(&l.WriteDocuments, 16_000)
	def64(&l.WriteBytes, 16<<20)
	def(&l.DocumentBytes, maxDocumentBytes)
	l.DocumentBytes = min(l.DocumentBytes, maxDocumentBytes)
	def(&l.ArgumentBytes, 1<<20)
	def(&l.ResultBytes, 8<<20)
	def(&l.Nesting, 64)
	def(&l.CascadeDepth, 32)
	defTime(&l.FunctionTime, time.Second)
	defTime(&l.ActionTime, 10*time.Minute)
	def(&l.Attempts, 100)
	def(&l.LogLines, 256)
	return l
}
