package emailcode

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

var (
	errNobody = engine.Errorf(engine.CodeUnauthenticated, "only somebody who is signed in can add an address")
	errTaken  = engine.Errorf(engine.CodeAlreadyExists, "somebody else signs in with this e-mail address").
			WithIssues(engine.Issue{Path: "email", Rule: "unique", Message: "is taken already"})
	errElsewhere = authmod.Invalid(engine.Issue{
		Path: "verifier", Rule: "device", Message: "is not that of the browser in which the code was asked for",
	})
	errCode = authmod.Invalid(engine.Issue{Path: "code", Rule: "code", Message: "is not valid, or not any more"})
)

// SignIn has a message sent, or redeems a code that was typed in.
func (m *module) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	purpose := authmod.PurposeSignIn
	var issues []engine.Issue
	switch a.OneFlow() {
	case "":
	case flowLink:
		purpose = PurposeLink
	default:
		issues = append(issues, engine.Issue{Path: "flow", Rule: "enum", Message: "is none of signIn, signUp and link"})
	}
	email, issue := normalize(a)
	if issue != nil {
		issues = append(issues, *issue)
	}
	code, issue := a.Reserved("code")
	given := issue == nil || issue.Rule != "required"
	if given && issue == nil && code == "" {
		issue = &engine.Issue{Path: "code", Rule: "required", Message: "is missing"}
	}
	if given && issue != nil {
		issues = append(issues, *issue)
	}
	switch {
	case !given:
		return m.begin(a, purpose, email, issues)
	case len(issues) > 0:
		return authmod.Answer{}, authmod.Invalid(issues...)
	}
	found, err := m.codes.Check(a, purpose, email, code)
	if err != nil {
		return authmod.Answer{}, err
	}
	return m.complete(a, found)
}

// Redeem redeems the code of a link.
func (m *module) Redeem(a *authmod.Attempt, code string) (authmod.Answer, bool, error) {
	found, mine, err := m.codes.CheckLink(a, code)
	if err != nil || !mine {
		return authmod.Answer{}, mine, err
	}
	if found.Value.Purpose == PurposeLink {
		a.SetFlow(flowLink)
	}
	out, err := m.complete(a, found)
	return out, true, err
}

// normalize brings the parameter email into its one form, so that profile, document, account and triggers see the same.
func normalize(a *authmod.Attempt) (string, *engine.Issue) {
	given, issue := a.Param("email")
	if issue != nil {
		return "", issue
	}
	email := authmod.NormalizeEmail(given)
	a.SetParam("email", email)
	switch {
	case email == "":
		return "", &engine.Issue{Path: "email", Rule: "required", Message: "is missing"}
	case !authmod.ValidEmail(email):
		return "", &engine.Issue{Path: "email", Rule: "format", Message: "is not an e-mail address"}
	}
	return email, nil
}

// begin checks what the form said and has the message sent. Whether there is an account makes no difference to anything here.
func (m *module) begin(a *authmod.Attempt, purpose, email string, issues []engine.Issue) (authmod.Answer, error) {
	in := startArgs{Purpose: purpose, To: email, Key: a.Key(), Params: a.Params()}
	switch {
	case purpose == authmod.PurposeSignIn:
		user, wrong, err := m.newUser(a)
		if err != nil {
			return authmod.Answer{}, err
		}
		in.NewUser = user.Document()
		for _, w := range wrong { // the profile's own rules may have found out about the address, in other words
			if !slices.ContainsFunc(issues, func(i engine.Issue) bool { return i.Path == w.Path }) {
				issues = append(issues, w)
			}
		}
	case a.Principal() == nil && len(issues) == 0:
		return authmod.Answer{}, errNobody
	}
	if m.options.SameDevice && len(a.Verifier()) < minVerifier {
		issues = append(issues, engine.Issue{
			Path: "verifier", Rule: "minLength", Message: fmt.Sprintf("must have at least %d bytes", minVerifier),
		})
	}
	if len(issues) > 0 {
		return authmod.Answer{}, authmod.Invalid(issues...)
	}
	if err := a.AllowSend(email); err != nil {
		return authmod.Answer{}, err
	}
	var err error
	if in.State, err = m.stateOf(a); err != nil {
		return authmod.Answer{}, err
	}
	if _, err := m.start.Run(a.ActionCtx, in); err != nil {
		return authmod.Answer{}, err
	}
	return authmod.Started(), nil
}

