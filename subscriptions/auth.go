package subscriptions

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// Authenticator turns the token that a client presents into whom it acts as. An error refuses the token; what an
// *engine.Error says reaches the client, any other only the log. A principal that also has a method Expires() time.Time
// stands for its token until then. One that has a method Confirm(context.Context, *engine.DB) error is confirmed each time that
// its token is presented, before it is resolved or anything runs as it; an error refuses the token too. Both are called from
// many goroutines at once.
type Authenticator interface {
	Principal(token string) (engine.Principal, error)
}

// identityState is the part of a socket that knows whom its client acts as. Its fields are guarded by socket.mu.
type identityState struct {
	principal engine.Principal // nil is nobody
	changes   int              // how often principal was set
	byToken   bool             // it came with an Authenticate, and not from an action
	identity  *slot            // watches what principal resolves to; nil for nobody
	authBase  uint32           // the identity version that the client is at, in its own opinion

	// held is set when a token was refused or ran out: the client is about to come back with a new one and to send again
	// what was not answered, so mutations and actions are not run as nobody meanwhile; for some time.
	held     bool
	stopHold func() bool

	stopExpiry func() bool

	// parting is there while the client has to learn that its session has ended, or its token run out, and to go: no
	// Transition is begun meanwhile.
	parting     *parting
	stopParting func() bool

	transitions uint64 // counted, to name those that are cut into chunks
}

// parting is an AuthError that waits for actions which may turn out to be the cause of what it tells; and when it is told, the
// time that the client has to leave.
type parting struct {
	message wire.AuthError
	byToken bool
	actions map[uint64]struct{} // those that ran when the session was found ended
	told    bool
}

// How long requests wait after a failed authentication, an AuthError for actions, and Transitions for a client that was told
// to leave.
const (
	holdTime  = 10 * time.Second
	deferTime = 5 * time.Second
	leaveTime = 2 * time.Second
)

var errSessionEnded = engine.Errorf(engine.CodeUnauthenticated, "the session has ended")

// authenticate changes whom the socket acts as, before the next message is looked at.
func (s *socket) authenticate(m *wire.Authenticate) error {
	s.mu.Lock()
	ok := m.BaseVersion == s.authBase
	if ok {
		s.authBase++
	}
	s.mu.Unlock()
	if !ok {
		return &wire.Error{Reason: wire.BadVersion, Message: "Authenticate", Field: "baseVersion"}
	}
	var p engine.Principal
	var watch *slot
	var err error
	switch m.TokenType {
	case wire.TokenNone:
	case wire.TokenUser:
		p, err = s.server.confirmed(m.Value)
		if err == nil {
			watch, err = s.resolve(p)
		}
	default:
		err = engine.Errorf(engine.CodeUnauthenticated, "keys of operators are not accepted here")
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.setPrincipal(nil)
		s.hold()
		s.sendAuthError(wire.AuthError{Error: s.server.authText(err), BaseVersion: m.BaseVersion, AuthUpdateAttempted: true})
		s.wakeLocked()
		return nil
	}
	s.setPrincipal(p)
	if watch != nil {
		s.dropIdentity()
		s.identity = watch
	}
	s.byToken = p != nil
	s.received.Identity = s.authBase
	s.unhold()
	s.wakeLocked()
	return nil
}

// principal asks the Authenticator.
func (s *Server) principal(token string) (engine.Principal, error) {
	if s.o.Authenticator == nil {
		return nil, engine.Errorf(engine.CodeUnauthenticated, "nobody can sign in here")
	}
	p, err := s.o.Authenticator.Principal(token)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, engine.Errorf(engine.CodeUnauthenticated, "the token is not valid")
	}
	if at, ok := expiry(p); ok && !at.After(s.o.Clock.Now()) {
		return nil, engine.Errorf(engine.CodeUnauthenticated, "the token has expired")
	}
	return p, nil
}

