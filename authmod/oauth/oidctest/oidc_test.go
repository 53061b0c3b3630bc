package oidctest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
	"github.com/mimosadb/mimosa/authmod/oauth/oidctest"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/triggers"
)

type User struct {
	authmod.UserFields
	Nickname string `json:"nickname"`
}

type Seat struct {
	User   engine.ID[User] `json:"user"`
	Course string          `json:"course"`
}

type Form struct {
	Nickname string `json:"nickname" jsonschema:"minLength=2"`
	Course   string `json:"course"`
}

const site = "https://app.example.com"

// school is a program with the provider, both served over HTTP on addresses of their own.
type school struct {
	t        *testing.T
	url      string
	issuer   string
	provider atomic.Pointer[http.Handler] // what serves the issuer's address
	client   oidctest.Client
	log      *lines
}

var (
	ada = oidctest.Person{
		Subject: "sub-ada", Username: "ada", Password: "analytical", FirstName: "Ada", LastName: "Lovelace",
		Email: "Ada@Example.com", EmailVerified: true,
	}
	eve = oidctest.Person{Subject: "sub-eve", Username: "eve", Password: "eavesdrop", Email: "ada@example.com"}
)

func setup(t *testing.T, secret string, change ...func(*oauth.Options)) *school {
	t.Helper()
	a := &school{t: t, log: &lines{}}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*a.provider.Load()).ServeHTTP(w, r) }))
	t.Cleanup(provider.Close)
	var handler http.Handler
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(program.Close)
	a.url, a.issuer = program.URL, provider.URL
	a.client = oidctest.Client{ID: "school", Secret: secret, Callbacks: []string{a.url + "/api/auth/login/callback"}}
	a.restart()

	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	seats := engine.Define[Seat](s, "seats")
	o := oauth.Options{
		ClientID: "school", ClientSecret: secret,
		Profile: oauth.NewProfile(func(who oauth.Person, f Form) (User, error) {
			return User{UserFields: authmod.UserFields{Email: who.Email, Name: who.Name}, Nickname: f.Nickname}, nil
		}),
	}
	for _, c := range change {
		c(&o)
	}
	auth := authmod.New(s, users, authmod.Options{
		BaseURL: a.url, SiteURL: site, Modules: []authmod.Module{oauth.OIDC("login", a.issuer, o)},
	})
	triggers.OnCreate(users, "enrol", func(tx *engine.Tx, u *engine.Doc[User]) error {
		f, err := authmod.Params[Form](tx)
		if err != nil {
			return err
		}
		_, err = seats.Insert(tx, Seat{u.ID, f.Course})
		return err
	})
	type none struct{}
	type whoami struct {
		User    User     `json:"user"`
		Courses []string `json:"courses"`
		Users   int      `json:"users"`
	}
	engine.Query(s, "users:me", func(tx *engine.ReadTx, _ none) (out whoami, err error) {
		id, err := authmod.UserID(tx, users)
		if err != nil {
			return out, err
		}
		u, err := users.Get(tx, id)
		if err != nil {
			return out, err
		}
		out.User, out.Courses = u.Value, []string{}
		for seat, err := range seats.All(tx).Docs() {
			if err != nil {
				return out, err
			}
			if seat.Value.User == id {
				out.Courses = append(out.Courses, seat.Value.Course)
			}
		}
		out.Users, err = users.All(tx).Count()
		return out, err
	})
	db := enginetest.Open(t, s, func(o *engine.Options) { o.Logger = slog.New(slog.NewTextHandler(a.log, nil)) })
	server := subscriptions.New(db, subscriptions.Options{Authenticator: auth})
	t.Cleanup(func() { _ = server.Close() })
	mux := http.NewServeMux()
	mux.Handle("/api/", server)
	mux.Handle("/api/auth/", auth.Handler())
	handler = mux
	return a
}

