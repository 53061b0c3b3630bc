package authmod

import (
	"encoding/json"
	"errors"
	"fmt"

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
	// Link gives the account to whoever calls: a signed-in person adds a way to sign in. Their session goes on as it is, and
	// the answer is Linked's. To link an account that is theirs already does nothing; ErrAccountExists when it is another
	// user's, code unauthenticated when nobody is signed in.
	Link Mode = "link"
	// Wait touches neither account nor user, whether there are any or not: what there is to do, such as issuing a code, the
	// module's Join does. The answer is Started's. A Join may go over to it.
	Wait Mode = "wait"
)

// Completion is a sign-in that the module has satisfied itself of.
type Completion struct {
	Mode Mode
	// AccountID is who it is, in the words of the module's provider: an e-mail address, a subject.
	AccountID string
	// User is the document of a new user. Unused when the account exists: a sign-in changes nothing about a user. Where it is
	// empty and a user has to be made, the error is ErrNoUser.
	User NewUser
	// VerifiedEmail is an address that the person has proved to be theirs in the course of this sign-in: by a code that was
	// sent there, or by the word of a provider that verifies addresses. It marks account and user as verified, and links: a
	// new account whose verified address is that of one user's other account becomes that user's, in modes SignUp and Either.
	// An address that is not verified never links.
	VerifiedEmail string
	// Temporary makes an account that nobody can come back to. When its user signs up for another one, that becomes theirs:
	// they keep their id, and all that they have.
	Temporary bool
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
	ErrNoUser        = errors.New("authmod: a user has to be made, and Completion.User is empty")
)

// Account looks an account of the attempt's provider up, in the newest committed state; ErrNoAccount when there is none. What
// it found may have changed by the time of Complete: see Completion.Expect.
func (a *Attempt) Account(id string) (*engine.Doc[Account], error) {
	var found *engine.Doc[Account]
	err := a.DB().View(a.Context(), func(tx *engine.ReadTx) (err error) {
		found, err = a.host.auth.c.accountsByID.One(tx, a.host.provider, id)
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
// Errors: ErrAccountExists, ErrNoAccount, ErrSecretChanged, ErrNoUser, and those of triggers, hooks and the database, which a module
// returns as they are.
func (a *Attempt) Complete(c Completion) (Answer, error) {
	switch c.Mode {
	case SignUp, LogIn, Either, Resume, Link, Wait:
	default:
		return Answer{}, fmt.Errorf("authmod: completion mode %q", c.Mode)
	}
	in := completeArgs{
		Provider: a.host.provider, Flow: a.flow, Mode: c.Mode, AccountID: c.AccountID, Secret: c.Secret, Expect: c.Expect,
		Params: c.Params, State: c.State, User: c.User.doc, Key: a.key,
		VerifiedEmail: NormalizeEmail(c.VerifiedEmail), Temporary: c.Temporary,
	}
	var ticket ticket
	if !c.NoSession && c.Mode != Link && c.Mode != Wait {
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
	switch {
	case c.Mode == Link:
		return Linked(), nil
	case c.NoSession || c.Mode == Wait:
		return Started(), nil
	}
	token, p, err := a.host.auth.mint(a.DB(), out.granted)
	if err != nil {
		return Answer{}, err
	}
	a.SetPrincipal(p)
	return answer(tokensAnswer{&tokens{token, ticket.secret}}), nil
}