// confirmed is principal, confirmed. What the confirmation writes is done though the client may go: it may come back.
func (s *Server) confirmed(token string) (engine.Principal, error) {
	p, err := s.principal(token)
	if err != nil {
		return nil, err
	}
	if c, ok := p.(interface {
		Confirm(ctx context.Context, db *engine.DB) error
	}); ok {
		if err := c.Confirm(s.ctx, s.db); err != nil {
			return nil, s.unconfirmed(err)
		}
	}
	return p, nil
}

// unconfirmed is what a client learns of a failed confirmation. What comes without a code is a panic of the application's, or
// ended the confirmation from outside, and says nothing against the token.
func (s *Server) unconfirmed(err error) error {
	var coded *engine.Error
	if errors.As(err, &coded) {
		return err
	}
	var p *engine.PanicError
	if errors.As(err, &p) {
		s.o.Logger.Error("a token could not be checked", "error", err, "stack", string(p.Stack))
		return engine.Errorf(engine.CodeInternal, "%s", unchecked)
	}
	return engine.Errorf(engine.CodeBusy, "%s", s.authText(err))
}

func expiry(p engine.Principal) (time.Time, bool) {
	e, ok := p.(interface{ Expires() time.Time })
	if !ok {
		return time.Time{}, false
	}
	at := e.Expires()
	return at, !at.IsZero()
}

// unchecked is what a client sees of an error that is not for it.
const unchecked = "the token could not be checked"

func (s *Server) authText(err error) string {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Message
	}
	s.o.Logger.Warn("a token could not be checked", "error", err)
	return unchecked
}

// resolve finds out whether a principal is somebody now, and returns a slot that watches it.
func (s *socket) resolve(p engine.Principal) (*slot, error) {
	l := s.server.live
	sl := &slot{socket: s, node: l.hold(nodeKey{})}
	for {
		e, err := l.get(sl, p, l.now())
		if isTooOld(err) {
			continue
		}
		if err == nil && e.identity == nil {
			l.unsubscribe(e, sl)
			err = errSessionEnded
		}
		if err != nil {
			l.drop(sl.node)
			return nil, err
		}
		sl.current = e
		return sl, nil
	}
}

// setPrincipal makes the socket act for p. Queries that read the identity are run again if p is another than before; a new
// token of the same session changes nothing. s.mu is held.
func (s *socket) setPrincipal(p engine.Principal) {
	same := who(p) == who(s.principal)
	s.principal = p
	s.changes++
	s.byToken = false
	s.dropParting()
	if s.stopExpiry != nil {
		s.stopExpiry()
		s.stopExpiry = nil
	}
	if p != nil {
		if at, ok := expiry(p); ok && !s.ended {
			change := s.changes
			s.stopExpiry = s.server.o.Clock.AfterFunc(at.Sub(s.server.o.Clock.Now()), func() { s.expired(change) })
		}
	}
	if same {
		return
	}
	s.dropIdentity()
	if p != nil {
		s.identity = &slot{socket: s, node: s.server.live.hold(nodeKey{})}
	}
}

func (s *socket) dropIdentity() {
	if s.identity != nil {
		s.identity.removed = true
		s.identity.release(s.server.live)
		s.server.live.drop(s.identity.node)
		s.identity = nil
	}
}

// bind makes the socket act for whom an action signed in, or for nobody after it signed out: for everything that is sent
// after its answer. The identity version stays, since the client has not presented a token. Who signs in has the new results
// before the answer. Who signs out has the answer first: a page takes down then what it shows to the user alone, and must not
// find before that its queries are refused. s.mu is held.
func (s *socket) bind(p engine.Principal, response outgoing) {
	before, byToken := s.principal, s.byToken
	replaced := byToken && before != nil && p != nil && before.Key() != p.Key()
	if s.parting != nil && !s.parting.told && p != nil {
		// The session that the action replaced was found ended before the action was.
		replaced = s.parting.byToken
	}
	s.setPrincipal(p)
	s.byToken = byToken && before != nil && p != nil && before.Key() == p.Key()
	s.unhold()
	if p == nil {
		s.send(response)
	} else {
		s.riders = append(s.riders, response)
	}
	if replaced {
		// The client still holds the token of the session before. This makes it fetch that of the new one, and comes after
		// the answer: before it, the sign-in would count as lost.
		s.riders = append(s.riders, outgoing{frames: encode(&wire.AuthError{
			Error: "the session was replaced by another sign-in", BaseVersion: s.received.Identity,
		})})
	}
	s.wakeLocked()
}

