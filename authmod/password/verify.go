package password

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// Signing up where the address has to be proved.
//
// Anybody can sign up with the address of anybody, before its owner or right after. So nothing of a sign-up counts until a code
// that was sent to the address comes back: each sign-up's password and form wait in the document of its own code, and the code
// that comes back decides which of them hold. The first sign-up also makes the user, so that OnCreate runs then; when the
// code of another one comes back, that user goes, and one of the other form takes its place.
//
// What is left is that the owner types in the code of somebody else's sign-up, since the mails look alike. Where sign-ups with
// different passwords have been made within a day, the code therefore proves the address, and no password: none is left,
// unless whoever brings the code brings the password of its sign-up too. The owner is signed in, and sets one by reset.

// keepSignUps is for how long a sign-up counts as another one when its code has expired: for as long as its author may still be
// looking for the mail.
const keepSignUps = 24 * time.Hour

// waiting is the State of a code that proves an address.
type waiting struct {
	// Hash is of the sign-up's password.
	Hash string `json:"hash"`
	// SignUp is which one it is: that of the account whose user it has made, or one of its own.
	SignUp string `json:"signUp"`
	// Contested says that there was another sign-up, with another password.
	Contested bool `json:"contested"`
}

// step is the State of a Completion: what Join has to do.
type step struct {
	Do action `json:"do"`
	// Code is the document of the code that was checked.
	Code engine.ID[authmod.CodeDoc] `json:"code,omitempty"`
	// Hash and SignUp are the sign-up's, Key its idempotency key.
	Hash   string `json:"hash,omitempty"`
	SignUp string `json:"signUp,omitempty"`
	Key    string `json:"key,omitempty"`
	// Brought says what became of a password that came with the code.
	Brought brought `json:"brought,omitempty"`
}

type action string

const (
	doSignUp action = "signUp" // the first step of each flow
	doResend action = "resend"
	doAgain  action = "again"
	doReset  action = "reset"
	doProve  action = "prove" // the second
	doSet    action = "set"
)

type brought string

const (
	broughtRight brought = "right"
	broughtWrong brought = "wrong"
)

func (s step) encode() json.RawMessage {
	out, err := json.Marshal(s)
	if err != nil { // strings
		return nil
	}
	return out
}

// Join implements authmod.Joiner.
func (m *module) Join(tx *engine.Tx, c *authmod.Completion) error {
	if c.State == nil {
		return nil
	}
	var s step
	if err := json.Unmarshal(c.State, &s); err != nil {
		return err
	}
	switch s.Do {
	case doSignUp:
		return m.joinSignUp(tx, c, s)
	case doResend:
		return m.joinResend(tx, c, s)
	case doAgain:
		return m.joinAgain(tx, c, s)
	case doReset:
		return m.joinReset(tx, c, s)
	case doProve:
		return m.joinProve(tx, c, s)
	case doSet:
		return m.joinSet(tx, c, s)
	}
	return errors.New("authmod/password: unknown step")
}

// signUpToVerify answers the same whatever there is of that address, after the same work: one hash and one verification, one
// transaction and one message.
func (m *module) signUpToVerify(a *authmod.Attempt, user authmod.NewUser, password string) (authmod.Answer, error) {
	if err := a.AllowFrom(m.made); err != nil {
		return authmod.Answer{}, err
	}
	if err := a.AllowSend(user.Email); err != nil {
		return authmod.Answer{}, err
	}
	earlier, err := m.earlier(a, user.Email)
	if err != nil {
		return authmod.Answer{}, err
	}
	var hash string
	err = m.hashes.run(a.Context(), func() (err error) {
		if hash, err = m.options.Crypto.Hash(password); err != nil {
			return err
		}
		same, err := m.verifies(earlier, password)
		if same {
			hash = earlier // equal passwords are known by equal hashes
		}
		return err
	})
	if err != nil {
		return authmod.Answer{}, err
	}
	s := step{Do: doSignUp, Hash: hash, SignUp: rand.Text(), Key: a.Key()}
	return a.Complete(authmod.Completion{
		Mode: authmod.SignUp, NoSession: true, AccountID: user.Email, User: user, Params: a.Params(), State: s.encode(),
	})
}

