// The program signs people up by GitHub. The form is filled in before they go there: nickname and course come back with them.
// Whoever signs up gets a role, and a place in that course: once, in the transaction that makes the user, or there is no user.
package main

import (
	"os"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

type User struct {
	authmod.UserFields        // email, emailVerified, name, image
	Nickname           string `json:"nickname" jsonschema:"minLength=2,maxLength=30"`
	Role               string `json:"role" jsonschema:"enum=student,enum=teacher"`
}

type Enrolment struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course" jsonschema:"enum=go,enum=databases"`
}

// Form is what the page asks before people go to GitHub. It is checked there and then.
type Form struct {
	Nickname string `json:"nickname" jsonschema:"minLength=2,maxLength=30"`
	Course   string `json:"course" jsonschema:"enum=go,enum=databases"`
}

// profile makes the user of what GitHub says and what the form asked, when somebody signs up and never again.
func profile(who oauth.Person, f Form) (User, error) {
	if !who.EmailVerified {
		return User{}, engine.Errorf(engine.CodeInvalid, "verify your e-mail address at GitHub, and try again").
			WithIssues(engine.Issue{Path: "email", Rule: "verified", Message: "is not verified at GitHub"})
	}
	return User{
		UserFields: authmod.UserFields{Email: who.Email, EmailVerified: true, Name: who.Name, Image: who.Image},
		Nickname:   f.Nickname,
	}, nil
}

func main() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	enrolments := engine.Define[Enrolment](s, "enrolments")
	byUser := enrolments.AddIndex("byUser", "user")

	auth := authmod.New(s, users, authmod.Options{
		BaseURL: os.Getenv("BASE_URL"), // where this program is reached
		SiteURL: os.Getenv("SITE_URL"), // where your pages are; the same by default
		Modules: []authmod.Module{oauth.GitHub(oauth.Options{
			ClientID: os.Getenv("GITHUB_CLIENT_ID"), ClientSecret: os.Getenv("GITHUB_CLIENT_SECRET"),
			Profile: oauth.NewProfile(profile),
		})},
	})

	triggers.BeforeCreate(users, "role", func(_ *engine.ReadTx, u *User) error {
		u.Role = "student"
		return nil
	})
	triggers.OnCreate(users, "enrol", func(tx *engine.Tx, user *engine.Doc[User]) error {
		form, err := authmod.Params[Form](tx) // what the form asked, though they have been at GitHub since
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
