// The program's people sign in by WorkOS AuthKit. Whoever signs up there gets a role, and a place in their first course: once,
// in the transaction that makes the user, whether their browser comes first or the webhook. Who is an admin of an organization
// at WorkOS becomes a teacher.
package main

import (
	"os"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/jwt"
	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

type User struct {
	authmod.UserFields        // email, emailVerified, name, image
	Role               string `json:"role" jsonschema:"enum=student,enum=teacher"`
	Course             string `json:"course"` // the first one, of the user's metadata at WorkOS
}

type Enrolment struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course" jsonschema:"enum=go,enum=databases"`
}

// claims are those of the access token, see below for what makes WorkOS put them there.
type claims struct {
	jwt.Claims
	Course string `json:"course"`
}

func fromToken(c claims, u *User) error {
	return apply(u, authmod.UserFields{Email: c.Email, EmailVerified: c.EmailVerified, Name: c.Name, Image: c.Picture}, c.Course)
}

func fromWebhook(in webhook.WorkOSUser, u *User) error {
	return apply(u, in.Fields(), in.Metadata["course"])
}

// apply sets what is known of somebody; the course stays what it was at first.
func apply(u *User, fields authmod.UserFields, course string) error {
	if !fields.EmailVerified {
		return engine.Errorf(engine.CodeInvalid, "the e-mail address is not verified").
			WithIssues(engine.Issue{Path: "email", Rule: "verified", Message: "is not verified"})
	}
	u.UserFields = fields
	if u.Course == "" {
		u.Course = course
	}
	return nil
}

// membership is what WorkOS says of somebody's place in an organization.
type membership struct {
	UserID string `json:"user_id"`
	Role   struct {
		Slug string `json:"slug"`
	} `json:"role"`
}

func main() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	enrolments := engine.Define[Enrolment](s, "enrolments")
	byUser := enrolments.AddIndex("byUser", "user")

	// In the transaction of the event. While the user is not known here it fails, and WorkOS sends it again.
	setRole := func(tx *engine.Tx, e webhook.Event) error {
		in, err := webhook.Decode[membership](e)
		if err != nil {
			return err
		}
		id, err := e.User(tx, in.UserID)
		if err != nil {
			return err
		}
		return users.Patch(tx, engine.ID[User](id), func(u *User) error {
			u.Role = "student"
			if in.Role.Slug == "admin" {
				u.Role = "teacher"
			}
			return nil
		})
	}
	tokens := jwt.WorkOS(os.Getenv("WORKOS_CLIENT_ID"))
	tokens.Provision = authmod.NewMapping(fromToken)
	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{
		jwt.New(tokens),
		webhook.WorkOS(webhook.Options{
			Secrets: []string{os.Getenv("WORKOS_WEBHOOK_SECRET")}, Users: authmod.NewMapping(fromWebhook),
			On: map[string]func(*engine.Tx, webhook.Event) error{
				"organization_membership.created": setRole, "organization_membership.updated": setRole,
			},
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
