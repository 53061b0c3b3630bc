package jwt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/jwt"
	"github.com/mimosadb/mimosa/engine"
)

// ann is a token of Ann's.
func (a *app) ann(key signer, change ...func(map[string]any)) string {
	return key.token(a.claims(append([]func(map[string]any){
		with("name", "Ann"), with("email", "Ann@Example.com"), with("email_verified", true), with("role", "admin"),
	}, change...)...))
}

func TestProvision(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s, provisioning)
	who := a.is(a.ann(key), "ann")
	users := a.allUsers()
	want := User{UserFields: authmod.UserFields{Email: "ann@example.com", EmailVerified: true, Name: "Ann"}, Role: "student"}
	if len(users) != 1 || users[who.User] != want {
		t.Fatalf("%s is one of %+v", who.User, users)
	}
	if len(a.created) != 1 || a.created[0]["role"] != "admin" || a.created[0]["sub"] != "ann" {
		t.Errorf("the trigger found the claims %v", a.created)
	}
	// Later tokens change nothing, whatever they say.
	if again := a.is(a.ann(key, with("name", "Anne"), with("email_verified", false)), "ann"); again.User != who.User {
		t.Errorf("now it is %s", again.User)
	}
	if users := a.allUsers(); len(users) != 1 || users[who.User] != want || len(a.created) != 1 {
		t.Errorf("a sign-in has changed %+v", users)
	}
}

func TestManyTokensAtOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s, provisioning)
	var wg sync.WaitGroup
	users := make([]string, 40)
	for i := range users {
		wg.Go(func() {
			who, err := a.present(a.ann(key, with("sub", fmt.Sprint("s", i%2))))
			if err != nil || who == nil {
				t.Errorf("%+v, %v", who, err)
				return
			}
			users[i] = who.User
		})
	}
	wg.Wait()
	for i, u := range users {
		if u != users[i%2] {
			t.Errorf("%d is %s, and %d is %s", i, u, i%2, users[i%2])
		}
	}
	if n := len(a.allUsers()); n != 1 { // both are verified to be the same address
		t.Errorf("%d users", n)
	}
}

// Without Provision whoever has no account is known by the token alone.
func TestWithoutProvision(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s)
	token := a.ann(key)
	if who := a.is(token, "ann"); who.User != "" || who.Issuer != s.web.URL || who.Claims["name"] != "Ann" {
		t.Errorf("the token stands for %+v", who)
	}
	p := must(a.auth.Principal(token))
	if _, err := a.db.RunQuery(context.Background(), engine.Call{Function: "who:user", Principal: p}); !errors.Is(err, &engine.Error{Code: engine.CodeUnauthenticated}) {
		t.Errorf("UserID answers %v", err)
	}
	// An account that the application brings from elsewhere is found.
	var user engine.ID[User]
	a.update(func(tx *engine.Tx) (err error) {
		if user, err = a.users.Insert(tx, User{Role: "teacher"}); err != nil {
			return err
		}
		_, err = a.auth.Accounts().Insert(tx, authmod.Account{Provider: "jwt", ProviderAccountID: "ann", User: string(user)})
		return err
	})
	if who := a.is(a.ann(key), "ann"); who.User != string(user) {
		t.Errorf("the token stands for %+v", who)
	}
	res, err := a.db.RunQuery(context.Background(), engine.Call{Function: "who:user", Principal: p})
	if err != nil || string(res.Value) != `"`+string(user)+`"` {
		t.Errorf("UserID answers %s, %v", res.Value, err)
	}
}

