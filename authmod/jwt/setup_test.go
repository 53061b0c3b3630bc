package jwt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/jwt"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

type User struct {
	authmod.UserFields
	Role string `json:"role"`
}

// service is one that signs tokens and publishes its keys, over HTTP.
type service struct {
	t   testing.TB
	web *httptest.Server

	mu      sync.Mutex
	keys    []any         // guarded by mu; published, as JSON
	fetches int           // guarded by mu; of the keys
	asked   int           // guarded by mu; of the discovery document
	answer  http.Handler  // guarded by mu; in place of the keys
	gate    chan struct{} // guarded by mu; what fetches wait for, if anything
	waiting chan struct{} // one value for each that waits there
}

func newService(t testing.TB) *service {
	s := &service{t: t, waiting: make(chan struct{}, 1000)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		s.asked++
		s.mu.Unlock()
		reply(w, map[string]string{"issuer": s.web.URL, "jwks_uri": s.web.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.fetches++
		answer, keys, gate := s.answer, s.keys, s.gate
		s.mu.Unlock()
		if gate != nil {
			s.waiting <- struct{}{}
			<-gate
		}
		if answer != nil {
			answer.ServeHTTP(w, r)
			return
		}
		reply(w, map[string]any{"keys": keys})
	})
	s.web = httptest.NewServer(mux)
	t.Cleanup(s.web.Close)
	return s
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *service) publish(keys ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// answers makes the address of the keys answer otherwise; nil ends that.
func (s *service) answers(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer = nil; h != nil {
		s.answer = h
	}
}

func (s *service) fetched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// signer is a key pair of the service.
type signer struct {
	kid, alg string
	private  crypto.Signer
}

// The key pairs of the tests; RSA's take long to make.
var signers = sync.OnceValue(func() map[string]signer {
	out := map[string]signer{}
	for _, id := range []string{"rsa", "rsa2"} {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		out[id] = signer{id, "RS256", must(k, err)}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	out["small"] = signer{"small", "RS256", must(small, err)}
	for id, c := range map[string]elliptic.Curve{"ec": elliptic.P256(), "ec2": elliptic.P256(), "ec3": elliptic.P256(), "ec384": elliptic.P384()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		out[id] = signer{id, "ES256", must(k, err)}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	out["ed"] = signer{"ed", "EdDSA", must(ed, err)}
	return out
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// jwk is the public half as the service publishes it; change changes it.
func (k signer) jwk(change ...func(map[string]any)) map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	out := map[string]any{"kid": k.kid, "use": "sig", "alg": k.alg}
	switch p := k.private.Public().(type) {
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point := must(p.Bytes())
		half := (len(point) - 1) / 2
		out["kty"], out["crv"], out["x"], out["y"] = "EC", p.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", b64(p)
	}
	for _, c := range change {
		c(out)
	}
	return out
}

func without(names ...string) func(map[string]any) {
	return func(m map[string]any) {
		for _, n := range names {
			delete(m, n)
		}
	}
}

func with(name string, v any) func(map[string]any) {
	return func(m map[string]any) { m[name] = v }
}

// token signs one by the key's algorithm.
func (k signer) token(claims map[string]any, header ...func(map[string]any)) string {
	t := gojwt.NewWithClaims(gojwt.GetSigningMethod(k.alg), gojwt.MapClaims(claims))
	t.Header["kid"] = k.kid
	for _, h := range header {
		h(t.Header)
	}
	return must(t.SignedString(k.private))
}

// app is a program that accepts the service's tokens.
type app struct {
	t       testing.TB
	service *service
	module  *jwt.Module
	auth    *authmod.Auth
	users   *engine.Collection[User]
	db      *engine.DB
	clock   *clock
	log     *log

	mu      sync.Mutex
	created []map[string]any // guarded by mu; the claims that OnCreate of users found; nil outside of a sign-in
}

type settings struct {
	options  jwt.Options
	onCreate func(tx *engine.Tx, u *engine.Doc[User]) error
	more     []authmod.Module
}

const audience = "school"

func setup(t testing.TB, s *service, change ...func(*settings)) *app {
	t.Helper()
	set := settings{options: jwt.Options{Issuer: s.web.URL, JWKS: s.web.URL + "/keys", Audience: []string{audience}}}
	for _, c := range change {
		c(&set)
	}
	a := &app{t: t, service: s, module: jwt.New(set.options), clock: newClock(), log: &log{}}
	schema := engine.NewSchema()
	a.users = engine.Define[User](schema, "users")
	a.auth = authmod.New(schema, a.users, authmod.Options{Modules: append([]authmod.Module{a.module}, set.more...)})
	triggers.OnCreate(a.users, "note", func(tx *engine.Tx, u *engine.Doc[User]) error {
		claims, err := authmod.Params[map[string]any](tx)
		if err != nil && !errors.Is(err, authmod.ErrNoSignIn) {
			return err
		}
		a.mu.Lock()
		a.created = append(a.created, claims)
		a.mu.Unlock()
		if set.onCreate != nil {
			return set.onCreate(tx, u)
		}
		return nil
	})
	engine.Query(schema, "who:ami", func(r *engine.ReadTx, _ struct{}) (string, error) {
		who, err := r.Identity()
		if err != nil || who == nil {
			return "nobody", err
		}
		return who.Issuer + " " + who.Subject, nil
	})
	engine.Query(schema, "who:user", func(r *engine.ReadTx, _ struct{}) (engine.ID[User], error) {
		return authmod.UserID(r, a.users)
	})
	a.db = enginetest.Open(t, schema, func(o *engine.Options) {
		o.Clock = a.clock.now
		o.Logger = slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	return a
}

func provisioning(s *settings) {
	s.options.Provision = authmod.NewMapping(func(c jwt.Claims, u *User) error {
		u.Email, u.Name, u.Role = c.Email, c.Name, "student"
		return nil
	})
}

// claims are those of a good token; change changes them.
func (a *app) claims(change ...func(map[string]any)) map[string]any {
	now := a.clock.now().Unix()
	c := map[string]any{
		"iss": a.service.web.URL, "aud": audience, "sub": "ann", "iat": now, "nbf": now, "exp": now + 60, "jti": rand.Text(),
	}
	for _, ch := range change {
		ch(c)
	}
	return c
}

// present does with a token what a server does: verify, confirm, resolve.
func (a *app) present(token string) (*engine.Identity, error) {
	p, err := a.auth.Principal(token)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := p.(interface {
		Confirm(ctx context.Context, db *engine.DB) error
	}).Confirm(ctx, a.db); err != nil {
		return nil, err
	}
	var who *engine.Identity
	err = a.db.View(ctx, func(r *engine.ReadTx) (err error) {
		who, err = p.Resolve(r)
		return err
	})
	return who, err
}

// is fails the test unless the token stands for the subject.
func (a *app) is(token, subject string) *engine.Identity {
	a.t.Helper()
	who, err := a.present(token)
	if err != nil || who == nil || who.Subject != subject {
		a.t.Fatalf("the token stands for %+v, %v", who, err)
	}
	return who
}

func (a *app) refused(token string, code engine.Code) *engine.Error {
	a.t.Helper()
	who, err := a.present(token)
	var coded *engine.Error
	if !errors.As(err, &coded) || coded.Code != code {
		a.t.Fatalf("the token stands for %+v, %v; want code %s", who, err, code)
	}
	return coded
}

// allUsers are the users, by id.
func (a *app) allUsers() map[string]User {
	a.t.Helper()
	out := map[string]User{}
	err := a.db.View(context.Background(), func(r *engine.ReadTx) error {
		docs, err := a.users.All(r).Collect()
		for _, d := range docs {
			out[string(d.ID)] = d.Value
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

func (a *app) update(fn func(tx *engine.Tx) error) {
	a.t.Helper()
	if err := a.db.Update(context.Background(), fn); err != nil {
		a.t.Fatal(err)
	}
}

// openWith opens a database whose schema has a module of these options, and closes it.
func openWith(o jwt.Options) error {
	schema := engine.NewSchema()
	authmod.New(schema, engine.Define[User](schema, "users"), authmod.Options{Modules: []authmod.Module{jwt.New(o)}})
	db, err := engine.Open(schema, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		return err
	}
	return db.Close()
}

// clock stands still between advances.
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

// log takes what is logged.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fails answers with a status.
func fails(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, fmt.Sprint(status), status) }
}
