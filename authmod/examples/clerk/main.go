// The program's people sign in by Clerk. Whoever signs up there gets a role, and a place in the course that the form asked for:
// once, in the transaction that makes the user, whether their browser comes first or Clerk's webhook.
package main

import (
	"encoding/json"
	"os"
	"strings"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/jwt"
	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

type User struct {
	authmod.UserFields        // email, emailVerified, name, image
	Nickname           string `json:"nickname" jsonschema:"minLength=2,maxLength=30"`
	Role               string `json:"role" jsonschema:"enum=student,enum=teacher"`
	Banned             bool   `json:"banned,omitempty"`
	Course             string `json:"course"` // what the form asked
}

type Enrolment struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course" jsonschema:"enum=go,enum=databases"`
}

// Form is what your sign-up form gives Clerk as unsafeMetadata. People can change that themselves, so it is checked here, and
// says nothing of a role.
type Form struct {
	Nickname string `json:"nickname"`
	Course   string `json:"course"`
}

// apply sets what is known of somebody; the course stays what it was at first.
func (f Form) apply(u *User) error {
	if strings.EqualFold(f.Nickname, "admin") {
		return engine.Errorf(engine.CodeInvalid, "the nickname is reserved").
			WithIssues(engine.Issue{Path: "nickname", Rule: "reserved", Message: "is reserved"})
	}
	u.Nickname = f.Nickname
	if u.Course == "" {
		u.Course = f.Course
	}
	return nil
}

// claims are those of the token, see below for what makes Clerk put them there.
type claims struct {
	jwt.Claims
	Form
}

func fromToken(c claims, u *User) error {
	u.UserFields = authmod.UserFields{Email: c.Email, EmailVerified: c.EmailVerified, Name: c.Name, Image: c.Picture}
	return c.apply(u)
}

func fromWebhook(in webhook.ClerkUser, u *User) error {
	var form Form
	if err := json.Unmarshal(in.UnsafeMetadata, &form); err != nil {
		return engine.Errorf(engine.CodeInvalid, "unsafe_metadata: %v", err)
	}
	u.UserFields, u.Banned = in.Fields(), in.Banned
	return form.apply(u)
}

func main() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	enrolments := engine.Define[Enrolment](s, "enrolments")
	byUser := enrolments.AddIndex("byUser", "user")

	tokens := jwt.Clerk(os.Getenv("CLERK_FRONTEND_API_URL"))
	tokens.Audience = []string{"convex"}
	tokens.AuthorizedParties = []string{os.Getenv("SITE_URL")}
	tokens.Provision = authmod.NewMapping(fromToken)
	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{
		jwt.New(tokens),
		webhook.Clerk(webhook.Options{
			Secrets: []string{os.Getenv("CLERK_WEBHOOK_SIGNING_SECRET")}, Users: authmod.NewMapping(fromWebhook),
		}),
	}})

	triggers.BeforeCreate(users, "role", func(_ *engine.ReadTx, u *User) error {
		u.Role = "student"
		return nil
	})
	triggers.OnCreate(users, "enrol", func(tx *engine.Tx, user *engine.Doc[User]) error {
		_, err := enrolments.Insert(tx, Enrolment{User: user.ID, Course: user.Value.Course})
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
