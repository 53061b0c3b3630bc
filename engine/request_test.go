package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

type tally struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

type addArgs struct {
	Name string `json:"name"`
	Fail bool   `json:"fail,omitempty"`
	Echo string `json:"echo,omitempty"`
	Size int    `json:"size,omitempty"`
}

type addResult struct {
	N    int    `json:"n"`
	Echo string `json:"echo"`
}

// counters is a schema whose mutation counts how often it took effect.
type counters struct {
	schema  *engine.Schema
	tallies *engine.Collection[tally]
	byName  *engine.Index[tally]
}

func newCounters() *counters {
	s := engine.NewSchema()
	c := &counters{schema: s, tallies: engine.Define[tally](s, "tallies")}
	c.byName = c.tallies.AddUnique("byName", "name")
	engine.Mutation(s, "tally:add", func(tx *engine.Tx, a addArgs) (addResult, error) {
		tx.Log("adding to %s", a.Name)
		if a.Fail {
			return addResult{}, engine.Errorf("refused", "not now")
		}
		d, err := c.byName.One(tx, a.Name)
		if errors.Is(err, engine.ErrNotFound) {
			_, err = c.tallies.Insert(tx, tally{a.Name, 1})
			return addResult{1, a.Echo + strings.Repeat("x", a.Size)}, err
		}
		if err != nil {
			return addResult{}, err
		}
		r := addResult{d.Value.N + 1, a.Echo + strings.Repeat("x", a.Size)}
		return r, c.tallies.Patch(tx, d.ID, func(v *tally) error { v.N++; return nil })
	})
	engine.Mutation(s, "tally:other", func(*engine.Tx, addArgs) (addResult, error) { return addResult{}, nil })
	engine.Query(s, "tally:get", func(r *engine.ReadTx, a addArgs) (int, error) {
		d, err := c.byName.One(r, a.Name)
		if errors.Is(err, engine.ErrNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return d.Value.N, nil
	})
	return c
}

func (c *counters) value(t testing.TB, db *engine.DB, name string) (n int) {
	t.Helper()
	view(t, db, func(r *engine.ReadTx) error {
		d, err := c.byName.One(r, name)
		if err == nil {
			n = d.Value.N
		} else if errors.Is(err, engine.ErrNotFound) {
			err = nil
		}
		return err
	})
	return n
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func addCall(t testing.TB, session string, request uint64, a addArgs) engine.Call {
	t.Helper()
	return engine.Call{Function: "tally:add", Args: encode(t, a), Request: &engine.RequestID{Session: session, Request: request}}
}

func mutate(t testing.TB, db *engine.DB, c engine.Call) *engine.Result {
	t.Helper()
	r, err := db.RunMutation(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResentMutationTakesEffectOnce(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		c := newCounters()
		db := open(c.schema)
		call := addCall(t, "s", 1, addArgs{Name: "a", Echo: "<&>\u2028"})
		first := mutate(t, db, call)
		if first.Replayed || first.Timestamp == 0 {
			t.Errorf("first send: replayed %v at %d", first.Replayed, first.Timestamp)
		}
		again := mutate(t, db, call)
		if !again.Replayed || again.Timestamp != first.Timestamp {
			t.Errorf("second send: replayed %v at %d, want the first one's %d", again.Replayed, again.Timestamp, first.Timestamp)
		}
		if !bytes.Equal(again.Value, first.Value) {
			t.Errorf("second send gave %s, the first %s", again.Value, first.Value)
		}
		if len(again.Log) != 1 || again.Log[0] != first.Log[0] {
			t.Errorf("second send logged %q, the first %q", again.Log, first.Log)
		}
		// The same arguments in another spelling are the same call.
		call.Args = json.RawMessage(` { "echo":"<&>\u2028", "name":"\u0061"}`)
		if !mutate(t, db, call).Replayed {
			t.Error("another spelling of the arguments is not recognised")
		}
		if n := c.value(t, db, "a"); n != 1 {
			t.Errorf("took effect %d times", n)
		}
	})
}

func TestRequestIDOfAnotherCallIsRefused(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema)
	mutate(t, db, addCall(t, "s", 1, addArgs{Name: "a"}))
	other := addCall(t, "s", 1, addArgs{Name: "a"})
	other.Function = "tally:other"
	signedIn := addCall(t, "s", 1, addArgs{Name: "a"})
	signedIn.Principal = someone("ann")
	for name, call := range map[string]engine.Call{
		"other arguments": addCall(t, "s", 1, addArgs{Name: "b"}),
		"other function":  other,
		"other caller":    signedIn,
	} {
		r, err := db.RunMutation(context.Background(), call)
		if !errors.Is(err, &engine.Error{Code: engine.CodeConflict}) || r.Value != nil {
			t.Errorf("%s: %v with %s, want a conflict and no result", name, err, r.Value)
		}
	}
	// Another session's request of the same number is another request.
	if mutate(t, db, addCall(t, "s2", 1, addArgs{Name: "a"})).Replayed {
		t.Error("another session got the first one's result")
	}
	if n := c.value(t, db, "a"); n != 2 {
		t.Errorf("took effect %d times, want 2", n)
	}
}

// someone is a principal who is a user without a session.
type someone string

func (s someone) Key() string { return string(s) }
func (s someone) Resolve(engine.Reader) (*engine.Identity, error) {
	return &engine.Identity{User: string(s)}, nil
}

func TestRacingSendsOfOneRequest(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		c := newCounters()
		db := open(c.schema)
		var wg sync.WaitGroup
		var mu sync.Mutex
		fresh := 0
		for range 32 {
			wg.Go(func() {
				r, err := db.RunMutation(context.Background(), addCall(t, "s", 7, addArgs{Name: "a"}))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if !r.Replayed {
					fresh++
				}
			})
		}
		wg.Wait()
		if n := c.value(t, db, "a"); fresh != 1 || n != 1 {
			t.Errorf("%d sends were the first, the counter is %d; want 1 and 1", fresh, n)
		}
	})
}

