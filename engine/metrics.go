package engine

import (
	"errors"
	"sync/atomic"
	"time"
)

// Metrics is what a database has done since it was opened, and how it stands. Counts never go down. Package promengine hands
// it to Prometheus.
type Metrics struct {
	// Commits is the number of groups that the store has made durable, Committed that of the mutations in them, and Rows and
	// Bytes what they wrote, documents, index entries and records of requests alike, without what the store adds.
	Commits, Committed, Rows, Bytes uint64
	// GroupSize is how many mutations a group had.
	GroupSize Histogram
	// CommitTime is how long the store took for a group, its fsync included; seconds.
	CommitTime Histogram

	// Conflicts is how often a mutation that had run met what another had written meanwhile; Retries is how many runs were
	// repetitions of one that met a conflict, or found no room for what it wrote. Reservations is how often a mutation that met
	// conflicts again and again had what it reads kept free for it.
	Conflicts, Retries, Reservations uint64
	// Busy is how many mutations failed with ErrBusy: there was no room for them (see Backlog), they met too many conflicts, or
	// the disk was full.
	Busy uint64

	// Running is how many mutations run or wait for their commit, Waiting how many wait for room, Queued how many are accepted
	// and not handed to the store yet, and PendingBytes how much is accepted and not durable.
	Running, Waiting, Queued int
	PendingBytes             int64

	// Queries, Mutations and Actions tell of the runs of functions, those of View and Update and evaluations of live queries
	// included, each run of a mutation that was repeated by itself.
	Queries, Mutations, Actions FunctionMetrics
	// Triggers is how long one trigger took, those that it fired not included; seconds.
	Triggers Histogram
	// ReadSet is how many ranges of keys a query or a mutation read.
	ReadSet Histogram

	// Jobs is how scheduled functions and crons do.
	Jobs JobMetrics

	// Watches is how many evaluations are watched for changes.
	Watches int
	// Transactions is how many queries and mutations run at the moment, each with its snapshot of the store, and Abandoned how
	// many functions still run past their time limit.
	Transactions, Abandoned int64
	// Published is the newest published timestamp.
	Published Timestamp
}

// FunctionMetrics is of one kind of function.
type FunctionMetrics struct {
	Failed uint64    // runs that ended with an error, or at their time limit
	Time   Histogram // of one run, failed ones included; seconds
}

// Histogram counts what was observed. Counts[i] is how many values lie at or below Bounds[i] and above the bound before; the
// last of Counts, which is one longer, is how many lie above all bounds.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Count  uint64
	Sum    float64
}

var (
	timeBounds = []float64{1e-5, 2.5e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 1e-2, 2.5e-2, .1, .25, 1, 2.5, 10}
	sizeBounds = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 16384}
)

// meters are counted up by everybody, without a lock.
type meters struct {
	commits, committed, rows, bytes  atomic.Uint64
	conflicts, retries, reservations atomic.Uint64
	busy                             atomic.Uint64
	transactions                     atomic.Int64

	groupSize, commitTime, triggers, readSet histogram
	functions                                [KindAction + 1]functionMeter // by Kind
}

type functionMeter struct {
	failed atomic.Uint64
	time   histogram
}

// histogram sums in units: values in seconds are summed as nanoseconds.
type histogram struct {
	bounds []float64
	unit   float64
	counts [16]atomic.Uint64
	sum    atomic.Uint64
}

func newMeters() *meters {
	m := &meters{}
	for _, h := range []*histogram{&m.groupSize, &m.readSet} {
		h.bounds, h.unit = sizeBounds, 1
	}
	for _, h := range []*histogram{&m.commitTime, &m.triggers, &m.functions[KindQuery].time, &m.functions[KindMutation].time, &m.functions[KindAction].time} {
		h.bounds, h.unit = timeBounds, 1e-9
	}
	return m
}

func (h *histogram) observe(v float64) {
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(uint64(max(0, v/h.unit+0.5)))
}

func (h *histogram) read() Histogram {
	out := Histogram{Bounds: append([]float64(nil), h.bounds...), Counts: make([]uint64, len(h.bounds)+1)}
	for i := range out.Counts {
		out.Counts[i] = h.counts[i].Load()
		out.Count += out.Counts[i]
	}
	out.Sum = float64(h.sum.Load()) * h.unit
	return out
}

func (f *functionMeter) read() FunctionMetrics {
	return FunctionMetrics{Failed: f.failed.Load(), Time: f.time.read()}
}

// ran counts one run of a function.
func (m *meters) ran(k Kind, took time.Duration, err error) {
	f := &m.functions[k]
	f.time.observe(took.Seconds())
	if err != nil {
		f.failed.Add(1)
	}
}

// wrote counts a group that has become durable.
func (m *meters) wrote(group []*member, rows, bytes int, took time.Duration) {
	n := 0
	for _, mem := range group {
		if !mem.dropped {
			n++
		}
	}
	if n == 0 {
		return
	}
	m.commits.Add(1)
	m.committed.Add(uint64(n))
	m.rows.Add(uint64(rows))
	m.bytes.Add(uint64(bytes))
	m.groupSize.observe(float64(n))
	m.commitTime.observe(took.Seconds())
}

// refused counts err where it is of a mutation that could not be taken.
func (m *meters) refused(err error) error {
	if err != nil && errors.Is(err, ErrBusy) {
		m.busy.Add(1)
	}
	return err
}

// Metrics returns how the database does. It may be called at any time, after Close too, and costs little. The numbers are read
// one after the other while work goes on.
func (db *DB) Metrics() Metrics {
	m := db.metrics
	out := Metrics{
		Commits: m.commits.Load(), Committed: m.committed.Load(), Rows: m.rows.Load(), Bytes: m.bytes.Load(),
		GroupSize: m.groupSize.read(), CommitTime: m.commitTime.read(),
		Conflicts: m.conflicts.Load(), Retries: m.retries.Load(), Reservations: m.reservations.Load(), Busy: m.busy.Load(),
		Queries: m.functions[KindQuery].read(), Mutations: m.functions[KindMutation].read(), Actions: m.functions[KindAction].read(),
		Triggers: m.triggers.read(), ReadSet: m.readSet.read(), Jobs: db.jobs.meters.read(),
		Watches: db.watches.count(), Transactions: m.transactions.Load(), Abandoned: db.Abandoned(),
	}
	out.Running, out.Waiting, out.PendingBytes = db.committer.backlog.state()
	out.Queued, out.Published = db.committer.state()
	return out
}
