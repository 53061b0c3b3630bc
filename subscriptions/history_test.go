package subscriptions_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/internal/history"
)

var (
	historySeed   = flag.Uint64("history.seed", 0, "run the history test with this seed alone")
	historyRounds = flag.Int("history.rounds", 3, "how many seeds the history test runs with")
	historyTxs    = flag.Int("history.txs", 80, "how many transactions each client of the history test sends")
)

const (
	historyLists   = 6
	historyClients = 8
	historyWindow  = 3 // transactions of one client that are on their way at once
)

type (
	// A list is kept in one document when its key is even, in a document per element when it is odd, so that point reads and
	// ranges, with their phantoms, are both tried.
	listDoc struct {
		Key    int   `json:"key"`
		Values []int `json:"values"`
	}
	listElement struct {
		List  int `json:"list"`
		Pos   int `json:"pos"`
		Value int `json:"value"`
	}
	listOp struct {
		Key   int  `json:"key"`
		Read  bool `json:"read"`
		Value int  `json:"value"`
	}
	listOps struct {
		Ops []listOp `json:"ops"`
	}
	listKey struct {
		Key int `json:"key"`
	}
)

// listSchema declares the lists and the functions that work on them.
func listSchema() *engine.Schema {
	s := engine.NewSchema()
	docs := engine.Define[listDoc](s, "lists")
	byKey := docs.AddUnique("byKey", "key")
	elements := engine.Define[listElement](s, "elements")
	byPos := elements.AddUnique("byPos", "list", "pos")

	read := func(r engine.Reader, key int) ([]int, error) {
		if key%2 == 0 {
			d, err := byKey.Eq(r, key).Collect()
			if err != nil || len(d) == 0 {
				return []int{}, err
			}
			return d[0].Value.Values, nil
		}
		list := []int{}
		for d, err := range byPos.Eq(r, key).Docs() {
			if err != nil {
				return nil, err
			}
			list = append(list, d.Value.Value)
		}
		return list, nil
	}
	appendTo := func(tx *engine.Tx, key, value int) error {
		if key%2 == 0 {
			d, err := byKey.Eq(tx, key).Collect()
			if err != nil {
				return err
			}
			if len(d) == 0 {
				_, err = docs.Insert(tx, listDoc{key, []int{value}})
				return err
			}
			return docs.Patch(tx, d[0].ID, func(l *listDoc) error { l.Values = append(l.Values, value); return nil })
		}
		pos := 0
		last, err := byPos.Eq(tx, key).Desc().Limit(1).Collect()
		if err != nil {
			return err
		}
		if len(last) > 0 {
			pos = last[0].Value.Pos + 1
		}
		_, err = elements.Insert(tx, listElement{key, pos, value})
		return err
	}
	engine.Mutation(s, "lists:run", func(tx *engine.Tx, a listOps) ([][]int, error) {
		out := [][]int{}
		for _, op := range a.Ops {
			for range 8 {
				runtime.Gosched() // so that transactions overlap on a machine with few cores
			}
			if !op.Read {
				if err := appendTo(tx, op.Key, op.Value); err != nil {
					return nil, err
				}
				out = append(out, []int{})
				continue
			}
			list, err := read(tx, op.Key)
			if err != nil {
				return nil, err
			}
			out = append(out, list)
		}
		return out, nil
	})
	engine.Query(s, "lists:get", func(r *engine.ReadTx, a listKey) ([]int, error) { return read(r, a.Key) })
	return s
}

// message is any message of the server, as far as these tests look.
type message struct {
	Type          string
	RequestID     int `json:"requestId"`
	Success       bool
	Result        json.RawMessage
	Modifications []struct {
		Type    string
		QueryID int `json:"queryId"`
		Value   json.RawMessage
	}
}

func dialSync(t *testing.T, url, session string) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/api/1.48.0/sync", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	send(t, c, map[string]any{"type": "Connect", "sessionId": session, "connectionCount": 0, "lastCloseReason": "InitialConnect", "clientTs": 0})
	return c
}

func send(t *testing.T, c *websocket.Conn, m any) {
	t.Helper()
	if err := c.WriteJSON(m); err != nil {
		t.Error(err)
	}
}