// A resend that arrives while the first send is not durable yet waits like any other answer.
func TestReplayBeforeDurability(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store := openSpied(t, c.schema)
	store.hold()
	call := addCall(t, "s", 1, addArgs{Name: "a"})
	accepted, wait := db.StartMutation(context.Background(), call)
	within(t, "acceptance", accepted)
	acceptedAgain, waitAgain := db.StartMutation(context.Background(), call)
	within(t, "acceptance of the resend", acceptedAgain)
	answered := make(chan *engine.Result, 2)
	for _, w := range []func() (*engine.Result, error){wait, waitAgain} {
		go func() {
			r, err := w()
			if err != nil {
				t.Error(err)
			}
			answered <- r
		}()
	}
	within(t, "the commit", store.arrived)
	select {
	case r := <-answered:
		t.Fatalf("answered %+v before it was durable", r)
	default:
	}
	store.open()
	a, b := within(t, "an answer", answered), within(t, "the other answer", answered)
	if a.Replayed == b.Replayed || !bytes.Equal(a.Value, b.Value) {
		t.Errorf("got %+v and %+v, want one original and its replay", a, b)
	}
}

func TestFailedMutationMayBeResent(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema)
	for range 2 {
		r, err := db.RunMutation(context.Background(), addCall(t, "s", 1, addArgs{Name: "a", Fail: true}))
		if !errors.Is(err, &engine.Error{Code: "refused"}) || len(r.Log) != 1 || r.Timestamp != 0 {
			t.Errorf("got %v with %+v", err, r)
		}
	}
	// It took no effect, so that the number is free.
	if mutate(t, db, addCall(t, "s", 1, addArgs{Name: "a"})).Replayed {
		t.Error("a failure was recorded")
	}
}

// Records that share a row are found whatever was committed after them.
func TestRequestsOutOfOrder(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		c := newCounters()
		store := newSpy(memstore.New(memstore.Options{}))
		db := open(c.schema, func(o *engine.Options) {
			if err := o.Store.Close(); err != nil {
				t.Error(err)
			}
			o.Store = store
		})
		t.Cleanup(store.open)
		name := func(n uint64) string { return fmt.Sprint("c", n) }
		// Requests 1, 5, 4 and 9 get into one group, the others come later.
		store.hold()
		acceptedFirst, waitFirst := db.StartMutation(context.Background(), addCall(t, "other", 1, addArgs{Name: "first"}))
		within(t, "acceptance", acceptedFirst)
		within(t, "the first commit", store.arrived)
		waits := []func() (*engine.Result, error){waitFirst}
		for _, n := range []uint64{1, 5, 4, 9} {
			accepted, wait := db.StartMutation(context.Background(), addCall(t, "s", n, addArgs{Name: name(n)}))
			within(t, "acceptance", accepted)
			waits = append(waits, wait)
		}
		store.open()
		for _, w := range waits {
			if _, err := w(); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []uint64{3, 2, 7, 12, 0, 6} {
			mutate(t, db, addCall(t, "s", n, addArgs{Name: name(n)}))
		}
		for _, n := range []uint64{1, 2, 3, 4, 5, 6, 7, 9, 12, 0} {
			if !mutate(t, db, addCall(t, "s", n, addArgs{Name: name(n)})).Replayed {
				t.Errorf("request %d took effect again", n)
			}
			if got := c.value(t, db, name(n)); got != 1 {
				t.Errorf("request %d: took effect %d times", n, got)
			}
		}
	})
}

// A session that sends many mutations at once pays one row a group for their records.
func TestRecordsOfAGroupShareARow(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, store := openSpied(t, c.schema)
	store.hold()
	var waits []func() (*engine.Result, error)
	start := func(session string, n uint64) {
		accepted, wait := db.StartMutation(context.Background(), addCall(t, session, n, addArgs{Name: "a"}))
		within(t, "acceptance", accepted)
		waits = append(waits, wait)
	}
	start("first", 1)
	within(t, "the first commit", store.arrived)
	for n := range uint64(40) {
		start("s", n+1)
	}
	store.open()
	for _, w := range waits {
		if _, err := w(); err != nil {
			t.Fatal(err)
		}
	}
	_, _, keys := store.counts()
	if keys['s'] != 2 {
		t.Errorf("%d session rows for two groups of one session each", keys['s'])
	}
	if n := c.value(t, db, "a"); n != 41 {
		t.Errorf("the counter is %d, want 41", n)
	}
}

