package subscriptions

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// round is the work of one Transition: what the client is to have at one timestamp.
type round struct {
	at        engine.Timestamp
	end       wire.StateVersion
	principal engine.Principal
	stale     []*slot // to be evaluated
	refused   []*slot // to be told why not
	removed   []uint32
	riders    []outgoing
	results   []*evaluation // of stale, in the same order
}

// wake has the socket compute a Transition if there is something to say.
func (s *socket) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked()
}

// wakeLocked is wake for those who hold s.mu. While one Transition is computed or has not left yet, no other is begun: what
// changes meanwhile is seen when it has left, all at once and at its newest. So a client that reads slowly gets fewer
// Transitions, not older ones, and no queue of them grows.
func (s *socket) wakeLocked() {
	if s.ended || s.updating || s.inFlight || s.parting != nil {
		return
	}
	if at, ok := s.pick(); !ok || !s.due(at) {
		return
	}
	s.updating = true
	s.workers.Add(1)
	go s.update()
}

// pick chooses the timestamp of the next Transition: the newest published one, unless that would show what a mutation of
// this socket has written before the mutation is answered. A client that shows the effect of a mutation before it has the
// answer, on top of what the server says, would show it twice. Then it is the newest for which all is answered, or none yet:
// the answer is on its way, and wakes the socket. s.mu is held.
func (s *socket) pick() (at engine.Timestamp, ok bool) {
	head := s.server.live.now() // before it, committed was set for all that was committed by then
	for _, m := range s.begun {
		ts := engine.Timestamp(m.committed.Load())
		if ts == 0 || ts > head {
			continue
		}
		// Of what is begun, this is the first that is published: timestamps follow the order.
		return s.ownWrite, s.ownWrite > 0 && s.ownWrite < ts && wire.Timestamp(s.ownWrite) >= s.sent.TS
	}
	return head, true
}

// due says whether a Transition at the given timestamp would tell the client something, or is owed to it. s.mu is held.
func (s *socket) due(at engine.Timestamp) bool {
	if s.received.QuerySet != s.sent.QuerySet || s.received.Identity != s.sent.Identity || len(s.riders) > 0 || s.ownWrite > 0 {
		return true
	}
	me := who(s.principal)
	if s.identity != nil && s.identity.stale(at, me) {
		return true
	}
	for _, sl := range s.slots {
		if sl.stale(at, me) {
			return true
		}
	}
	return false
}

// update computes Transitions until one is on its way or there is nothing to say.
func (s *socket) update() {
	defer s.workers.Done()
	for {
		s.mu.Lock()
		at, ok := s.pick()
		if s.ended || s.inFlight || s.parting != nil || !ok || !s.due(at) {
			s.updating = false
			s.retireIfIdle()
			s.mu.Unlock()
			return
		}
		r := s.begin(at)
		s.mu.Unlock()
		err := s.evaluate(r)
		s.mu.Lock()
		switch {
		case err != nil, who(s.principal) != who(r.principal):
			// What somebody saw who the socket is no longer is not sent: a session that a sign-in replaced has ended, and its
			// queries would be shown as nobody's on the way from the one user to the other.
			s.abandon(r)
		case s.foundEnded(r):
			s.abandon(r)
			s.revoked()
		default:
			s.finish(r)
		}
		s.mu.Unlock()
		switch {
		case err == nil || isTooOld(err): // slower than the store keeps versions: begin anew
		case s.server.cutOff(err):
			s.end(websocket.CloseServiceRestart, reasonRestart)
		default:
			s.server.o.Logger.Error("live queries could not be evaluated", "error", err)
			s.end(websocket.CloseInternalServerErr, reasonInternal)
		}
	}
}

