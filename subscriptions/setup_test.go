package subscriptions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// patience is how long a test waits for something that must come.
const patience = 20 * time.Second

type note struct {
	Room   string `json:"room"`
	Text   string `json:"text"`
	Author string `json:"author"`
}

type session struct {
	User  string `json:"user"`
	Ended bool   `json:"ended"`
}

type (
	none   struct{}
	inRoom struct {
		Room string `json:"room"`
	}
	addArgs struct {
		Room string `json:"room"`
		Text string `json:"text"`
	}
	userArgs struct {
		User string `json:"user"`
	}
	sessionArgs struct {
		Session engine.ID[session] `json:"session"`
	}
	sizeArgs struct {
		Size int `json:"size"`
	}
	gateArgs struct {
		Gate string `json:"gate"`
	}
	pageArgs struct {
		Room string          `json:"room"`
		Page engine.PageArgs `json:"paginationOpts"`
	}
	codeArgs struct {
		Code string `json:"code"`
	}
)

// app is the program whose server is tested.
type app struct {
	schema   *engine.Schema
	notes    *engine.Collection[note]
	byRoom   *engine.Index[note]
	sessions *engine.Collection[session]

	mu    sync.Mutex
	gates map[string]*gate // guarded by mu
}

// gate stops a function on its way until the test lets it go.
type gate struct {
	entered chan struct{} // one value each time a function arrives
	open    chan struct{} // closed to let all go
}

func (a *app) gate(name string) *gate {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.gates[name]
	if g == nil {
		g = &gate{make(chan struct{}, 1000), make(chan struct{})}
		a.gates[name] = g
	}
	return g
}

func (g *gate) pass(ctx context.Context) error {
	g.entered <- struct{}{}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// principal stands for a session of the app.
type principal struct {
	app     *app
	session engine.ID[session]
	expires time.Time
}

func (p *principal) Key() string        { return string(p.session) }
func (p *principal) Expires() time.Time { return p.expires }

func (p *principal) Resolve(r engine.Reader) (*engine.Identity, error) {
	d, err := p.app.sessions.Get(r, p.session)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case d.Value.Ended:
		return nil, nil
	}
	return &engine.Identity{User: d.Value.User, Session: string(p.session)}, nil
}

// Principal makes app an Authenticator. A token is a session's id, perhaps followed by "/" and seconds since the epoch.
func (a *app) Principal(token string) (engine.Principal, error) {
	id, at, timed := strings.Cut(token, "/")
	if id == "broken" {
		return nil, errors.New("a secret reason")
	}
	sid, err := a.sessions.ParseID(id)
	if err != nil {
		return nil, engine.Errorf(engine.CodeUnauthenticated, "bad token")
	}
	p := &principal{app: a, session: sid}
	if timed {
		var seconds int64
		if _, err := fmt.Sscan(at, &seconds); err != nil {
			return nil, err
		}
		p.expires = time.Unix(seconds, 0)
	}
	return p, nil
}

func user(r engine.Reader) (string, error) {
	id, err := r.Identity()
	if err != nil || id == nil {
		return "nobody", err
	}
	return id.User, nil
}

