package subscriptions

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// socket is one connection of one client. Its reader takes in what the client sends and its writer sends what is in out;
// both live as long as the socket. Three more goroutines come when there is something to do and go when it is done: one
// runs mutations in order, one computes Transitions, and each action has one.
type socket struct {
	server  *Server
	conn    *websocket.Conn
	remote  netip.Addr     // the client's, as of the handshake
	net     *coalescer     // below conn
	workers sync.WaitGroup // all goroutines but the reader
	gone    chan struct{}  // closed when all of them have ended
	ready   chan struct{}  // capacity one: the writer has something to do
	count   uint32         // guarded by Server.mu: how many sockets its session had before
	heard   atomic.Int64   // when the client last said anything, nanoseconds

	mu sync.Mutex // guards all below

	// What the client has said.
	session       string // "" before Connect
	received      wire.StateVersion
	slots         map[uint32]*slot
	removed       []uint32 // queries whose removal has not been answered
	refusedSlots  int
	argumentBytes int // of all slots, with the journals that came with them
	identityState     // see auth.go
	requestState      // see requests.go

	// What it has been told.
	sent       wire.StateVersion // the end of the last Transition in out or before
	out        []outgoing
	outBytes   int              // of out, but for Transitions, of which there is one at most
	inFlight   bool             // a Transition is in out: the next is computed once it has left
	updating   bool             // a goroutine computes a Transition
	riders     []outgoing       // to be sent right after the next Transition
	owes       int64            // mutations counted by live.owe that are for this socket to pay, with a Transition at ownWrite
	ownWrite   engine.Timestamp // a mutation was answered, and a Transition at this time or later must follow
	spoke      time.Time        // when something was last sent
	stopPinger func() bool

	ended       bool
	retiring    bool
	closeCode   int
	closeReason string
}

// outgoing is one message on its way out.
type outgoing struct {
	frames     [][]byte // more than one if it is cut into chunks
	transition bool
	pays       int64 // mutations whose effect it shows
	request    bool  // the answer to a mutation; there is room for another when it has left
	ping       bool
}

// size is what counts against the bytes that may wait.
func (o *outgoing) size() (n int) {
	if o.transition {
		return 0
	}
	for _, f := range o.frames {
		n += len(f)
	}
	return n
}

// The reasons with which sockets are closed.
const (
	reasonRestart  = "Restarting"
	reasonReplaced = "SessionMovedToNewerSocket"
	reasonSlow     = "TooSlow"
	reasonSilent   = "ClientSilent"
	reasonBehind   = "ServerBehindClient"
	reasonInternal = "InternalServerError"
)

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	if websocket.IsWebSocketUpgrade(r) && !s.originAllowed(r) {
		refuse(w, http.StatusForbidden, engine.CodeForbidden, "this origin may not connect")
		return
	}
	taken := &coalescing{ResponseWriter: w}
	conn, err := s.upgrader.Upgrade(taken, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	sock := &socket{
		server: s, conn: conn, remote: s.remote(r), net: taken.conn, gone: make(chan struct{}), ready: make(chan struct{}, 1),
		slots: map[uint32]*slot{}, spoke: s.o.Clock.Now(),
	}
	sock.room = sync.NewCond(&sock.mu)
	sock.hear()
	conn.SetPongHandler(func(string) error { sock.hear(); return nil })

	s.mu.Lock()
	closing := s.closing
	s.sockets[sock] = struct{}{}
	s.mu.Unlock()
	if closing {
		sock.end(websocket.CloseServiceRestart, reasonRestart)
	}

	sock.workers.Add(1)
	go sock.write()
	sock.mu.Lock()
	sock.armPinger()
	sock.mu.Unlock()
	sock.read()
	sock.workers.Wait()
	_ = conn.Close()
	sock.forget()
	s.mu.Lock()
	delete(s.sockets, sock)
	if s.sessions[sock.session] == sock {
		delete(s.sessions, sock.session)
	}
	s.mu.Unlock()
	close(sock.gone)
}

func (s *socket) hear() { s.heard.Store(s.server.o.Clock.Now().UnixNano()) }

// read is the reader: it ends with the socket.
func (s *socket) read() {
	var buf bytes.Buffer
	for {
		frame, err := s.next(&buf)
		if err == nil {
			s.hear()
			var m wire.ClientMessage
			if m, err = wire.DecodeClient(frame, s.server.limits); err == nil {
				err = s.handle(m, len(frame))
				s.awaitRoom()
			}
		}
		var refused *wire.Error
		switch {
		case err == nil:
		case errors.As(err, &refused):
			s.fatal(refused)
			s.drain()
			return
		default:
			s.end(websocket.CloseAbnormalClosure, "") // the connection is gone
			return
		}
		if buf.Cap() > 64<<10 {
			buf = bytes.Buffer{}
		}
	}
}

// awaitRoom makes the reader wait while the client does not take what it was answered.
func (s *socket) awaitRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = true
	for s.outBytes > s.server.o.MaxBuffered && !s.ended {
		s.room.Wait()
	}
	s.blocked = false
}

// next reads one frame into buf.
func (s *socket) next(buf *bytes.Buffer) ([]byte, error) {
	kind, r, err := s.conn.NextReader()
	if err != nil {
		return nil, err
	}
	if kind != websocket.TextMessage {
		return nil, &wire.Error{Reason: wire.Malformed, Detail: "not a text frame"}
	}
	buf.Reset()
	// One byte more than allowed, for DecodeClient to refuse.
	if _, err := buf.ReadFrom(io.LimitReader(r, int64(s.server.o.MaxFrame)+1)); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// drain reads on until the client closes or the writer has, so that what was sent last is not lost to a reset.
func (s *socket) drain() {
	_ = s.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		if _, _, err := s.conn.NextReader(); err != nil {
			return
		}
	}
}

