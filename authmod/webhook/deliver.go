package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// retryAfter is when a sender that asks may try again after a passing fault, in seconds.
const retryAfter = "5"

// Outcome is what became of a delivery that was accepted.
type outcome string

const (
	applied   outcome = "applied"   // it took effect
	duplicate outcome = "duplicate" // it had before
	stale     outcome = "stale"     // something newer is known of the user, or the user is gone
	ignored   outcome = "ignored"   // nothing here is concerned with events of its type
)

// refusal is an answer that is no success.
type refusal struct {
	status int
	pub    engine.Error
	level  slog.Level
	cause  error // for the log alone; nil where the delivery is not known to be the sender's
}

// ServeAuth takes a delivery in: POST, of the sender's body and headers. It answers with 200 when what the event brings about
// is durable, and never before; see the package's documentation for what else it answers.
func (m *Module) ServeAuth(db *engine.DB, w http.ResponseWriter, r *http.Request) {
	var e Event
	out, refused := m.deliver(db, r, &e)
	if refused == nil {
		db.Options().Logger.DebugContext(r.Context(), "authmod: webhook", "module", m.options.Name,
			"event", e.ID, "type", e.Type, "outcome", string(out))
		answer(w, http.StatusOK, struct {
			Outcome outcome `json:"outcome"`
		}{out})
		return
	}
	m.log(r.Context(), db, e, refused)
	switch refused.status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	}
	answer(w, refused.status, refused.pub)
}

// log writes a refusal to the log. Of strangers there are few lines, whatever they send, and nothing that they sent.
func (m *Module) log(ctx context.Context, db *engine.DB, e Event, refused *refusal) {
	about := []any{
		slog.String("module", m.options.Name), slog.Int("status", refused.status), slog.String("code", string(refused.pub.Code)),
	}
	if refused.cause == nil {
		more, ok := m.strangers.Line(db.Now())
		if !ok {
			return
		}
		about = append(about, slog.String("reason", refused.pub.Message), slog.Int("more", more))
	} else {
		about = append(about, slog.String("event", e.ID), slog.String("type", e.Type), slog.Any("error", refused.cause))
	}
	if p, panicked := errors.AsType[*engine.PanicError](refused.cause); panicked {
		about = append(about, slog.String("stack", string(p.Stack)))
	}
	db.Options().Logger.Log(ctx, refused.level, "authmod: webhook refused", about...)
}

// deliver does it. e is set as soon as the delivery is known to be the sender's.
func (m *Module) deliver(db *engine.DB, r *http.Request, e *Event) (outcome, *refusal) {
	if p := r.URL.Path; p != "" && p != "/" {
		return "", refuse(http.StatusNotFound, engine.CodeNotFound, "there is nothing here")
	}
	if r.Method != http.MethodPost {
		return "", refuse(http.StatusMethodNotAllowed, engine.CodeInvalid, "webhooks are POST requests")
	}
	c, err := m.sender.headers(r.Header)
	if err != nil {
		return "", refuse(http.StatusBadRequest, engine.CodeInvalid, err.Error())
	}
	if !c.fresh(db.Now()) {
		return "", refuse(http.StatusBadRequest, engine.CodeInvalid, "the delivery's time is more than 5 minutes away from now")
	}
	if len(c.macs) == 0 {
		return "", refuse(http.StatusUnauthorized, engine.CodeUnauthenticated, "there is no signature of a kind that is known here")
	}
	body, refused := readBody(r)
	if refused != nil {
		return "", refused
	}
	if !c.holds(m.keys, body) {
		return "", refuse(http.StatusUnauthorized, engine.CodeUnauthenticated, "no signature is of a key that is known here")
	}
	if *e, err = m.sender.event(c.id, body); err != nil {
		*e = Event{ID: c.id}
		return "", refusalOf(err)
	}
	e.external = m.external
	change, err := m.changeOf(*e)
	if err != nil {
		return "", refusalOf(err)
	}
	if !m.handles(*e, change) {
		return ignored, nil
	}
	out, err := m.apply(r.Context(), db, *e, change)
	if err != nil {
		return "", refusalOf(err)
	}
	return out, nil
}

// readBody reads what authmod bounds.
func readBody(r *http.Request) ([]byte, *refusal) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			return nil, refuse(http.StatusRequestEntityTooLarge, engine.CodeTooLarge, "the body is larger than 1 MiB")
		}
		return nil, refuse(http.StatusBadRequest, engine.CodeInvalid, "the body could not be read")
	}
	return body, nil
}

