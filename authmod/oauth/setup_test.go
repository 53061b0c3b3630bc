package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

type User struct {
	authmod.UserFields
	Nickname string `json:"nickname,omitempty"`
	Login    string `json:"login,omitempty"`
}

type SignUp struct {
	Nickname string `json:"nickname" jsonschema:"minLength=2,maxLength=20"`
	Course   string `json:"course"`
}

// site is where pages are; nothing is served there, since what matters is where people are sent.
const site = "https://app.example.com"

// app is a program with providers, served over HTTP.
type app struct {
	t     *testing.T
	db    *engine.DB
	store storage.Store
	auth  *authmod.Auth
	users *engine.Collection[User]
	url   string // of the program
	clock *clock
	log   *syncBuffer

	mu      sync.Mutex
	created []created // guarded by mu
	flows   []string  // guarded by mu; of the sign-ins that made accounts
}

// created is what a trigger saw of a user who was created.
type created struct {
	in     authmod.SignInInfo
	params map[string]any
	user   User
}

type settings struct {
	auth     authmod.Options
	modules  []authmod.Module
	onCreate func(tx *engine.Tx, u *engine.Doc[User]) error
}

func setup(t *testing.T, s settings) *app {
	t.Helper()
	a := &app{t: t, clock: &clock{at: time.Now()}, log: &syncBuffer{}}
	var handler http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	a.url = srv.URL
	schema := engine.NewSchema()
	a.users = engine.Define[User](schema, "users")
	s.auth.Modules = append(s.auth.Modules, s.modules...)
	s.auth.BaseURL, s.auth.SiteURL = srv.URL, site
	a.auth = authmod.New(schema, a.users, s.auth)
	handler = a.auth.Handler()
	triggers.OnCreate(a.users, "note", func(tx *engine.Tx, u *engine.Doc[User]) error {
		if s.onCreate != nil {
			if err := s.onCreate(tx, u); err != nil {
				return err
			}
		}
		in := authmod.SignIn(tx)
		if in == nil {
			return nil
		}
		p, err := authmod.Params[map[string]any](tx)
		if err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.created = append(a.created, created{*in, p, u.Value})
		return nil
	})
	triggers.OnCreate(a.auth.Accounts(), "flow", func(tx *engine.Tx, _ *engine.Doc[authmod.Account]) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.flows = append(a.flows, authmod.SignIn(tx).Flow)
		return nil
	})
	a.db = enginetest.Open(t, schema, func(o *engine.Options) {
		o.Clock = a.clock.now
		o.Store = memstore.New(memstore.Options{Clock: a.clock.now})
		a.store = o.Store
		o.Logger = slog.New(slog.NewTextHandler(a.log, nil))
	})
	return a
}

// clock stands still between advances.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

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

// browser is one person's: it keeps cookies, the page's verifier, and who its connection runs as.
type browser struct {
	app       *app
	http      *http.Client
	verifier  string
	principal engine.Principal
	remote    netip.Addr
}

// browser makes one. Requests for hosts that map names go to other addresses, as a hosts file would have it.
func (a *app) browser(names map[string]string) *browser {
	a.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	b := &browser{app: a}
	b.http = &http.Client{Jar: jar, Transport: elsewhere(names)}
	b.http.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.Scheme, "http") || strings.HasSuffix(r.URL.Host, "example.com") {
			return http.ErrUseLastResponse // it has arrived at a page
		}
		return nil
	}
	return b
}

// elsewhere sends requests for some hosts to other addresses.
type elsewhere map[string]string

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if to, ok := e[r.URL.Host]; ok {
		r = r.Clone(r.Context())
		r.Host = r.URL.Host
		u, err := url.Parse(to)
		if err != nil {
			return nil, err
		}
		r.URL.Scheme, r.URL.Host = u.Scheme, u.Host
	}
	return http.DefaultTransport.RoundTrip(r)
}

type answer struct {
	Redirect string `json:"redirect"`
	Verifier string `json:"verifier"`
	Linked   bool   `json:"linked"`
	Tokens   *struct {
		Token        string `json:"token"`
		RefreshToken string `json:"refreshToken"`
	} `json:"tokens"`
	raw string
}