func newApp() *app {
	s := engine.NewSchema()
	a := &app{schema: s, notes: engine.Define[note](s, "notes"), sessions: engine.Define[session](s, "sessions"), gates: map[string]*gate{}}
	a.byRoom = a.notes.AddIndex("byRoom", "room")

	list := func(r engine.Reader, room string) ([]string, error) {
		texts := []string{}
		for d, err := range a.byRoom.Eq(r, room).Docs() {
			if err != nil {
				return nil, err
			}
			texts = append(texts, d.Value.Text)
		}
		return texts, nil
	}
	engine.Query(s, "notes:list", func(r *engine.ReadTx, in inRoom) ([]string, error) { return list(r, in.Room) })
	engine.Query(s, "notes:count", func(r *engine.ReadTx, in inRoom) (int, error) { return a.byRoom.Eq(r, in.Room).Count() })
	engine.Query(s, "notes:latest", func(r *engine.ReadTx, in inRoom) (string, error) {
		d, err := a.byRoom.Eq(r, in.Room).Desc().First()
		if err != nil || d == nil {
			return "", err
		}
		return string(d.ID), nil
	})
	engine.Query(s, "notes:page", func(r *engine.ReadTx, in pageArgs) (engine.Page[string], error) {
		p, err := a.byRoom.Eq(r, in.Room).Desc().Paginate(in.Page)
		if err != nil {
			return engine.Page[string]{}, err
		}
		return engine.MapPage(p, func(n *engine.Doc[note]) (string, error) {
			if n.Value.Text == "broken" {
				return "", fail("forbidden")
			}
			return n.Value.Text, nil
		})
	})
	engine.Query(s, "notes:any", func(r *engine.ReadTx, in inRoom) (bool, error) {
		n, err := a.byRoom.Eq(r, in.Room).Count()
		return n > 0, err
	})
	engine.Query(s, "notes:mine", func(r *engine.ReadTx, in inRoom) (string, error) {
		who, err := user(r)
		if err != nil {
			return "", err
		}
		texts, err := list(r, in.Room)
		return who + ":" + strings.Join(texts, ","), err
	})
	engine.Query(s, "notes:picky", func(r *engine.ReadTx, in inRoom) (string, error) {
		n, err := a.byRoom.Eq(r, in.Room).Count()
		if err != nil || n%2 == 0 {
			return "even", err
		}
		return user(r) // asks who it is only when the count is odd
	})
	engine.Query(s, "notes:logged", func(r *engine.ReadTx, in inRoom) (int, error) {
		r.Log("room %s, it's", in.Room)
		return a.byRoom.Eq(r, in.Room).Count()
	})
	engine.Query(s, "notes:gated", func(r *engine.ReadTx, in inRoom) (int, error) {
		n, err := a.byRoom.Eq(r, in.Room).Count()
		if err != nil {
			return 0, err
		}
		return n, a.gate(in.Room).pass(r.Context())
	})
	engine.Query(s, "users:me", func(r *engine.ReadTx, _ none) (string, error) { return user(r) })
	engine.Query(s, "clock:now", func(r *engine.ReadTx, in inRoom) (uint64, error) {
		if _, err := a.byRoom.Eq(r, in.Room).Count(); err != nil {
			return 0, err
		}
		return r.Rand().Uint64N(1 << 50), nil
	})
	engine.Query(s, "big:value", func(r *engine.ReadTx, in sizeArgs) (string, error) {
		n, err := a.byRoom.Eq(r, "big").Count()
		return strings.Repeat(string(rune('a'+n%26)), in.Size), err
	})
	engine.Query(s, "fails:query", func(r *engine.ReadTx, in codeArgs) (none, error) { return none{}, fail(in.Code) })
	engine.Mutation(s, "fails:mutation", func(tx *engine.Tx, in codeArgs) (none, error) { return none{}, fail(in.Code) })
	engine.Action(s, "fails:action", func(c *engine.ActionCtx, in codeArgs) (none, error) { return none{}, fail(in.Code) })

	add := engine.Mutation(s, "notes:add", func(tx *engine.Tx, in addArgs) (string, error) {
		who, err := user(tx)
		if err != nil {
			return "", err
		}
		_, err = a.notes.Insert(tx, note{Room: in.Room, Text: in.Text, Author: who})
		return who, err
	})
	engine.Mutation(s, "notes:addGated", func(tx *engine.Tx, in addArgs) (string, error) {
		if err := a.gate(in.Text).pass(tx.Context()); err != nil {
			return "", err
		}
		_, err := a.notes.Insert(tx, note{Room: in.Room, Text: in.Text})
		return in.Text, err
	})
	engine.Mutation(s, "notes:nothing", func(tx *engine.Tx, _ none) (string, error) { return "read only", nil })
	engine.Query(s, "secret:peek", func(r *engine.ReadTx, _ none) (string, error) { return "secret", nil }, engine.Internal())

	begin := engine.Mutation(s, "auth:begin", func(tx *engine.Tx, in userArgs) (engine.ID[session], error) {
		return a.sessions.Insert(tx, session{User: in.User})
	}, engine.Internal())
	endSession := func(tx *engine.Tx, id engine.ID[session]) error {
		return a.sessions.Patch(tx, id, func(s *session) error { s.Ended = true; return nil })
	}
	end := engine.Mutation(s, "auth:end", func(tx *engine.Tx, in sessionArgs) (none, error) {
		return none{}, endSession(tx, in.Session)
	}, engine.Internal())
	engine.Action(s, "auth:signIn", func(c *engine.ActionCtx, in userArgs) (string, error) {
		if p, ok := c.Principal().(*principal); ok {
			if _, err := end.Run(c, sessionArgs{p.session}); err != nil {
				return "", err
			}
		}
		id, err := begin.Run(c, userArgs{in.User})
		if err != nil {
			return "", err
		}
		c.SetPrincipal(&principal{app: a, session: id})
		return in.User, nil
	})
	engine.Action(s, "auth:signOut", func(c *engine.ActionCtx, _ none) (string, error) {
		if p, ok := c.Principal().(*principal); ok {
			if _, err := end.Run(c, sessionArgs{p.session}); err != nil {
				return "", err
			}
			// A slow answer: the end of the session is known long before the action returns.
			if err := a.gate("signOut").pass(c.Context()); err != nil {
				return "", err
			}
		}
		c.SetPrincipal(nil)
		return "out", nil
	})
	engine.Action(s, "actions:gated", func(c *engine.ActionCtx, in gateArgs) (string, error) {
		return in.Gate, a.gate(in.Gate).pass(c.Context())
	})
	engine.Action(s, "actions:from", func(c *engine.ActionCtx, _ none) (string, error) { return c.Remote().String(), nil })
	engine.Action(s, "actions:add", func(c *engine.ActionCtx, in addArgs) (string, error) { return add.Run(c, in) })
	return a
}

