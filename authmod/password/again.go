package password

import (
	"errors"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// A sign-in with the password of a sign-up that waits for its code goes on by another code. Were it refused where the address
// has an account, whoever signs up with an address of somebody else, and signs in, would learn of it. So each address, whatever
// there is of it, has one such password: that of the newest sign-up, for as long as keepSignUps says.

// waits is the hash of that password, "" where there is none.
func (m *module) waits(a *authmod.Attempt, email string) (hash string, err error) {
	if !m.options.Verify {
		return "", nil
	}
	err = a.DB().View(a.Context(), func(tx *engine.ReadTx) error {
		_, w, err := m.newest(tx, email, a.DB().Now())
		hash = w.Hash
		return err
	})
	return hash, err
}

// newest returns the message of the newest sign-up with an address: a code, or a notice where there is an account; nil where
// there is none.
func (m *module) newest(r engine.Reader, email string, now time.Time) (d *engine.Doc[authmod.CodeDoc], w waiting, err error) {
	for _, purpose := range []string{authmod.PurposeVerify, authmod.PurposeExists} {
		docs, err := m.codes.List(r, purpose, email)
		if err != nil {
			return nil, w, err
		}
		if len(docs) > 0 && now.Before(docs[0].Value.Expires.Add(keepSignUps)) && (d == nil || docs[0].Created.After(d.Created)) {
			d = docs[0]
		}
	}
	if d != nil {
		w, err = waitingFor(d)
	}
	return d, w, err
}

// again has a sign-in go on by a message.
func (m *module) again(c *authmod.Completion, s step) {
	c.Mode, c.NoSession, c.State = authmod.Wait, true, s.encode()
}

// joinAgain sends the message of the newest sign-up again, with another code. Hash is that which the password was verified
// against.
func (m *module) joinAgain(tx *engine.Tx, c *authmod.Completion, s step) error {
	d, w, err := m.newest(tx, c.AccountID, tx.Now())
	if err != nil {
		return err
	}
	if d == nil || w.Hash != s.Hash {
		return errWrong // there was another sign-up, the address has been proved, or the user deleted meanwhile
	}
	r := authmod.CodeRequest{
		Purpose: d.Value.Purpose, To: c.AccountID, Deliver: true, Notice: d.Value.Notice, InPlaceOf: d.Value.InPlaceOf,
		NewUser: authmod.NewUserOf(d.Value.NewUser), Params: d.Value.Params, State: d.Value.State, Keep: keepSignUps,
	}
	if r.Notice {
		return m.codes.Issue(tx, r)
	}
	_, err = m.issue(tx, r, waiting{Hash: w.Hash, SignUp: w.SignUp})
	return err
}

// joinResend issues a code for an account from before verification was asked for. Hash is the Secret that the password was
// verified against.
func (m *module) joinResend(tx *engine.Tx, c *authmod.Completion, s step) error {
	account, err := m.host.Account(tx, c.AccountID)
	if err == nil && account.Value.Secret != s.Hash {
		err = authmod.ErrNoAccount
	}
	if errors.Is(err, authmod.ErrNoAccount) {
		return errWrong // it has been proved, reset or deleted meanwhile
	}
	if err != nil {
		return err
	}
	_, err = m.issue(tx, authmod.CodeRequest{
		Purpose: authmod.PurposeVerify, To: c.AccountID, Deliver: true, Params: c.Params, Keep: keepSignUps,
	}, waiting{Hash: parseSecret(s.Hash).hash})
	return err
}
