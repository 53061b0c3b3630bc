package emailcode

import (
	"encoding/json"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// Options configure New. Send is needed; everything else has a default.
type Options struct {
	// Send delivers messages. Their Purpose is authmod.PurposeSignIn or PurposeLink.
	Send authmod.Sender
	// Profile makes the document of a new user of what the form asked: see authmod.NewProfile. Without one, users have an
	// e-mail address, and further parameters are for triggers to look at.
	Profile authmod.Profile
	// Digits is how long a code is, 6 to 32; 8 by default.
	Digits int
	// TTL is for how long code and link are good: 15 minutes by default.
	TTL time.Duration
	// MaxTries is how many wrong codes end a code: 5 by default.
	MaxTries int
	// Link is the absolute address of the page that links lead to, such as "https://app.example/signin", with the parameter
	// code. Empty, messages have a code alone.
	Link string
	// SameDevice refuses codes and links elsewhere than where they were asked for: see the package documentation.
	SameDevice bool
}

// PurposeLink is that of messages whose code adds the address to the user who asked for it.
const PurposeLink = "link"

const (
	provider = "emailcode"
	fnStart  = "auth:startEmailCode"

	flowLink = "link"

	// minVerifier is the length of a verifier in bytes. A shorter one cannot be random enough.
	minVerifier = 16
)

// New makes the module.
func New(o Options) authmod.Module { return &module{options: o} }

// module is the Module, a Redeemer and a Joiner. What is not in options is set by Attach.
type module struct {
	options Options
	sheet   *authmod.Sheet
	codes   *authmod.Codes
	start   engine.MutationRef[startArgs, struct{}]
}

func (*module) Provider() string { return provider }

func (m *module) Attach(h *authmod.Host) {
	o := m.options
	m.sheet = h.Profile(o.Profile)
	m.codes = h.Codes(authmod.CodeOptions{Send: o.Send, Digits: o.Digits, TTL: o.TTL, MaxTries: o.MaxTries, Link: o.Link})
	m.start = engine.Mutation(h.Schema(), fnStart, m.issue, engine.Internal())
	h.BeforeAccount(authmod.AccountByEmail)
}

// startArgs are those of the internal mutation that has a message sent.
type startArgs struct {
	Purpose string          `json:"purpose"`
	To      string          `json:"to"`
	Key     string          `json:"key"`
	NewUser json.RawMessage `json:"newUser,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	State   json.RawMessage `json:"state,omitempty"`
}

// state is what is kept with a code beside that: the hash of a verifier, where Options.SameDevice asks for one.
type state struct {
	Verifier string `json:"verifier,omitempty"`
}

func (m *module) issue(tx *engine.Tx, in startArgs) (struct{}, error) {
	r := authmod.CodeRequest{
		Purpose: in.Purpose, To: in.To, Deliver: true, Key: in.Key, NewUser: authmod.NewUserOf(in.NewUser), Params: in.Params, State: in.State,
	}
	if in.Purpose == PurposeLink {
		who, err := tx.Identity()
		if err != nil {
			return struct{}{}, err
		}
		if who == nil || who.User == "" {
			return struct{}{}, errNobody
		}
		r.User = who.User
	}
	return struct{}{}, m.codes.Issue(tx, r)
}
