package authmod_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

// The README has a table of what runs when, and one of what each hook may do. An application that sets every hook there is
// writes down what runs, in which transaction, and what it finds there; the README is held against that.

// stage is that application.
type stage struct {
	*app
	people   *engine.Collection[looseUser]
	external *authmod.External

	refuse  string // the hook that refuses, by an error of code refused
	ran     []ran
	count   int // of transactions
	current int // the one that do runs, for hooks that are given none

	codes chan string // that were sent; nil where addresses need not be proved
}

// ran is one hook that ran; transaction is 0 outside of any.
type ran struct {
	hook        string
	transaction int
	info        *authmod.SignInInfo
	params      map[string]any
}

type transactionKey struct{}

var errRefused = engine.Errorf("refused", "a hook says no")

// number tells transactions apart.
func (s *stage) number(r engine.Reader) int {
	n, _ := r.Local(transactionKey{}).(int)
	if n == 0 {
		s.count++
		n = s.count
		r.SetLocal(transactionKey{}, n)
	}
	return n
}

// note writes down that a hook runs in a transaction, or is given none, and is what the hook returns.
func (s *stage) note(hook string, r engine.Reader) error {
	n := ran{hook: hook, transaction: s.current}
	if r != nil {
		n.transaction = s.number(r)
		if in := authmod.SignIn(r); in != nil {
			seen := *in
			n.info = &seen
			var err error
			if n.params, err = authmod.Params[map[string]any](r); err != nil {
				s.t.Errorf("%s: Params: %v", hook, err)
			}
		} else if _, err := authmod.Params[map[string]any](r); !errors.Is(err, authmod.ErrNoSignIn) {
			s.t.Errorf("%s: Params outside of a sign-in: %v", hook, err)
		}
	}
	s.ran = append(s.ran, n)
	if hook == s.refuse {
		return errRefused
	}
	return nil
}

// watch sets every trigger there is on a collection.
func watch[T any](s *stage, name string, c *engine.Collection[T]) {
	triggers.BeforeCreate(c, "watch", func(tx *engine.ReadTx, _ *T) error { return s.note(name+".BeforeCreate", tx) })
	triggers.BeforeUpdate(c, "watch", func(tx *engine.ReadTx, _ *engine.Doc[T], _ *T) error { return s.note(name+".BeforeUpdate", tx) })
	triggers.BeforeDelete(c, "watch", func(tx *engine.ReadTx, _ *engine.Doc[T]) error { return s.note(name+".BeforeDelete", tx) })
	triggers.OnCreate(c, "watch", func(tx *engine.Tx, _ *engine.Doc[T]) error { return s.note(name+".OnCreate", tx) })
	triggers.OnUpdate(c, "watch", func(tx *engine.Tx, _, _ *engine.Doc[T]) error { return s.note(name+".OnUpdate", tx) })
	triggers.OnDelete(c, "watch", func(tx *engine.Tx, _ *engine.Doc[T]) error { return s.note(name+".OnDelete", tx) })
}

// own is a module of the application's own with documents of its own; outside is the one whose people sign in elsewhere.
type (
	own struct {
		proofModule
		s *stage
	}
	outside struct{ s *stage }
)

func (m *own) Join(tx *engine.Tx, _ *authmod.Completion) error { return m.s.note("Joiner", tx) }

func (outside) Provider() string                                { return "outside" }
func (outside) SignIn(*authmod.Attempt) (authmod.Answer, error) { return authmod.Started(), nil }

func (m outside) Attach(h *authmod.Host) {
	m.s.external = h.External("outside", authmod.NewMapping(func(in authmod.UserFields, u *looseUser) error {
		u.Email, u.Name = in.Email, in.Name
		return m.s.note("Mapping", nil)
	}))
}

func newStage(t *testing.T, verify bool) *stage {
	t.Helper()
	s := &stage{app: &app{t: t, clock: newClock()}}
	var send authmod.Sender
	if verify {
		s.codes = make(chan string, 10)
		send = func(_ context.Context, m authmod.Message) error { s.codes <- m.Code; return nil }
	}
	schema := engine.NewSchema()
	s.people = engine.Define[looseUser](schema, "users")
	type form struct {
		Email  string `json:"email"`
		Course string `json:"course,omitempty"`
	}
	s.auth = authmod.New(schema, s.people, authmod.Options{
		Modules: []authmod.Module{
			password.New(password.Options{
				Crypto: cheap, Send: send, Verify: verify,
				Profile: authmod.NewProfile(func(f form) (looseUser, error) {
					return looseUser{UserFields: authmod.UserFields{Email: f.Email}, Course: f.Course}, s.note("Profile", nil)
				}),
				ValidatePassword: func(string) error { return s.note("ValidatePassword", nil) },
			}),
			&own{proofModule{name: "own"}, s},
			outside{s},
		},
		SessionTTL:    30 * time.Minute,
		BeforeSession: func(tx *engine.Tx, _ *authmod.SignInInfo) error { return s.note("BeforeSession", tx) },
		OnSignIn:      func(tx *engine.Tx, _ *authmod.SignInInfo) error { return s.note("OnSignIn", tx) },
		CustomClaims: func(r engine.Reader, _, _ string) (map[string]any, error) {
			return map[string]any{"plan": "free"}, s.note("CustomClaims", r)
		},
	})
	watch(s, "users", s.people)
	watch(s, "accounts", s.auth.Accounts())
	watch(s, "sessions", s.auth.Sessions())
	s.db = enginetest.Open(t, schema, func(o *engine.Options) {
		o.Clock = s.clock.now
		o.Store = memstore.New(memstore.Options{Clock: o.Clock})
		o.Logger = slog.New(slog.DiscardHandler)
		s.store = o.Store
	})
	return s
}

