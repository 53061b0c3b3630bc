package authmod

import (
	"errors"

	"github.com/mimosadb/mimosa/engine"
)

// person is somebody in the course of a sign-in's transaction.
type person struct {
	tx       *engine.Tx
	provider string
	caller   *engine.Identity // who called, before
	c        Completion
	info     *SignInInfo // what triggers see of it
}

// settle finds out whose the account is, and makes what is missing of account and user. doc is nil where there is no account.
//
// A new account goes to the user who has proved the same address before; else to the caller, if that is a temporary user; else
// to a new one. What nobody has proved decides nothing: whoever signs up with the address of somebody else gets nothing of
// theirs, and waits in vain for them to come into an account that was prepared for them.
func (a *Auth) settle(p *person, doc *engine.Doc[Account]) error {
	temporary, err := a.temporary(p.tx, p.caller)
	if err != nil {
		return err
	}
	if doc != nil {
		p.info.User = doc.Value.User
		p.notePrevious()
		if err := a.useAccount(p.tx, doc, p.c); err != nil {
			return err
		}
		return a.verified(p)
	}
	switch {
	case p.c.Mode == Link:
		p.info.User, p.info.Linked = p.caller.User, true
	case p.c.VerifiedEmail != "":
		if p.info.User, err = a.linkable(p.tx, p.c.VerifiedEmail); err != nil {
			return err
		}
		p.info.Linked = p.info.User != ""
	}
	switch {
	case temporary != nil && !p.c.Temporary && (p.info.User == "" || p.info.User == p.caller.User):
		err = a.upgrade(p, temporary)
	case p.info.User == "":
		err = a.create(p)
	default:
		p.notePrevious()
	}
	if err == nil {
		err = a.addAccount(p)
	}
	if err == nil {
		err = a.verified(p)
	}
	return err
}

// notePrevious tells who the caller was, if that is another user than the one who signs in.
func (p *person) notePrevious() {
	if p.caller != nil && p.caller.User != p.info.User {
		p.info.Previous = p.caller.User
	}
}

// create makes the user. That comes before the account: the user's triggers may refuse, and find neither account nor session
// yet.
func (a *Auth) create(p *person) (err error) {
	p.info.NewUser = true
	p.info.User, err = a.users.insert(p.tx, p.c.User.doc, p.c.VerifiedEmail)
	p.notePrevious()
	return err
}

// upgrade gives the new account to the temporary user who calls, and what the sign-up says about the person to the user's
// document. The temporary account goes.
func (a *Auth) upgrade(p *person, temporary *engine.Doc[Account]) error {
	p.info.User, p.info.Upgraded, p.info.Linked = p.caller.User, true, true
	if err := a.c.accounts.Delete(p.tx, temporary.ID); err != nil {
		return err
	}
	if p.c.User.doc == nil {
		if p.c.Mode == Link {
			return nil
		}
		return ErrNoUser
	}
	return a.users.merge(p.tx, p.info.User, p.c.User.doc, p.c.VerifiedEmail)
}

// temporary returns the caller's account, where that is their only one and temporary.
func (a *Auth) temporary(tx engine.Reader, caller *engine.Identity) (*engine.Doc[Account], error) {
	if caller == nil || caller.User == "" {
		return nil, nil
	}
	docs, err := a.c.accountsByUser.Eq(tx, caller.User).Limit(2).Collect()
	if err != nil || len(docs) != 1 || !docs[0].Value.Temporary {
		return nil, err
	}
	return docs[0], nil
}

func (a *Auth) addAccount(p *person) error {
	_, err := a.c.accounts.Insert(p.tx, Account{
		Provider: p.provider, ProviderAccountID: p.c.AccountID, User: p.info.User, Secret: p.c.Secret,
		VerifiedEmail: p.c.VerifiedEmail, Temporary: p.c.Temporary,
	})
	return err
}

// useAccount brings an account up to what the completion says of it.
func (a *Auth) useAccount(tx *engine.Tx, doc *engine.Doc[Account], c Completion) error {
	over := doc.Value.SignUp != nil && !tx.Now().Before(doc.Value.SignUp.Expires)
	return a.c.accounts.Patch(tx, doc.ID, func(v *Account) error { // writes nothing where nothing changes
		if c.Secret != "" {
			v.Secret = c.Secret
		}
		if c.VerifiedEmail != "" {
			v.VerifiedEmail = c.VerifiedEmail
		}
		if over {
			v.SignUp = nil
		}
		return nil
	})
}

// verified notes with the user that their address is verified, if it is that address.
func (a *Auth) verified(p *person) error {
	if p.c.VerifiedEmail == "" {
		return nil
	}
	return a.users.verify(p.tx, p.info.User, p.c.VerifiedEmail)
}

// linkable returns the user who has proved a verified address, "" where there is none. Where there are several, which happens
// when people link accounts themselves, no guess is made among them.
func (a *Auth) linkable(tx engine.Reader, email string) (user string, err error) {
	for d, err := range a.c.accountsByEmail.Eq(tx, email).Docs() {
		switch {
		case err != nil:
			return "", err
		case user != "" && d.Value.User != user:
			return "", nil
		}
		user = d.Value.User
	}
	return user, nil
}

// UserFields returns what modules know about a user; engine.ErrNotFound when there is none.
func (h *Host) UserFields(r engine.Reader, user string) (UserFields, error) {
	return h.auth.users.fields(r, user)
}

// accountOf returns an account of a user; engine.ErrNotFound where there is none of that id, or it is another's.
func (a *Auth) accountOf(r engine.Reader, user, id string) (*engine.Doc[Account], error) {
	key, err := a.c.accounts.ParseID(id)
	if err != nil {
		return nil, err
	}
	d, err := a.c.accounts.Get(r, key)
	if err != nil {
		return nil, err
	}
	if d.Value.User != user {
		return nil, engine.Errorf(engine.CodeNotFound, "there is no such account")
	}
	return d, nil
}

// Unlink takes a way to sign in from a user; sessions go on. The last one cannot be taken, since nobody could come back: the
// error is of code forbidden. engine.ErrNotFound where the user has no such account. One whose people sign in elsewhere (External) stays
// away, until Readmit: their browser still presents its token, which would make them a second user a moment later, or link the
// same account again.
func (a *Auth) Unlink(tx *engine.Tx, user, account string) error {
	d, err := a.accountOf(tx, user, account)
	if err != nil {
		return err
	}
	docs, err := a.c.accountsByUser.Eq(tx, user).Limit(2).Collect()
	if err != nil {
		return err
	}
	if len(docs) < 2 {
		return engine.Errorf(engine.CodeForbidden, "the last way to sign in cannot be taken away")
	}
	err = a.c.accounts.Delete(tx, d.ID)
	if err != nil && !errors.Is(err, engine.ErrNotFound) { // not found: a trigger was quicker
		return err
	}
	return a.external.bury(tx, d.Value)
}
