package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/interval"
	"github.com/mimosadb/mimosa/engine/internal/versions"
	"github.com/mimosadb/mimosa/engine/storage"
)

// The committer orders mutations and makes them durable in groups.
//
// A mutation that has run is accepted: validated in memory against everything accepted since it began, given the next
// sequence number, and added to the tentative overlay, where the next mutation already sees it. One goroutine takes what has
// been accepted, writes it to the store as one group, publishes the group's timestamp, and then answers its members. While a
// group is being written the next one grows.
//
// Functions never run on the committer's goroutine.
type committer struct {
	store      storage.Store
	logger     *slog.Logger
	unsafe     bool // accept without validation
	newGroupID func() storage.GroupID
	group      size // what the store takes in one step
	large      size // what it takes at all
	backlog    *backlog
	metrics    *meters
	refusing   bool                       // the store is full; used by the committer's goroutine alone
	published  func(groups []publication) // told of new timestamps, in order, before members are answered

	mu           sync.Mutex
	seq          uint64            // guarded by mu, as all below: the newest sequence number given
	stableSeq    uint64            // all up to it is durable and published
	stableTS     storage.Timestamp // the published head
	generations  []*generation     // what lies above the published head, see tentative
	recent       []accepted        // the validation window, ascending
	recentKeys   int
	drops        []accepted // what was taken back, for answers that may have read it
	dropsFloor   uint64     // the newest of them that was forgotten
	queue        []*member  // accepted, not yet handed to the store
	flight       []*member  // being written
	waiters      []waiter
	reservations []*reservation
	nextReserve  uint64
	failure      error
	closing      bool

	wake   chan struct{}
	done   chan struct{}
	failed chan struct{} // closed by a failed commit
}

// size is what a store takes of one group.
type size struct {
	writes int
	bytes  int64
}

// accepted is what later mutations are validated against.
type accepted struct {
	seq     uint64
	touched []string // sorted
}

// member is an accepted mutation on its way to the store.
type member struct {
	seq     uint64
	reads   *interval.Set
	writes  []storage.Write
	touched []string       // sorted
	list    *versions.List // of the writes of a large one
	bytes   int64

	committed func(storage.Timestamp) // may be nil; told before the timestamp is published

	ts      storage.Timestamp // set before answered is closed
	err     error
	dropped bool
	done    chan struct{}
}

// measure counts the bytes that a member adds to its group at the most.
func (m *member) measure() {
	m.bytes = binary.MaxVarintLen32
	for _, w := range m.writes {
		m.bytes += int64(len(w.Key) + len(w.Value))
		if w.Key[0] == spaceSession {
			m.bytes += rowOverhead
		}
	}
	for _, k := range m.touched {
		m.bytes += int64(len(k)) + touchedOverhead
	}
}

// touchedOverhead is the most that the length of a touched key takes in the log.
const touchedOverhead = 3

// waiter is an answer computed on tentative state, waiting for that state to be durable.
type waiter struct {
	seq  uint64
	done chan struct{}
}

const (
	// recentItems and recentKeys bound the validation window; a mutation that began before it is run again.
	recentItems = 16 << 10
	recentKeys  = 1 << 20
	// groupMembers bounds a group, so that its answers do not wait for a long one.
	groupMembers = 2048
)

// errConflict says that a transaction has to be run again.
var errConflict = errors.New("engine: conflict")

func newCommitter(store storage.Store, head storage.Timestamp, o Options, m *meters, id func() storage.GroupID, published func([]publication)) *committer {
	c := &committer{
		store: store, logger: o.Logger, unsafe: o.UnsafeNoValidation, newGroupID: id, published: published,
		stableTS: head, group: size{1 << 20, 1 << 30}, backlog: &backlog{limits: o.Backlog}, metrics: m,
		wake: make(chan struct{}, 1), done: make(chan struct{}), failed: make(chan struct{}),
	}
	if b, ok := store.(storage.Budget); ok {
		c.group.writes, c.group.bytes = b.Budget()
	}
	c.large = c.group
	if b, ok := store.(storage.LargeBudget); ok {
		c.large.writes, c.large.bytes = b.LargeBudget()
	}
	go c.run()
	return c
}

