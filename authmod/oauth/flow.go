package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"golang.org/x/oauth2"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// flowLink gives an account at the provider to whoever is signed in.
const flowLink = "link"

// maxParams bounds the parameters of a sign-up, in bytes of JSON: they are stored before anybody has proved anything.
const maxParams = 16 << 10

var (
	errUnreachable = engine.Errorf(engine.CodeBusy, "the identity provider does not answer; try again later")
	errCode        = authmod.Invalid(engine.Issue{Path: "code", Rule: "code", Message: "is not valid, or not any more"})
	errTaken       = engine.Errorf(engine.CodeAlreadyExists, "this account belongs to another user already")
	errOther       = engine.Errorf(engine.CodeForbidden, "somebody else has signed in since")
)

// SignIn begins a sign-in, or ends one where there is a code.
func (m *module) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	code, issue := a.Reserved("code")
	switch {
	case issue == nil:
		out, mine, err := m.Redeem(a, code)
		if err == nil && !mine {
			err = errCode
		}
		return out, err
	case issue.Rule != "required":
		return authmod.Answer{}, authmod.Invalid(*issue)
	}
	return m.start(a)
}

// start answers with the address at which people sign in.
func (m *module) start(a *authmod.Attempt) (authmod.Answer, error) {
	back, err := m.check(a)
	if err != nil {
		return authmod.Answer{}, err
	}
	if err := a.Allow(m.starts, a.Network()); err != nil {
		return authmod.Answer{}, err
	}
	ctx, cancel := context.WithTimeout(a.Context(), m.options.Timeout)
	defer cancel()
	e, err := m.provider.endpoint(ctx, m.client)
	if err != nil {
		m.log(a.DB(), "the identity provider could not be asked about itself", err)
		return authmod.Answer{}, errUnreachable
	}
	state, salt, verifier := newSecret(), newSecret(), newSecret()
	if _, err := m.pending.add.Run(a.ActionCtx, pending{
		Provider: m.name, State: digest("state", state), Salt: salt, Verifier: digest("verifier", verifier), Flow: a.Flow(),
		RedirectTo: back, Params: a.Params(),
	}); err != nil {
		return authmod.Answer{}, err
	}
	options := []oauth2.AuthCodeOption{
		oauth2.S256ChallengeOption(derive("pkce", state, salt)), oidc.Nonce(derive("nonce", state, salt)),
	}
	for name, value := range m.options.AuthParams {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	return authmod.Redirect(m.config(e).AuthCodeURL(state, options...), verifier), nil
}

// check looks at the parameters, and returns where to come back to. Those of a sign-up are checked before anybody is sent away,
// so that a form can show what is wrong; without any it may be somebody who has an account.
func (m *module) check(a *authmod.Attempt) (back string, err error) {
	var issues []engine.Issue
	if flow := a.OneFlow(); flow != "" && flow != flowLink {
		issues = append(issues, engine.Issue{Path: "flow", Rule: "enum", Message: "is none of signIn, signUp and link"})
	}
	back = m.targets.home
	asked, issue := a.Reserved("redirectTo")
	switch {
	case issue == nil:
		var ok bool
		if back, ok = m.targets.resolve(asked); !ok {
			issues = append(issues, engine.Issue{Path: "redirectTo", Rule: "redirect", Message: "is not an address to come back to"})
		}
	case issue.Rule != "required":
		issues = append(issues, *issue)
	}
	params := a.Params()
	switch {
	case len(params) > maxParams:
		issues = append(issues, engine.Issue{Path: "params", Rule: "maxLength", Message: "are larger than 16 KiB"})
	case string(params) != "{}" && a.Flow() != flowLink:
		wrong, err := m.sheet.Check(params)
		if err != nil {
			return "", err
		}
		issues = append(issues, wrong...)
	}
	if len(issues) > 0 {
		return "", authmod.Invalid(issues...)
	}
	return back, nil
}

// Redeem implements authmod.Redeemer. A code that is not there, is over, or comes without the verifier that belongs to it is
// not the module's, so that all of them get the same answer.
func (m *module) Redeem(a *authmod.Attempt, code string) (authmod.Answer, bool, error) {
	d, err := m.pending.find(a.Context(), a.DB(), m.name, code)
	if err != nil || d == nil {
		return authmod.Answer{}, false, err
	}
	if !equal(d.Value.Verifier, digest("verifier", a.Verifier())) {
		m.log(a.DB(), "a code came without the verifier that belongs to it", nil)
		return authmod.Answer{}, false, m.pending.miss(a.Context(), a.DB(), d.ID)
	}
	a.SetFlow(d.Value.Flow)
	out, err := m.complete(a, d)
	if errors.Is(err, errOver) {
		err = errCode
	}
	return out, true, err
}

// complete signs in, or links. The profile is asked only where there is no account; and if it refuses, that counts only where a
// user has to be made, which is not where a verified address links.
func (m *module) complete(a *authmod.Attempt, d *engine.Doc[pending]) (authmod.Answer, error) {
	who := *d.Value.Person
	state, err := json.Marshal(redemption{d.ID, *d.Value.Code})
	if err != nil {
		return authmod.Answer{}, err
	}
	c := authmod.Completion{Mode: authmod.Either, AccountID: who.ID, Params: d.Value.Params, State: state}
	if who.EmailVerified {
		c.VerifiedEmail = who.Email
	}
	if d.Value.Flow == flowLink {
		c.Mode = authmod.Link
		out, err := a.Complete(c)
		if errors.Is(err, authmod.ErrAccountExists) {
			err = errTaken
		}
		return out, err
	}
	switch _, err = a.Account(who.ID); {
	case err == nil:
		// Unless the account goes in this moment, nothing has to be made.
		if out, err := a.Complete(c); !errors.Is(err, authmod.ErrNoUser) {
			return out, err
		}
	case !errors.Is(err, authmod.ErrNoAccount):
		return authmod.Answer{}, err
	}
	user, issues, refused := m.sheet.Make(who, d.Value.Params)
	if refused == nil && len(issues) > 0 {
		refused = authmod.Invalid(issues...)
	}
	if refused == nil {
		c.User = user
	}
	out, err := a.Complete(c)
	if errors.Is(err, authmod.ErrNoUser) {
		err = refused
	}
	return out, err
}

// Join implements authmod.Joiner: it uses the code up. Whoever links must still be the one who began to.
func (m *module) Join(tx *engine.Tx, c *authmod.Completion) error {
	var r redemption
	if err := json.Unmarshal(c.State, &r); err != nil {
		return err
	}
	d, err := m.pending.redeem(tx, r)
	if err != nil || d.Value.Flow != flowLink {
		return err
	}
	who, err := tx.Identity()
	if err != nil {
		return err
	}
	if who == nil || who.User != d.Value.User {
		return errOther
	}
	return nil
}

// log writes what went wrong with a provider. Errors of this package and of its libraries have neither codes nor tokens nor
// secrets in them, but for those that redacted takes out.
func (m *module) log(db *engine.DB, message string, err error) {
	attrs := []any{slog.String("provider", m.name)}
	if err != nil {
		attrs = append(attrs, slog.String("error", redacted(err)))
	}
	db.Options().Logger.Warn("authmod/oauth: "+message, attrs...)
}
