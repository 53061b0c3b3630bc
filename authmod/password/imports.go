package password

import (
	"errors"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// checkAccount brings the address of an account that comes from elsewhere into the form by which sign-ins look for it, and
// refuses hashes that no password could be verified against. Those of a Crypto of the program's own are for it to know.
func (m *module) checkAccount(a *authmod.Account) error {
	err := authmod.AccountByEmail(a)
	switch m.options.Crypto.(type) {
	case Argon2id, Scrypt:
	default:
		return err
	}
	if hash := parseSecret(a.Secret).hash; hash == "" || readable(hash) { // without one there is no password yet
		return err
	}
	var issues []engine.Issue
	if e := (*engine.Error)(nil); errors.As(err, &e) {
		issues = e.Issues
	}
	return engine.Errorf(engine.CodeInvalid, "an account of the password module").WithIssues(append(issues, engine.Issue{
		Path: "secret", Rule: "hash", Message: "is no hash of argon2id, scrypt or bcrypt that can be verified",
	})...)
}