// view returns what a transaction on the tentative head reads: the published timestamp, and what lies above it.
func (c *committer) view() (ts storage.Timestamp, base tentative, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stableTS, tentative{generations: c.generations, seq: c.seq, stable: c.stableSeq}, c.failure
}

// state is for the metrics.
func (c *committer) state() (queued int, published storage.Timestamp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue), c.stableTS
}

// head returns the published timestamp.
func (c *committer) head() storage.Timestamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stableTS
}

// admit prepares a mutation for accept, and refuses one that does not fit into a group even alone.
func (c *committer) admit(m *member) error {
	// A key that was touched more than once is logged, and looked for, once.
	slices.Sort(m.touched)
	m.touched = slices.Compact(m.touched)
	m.measure()
	if n := c.large.writes - groupOverheadRows; len(m.writes) > n {
		return &LimitError{"TransactionRows", int64(n)}
	}
	if n := c.large.bytes - groupOverheadBytes; m.bytes > n {
		return &LimitError{"TransactionBytes", n}
	}
	m.buildList()
	return nil
}

// errNoRoom says that more bytes are under way than may be: the mutation has to wait, and to be run again.
var errNoRoom = fmt.Errorf("engine: no room for what was written: %w", errBusy())

// accept fixes the place of a finished mutation in the commit order, or returns errConflict. While it is held back by somebody's
// reservation it heeds ctx, and returns its cause; nothing has been accepted then.
func (c *committer) accept(ctx context.Context, base uint64, own *reservation, m *member) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.failure != nil {
			return c.failure
		}
		if c.closing {
			return ErrClosed
		}
		r := c.heldBack(own, m.touched)
		if r == nil {
			break
		}
		until := r.until // may be renewed meanwhile
		c.mu.Unlock()
		timer := time.NewTimer(time.Until(until))
		select {
		case <-r.done:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		c.mu.Lock()
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	if !c.unsafe && c.conflicts(base, m.reads) {
		return errConflict
	}
	if !c.backlog.add(m.bytes) {
		return errNoRoom
	}
	if own != nil {
		c.lift(own) // its place is fixed; nobody has to wait until it is durable
	}
	c.seq++
	m.seq = c.seq
	m.done = make(chan struct{})
	c.addTentative(m)
	c.remember(accepted{m.seq, m.touched})
	c.queue = append(c.queue, m)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// conflicts says whether anything accepted after base touched what was read. So does a base from before the window.
func (c *committer) conflicts(base uint64, reads *interval.Set) bool {
	if base == c.seq {
		return false
	}
	if len(c.recent) == 0 || c.recent[0].seq > base+1 {
		return true
	}
	// The window is ascending and gapless, so what came after base is its tail.
	for _, a := range c.recent[base+1-c.recent[0].seq:] {
		if reads.ContainsAny(a.touched) {
			return true
		}
	}
	return false
}

func (c *committer) remember(a accepted) {
	c.recent = append(c.recent, a)
	c.recentKeys += len(a.touched)
	cut := 0
	for len(c.recent)-cut > recentItems || c.recentKeys > recentKeys && len(c.recent)-cut > 1 {
		c.recentKeys -= len(c.recent[cut].touched)
		c.recent[cut].touched = nil
		cut++
	}
	c.recent = c.recent[cut:]
}

// await waits until an accepted mutation is durable and published. errConflict when it was taken back.
func (c *committer) await(ctx context.Context, m *member) (storage.Timestamp, error) {
	if err := wait(ctx, m.done); err != nil {
		// The mutation is on its way and cannot be called back; only its caller has gone.
		return 0, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	if m.dropped {
		return 0, errConflict
	}
	return m.ts, m.err
}

// wait waits until done, or until the caller has gone. That the database is being closed is no reason to leave: the committer
// ends after its calls.
func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); !errors.Is(err, ErrClosed) {
		return err
	}
	<-done
	return nil
}

