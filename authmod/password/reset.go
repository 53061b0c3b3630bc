package password

import (
	"errors"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// errCode is what authmod.Codes answers to a code that is not good.
var errCode = authmod.Invalid(engine.Issue{Path: "code", Rule: "code", Message: "is not valid, or not any more"})

// reset is the flow of that name: it sends a code, if there is an account. That there is none shows in the mailbox alone.
func (m *module) reset(a *authmod.Attempt) (authmod.Answer, error) {
	email, issue := normalize(a)
	if issue != nil {
		return authmod.Answer{}, authmod.Invalid(*issue)
	}
	if err := a.AllowSend(email); err != nil {
		return authmod.Answer{}, err
	}
	return a.Complete(authmod.Completion{
		Mode: authmod.Wait, AccountID: email, Params: a.Params(), State: step{Do: doReset, Key: a.Key()}.encode(),
	})
}

func (m *module) joinReset(tx *engine.Tx, c *authmod.Completion, s step) error {
	account, err := m.host.Account(tx, c.AccountID)
	if err != nil && !errors.Is(err, authmod.ErrNoAccount) {
		return err
	}
	r := authmod.CodeRequest{Purpose: authmod.PurposeReset, To: c.AccountID, Params: c.Params, Key: s.Key}
	if account != nil {
		r.Deliver = true
	}
	return m.codes.Issue(tx, r)
}

// setPassword is the flow reset-verification. All that can be said against the new password is said before the code is looked
// at, which is used up in the transaction that stores the password.
func (m *module) setPassword(a *authmod.Attempt) (authmod.Answer, error) {
	email, code, issues := emailAndCode(a)
	password, wrong := m.newPassword(a, "newPassword", email)
	if issues = append(issues, wrong...); len(issues) > 0 {
		return authmod.Answer{}, authmod.Invalid(tidy(issues)...)
	}
	found, err := m.codes.Check(a, authmod.PurposeReset, email, code)
	if err != nil {
		return authmod.Answer{}, err
	}
	var hash string
	err = m.hashes.run(a.Context(), func() (err error) {
		hash, err = m.options.Crypto.Hash(password)
		return err
	})
	if err != nil {
		return authmod.Answer{}, err
	}
	return m.redeem(a, authmod.Completion{
		Mode: authmod.LogIn, AccountID: email, VerifiedEmail: email, Secret: hash, Params: a.Params(),
		State: step{Do: doSet, Code: found.ID}.encode(),
	})
}

// joinSet uses the code up. Whoever is signed in, and what waits for a code, belongs to the password that was.
func (m *module) joinSet(tx *engine.Tx, c *authmod.Completion, s step) error {
	if _, err := m.codes.Redeem(tx, s.Code); err != nil {
		return err
	}
	account, err := m.own(tx, c)
	if err != nil {
		return err
	}
	if err := m.codes.Void(tx, c.AccountID); err != nil {
		return err
	}
	switch {
	case account == nil: // it goes to whoever has proved the address by another one, if anybody
		c.Mode = authmod.Either
		user, err := m.prover(tx, c)
		if err != nil {
			return err
		}
		return m.host.RevokeSessions(tx, user)
	case account.Value.VerifiedEmail == "":
		return m.host.TakeOver(tx, account, c.AccountID)
	}
	return m.host.RevokeSessions(tx, account.Value.User)
}

// emailAndCode reads the parameters of a flow's second step.
func emailAndCode(a *authmod.Attempt) (email, code string, issues []engine.Issue) {
	email, issue := normalize(a)
	if issue != nil {
		issues = append(issues, *issue)
	}
	if code, issue = a.Reserved("code"); issue == nil && code == "" {
		issue = &engine.Issue{Path: "code", Rule: "required", Message: "is missing"}
	}
	if issue != nil {
		issues = append(issues, *issue)
	}
	return email, code, issues
}