// restart gives the provider a new beginning, with another signing key.
func (a *school) restart() {
	a.t.Helper()
	h, err := oidctest.Handler(a.issuer, a.client, ada, eve)
	if err != nil {
		a.t.Fatal(err)
	}
	a.provider.Store(&h)
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// browser keeps cookies, fills in forms, and stops at the site's pages.
type browser struct {
	school   *school
	http     *http.Client
	verifier string
	token    string
}

func (a *school) browser() *browser {
	a.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return &browser{school: a, http: &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), site) {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// call is a call of the program, as the client library makes it.
func (b *browser) call(kind, function string, args any) (value json.RawMessage, failure string) {
	t := b.school.t
	t.Helper()
	body, err := json.Marshal(map[string]any{"path": function, "format": "convex_encoded_json", "args": []any{args}})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, b.school.url+"/api/"+kind, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if b.token != "" {
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	res, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Value     json.RawMessage
		ErrorData struct{ Code string }
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%s: %s", res.Status, raw)
	}
	return out.Value, out.ErrorData.Code
}

func (b *browser) start(params map[string]any) string {
	b.school.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	value, failed := b.call("action", "auth:signIn", map[string]any{"provider": "login", "params": params})
	var out struct{ Redirect, Verifier string }
	if err := json.Unmarshal(value, &out); err != nil || out.Redirect == "" {
		b.school.t.Fatalf("start: %s %s\n%s", value, failed, b.school.log)
	}
	b.verifier = out.Verifier
	return out.Redirect
}

var hidden = regexp.MustCompile(`name="id" value="([^"]+)"`)

// arrive goes to an address and signs in at the provider's page, with each password in turn, and returns the site's page.
func (b *browser) arrive(address, username string, passwords ...string) *url.URL {
	t := b.school.t
	t.Helper()
	res, err := b.http.Get(address)
	for n := 0; ; n++ {
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if to, err := res.Location(); err == nil {
			return to
		}
		id := hidden.FindSubmatch(body)
		if id == nil || n == len(passwords) {
			t.Fatalf("no way on at %s: %s %s", res.Request.URL, res.Status, body)
		}
		res, err = b.http.PostForm(b.school.issuer+"/login/username", url.Values{
			"id": {string(id[1])}, "username": {username}, "password": {passwords[n]},
		})
	}
}

func (b *browser) redeem(code string) (failure string) {
	b.school.t.Helper()
	value, failure := b.call("action", "auth:signIn", map[string]any{"params": map[string]any{"code": code}, "verifier": b.verifier})
	var out struct{ Tokens struct{ Token string } }
	if failure == "" {
		if err := json.Unmarshal(value, &out); err != nil || out.Tokens.Token == "" {
			b.school.t.Fatalf("redeem: %s %v", value, err)
		}
		b.token = out.Tokens.Token
	}
	return failure
}

func (b *browser) signIn(p oidctest.Person, params map[string]any) *browser {
	b.school.t.Helper()
	page := b.arrive(b.start(params), p.Username, p.Password)
	if failed := b.redeem(page.Query().Get("code")); failed != "" {
		b.school.t.Fatalf("%s at %s\n%s", failed, page, b.school.log)
	}
	return b
}

func (b *browser) me() string {
	b.school.t.Helper()
	value, failed := b.call("query", "users:me", map[string]any{})
	return string(value) + failed
}

var enrol = map[string]any{"nickname": "ada", "course": "engines", "redirectTo": "/welcome?x=1"}

// Sign-up with a form, coming back, and everything that the provider says about the person: in the ID token, or, where that
// does not say the address, in the user info.
func TestSignUpAndSignIn(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{"with a secret": "a secret of the program's", "by PKCE alone": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup(t, secret)
			b := a.browser()
			page := b.arrive(b.start(enrol), ada.Username, "wrong", ada.Password)
			code := page.Query().Get("code")
			if page.Path != "/welcome" || page.Query().Get("x") != "1" || code == "" {
				t.Fatalf("came to %s\n%s", page, a.log)
			}
			if failed := b.redeem(code); failed != "" {
				t.Fatalf("%s\n%s", failed, a.log)
			}
			const want = `{"courses":["engines"],"user":{"email":"ada@example.com","emailVerified":true,"name":"Ada Lovelace","nickname":"ada"},"users":1}`
			if got := b.me(); !same(t, got, want) {
				t.Errorf("signed up as %s", got)
			}
			if got := a.browser().signIn(ada, nil).me(); !same(t, got, want) {
				t.Errorf("signed in as %s", got)
			}
			// Somebody else who says that this is their address, which the provider has not verified.
			got := a.browser().signIn(eve, map[string]any{"nickname": "eve", "course": "codes"}).me()
			if !same(t, got, `{"courses":["codes"],"user":{"email":"ada@example.com","nickname":"eve"},"users":2}`) {
				t.Errorf("somebody else is %s", got)
			}
			if again := a.browser(); again.redeem(code) == "" {
				t.Error("a code is good twice")
			}
		})
	}
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	norm := func(s string) string {
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			return s
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	return norm(a) == norm(b)
}

// A provider that signs with another key from now on.
func TestNewSigningKey(t *testing.T) {
	t.Parallel()
	a := setup(t, "secret")
	a.browser().signIn(ada, enrol)
	a.restart()
	if got := a.browser().signIn(ada, nil).me(); !strings.Contains(got, "Lovelace") {
		t.Errorf("signed in as %s", got)
	}
}

// The provider binds its code to the sign-in that it was made for, so one that was stolen is of no use in another.
func TestStolenCode(t *testing.T) {
	t.Parallel()
	a := setup(t, "secret")
	victim, attacker := a.browser(), a.browser()
	stop := victim.http.CheckRedirect
	var answer *url.URL
	victim.http.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), a.url) {
			answer = r.URL
			return http.ErrUseLastResponse
		}
		return stop(r, via)
	}
	victim.arrive(victim.start(enrol), ada.Username, ada.Password)
	begun, err := url.Parse(attacker.start(enrol))
	if err != nil {
		t.Fatal(err)
	}
	q := url.Values{"code": answer.Query()["code"], "state": begun.Query()["state"]}
	if q.Get("code") == "" || q.Get("state") == "" {
		t.Fatalf("answer %s, begun %s", answer, begun)
	}
	page := attacker.arrive(a.url+"/api/auth/login/callback?"+q.Encode(), "")
	if page.String() != site+"/welcome?x=1&error=provider_failed" {
		t.Errorf("came to %s", page)
	}
	if !strings.Contains(a.log.String(), "invalid_grant") || strings.Contains(a.log.String(), q.Get("code")) {
		t.Errorf("log %s", a.log)
	}
}

// What the provider itself says went wrong is passed on.
func TestProvidersRefusal(t *testing.T) {
	t.Parallel()
	a := setup(t, "secret", func(o *oauth.Options) { o.AuthParams = map[string]string{"prompt": "none"} })
	b := a.browser()
	if page := b.arrive(b.start(enrol), ""); page.Query().Get("error") != "login_required" {
		t.Errorf("came to %s", page)
	}
}

// A wrong secret signs nobody in, and is in no log.
func TestWrongClientSecret(t *testing.T) {
	t.Parallel()
	a := setup(t, "the right one", func(o *oauth.Options) { o.ClientSecret = "quite another one" })
	b := a.browser()
	if page := b.arrive(b.start(enrol), ada.Username, ada.Password); page.Query().Get("error") != "provider_failed" {
		t.Errorf("came to %s", page)
	}
	if log := a.log.String(); strings.Contains(log, "quite another one") || !strings.Contains(log, "invalid_client") {
		t.Errorf("log %s", log)
	}
}