// trace is what ran, in order, each transaction in brackets. Of accounts and sessions the Before triggers are left out: each
// runs right before its On trigger, or the test fails.
func (s *stage) trace() string {
	var shown []ran
	for i, n := range s.ran {
		collection, on, isOn := strings.Cut(n.hook, ".On")
		if isOn && collection != "users" && (i == 0 || s.ran[i-1].hook != collection+".Before"+on) {
			s.t.Errorf("%s does not run right after its Before: %v", n.hook, s.ran)
		}
		if !strings.HasPrefix(n.hook, "accounts.Before") && !strings.HasPrefix(n.hook, "sessions.Before") {
			shown = append(shown, n)
		}
	}
	var b strings.Builder
	for i, n := range shown {
		if i > 0 {
			b.WriteString(" → ")
		}
		if n.transaction != 0 && (i == 0 || shown[i-1].transaction != n.transaction) {
			b.WriteString("[")
		}
		b.WriteString(n.hook)
		if n.transaction != 0 && (i == len(shown)-1 || shown[i+1].transaction != n.transaction) {
			b.WriteString("]")
		}
	}
	if len(shown) == 0 {
		return "nothing"
	}
	return b.String()
}

// signIn is what SignIn said in every hook that was given a transaction.
func (s *stage) signIn() string {
	said := map[string]bool{}
	for _, n := range s.ran {
		switch {
		case n.transaction == 0 || n.hook == "Mapping" || n.hook == "Joiner":
		case n.info == nil:
			said["nil"] = true
		default:
			text := "`" + strings.TrimSuffix(n.info.Provider+" "+n.info.Flow, " ") + "`"
			for _, flag := range []struct {
				name string
				on   bool
			}{
				{"NewUser", n.info.NewUser},
				{"Linked", n.info.Linked},
				{"Upgraded", n.info.Upgraded},
				{"Previous", n.info.Previous != ""},
			} {
				if flag.on {
					text += ", " + flag.name
				}
			}
			said[text] = true
		}
	}
	if len(said) == 0 {
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(said)), " or ")
}

func (s *stage) do(fn func(tx *engine.Tx) error) error {
	return s.db.Update(context.Background(), func(tx *engine.Tx) error {
		s.current = s.number(tx)
		defer func() { s.current = 0 }()
		return fn(tx)
	})
}

// must fails the test where what has to be there for it cannot be had.
func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

var signUpForm = params("signUp", map[string]any{"email": "ada@example.com", "password": secret, "course": "go"})

// guest signs somebody in for whom there is no way back.
const guest = `{"provider":"own","params":{"flow":"signUp","id":"guest","temporary":"yes"}}`

// event is something that happens, in the README's words. prepare is what has been before, and gives whom run is about.
type event struct {
	name    string
	prepare func(s *stage) *device
	run     func(s *stage, d *device) error
}

// verifies says that the event is of an application that has addresses proved.
func (e event) verifies() bool { return strings.Contains(e.name, "Verify") }

// kept is all that is stored; but where codes are sent, jobs write at the same time, so that it is what hooks can watch.
func (s *stage) kept() string {
	if s.codes == nil {
		return s.dump()
	}
	var out strings.Builder
	for _, name := range []string{"users", "authAccounts", "authSessions", "authRefreshTokens"} {
		if _, err := s.db.Export(context.Background(), name, &out); err != nil {
			s.t.Fatal(err)
		}
	}
	return out.String()
}

// unproved is Ada who has signed up, and to whom a code was sent.
func unproved(s *stage) *device {
	s.must(elsewhere(signUpForm)(s, nil))
	return s.device()
}

// proving brings the code that was sent last.
func proving(s *stage, d *device) error {
	return here(params("email-verification", map[string]any{"email": "ada@example.com", "code": <-s.codes}))(s, d)
}