func quoted(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// call is one auth:signIn of the page.
func (b *browser) call(args string) (answer, *engine.Error) {
	b.app.t.Helper()
	res, err := b.app.db.RunAction(context.Background(), engine.Call{
		Function: "auth:signIn", Args: json.RawMessage(args), Principal: b.principal, Remote: b.remote,
	})
	if err != nil {
		var e *engine.Error
		if !errors.As(err, &e) {
			b.app.t.Fatalf("auth:signIn failed with %T: %v", err, err)
		}
		return answer{}, e
	}
	if res.PrincipalSet {
		b.principal = res.Principal
	}
	out := answer{raw: string(res.Value)}
	if err := json.Unmarshal(res.Value, &out); err != nil {
		b.app.t.Fatalf("answer %s: %v", res.Value, err)
	}
	if out.Verifier != "" {
		b.verifier = out.Verifier
	}
	return out, nil
}

// start begins a sign-in, and returns the address that the browser is sent to.
func (b *browser) start(provider string, params map[string]any) string {
	b.app.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	out, err := b.call(quoted(map[string]any{"provider": provider, "params": params}))
	if err != nil {
		b.app.t.Fatalf("start: %s %v", err.Code, err)
	}
	if out.Redirect == "" || out.Verifier == "" {
		b.app.t.Fatalf("start answered %s", out.raw)
	}
	return out.Redirect
}

// visit follows an address to a page, and returns the page's address.
func (b *browser) visit(address string) *url.URL {
	b.app.t.Helper()
	res, err := b.http.Get(address)
	if err != nil {
		b.app.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	at, err := res.Location()
	if err != nil {
		b.app.t.Fatalf("no way to a page: %s at %s: %.500s", res.Status, res.Request.URL, body)
	}
	return at
}

// redeem sends the code in a page's address, as the page does when it is loaded.
func (b *browser) redeem(code string) (answer, *engine.Error) {
	b.app.t.Helper()
	args := map[string]any{"params": map[string]any{"code": code}}
	if b.verifier != "" {
		args["verifier"] = b.verifier
	}
	return b.call(quoted(args))
}

// signIn goes the whole way, and fails the test where it does not end with tokens.
func (b *browser) signIn(provider string, params map[string]any) *browser {
	b.app.t.Helper()
	page := b.visit(b.start(provider, params))
	code := page.Query().Get("code")
	if code == "" {
		b.app.t.Fatalf("came back to %s\n%s", page, b.app.log)
	}
	out, err := b.redeem(code)
	if err != nil {
		b.app.t.Fatalf("redeem: %s %v\n%s", err.Code, err, b.app.log)
	}
	if out.Tokens == nil {
		b.app.t.Fatalf("redeem answered %s", out.raw)
	}
	return b
}

// me is the user whom the browser runs as, nil for nobody.
func (b *browser) me() (me *engine.Doc[User]) {
	b.app.t.Helper()
	err := b.app.db.View(context.Background(), func(tx *engine.ReadTx) error {
		me = nil
		if b.principal == nil {
			return nil
		}
		who, err := b.principal.Resolve(tx)
		if err != nil || who == nil {
			return err
		}
		me, err = b.app.users.Get(tx, engine.ID[User](who.User))
		return err
	})
	if err != nil {
		b.app.t.Fatal(err)
	}
	return me
}

func (a *app) userCount() (n int) {
	a.t.Helper()
	err := a.db.View(context.Background(), func(tx *engine.ReadTx) (err error) {
		n, err = a.users.All(tx).Count()
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// accounts lists them as "provider id user".
func (a *app) accounts() (out []string) {
	a.t.Helper()
	err := a.db.View(context.Background(), func(tx *engine.ReadTx) error {
		out = nil
		for d, err := range a.auth.Accounts().All(tx).Docs() {
			if err != nil {
				return err
			}
			out = append(out, d.Value.Provider+" "+d.Value.ProviderAccountID+" "+d.Value.User)
		}
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// dump gives everything that the store holds.
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

// invalidCode is the one answer to codes that are good for nothing.
func invalidCode(err *engine.Error) bool {
	return err != nil && err.Code == engine.CodeInvalid && len(err.Issues) == 1 && err.Issues[0].Path == "code" &&
		err.Issues[0].Rule == "code"
}

// options are those of a provider in a test.
func options(change ...func(*oauth.Options)) oauth.Options {
	o := oauth.Options{ClientID: clientID, ClientSecret: clientSecret}
	for _, c := range change {
		c(&o)
	}
	return o
}

const (
	clientID     = "client-1"
	clientSecret = "the-client-secret-of-the-program"
)
