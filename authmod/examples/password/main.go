// The program signs people up by e-mail address and password. Whoever signs up gets a role, and a place in the course that the
// form asked for: once, in the transaction that makes the user, or there is no user.
package main

import (
	"strings"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

// User is yours. The tags are rules that every write is held against; passwords are not in it.
type User struct {
	authmod.UserFields        // email, emailVerified, name, image
	Nickname           string `json:"nickname" jsonschema:"minLength=2,maxLength=30"`
	Role               string `json:"role" jsonschema:"enum=student,enum=teacher"`
}

type Enrolment struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course" jsonschema:"enum=go,enum=databases"`
}

// Form is what the sign-up form asks beside the password.
type Form struct {
	Email    string `json:"email"`
	Nickname string `json:"nickname"`
	Course   string `json:"course"`
}

// profile makes the user of the form, when somebody signs up and never again. Its issues reach the form together with those of
// the tags, of the address and of the password.
func profile(f Form) (User, error) {
	if strings.EqualFold(f.Nickname, "admin") {
		return User{}, engine.Errorf(engine.CodeInvalid, "the nickname is reserved").
			WithIssues(engine.Issue{Path: "nickname", Rule: "reserved", Message: "is reserved"})
	}
	return User{UserFields: authmod.UserFields{Email: f.Email}, Nickname: f.Nickname}, nil
}

func main() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	enrolments := engine.Define[Enrolment](s, "enrolments")
	byUser := enrolments.AddIndex("byUser", "user")

	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{
		password.New(password.Options{Profile: authmod.NewProfile(profile)}),
	}})

	// Before the user is validated and stored, whoever makes it.
	triggers.BeforeCreate(users, "role", func(_ *engine.ReadTx, u *User) error {
		if u.Role == "" {
			u.Role = "student"
		}
		return nil
	})
	// After that, in the same transaction: an error here undoes the sign-up, and reaches the form.
	triggers.OnCreate(users, "enrol", func(tx *engine.Tx, user *engine.Doc[User]) error {
		if authmod.SignIn(tx) == nil {
			return nil // an import, or a mutation of the program's own
		}
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