// runHistory drives one seeded history through real sockets and returns its anomalies.
func runHistory(t *testing.T, seed uint64, unsafe bool) []history.Anomaly {
	t.Helper()
	db, err := engine.Open(listSchema(), engine.Options{
		Dir: t.TempDir(), UnsafeNoValidation: unsafe,
		Limits: engine.Limits{Attempts: 10_000, FunctionTime: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	if unsafe {
		defer func() { _ = db.Close() }() // it is not consistent: that is what the test is about
	} else {
		defer enginetest.Finish(t, db)
	}
	srv := subscriptions.New(db, subscriptions.Options{})
	web := httptest.NewServer(srv)
	defer web.Close()
	defer func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	}()
	session := func(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%06d%06d", seed%1e6, i) }

	var rec history.Recorder
	stop := make(chan struct{})
	var watchers, clients sync.WaitGroup
	for i := range 2 {
		c := dialSync(t, web.URL, session(100+i))
		watchers.Go(func() { subscribe(t, c, 100+i, &rec) })
		go func() {
			<-stop
			_ = c.Close()
		}()
	}
	for i := range historyClients {
		c := dialSync(t, web.URL, session(i))
		clients.Go(func() {
			defer func() { _ = c.Close() }()
			transact(t, c, i, rand.New(rand.NewPCG(seed, uint64(i))), *historyTxs, &rec)
		})
	}
	clients.Wait()
	final := []history.Op{}
	for k := range historyLists {
		final = append(final, history.Op{Key: k, Read: true})
	}
	c := dialSync(t, web.URL, session(99))
	tx := rec.Begin(99, final)
	sendOps(t, c, 0, final)
	finish(t, &rec, tx, answerTo(t, c))
	_ = c.Close()
	close(stop)
	watchers.Wait()
	return history.Check(rec.Transactions())
}

// subscribe watches every list on one socket and records each state that a Transition leaves.
func subscribe(t *testing.T, c *websocket.Conn, client int, rec *history.Recorder) {
	adds := []any{}
	for k := range historyLists {
		adds = append(adds, map[string]any{"type": "Add", "queryId": k, "udfPath": "lists:get", "args": []any{map[string]any{"key": k}}})
	}
	send(t, c, map[string]any{"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": adds})
	state := map[int][]int{}
	for {
		var m message
		if c.ReadJSON(&m) != nil {
			return // closed at the end
		}
		if m.Type != "Transition" {
			continue
		}
		for _, mod := range m.Modifications {
			if mod.Type != "QueryUpdated" {
				t.Errorf("a live query of the history failed: %+v", mod)
				return
			}
			state[mod.QueryID] = ints(t, mod.Value)
		}
		if len(state) < historyLists {
			continue
		}
		ops := []history.Op{}
		for k := range historyLists {
			ops = append(ops, history.Op{Key: k, Read: true, List: state[k]})
		}
		rec.Push(client, ops)
	}
}

func ints(t *testing.T, raw json.RawMessage) []int {
	t.Helper()
	var list []int
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Errorf("%s: %v", raw, err)
	}
	return list
}

// transact sends n random transactions over one socket, a few at a time.
func transact(t *testing.T, c *websocket.Conn, client int, rnd *rand.Rand, n int, rec *history.Recorder) {
	open := map[int]*history.Transaction{}
	for sent, done := 0, 0; done < n; {
		for sent < n && sent-done < historyWindow {
			ops := []history.Op{}
			for range 1 + rnd.IntN(4) {
				op := history.Op{Key: rnd.IntN(historyLists), Read: rnd.IntN(2) == 0}
				if !op.Read {
					op.Value = client*1_000_000 + sent*100 + len(ops)
				}
				ops = append(ops, op)
			}
			open[sent] = rec.Begin(client, ops)
			sendOps(t, c, sent, ops)
			sent++
		}
		m := answerTo(t, c)
		if m == nil {
			return
		}
		finish(t, rec, open[m.RequestID], m)
		done++
	}
}

func sendOps(t *testing.T, c *websocket.Conn, request int, ops []history.Op) {
	t.Helper()
	list := []any{}
	for _, op := range ops {
		list = append(list, map[string]any{"key": op.Key, "read": op.Read, "value": op.Value})
	}
	send(t, c, map[string]any{"type": "Mutation", "requestId": request, "udfPath": "lists:run", "args": []any{map[string]any{"ops": list}}})
}

// answerTo returns the next answer to a mutation.
func answerTo(t *testing.T, c *websocket.Conn) *message {
	t.Helper()
	for {
		var m message
		if err := c.ReadJSON(&m); err != nil {
			t.Errorf("reading an answer: %v", err)
			return nil
		}
		if m.Type == "MutationResponse" {
			return &m
		}
	}
}

func finish(t *testing.T, rec *history.Recorder, tx *history.Transaction, m *message) {
	t.Helper()
	if m == nil || tx == nil {
		t.Error("no answer to a transaction")
		return
	}
	if !m.Success {
		rec.End(tx, history.Failed, nil)
		return
	}
	var lists [][]int
	if err := json.Unmarshal(m.Result, &lists); err != nil || len(lists) != len(tx.Ops) {
		t.Errorf("result %s: %v", m.Result, err)
		return
	}
	ops := slices.Clone(tx.Ops)
	for i := range ops {
		if ops[i].Read {
			ops[i].List = lists[i]
		}
	}
	rec.End(tx, history.Committed, ops)
}

// Concurrent mutations over websockets are strictly serializable, and what subscribers are sent fits into the same order.
func TestHistoriesAreStrictlySerializable(t *testing.T) {
	t.Parallel()
	seeds := []uint64{*historySeed}
	if *historySeed == 0 {
		seeds = seeds[:0]
		for i := range *historyRounds {
			seeds = append(seeds, uint64(time.Now().UnixNano())%1e9+uint64(i))
		}
	}
	for _, seed := range seeds {
		for _, a := range runHistory(t, seed, false) {
			t.Errorf("seed %d (run again with -run %s -history.seed=%d): %v", seed, t.Name(), seed, a)
		}
	}
}

// The same histories with the engine's validation switched off: the checker must notice.
func TestHistoriesWithoutValidationAreCaught(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 10; seed++ {
		if len(runHistory(t, seed, true)) > 0 {
			return
		}
	}
	t.Error("ten histories without validation passed as strictly serializable")
}
