package authmod

import (
	"errors"

	"github.com/mimosadb/mimosa/engine"
)

// What modules may do with accounts outside of Attempt.Complete.

// BeforeAccount has fn look at each account of the module before it is stored, whoever stores it: the module itself, an import,
// the application. fn brings it into the form that the module looks for, or refuses it with an error of code invalid and
// issues, whose paths are members of Account. It is for Attach.
func (h *Host) BeforeAccount(fn func(a *Account) error) {
	h.auth.schema.OnWrite(&accountForm{h.auth.c.accounts.Name(), h.provider, fn})
}

// accountForm is the hook behind BeforeAccount.
type accountForm struct {
	collection, provider string
	fn                   func(*Account) error
}

func (f *accountForm) Before(_ *engine.ReadTx, c *engine.Change) error {
	if c.Collection != f.collection || c.Op == engine.Delete {
		return nil
	}
	changed := func(path string) bool { return c.Op == engine.Create || c.Changed(path) }
	if !changed("provider") && !changed("providerAccountId") && !changed("secret") && !changed("verifiedEmail") {
		return nil
	}
	d, err := engine.DecodeAfter[Account](c)
	if err != nil || d.Value.Provider != f.provider {
		return err
	}
	was := d.Value
	if err := f.fn(&d.Value); err != nil || d.Value == was {
		return err
	}
	return engine.SetAfter(c, &d.Value)
}

func (*accountForm) After(*engine.Tx, engine.Change) error { return nil }

// AccountByEmail is a BeforeAccount for modules whose accounts go by an e-mail address: the address is brought into its one
// form, and one that is none is refused.
func AccountByEmail(a *Account) error {
	a.ProviderAccountID, a.VerifiedEmail = NormalizeEmail(a.ProviderAccountID), NormalizeEmail(a.VerifiedEmail)
	if !ValidEmail(a.ProviderAccountID) {
		return engine.Errorf(engine.CodeInvalid, "an account by e-mail address").WithIssues(engine.Issue{
			Path: "providerAccountId", Rule: "format", Message: "is not an e-mail address",
		})
	}
	return nil
}

// Accounts is the collection authAccounts, for modules to put indexes on.
func (h *Host) Accounts() *engine.Collection[Account] { return h.auth.c.accounts }

// AccountsOf returns all accounts of a user, of whatever module.
func (h *Host) AccountsOf(r engine.Reader, user string) ([]*engine.Doc[Account], error) {
	return h.auth.c.accountsByUser.Eq(r, user).Collect()
}

// SignedIn says whether a session of the user's can go on: it has neither ended nor been revoked, and there is a refresh token
// of it that is still good.
func (h *Host) SignedIn(r engine.Reader, user string) (bool, error) {
	a, now := h.auth, r.Now()
	for s, err := range a.c.sessionsByUser.Eq(r, user).Gt(now).Docs() {
		if err != nil {
			return false, err
		}
		if on, err := a.goesOn(r, s); on || err != nil {
			return on, err
		}
	}
	return false, nil
}

// DeleteUser deletes a user's document, whereupon its triggers run, and all accounts and sessions with it. Where there is no
// such user it does nothing.
func (h *Host) DeleteUser(tx *engine.Tx, user string) error {
	err := h.auth.users.remove(tx, user)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	return err
}
