package authmod

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// Mode says what a Completion expects of its account.
type Mode string

const (
	// SignUp makes a new account and a new user; ErrAccountExists when there is one.
	SignUp Mode = "signUp"
	// LogIn takes an account that is there; ErrNoAccount when there is none.
	LogIn Mode = "logIn"
	// Either takes the account that is there, or makes one with a new user.
	Either Mode = "either"
	// Resume goes on with the session of the sign-up that made the account, where that was the same call whose answer was
	// lost: see Attempt.Resent. The session gets tokens, and nothing else happens: what a sign-up or a sign-in brings about
	// has been, OnSignIn included. ErrNoAccount when there is no such session, or none any more.
	Resume Mode = "resume"
)

// Completion is a sign-in that the module has satisfied itself of.
type Completion struct {
	Mode Mode
	// AccountID is who it is, in the words of the module's provider: an e-mail address, a subject.
	AccountID string
	// User is the document of a new user. Unused when the account exists: a sign-in changes nothing about a user.
	User NewUser
	// Secret is stored with the account, on creation; when the account exists it replaces what is stored there. Empty
	// leaves that as it is.
	Secret string
	// Expect is the account's Secret that the module checked the person against. When it has changed since, the error is
	// ErrSecretChanged. Empty expects nothing.
	Expect string
	// Params is what triggers get from Params: what Attempt.Params returned at the time of the sign-up, which for flows by
	// redirect or code is not that of their completion.
	Params json.RawMessage
	// State is the module's own, handed to its Join.
	State json.RawMessage
	// NoSession leaves it at account and user: whoever it is has something more to prove.
	NoSession bool
}

// Errors of Complete that modules branch on. None has changed anything, and none is meant for a client as it is.
var (
	ErrAccountExists = errors.New("authmod: there is an account of this id")
	ErrNoAccount     = errors.New("authmod: there is no account of this id")
	ErrSecretChanged = errors.New("authmod: the account's secret has changed")
)

// Account is an account of the attempt's provider.
type Account struct {
	ID     string
	User   string
	Secret string

	signUp *signUpRecord
}

// Account looks an account up, in the newest committed state; ErrNoAccount when there is none. What it found may have changed
// by the time of Complete: see Completion.Expect.
func (a *Attempt) Account(id string) (*Account, error) {
	var found *Account
	err := a.DB().View(a.Context(), func(tx *engine.ReadTx) error {
		d, err := a.host.auth.c.accountsByID.One(tx, a.host.provider, id)
		if err == nil {
			found = &Account{
				ID: d.Value.ProviderAccountID, User: d.Value.User, Secret: d.Value.Secret, signUp: d.Value.SignUp,
			}
		}
		return err
	})
	if errors.Is(err, engine.ErrNotFound) {
		return nil, ErrNoAccount
	}
	return found, err
}

// Complete makes account, user, session and refresh token in one transaction, together with all that triggers write, and
// answers with tokens. If anything in it fails, nothing of it has happened. The session of who called takes its end in the
// same transaction: a sign-in replaces it. With NoSession the answer is Started's.
//
// Errors: ErrAccountExists, ErrNoAccount, ErrSecretChanged, and those of triggers, hooks and the database, which a module
// returns as they are.
func (a *Attempt) Complete(c Completion) (Answer, error) {
	switch c.Mode {
	case SignUp, LogIn, Either, Resume:
	default:
		return Answer{}, fmt.Errorf("authmod: completion mode %q", c.Mode)
	}
	in := completeArgs{
		Provider: a.host.provider, Flow: a.flow, Mode: c.Mode, AccountID: c.AccountID, Secret: c.Secret, Expect: c.Expect,
		Params: c.Params, State: c.State, User: c.User.doc, Key: a.key,
	}
	var ticket ticket
	if !c.NoSession {
		ticket = newTicket()
		in.Family, in.Hash = ticket.family, ticket.hash
	}
	out, err := a.host.auth.complete.Run(a.ActionCtx, in)
	if err != nil {
		return Answer{}, err
	}
	switch out.Status {
	case statusDone:
	case statusExists:
		return Answer{}, ErrAccountExists
	case statusMissing:
		return Answer{}, ErrNoAccount
	case statusChanged:
		return Answer{}, ErrSecretChanged
	default:
		return Answer{}, fmt.Errorf("authmod: completion status %q", out.Status)
	}
	if c.NoSession {
		return Started(), nil
	}
	token, p, err := a.host.auth.mint(a.DB(), out.User, out.Session, out.Ends)
	if err != nil {
		return Answer{}, err
	}
	a.SetPrincipal(p)
	return answer(tokensAnswer{&tokens{token, ticket.secret}}), nil
}

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
	State     json.RawMessage `json:"state,omitempty"`
}