func fail(code string) error {
	switch code {
	case "":
		return errors.New("a secret reason")
	case "panic":
		panic("a secret reason")
	case "issues":
		return engine.Errorf(engine.CodeInvalid, "wrong").WithIssues(engine.Issue{Path: "a.0", Rule: "minLength", Message: "too short"})
	}
	return engine.Errorf(engine.Code(code), "failed with %s", code).With(map[string]any{"n": 1})
}

// host is a server under test.
type host struct {
	t   testing.TB
	app *app
	db  *engine.DB
	srv *subscriptions.Server
	url string // http://…

	connections atomic.Uint32
}

func setup(t testing.TB, o subscriptions.Options, change ...func(*engine.Options)) *host {
	t.Helper()
	a := newApp()
	return serve(t, a, enginetest.Open(t, a.schema, change...), o)
}

func serve(t testing.TB, a *app, db *engine.DB, o subscriptions.Options) *host {
	t.Helper()
	o.Authenticator = a
	srv := subscriptions.New(db, o)
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a.mu.Lock()
		for _, g := range a.gates {
			select {
			case <-g.open:
			default:
				close(g.open)
			}
		}
		a.mu.Unlock()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		web.Close()
	})
	return &host{t: t, app: a, db: db, srv: srv, url: web.URL}
}

