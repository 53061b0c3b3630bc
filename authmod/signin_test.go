package authmod_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

func TestSignUpMakesEverything(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs(" Ada@Example.COM "))
	if got := a.me(d.principal); got != "Ada" {
		t.Errorf("the connection runs as %q after its sign-up", got)
	}
	if got := a.me(a.principal(d.token)); got != "Ada" {
		t.Errorf("the token stands for %q", got)
	}
	for name, want := range map[string]int{
		"users": 1, "enrolments": 1, "authAccounts": 1, "authSessions": 1, "authRefreshTokens": 1,
	} {
		if got := a.count(name); got != want {
			t.Errorf("%s: %d documents, want %d", name, got, want)
		}
	}
	err := a.db.View(context.Background(), func(tx *engine.ReadTx) error {
		u, err := a.users.All(tx).First()
		if err != nil {
			return err
		}
		if u.Value.Email != "ada@example.com" || u.Value.Role != "student" {
			t.Errorf("user is %+v", u.Value)
		}
		e, err := a.enrolments.All(tx).First()
		if err != nil {
			return err
		}
		if e.Value != (Enrolment{User: u.ID, Course: "go"}) {
			t.Errorf("the trigger wrote %+v for user %s", e.Value, u.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A trigger's failure leaves nothing of the sign-up behind, down to the last byte of the store.
func TestFailingTriggerLeavesNoTrace(t *testing.T) {
	t.Parallel()
	a := setup(t)
	a.device().must(signUpArgs("first@example.com"))
	before := a.dump()
	d := a.device()
	_, err := d.call(params("signUp", map[string]any{
		"email": "second@example.com", "password": secret, "nickname": "Bob", "course": "unknown",
	}))
	if err == nil || err.Code != "no_such_course" || err.Message != "there is no such course" {
		t.Fatalf("the client got %+v, want the trigger's own error", err)
	}
	if data, _ := json.Marshal(err.Data); string(data) != `{"course":"unknown"}` {
		t.Errorf("its data came as %s", data)
	}
	if d.principal != nil {
		t.Error("the connection has become somebody")
	}
	if after := a.dump(); after != before {
		t.Errorf("the store has changed:\n%s\nwas\n%s", after, before)
	}
	a.device().must(signUpArgs("second@example.com")) // and nothing is in the way of another try
}

func TestOnCreateFiresOnce(t *testing.T) {
	t.Parallel()
	a := setup(t)
	a.device().must(signUpArgs("ada@example.com"))
	for range 3 {
		a.device().must(signInArgs("Ada@example.com", secret))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.created) != 1 {
		t.Fatalf("OnCreate fired %d times", len(a.created))
	}
	in := a.created[0]
	if in.Provider != "password" || in.Flow != "signUp" || !in.NewUser || in.User != "" {
		t.Errorf("it saw %+v", in)
	}
	if n := a.count("authSessions"); n != 4 {
		t.Errorf("%d sessions, want one a sign-in", n)
	}
}

func TestParamsWithoutSecrets(t *testing.T) {
	t.Parallel()
	var got map[string]any
	a := setup(t, func(s *settings) {
		s.onCreate = func(tx *engine.Tx, _ *engine.Doc[User]) (err error) {
			got, err = authmod.Params[map[string]any](tx)
			return err
		}
	})
	a.device().must(params("signUp", map[string]any{
		"email": "ADA@example.com", "password": secret, "nickname": "Ada", "course": "go",
		"newPassword": "n", "code": "c", "redirectTo": "/", "refreshToken": "r",
	}))
	want := map[string]any{"email": "ada@example.com", "nickname": "Ada", "course": "go"}
	if len(got) != len(want) {
		t.Fatalf("triggers got %v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
}

func TestOutsideOfASignIn(t *testing.T) {
	t.Parallel()
	a := setup(t)
	err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
		if in := authmod.SignIn(tx); in != nil {
			t.Errorf("SignIn is %+v", in)
		}
		_, err := authmod.Params[SignUp](tx)
		return err
	})
	if !errors.Is(err, authmod.ErrNoSignIn) {
		t.Errorf("Params: %v", err)
	}
}

func TestIssuesComeTogether(t *testing.T) {
	t.Parallel()
	a := setup(t)
	before := a.dump()
	_, err := a.device().call(params("signUp", map[string]any{
		"email": "not an address", "password": "short", "nickname": "A", "course": 7, "admin": true,
	}))
	if err == nil || err.Code != engine.CodeInvalid {
		t.Fatalf("got %+v", err)
	}
	want := []string{"admin additionalProperties", "course type", "email format", "nickname minLength", "password minLength"}
	var got []string
	for _, i := range err.Issues {
		got = append(got, i.Path+" "+i.Rule)
		if i.Message == "" {
			t.Errorf("%s has no message", i.Path)
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("issues %v, want %v", got, want)
	}
	if a.dump() != before {
		t.Error("the store has changed")
	}
}

// The profile's result is held against the schema of the collection, with the form's paths.
func TestSchemaIssuesComeToo(t *testing.T) {
	t.Parallel()
	type form struct {
		Email    string `json:"email"`
		Nickname string `json:"nickname"`
	}
	a := setup(t, func(s *settings) {
		s.password.Profile = authmod.NewProfile(func(p form) (User, error) {
			return User{UserFields: authmod.UserFields{Email: p.Email}, Nickname: p.Nickname}, nil
		})
	})
	_, err := a.device().call(params("signUp", map[string]any{"email": "a@b.example", "password": "short", "nickname": "A"}))
	if err == nil || len(err.Issues) != 2 || err.Issues[0].Path != "nickname" || err.Issues[1].Path != "password" {
		t.Errorf("got %+v", err)
	}
}

// What the profile's type says about the address, and what the module does, is one issue.
func TestOneIssueAField(t *testing.T) {
	t.Parallel()
	type form struct {
		Email string `json:"email" jsonschema:"format=email"`
	}
	a := setup(t, func(s *settings) {
		s.password.Profile = authmod.NewProfile(func(p form) (User, error) {
			return User{UserFields: authmod.UserFields{Email: p.Email}, Nickname: "Ada"}, nil
		})
	})
	for _, email := range []any{"", "a@b", 7, nil} {
		_, err := a.device().call(params("signUp", map[string]any{"email": email, "password": secret}))
		if err == nil || len(err.Issues) != 1 || err.Issues[0].Path != "email" {
			t.Errorf("%v: %+v", email, err)
		}
	}
}

func TestTakenAddress(t *testing.T) {
	t.Parallel()
	a := setup(t)
	a.device().must(signUpArgs("ada@example.com"))
	before := a.dump()
	d := a.device()
	_, err := d.call(signUpArgs("ADA@example.com "))
	if err == nil || err.Code != engine.CodeAlreadyExists || len(err.Issues) != 1 || err.Issues[0].Path != "email" {
		t.Errorf("got %+v", err)
	}
	if d.principal != nil {
		t.Error("it signed in")
	}
	if a.dump() != before {
		t.Error("the store has changed")
	}
}

func TestParallelSignUpsOfOneAddress(t *testing.T) {
	t.Parallel()
	a := setup(t, func(s *settings) { s.password.MaxFailures = -1 })
	const n = 20
	errs := make([]*engine.Error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _, errs[i] = a.device().call(signUpArgs("ada@example.com")) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case err.Code != engine.CodeAlreadyExists:
			t.Errorf("a loser got %+v", err)
		}
	}
	if won != 1 || a.count("users") != 1 || a.count("authAccounts") != 1 || a.count("authSessions") != 1 || a.count("enrolments") != 1 {
		t.Errorf("%d won; %d users, %d accounts, %d sessions, %d enrolments", won, a.count("users"), a.count("authAccounts"),
			a.count("authSessions"), a.count("enrolments"))
	}
}

func TestSecondSignInReplacesTheSession(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	first, firstRefresh := a.principal(d.token), d.refresh
	other := a.device().must(signInArgs("ada@example.com", secret))
	d.must(params("signUp", map[string]any{"email": "bob@example.com", "password": secret, "nickname": "Bob", "course": "go"}))
	if got := a.me(d.principal); got != "Bob" {
		t.Errorf("the connection runs as %q", got)
	}
	if got := a.me(first); got != "" {
		t.Errorf("the replaced session still runs as %q", got)
	}
	if a.refreshWith(firstRefresh) != "" {
		t.Error("the replaced session's refresh token is still good")
	}
	if got := a.me(other.principal); got != "Ada" {
		t.Errorf("another device's session runs as %q", got)
	}
}

func TestFailedSignInKeepsTheSession(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	before := a.dump()
	for _, args := range []string{
		signInArgs("ada@example.com", "wrong password"),
		`{"refreshToken":"stolen or made up"}`,
		`{"refreshToken":"` + strings.Repeat("A", 64) + `"}`,
		`{"params":{"code":"123"}}`,
		`{}`,
	} {
		_, _ = d.call(args)
	}
	if got := a.me(d.principal); got != "Ada" {
		t.Errorf("the connection runs as %q", got)
	}
	if a.dump() != before {
		t.Error("the store has changed")
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	other := a.device().must(signInArgs("ada@example.com", secret))
	was, refresh := d.principal, d.refresh
	touched := a.watchMe(was)
	untouched := a.watchMe(other.principal)
	d.signOut()
	if d.principal != nil {
		t.Error("the connection still runs as somebody")
	}
	if got := a.me(was); got != "" {
		t.Errorf("the session still runs as %q", got)
	}
	if !touched() {
		t.Error("the live queries of the session were not touched")
	}
	if untouched() {
		t.Error("those of another session were")
	}
	if a.refreshWith(refresh) != "" {
		t.Error("its refresh token is still good")
	}
	if n := a.count("authRefreshTokens"); n != 1 {
		t.Errorf("%d refresh tokens are left, want the other session's", n)
	}
	d.signOut() // nobody: no error
	a.device().must(signInArgs("ada@example.com", secret))
}

// watchMe evaluates users:me as a live query; the result says whether a commit has touched what it read. Watches are told
// before a mutation is answered.
func (a *app) watchMe(p engine.Principal) (touched func() bool) {
	a.t.Helper()
	e, err := a.db.Evaluate(context.Background(), a.db.Published(), engine.Call{Function: "users:me", Principal: p})
	if err != nil {
		a.t.Fatal(err)
	}
	if !e.ReadIdentity || e.Volatile {
		a.t.Errorf("the evaluation read the identity: %v, depends on the time: %v", e.ReadIdentity, e.Volatile)
	}
	var mu sync.Mutex
	fired := false
	w := a.db.Watch(e, func() { mu.Lock(); fired = true; mu.Unlock() })
	a.t.Cleanup(w.Stop)
	return func() bool { mu.Lock(); defer mu.Unlock(); return fired }
}

// A client that was offline when its user signed out has only the refresh token to say so with, perhaps an old one.
func TestSignOutByRefreshToken(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	other := a.device().must(signInArgs("ada@example.com", secret))
	out := func(p engine.Principal, token string) *engine.Result {
		t.Helper()
		args, err := json.Marshal(map[string]string{"refreshToken": token})
		if err != nil {
			t.Fatal(err)
		}
		res, err := a.db.RunAction(context.Background(), engine.Call{Function: "auth:signOut", Args: args, Principal: p})
		if err != nil || string(res.Value) != "null" {
			t.Fatalf("auth:signOut: %s, %v", res.Value, err)
		}
		return res
	}
	before := a.dump()
	for _, useless := range []string{"", "x", strings.Repeat("A", 64)} {
		if out(d.principal, useless).PrincipalSet {
			t.Error("a useless token signs the caller out")
		}
	}
	if a.dump() != before {
		t.Error("a useless token has changed something")
	}
	old := d.refresh
	newest := a.refreshWith(a.refreshWith(old))
	a.clock.advance(time.Hour) // the access token is over
	if out(other.principal, old).PrincipalSet {
		t.Error("another session's end signs the caller out")
	}
	if a.me(d.principal) != "" || a.refreshWith(newest) != "" {
		t.Error("the session goes on")
	}
	if a.me(other.principal) != "Ada" || a.count("authRefreshTokens") != 1 {
		t.Error("the other has not been left alone")
	}
	out(nil, old) // again
	if !out(other.principal, other.refresh).PrincipalSet || a.me(other.principal) != "" {
		t.Error("the caller's own token does not sign the caller out")
	}
}

func TestDeletedUser(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	touched := a.watchMe(d.principal)
	err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
		u, err := a.users.All(tx).First()
		if err != nil {
			return err
		}
		return a.users.Delete(tx, u.ID)
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.me(d.principal) != "" || !touched() {
		t.Error("a deleted user goes on")
	}
	if a.refreshWith(d.refresh) != "" {
		t.Error("and gets new tokens")
	}
	if _, err := a.device().call(signInArgs("ada@example.com", secret)); err == nil || err.Code != engine.CodeUnauthenticated {
		t.Errorf("and signs in: %v", err)
	}
	for _, name := range []string{"authAccounts", "authSessions", "authRefreshTokens"} {
		if n := a.count(name); n != 0 {
			t.Errorf("%d documents left in %s", n, name)
		}
	}
	a.device().must(signUpArgs("ada@example.com"))
}

func TestOnSignIn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []authmod.SignInInfo
	refuse := false
	a := setup(t, func(s *settings) {
		s.auth.OnSignIn = func(_ *engine.Tx, in *authmod.SignInInfo) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, *in)
			if refuse {
				return engine.Errorf(engine.CodeForbidden, "banned")
			}
			return nil
		}
	})
	d := a.device().must(signUpArgs("ada@example.com")).must(signInArgs("ada@example.com", secret))
	a.refreshWith(d.refresh)
	mu.Lock()
	if len(seen) != 2 || !seen[0].NewUser || seen[1].NewUser || seen[0].User == "" || seen[0].User != seen[1].User {
		t.Errorf("OnSignIn saw %+v", seen)
	}
	refuse = true
	mu.Unlock()
	before := a.dump()
	if _, err := d.call(signInArgs("ada@example.com", secret)); err == nil || err.Code != engine.CodeForbidden {
		t.Errorf("a refused sign-in got %v", err)
	}
	if a.dump() != before || a.me(d.principal) != "Ada" {
		t.Error("a refused sign-in has changed something")
	}
}

func TestIsAuthenticated(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device()
	for _, want := range []string{"false", "true", "false"} {
		res, err := a.db.RunQuery(context.Background(), engine.Call{Function: "auth:isAuthenticated", Principal: d.principal})
		if err != nil || string(res.Value) != want {
			t.Errorf("got %s, %v, want %s", res.Value, err, want)
		}
		if want == "false" {
			d.must(signUpArgs("ada" + string(rune('a'+a.count("users"))) + "@example.com"))
		} else {
			d.signOut()
		}
	}
}

func TestNoSecretsAtRestOrInTheLog(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	first := d.refresh
	second := a.refreshWith(first)
	a.device().call(signInArgs("ada@example.com", "wrong password"))
	a.refreshWith(first[:len(first)-2] + "AA")
	everything := a.dump() + a.log.String()
	for what, s := range map[string]string{
		"password": secret, "wrong password": "wrong password", "refresh token": first, "its successor": second,
		"part of the token": first[24:], "access token": d.token,
	} {
		if strings.Contains(everything, s) {
			t.Errorf("the %s is stored or logged", what)
		}
	}
	if !strings.Contains(a.log.String(), "refresh token refused") {
		t.Error("a refused refresh is not logged")
	}
}

func TestInternalFunctionsAreOutOfReach(t *testing.T) {
	t.Parallel()
	a := setup(t)
	public := []string{
		"auth:signIn", "auth:signOut", "auth:isAuthenticated", "auth:sessions", "auth:revokeSession", "auth:revokeOtherSessions",
		"auth:accounts", "auth:unlink",
	}
	for _, f := range a.db.Functions() {
		if strings.HasPrefix(f.Name, "auth:") && f.Internal == slices.Contains(public, f.Name) {
			t.Errorf("%s: internal is %v", f.Name, f.Internal)
		}
	}
}
