// The program signs people up by e-mail address and password. Whoever signs up gets a role, and a place in the course that the
// form asked for: once, in the transaction that makes the user, or there is no user. Where there is a server to send mail by,
// people prove their address by a code, and can set a new password.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
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

// send hands one mail to SMTP_ADDR, a relay that takes mails of this machine. It is called in a job, after the commit, and
// again when it fails; what it has of a deadline bounds it.
func send(ctx context.Context, m authmod.Message) error {
	text := "Your code is " + m.Code + ". If you have not asked for it, give it to nobody."
	if m.Purpose == authmod.PurposeExists {
		text = "Somebody has signed up with your address, and there is an account. A forgotten password can be reset."
	}
	server, from := os.Getenv("SMTP_ADDR"), os.Getenv("MAIL_FROM")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", server)
	if err != nil {
		return err
	}
	defer conn.Close()
	at, _ := ctx.Deadline()
	if err := conn.SetDeadline(at); err != nil {
		return err
	}
	host, _, _ := strings.Cut(server, ":")
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	if err := errors.Join(c.Mail(from), c.Rcpt(m.To)); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "From: %s\r\nTo: %s\r\nSubject: School: %s\r\n\r\n%s\r\n", from, m.To, m.Purpose, text)
	return errors.Join(err, w.Close(), c.Quit())
}

func main() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	enrolments := engine.Define[Enrolment](s, "enrolments")
	byUser := enrolments.AddIndex("byUser", "user")

	options := password.Options{Profile: authmod.NewProfile(profile)}
	if os.Getenv("SMTP_ADDR") != "" {
		options.Send, options.Verify = send, true
	}
	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{password.New(options)}})

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