// proved is Ada with her address proved.
func proved(s *stage) *device {
	d := unproved(s)
	s.must(proving(s, d))
	return d
}

func nobody(s *stage) *device { return s.device() }
func ada(s *stage) *device    { return s.device().must(signUpForm) }

// known has Ada's user made by a service elsewhere.
func known(s *stage) *device {
	s.must(s.put(1, "Ada"))
	return s.device()
}

// put is what a webhook does.
func (s *stage) put(second int64, name string) error {
	return s.do(func(tx *engine.Tx) error {
		_, _, err := s.external.Put(tx, authmod.ExternalUser{Subject: "u1", At: time.Unix(second, 0), Data: fieldsOf(name)})
		return err
	})
}

// provision is what a token does.
func (s *stage) provision(*device) error {
	return s.do(func(tx *engine.Tx) error {
		_, _, err := s.external.Provision(tx, authmod.ExternalUser{Subject: "u1", Data: fieldsOf("Ada")})
		return err
	})
}

func fieldsOf(name string) json.RawMessage {
	b, err := json.Marshal(authmod.UserFields{Email: "ada@example.com", Name: name})
	if err != nil {
		panic(err)
	}
	return b
}

// here calls auth:signIn on the device that there is, elsewhere on another one.
func here(args string) func(*stage, *device) error {
	return func(_ *stage, d *device) error {
		if _, err := d.call(args); err != nil {
			return err
		}
		return nil
	}
}

func elsewhere(args string) func(*stage, *device) error {
	return func(s *stage, _ *device) error { return here(args)(s, s.device()) }
}

var events = []event{
	{"sign-up by password", nobody, elsewhere(signUpForm)},
	{"sign-up by password, with Verify", nobody, elsewhere(signUpForm)},
	{"the code of that comes back (Verify)", unproved, proving},
	{"a password is reset by a code (Verify)", func(s *stage) *device {
		d := proved(s)
		s.must(elsewhere(params("reset", map[string]any{"email": "ada@example.com"}))(s, d))
		return d
	}, func(s *stage, _ *device) error {
		return elsewhere(params("reset-verification", map[string]any{
			"email": "ada@example.com", "code": <-s.codes, "newPassword": secret + "!",
		}))(s, nil)
	}},
	{"sign-in by password, on another device", ada, elsewhere(signInArgs("ada@example.com", secret))},
	{"the same on a device that is signed in", ada, here(signInArgs("ada@example.com", secret))},
	{"refresh of the tokens", ada, func(s *stage, d *device) error {
		return elsewhere(fmt.Sprintf(`{"refreshToken":%q}`, d.refresh))(s, d)
	}},
	{"first sign-in by another module", nobody, elsewhere(as("own", "either", "a", "ada@example.com", ""))},
	{"the same with a verified address", nobody, elsewhere(as("own", "either", "a", "ada@example.com", "ada@example.com"))},
	{"the same with a verified address that a user has proved before", func(s *stage) *device {
		return s.device().must(as("own", "either", "a", "ada@example.com", "ada@example.com"))
	}, elsewhere(as("own", "either", "b", "ada@example.com", "ada@example.com"))},
	{"linking by hand (mode Link)", ada, here(as("own", "link", "a", "", ""))},
	{"`auth:unlink`", func(s *stage) *device {
		d := ada(s)
		s.must(here(as("own", "link", "a", "", ""))(s, d))
		return d
	}, func(s *stage, d *device) error {
		return s.do(func(tx *engine.Tx) error {
			list, err := s.auth.ListAccounts(tx, d.who())
			if err != nil {
				return err
			}
			return s.auth.Unlink(tx, d.who(), list[1].ID)
		})
	}},
	{"sign-up by password of an anonymous user", func(s *stage) *device { return s.device().must(guest) }, here(signUpForm)},
	{"sign-in by password of an anonymous user", func(s *stage) *device {
		ada(s)
		return s.device().must(guest)
	}, here(signInArgs("ada@example.com", secret))},
	{"sign-out, and each session that is revoked", ada, func(s *stage, d *device) error {
		_, err := s.db.RunAction(context.Background(), engine.Call{Function: "auth:signOut", Principal: d.principal})
		return err
	}},
	{"a session is over (within the hour)", ada, func(s *stage, _ *device) error {
		s.clock.advance(31 * time.Minute) // and the cron is not due yet
		return s.auth.Prune(s.db)
	}},
	{"a user's document is deleted, by whomever", ada, func(s *stage, d *device) error {
		return s.do(func(tx *engine.Tx) error { return s.people.Delete(tx, engine.ID[looseUser](d.who())) })
	}},
	{"a user's document is changed, by whomever", ada, func(s *stage, d *device) error {
		return s.do(func(tx *engine.Tx) error {
			return s.people.Patch(tx, engine.ID[looseUser](d.who()), func(u *looseUser) error { u.Course = "music"; return nil })
		})
	}},
	{"a user is imported, or inserted by a mutation", nobody, func(s *stage, _ *device) error {
		_, err := s.db.Import(context.Background(), "users", strings.NewReader(`{"email":"ada@example.com"}`), engine.ImportOptions{})
		return err
	}},
	{"first token of another service (Provision)", nobody, (*stage).provision},
	{"later tokens of another service", known, (*stage).provision},
	{"webhook: user created", nobody, func(s *stage, _ *device) error { return s.put(1, "Ada") }},
	{"webhook: user updated", known, func(s *stage, _ *device) error { return s.put(2, "Ada L.") }},
	{"webhook: an update that is older than what is known", known, func(s *stage, _ *device) error { return s.put(0, "Nobody") }},
	{"webhook: user deleted", known, func(s *stage, _ *device) error {
		return s.do(func(tx *engine.Tx) error {
			_, err := s.external.Delete(tx, "u1", time.Unix(2, 0))
			return err
		})
	}},
}