// earlier is the hash of the newest sign-up with an address that nobody has proved, "" where there is none.
func (m *module) earlier(a *authmod.Attempt, email string) (hash string, err error) {
	err = a.DB().View(a.Context(), func(tx *engine.ReadTx) error {
		docs, err := m.codes.List(tx, authmod.PurposeVerify, email)
		if err != nil {
			return err
		}
		if len(docs) > 0 {
			w, err := waitingFor(docs[0])
			hash = w.Hash
			return err
		}
		account, err := m.host.Account(tx, email)
		if err == nil {
			if s := parseSecret(account.Value.Secret); s.unproved() {
				hash = s.hash
			}
		}
		return err
	})
	if errors.Is(err, authmod.ErrNoAccount) {
		err = nil
	}
	return hash, err
}

// verifies says whether a hash, which may be none, is that of a password, after as much work if it is none.
func (m *module) verifies(hash, password string) (bool, error) {
	crypto := m.options.Crypto
	decoy, err := m.decoy.hash(crypto)
	if err != nil {
		return false, err
	}
	if hash == "" {
		_, err := crypto.Verify(decoy, password)
		return false, err
	}
	right, err := crypto.Verify(hash, password)
	if err != nil { // of a Crypto that the program had before
		_, err := crypto.Verify(decoy, password)
		return false, err
	}
	return right, nil
}

func waitingFor(d *engine.Doc[authmod.CodeDoc]) (w waiting, err error) {
	if d.Value.State == nil {
		return w, nil
	}
	err = json.Unmarshal(d.Value.State, &w)
	return w, err
}

// joinSignUp makes account and user where the address is free, and issues what goes out to it.
func (m *module) joinSignUp(tx *engine.Tx, c *authmod.Completion, s step) error {
	account, err := m.host.Account(tx, c.AccountID)
	if err != nil && !errors.Is(err, authmod.ErrNoAccount) {
		return err
	}
	free := err != nil
	proved, err := m.host.Proved(tx, c.AccountID)
	if err != nil {
		return err
	}
	temporary, err := m.host.TemporaryCaller(tx)
	if err != nil {
		return err
	}
	request := authmod.CodeRequest{
		Purpose: authmod.PurposeVerify, To: c.AccountID, Deliver: true, NewUser: c.User, Params: c.Params, Key: s.Key,
		Keep: keepSignUps,
	}
	if free && proved == "" && !temporary {
		signUp, err := m.issue(tx, request, waiting{Hash: s.Hash, SignUp: s.SignUp})
		c.Secret = secret{signUp, s.Hash}.String()
		return err
	}
	// There is somebody already, or is going to be: a temporary user becomes who has proved the address, not before.
	var unproved *engine.Doc[authmod.Account]
	if !free && parseSecret(account.Value.Secret).unproved() {
		unproved = account
	}
	if err := m.host.Rehearse(tx, *c, "signUp", unproved); err != nil {
		return err
	}
	c.Mode = authmod.Wait
	if !free && unproved == nil {
		state, err := json.Marshal(waiting{Hash: s.Hash})
		if err != nil {
			return err
		}
		return m.codes.Issue(tx, authmod.CodeRequest{
			Purpose: authmod.PurposeExists, To: c.AccountID, Deliver: true, Notice: true, InPlaceOf: authmod.PurposeVerify,
			Params: c.Params, State: state, Key: s.Key, Keep: keepSignUps,
		})
	}
	_, err = m.issue(tx, request, waiting{Hash: s.Hash, SignUp: s.SignUp})
	return err
}

// issue issues the code of a sign-up, and returns which one it is: one that is made again, with the same password and form, is
// the one that it was.
func (m *module) issue(tx *engine.Tx, r authmod.CodeRequest, w waiting) (signUp string, err error) {
	docs, err := m.codes.List(tx, r.Purpose, r.To)
	if err != nil {
		return "", err
	}
	form := r.NewUser.Document()
	for _, d := range docs {
		other, err := waitingFor(d)
		if err != nil {
			return "", err
		}
		if other.Hash != w.Hash || other.Contested {
			w.Contested = true
		}
		if form != nil && other.Hash == w.Hash && bytes.Equal(d.Value.NewUser, form) && bytes.Equal(d.Value.Params, r.Params) {
			w.SignUp = other.SignUp
		}
	}
	if r.State, err = json.Marshal(w); err != nil {
		return "", err
	}
	return w.SignUp, m.codes.Issue(tx, r)
}