// signIn makes a session and returns its token.
func (h *host) signIn(name string) string {
	h.t.Helper()
	var id engine.ID[session]
	err := h.db.Update(context.Background(), func(tx *engine.Tx) (err error) {
		id, err = h.app.sessions.Insert(tx, session{User: name})
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return string(id)
}

func (h *host) endSession(token string) {
	h.t.Helper()
	err := h.db.Update(context.Background(), func(tx *engine.Tx) error {
		return h.app.sessions.Patch(tx, engine.ID[session](token), func(s *session) error { s.Ended = true; return nil })
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// add writes a note, not by way of any socket.
func (h *host) add(room, text string) {
	h.t.Helper()
	err := h.db.Update(context.Background(), func(tx *engine.Tx) error {
		_, err := h.app.notes.Insert(tx, note{Room: room, Text: text, Author: "host"})
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) texts(room string) []string {
	h.t.Helper()
	var texts []string
	err := h.db.View(context.Background(), func(r *engine.ReadTx) error {
		texts = nil
		for d, err := range h.app.byRoom.Eq(r, room).Docs() {
			if err != nil {
				return err
			}
			texts = append(texts, d.Value.Text)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return texts
}

// client is a raw client that knows the protocol's rules and fails the test when the server breaks one.
type client struct {
	t       testing.TB
	conn    *websocket.Conn
	session string
	next    uint32 // query set version
	auth    uint32 // identity version
	version wire.StateVersion
	values  map[uint32]string // what each query says: its JSON, or "!code"
	journal map[uint32]string // of each query
	asm     wire.Assembler
	chunks  int
	resent  bool            // it sends mutations that have taken effect already
	owed    wire.Timestamp  // of an answered mutation whose Transition has not come
	answers map[uint32]bool // mutations that were answered with success
}

var sessionCount struct {
	sync.Mutex
	n int
}

func newSession() string {
	sessionCount.Lock()
	defer sessionCount.Unlock()
	sessionCount.n++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", sessionCount.n)
}

// dial opens a socket without a word.
func (h *host) dial(header ...string) *client {
	h.t.Helper()
	hd := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		hd.Set(header[i], header[i+1])
	}
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/api/1.48.0/sync", hd)
	if err != nil {
		h.t.Fatalf("dial: %v (%v)", err, resp)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return &client{t: h.t, conn: conn, values: map[uint32]string{}, journal: map[uint32]string{}, answers: map[uint32]bool{}}
}

// connect opens a socket of a new session, and of the given one if there is one.
func (h *host) connect(session ...string) *client {
	h.t.Helper()
	c := h.dial()
	c.session = newSession()
	if len(session) > 0 {
		c.session = session[0]
	}
	c.send(&wire.Connect{SessionID: c.session, ConnectionCount: h.connections.Add(1), LastCloseReason: "InitialConnect"})
	return c
}

// connectFrom opens a socket of a new session, with a header X-Forwarded-For.
func (h *host) connectFrom(forwarded string) *client {
	h.t.Helper()
	c := h.dial("X-Forwarded-For", forwarded)
	c.session = newSession()
	c.send(&wire.Connect{SessionID: c.session, ConnectionCount: h.connections.Add(1), LastCloseReason: "InitialConnect"})
	return c
}

func (c *client) send(m wire.ClientMessage) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, m.Append(nil)); err != nil {
		c.t.Fatalf("send %s: %v", m.Type(), err)
	}
}

// watch adds queries: id, path, args, id, path, args, …
func (c *client) watch(list ...any) {
	c.t.Helper()
	m := &wire.ModifyQuerySet{BaseVersion: c.next, NewVersion: c.next + 1}
	c.next++
	for i := 0; i < len(list); i += 3 {
		m.Modifications = append(m.Modifications, wire.QueryChange{
			QueryID: uint32(list[i].(int)), Path: list[i+1].(string), Args: json.RawMessage(list[i+2].(string)),
		})
	}
	c.send(m)
}

func (c *client) unwatch(ids ...uint32) {
	c.t.Helper()
	m := &wire.ModifyQuerySet{BaseVersion: c.next, NewVersion: c.next + 1}
	c.next++
	for _, id := range ids {
		m.Modifications = append(m.Modifications, wire.QueryChange{QueryID: id, Remove: true})
	}
	c.send(m)
}

func (c *client) mutate(id uint32, path, args string) {
	c.t.Helper()
	c.send(&wire.Mutation{RequestID: id, Path: path, Args: json.RawMessage(args)})
}

func (c *client) act(id uint32, path, args string) {
	c.t.Helper()
	c.send(&wire.Action{RequestID: id, Path: path, Args: json.RawMessage(args)})
}

func (c *client) authenticate(token string) {
	c.t.Helper()
	m := &wire.Authenticate{BaseVersion: c.auth, TokenType: wire.TokenUser, Value: token}
	if token == "" {
		m.TokenType = wire.TokenNone
	}
	c.auth++
	c.send(m)
}

// receive returns the next message, whatever it is.
func (c *client) receive() (wire.ServerMessage, error) {
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
		_, frame, err := c.conn.ReadMessage()
		if err != nil {
			return nil, err
		}
		m, err := wire.DecodeServer(frame)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *wire.TransitionChunk:
			c.chunks++
			whole, err := c.asm.Add(m)
			if err != nil {
				return nil, err
			}
			if whole == nil {
				continue
			}
			t, err := wire.DecodeServer(whole)
			if err != nil {
				return nil, err
			}
			return t, c.apply(t.(*wire.Transition))
		case *wire.Transition:
			return m, c.apply(m)
		case *wire.MutationResponse:
			if m.Failure == nil {
				if m.TS <= c.version.TS && !c.resent {
					return nil, fmt.Errorf("the effect of mutation %d was shown before its answer", m.RequestID)
				}
				c.owed = max(c.owed, m.TS)
				c.answers[m.RequestID] = true
			}
			return m, nil
		default:
			return m, nil
		}
	}
}

func (c *client) apply(t *wire.Transition) error {
	if t.Start != c.version {
		return fmt.Errorf("transition starts at %+v, not at %+v", t.Start, c.version)
	}
	if t.End.TS < t.Start.TS || t.End.QuerySet < t.Start.QuerySet || t.End.Identity < t.Start.Identity {
		return fmt.Errorf("transition goes back: %+v", t)
	}
	c.version = t.End
	if t.End.TS >= c.owed {
		c.owed = 0
	}
	for _, m := range t.Modifications {
		r, err := m.Encoded.Result()
		switch {
		case err != nil:
			return err
		case r == nil:
			delete(c.values, m.QueryID)
			delete(c.journal, m.QueryID)
			continue
		case r.Failure != nil:
			c.values[m.QueryID] = "!" + codeOf(r.Failure)
		default:
			c.values[m.QueryID] = string(r.Value)
		}
		c.journal[m.QueryID] = r.Journal
	}
	return nil
}

func codeOf(f *wire.Failure) string {
	d, err := wire.DecodeErrorData(f.Data)
	if err != nil {
		return "?" + f.Message
	}
	return d.Code
}

// describe writes a message in short.
func describe(m wire.ServerMessage) string {
	outcome := func(id uint32, value json.RawMessage, f *wire.Failure) string {
		if f != nil {
			return fmt.Sprintf("%d !%s", id, codeOf(f))
		}
		return fmt.Sprintf("%d %s", id, value)
	}
	switch m := m.(type) {
	case *wire.Transition:
		s := fmt.Sprintf("T %d.%d", m.End.QuerySet, m.End.Identity)
		for _, mod := range m.Modifications {
			switch r, _ := mod.Encoded.Result(); {
			case r == nil:
				s += fmt.Sprintf(" %d-", mod.QueryID)
			case r.Failure != nil:
				s += fmt.Sprintf(" %d=!%s", mod.QueryID, codeOf(r.Failure))
			default:
				s += fmt.Sprintf(" %d=%s", mod.QueryID, r.Value)
			}
		}
		return s
	case *wire.MutationResponse:
		return "M " + outcome(m.RequestID, m.Result, m.Failure)
	case *wire.ActionResponse:
		return "A " + outcome(m.RequestID, m.Result, m.Failure)
	case *wire.AuthError:
		return fmt.Sprintf("AuthError %d %v", m.BaseVersion, m.AuthUpdateAttempted)
	case *wire.FatalError:
		return "FatalError"
	default:
		return m.Type()
	}
}

// expect reads as many messages as there are in want, and compares.
func (c *client) expect(want ...string) {
	c.t.Helper()
	for i, w := range want {
		m, err := c.receive()
		if err != nil {
			c.t.Fatalf("message %d: %v, want %s", i, err, w)
		}
		if got := describe(m); got != w {
			c.t.Fatalf("message %d: got %s, want %s", i, got, w)
		}
	}
}

// until reads messages until the condition holds.
func (c *client) until(what string, cond func() bool) {
	c.t.Helper()
	for !cond() {
		if _, err := c.receive(); err != nil {
			c.t.Fatalf("waiting for %s: %v; values %v", what, err, c.values)
		}
	}
}

// done reads until the mutation's promise would resolve: until it was answered and its Transition has come.
func (c *client) done(id uint32) {
	c.t.Helper()
	c.until(fmt.Sprint("the end of mutation ", id), func() bool { return c.answers[id] && c.owed == 0 })
}

// closed reads until the socket is closed and returns how.
func (c *client) closed() *websocket.CloseError {
	c.t.Helper()
	for {
		_, err := c.receive()
		var ce *websocket.CloseError
		if errors.As(err, &ce) {
			return ce
		}
		if err != nil {
			c.t.Fatalf("waiting for the close: %v", err)
		}
	}
}

// quiet asserts that nothing is under way: the next message is the answer to a question asked now.
func (c *client) quiet() {
	c.t.Helper()
	c.act(1<<31, "fails:action", `{"code":"quiet"}`)
	c.expect(fmt.Sprintf("A %d !quiet", uint32(1<<31)))
}

// eventually polls a condition that no message tells of.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func waitFor(t testing.TB, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("never: %s", what)
	}
}

// handClock is a clock that a test moves.
type handClock struct {
	mu     sync.Mutex
	now    time.Time // guarded by mu
	timers []*hand   // guarded by mu
}

type hand struct {
	at time.Time
	f  func()
}

func newClock() *handClock { return &handClock{now: time.Unix(1_900_000_000, 0)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &hand{c.now.Add(d), f}
	c.timers = append(c.timers, h)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := len(c.timers)
		c.timers = slices.DeleteFunc(c.timers, func(o *hand) bool { return o == h })
		return len(c.timers) < n
	}
}

// waiting says how many timers are set.
func (c *handClock) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.timers)
}

// advance moves the clock and runs what falls due, in order.
func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	end := c.now.Add(d)
	for {
		var first *hand
		for _, h := range c.timers {
			if !h.at.After(end) && (first == nil || h.at.Before(first.at)) {
				first = h
			}
		}
		if first == nil {
			break
		}
		c.timers = slices.DeleteFunc(c.timers, func(o *hand) bool { return o == first })
		if first.at.After(c.now) {
			c.now = first.at
		}
		c.mu.Unlock()
		first.f()
		c.mu.Lock()
	}
	c.now = end
	c.mu.Unlock()
}

func developing(on bool) func(*engine.Options) {
	return func(o *engine.Options) { o.Development = on }
}

// serveInstead makes the host's clients connect to another server.
func (h *host) serveInstead(s *subscriptions.Server) {
	web := httptest.NewServer(s)
	h.t.Cleanup(web.Close)
	h.url = web.URL
}