// What runs when, in which order, in which transaction, and what it learns of the sign-in.
func TestHooksAreAsTheReadmeHasThem(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, e.verifies())
			d := e.prepare(s)
			s.ran = nil
			if err := e.run(s, d); err != nil {
				t.Fatal(err)
			}
			if row := fmt.Sprintf("| %s | %s | %s |\n", e.name, s.trace(), s.signIn()); !strings.Contains(string(text), row) {
				t.Errorf("the README has no row\n%s", row)
			}
		})
	}
}

// Whatever hook refuses, and whenever: nothing has happened then, and whoever asked learns why.
func TestEveryHookMayRefuseAll(t *testing.T) {
	t.Parallel()
	for _, e := range events {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, e.verifies())
			d := e.prepare(s)
			s.ran = nil
			if err := e.run(s, d); err != nil {
				t.Fatal(err)
			}
			for i, n := range s.ran {
				s := newStage(t, e.verifies())
				d := e.prepare(s)
				before := s.kept()
				s.ran, s.refuse = nil, n.hook
				err := e.run(s, d)
				var told *engine.Error
				switch {
				case n.hook == "ValidatePassword" && errors.As(err, &told) && told.Code == engine.CodeInvalid:
				case !errors.As(err, &told) || told.Code != errRefused.Code:
					t.Errorf("%s: %v", n.hook, err)
				}
				if s.kept() != before {
					t.Errorf("%s: something of it was kept", n.hook)
				}
				if len(s.ran) != i+1 {
					t.Errorf("%s: what ran is %v", n.hook, s.ran)
				}
			}
		})
	}
}

// What is known of a sign-in grows in its course.
func TestWhatHooksFindOfASignUp(t *testing.T) {
	t.Parallel()
	s := newStage(t, false)
	ada(s)
	user, session := false, false
	for _, n := range s.ran {
		if n.info == nil {
			continue
		}
		user = user || n.hook == "accounts.BeforeCreate"
		session = session || n.hook == "OnSignIn"
		if (n.info.User != "") != user || (n.info.Session != "") != session {
			t.Errorf("%s finds user %q and session %q", n.hook, n.info.User, n.info.Session)
		}
		if n.info.AccountID != "ada@example.com" || len(n.params) != 2 || n.params["email"] != "ada@example.com" || n.params["course"] != "go" {
			t.Errorf("%s finds account %q and parameters %v", n.hook, n.info.AccountID, n.params)
		}
	}
	if !user || !session {
		t.Errorf("what ran is %v", s.ran)
	}
}

// What this package deletes along with a user comes before the triggers that were registered after New, and after those that
// were before.
func TestDeletionsAreInTheOrderOfRegistration(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{false, true} {
		var auth *authmod.Auth
		left := -1
		s := engine.NewSchema()
		users := engine.Define[looseUser](s, "users")
		register := func() {
			triggers.OnDelete(users, "look", func(tx *engine.Tx, u *engine.Doc[looseUser]) error {
				list, err := auth.ListAccounts(tx, string(u.ID))
				left = len(list)
				return err
			})
		}
		if first {
			register()
		}
		auth = authmod.New(s, users, authmod.Options{Modules: []authmod.Module{&proofModule{name: "own"}}})
		if !first {
			register()
		}
		a := &app{t: t, db: enginetest.Open(t, s), auth: auth}
		user := engine.ID[looseUser](a.device().must(as("own", "either", "a", "", "")).who())
		if err := a.db.Update(context.Background(), func(tx *engine.Tx) error { return users.Delete(tx, user) }); err != nil {
			t.Fatal(err)
		}
		if first != (left == 1) {
			t.Errorf("registered first: %v; it finds %d accounts", first, left)
		}
	}
}
