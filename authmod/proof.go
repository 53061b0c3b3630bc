package authmod

import (
	"errors"
	"slices"

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
// be none: the error is that of validation or of a trigger. One of code already_exists is left out if it is about the address,
// by an issue at the path email, or does not say what it is about, since it would tell of the user who is there. unproved is an
// account of that address, or nil, that would be discarded before: its user is not in the way.
func (h *Host) Rehearse(tx *engine.Tx, c Completion, flow string, unproved *engine.Doc[Account]) error {
	a := h.auth
	before := SignIn(tx)
	tx.SetLocal(infoKey{}, &SignInInfo{
		Provider: h.provider, Flow: flow, AccountID: c.AccountID, NewUser: true, params: c.Params, shapes: a.shapes,
	})
	defer tx.SetLocal(infoKey{}, before)
	err := tx.Nested(func(tx *engine.Tx) error {
		if unproved != nil {
			if err := h.Discard(tx, unproved); err != nil {
				return err
			}
		}
		if _, err := a.users.insert(tx, c.User.doc, ""); err != nil {
			return err
		}
		return errRehearsed
	})
	if errors.Is(err, errRehearsed) || ofAddress(err) {
		return nil
	}
	return err
}

// ofAddress says whether an error may be that the address is somebody's. That something else is, such as a nickname, says
// nothing about the address, and is said whosever the address is.
func ofAddress(err error) bool {
	var e *engine.Error
	if !errors.Is(err, engine.ErrAlreadyExists) || !errors.As(err, &e) {
		return false
	}
	return len(e.Issues) == 0 || slices.ContainsFunc(e.Issues, func(i engine.Issue) bool { return i.Path == "email" })
}

var errRehearsed = errors.New("authmod: rehearsed")