// begin takes down what is to be done. Everything that a commit up to the timestamp touched is marked by now, so what is not
// stale holds at it. s.mu is held.
func (s *socket) begin(at engine.Timestamp) *round {
	r := &round{
		at:        at,
		end:       wire.StateVersion{QuerySet: s.received.QuerySet, Identity: s.received.Identity, TS: wire.Timestamp(at)},
		principal: s.principal, removed: s.removed, riders: s.riders,
	}
	s.removed, s.riders = nil, nil
	me := who(s.principal)
	for _, sl := range s.slots {
		switch {
		case sl.refused != nil && sl.sent == nil:
			r.refused = append(r.refused, sl)
		case sl.stale(at, me):
			r.stale = append(r.stale, sl)
		}
	}
	if s.identity != nil && s.identity.stale(at, me) {
		r.stale = append(r.stale, s.identity)
	}
	r.results = make([]*evaluation, len(r.stale))
	return r
}

// evaluationsAtOnce is how many queries of one socket are evaluated side by side.
const evaluationsAtOnce = 8

// evaluate fills in the results, all as of one timestamp.
func (s *socket) evaluate(r *round) error {
	l := s.server.live
	var missing []int
	for i, sl := range r.stale {
		if r.results[i] = l.peek(sl, r.principal, r.at); r.results[i] == nil {
			missing = append(missing, i)
		}
	}
	if len(missing) == 1 {
		i := missing[0]
		var err error
		r.results[i], err = l.get(r.stale[i], r.principal, r.at)
		return err
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, min(evaluationsAtOnce, len(missing)))
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(missing) {
					return
				}
				i := missing[n]
				r.results[i], errs[w] = l.get(r.stale[i], r.principal, r.at)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// isTooOld says that the store no longer keeps what was asked for: it took too long.
func isTooOld(err error) bool { return errors.Is(err, storage.ErrTooOld) }

// abandon undoes begin. s.mu is held.
func (s *socket) abandon(r *round) {
	for i, e := range r.results {
		if e != nil {
			s.server.live.unsubscribe(e, r.stale[i])
		}
	}
	s.removed = append(r.removed, s.removed...)
	s.riders = append(r.riders, s.riders...)
}

// foundEnded says that the session of the socket's principal turned out to have ended. What the round has evaluated is then
// what nobody sees, and not to be sent yet. s.mu is held.
func (s *socket) foundEnded(r *round) bool {
	for i, sl := range r.stale {
		if sl == s.identity && !sl.removed {
			return r.results[i].identity == nil
		}
	}
	return false
}

// finish sends what came of the round. s.mu is held.
func (s *socket) finish(r *round) {
	l := s.server.live
	t := wire.Transition{Start: s.sent, End: r.end}
	for _, id := range r.removed {
		t.Modifications = append(t.Modifications, wire.Modification{QueryID: id, Encoded: wire.Removed})
	}
	for i, sl := range r.stale {
		e := r.results[i]
		if sl.removed {
			l.unsubscribe(e, sl)
			continue
		}
		sl.release(l)
		sl.current = e
		if sl == s.identity {
			continue
		}
		sl.follow(l)
		if !e.content.sameAs(sl.sent) {
			t.Modifications = append(t.Modifications, wire.Modification{QueryID: sl.id, Encoded: e.content.bytes(&l.encodings)})
		}
		sl.sent = e.content
	}
	for _, sl := range r.refused {
		if !sl.removed {
			sl.sent = sl.refused
			t.Modifications = append(t.Modifications, wire.Modification{QueryID: sl.id, Encoded: sl.sent.bytes(&l.encodings)})
		}
	}
	if s.ended {
		return
	}
	slices.SortFunc(t.Modifications[len(r.removed):], func(a, b wire.Modification) int { return cmp.Compare(a.QueryID, b.QueryID) })
	owed := s.ownWrite > 0 && s.ownWrite <= r.at
	if owed {
		s.ownWrite = 0
	}
	if owed || len(t.Modifications) > 0 || r.end.QuerySet != s.sent.QuerySet || r.end.Identity != s.sent.Identity {
		s.sent = r.end
		s.transitions++
		frames := wire.AppendChunks(nil, t.Append(nil), strconv.FormatUint(s.transitions, 10), 0)
		s.inFlight = true
		o := outgoing{frames: frames, transition: true}
		if owed {
			o.pays = s.owes
		}
		s.send(o)
	}
	for _, o := range r.riders {
		s.send(o)
	}
}