func TestReplayAfterReopening(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	call := addCall(t, "s", 1, addArgs{Name: "a"})
	var first *engine.Result
	for i := range 2 {
		c := newCounters()
		db, err := engine.Open(c.schema, engine.Options{Store: shared.Open(), Limits: patient})
		if err != nil {
			t.Fatal(err)
		}
		r := mutate(t, db, call)
		if i == 0 {
			first = r
		} else if !r.Replayed || !bytes.Equal(r.Value, first.Value) || r.Timestamp != first.Timestamp {
			t.Errorf("after reopening got %+v, want a replay of %+v", r, first)
		}
		enginetest.Finish(t, db)
	}
}

// A result that is too large to be recorded fails its mutation, not the database.
func TestResultTooLargeToRecord(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		c := newCounters()
		db := open(c.schema)
		_, err := db.RunMutation(context.Background(), addCall(t, "s", 1, addArgs{Name: "a", Size: 3 << 20}))
		var limit *engine.LimitError
		if !errors.Is(err, &engine.Error{Code: engine.CodeTooLarge}) || !errors.As(err, &limit) || limit.Limit != "ResultBytes" {
			t.Fatalf("got %v, want the limit ResultBytes", err)
		}
		// Without a record it may be as large as any result.
		free := addCall(t, "s", 1, addArgs{Name: "a", Size: 3 << 20})
		free.Request = nil
		if r := mutate(t, db, free); len(r.Value) < 3<<20 {
			t.Errorf("result of %d bytes", len(r.Value))
		}
	})
}

// Large results of one session do not fit one row together.
func TestLargeRecordsOfOneGroup(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		c := newCounters()
		db := open(c.schema)
		var waits []func() (*engine.Result, error)
		calls := make([]engine.Call, 12)
		for n := range calls {
			calls[n] = addCall(t, "s", uint64(n), addArgs{Name: fmt.Sprint(n), Size: 500 << 10})
			accepted, wait := db.StartMutation(context.Background(), calls[n])
			within(t, "acceptance", accepted)
			waits = append(waits, wait)
		}
		for _, w := range waits {
			if _, err := w(); err != nil {
				t.Fatal(err)
			}
		}
		for n, call := range calls {
			if r := mutate(t, db, call); !r.Replayed || len(r.Value) < 500<<10 {
				t.Errorf("request %d: replayed %v, %d bytes", n, r.Replayed, len(r.Value))
			}
		}
	})
}

func TestSessionIDs(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema)
	for _, s := range []string{"", strings.Repeat("s", 65), "a\x00b", "é", "tab\t"} {
		if _, err := db.RunMutation(context.Background(), addCall(t, s, 1, addArgs{Name: "a"})); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("session %q: %v, want an error of code invalid", s, err)
		}
	}
	// A session whose name begins like another's is another one.
	mutate(t, db, addCall(t, "ab", 1, addArgs{Name: "a"}))
	mutate(t, db, addCall(t, "a", 1, addArgs{Name: "a"}))
	if n := c.value(t, db, "a"); n != 2 {
		t.Errorf("took effect %d times, want 2", n)
	}
}

// Two sends that run at the same time of a mutation that reads nothing of its own: only the record tells them apart.
func TestRacingSendsOfAnInsert(t *testing.T) {
	t.Parallel()
	c := newCounters()
	var runs atomic.Int32
	both := make(chan struct{})
	engine.Mutation(c.schema, "tally:insert", func(tx *engine.Tx, _ struct{}) (struct{}, error) {
		if n := runs.Add(1); n == 2 {
			close(both)
		} else if n > 2 {
			return struct{}{}, errors.New("ran again although the record is there")
		}
		<-both
		_, err := c.tallies.Insert(tx, tally{tx.Now().Format(time.RFC3339Nano), 1})
		return struct{}{}, err
	})
	now := time.Now()
	var clock atomic.Int64
	db := enginetest.Open(t, c.schema, func(o *engine.Options) { // no two names are equal
		o.Clock = func() time.Time { return now.Add(time.Duration(clock.Add(1)) * time.Millisecond) }
	})
	call := engine.Call{Function: "tally:insert", Args: []byte(`{}`), Request: &engine.RequestID{Session: "s", Request: 1}}
	var sends sync.WaitGroup
	for range 2 {
		sends.Go(func() {
			if _, err := db.RunMutation(context.Background(), call); err != nil {
				t.Error(err)
			}
		})
	}
	sends.Wait()
	view(t, db, func(r *engine.ReadTx) error {
		n, err := c.tallies.All(r).Count()
		if n != 1 {
			t.Errorf("%d documents after two sends of one request, want 1", n)
		}
		return err
	})
}