// settle waits until the state up to base is durable, for answers that wrote nothing but were computed on it. errConflict
// when something they may have read was taken back.
func (c *committer) settle(ctx context.Context, base uint64, reads *interval.Set) (storage.Timestamp, error) {
	c.mu.Lock()
	if c.failure == nil && base > c.stableSeq {
		w := waiter{base, make(chan struct{})}
		c.waiters = append(c.waiters, w)
		c.mu.Unlock()
		if err := wait(ctx, w.done); err != nil {
			return 0, err
		}
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	if c.failure != nil && base > c.stableSeq {
		return 0, c.failure
	}
	if base < c.dropsFloor {
		return 0, errConflict
	}
	for _, d := range c.drops {
		if d.seq > base && reads.ContainsAny(d.touched) {
			return 0, errConflict
		}
	}
	return c.stableTS, nil
}

// close writes what has been accepted and stops.
func (c *committer) close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	<-c.done
}

// run is the committer's goroutine.
func (c *committer) run() {
	defer close(c.done)
	for {
		group := c.take()
		if group == nil {
			c.mu.Lock()
			stop := c.closing && len(c.queue) == 0 || c.failure != nil
			c.mu.Unlock()
			if stop {
				return
			}
			<-c.wake
			continue
		}
		c.commit(group)
	}
}

// Rows and bytes of a group beside its members' writes: the log row and whatever rows the store adds.
const (
	groupOverheadRows  = 4
	groupOverheadBytes = 4 << 10
)

// take moves the next group from the queue to flight: as many members as the store takes at once.
func (c *committer) take() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil || len(c.queue) == 0 {
		return nil
	}
	total, n := size{groupOverheadRows, groupOverheadBytes}, 0
	for _, m := range c.queue[:min(len(c.queue), groupMembers)] {
		total.writes += len(m.writes)
		total.bytes += m.bytes
		// One that does not fit into one step of the store goes alone.
		if n > 0 && (total.writes > c.group.writes || total.bytes > c.group.bytes) {
			break
		}
		n++
	}
	c.flight = c.queue[:n:n]
	c.queue = c.queue[n:]
	c.sealGeneration()
	return c.flight
}

// commit writes one group and publishes it.
func (c *committer) commit(group []*member) {
	var missed []publication
	var gone, touched []string
	rows, bytes := 0, 0
	began := time.Now()
	ts, err := c.store.Commit(context.Background(), c.newGroupID(), func(entries []storage.LogEntry) (storage.Group, error) {
		var err error
		if missed, err = decodeMissed(entries); err != nil {
			return storage.Group{}, err
		}
		for _, p := range missed {
			gone = append(gone, p.touched...)
		}
		if !c.unsafe {
			gone = dropReaders(group, gone)
		}
		var g storage.Group
		g, touched = buildGroup(group)
		rows, bytes = len(g.Writes), groupBytes(g)
		return g, nil
	})
	switch {
	case errors.Is(err, storage.ErrFull):
		c.refuse(group, missed, gone, &Error{Code: CodeBusy, Message: "there is too little disk space left to write", cause: err})
		return
	case err != nil:
		c.fail(fmt.Errorf("%w: %w", ErrFailed, err))
		return
	}
	c.metrics.wrote(group, rows, bytes, time.Since(began))
	if c.refusing {
		c.refusing = false
		c.logger.Info("mutations are taken again")
	}
	news := missed
	if len(touched) > 0 {
		news = append(news, publication{ts, touched})
	}
	c.publish(group, ts, gone, news)
}

// refuse answers a group that the store did not take, with nothing written. What read the group's writes meanwhile is run
// again.
func (c *committer) refuse(group []*member, missed []publication, gone []string, err error) {
	if !c.refusing { // once, and not for every group of a store that stays full
		c.refusing = true
		c.logger.Error("mutations are refused until there is more space", "error", errors.Unwrap(err))
	}
	for _, m := range group {
		if !m.dropped {
			m.err, m.committed = err, nil
			gone = append(gone, m.touched...)
		}
	}
	ts := c.head()
	if n := len(missed); n > 0 {
		ts = max(ts, missed[n-1].ts)
	}
	c.publish(group, ts, gone, missed)
}

