package authmod

import (
	"errors"

	"github.com/mimosadb/mimosa/engine"
)

// What modules do in Join where somebody has proved an address, or has yet to.

// Account returns the module's account of an id, in a transaction; ErrNoAccount where there is none.
func (h *Host) Account(r engine.Reader, id string) (*engine.Doc[Account], error) {
	d, err := h.auth.c.accountsByID.One(r, h.provider, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, ErrNoAccount
	}
	return d, err
}

// Proved returns the user who has proved an address by whatever account, as Completion.VerifiedEmail links to; "" where there
// is none, or more than one.
func (h *Host) Proved(r engine.Reader, email string) (user string, err error) {
	return h.auth.linkable(r, email)
}

// TemporaryCaller says whether whoever calls is a temporary user, who keeps their id when they get an account.
func (h *Host) TemporaryCaller(r engine.Reader) (bool, error) {
	caller, err := r.Identity()
	if err != nil {
		return false, err
	}
	d, err := h.auth.temporary(r, caller)
	return d != nil, err
}

// Discard removes an account that nobody has proved to be theirs, so that it does not stand in the way of who does. Its user
// goes with it, by DeleteUser, if there is no other account and no session of theirs.
func (h *Host) Discard(tx *engine.Tx, account *engine.Doc[Account]) error {
	user := account.Value.User
	if err := h.auth.c.accounts.Delete(tx, account.ID); err != nil {
		return err
	}
	others, err := h.AccountsOf(tx, user)
	if err != nil || len(others) > 0 {
		return err
	}
	if in, err := h.SignedIn(tx, user); err != nil || in {
		return err
	}
	return h.DeleteUser(tx, user)
}

// TakeOver leaves an account's user to the person who has just proved its address for the first time: whoever prepared it
// before loses all sessions, and all other accounts but those that prove the same address. Live queries of these sessions run
// again as nobody.
func (h *Host) TakeOver(tx *engine.Tx, account *engine.Doc[Account], email string) error {
	user := account.Value.User
	docs, err := h.AccountsOf(tx, user)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if d.ID == account.ID || d.Value.VerifiedEmail == email {
			continue
		}
		if err := h.auth.c.accounts.Delete(tx, d.ID); err != nil {
			return err
		}
	}
	return h.RevokeSessions(tx, user)
}

// RevokeSessions ends every session of a user.
func (h *Host) RevokeSessions(tx *engine.Tx, user string) error {
	return h.auth.RevokeSessions(tx, user, "")
}

// Rehearse runs the creation of a user, its triggers included, and undoes it, to answer as the creation would where there is to
// be none: the error is that of validation or of a trigger. One of code already_exists is left out, since it would tell of the
// user who is there.
func (h *Host) Rehearse(tx *engine.Tx, c Completion, flow string) error {
	a := h.auth
	before := SignIn(tx)
	tx.SetLocal(infoKey{}, &SignInInfo{
		Provider: h.provider, Flow: flow, AccountID: c.AccountID, NewUser: true, params: c.Params, shapes: a.shapes,
	})
	defer tx.SetLocal(infoKey{}, before)
	err := tx.Nested(func(tx *engine.Tx) error {
		if _, err := a.users.insert(tx, c.User.doc, ""); err != nil {
			return err
		}
		return errRehearsed
	})
	if errors.Is(err, errRehearsed) || errors.Is(err, engine.ErrAlreadyExists) {
		return nil
	}
	return err
}

var errRehearsed = errors.New("authmod: rehearsed")
