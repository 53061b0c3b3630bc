package anonymous_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/anonymous"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// The application under test: people write notes, before they say who they are and afterwards.

type User struct {
	authmod.UserFields
	Nickname string `json:"nickname"`
}

type Note struct {
	Owner engine.ID[User] `json:"owner"`
	Text  string          `json:"text"`
}

type app struct {
	t     *testing.T
	db    *engine.DB
	auth  *authmod.Auth
	users *engine.Collection[User]
	notes *engine.Collection[Note]

	mu      sync.Mutex
	fired   []string             // guarded by mu: triggers on users
	signIns []authmod.SignInInfo // guarded by mu: as OnSignIn saw them
	log     logBuffer
}

type settings struct {
	anonymous anonymous.Options
	auth      authmod.Options
	modules   []authmod.Module
	onDelete  func(tx *engine.Tx, u *engine.Doc[User]) error
}

func setup(t *testing.T, change ...func(*settings)) *app {
	t.Helper()
	a := &app{t: t}
	var set settings
	for _, c := range change {
		c(&set)
	}
	s := engine.NewSchema()
	a.users, a.notes = engine.Define[User](s, "users"), engine.Define[Note](s, "notes")
	owner := a.notes.AddIndex("owner", "owner")
	set.auth.Modules = append([]authmod.Module{
		anonymous.New(set.anonymous), password.New(password.Options{Crypto: password.Argon2id{Memory: 8, Passes: 1}, MinLength: 8}),
		&verifier{name: "verifier"}, &verifier{name: "another"},
	}, set.modules...)
	// What somebody did before they said who they are goes along, even if that is somebody who was there already.
	set.auth.OnSignIn = func(tx *engine.Tx, in *authmod.SignInInfo) error {
		a.mu.Lock()
		a.signIns = append(a.signIns, *in)
		a.mu.Unlock()
		if in.Previous == "" {
			return nil
		}
		for n, err := range owner.Eq(tx, in.Previous).Docs() {
			if err != nil {
				return err
			}
			if err := a.notes.Patch(tx, n.ID, func(n *Note) error { n.Owner = engine.ID[User](in.User); return nil }); err != nil {
				return err
			}
		}
		return nil
	}
	a.auth = authmod.New(s, a.users, set.auth)
	note := func(what string, u *engine.Doc[User]) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.fired = append(a.fired, what+" "+u.Value.Nickname+" "+u.Value.Email)
	}
	triggers.OnCreate(a.users, "note", func(tx *engine.Tx, u *engine.Doc[User]) error {
		note("create", u)
		_, err := a.notes.Insert(tx, Note{u.ID, "welcome"})
		return err
	})
	triggers.OnUpdate(a.users, "note", func(_ *engine.Tx, _, u *engine.Doc[User]) error { note("update", u); return nil })
	triggers.OnDelete(a.users, "notes", func(tx *engine.Tx, u *engine.Doc[User]) error {
		note("delete", u)
		if set.onDelete != nil {
			if err := set.onDelete(tx, u); err != nil {
				return err
			}
		}
		for n, err := range owner.Eq(tx, u.ID).Docs() {
			if err != nil {
				return err
			}
			if err := a.notes.Delete(tx, n.ID); err != nil {
				return err
			}
		}
		return nil
	})
	engine.Mutation(s, "notes:add", func(tx *engine.Tx, in Note) (struct{}, error) {
		me, err := authmod.UserID(tx, a.users)
		if err != nil {
			return struct{}{}, err
		}
		_, err = a.notes.Insert(tx, Note{me, in.Text})
		return struct{}{}, err
	})
	a.db = enginetest.Open(t, s, func(o *engine.Options) { o.Logger = slog.New(slog.NewTextHandler(&a.log, nil)) })
	return a
}

// verifier is a module that has proof of any address: it stands for an identity provider that verifies.
type verifier struct {
	name  string
	sheet *authmod.Sheet
}

func (v *verifier) Provider() string       { return v.name }
func (v *verifier) Attach(h *authmod.Host) { v.sheet = h.Profile(nil) }

func (v *verifier) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	email, _ := a.Param("email")
	user, _, err := v.sheet.Check(a)
	if err != nil {
		return authmod.Answer{}, err
	}
	mode := authmod.Either
	if a.Flow() == "link" {
		mode = authmod.Link
	}
	return a.Complete(authmod.Completion{Mode: mode, AccountID: email, VerifiedEmail: email, User: user, Params: a.Params()})
}

