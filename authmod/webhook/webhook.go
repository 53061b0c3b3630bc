package webhook

import (
	"net/http"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/internal/fewlines"
	"github.com/mimosadb/mimosa/engine"
)

// Options configure Clerk, WorkOS and Standard.
type Options struct {
	// Provider is the service whose users these are: "clerk" and "workos" by default; Standard needs one. Accounts are kept
	// under it, so it is the name of the module that accepts the service's tokens, if there is one (package jwt): either of
	// the two may be the first to hear of a user, and both mean the same.
	Provider string
	// Name is the module's own name, and with it the address: /api/auth/{name}. By default it is Provider with "-webhook"
	// behind it.
	Name string
	// Secrets are the keys that deliveries may be signed with, as the sender's dashboard shows them. There are several
	// while one is replaced by another.
	Secrets []string
	// Users makes the application's user document of the service's user, by authmod.NewMapping: of a ClerkUser, a WorkOSUser,
	// or whatever Read gives as Change.Data. Without it no event changes a user.
	Users authmod.Mapping
	// On has functions of the application for types of events, such as "session.revoked" or "organization.created". They run
	// once an event, in the transaction in which its users are changed, after that. An error undoes the whole, and the
	// event is sent again. They may run again, so they have no effects outside the transaction.
	On map[string]func(tx *engine.Tx, e Event) error
	// Read says what an event means for users, where it is not what the sender's user.created, user.updated and
	// user.deleted say. It must depend on nothing but its argument. An error refuses the delivery.
	Read func(e Event) (Change, error)
	// Keep is for how long ids of events are remembered: 30 days by default, and longer than the sender goes on sending one,
	// which is three days at most with those named here. A replay that a person asks for later than that does no harm to
	// users, since it is old; functions of On run again.
	Keep time.Duration
}

const defaultKeep = 30 * 24 * time.Hour

// sender is what differs from one sender to another.
type sender struct {
	provider string // the default
	headers  func(http.Header) (claim, error)
	key      func(secret string) ([]byte, error)
	event    func(id string, body []byte) (Event, error)
	change   func(Event) (Change, error)
}

// Clerk makes the module for Clerk's webhooks, which Svix sends. Options.Users maps a ClerkUser.
func Clerk(o Options) *Module {
	return newModule(o, sender{
		provider: "clerk", headers: readSvix, key: standardKey, event: readEvent,
		change: func(e Event) (Change, error) { return readChange(e, verifiedEmail[ClerkUser]) },
	})
}

// WorkOS makes the module for the webhooks of WorkOS. Options.Users maps a WorkOSUser.
func WorkOS(o Options) *Module {
	return newModule(o, sender{
		provider: "workos", headers: readWorkOS, key: workOSKey, event: readWorkOSEvent,
		change: func(e Event) (Change, error) { return readChange(e, verifiedEmail[WorkOSUser]) },
	})
}

// Standard makes the module for any sender that keeps to Standard Webhooks (https://www.standardwebhooks.com), with symmetric
// keys. Without Options.Read, user.created, user.updated and user.deleted change users: data is the user, its id the subject,
// data.updated_at (RFC 3339 or milliseconds) the version, or the event's timestamp where there is none. No address counts as
// verified then.
func Standard(o Options) *Module {
	return newModule(o, sender{
		headers: func(h http.Header) (claim, error) { return readStandard(h, "webhook") },
		key:     standardKey, event: readEvent,
		change: func(e Event) (Change, error) { return readChange(e, nil) },
	})
}

// Module takes deliveries of one sender. It is safe for concurrent use. What is not in options and sender is set by Attach.
type Module struct {
	options Options
	sender  sender

	keys     [][]byte
	external *authmod.External
	seen     *seen

	strangers fewlines.Limit // lines about what is not signed
}

func newModule(o Options, s sender) *Module {
	if o.Provider == "" {
		o.Provider = s.provider
	}
	if o.Name == "" && o.Provider != "" {
		o.Name = o.Provider + "-webhook"
	}
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.Read != nil {
		s.change = o.Read
	}
	return &Module{options: o, sender: s}
}

// Provider is Options.Name.
func (m *Module) Provider() string { return m.options.Name }

// Attach is called by authmod.New.
func (m *Module) Attach(h *authmod.Host) {
	o := m.options
	if o.Provider == "" {
		h.Problem("Provider is empty")
	}
	if len(o.Secrets) == 0 {
		h.Problem("Secrets is empty: whoever knows the address could make and delete users")
	}
	for i, secret := range o.Secrets {
		key, err := m.sender.key(strings.TrimSpace(secret))
		if err != nil {
			h.Problem("secret %d %v", i+1, err)
		}
		m.keys = append(m.keys, key)
	}
	if o.Users == nil && len(o.On) == 0 {
		h.Problem("there are neither Users nor On, so that no event would do anything")
	}
	for typ, fn := range o.On {
		if typ == "" || fn == nil {
			h.Problem("On[%q] is nil, or for no type", typ)
		}
	}
	if o.Keep < 2*tolerance {
		h.Problem("Keep is %v, and must be at least %v", o.Keep, 2*tolerance)
	}
	m.seen = seenOf(h.Schema())
	if o.Provider != "" {
		m.external = h.External(o.Provider, o.Users)
	}
}

// SignIn refuses: nobody signs in by a webhook.
func (m *Module) SignIn(*authmod.Attempt) (authmod.Answer, error) {
	return authmod.Answer{}, authmod.Invalid(engine.Issue{Path: "provider", Rule: "enum", Message: "is not a way to sign in here"})
}

// Readmit lets a subject in again that was deleted, by the service or by the application: the next event makes a new user,
// and so does the next token. Nothing happens to others.
func (m *Module) Readmit(tx *engine.Tx, subject string) error { return m.external.Readmit(tx, subject) }

var (
	_ authmod.Module   = (*Module)(nil)
	_ authmod.Endpoint = (*Module)(nil)
)

// handles says whether an event has any effect here.
func (m *Module) handles(e Event, c Change) bool {
	return m.options.On[e.Type] != nil || c.Op != Ignore
}
