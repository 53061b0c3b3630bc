package authmod

import (
	"encoding/json"

	"github.com/mimosadb/mimosa/engine"
)

// Module is one way to sign in: passwords, an identity provider, one-time codes. The modules in the folders below this
// package use nothing but its exported API, so a program's own can do all that they do. See the package documentation for
// how one is written.
//
// Modules with more to them implement Redeemer or Joiner too.
type Module interface {
	// Provider is the name by which clients ask for the module, such as "password": letters, digits, "_" and "-", beginning
	// with a letter. It stays the same for as long as there are accounts, since it is part of their key.
	Provider() string
	// Attach is called once, by New. The module keeps h, and registers what it needs with h.Schema: collections, internal
	// functions, hooks of Open. Wrong options are reported by h.Problem.
	Attach(h *Host)
	// SignIn answers one auth:signIn that names the module. It runs inside the action, so outside any transaction, and may
	// take its time; it must stop when the attempt's context ends. Concurrent calls are normal. Errors made by
	// engine.Errorf reach the client as they are; any other is logged and reaches it as internal.
	SignIn(a *Attempt) (Answer, error)
}

// Redeemer is a Module whose sign-in ends by a code in an address: a browser that comes back from an identity provider, or
// from a link in a mail, has only the code and does not know whose it is. It is called for every such code, in the order of
// Options.Modules, until one module says that the code is its own.
type Redeemer interface {
	// Redeem answers for code, which a.Verifier may have to match, or returns false where the code is not the module's.
	Redeem(a *Attempt, code string) (answer Answer, mine bool, err error)
}

// Joiner is a Module with documents of its own to read or write in the transaction of a sign-in: a one-time code is checked
// and used up in the transaction that makes the session, or not at all.
type Joiner interface {
	// Join runs in each transaction that Attempt.Complete starts for the module, before anything is written. It may change
	// c, and refuse with an error, whereupon nothing happens. The transaction may run again, so it has no effects outside.
	Join(tx *engine.Tx, c *Completion) error
}

// Host is what a module gets from the Auth that it is part of.
type Host struct {
	auth     *Auth
	provider string
}

// Schema is where the module registers what it needs.
func (h *Host) Schema() *engine.Schema { return h.auth.schema }

// DB is the database that was opened last with the schema, of those that are open; nil when none is. It is for what is not
// given one: the clock and the log of a [TokenVerifier].
func (h *Host) DB() *engine.DB { return h.auth.open.last() }

// Problem reports a wrong option, for Open to return.
func (h *Host) Problem(format string, a ...any) {
	h.auth.schema.Problem("authmod/"+h.provider+": "+format, a...)
}

// Attempt is one call of auth:signIn. It belongs to that call.
type Attempt struct {
	*engine.ActionCtx

	host     *Host
	module   Module
	flow     string
	verifier string
	key      string // the hash of the idempotency key; empty when there is none
	reserved map[string]json.RawMessage
	params   map[string]json.RawMessage
}

// reservedParams are the parameters that modules use themselves. They never reach triggers.
var reservedParams = []string{"flow", "password", "newPassword", "code", "redirectTo", "refreshToken"}

// Flow is params.flow, empty when there is none.
func (a *Attempt) Flow() string { return a.flow }

// OneFlow is Flow for modules to which signing up and signing in are one: "signIn" and "signUp", by which a client says no more
// than which button was pressed, are as if they were left out, for triggers too.
func (a *Attempt) OneFlow() string {
	if a.flow == "signIn" || a.flow == "signUp" {
		a.flow = ""
	}
	return a.flow
}

// SetFlow says which flow it is that a call completes, where it began with another one.
func (a *Attempt) SetFlow(flow string) { a.flow = flow }

// Verifier is what the client kept since the answer that Redirect gave it; empty when it sent none.
func (a *Attempt) Verifier() string { return a.verifier }

// Key is the same for a call that is sent again because its answer was lost, and for no other: a hash of the idempotencyKey
// beside provider and params; empty where the client sent none. It proves nothing about the person.
func (a *Attempt) Key() string { return a.key }

// Reserved returns a reserved parameter, such as "password", which must be a string. When it is missing or something else,
// the issue says so.
func (a *Attempt) Reserved(name string) (string, *engine.Issue) {
	return stringParam(a.reserved, name)
}

// Param returns one of the other parameters, likewise.
func (a *Attempt) Param(name string) (string, *engine.Issue) {
	return stringParam(a.params, name)
}

// SetParam replaces one of the other parameters, by a normalised form of what the client sent.
func (a *Attempt) SetParam(name, value string) {
	quoted, err := json.Marshal(value)
	if err != nil { // no string fails
		return
	}
	a.params[name] = quoted
}

// Params returns all parameters but the reserved ones, as a JSON object: what Completion.Params takes.
func (a *Attempt) Params() json.RawMessage { return encodeObject(a.params) }

func stringParam(params map[string]json.RawMessage, name string) (string, *engine.Issue) {
	raw, ok := params[name]
	if !ok {
		return "", &engine.Issue{Path: name, Rule: "required", Message: "is missing"}
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", &engine.Issue{Path: name, Rule: "type", Message: "must be a string"}
	}
	return *s, nil
}

// encodeObject writes an object of encoded members.
func encodeObject(members map[string]json.RawMessage) json.RawMessage {
	out, err := json.Marshal(members)
	if err != nil { // every member was decoded from valid JSON
		return json.RawMessage("{}")
	}
	return out
}

// Invalid makes the error by which a module refuses parameters: code invalid, with all issues at once.
func Invalid(issues ...engine.Issue) error {
	return engine.Errorf(engine.CodeInvalid, "invalid sign-in parameters").WithIssues(issues...)
}

// Answer is what auth:signIn gives the client. Clients decide by its kind what to do: those made by
// Redirect, by Started, by Linked, and by Attempt.Complete or SignedOut.
type Answer struct{ body json.RawMessage }

type (
	redirectAnswer struct {
		Redirect string `json:"redirect"`
		Verifier string `json:"verifier"`
	}
	startedAnswer struct {
		Started bool `json:"started"`
	}
	linkedAnswer struct {
		Linked bool `json:"linked"`
	}
	tokensAnswer struct {
		Tokens *tokens `json:"tokens"`
	}
	tokens struct {
		Token        string `json:"token"`
		RefreshToken string `json:"refreshToken"`
	}
)

func answer(v any) Answer {
	body, err := json.Marshal(v)
	if err != nil { // structs of strings
		return Answer{}
	}
	return Answer{body}
}

// Redirect sends the browser to an absolute address. The client keeps verifier and sends it along with the code with which
// the browser comes back.
func Redirect(url, verifier string) Answer { return answer(redirectAnswer{url, verifier}) }

// Started says that the sign-in goes on elsewhere, in a mail for instance. Nobody is signed in yet.
func Started() Answer { return answer(startedAnswer{true}) }

// Linked says that an account was linked to whoever called, whose session goes on.
func Linked() Answer { return answer(linkedAnswer{true}) }

// SignedOut makes the client forget its tokens.
func SignedOut() Answer { return answer(tokensAnswer{}) }
