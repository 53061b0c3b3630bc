package password

import (
	"cmp"
	"errors"
	"slices"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

var (
	// errWrong is the one answer to a wrong password and to an address without an account.
	errWrong = engine.Errorf(engine.CodeUnauthenticated, "wrong e-mail address or password")
	errTaken = engine.Errorf(engine.CodeAlreadyExists, "there is an account with this e-mail address already").
			WithIssues(engine.Issue{Path: "email", Rule: "unique", Message: "is taken already"})
)

// normalize brings the parameter email into its one form, so that profile, document, account and triggers see the same. It
// returns that form, or what is wrong with it.
func normalize(a *authmod.Attempt) (string, *engine.Issue) {
	given, issue := a.Param("email")
	if issue != nil {
		return "", issue
	}
	email := authmod.NormalizeEmail(given)
	a.SetParam("email", email)
	return email, emailIssue(email)
}

func emailIssue(email string) *engine.Issue {
	switch {
	case email == "":
		return &engine.Issue{Path: "email", Rule: "required", Message: "is missing"}
	case !authmod.ValidEmail(email):
		return &engine.Issue{Path: "email", Rule: "format", Message: "is not an e-mail address"}
	}
	return nil
}

func (m *module) signUp(a *authmod.Attempt) (authmod.Answer, error) {
	email, emailWrong := normalize(a)
	user, issues, err := m.sheet.Check(a)
	if err != nil {
		return authmod.Answer{}, err
	}
	if len(issues) == 0 {
		// The account's id is the address of what the profile made, which need not come from a parameter of that name.
		emailWrong = emailIssue(user.Email)
	}
	// The profile's own rules may have found it already, in other words.
	if emailWrong != nil && !slices.ContainsFunc(issues, func(i engine.Issue) bool { return i.Path == "email" }) {
		issues = append(issues, *emailWrong)
	}
	password, passwordIssues := m.newPassword(a, "password", cmp.Or(user.Email, email))
	if issues = append(issues, passwordIssues...); len(issues) > 0 {
		return authmod.Answer{}, authmod.Invalid(tidy(issues)...)
	}
	if m.options.Verify {
		return m.signUpToVerify(a, user, password)
	}
	guard, err := a.Guard(m.taken, user.Email)
	if err != nil {
		return authmod.Answer{}, err
	}
	defer guard.End()
	out, err := m.create(a, user, password)
	if errors.Is(err, authmod.ErrAccountExists) {
		out, err = m.resume(a, user.Email, password)
	}
	switch {
	case errors.Is(err, authmod.ErrAccountExists):
		guard.Fail()
		return authmod.Answer{}, errTaken
	case err == nil:
		guard.Succeed()
	}
	return out, err
}

// create hashes the password and makes account and user; authmod.ErrAccountExists where the address is taken.
func (m *module) create(a *authmod.Attempt, user authmod.NewUser, password string) (authmod.Answer, error) {
	// The transaction decides; this only spares the hashing. It is asked before the wait for a turn and after it.
	free := func() error {
		_, err := a.Account(user.Email)
		switch {
		case err == nil:
			return authmod.ErrAccountExists
		case errors.Is(err, authmod.ErrNoAccount):
			return nil
		}
		return err
	}
	if err := free(); err != nil {
		return authmod.Answer{}, err
	}
	if err := a.AllowFrom(m.made); err != nil {
		return authmod.Answer{}, err
	}
	var hash string
	err := m.hashes.run(a.Context(), func() (err error) {
		if err = free(); err == nil {
			hash, err = m.options.Crypto.Hash(password)
		}
		return err
	})
	if err != nil {
		return authmod.Answer{}, err
	}
	return a.Complete(authmod.Completion{
		Mode: authmod.SignUp, AccountID: user.Email, User: user, Secret: hash, Params: a.Params(),
	})
}

// resume answers a sign-up whose address is taken by itself: it was sent before, and its answer was lost. The person proves
// who they are as at a sign-in, limits included; authmod.ErrAccountExists where they do not, or where the sign-up is another.
func (m *module) resume(a *authmod.Attempt, email, password string) (authmod.Answer, error) {
	account, err := a.Account(email)
	if err != nil && !errors.Is(err, authmod.ErrNoAccount) {
		return authmod.Answer{}, err
	}
	if !a.Resent(account) {
		return authmod.Answer{}, authmod.ErrAccountExists
	}
	out, err := m.prove(a, email, password, authmod.Resume)
	if errors.Is(err, errUnproved) {
		return authmod.Answer{}, authmod.ErrAccountExists
	}
	return out, err
}

func (m *module) logIn(a *authmod.Attempt) (authmod.Answer, error) {
	var issues []engine.Issue
	email, issue := normalize(a)
	if issue != nil {
		issues = append(issues, *issue)
	}
	password, issue := givenPassword(a, "password")
	if issue != nil {
		issues = append(issues, *issue)
	}
	if len(issues) > 0 {
		return authmod.Answer{}, authmod.Invalid(tidy(issues)...)
	}
	out, err := m.prove(a, email, password, authmod.LogIn)
	if errors.Is(err, errUnproved) {
		return authmod.Answer{}, errWrong
	}
	return out, err
}

// errUnproved is a wrong password, an address without an account, and whatever else comes down to that.
var errUnproved = errors.New("authmod/password: not proved")

// prove signs in whoever knows the password of an account: by LogIn, or by Resume.
func (m *module) prove(a *authmod.Attempt, email, password string, mode authmod.Mode) (authmod.Answer, error) {
	guard, err := a.Guard(m.failures, email)
	if err != nil {
		return authmod.Answer{}, err
	}
	defer guard.End()
	for n := 1; ; n++ {
		out, err := m.check(a, email, password, mode, guard)
		switch {
		case errors.Is(err, authmod.ErrSecretChanged) && n < maxTries:
			continue // verified against a hash that has been replaced since
		case errors.Is(err, authmod.ErrNoAccount), errors.Is(err, authmod.ErrSecretChanged):
			guard.Fail()
			return authmod.Answer{}, errUnproved
		case err == nil:
			guard.Succeed()
		}
		return out, err
	}
}

// maxTries bounds how often a password is verified again because its account has changed in between, by another device's
// sign-in that renewed the hash for instance.
const maxTries = 3

// check verifies a password and, if it is right, completes. It counts a wrong one.
func (m *module) check(
	a *authmod.Attempt, email, password string, mode authmod.Mode, guard *authmod.Guard,
) (authmod.Answer, error) {
	account, err := a.Account(email)
	if err != nil && !errors.Is(err, authmod.ErrNoAccount) {
		return authmod.Answer{}, err
	}
	waits, err := m.waits(a, email)
	if err != nil {
		return authmod.Answer{}, err
	}
	c := authmod.Completion{Mode: mode, AccountID: email, Params: a.Params()}
	var right bool
	err = m.hashes.run(a.Context(), func() (err error) {
		// While this one waited others may have failed.
		if err := guard.Again(); err != nil {
			return err
		}
		if right, err = m.verify(a, account, waits, password, &c); err == nil && !right {
			guard.Fail() // before the next one's turn
		}
		return err
	})
	if err != nil {
		return authmod.Answer{}, err
	}
	if !right {
		return authmod.Answer{}, errUnproved
	}
	if c.Mode == authmod.Wait {
		guard.End() // anybody can sign up with any address: that they know their own password clears nothing
		if err := a.AllowSend(email); err != nil {
			return authmod.Answer{}, err
		}
	}
	return a.Complete(c)
}

// verify checks a password, with as much work where there is no account as where there is one. It fills in what the
// transaction has to expect, and a new hash where the stored one is weaker than those made today. Where addresses have to be
// proved the password may also be that of a sign-up that waits for its code; waits is its hash, if there is one.
func (m *module) verify(
	a *authmod.Attempt, account *engine.Doc[authmod.Account], waits, password string, c *authmod.Completion,
) (bool, error) {
	var stored secret
	if account != nil {
		stored = parseSecret(account.Value.Secret)
	}
	if m.options.Verify && stored.unproved() {
		stored = secret{} // the account opens by a code alone, like that of a sign-up without one
	}
	right, err := m.opens(a, account, stored.hash, password)
	if err != nil {
		return false, err
	}
	if !right && m.options.Verify {
		right, err = m.verifies(waits, password)
		if right {
			m.again(c, step{Do: doAgain, Hash: waits})
		}
		return right, err
	}
	if !right {
		return false, nil
	}
	c.Expect = account.Value.Secret
	if m.options.Verify && account.Value.VerifiedEmail == "" { // signed up before verification was asked for
		m.again(c, step{Do: doResend, Hash: c.Expect})
		return true, nil
	}
	if stored.unproved() { // verification was asked for when they signed up, and is not any more
		c.Secret = stored.hash
	}
	crypto := m.options.Crypto
	if r, ok := crypto.(Rehasher); ok && r.Outdated(stored.hash) {
		if c.Secret, err = crypto.Hash(password); err != nil {
			return false, err
		}
	}
	return true, nil
}

// opens says whether a hash, which may be none, is that of a password, after as much work if it is none.
func (m *module) opens(a *authmod.Attempt, account *engine.Doc[authmod.Account], hash, password string) (bool, error) {
	decoy, err := m.decoy.hash(m.options.Crypto)
	if err != nil {
		return false, err
	}
	if hash == "" {
		_, err := m.options.Crypto.Verify(decoy, password)
		return false, err
	}
	right, err := m.options.Crypto.Verify(hash, password)
	if err != nil {
		// That concerns the operator, and would tell anybody else that there is an account. Where nothing can be verified, nor can
		// the decoy.
		a.DB().Options().Logger.Error("authmod/password: the hash of an account cannot be verified", "account", account.ID)
		_, err := m.options.Crypto.Verify(decoy, password)
		return false, err
	}
	return right, err
}

// tidy sorts issues by path, and leaves out what two checks found.
func tidy(issues []engine.Issue) []engine.Issue {
	slices.SortStableFunc(issues, func(x, y engine.Issue) int {
		return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(x.Rule, y.Rule))
	})
	return slices.CompactFunc(issues, func(x, y engine.Issue) bool { return x.Path == y.Path && x.Rule == y.Rule })
}
