package subscriptions

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// requestState is the part of a socket that runs mutations and actions. Its fields are guarded by socket.mu.
type requestState struct {
	room *sync.Cond // there may be room for another request; on socket.mu

	queue      []*mutation // received, not begun
	queueBytes int
	begun      []*mutation   // begun, not answered, in order
	mutating   bool          // a goroutine takes from queue
	unanswered int           // mutations received whose answers have not left
	answered   chan struct{} // closed when the last mutation begun has been answered
	blocked    bool          // the reader waits for room

	nextAction uint64
	running    map[uint64]struct{} // actions that run
	waiting    []*action           // actions received, not begun
}

// caller is who a request runs as: who the socket was when the request came. One that came after an Authenticate that
// failed waits, and runs as who the socket is by then.
type caller struct {
	principal engine.Principal
	held      bool
}

type mutation struct {
	*wire.Mutation
	caller
	size int
	// committed is the timestamp of its commit, from before anybody can see what it wrote; zero until then.
	committed atomic.Uint64
}

type action struct {
	*wire.Action
	caller
}

func (s *socket) callerNow() caller { return caller{principal: s.principal, held: s.held} }

func (s *socket) principalOf(c caller) engine.Principal {
	if c.held {
		return s.principal
	}
	return c.principal
}

// enqueueMutation puts a mutation behind those before it. It makes the reader wait while there are too many.
func (s *socket) enqueueMutation(m *wire.Mutation, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.server.o
	s.blocked = true
	for !s.ended && !s.retiring && s.unanswered > 0 && (s.unanswered >= o.MaxMutations || s.queueBytes >= o.MaxBuffered) {
		s.room.Wait()
	}
	s.blocked = false
	s.hear() // it could not be heard meanwhile
	if s.ended || s.retiring {
		return
	}
	s.unanswered++
	if m.Component != "" {
		s.answer(m.RequestID, nil, noComponents(), 0, nil)
		return
	}
	s.queue = append(s.queue, &mutation{Mutation: m, caller: s.callerNow(), size: size})
	s.queueBytes += size
	s.startMutations()
}

// startMutations runs what is queued, unless it is being run or has to wait. s.mu is held.
func (s *socket) startMutations() {
	if s.mutating || s.held || s.ended || len(s.queue) == 0 {
		return
	}
	s.mutating = true
	s.workers.Add(1)
	go s.runMutations()
}

// runMutations begins the queued mutations in order: each when the place of the one before it in the order of commits is
// fixed, so that many of one socket share a group. Answers go out in the same order.
func (s *socket) runMutations() {
	defer s.workers.Done()
	for {
		s.mu.Lock()
		for s.outBytes > s.server.o.MaxBuffered && !s.ended {
			s.room.Wait()
		}
		if s.ended || s.held || len(s.queue) == 0 {
			s.mutating = false
			s.mu.Unlock()
			return
		}
		m := s.queue[0]
		s.queue = s.queue[1:]
		s.queueBytes -= m.size
		call := engine.Call{
			Function: m.Path, Args: m.Args, Principal: s.principalOf(m.caller),
			Request: &engine.RequestID{Session: s.session, Request: uint64(m.RequestID)},
			Committed: func(ts engine.Timestamp) {
				m.committed.Store(uint64(ts))
				s.server.live.owe()
			},
		}
		s.begun = append(s.begun, m)
		before, done := s.answered, make(chan struct{})
		s.answered = done
		// Begun under the lock: once cancelQueued has returned, nothing that it cancelled can begin.
		accepted, wait := s.server.db.StartMutation(s.server.ctx, call)
		s.workers.Add(1)
		s.mu.Unlock()

		go func() {
			defer s.workers.Done()
			defer close(done)
			res, err := wait()
			if before != nil {
				<-before
			}
			s.mutated(m, res, err)
		}()
		<-accepted
	}
}

// mutated answers a mutation.
func (s *socket) mutated(m *mutation, res *engine.Result, err error) {
	owes := m.committed.Load() > 0
	if err != nil && s.server.cutOff(err) {
		if owes {
			s.server.live.pay(1)
		}
		// Whether it took effect is not known here. The client asks again on its next socket.
		s.end(websocket.CloseServiceRestart, reasonRestart)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = slices.DeleteFunc(s.begun, func(o *mutation) bool { return o == m })
	defer s.wakeLocked() // a Transition may have waited for the answer
	if err != nil {
		if owes {
			s.server.live.pay(1)
		}
		s.answer(m.RequestID, nil, failure(err), 0, res.Log)
		return
	}
	if owes {
		s.owes++
	}
	// The client counts the mutation as done with the first Transition that comes after the answer and is as new.
	s.ownWrite = max(s.ownWrite, res.Timestamp)
	s.answer(m.RequestID, res.Value, nil, res.Timestamp, res.Log)
}

func (s *socket) answer(id uint32, value json.RawMessage, f *wire.Failure, ts engine.Timestamp, log []string) {
	s.send(outgoing{request: true, frames: encode(&wire.MutationResponse{
		RequestID: id, Result: value, Failure: f, TS: wire.Timestamp(ts), LogLines: s.server.logLines(log),
	})})
}

// cancelQueued drops the mutations that have not begun.
func (s *socket) cancelQueued() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unanswered -= len(s.queue)
	s.queue, s.queueBytes = nil, 0
	s.retiring = true // nor take any more
	s.room.Broadcast()
}

// startAction runs an action beside all else, or puts it behind the actions that wait for their turn.
func (s *socket) startAction(m *wire.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case m.Component != "":
		s.send(outgoing{frames: encode(&wire.ActionResponse{RequestID: m.RequestID, Failure: noComponents()})})
	case len(m.Args) > s.server.maxArguments:
		f := failed(engine.CodeTooLarge, "the arguments are too large")
		s.send(outgoing{frames: encode(&wire.ActionResponse{RequestID: m.RequestID, Failure: f})})
	case len(s.waiting) >= 4*s.server.o.MaxActions:
		f := failed(engine.CodeBusy, "too many actions at once")
		s.send(outgoing{frames: encode(&wire.ActionResponse{RequestID: m.RequestID, Failure: f})})
	default:
		s.waiting = append(s.waiting, &action{m, s.callerNow()})
		s.startActions()
	}
}

// startActions runs waiting actions for which there is room. s.mu is held.
func (s *socket) startActions() {
	for len(s.waiting) > 0 && !s.held && !s.ended && len(s.running) < s.server.o.MaxActions && s.outBytes <= s.server.o.MaxBuffered {
		a := s.waiting[0]
		s.waiting = s.waiting[1:]
		p := s.principalOf(a.caller)
		s.nextAction++
		id := s.nextAction
		if s.running == nil {
			s.running = map[uint64]struct{}{}
		}
		s.running[id] = struct{}{}
		s.workers.Add(1)
		go s.runAction(id, a, p)
	}
}

func (s *socket) runAction(id uint64, a *action, p engine.Principal) {
	defer s.workers.Done()
	res, err := s.server.db.RunAction(s.server.ctx, engine.Call{Function: a.Path, Args: a.Args, Principal: p, Remote: s.remote})
	resp := &wire.ActionResponse{RequestID: a.RequestID, Result: res.Value, LogLines: s.server.logLines(res.Log)}
	if err != nil {
		resp.Failure = failure(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, id)
	if err == nil && res.PrincipalSet {
		s.bind(res.Principal, outgoing{frames: encode(resp)})
	} else {
		s.send(outgoing{frames: encode(resp)})
		s.actionEnded(id)
	}
	s.startActions()
	s.retireIfIdle()
}
