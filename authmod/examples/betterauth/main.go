// The program's people sign in by Better Auth, which runs in your JavaScript server. Whoever signs up there gets a role, and a
// place in the course that the form asked for: once, in the transaction that makes the user, when their browser first comes
// here. That server tells of changes and deletions by a webhook.
package main

import (
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
	Course             string `json:"course"` // what the form asked
}

type Enrolment struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course" jsonschema:"enum=go,enum=databases"`
}

// member is Better Auth's user, with the additionalFields of your configuration: in its tokens, and in the webhook below.
type member struct {
	Email         string `json:"email"`
	EmailVerified bool   `json:"emailVerified"`
	Name          string `json:"name"`
	Image         string `json:"image"`
	Nickname      string `json:"nickname"`
	Course        string `json:"course"`
}

// apply sets what is known of somebody; the course stays what it was at first.
func apply(m member, u *User) error {
	if strings.EqualFold(m.Nickname, "admin") {
		return engine.Errorf(engine.CodeInvalid, "the nickname is reserved").
			WithIssues(engine.Issue{Path: "nickname", Rule: "reserved", Message: "is reserved"})
	}
	u.UserFields = authmod.UserFields{Email: m.Email, EmailVerified: m.EmailVerified, Name: m.Name, Image: m.Image}
	u.Nickname = m.Nickname
	if u.Course == "" {
		u.Course = m.Course
	}
	return nil
}

func main() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	enrolments := engine.Define[Enrolment](s, "enrolments")
	byUser := enrolments.AddIndex("byUser", "user")

	tokens := jwt.BetterAuth(os.Getenv("BETTER_AUTH_URL"))
	tokens.Provision = authmod.NewMapping(apply)
	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{
		jwt.New(tokens),
		webhook.Standard(webhook.Options{
			Provider: "better-auth", Secrets: []string{os.Getenv("WEBHOOK_SECRET")}, Users: authmod.NewMapping(apply),
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
