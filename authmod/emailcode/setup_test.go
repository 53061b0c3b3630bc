package emailcode_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/anonymous"
	"github.com/mimosadb/mimosa/authmod/emailcode"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// The application under test: a school whose form asks for a nickname and a course.

type User struct {
	authmod.UserFields
	Nickname string `json:"nickname"`
}

type SignUp struct {
	Nickname string `json:"nickname" jsonschema:"minLength=2"`
	Course   string `json:"course,omitempty"`
}

type Enrolment struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course"`
}

type app struct {
	t          *testing.T
	db         *engine.DB
	auth       *authmod.Auth
	users      *engine.Collection[User]
	enrolments *engine.Collection[Enrolment]
	log        buffer

	mu      sync.Mutex
	mails   []authmod.Message    // guarded by mu
	signIns []authmod.SignInInfo // guarded by mu: as OnSignIn saw them
	created int                  // guarded by mu: how often OnCreate of users has run
	refuse  error                // guarded by mu: what OnCreate of users answers
}

// setup opens the application, in a bubble of synctest, whose Wait waits for messages to be sent.
func setup(t *testing.T, change ...func(*emailcode.Options, *authmod.Options)) *app {
	t.Helper()
	a := &app{t: t}
	s := engine.NewSchema()
	a.users, a.enrolments = engine.Define[User](s, "users"), engine.Define[Enrolment](s, "enrolments")
	o := emailcode.Options{
		Send: a.send, Link: "https://app.example/signin",
		Profile: authmod.NewProfile(func(p SignUp) (User, error) {
			if p.Nickname == "admin" {
				return User{}, engine.Errorf(engine.CodeForbidden, "that nickname is ours")
			}
			return User{Nickname: p.Nickname}, nil
		}),
	}
	var options authmod.Options
	for _, c := range change {
		c(&o, &options)
	}
	options.Modules = append(options.Modules,
		emailcode.New(o), anonymous.New(anonymous.Options{}), &provider{},
		password.New(password.Options{Crypto: password.Argon2id{Memory: 8, Passes: 1}, MinLength: 8}),
	)
	options.OnSignIn = func(_ *engine.Tx, in *authmod.SignInInfo) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.signIns = append(a.signIns, *in)
		return nil
	}
	a.auth = authmod.New(s, a.users, options)
	triggers.OnCreate(a.users, "enrol", func(tx *engine.Tx, u *engine.Doc[User]) error {
		a.mu.Lock()
		a.created++
		refuse := a.refuse
		a.mu.Unlock()
		if in := authmod.SignIn(tx); in == nil || in.Provider != "emailcode" {
			return nil
		}
		p, err := authmod.Params[SignUp](tx)
		if err != nil || refuse != nil {
			return errors.Join(err, refuse)
		}
		_, err = a.enrolments.Insert(tx, Enrolment{u.ID, p.Course})
		return err
	})
	a.db = enginetest.Open(t, s, func(o *engine.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	return a
}

func (a *app) send(_ context.Context, m authmod.Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mails = append(a.mails, m)
	return nil
}

// mail is the last message but n.
func (a *app) mail(n int) authmod.Message {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if n >= len(a.mails) {
		a.t.Fatalf("%d messages were sent", len(a.mails))
	}
	return a.mails[len(a.mails)-1-n]
}

func (a *app) sent() int { a.mu.Lock(); defer a.mu.Unlock(); return len(a.mails) }

// provider stands for an identity provider that has verified the address.
type provider struct{ sheet *authmod.Sheet }

func (*provider) Provider() string         { return "provider" }
func (p *provider) Attach(h *authmod.Host) { p.sheet = h.Profile(nil) }

func (p *provider) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	user, _, err := p.sheet.Check(a)
	if err != nil {
		return authmod.Answer{}, err
	}
	return a.Complete(authmod.Completion{Mode: authmod.Either, AccountID: "subject of " + user.Email, VerifiedEmail: user.Email, User: user})
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }

