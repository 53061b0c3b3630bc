package subscriptions

import (
	"errors"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/subscriptions/wire"
)

func encode(m wire.ServerMessage) [][]byte { return [][]byte{m.Append(nil)} }

// send puts a message at the end of what goes out. s.mu is held. After the end of the socket nothing is sent.
func (s *socket) send(o outgoing) {
	if s.ended {
		return
	}
	s.out = append(s.out, o)
	s.outBytes += o.size()
	s.signal()
}

func (s *socket) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// lastWords is how long a client may take to answer the end of its socket. Were the connection closed at once, what was
// sent last could be lost to what the client sent meanwhile.
const lastWords = 2 * time.Second

// write is the writer. It sends what is in out until the socket ends, then what is left, then the reason.
func (s *socket) write() {
	defer s.workers.Done()
	for range s.ready {
		s.mu.Lock()
		batch, ended, code, reason := s.out, s.ended, s.closeCode, s.closeReason
		s.out = nil
		s.mu.Unlock()
		if err := s.writeBatch(batch); err != nil {
			s.writeFailed(err)
			return
		}
		s.left(batch)
		if ended {
			deadline := time.Now().Add(min(lastWords, s.server.o.WriteTimeout))
			if code == websocket.CloseAbnormalClosure ||
				s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), deadline) != nil {
				_ = s.conn.Close()
				return
			}
			_ = s.conn.SetReadDeadline(deadline) // the reader ends by then
			return
		}
	}
}

// writeBatch writes messages, many of them at once if they are small.
func (s *socket) writeBatch(batch []outgoing) error {
	s.net.hold()
	for i := range batch {
		for _, frame := range batch[i].frames {
			if err := s.writeFrame(frame, batch[i].ping); err != nil {
				return err
			}
		}
	}
	return s.net.release()
}

func (s *socket) writeFrame(frame []byte, ping bool) error {
	deadline := time.Now().Add(s.server.o.WriteTimeout)
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if ping {
		// The message is for the client's timer; the websocket's own ping makes the other end say that it is there.
		if err := s.conn.WriteControl(websocket.PingMessage, nil, deadline); err != nil {
			return err
		}
	}
	return s.conn.WriteMessage(websocket.TextMessage, frame)
}

// writeFailed ends a socket whose client does not read, or is not there. Nothing can be written after a write that timed
// out, so the reason is only ours to know.
func (s *socket) writeFailed(err error) {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		s.server.slow.Add(1)
	}
	s.end(websocket.CloseTryAgainLater, reasonSlow)
	_ = s.conn.Close() // which ends the reader
}

// left accounts for messages that have been written: there is room for others, and perhaps news.
func (s *socket) left(batch []outgoing) {
	if len(batch) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoke = s.server.o.Clock.Now()
	for i := range batch {
		s.outBytes -= batch[i].size()
		if batch[i].request {
			s.unanswered--
		}
		if batch[i].transition {
			s.inFlight = false
			s.owes -= batch[i].pays
			s.server.live.pay(batch[i].pays)
		}
	}
	s.wakeLocked()
	s.startActions()
	s.room.Broadcast()
	s.retireIfIdle()
}

// end closes the socket with a code and a reason, once what is in out has been written. Later calls do nothing. Code
// CloseAbnormalClosure says that the connection is gone, so that nothing is written any more.
func (s *socket) end(code int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(code, reason)
}

func (s *socket) endLocked(code int, reason string) {
	if s.ended {
		return
	}
	s.ended, s.closeCode, s.closeReason = true, code, reason
	if code == websocket.CloseAbnormalClosure {
		s.out = nil
	}
	for _, stop := range []func() bool{s.stopPinger, s.stopHold, s.stopExpiry, s.stopParting} {
		if stop != nil {
			stop()
		}
	}
	s.queue, s.waiting = nil, nil
	s.room.Broadcast()
	s.signal()
}

// fatal tells the client that it broke the protocol, and ends it.
func (s *socket) fatal(refused *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := websocket.ClosePolicyViolation
	if refused.Reason == wire.TooLarge {
		code = websocket.CloseMessageTooBig
	}
	s.send(outgoing{frames: encode(&wire.FatalError{Message: refused.Error()})})
	s.endLocked(code, string(refused.Reason))
}

// retire begins no further calls, and ends the socket when those that run have been answered.
func (s *socket) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retiring = true
	s.unanswered -= len(s.queue)
	s.queue, s.waiting = nil, nil
	s.room.Broadcast()
	s.retireIfIdle()
}

// retireIfIdle ends a retiring socket that has nothing to say. s.mu is held.
func (s *socket) retireIfIdle() {
	if s.retiring && s.unanswered == 0 && len(s.running) == 0 && len(s.out) == 0 && !s.updating && !s.inFlight {
		s.endLocked(websocket.CloseServiceRestart, reasonRestart)
	}
}

// silence is how many ping intervals a client may say nothing, not even answer the websocket's own pings, before it is taken
// to be gone.
const silence = 5

// armPinger sets the timer for the next look at whether the client needs a sign of life. s.mu is held.
func (s *socket) armPinger() {
	if s.ended {
		return
	}
	o := &s.server.o
	s.stopPinger = o.Clock.AfterFunc(max(0, o.PingInterval-o.Clock.Now().Sub(s.spoke)), s.ping)
}

// ping tells a client that has heard nothing for a while that the server is there.
func (s *socket) ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	o := &s.server.o
	now := o.Clock.Now()
	if now.Sub(s.spoke) >= o.PingInterval {
		if !s.blocked && now.UnixNano()-s.heard.Load() > int64(silence*o.PingInterval) {
			s.endLocked(websocket.CloseTryAgainLater, reasonSilent)
			return
		}
		if len(s.out) == 0 {
			s.send(outgoing{frames: encode(&wire.Ping{}), ping: true})
		}
		s.spoke = now
	}
	s.armPinger()
}