type completed struct {
	Status  string    `json:"status"`
	User    string    `json:"user,omitempty"`
	Session string    `json:"session,omitempty"`
	Ends    time.Time `json:"ends,omitzero"`
}

const (
	statusDone    = "done"
	statusExists  = "exists"
	statusMissing = "missing"
	statusChanged = "changed"
)

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
	c := Completion{
		Mode: in.Mode, AccountID: in.AccountID, User: NewUser{doc: in.User}, Secret: in.Secret, Expect: in.Expect,
		Params: in.Params, State: in.State, NoSession: in.Hash == "",
	}
	if j, ok := module.(Joiner); ok {
		if err := j.Join(tx, &c); err != nil {
			return completed{}, err
		}
	}
	doc, err := a.c.accountsByID.One(tx, in.Provider, c.AccountID)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return completed{}, err
	}
	found := err == nil
	switch {
	case found && c.Mode == SignUp:
		return completed{Status: statusExists}, nil
	case !found && (c.Mode == LogIn || c.Mode == Resume):
		return completed{Status: statusMissing}, nil
	case found && c.Expect != "" && c.Expect != doc.Value.Secret:
		return completed{Status: statusChanged}, nil
	case c.Mode == Resume:
		return a.resume(tx, caller, doc, c, in)
	}
	info := &SignInInfo{Provider: in.Provider, Flow: in.Flow, NewUser: !found, params: c.Params, shapes: a.shapes}
	tx.SetLocal(infoKey{}, info)
	if found {
		err = a.useAccount(tx, doc, c)
		info.User = doc.Value.User
	} else {
		info.User, err = a.makeAccount(tx, in.Provider, c)
	}
	if err != nil {
		return completed{}, err
	}
	out := completed{Status: statusDone, User: info.User}
	if c.NoSession {
		return out, nil
	}
	if err := a.revokeOf(tx, caller); err != nil {
		return completed{}, err
	}
	if out.Session, out.Ends, err = a.makeSession(tx, info.User, in.Family, in.Hash); err != nil {
		return completed{}, err
	}
	if !found && in.Key != "" {
		if err := a.recordSignUp(tx, in, c, out); err != nil {
			return completed{}, err
		}
	}
	if a.options.OnSignIn != nil {
		if err := a.options.OnSignIn(tx, info); err != nil {
			return completed{}, err
		}
	}
	return out, nil
}

// makeAccount makes user and account. The user comes first: its triggers may refuse, and they find neither account nor
// session yet.
func (a *Auth) makeAccount(tx *engine.Tx, provider string, c Completion) (user string, err error) {
	if user, err = a.users.insert(tx, c.User.doc); err != nil {
		return "", err
	}
	_, err = a.c.accounts.Insert(tx, account{
		Provider: provider, ProviderAccountID: c.AccountID, User: user, Secret: c.Secret,
	})
	return user, err
}

func (a *Auth) useAccount(tx *engine.Tx, doc *engine.Doc[account], c Completion) error {
	over := doc.Value.SignUp != nil && !tx.Now().Before(doc.Value.SignUp.Expires)
	if c.Secret == "" && !over {
		return nil
	}
	return a.c.accounts.Patch(tx, doc.ID, func(v *account) error {
		if c.Secret != "" {
			v.Secret = c.Secret
		}
		if over {
			v.SignUp = nil
		}
		return nil
	})
}
