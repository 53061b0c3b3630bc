// Command app is the server that the React package of @convex-dev/auth is tested against: a school to which people sign up by
// password, with a nickname and a course, or at a provider of OpenID Connect; or they look around first, as guests. It takes the
// flags of every program built on Mimosa (--addr, --data, --allow-origin) and writes "listening on http://…" as its first line.
//
// Environment variables: MIMOSA_TEST_PAGE names the folder of the page that it serves; MIMOSA_TEST_ACCESS_TTL is how long access
// tokens live; MIMOSA_TEST_ISSUER is the provider, where there is one, and MIMOSA_TEST_BASE_URL the server's own address, which
// the provider sends people back to. POST /operator/… does what an operator would: see operator.go.
//
// It is a test's helper and nothing to build on: its passwords are hashed cheaply, and nobody guards the operator's addresses.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/anonymous"
	"github.com/mimosadb/mimosa/authmod/oauth"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

func main() {
	var ttl time.Duration
	if text := os.Getenv("MIMOSA_TEST_ACCESS_TTL"); text != "" {
		var err error
		if ttl, err = time.ParseDuration(text); err != nil {
			fmt.Fprintln(os.Stderr, "MIMOSA_TEST_ACCESS_TTL:", err)
			os.Exit(2)
		}
	}
	a := newApp(authmod.Options{AccessTTL: ttl, BaseURL: os.Getenv("MIMOSA_TEST_BASE_URL")}, os.Getenv("MIMOSA_TEST_ISSUER"))
	program := cmd.App{
		Name: "app", About: "The server that the React package of @convex-dev/auth is tested against.",
		Schema: a.schema, Auth: a.auth, Seed: a.seed,
		Routes: func(mux *http.ServeMux, db *engine.DB) { a.operator(mux, db) },
		// A busy machine must not fail a test that is not about time.
		Database: engine.Options{Limits: engine.Limits{FunctionTime: 10 * time.Second}},
	}
	if folder := os.Getenv("MIMOSA_TEST_PAGE"); folder != "" {
		program.Static = os.DirFS(folder)
	}
	cmd.Main(program)
}

type (
	// User is somebody who signed up. A trigger sets the role.
	User struct {
		authmod.UserFields
		Nickname string `json:"nickname" jsonschema:"minLength=1,maxLength=30"`
		Role     string `json:"role" jsonschema:"enum=student,enum=teacher"`
	}

	// Course counts those who take it.
	Course struct {
		Name    string `json:"name"`
		Members int    `json:"members"`
	}

	// Enrolment says that a user takes a course.
	Enrolment struct {
		User   engine.ID[User]   `json:"user"`
		Course engine.ID[Course] `json:"course"`
	}

	// Visit is what a page writes at the moment at which its user has signed in.
	Visit struct {
		User engine.ID[User] `json:"user"`
		Note string          `json:"note" jsonschema:"maxLength=200"`
	}
)

// app is the program.
type app struct {
	schema *engine.Schema
	auth   *authmod.Auth

	users      *engine.Collection[User]
	byEmail    *engine.Index[User]
	courses    *engine.Collection[Course]
	byName     *engine.Index[Course]
	enrolments *engine.Collection[Enrolment]
	byUser     *engine.Index[Enrolment]
	visits     *engine.Collection[Visit]
}

func newApp(o authmod.Options, issuer string) *app {
	s := engine.NewSchema()
	a := &app{
		schema:     s,
		users:      engine.Define[User](s, "users"),
		courses:    engine.Define[Course](s, "courses"),
		enrolments: engine.Define[Enrolment](s, "enrolments"),
		visits:     engine.Define[Visit](s, "visits"),
	}
	a.byEmail = a.users.AddIndex("byEmail", "email")
	a.byName = a.courses.AddUnique("byName", "name")
	a.byUser = a.enrolments.AddIndex("byUser", "user")

	o.Modules = []authmod.Module{
		password.New(password.Options{
			Profile: authmod.NewProfile(profile), MinLength: 8,
			Crypto: password.Argon2id{Memory: 8, Passes: 1, Threads: 1},
		}),
		anonymous.New(anonymous.Options{Profile: authmod.NewProfile(func(guest) (User, error) {
			return User{Nickname: "Guest"}, nil
		})}),
	}
	if issuer != "" {
		o.Modules = append(o.Modules, oauth.OIDC("sso", issuer, oauth.Options{
			ClientID: "school", ClientSecret: "of the school", Profile: oauth.NewProfile(fromProvider),
		}))
	}
	// A guest's user goes over to the account, and is no new user.
	o.OnSignIn = func(tx *engine.Tx, in *authmod.SignInInfo) error {
		if !in.Upgraded {
			return nil
		}
		return a.enrol(tx, engine.ID[User](in.User))
	}
	a.auth = authmod.New(s, a.users, o)
	triggers.BeforeCreate(a.users, "role", func(_ *engine.ReadTx, u *User) error {
		u.Role = "student"
		return nil
	})
	triggers.OnCreate(a.users, "enrol", func(tx *engine.Tx, user *engine.Doc[User]) error {
		if authmod.SignIn(tx).Provider == "anonymous" {
			return nil // guests take no course
		}
		return a.enrol(tx, user.ID)
	})
	triggers.OnCreate(a.enrolments, "count", func(tx *engine.Tx, e *engine.Doc[Enrolment]) error {
		return a.courses.Patch(tx, e.Value.Course, func(c *Course) error { c.Members++; return nil })
	})

	engine.Query(s, "users:me", a.me)
	engine.Query(s, "enrolments:mine", a.mine)
	engine.Query(s, "courses:list", func(tx *engine.ReadTx, _ none) ([]*engine.Doc[Course], error) {
		return a.courses.All(tx).Collect()
	})
	engine.Query(s, "visits:list", a.listVisits)
	engine.Mutation(s, "visits:add", func(tx *engine.Tx, in visitArgs) (engine.ID[Visit], error) {
		me, err := authmod.UserID(tx, a.users)
		if err != nil {
			return "", err
		}
		return a.visits.Insert(tx, Visit{User: me, Note: in.Note})
	})
	return a
}