// handle takes in one message. An error that is a *wire.Error ends the client for good.
func (s *socket) handle(m wire.ClientMessage, size int) error {
	if c, ok := m.(*wire.Connect); ok {
		return s.connect(c)
	}
	s.mu.Lock()
	connected, over := s.session != "", s.ended || s.retiring
	s.mu.Unlock()
	if over {
		return nil // it will be said again on the next socket
	}
	if _, ok := m.(*wire.Event); ok {
		return nil
	}
	if !connected {
		return &wire.Error{Reason: wire.OutOfOrder, Message: m.Type(), Detail: "Connect comes first"}
	}
	switch m := m.(type) {
	case *wire.Authenticate:
		return s.authenticate(m)
	case *wire.ModifyQuerySet:
		return s.modifyQuerySet(m)
	case *wire.Mutation:
		s.enqueueMutation(m, size)
	case *wire.Action:
		s.startAction(m)
	}
	return nil
}

// How far ahead of the server's newest timestamp a client may claim to be, and how long it then waits for the server to get
// there before it is sent away to ask again.
const (
	maxAhead  = 24 * time.Hour
	aheadWait = 5 * time.Second
)

func (s *socket) connect(m *wire.Connect) error {
	live := s.server.live
	if m.MaxObserved != nil {
		seen := engine.Timestamp(*m.MaxObserved)
		now := engine.Timestamp(max(0, s.server.o.Clock.Now().Add(maxAhead).UnixNano()))
		if seen > max(live.now(), now) {
			return &wire.Error{Reason: wire.BadField, Message: "Connect", Field: "maxObservedTimestamp", Detail: "lies in the future"}
		}
		// What a client sees never goes back: one that has seen more than there is here yet waits.
		if !live.reach(seen, aheadWait) {
			s.end(websocket.CloseTryAgainLater, reasonBehind)
			return nil
		}
	}
	s.mu.Lock()
	if s.session != "" {
		s.mu.Unlock()
		return &wire.Error{Reason: wire.OutOfOrder, Message: "Connect", Detail: "Connect comes once"}
	}
	s.session = m.SessionID
	s.mu.Unlock()

	srv := s.server
	srv.mu.Lock()
	s.count = m.ConnectionCount
	old := srv.sessions[m.SessionID]
	late := old != nil && old.count > s.count
	if !late {
		srv.sessions[m.SessionID] = s
	}
	srv.mu.Unlock()
	switch {
	case late:
		// The client gave this socket up before we came to read it, and has another.
		s.end(websocket.CloseTryAgainLater, reasonReplaced)
	case old != nil:
		// What the old socket has not begun, the client sends again here; nothing of it may run behind our back.
		old.cancelQueued()
		old.end(websocket.CloseTryAgainLater, reasonReplaced)
	}
	return nil
}

// modifyQuerySet changes what the socket watches. Results come with the next Transition.
func (s *socket) modifyQuerySet(m *wire.ModifyQuerySet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.BaseVersion != s.received.QuerySet {
		return &wire.Error{Reason: wire.BadVersion, Message: "ModifyQuerySet", Field: "baseVersion"}
	}
	for _, c := range m.Modifications {
		old := s.slots[c.QueryID]
		if c.Remove {
			if old != nil {
				s.removeSlot(old)
			}
			s.removed = append(s.removed, c.QueryID)
			continue
		}
		if old != nil {
			return &wire.Error{Reason: wire.Duplicate, Message: "ModifyQuerySet", Field: "queryId", Detail: "is in the set already"}
		}
		if err := s.addSlot(&c); err != nil {
			return err
		}
	}
	s.received.QuerySet = m.NewVersion
	s.wakeLocked()
	return nil
}

func (s *socket) addSlot(c *wire.QueryChange) error {
	sl := &slot{socket: s, id: c.QueryID}
	args, err := wire.Canonical(c.Args)
	most := s.server.o.MaxQueries
	switch {
	case err != nil:
		return err
	case s.refusedSlots >= most || len(s.removed) > 4*most:
		return &wire.Error{Reason: wire.TooLarge, Message: "ModifyQuerySet", Field: "modifications", Detail: "far too many"}
	case len(s.slots)-s.refusedSlots >= most:
		sl.refuse(failed(engine.CodeTooLarge, "a connection may watch %d queries", most))
	case len(args) > s.server.maxArguments || s.argumentBytes+len(args)+len(c.Journal) > s.server.o.MaxBuffered:
		sl.refuse(failed(engine.CodeTooLarge, "the arguments are too large"))
	case c.Component != "":
		sl.refuse(noComponents())
	default:
		sl.bytes = len(args) + len(c.Journal)
		s.argumentBytes += sl.bytes
		sl.node = s.server.live.hold(nodeKey{path: c.Path, args: string(args), journal: c.Journal})
	}
	if sl.node == nil {
		s.refusedSlots++
	}
	s.slots[c.QueryID] = sl
	return nil
}

func (sl *slot) refuse(f *wire.Failure) {
	sl.refused = &content{result: wire.QueryResult{Failure: f}}
}

func (s *socket) removeSlot(sl *slot) {
	delete(s.slots, sl.id)
	sl.removed = true
	if sl.node == nil {
		s.refusedSlots--
		return
	}
	s.argumentBytes -= sl.bytes
	sl.release(s.server.live)
	s.server.live.drop(sl.node)
}

// forget lets go of everything when all goroutines have ended.
func (s *socket) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.slots {
		s.removeSlot(sl)
	}
	s.setPrincipal(nil)
	s.server.live.pay(s.owes)
	s.owes = 0
}