type logBuffer struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

func (l *logBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return string(l.b) }

// device is one client: who its connection runs as, and from where.
type device struct {
	app       *app
	principal engine.Principal
	remote    netip.Addr
	refresh   string
}

func (a *app) device() *device { return &device{app: a} }

func (d *device) signIn(provider string, params map[string]any) *engine.Error {
	d.app.t.Helper()
	members := map[string]any{"provider": provider}
	if params != nil {
		members["params"] = params
	}
	args, err := json.Marshal(members)
	if err != nil {
		d.app.t.Fatal(err)
	}
	return d.call(args)
}

func (d *device) call(args json.RawMessage) *engine.Error {
	d.app.t.Helper()
	res, err := d.app.db.RunAction(context.Background(), engine.Call{
		Function: "auth:signIn", Args: args, Principal: d.principal, Remote: d.remote,
	})
	var e *engine.Error
	if errors.As(err, &e) {
		return e
	}
	if err != nil {
		d.app.t.Fatal(err)
	}
	var out struct {
		Tokens *struct{ RefreshToken string } `json:"tokens"`
	}
	if err := json.Unmarshal(res.Value, &out); err != nil {
		d.app.t.Fatal(err)
	}
	if out.Tokens != nil {
		d.refresh = out.Tokens.RefreshToken
	}
	if res.PrincipalSet {
		d.principal = res.Principal
	}
	return nil
}

// be signs a new anonymous person in.
func (a *app) be() *device {
	a.t.Helper()
	d := a.device()
	d.must("anonymous", nil)
	return d
}

func (d *device) must(provider string, params map[string]any) {
	d.app.t.Helper()
	if err := d.signIn(provider, params); err != nil {
		d.app.t.Fatalf("%s: %s %v", provider, err.Code, err)
	}
}

// user is who the device runs as, empty for nobody.
func (d *device) user() (user string) {
	d.app.t.Helper()
	err := d.app.db.View(context.Background(), func(r *engine.ReadTx) error {
		if d.principal == nil {
			return nil
		}
		who, err := d.principal.Resolve(r)
		if who != nil {
			user = who.User
		}
		return err
	})
	if err != nil {
		d.app.t.Fatal(err)
	}
	return user
}

func (d *device) add(text string) {
	d.app.t.Helper()
	args, _ := json.Marshal(Note{d.app.someUser(), text})
	if _, err := d.app.db.RunMutation(context.Background(), engine.Call{Function: "notes:add", Args: args, Principal: d.principal}); err != nil {
		d.app.t.Fatal(err)
	}
}

// someUser is any user, where an argument has to be one.
func (a *app) someUser() (id engine.ID[User]) {
	a.view(func(r *engine.ReadTx) error {
		u, err := a.users.All(r).First()
		if err == nil {
			id = u.ID
		}
		return err
	})
	return id
}

func (a *app) view(fn func(r *engine.ReadTx) error) {
	a.t.Helper()
	if err := a.db.View(context.Background(), fn); err != nil {
		a.t.Fatal(err)
	}
}

// notesOf are the texts of a user's notes, in their order.
func (a *app) notesOf(user string) (out []string) {
	a.t.Helper()
	a.view(func(r *engine.ReadTx) error {
		out = nil
		for n, err := range a.notes.All(r).Docs() {
			if err != nil {
				return err
			}
			if string(n.Value.Owner) == user {
				out = append(out, n.Value.Text)
			}
		}
		return nil
	})
	return out
}

// accounts are all accounts, as "provider id user".
func (a *app) accounts() (out []authmod.Account) {
	a.t.Helper()
	a.view(func(r *engine.ReadTx) error {
		out = nil
		for d, err := range a.auth.Accounts().All(r).Docs() {
			if err != nil {
				return err
			}
			out = append(out, d.Value)
		}
		return nil
	})
	return out
}

func (a *app) usersThere() (n int) {
	a.t.Helper()
	a.view(func(r *engine.ReadTx) (err error) { n, err = a.users.All(r).Count(); return err })
	return n
}

// triggered is what triggers on users have seen since the last call.
func (a *app) triggered() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.fired
	a.fired = nil
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
