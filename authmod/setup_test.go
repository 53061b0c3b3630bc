package authmod_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

// The application under test: a school, as the package's documentation has it.

type User struct {
	authmod.UserFields
	Nickname string `json:"nickname" jsonschema:"minLength=2,maxLength=20"`
	Role     string `json:"role"`
}

type SignUp struct {
	Email    string `json:"email"`
	Nickname string `json:"nickname" jsonschema:"minLength=2,maxLength=20"`
	Course   string `json:"course"`
}

type Enrolment struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course"`
}

type app struct {
	t          *testing.T
	db         *engine.DB
	store      storage.Store
	auth       *authmod.Auth
	users      *engine.Collection[User]
	enrolments *engine.Collection[Enrolment]
	clock      *clock
	log        *syncBuffer

	mu      sync.Mutex
	created []authmod.SignInInfo // guarded by mu; what OnCreate of users saw
}

// cheap hashing: these tests are not about the strength of hashes.
var cheap = password.Argon2id{Memory: 8, Passes: 1}

type settings struct {
	auth     authmod.Options
	password password.Options
	modules  []authmod.Module
	realTime bool // of the bubble that the test runs in, in place of a clock that stands still
	onCreate func(tx *engine.Tx, u *engine.Doc[User]) error
	define   func(users *engine.Collection[User]) // registers more
}

func setup(t *testing.T, change ...func(*settings)) *app {
	t.Helper()
	a := &app{t: t, clock: newClock(), log: &syncBuffer{}}
	set := settings{
		password: password.Options{
			Crypto: cheap, MinLength: 8,
			Profile: authmod.NewProfile(func(p SignUp) (User, error) {
				return User{UserFields: authmod.UserFields{Email: p.Email}, Nickname: p.Nickname, Role: "student"}, nil
			}),
		},
	}
	for _, c := range change {
		c(&set)
	}
	s := engine.NewSchema()
	a.users = engine.Define[User](s, "users")
	a.enrolments = engine.Define[Enrolment](s, "enrolments")
	set.auth.Modules = append([]authmod.Module{password.New(set.password)}, set.modules...)
	a.auth = authmod.New(s, a.users, set.auth)
	triggers.OnCreate(a.users, "enrol", func(tx *engine.Tx, u *engine.Doc[User]) error {
		in := authmod.SignIn(tx)
		if in == nil {
			return nil
		}
		a.mu.Lock()
		a.created = append(a.created, *in)
		a.mu.Unlock()
		if set.onCreate != nil {
			return set.onCreate(tx, u)
		}
		p, err := authmod.Params[SignUp](tx)
		if err != nil {
			return err
		}
		if p.Course == "unknown" {
			return engine.Errorf("no_such_course", "there is no such course").With(map[string]any{"course": p.Course})
		}
		_, err = a.enrolments.Insert(tx, Enrolment{User: u.ID, Course: p.Course})
		return err
	})
	if set.define != nil {
		set.define(a.users)
	}
	engine.Query(s, "users:me", func(tx *engine.ReadTx, _ struct{}) (*engine.Doc[User], error) {
		id, err := authmod.UserID(tx, a.users)
		if errors.Is(err, &engine.Error{Code: engine.CodeUnauthenticated}) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return a.users.Get(tx, id)
	})
	a.db = enginetest.Open(t, s, func(o *engine.Options) {
		if !set.realTime {
			o.Clock = a.clock.now
		}
		o.Store = memstore.New(memstore.Options{Clock: o.Clock})
		a.store = o.Store
		o.Logger = slog.New(slog.NewTextHandler(a.log, nil))
	})
	return a
}

// clock is a clock that stands still between advances.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// syncBuffer takes the log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// device is one signed-in client: its tokens, and who its connection runs as.
type device struct {
	app            *app
	token, refresh string
	principal      engine.Principal
}

type answer struct {
	Redirect string `json:"redirect"`
	Verifier string `json:"verifier"`
	Started  bool   `json:"started"`
	Tokens   *struct {
		Token        string `json:"token"`
		RefreshToken string `json:"refreshToken"`
	} `json:"tokens"`
	raw string
}

// call runs auth:signIn as a connection does, and takes over who it runs as then.
func (d *device) call(args string) (answer, *engine.Error) {
	d.app.t.Helper()
	res, err := d.app.db.RunAction(context.Background(), engine.Call{
		Function: "auth:signIn", Args: json.RawMessage(args), Principal: d.principal,
	})
	if err != nil {
		var e *engine.Error
		if !errors.As(err, &e) {
			d.app.t.Fatalf("auth:signIn failed with %T: %v", err, err)
		}
		return answer{}, e
	}
	if res.PrincipalSet {
		d.principal = res.Principal
	}
	out := answer{raw: string(res.Value)}
	if err := json.Unmarshal(res.Value, &out); err != nil {
		d.app.t.Fatalf("answer %s: %v", res.Value, err)
	}
	if out.Tokens != nil {
		d.token, d.refresh = out.Tokens.Token, out.Tokens.RefreshToken
	}
	return out, nil
}

