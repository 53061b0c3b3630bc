// The program signs in whoever the school's portal sends, by a module of its own. The portal links to it with a ticket: who it
// is, their role, and when it was made, signed with a secret that both know. A ticket is good once, for a minute. Whoever comes
// for the first time also says which course they want, and gets their place in the transaction that makes the user.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

type User struct {
	authmod.UserFields
	Role string `json:"role" jsonschema:"enum=student,enum=teacher"`
}

type Enrolment struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course" jsonschema:"enum=go,enum=databases"`
}

// Form is what a user is made of: the portal says the address and the role, the person the course.
type Form struct {
	Email  string `json:"email"`
	Role   string `json:"role"`
	Course string `json:"course"`
}

// ticket is what the portal says: base64url of this as JSON, a dot, and base64url of the HMAC-SHA-256 of what stands before it.
type ticket struct {
	Subject string    `json:"subject"`
	Email   string    `json:"email"`
	Role    string    `json:"role"`
	Made    time.Time `json:"made"`
}

var errTicket = engine.Errorf(engine.CodeUnauthenticated, "the ticket is not valid, or not any more")

type portal struct {
	secret []byte
	sheet  *authmod.Sheet
}

func (*portal) Provider() string { return "portal" }

func (p *portal) Attach(h *authmod.Host) {
	if len(p.secret) < 32 {
		h.Problem("PORTAL_SECRET must have at least 32 bytes")
	}
	p.sheet = h.Profile(authmod.NewProfile(func(f Form) (User, error) {
		return User{UserFields: authmod.UserFields{Email: f.Email}, Role: f.Role}, nil
	}))
}

func (p *portal) open(s string, now time.Time) (t ticket, ok bool) {
	text, signature, _ := strings.Cut(s, ".")
	mac := hmac.New(sha256.New, p.secret)
	mac.Write([]byte(text))
	given, _ := base64.RawURLEncoding.DecodeString(signature)
	body, err := base64.RawURLEncoding.DecodeString(text)
	ok = hmac.Equal(given, mac.Sum(nil)) && err == nil && json.Unmarshal(body, &t) == nil
	return t, ok && now.Sub(t.Made).Abs() <= time.Minute
}

func (p *portal) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	code, issue := a.Reserved("code")
	if issue != nil {
		return authmod.Answer{}, authmod.Invalid(*issue)
	}
	guard, err := a.Guard(nil, "") // bounds what one network may get wrong
	if err != nil {
		return authmod.Answer{}, err
	}
	defer guard.End()
	t, ok := p.open(code, a.DB().Now())
	if !ok {
		guard.Fail()
		return authmod.Answer{}, errTicket
	}
	a.SetParam("email", t.Email)
	a.SetParam("role", t.Role) // whatever the client has sent
	// The account's secret is when its last ticket was made. It is held against the account once more in the transaction, so
	// that of two tickets that come at once one is used, and one that is used is not used again.
	made := t.Made.UTC().Format("2006-01-02T15:04:05.000000000Z")
	c := authmod.Completion{AccountID: t.Subject, VerifiedEmail: t.Email, Params: a.Params(), Secret: made}
	account, err := a.Account(t.Subject)
	switch {
	case err == nil && account.Value.Secret < made:
		c.Mode, c.Expect = authmod.LogIn, account.Value.Secret
	case err == nil:
		return authmod.Answer{}, errTicket
	case errors.Is(err, authmod.ErrNoAccount):
		var issues []engine.Issue
		c.Mode = authmod.SignUp
		if c.User, issues, err = p.sheet.Check(a); len(issues) > 0 {
			err = authmod.Invalid(issues...) // for the form; the ticket is still good
		}
	}
	if err != nil {
		return authmod.Answer{}, err
	}
	answer, err := a.Complete(c)
	if errors.Is(err, authmod.ErrSecretChanged) || errors.Is(err, authmod.ErrAccountExists) {
		err = errTicket
	}
	return answer, err
}

func main() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	enrolments := engine.Define[Enrolment](s, "enrolments")
	byUser := enrolments.AddIndex("byUser", "user")

	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{&portal{secret: []byte(os.Getenv("PORTAL_SECRET"))}}})

	triggers.OnCreate(users, "enrol", func(tx *engine.Tx, user *engine.Doc[User]) error {
		form, err := authmod.Params[Form](tx)
		if err != nil {
			return err
		}
		_, err = enrolments.Insert(tx, Enrolment{User: user.ID, Course: form.Course})
		return err
	})
	engine.Query(s, "users:me", func(r *engine.ReadTx, _ struct{}) (*engine.Doc[User], error) {
		me, err := authmod.UserID(r, users)
		if err != nil {
			return nil, err
		}
		return users.Get(r, me)
	})
	engine.Query(s, "enrolments:mine", func(r *engine.ReadTx, _ struct{}) ([]*engine.Doc[Enrolment], error) {
		me, err := authmod.UserID(r, users)
		if err != nil {
			return nil, err
		}
		return byUser.Eq(r, me).Collect()
	})
	cmd.Main(cmd.App{Name: "school", Schema: s, Auth: auth})
}