// revoked is called when the socket's session was found ended. The client is told before its queries change to what nobody
// sees: it stops listening, finds out that it is signed out, and comes back as nobody, without a moment at which it takes
// itself for signed in while its queries are refused. s.mu is held.
func (s *socket) revoked() {
	d := &parting{byToken: s.byToken, actions: maps.Clone(s.running)}
	s.setPrincipal(nil)
	for _, o := range s.riders {
		s.send(o) // a sign-in whose answer came after the AuthError would count as lost
	}
	s.riders = nil
	s.confirm()
	d.message = wire.AuthError{Error: errSessionEnded.Message, BaseVersion: s.received.Identity}
	s.parting = d
	if len(d.actions) == 0 {
		s.tell()
		return
	}
	// One of the actions may be the sign-out or the sign-in that ended the session. A client that signs out must not be told
	// that it is, one that signs in not before its answer, and neither is to see its queries as nobody's on the way.
	s.partAfter(deferTime, s.tell)
}

// confirm sends the Transition that confirms a token by itself, without the queries: a client that waits for that would ignore
// an AuthError. s.mu is held.
func (s *socket) confirm() {
	if s.ended || s.received.Identity == s.sent.Identity {
		return
	}
	t := wire.Transition{Start: s.sent, End: s.sent}
	t.End.Identity = s.received.Identity
	s.sent = t.End
	s.send(outgoing{frames: [][]byte{t.Append(nil)}})
}

// actionEnded is called when an action has ended that left the principal alone. s.mu is held.
func (s *socket) actionEnded(id uint64) {
	if s.parting == nil || s.parting.told {
		return
	}
	delete(s.parting.actions, id)
	if len(s.parting.actions) == 0 {
		s.tell()
	}
}

// tell sends the AuthError. A client that presented a token acts on it by itself, but may not have received it yet, and one that
// is presenting another token ignores it: so its queries are left alone for a moment, in which it goes, or its token is refused.
// s.mu is held.
func (s *socket) tell() {
	s.parting.told = true
	s.sendAuthError(s.parting.message)
	if !s.parting.byToken {
		s.parted()
		return
	}
	s.partAfter(leaveTime, s.parted)
}

// parted lets Transitions begin again. s.mu is held.
func (s *socket) parted() {
	s.dropParting()
	s.wakeLocked()
}

// partAfter has the parting go on after a time, unless something else happens to it. s.mu is held.
func (s *socket) partAfter(d time.Duration, next func()) {
	if s.stopParting != nil {
		s.stopParting()
	}
	p, told := s.parting, s.parting.told
	s.stopParting = s.server.o.Clock.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.parting == p && p.told == told {
			next()
		}
	})
}

func (s *socket) dropParting() {
	if s.stopParting != nil {
		s.stopParting()
	}
	s.parting, s.stopParting = nil, nil
}

func (s *socket) sendAuthError(m wire.AuthError) { s.send(outgoing{frames: encode(&m)}) }

// expired is called when the token of the principal has run out that was set by the given change.
func (s *socket) expired(change int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.changes != change {
		return
	}
	s.confirm()
	m := wire.AuthError{Error: "the token has expired", BaseVersion: s.received.Identity}
	s.setPrincipal(nil)
	s.hold()
	s.parting = &parting{message: m, byToken: true}
	s.tell()
}

// hold lets requests wait for the next Authenticate. s.mu is held.
func (s *socket) hold() {
	if s.stopHold != nil {
		s.stopHold()
	}
	if s.ended {
		return
	}
	s.held = true
	change := s.changes
	s.stopHold = s.server.o.Clock.AfterFunc(holdTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.changes == change {
			s.unhold()
		}
	})
}

func (s *socket) unhold() {
	if s.stopHold != nil {
		s.stopHold()
		s.stopHold = nil
	}
	s.held = false
	s.startMutations()
	s.startActions()
}
