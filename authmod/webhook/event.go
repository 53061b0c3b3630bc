package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// Event is one thing that a sender tells: what has been signed.
type Event struct {
	// ID is the sender's id of the event, the same each time it is sent.
	ID string
	// Type is like "user.created".
	Type string
	// At is when it happened by the sender's clock; zero where the sender does not say.
	At time.Time
	// Data is what it is about, in the sender's shape. It is at most as large as the body, 1 MiB.
	Data json.RawMessage
	// Body is the whole body, byte by byte as it was sent.
	Body []byte

	external *authmod.External
}

// User returns the id of the user document that stands for one of the service's users: data.user_id of Clerk's session.revoked,
// for instance. The error is authmod.ErrNoAccount where there is none yet, authmod.ErrDeleted where there was one.
func (e Event) User(r engine.Reader, subject string) (string, error) {
	return e.external.Find(r, subject)
}

// Decode reads an event's data as encoding/json does, without what T has no field for. An error refuses the delivery with 400.
func Decode[T any](e Event) (v T, err error) {
	if err := json.Unmarshal(e.Data, &v); err != nil {
		path := "data"
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			path += "." + wrong.Field
		}
		return v, bad(path, "type", "is not as it is expected here")
	}
	return v, nil
}

// Op is what an event does to a user.
type Op uint8

const (
	// Ignore leaves users as they are.
	Ignore Op = iota
	// Put creates the user, or updates it.
	Put
	// Delete deletes the user for good: a service never gives an id to another user, so that nothing brings this one back.
	Delete
)

// Change is what an event means for one user.
type Change struct {
	Op Op
	// Subject is the service's id of the user: the sub of its tokens.
	Subject string
	// At is the version: when the service changed what Data says. Of several Puts of one subject the one with the latest At
	// stands, in whatever order they come; of equal ones the last to come. Put needs it.
	At time.Time
	// VerifiedEmail is the user's address, if the service has verified it; else empty. A new account goes to the user who has
	// proved the same address before: see Linking in package authmod.
	VerifiedEmail string
	// Data is what Options.Users maps.
	Data json.RawMessage
}

// The types of events that are about users, as most senders have them.
const (
	userCreated = "user.created"
	userUpdated = "user.updated"
	userDeleted = "user.deleted"
)

// malformed is a body that is signed and yet not what the sender documents. Its text is for whoever looks at the sender's log
// of deliveries, and never repeats a value.
type malformed struct{ issue engine.Issue }

func (e *malformed) Error() string { return "body: " + e.issue.Path + " " + e.issue.Message }

func bad(path, rule, message string) error {
	return &malformed{engine.Issue{Path: path, Rule: rule, Message: message}}
}

// readEnvelope reads the body as an object of type E.
func readEnvelope[E any](body []byte) (e E, err error) {
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return e, bad("", "type", "must be a JSON object")
	}
	if err := json.Unmarshal(body, &e); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return e, bad(wrong.Field, "type", "has the wrong type")
		}
		return e, bad("", "json", "is not JSON")
	}
	return e, nil
}

// checked is an event that has what every event has.
func checked(e Event) (Event, error) {
	switch {
	case e.Type == "" || len(e.Type) > maxEventID:
		return e, bad("type", "length", "must have 1 to 256 bytes")
	case !validEventID(e.ID):
		return e, bad("id", "length", "must be 1 to 256 characters of printable ASCII")
	}
	return e, nil
}

// readEvent reads the body of Standard Webhooks (standard-webhooks.md, payload structure), and that of Clerk, which differs in
// giving the time as milliseconds.
func readEvent(id string, body []byte) (Event, error) {
	in, err := readEnvelope[struct {
		Type      string          `json:"type"`
		Timestamp json.RawMessage `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}](body)
	if err != nil {
		return Event{}, err
	}
	return checked(Event{ID: id, Type: in.Type, At: readTime(in.Timestamp), Data: in.Data, Body: body})
}

// readWorkOSEvent reads the body of WorkOS, which says its own id.
func readWorkOSEvent(_ string, body []byte) (Event, error) {
	in, err := readEnvelope[struct {
		ID        string          `json:"id"`
		Event     string          `json:"event"`
		CreatedAt json.RawMessage `json:"created_at"`
		Data      json.RawMessage `json:"data"`
	}](body)
	if err != nil {
		return Event{}, err
	}
	return checked(Event{ID: in.ID, Type: in.Event, At: readTime(in.CreatedAt), Data: in.Data, Body: body})
}

// readTime reads a time as senders write it, RFC 3339 or milliseconds since the epoch; zero where it is neither.
func readTime(raw json.RawMessage) time.Time {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return time.Time{}
	}
	switch v := v.(type) {
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t.UTC()
		}
	case float64:
		if v >= 1 && v < 1e15 {
			return time.UnixMilli(int64(v)).UTC()
		}
	}
	return time.Time{}
}

// identified is what all senders' users have in common.
type identified struct {
	ID        string          `json:"id"`
	UpdatedAt json.RawMessage `json:"updated_at"`
}

// readChange is what user.created, user.updated and user.deleted mean: data is the user, with id and updated_at; where there is
// no updated_at, the event's time is the version. verified finds the verified address in data; nil where it cannot be known.
func readChange(e Event, verified func(json.RawMessage) (string, error)) (Change, error) {
	switch e.Type {
	case userCreated, userUpdated, userDeleted:
	default:
		return Change{}, nil
	}
	var in identified
	if err := json.Unmarshal(e.Data, &in); err != nil {
		return Change{}, bad("data", "type", "must be an object with a string id")
	}
	c := Change{Op: Put, Subject: in.ID, At: readTime(in.UpdatedAt), Data: e.Data}
	if c.At.IsZero() {
		c.At = e.At
	}
	if e.Type == userDeleted {
		// What is left of a user who is gone has the time of its last update, if any; the deletion came later.
		c.Op, c.At, c.Data = Delete, e.At, nil
		return c, nil
	}
	if e.Type == userCreated && !c.At.IsZero() {
		// Services count milliseconds, and one that makes a user and changes it in the same one says the same time twice.
		// What was created is what was changed then.
		c.At = c.At.Add(-time.Nanosecond)
	}
	err := c.valid()
	if err == nil && verified != nil {
		c.VerifiedEmail, err = verified(e.Data)
	}
	return c, err
}

// valid checks a change, since it may come from the application.
func (c Change) valid() error {
	switch {
	case c.Op > Delete:
		return fmt.Errorf("webhook: Options.Read returned Op %d", c.Op)
	case c.Op == Ignore:
		return nil
	case c.Subject == "":
		return bad("data.id", "required", "must say who the user is")
	case c.Op == Put && c.At.IsZero():
		return bad("data.updated_at", "required", "must say when the user was changed")
	}
	return nil
}
