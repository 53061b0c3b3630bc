package subscriptions

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// Options configure a Server. The zero value works.
type Options struct {
	// Authenticator turns tokens into principals. Without one, every token is refused.
	Authenticator Authenticator
	// AllowedOrigins are the web origins, such as "https://app.example.com", whose pages may connect and call, beside the
	// host that serves them; "*" allows all. Clients that are no browsers send no origin and are not asked for one.
	AllowedOrigins []string
	// TrustedProxies are the networks of the proxies through which clients come, such as a load balancer's. What they say in
	// X-Forwarded-For is then the address of the client, which actions get by ActionCtx.Remote and limits go by: see RemoteAddr.
	// Without any, the address is that of the connection, so that behind a proxy all clients have one. Networks that hold
	// every address are left out.
	TrustedProxies []netip.Prefix

	// MaxFrame is the size in bytes of a message or a body that a client may send; 8 MiB.
	MaxFrame int
	// MaxQueries is how many queries one socket may watch; 1,000. A query above it fails with code too_large.
	MaxQueries int
	// MaxMutations is how many mutations of one socket may wait for their answers to be taken; 64. The server reads on when
	// there is room.
	MaxMutations int
	// MaxActions is how many actions of one socket run at once; 16. Four times as many wait; one more is answered with code
	// busy.
	MaxActions int
	// MaxBuffered is how many bytes of answers may wait for one socket before its mutations wait too; 16 MiB.
	MaxBuffered int
	// WriteTimeout is how long one write to a socket may take before it is given up; 30 s.
	WriteTimeout time.Duration
	// PingInterval is after how much silence a client is told that the server is there; 15 s. The official client gives up
	// after 60 s.
	PingInterval time.Duration

	// Logger receives what clients are not told; the database's by default.
	Logger *slog.Logger
	// Clock is the machine's by default.
	Clock Clock
}

func (o Options) withDefaults(db *engine.DB) Options {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.MaxFrame, wire.DefaultBytes)
	def(&o.MaxQueries, 1000)
	def(&o.MaxMutations, 64)
	def(&o.MaxActions, 16)
	def(&o.MaxBuffered, 16<<20)
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.PingInterval <= 0 {
		o.PingInterval = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = db.Options().Logger
	}
	if o.Clock == nil {
		o.Clock = realClock{}
	}
	return o
}

// Server serves live queries and calls of one database, over websockets and over HTTP. It is an http.Handler for the paths
// /api/{version}/sync and /api/query, /api/mutation, /api/action, /api/function, /api/query_ts and /api/query_at_ts,
// whatever stands before /api. All its methods are safe for concurrent use.
type Server struct {
	db          *engine.DB
	o           Options
	development bool
	// maxArguments is the database's limit of a call's arguments, so that larger ones need not wait for their refusal.
	maxArguments int
	live         *live
	upgrader     websocket.Upgrader
	limits       wire.Limits

	// ctx is what functions run with: a call goes on when its client has gone, and ends with the server.
	ctx    context.Context
	cancel context.CancelFunc
	calls  sync.WaitGroup // sockets and HTTP calls
	// dispatched is closed when the dispatcher has ended.
	dispatched chan struct{}
	slow       atomic.Int64

	mu       sync.Mutex
	closing  bool                 // guarded by mu
	sockets  map[*socket]struct{} // guarded by mu
	sessions map[string]*socket   // guarded by mu: the newest socket of each session
}

// New returns a Server for db. Close it before the database.
func New(db *engine.DB, o Options) *Server {
	s := &Server{
		db: db, o: o.withDefaults(db), development: db.Options().Development,
		maxArguments: db.Options().Limits.ArgumentBytes,
		sockets:      map[*socket]struct{}{}, sessions: map[string]*socket{}, dispatched: make(chan struct{}),
	}
	if err := o.Validate(); err != nil {
		s.o.Logger.Warn("options that have no effect", "error", err)
	}
	s.o.TrustedProxies = o.usableProxies()
	s.limits = wire.Limits{Bytes: s.o.MaxFrame}
	s.upgrader = websocket.Upgrader{
		ReadBufferSize: 4 << 10, WriteBufferSize: 1 << 10, WriteBufferPool: &sync.Pool{},
		CheckOrigin: s.originAllowed, HandshakeTimeout: 10 * time.Second,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			refuse(w, status, engine.CodeInvalid, reason.Error())
		},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.live = newLive(s, db)
	go func() {
		defer close(s.dispatched)
		s.live.dispatch(s.ctx)
	}()
	return s
}

// Stats counts what a Server has done and holds.
type Stats struct {
	Sockets     int   // open now
	Queries     int   // distinct queries watched now
	Evaluations int64 // runs of live queries since the start
	Encodings   int64 // results of live queries encoded since the start
	Slow        int64 // sockets closed since they did not read
}

// Stats returns the counters as of now.
func (s *Server) Stats() Stats {
	st := Stats{Evaluations: s.live.evaluations.Load(), Encodings: s.live.encodings.Load(), Slow: s.slow.Load()}
	s.mu.Lock()
	st.Sockets = len(s.sockets)
	s.mu.Unlock()
	s.live.mu.Lock()
	st.Queries = s.live.watched
	s.live.mu.Unlock()
	return st
}

// ServeHTTP serves one call, or one socket for as long as it is open. After Close it answers 503.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, engine.CodeBusy, "the server is closing")
		return
	}
	defer s.calls.Done()
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	n := len(segments)
	switch {
	case n >= 3 && segments[n-1] == "sync" && segments[n-3] == "api":
		s.serveSocket(w, r)
	case n >= 2 && segments[n-2] == "api":
		s.serveCall(w, r, segments[n-1])
	default:
		refuse(w, http.StatusNotFound, engine.CodeNotFound, "there is nothing here")
	}
}

func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.calls.Add(1)
	return true
}

// Close is Shutdown with a patience without end.
func (s *Server) Close() error { return s.Shutdown(context.Background()) }

// Shutdown refuses new sockets and calls, lets those that run come to their end and be answered, and closes the sockets with
// a code upon which clients connect again. When ctx ends first, calls are cut off and ctx's error is returned, perhaps while
// a function that does not heed its context still runs; mutations that were cut off are sent again by their clients and take
// effect once. It may be called more than once. It does not close the database.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	open := make([]*socket, 0, len(s.sockets))
	for sock := range s.sockets {
		open = append(open, sock)
	}
	s.mu.Unlock()
	for _, sock := range open {
		sock.retire()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.calls.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel()
	for _, sock := range open {
		sock.end(websocket.CloseServiceRestart, reasonRestart)
	}
	s.live.stopPublish()
	<-s.dispatched
	return err
}