func (a *app) seed(tx *engine.Tx) error {
	for _, name := range []string{"databases", "music"} {
		if _, err := a.courses.Insert(tx, Course{Name: name}); err != nil {
			return err
		}
	}
	return nil
}

// signUp is what the form asks, beside the password.
type signUp struct {
	Email    string `json:"email" jsonschema:"format=email"`
	Nickname string `json:"nickname" jsonschema:"minLength=1,maxLength=30"`
	Course   string `json:"course" jsonschema:"minLength=1"`
}

func profile(p signUp) (User, error) {
	return User{UserFields: authmod.UserFields{Email: p.Email}, Nickname: p.Nickname}, nil
}

// guest is what the form of those asks who only look around: nothing.
type guest struct{}

// course is what somebody says who signs up at the provider, beside what that knows.
type course struct {
	Course string `json:"course" jsonschema:"minLength=1"`
}

func fromProvider(who oauth.Person, _ course) (User, error) {
	return User{UserFields: authmod.UserFields{Email: who.Email}, Nickname: who.Name}, nil
}

// enrol enters a user in the course that the form named; where there is none, nobody has signed up.
func (a *app) enrol(tx *engine.Tx, user engine.ID[User]) error {
	form, err := authmod.Params[struct {
		Course string `json:"course"`
	}](tx)
	if err != nil {
		return err
	}
	course, err := a.byName.One(tx, form.Course)
	if errors.Is(err, engine.ErrNotFound) {
		return engine.Errorf(engine.CodeNotFound, "there is no such course").
			WithIssues(engine.Issue{Path: "course", Rule: "exists", Message: "is not a course of this school"})
	}
	if err != nil {
		return err
	}
	_, err = a.enrolments.Insert(tx, Enrolment{User: user, Course: course.ID})
	return err
}

type (
	none      struct{}
	visitArgs struct {
		Note string `json:"note"`
	}
	visitView struct {
		ID   engine.ID[Visit] `json:"_id"`
		Who  string           `json:"who"`
		Note string           `json:"note"`
	}
)

// me is the caller's document, null for nobody.
func (a *app) me(tx *engine.ReadTx, _ none) (*engine.Doc[User], error) {
	who, err := tx.Identity()
	if err != nil || who == nil {
		return nil, err
	}
	return a.users.Get(tx, engine.ID[User](who.User))
}

// mine names the caller's courses, and refuses nobody.
func (a *app) mine(tx *engine.ReadTx, _ none) ([]string, error) {
	me, err := authmod.UserID(tx, a.users)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for e, err := range a.byUser.Eq(tx, me).Docs() {
		if err != nil {
			return nil, err
		}
		course, err := a.courses.Get(tx, e.Value.Course)
		if err != nil {
			return nil, err
		}
		names = append(names, course.Value.Name)
	}
	return names, nil
}

func (a *app) listVisits(tx *engine.ReadTx, _ none) ([]visitView, error) {
	views := []visitView{}
	for v, err := range a.visits.All(tx).Docs() {
		if err != nil {
			return nil, err
		}
		who := "somebody who left"
		user, err := a.users.Get(tx, v.Value.User)
		switch {
		case err == nil:
			who = user.Value.Nickname
		case !errors.Is(err, engine.ErrNotFound):
			return nil, err
		}
		views = append(views, visitView{v.ID, who, v.Value.Note})
	}
	return views, nil
}
