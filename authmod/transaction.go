package authmod

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// completeArgs are the arguments of the internal mutation. Refresh tokens come as hashes.
type completeArgs struct {
	Provider  string          `json:"provider"`
	Flow      string          `json:"flow"`
	Mode      Mode            `json:"mode"`
	AccountID string          `json:"accountId"`
	Secret    string          `json:"secret"`
	Expect    string          `json:"expect"`
	Family    string          `json:"family"`
	Hash      string          `json:"hash"`
	Key       string          `json:"key"`
	User      json.RawMessage `json:"user,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`

	VerifiedEmail string          `json:"verifiedEmail"`
	Temporary     bool            `json:"temporary"`
	State         json.RawMessage `json:"state,omitempty"`
}

type completed struct {
	Status string `json:"status"`
	granted
}

const (
	statusDone    = "done"
	statusExists  = "exists"
	statusMissing = "missing"
	statusChanged = "changed"
)

func (in completeArgs) completion() Completion {
	return Completion{
		Mode: in.Mode, AccountID: in.AccountID, User: NewUser{doc: in.User}, Secret: in.Secret, Expect: in.Expect,
		Params: in.Params, State: in.State, NoSession: in.Hash == "", VerifiedEmail: in.VerifiedEmail, Temporary: in.Temporary,
	}
}

// inTransaction is the body of that mutation: one sign-in, from the account to the session.
func (a *Auth) inTransaction(tx *engine.Tx, in completeArgs) (completed, error) {
	module, ok := a.modules[in.Provider]
	if !ok {
		return completed{}, fmt.Errorf("authmod: no module %q", in.Provider)
	}
	// Whoever called until now, before anything changes that.
	caller, err := tx.Identity()
	if err != nil {
		return completed{}, err
	}
	c := in.completion()
	doc, status, err := a.join(tx, module, &c, in.Provider, caller)
	if status != "" || err != nil {
		return completed{Status: status}, err
	}
	if c.Mode == Wait {
		return completed{Status: statusDone}, nil
	}
	if c.Mode == Resume {
		return a.resume(tx, caller, doc, c, in)
	}
	who := person{tx: tx, provider: in.Provider, caller: caller, c: c, info: &SignInInfo{
		Provider: in.Provider, Flow: in.Flow, AccountID: c.AccountID, params: c.Params, shapes: a.shapes,
	}}
	tx.SetLocal(infoKey{}, who.info)
	if err := a.settle(&who, doc); err != nil {
		return completed{}, err
	}
	out := completed{Status: statusDone, granted: granted{User: who.info.User}}
	if c.NoSession || c.Mode == Link {
		return out, nil
	}
	out.granted, err = a.begin(&who, in)
	return out, err
}

// join runs the module's Join, looks the account up, and says by a status what speaks against the completion. What Join has
// written is undone then: a code that turns out to be good for nothing has not been used.
func (a *Auth) join(
	tx *engine.Tx, module Module, c *Completion, provider string, caller *engine.Identity,
) (doc *engine.Doc[Account], status string, err error) {
	inner := func(tx *engine.Tx) (err error) {
		if j, ok := module.(Joiner); ok {
			if err := j.Join(tx, c); err != nil {
				return err
			}
		}
		if doc, err = a.c.accountsByID.One(tx, provider, c.AccountID); errors.Is(err, engine.ErrNotFound) {
			doc, err = nil, nil
		}
		if err == nil {
			status, err = check(doc, *c, caller)
		}
		if err == nil && status != "" {
			err = errUndone
		}
		return err
	}
	if _, ok := module.(Joiner); ok {
		err = tx.Nested(inner)
	} else {
		err = inner(tx)
	}
	if errors.Is(err, errUndone) {
		err = nil
	}
	return doc, status, err
}

// errUndone ends join where there is a status.
var errUndone = errors.New("authmod: undone")

// check says what speaks against a completion: a status, for the module to branch on, or an error.
func check(doc *engine.Doc[Account], c Completion, caller *engine.Identity) (string, error) {
	switch {
	case c.Mode == Link && (caller == nil || caller.User == ""):
		return "", engine.Errorf(engine.CodeUnauthenticated, "only somebody who is signed in can link an account")
	case doc != nil && c.Mode == SignUp, doc != nil && c.Mode == Link && doc.Value.User != caller.User:
		return statusExists, nil
	case doc == nil && (c.Mode == LogIn || c.Mode == Resume):
		return statusMissing, nil
	case doc != nil && c.Expect != "" && c.Expect != doc.Value.Secret:
		return statusChanged, nil
	}
	return "", nil
}

// begin makes the session, in place of the caller's.
func (a *Auth) begin(who *person, in completeArgs) (granted, error) {
	tx, info := who.tx, who.info
	if a.options.BeforeSession != nil {
		if err := a.options.BeforeSession(tx, info); err != nil {
			return granted{}, err
		}
	}
	if err := a.revokeOf(tx, who.caller); err != nil {
		return granted{}, err
	}
	out, err := a.makeSession(tx, info, in.Family, in.Hash)
	if err != nil {
		return granted{}, err
	}
	info.Session = out.Session
	if info.NewUser && in.Key != "" {
		if err := a.recordSignUp(tx, in, who.c, out); err != nil {
			return granted{}, err
		}
	}
	if a.options.OnSignIn != nil {
		if err := a.options.OnSignIn(tx, info); err != nil {
			return granted{}, err
		}
	}
	return a.withClaims(tx, out)
}

// granted is what tokens are made of.
type granted struct {
	User    string    `json:"user,omitempty"`
	Session string    `json:"session,omitempty"`
	Ends    time.Time `json:"ends,omitzero"`
	// Claims are those of Options.CustomClaims, an object.
	Claims json.RawMessage `json:"claims,omitempty"`
}