func TestRefusedByATrigger(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s, provisioning, func(set *settings) {
		set.onCreate = func(tx *engine.Tx, u *engine.Doc[User]) error {
			if u.Value.Name == "Eve" {
				return engine.Errorf("not_invited", "by invitation only").With(map[string]any{"list": "beta"})
			}
			if u.Value.Name == "Bug" {
				return errors.New("a secret reason")
			}
			return nil
		}
	})
	before := a.counts()
	if err := a.refused(a.ann(key, with("name", "Eve")), "not_invited"); err.Message != "by invitation only" || err.Data == nil {
		t.Errorf("refused with %+v", err)
	}
	if who, err := a.present(a.ann(key, with("name", "Bug"))); err == nil {
		t.Errorf("it stands for %+v", who)
	}
	for name, token := range map[string]string{
		"claims of another type":    a.ann(key, with("name", 7)),
		"an address of another":     a.ann(key, with("email", []string{"x"})),
		"against the users' schema": a.ann(key, with("name", "x"), with("email", map[string]any{})),
	} {
		if _, err := a.present(token); !errors.Is(err, &engine.Error{Code: engine.CodeInvalid}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := a.counts(); after != before {
		t.Errorf("%s documents, want %s", after, before)
	}
	a.is(a.ann(key), "ann") // nothing is in the way
}

// counts says how many documents there are.
func (a *app) counts() string {
	a.t.Helper()
	out := ""
	err := a.db.View(context.Background(), func(r *engine.ReadTx) error {
		users, err := a.users.All(r).Count()
		if err != nil {
			return err
		}
		accounts, err := a.auth.Accounts().All(r).Count()
		out = fmt.Sprint(users, " and ", accounts)
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// Whoever was deleted is nobody at once, and stays so with any token.
func TestDeleted(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(*settings){"provisioning": provisioning, "without": func(*settings) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			key := signers()["ec"]
			s.publish(key.jwk())
			a := setup(t, s, options)
			var user engine.ID[User]
			if name == "provisioning" {
				user = engine.ID[User](a.is(a.ann(key), "ann").User)
			} else {
				a.update(func(tx *engine.Tx) (err error) {
					if user, err = a.users.Insert(tx, User{Role: "x"}); err != nil {
						return err
					}
					_, err = a.auth.Accounts().Insert(tx, authmod.Account{Provider: "jwt", ProviderAccountID: "ann", User: string(user)})
					return err
				})
			}
			p := must(a.auth.Principal(a.ann(key)))
			a.update(func(tx *engine.Tx) error { return a.users.Delete(tx, user) })
			res, err := a.db.RunQuery(context.Background(), engine.Call{Function: "who:ami", Principal: p})
			if err != nil || string(res.Value) != `"nobody"` {
				t.Errorf("it is %s, %v", res.Value, err)
			}
			if err := a.refused(a.ann(key), engine.CodeUnauthenticated); err.Message != "the user has been deleted" {
				t.Errorf("refused with %q", err.Message)
			}
			a.clock.advance(time.Hour)
			a.refused(a.ann(key, with("sid", "a new session")), engine.CodeUnauthenticated)
			if n := len(a.allUsers()); n != 0 {
				t.Errorf("%d users", n)
			}
			a.update(func(tx *engine.Tx) error { return a.module.Readmit(tx, "ann") })
			if who := a.is(a.ann(key), "ann"); (who.User != "") != (name == "provisioning") {
				t.Errorf("readmitted, it is %+v", who)
			}
		})
	}
}

// hook is a module that hears of the same people by webhook.
type hook struct{ x *authmod.External }

func (*hook) Provider() string { return "hook" }
func (h *hook) Attach(host *authmod.Host) {
	h.x = host.External("jwt", authmod.NewMapping(func(c jwt.Claims, u *User) error {
		u.Email, u.Name = c.Email, c.Name
		if u.Role == "" {
			u.Role = "by webhook"
		}
		return nil
	}))
}

func (*hook) SignIn(*authmod.Attempt) (authmod.Answer, error) {
	return authmod.Answer{}, errors.New("not here")
}

// The webhook may come before the token, after it, and at the same moment: OnCreate fires once.
func TestTokenAndWebhook(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	h := &hook{}
	a := setup(t, s, provisioning, func(set *settings) { set.more = []authmod.Module{h} })
	event := func(subject, name string) error {
		return a.db.Update(context.Background(), func(tx *engine.Tx) error {
			_, _, err := h.x.Put(tx, authmod.ExternalUser{
				Subject: subject, At: a.clock.now(), Data: must(json.Marshal(map[string]any{"name": name})),
			})
			return err
		})
	}
	token := func(subject string) error {
		_, err := a.present(key.token(a.claims(with("sub", subject), with("name", "Token"))))
		return err
	}
	if err := errors.Join(token("first"), event("first", "Event"), token("first")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(event("second", "Event"), token("second"), event("second", "Event")); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			run := func() error { return token("third") }
			if i%4 == 0 {
				run = func() error { return event("third", "Event") }
			}
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	users := a.allUsers()
	if len(users) != 3 {
		t.Fatalf("users %+v", users)
	}
	for id, u := range users {
		if u.Name != "Event" {
			t.Errorf("%s is %+v", id, u)
		}
	}
}

// An address that the service vouches for links; one that it does not, or that its tokens only mention, does not.
func TestLinksByVerifiedAddress(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  []func(map[string]any)
		options func(*settings)
		linked  bool
	}{
		"verified":         {nil, nil, true},
		"not verified":     {[]func(map[string]any){with("email_verified", false)}, nil, false},
		"not said":         {[]func(map[string]any){without("email_verified")}, nil, false},
		"said by a string": {[]func(map[string]any){with("email_verified", "true")}, nil, false},
		"said by a number": {[]func(map[string]any){with("email_verified", 1)}, nil, false},
		"other spellings":  {[]func(map[string]any){without("email_verified"), with("Email_Verified", true)}, nil, false},
		"another address":  {[]func(map[string]any){with("email", "ann@example.org")}, nil, false},
		"turned off": {nil, func(set *settings) {
			set.options.VerifiedEmail = func(map[string]any) string { return "" }
		}, false},
		"another claim": {[]func(map[string]any){without("email_verified", "email"), with("mail", "ann@example.com")}, func(set *settings) {
			set.options.VerifiedEmail = func(c map[string]any) string { return c["mail"].(string) }
		}, true},
	} {
		s := newService(t)
		key := signers()["ec"]
		s.publish(key.jwk())
		a := setup(t, s, func(set *settings) {
			set.options.Provision = authmod.NewMapping(func(c struct{ Name any }, u *User) error { u.Role = "new"; return nil })
			if test.options != nil {
				test.options(set)
			}
		})
		a.update(func(tx *engine.Tx) error {
			id, err := a.users.Insert(tx, User{UserFields: authmod.UserFields{Email: "ann@example.com"}, Role: "old"})
			if err != nil {
				return err
			}
			_, err = a.auth.Accounts().Insert(tx, authmod.Account{
				Provider: "password", ProviderAccountID: "ann@example.com", User: string(id), VerifiedEmail: "ann@example.com",
			})
			return err
		})
		who := a.is(a.ann(key, test.change...), "ann")
		if linked := a.allUsers()[who.User].Role == "old"; linked != test.linked {
			t.Errorf("%s: linked is %v", name, linked)
		}
	}
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s, provisioning)
	ctx := context.Background()
	_, err := a.db.RunAction(ctx, engine.Call{Function: "auth:signIn", Args: json.RawMessage(`{"provider":"jwt","params":{}}`)})
	var coded *engine.Error
	if !errors.As(err, &coded) || coded.Code != engine.CodeInvalid || len(coded.Issues) != 1 || coded.Issues[0].Path != "provider" {
		t.Errorf("auth:signIn answers %v", err)
	}
	a.is(a.ann(key), "ann")
	p := must(a.auth.Principal(a.ann(key)))
	before := a.counts()
	res, err := a.db.RunAction(ctx, engine.Call{Function: "auth:signOut", Principal: p})
	if err != nil || string(res.Value) != "null" || res.PrincipalSet {
		t.Errorf("auth:signOut answers %s, %v, and sets %v", res.Value, err, res.PrincipalSet)
	}
	a.is(a.ann(key), "ann")
	if a.counts() != before {
		t.Error("something has changed")
	}
	if strings.Contains(a.log.String(), "eyJ") {
		t.Error("a token is in the log")
	}
}

// A database that is closed has nobody sign in.
func TestClosed(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s, provisioning)
	p := must(a.auth.Principal(a.ann(key)))
	if err := a.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.auth.Principal(key.token(a.claims(with("exp", 1), without("iat", "nbf")))); err == nil {
		t.Error("an old token is accepted when there is no clock")
	}
	if err := p.(interface {
		Confirm(context.Context, *engine.DB) error
	}).Confirm(context.Background(), a.db); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("confirmed with %v", err)
	}
}