// dropReaders marks the members that read one of the keys gone as dropped, and with each all later ones that read its
// writes. It returns gone with the keys that the dropped ones had touched.
func dropReaders(members []*member, gone []string) []string {
	for _, m := range members {
		if !m.dropped && readsAny(m.reads, gone) {
			m.dropped = true
			gone = append(gone, m.touched...)
		}
	}
	return gone
}

func readsAny(reads *interval.Set, keys []string) bool {
	for _, k := range keys {
		if reads.Contains([]byte(k)) {
			return true
		}
	}
	return false
}

// publish makes a group's timestamp the head, tells the watches, and only then answers. gone holds the keys that others
// committed or that were taken back, empty where this is the store's only writer.
func (c *committer) publish(group []*member, ts storage.Timestamp, gone []string, news []publication) {
	for _, m := range group {
		if m.committed != nil && !m.dropped {
			m.committed(ts)
		}
	}
	c.mu.Lock()
	c.stableTS = max(c.stableTS, ts)
	c.flight = nil
	tookBack := len(gone) > 0 && !c.unsafe
	if tookBack {
		group = append(group, c.takeBack(gone)...)
	}
	for _, m := range group {
		if !m.dropped {
			c.stableSeq = max(c.stableSeq, m.seq)
		}
	}
	if len(c.queue) == 0 {
		c.stableSeq = c.seq // the last ones may be of members that were dropped
	}
	if !tookBack { // otherwise it was made anew, of the queue alone
		c.dropPublished()
	}
	var ready []waiter
	rest := c.waiters[:0]
	for _, w := range c.waiters {
		if w.seq <= c.stableSeq {
			ready = append(ready, w)
		} else {
			rest = append(rest, w)
		}
	}
	c.waiters = rest
	c.mu.Unlock()
	c.countOut(group)
	if len(news) > 0 {
		c.published(news)
	}
	for _, m := range group {
		m.ts = ts
		close(m.done)
	}
	for _, w := range ready {
		close(w.done)
	}
}

// takeBack removes from the queue what read one of the keys gone, and lets transactions that are still running find them as
// a change made after they began: their snapshot is from before it.
func (c *committer) takeBack(gone []string) (dropped []*member) {
	gone = dropReaders(c.queue, gone)
	kept := c.queue[:0:0]
	for _, m := range c.queue {
		if m.dropped {
			dropped = append(dropped, m)
		} else {
			kept = append(kept, m)
		}
	}
	c.queue = kept
	c.seq++
	slices.Sort(gone)
	c.remember(accepted{c.seq, gone})
	c.drops = append(c.drops, accepted{c.seq, gone})
	if len(c.drops) > keptDrops {
		c.dropsFloor = c.drops[0].seq
		c.drops = c.drops[1:]
	}
	c.remakeTentative()
	return dropped
}

// keptDrops bounds what settle looks through.
const keptDrops = 256

// countOut counts out of the backlog what has been answered.
func (c *committer) countOut(members []*member) {
	var bytes int64
	for _, m := range members {
		bytes += m.bytes
	}
	c.backlog.remove(bytes)
}

// fail ends all that waits; the database must be reopened.
func (c *committer) fail(err error) {
	c.logger.Error("commit failed; the database must be reopened", "error", err)
	c.mu.Lock()
	c.failure = err
	close(c.failed)
	flight, queue, waiters := c.flight, c.queue, c.waiters
	c.flight, c.queue, c.waiters = nil, nil, nil
	c.mu.Unlock()
	c.countOut(flight)
	c.countOut(queue)
	for _, m := range flight {
		m.err = err
		if errors.Is(err, storage.ErrOutcomeUnknown) {
			m.err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		close(m.done)
	}
	for _, m := range queue { // never handed to the store, so it is known what became of them
		m.err = err
		close(m.done)
	}
	for _, w := range waiters {
		close(w.done)
	}
}