func (b *buffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// device is one client.
type device struct {
	app       *app
	principal engine.Principal
	remote    netip.Addr
	verifier  string
}

func (a *app) device() *device { return &device{app: a} }

type params map[string]any

// signIn calls auth:signIn and returns its answer.
func (d *device) signIn(provider string, p params) (string, *engine.Error) {
	d.app.t.Helper()
	args := map[string]any{"params": p}
	if provider != "" {
		args["provider"] = provider
	}
	if d.verifier != "" {
		args["verifier"] = d.verifier
	}
	raw, err := json.Marshal(args)
	if err != nil {
		d.app.t.Fatal(err)
	}
	return d.call(raw)
}

func (d *device) call(args json.RawMessage) (string, *engine.Error) {
	d.app.t.Helper()
	res, err := d.app.db.RunAction(context.Background(), engine.Call{
		Function: "auth:signIn", Args: args, Principal: d.principal, Remote: d.remote,
	})
	var e *engine.Error
	if errors.As(err, &e) {
		return "", e
	}
	if err != nil {
		d.app.t.Fatal(err)
	}
	if res.PrincipalSet {
		d.principal = res.Principal
	}
	return string(res.Value), nil
}

const started = `{"started":true}`

// ask has a message sent and returns it.
func (d *device) ask(p params) authmod.Message {
	d.app.t.Helper()
	out, err := d.signIn("emailcode", p)
	if err != nil || out != started {
		d.app.t.Fatalf("asked for a code: %s %v", out, err)
	}
	synctest.Wait()
	return d.app.mail(0)
}

func (d *device) enter(m authmod.Message) *engine.Error {
	d.app.t.Helper()
	return d.redeem("emailcode", params{"email": m.To, "code": m.Code})
}

func (d *device) open(m authmod.Message) *engine.Error {
	d.app.t.Helper()
	return d.redeem("", params{"code": d.app.token(m)})
}

// token is the parameter code of a message's link.
func (a *app) token(m authmod.Message) string {
	a.t.Helper()
	u, err := url.Parse(m.Link)
	if err != nil || u.Query().Get("code") == "" {
		a.t.Fatalf("link %q", m.Link)
	}
	return u.Query().Get("code")
}

// redeem makes a call that must end in tokens, unless it returns an error.
func (d *device) redeem(provider string, p params) *engine.Error {
	d.app.t.Helper()
	out, err := d.signIn(provider, p)
	if err != nil {
		return err
	}
	var answer struct{ Tokens *struct{ Token string } }
	if e := json.Unmarshal([]byte(out), &answer); e != nil || answer.Tokens == nil || answer.Tokens.Token == "" {
		d.app.t.Fatalf("answer %s", out)
	}
	return nil
}

// in signs in with a code for an address.
func (d *device) in(email string, more params) {
	d.app.t.Helper()
	p := params{"email": email, "nickname": "Ada"}
	for k, v := range more {
		p[k] = v
	}
	if err := d.enter(d.ask(p)); err != nil {
		d.app.t.Fatalf("%s %v", err.Code, err)
	}
}

// user is who the device runs as, empty for nobody.
func (d *device) user() (user string) {
	d.app.t.Helper()
	d.app.view(func(r *engine.ReadTx) error {
		if d.principal == nil {
			return nil
		}
		who, err := d.principal.Resolve(r)
		if who != nil {
			user = who.User
		}
		return err
	})
	return user
}

func (a *app) view(fn func(r *engine.ReadTx) error) {
	a.t.Helper()
	if err := a.db.View(context.Background(), fn); err != nil {
		a.t.Fatal(err)
	}
}

// doc is a user's document.
func (a *app) doc(user string) (u User) {
	a.t.Helper()
	a.view(func(r *engine.ReadTx) error {
		d, err := a.users.Get(r, engine.ID[User](user))
		if err == nil {
			u = d.Value
		}
		return err
	})
	return u
}

// counts are how many users, accounts and enrolments there are.
func (a *app) counts() (out [3]int) {
	a.t.Helper()
	a.view(func(r *engine.ReadTx) (err error) {
		for i, count := range []func() (int, error){a.users.All(r).Count, a.auth.Accounts().All(r).Count, a.enrolments.All(r).Count} {
			if out[i], err = count(); err != nil {
				return err
			}
		}
		return nil
	})
	return out
}

func (a *app) lastSignIn() authmod.SignInInfo {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.signIns) == 0 {
		a.t.Fatal("nobody has signed in")
	}
	return a.signIns[len(a.signIns)-1]
}

func encoded(t *testing.T, e *engine.Error) string {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const wrongCode = `{"code":"invalid","message":"invalid sign-in parameters",` +
	`"issues":[{"path":"code","rule":"code","message":"is not valid, or not any more"}]}`

// bubble runs a test in a bubble of synctest.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}