// verifyEmail is the flow email-verification.
func (m *module) verifyEmail(a *authmod.Attempt) (authmod.Answer, error) {
	email, code, issues := emailAndCode(a)
	password, issue := givenPassword(a, "password")
	if issue != nil && issue.Rule != "required" {
		issues = append(issues, *issue)
	}
	if len(issues) > 0 {
		return authmod.Answer{}, authmod.Invalid(tidy(issues)...)
	}
	found, err := m.codes.Check(a, authmod.PurposeVerify, email, code)
	if err != nil {
		return authmod.Answer{}, err
	}
	s := step{Do: doProve, Code: found.ID}
	if password != "" {
		w, err := waitingFor(found)
		if err != nil {
			return authmod.Answer{}, err
		}
		s.Brought = broughtWrong
		err = m.hashes.run(a.Context(), func() error {
			right, err := m.verifies(w.Hash, password)
			if right {
				s.Brought = broughtRight
			}
			return err
		})
		if err != nil {
			return authmod.Answer{}, err
		}
	}
	return m.redeem(a, authmod.Completion{
		Mode: authmod.Either, AccountID: email, VerifiedEmail: email, User: authmod.NewUserOf(found.Value.NewUser),
		Params: found.Value.Params, State: s.encode(),
	})
}

// joinProve uses the code up, and lets its sign-up hold.
func (m *module) joinProve(tx *engine.Tx, c *authmod.Completion, s step) error {
	others, err := m.codes.List(tx, authmod.PurposeVerify, c.AccountID)
	if err != nil {
		return err
	}
	code, err := m.codes.Redeem(tx, s.Code)
	if err != nil {
		return err
	}
	w, err := waitingFor(code)
	if err != nil {
		return err
	}
	for _, d := range others {
		other, err := waitingFor(d)
		if err != nil {
			return err
		}
		w.Contested = w.Contested || other.Hash != w.Hash
	}
	c.Secret = secret{hash: w.Hash}.String()
	if s.Brought == broughtWrong || s.Brought != broughtRight && w.Contested {
		c.Secret = noPassword
	}
	account, err := m.own(tx, c)
	if err != nil {
		return err
	}
	switch {
	case account == nil:
	case !parseSecret(account.Value.Secret).unproved():
		if w.SignUp != "" || account.Value.VerifiedEmail != "" {
			return errCode
		}
		// Signed up before verification was asked for, and by somebody else, where the owner has another password in mind.
		if s.Brought == broughtWrong {
			return m.host.TakeOver(tx, account, c.AccountID)
		}
		c.Secret = ""
		return nil
	case parseSecret(account.Value.Secret).signUp == w.SignUp:
		return m.host.TakeOver(tx, account, c.AccountID)
	default:
		if err := m.host.Discard(tx, account); err != nil {
			return err
		}
	}
	// The sign-up's own user, or that of whoever has proved the address by another account.
	if code.Value.NewUser != nil {
		return nil
	}
	_, err = m.prover(tx, c)
	return err
}

// prover returns the user who has proved the address of a completion by another account.
func (m *module) prover(tx *engine.Tx, c *authmod.Completion) (string, error) {
	user, err := m.host.Proved(tx, c.AccountID)
	if err == nil && user == "" {
		err = errCode
	}
	return user, err
}

// own returns the account of a completion, nil where there is none. One that nobody has proved, of an address that a user has
// proved by another account, is removed: that user gets it.
func (m *module) own(tx *engine.Tx, c *authmod.Completion) (*engine.Doc[authmod.Account], error) {
	account, err := m.host.Account(tx, c.AccountID)
	if errors.Is(err, authmod.ErrNoAccount) {
		return nil, nil
	}
	if err != nil || !parseSecret(account.Value.Secret).unproved() {
		return account, err
	}
	user, err := m.host.Proved(tx, c.AccountID)
	if err != nil || user == "" || user == account.Value.User {
		return account, err
	}
	return nil, m.host.Discard(tx, account)
}

// redeem completes by a code. An account that has gone since the code was sent is no other answer than a wrong code.
func (m *module) redeem(a *authmod.Attempt, c authmod.Completion) (authmod.Answer, error) {
	out, err := a.Complete(c)
	if errors.Is(err, authmod.ErrNoAccount) {
		err = errCode
	}
	return out, err
}