func (m *Module) changeOf(e Event) (Change, error) {
	if m.options.Users == nil {
		return Change{}, nil
	}
	c, err := m.sender.change(e)
	if err == nil {
		err = c.valid()
	}
	return c, err
}

// apply makes what the event brings about one transaction, together with the note that it has happened.
func (m *Module) apply(ctx context.Context, db *engine.DB, e Event, c Change) (out outcome, err error) {
	sum := sha256.Sum256(e.Body)
	note := seenEvent{Source: m.options.Name, Event: e.ID, Type: e.Type, Digest: hex.EncodeToString(sum[:])}
	var other bool
	err = db.Update(ctx, func(tx *engine.Tx) (err error) {
		var first bool
		note.Expires = tx.Now().Add(m.options.Keep).UTC()
		if first, other, err = m.seen.note(tx, note); err != nil {
			return err
		}
		if !first {
			out = duplicate
			return nil
		}
		out, err = m.effect(tx, e, c)
		return err
	})
	if err == nil && other {
		db.Options().Logger.WarnContext(ctx, "authmod: a webhook's event id came again with another body, which was ignored",
			"module", m.options.Name, "event", e.ID, "type", e.Type)
	}
	return out, err
}

// effect changes the users, and then runs the application's function.
func (m *Module) effect(tx *engine.Tx, e Event, c Change) (outcome, error) {
	out := applied
	if c.Op != Ignore {
		done, err := m.change(tx, e, c)
		if err != nil {
			return "", err
		}
		if !done {
			out = stale
		}
	}
	if fn := m.options.On[e.Type]; fn != nil {
		if err := fn(tx, e); err != nil {
			return "", err
		}
	}
	return out, nil
}

func (m *Module) change(tx *engine.Tx, e Event, c Change) (done bool, err error) {
	if c.Op == Delete {
		at := c.At
		if at.IsZero() {
			at = tx.Now().UTC()
		}
		return m.external.Delete(tx, c.Subject, at)
	}
	_, done, err = m.external.Put(tx, authmod.ExternalUser{
		Subject: c.Subject, At: c.At, VerifiedEmail: c.VerifiedEmail, Data: c.Data,
	})
	return done, err
}

func refuse(status int, code engine.Code, message string) *refusal {
	return &refusal{status: status, pub: engine.Error{Code: code, Message: message}, level: slog.LevelInfo}
}

// refusalOf turns an error of a delivery that is the sender's into an answer. Senders go on sending whatever is not answered
// with a 2xx, so that the status is for those who read their logs: 422 will not pass by itself, 503 will.
func refusalOf(err error) *refusal {
	out := &refusal{status: http.StatusUnprocessableEntity, level: slog.LevelWarn, cause: err}
	if bad, ok := errors.AsType[*malformed](err); ok {
		out.status = http.StatusBadRequest
		out.pub = engine.Error{Code: engine.CodeInvalid, Message: "the body is no event", Issues: []engine.Issue{bad.issue}}
		return out
	}
	if passing(err) {
		out.status = http.StatusServiceUnavailable
		out.pub = engine.Error{Code: engine.CodeBusy, Message: "try again later"}
		return out
	}
	if pub, ok := errors.AsType[*engine.Error](err); ok {
		out.pub = engine.Error{Code: pub.Code, Message: pub.Message, Issues: pub.Issues, Data: pub.Data}
		return out
	}
	if limit, ok := errors.AsType[*engine.LimitError](err); ok {
		out.pub = engine.Error{Code: engine.CodeTooLarge, Message: limit.Error()}
		return out
	}
	out.status, out.level = http.StatusInternalServerError, slog.LevelError
	out.pub = engine.Error{Code: engine.CodeInternal, Message: "internal error; the log has it under the event's id"}
	return out
}

// passing says whether an error says nothing about the event: it may do next time.
func passing(err error) bool {
	for _, target := range []error{
		engine.ErrBusy, engine.ErrClosed, engine.ErrFailed, engine.ErrIndexNotReady, engine.ErrOutcomeUnknown,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func answer(w http.ResponseWriter, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil { // data of an application's error that cannot be encoded
		status, encoded = http.StatusInternalServerError, []byte(`{"code":"internal","message":"internal error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(encoded) // a sender that has gone will send again
}
