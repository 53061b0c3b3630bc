package subscriptions

import (
	"encoding/json"
	"errors"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// failure is what a client sees of an error that a function gave.
func failure(err error) *wire.Failure {
	var e *engine.Error
	switch {
	case forgotten(err):
		_ = errors.As(err, &e)
	case errors.Is(err, engine.ErrOutcomeUnknown):
		e = engine.Errorf(engine.CodeInternal, "whether the mutation took effect is not known")
	case !errors.As(err, &e):
		// Functions fail with a code; what comes without one ended the call from outside.
		e = engine.Errorf(engine.CodeBusy, "the call was cut off; try again")
	}
	d := wire.ErrorData{Code: string(e.Code), Message: e.Message}
	for _, i := range e.Issues {
		d.Issues = append(d.Issues, wire.Issue(i))
	}
	if e.Data != nil {
		// Data is the application's; if it cannot be encoded, the code and the message must still arrive.
		if raw, err := json.Marshal(e.Data); err == nil {
			d.Data = raw
		}
	}
	return &wire.Failure{Message: e.Message, Data: d.Append(nil)}
}

func failed(c engine.Code, format string, a ...any) *wire.Failure {
	return failure(engine.Errorf(c, format, a...))
}

// forgotten says that an error answers a request that is too old to tell what became of it: it never will be told, so that
// this is the answer, unlike other unknown outcomes, of which the next send hears.
func forgotten(err error) bool {
	var e *engine.Error
	return errors.As(err, &e) && e.Code == engine.CodeUnknown
}

// cutOff says that an error tells nothing about whether a mutation took effect, so that it must not be answered: the client
// sends the mutation again on its next socket, and the record of its session says what became of it.
func (s *Server) cutOff(err error) bool {
	return errors.Is(err, engine.ErrClosed) || errors.Is(err, engine.ErrFailed) ||
		errors.Is(err, engine.ErrOutcomeUnknown) && !forgotten(err) || s.ctx.Err() != nil
}

// logLines returns what a function logged as clients print it, and nothing outside development.
func (s *Server) logLines(lines []string) []string {
	if !s.development || len(lines) == 0 {
		return nil
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = wire.LogLine("LOG", l)
	}
	return out
}

// noComponents answers calls into parts of a program that only other servers of this protocol have.
func noComponents() *wire.Failure {
	return failed(engine.CodeNotFound, "there are no components here")
}
