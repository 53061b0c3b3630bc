package history

import "sync"

// Op is an append of Value to the list Key or, with Read set, a read that gave List.
type Op struct {
	Key   int
	Read  bool
	Value int
	List  []int
}

// Status is what became of a transaction.
type Status uint8

// The outcomes. An unknown one may or may not have taken effect.
const (
	Unknown Status = iota
	Committed
	Failed
)

// Transaction is one transaction of a history. Begin and End count events of the whole history; End is zero for one that was
// never answered. An Observer is a transaction whose place in time is not known, only that it comes after Previous: the state
// that was pushed to a subscriber.
type Transaction struct {
	Client     int
	Ops        []Op
	Status     Status
	Begin, End int
	Observer   bool
	Previous   *Transaction
}

// Recorder collects a history from many goroutines. The zero value is ready.
type Recorder struct {
	mu     sync.Mutex // guards all below
	clock  int
	all    []*Transaction
	pushed map[int]*Transaction
}

// Begin records that a client is about to send a transaction that will do ops; what the reads give is not known yet.
func (r *Recorder) Begin(client int, ops []Op) *Transaction {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	t := &Transaction{Client: client, Ops: ops, Begin: r.clock}
	r.all = append(r.all, t)
	return t
}

// End records an answer; ops carry what the reads gave.
func (r *Recorder) End(t *Transaction, s Status, ops []Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	t.Status, t.End = s, r.clock
	if s == Committed {
		t.Ops = ops
	}
}

// Push records a state that was pushed to a subscriber.
func (r *Recorder) Push(client int, ops []Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &Transaction{Client: client, Ops: ops, Status: Committed, Observer: true, Previous: r.pushed[client]}
	if r.pushed == nil {
		r.pushed = map[int]*Transaction{}
	}
	r.pushed[client] = t
	r.all = append(r.all, t)
}

// Transactions returns what was recorded.
func (r *Recorder) Transactions() []*Transaction {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Transaction(nil), r.all...)
}