func (a *app) device() *device { return &device{app: a} }

// params writes the arguments of a sign-in by password.
func params(flow string, members map[string]any) string {
	p := map[string]any{"flow": flow}
	for k, v := range members {
		p[k] = v
	}
	b, err := json.Marshal(map[string]any{"provider": "password", "params": p})
	if err != nil {
		panic(err)
	}
	return string(b)
}

const secret = "correct horse battery"

func signUpArgs(email string) string {
	return params("signUp", map[string]any{"email": email, "password": secret, "nickname": "Ada", "course": "go"})
}

func signInArgs(email, pw string) string {
	return params("signIn", map[string]any{"email": email, "password": pw})
}

// must fails the test unless a call answered with tokens.
func (d *device) must(args string) *device {
	d.app.t.Helper()
	out, err := d.call(args)
	if err != nil {
		d.app.t.Fatalf("auth:signIn: %v %v", err.Code, err)
	}
	if out.Tokens == nil {
		d.app.t.Fatalf("auth:signIn answered %s, want tokens", out.raw)
	}
	return d
}

func (d *device) signOut() {
	d.app.t.Helper()
	res, err := d.app.db.RunAction(context.Background(), engine.Call{Function: "auth:signOut", Principal: d.principal})
	if err != nil {
		d.app.t.Fatalf("auth:signOut: %v", err)
	}
	if string(res.Value) != "null" {
		d.app.t.Fatalf("auth:signOut answered %s", res.Value)
	}
	if res.PrincipalSet {
		d.principal = res.Principal
	}
}

// refreshWith presents a refresh token over HTTP, so without an identity, and returns the new one, "" when refused.
func (a *app) refreshWith(token string) string {
	a.t.Helper()
	d := a.device()
	args, err := json.Marshal(map[string]string{"refreshToken": token})
	if err != nil {
		a.t.Fatal(err)
	}
	out, cerr := d.call(string(args))
	if cerr != nil {
		a.t.Fatalf("refresh: %v", cerr)
	}
	if out.Tokens == nil {
		if out.raw != `{"tokens":null}` {
			a.t.Fatalf("refused refresh answered %s", out.raw)
		}
		return ""
	}
	if _, err := a.auth.Principal(out.Tokens.Token); err != nil {
		a.t.Fatalf("refreshed access token: %v", err)
	}
	return out.Tokens.RefreshToken
}

// me is the nickname of who a token runs as, "" for nobody.
func (a *app) me(p engine.Principal) string {
	a.t.Helper()
	res, err := a.db.RunQuery(context.Background(), engine.Call{Function: "users:me", Principal: p})
	if err != nil {
		a.t.Fatalf("users:me: %v", err)
	}
	var u *User
	if err := json.Unmarshal(res.Value, &u); err != nil {
		a.t.Fatal(err)
	}
	if u == nil {
		return ""
	}
	return u.Nickname
}

// principal verifies a token that must be good.
func (a *app) principal(token string) engine.Principal {
	a.t.Helper()
	p, err := a.auth.Principal(token)
	if err != nil {
		a.t.Fatalf("Principal: %v", err)
	}
	return p
}

// dump gives everything that the store holds, byte for byte, whatever it is.
func (a *app) dump() string {
	a.t.Helper()
	ctx := context.Background()
	head, err := a.store.Head(ctx)
	if err != nil {
		a.t.Fatal(err)
	}
	snap, err := a.store.At(ctx, head)
	if err != nil {
		a.t.Fatal(err)
	}
	defer snap.Close()
	var out strings.Builder
	for kv, err := range snap.Scan(nil, nil, false, 0) {
		if err != nil {
			a.t.Fatal(err)
		}
		fmt.Fprintf(&out, "%q: %s\n", kv.Key, kv.Value)
	}
	return out.String()
}

// count is how many documents a collection has.
func (a *app) count(name string) (n int) {
	a.t.Helper()
	counts, err := a.auth.Counts(a.db)
	if err == nil {
		err = a.db.View(context.Background(), func(tx *engine.ReadTx) (err error) {
			if counts["users"], err = a.users.All(tx).Count(); err == nil {
				counts["enrolments"], err = a.enrolments.All(tx).Count()
			}
			return err
		})
	}
	if err != nil {
		a.t.Fatal(err)
	}
	n, ok := counts[name]
	if !ok {
		a.t.Fatalf("no collection %s", name)
	}
	return n
}