// newUser checks a form against the profile. One with nothing but an address is good enough to begin with: it may be of
// somebody who has an account. There is no document then.
func (m *module) newUser(a *authmod.Attempt) (authmod.NewUser, []engine.Issue, error) {
	user, issues, err := m.sheet.Check(a)
	if err == nil && len(issues) == 0 || fault(err) {
		return user, nil, err
	}
	var params map[string]json.RawMessage
	if err := json.Unmarshal(a.Params(), &params); err != nil {
		return authmod.NewUser{}, nil, err
	}
	if _, given := params["email"]; given && len(params) == 1 {
		return authmod.NewUser{}, nil, nil
	}
	return authmod.NewUser{}, issues, err
}

// fault says whether an error of a profile is no refusal of what a form says.
func fault(err error) bool {
	var e *engine.Error
	return err != nil && !errors.As(err, &e)
}

func (m *module) stateOf(a *authmod.Attempt) (json.RawMessage, error) {
	var s state
	if m.options.SameDevice {
		s.Verifier = hashVerifier(a.Verifier())
	}
	return json.Marshal(s)
}

func hashVerifier(v string) string {
	sum := sha256.Sum256([]byte("emailcode verifier " + v))
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// sameDevice says whether a code is redeemed where it was asked for, if that matters.
func (m *module) sameDevice(a *authmod.Attempt, d *engine.Doc[authmod.CodeDoc]) (bool, error) {
	var s state
	if err := json.Unmarshal(d.Value.State, &s); err != nil {
		return false, fmt.Errorf("authmod/emailcode: state of a code: %w", err)
	}
	if s.Verifier == "" { // the option was not set when it was asked for
		return !m.options.SameDevice, nil
	}
	return subtle.ConstantTimeCompare([]byte(s.Verifier), []byte(hashVerifier(a.Verifier()))) == 1, nil
}

// complete signs in whoever has a code, or gives them the address.
func (m *module) complete(a *authmod.Attempt, d *engine.Doc[authmod.CodeDoc]) (authmod.Answer, error) {
	same, err := m.sameDevice(a, d)
	if err == nil && !same {
		err = errElsewhere
	}
	if err != nil {
		return authmod.Answer{}, err
	}
	id, err := json.Marshal(d.ID)
	if err != nil {
		return authmod.Answer{}, err
	}
	c := authmod.Completion{
		Mode: authmod.Either, AccountID: d.Value.To, VerifiedEmail: d.Value.To, State: id,
		User: authmod.NewUserOf(d.Value.NewUser), Params: d.Value.Params,
	}
	var missing []engine.Issue
	var refused error
	switch {
	case d.Value.Purpose == PurposeLink:
		c.Mode = authmod.Link
	case len(d.Value.NewUser) == 0: // what the form did not say then it may say now
		a.SetParam("email", d.Value.To)
		if c.User, missing, refused = m.sheet.Check(a); fault(refused) {
			return authmod.Answer{}, refused
		}
		c.Params = a.Params()
	}
	out, err := a.Complete(c)
	switch { // what the profile has against them concerns nobody who has an account
	case errors.Is(err, authmod.ErrNoUser) && refused != nil:
		return authmod.Answer{}, refused
	case errors.Is(err, authmod.ErrNoUser) && len(missing) > 0:
		return authmod.Answer{}, authmod.Invalid(missing...)
	case errors.Is(err, authmod.ErrAccountExists):
		return authmod.Answer{}, errTaken
	}
	return out, err
}

// Join uses the code up, in the transaction of what it is good for.
func (m *module) Join(tx *engine.Tx, c *authmod.Completion) error {
	var id engine.ID[authmod.CodeDoc]
	if err := json.Unmarshal(c.State, &id); err != nil {
		return fmt.Errorf("authmod/emailcode: %w", err)
	}
	d, err := m.codes.Redeem(tx, id)
	if err != nil || d.Value.Purpose != PurposeLink {
		return err
	}
	who, err := tx.Identity()
	if err != nil {
		return err
	}
	if who == nil || who.User == "" {
		return errNobody
	}
	if who.User != d.Value.User {
		return errCode
	}
	return nil
}
