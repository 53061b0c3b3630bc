package authmod_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

func TestTokenClaims(t *testing.T) {
	t.Parallel()
	a := setup(t, func(s *settings) { s.auth.Issuer, s.auth.Audience = "https://school.example", "school" })
	d := a.device().must(signUpArgs("ada@example.com"))
	keys := a.jwks()
	if len(keys) != 1 {
		t.Fatalf("%d keys published", len(keys))
	}
	// As another service does it: with the published key alone.
	parsed, err := jwt.Parse(d.token, func(tok *jwt.Token) (any, error) { return keys[tok.Header["kid"].(string)], nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer("https://school.example"), jwt.WithAudience("school"),
		jwt.WithTimeFunc(a.clock.now), jwt.WithIssuedAt(), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatal(err)
	}
	c := parsed.Claims.(jwt.MapClaims)
	if life := c["exp"].(float64) - c["iat"].(float64); life != 900 {
		t.Errorf("it lives for %v s", life)
	}
	who := a.identity(d.principal)
	if who == nil || c["sub"] != who.User || c["sid"] != who.Session || who.Issuer != "https://school.example" || who.Subject != who.User {
		t.Errorf("claims %v, identity %+v", c, who)
	}
	if id, _ := c["jti"].(string); len(id) < 16 {
		t.Errorf("jti is %q", id)
	}
}

// jwks fetches the published keys by id.
func (a *app) jwks() map[string]*ecdsa.PublicKey {
	a.t.Helper()
	w := httptest.NewRecorder()
	a.auth.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil))
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || w.Code != http.StatusOK {
		a.t.Fatalf("%d %s", w.Code, w.Body)
	}
	out := map[string]*ecdsa.PublicKey{}
	for _, k := range set.Keys {
		if _, secret := k["d"]; secret || k["kty"] != "EC" || k["crv"] != "P-256" || k["alg"] != "ES256" || k["use"] != "sig" {
			a.t.Fatalf("key %v", k)
		}
		point := []byte{4} // uncompressed
		for _, half := range []string{k["x"], k["y"]} {
			b, err := base64.RawURLEncoding.DecodeString(half)
			if err != nil || len(b) != 32 {
				a.t.Fatalf("coordinate %q", half)
			}
			point = append(point, b...)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			a.t.Fatal(err)
		}
		out[k["kid"]] = public
	}
	return out
}

// identity is who a principal resolves to.
func (a *app) identity(p engine.Principal) *engine.Identity {
	a.t.Helper()
	e, err := a.db.EvaluateIdentity(context.Background(), a.db.Published(), p)
	if err != nil {
		a.t.Fatal(err)
	}
	return e.Identity
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	parts := strings.Split(d.token, ".")
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherBig, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ours := a.jwks()[header["kid"].(string)]
	point, err := ours.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	with := func(m map[string]any, k string, v any) map[string]any {
		m = maps.Clone(m)
		if v == nil {
			delete(m, k)
		} else {
			m[k] = v
		}
		return m
	}
	sign := func(m jwt.SigningMethod, header, claims map[string]any, key any) string {
		tok := &jwt.Token{Header: header, Claims: jwt.MapClaims(claims), Method: m}
		s, err := tok.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	mac := func(key []byte) string {
		text := encode(with(header, "alg", "HS256")) + "." + parts[1]
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	for name, token := range map[string]string{
		"empty":                       "",
		"garbage":                     "a.b.c",
		"two parts":                   parts[0] + "." + parts[1],
		"no signature":                parts[0] + "." + parts[1] + ".",
		"alg none":                    encode(with(header, "alg", "none")) + "." + parts[1] + ".",
		"alg None, signature kept":    encode(with(header, "alg", "None")) + "." + parts[1] + "." + parts[2],
		"alg missing":                 encode(with(header, "alg", nil)) + "." + parts[1] + "." + parts[2],
		"kid missing":                 encode(with(header, "kid", nil)) + "." + parts[1] + "." + parts[2],
		"HMAC with the public key":    mac(point),
		"HMAC with an empty key":      mac(nil),
		"another key":                 sign(jwt.SigningMethodES256, header, claims, other),
		"another curve":               sign(jwt.SigningMethodES384, with(header, "alg", "ES384"), claims, otherBig),
		"another user":                parts[0] + "." + encode(with(claims, "sub", "somebody")) + "." + parts[2],
		"a longer life":               parts[0] + "." + encode(with(claims, "exp", 1<<40)) + "." + parts[2],
		"a signature of zeros":        parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86),
		"huge":                        parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2],
		"an embedded key":             sign(jwt.SigningMethodES256, with(header, "jwk", map[string]any{"kty": "EC"}), claims, other),
		"a refresh token":             d.refresh,
		"padding":                     d.token + "==",
		"white space":                 " " + d.token,
		"the same with a newline":     d.token + "\n",
		"a kid that is not a string":  encode(with(header, "kid", 7)) + "." + parts[1] + "." + parts[2],
		"claims that are not objects": parts[0] + "." + encode([]int{1}) + "." + parts[2],
	} {
		p, err := a.auth.Principal(token)
		var coded *engine.Error
		if p != nil || !errors.As(err, &coded) || coded.Code != engine.CodeUnauthenticated {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	a.principal(d.token) // the control
}

// Tokens of a program whose keys we share, but not the names.
func TestIssuerAndAudience(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	open := func(issuer, audience string) (*authmod.Auth, *engine.DB) {
		s := engine.NewSchema()
		auth := authmod.New(s, engine.Define[User](s, "users"), authmod.Options{
			Issuer: issuer, Audience: audience,
			Modules: []authmod.Module{password.New(password.Options{Crypto: cheap, Profile: authmod.NewProfile(
				func(p SignUp) (User, error) {
					return User{UserFields: authmod.UserFields{Email: p.Email}, Nickname: p.Nickname}, nil
				})})},
		})
		return auth, enginetest.Open(t, s, func(o *engine.Options) { o.Store = shared.Open() })
	}
	home, db := open("home", "app")
	res, err := db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: json.RawMessage(signUpArgs("a@b.example"))})
	if err != nil {
		t.Fatal(err)
	}
	var out answer
	if err := json.Unmarshal(res.Value, &out); err != nil {
		t.Fatal(err)
	}
	if _, err := home.Principal(out.Tokens.Token); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{{"elsewhere", "app"}, {"home", "other"}} {
		away, _ := open(names[0], names[1])
		if _, err := away.Principal(out.Tokens.Token); !errors.Is(err, &engine.Error{Code: engine.CodeUnauthenticated}) {
			t.Errorf("%v takes a token of home and app: %v", names, err)
		}
	}
	again, _ := open("home", "app") // and the keys outlive the process
	if _, err := again.Principal(out.Tokens.Token); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	a.clock.advance(15*time.Minute - time.Second)
	a.principal(d.token)
	a.clock.advance(time.Second)
	if _, err := a.auth.Principal(d.token); !errors.Is(err, &engine.Error{Code: engine.CodeUnauthenticated}) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v", err)
	}
}

// An access token never outlives its session.
func TestTokenEndsWithTheSession(t *testing.T) {
	t.Parallel()
	a := setup(t, func(s *settings) { s.auth.SessionTTL = 20 * time.Minute })
	d := a.device().must(signUpArgs("ada@example.com"))
	a.clock.advance(14 * time.Minute)
	d.must(`{"refreshToken":"` + d.refresh + `"}`)
	a.principal(d.token)
	a.clock.advance(6 * time.Minute)
	if _, err := a.auth.Principal(d.token); err == nil {
		t.Error("the token is good beyond its session")
	}
}

func TestRevokeSessions(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device().must(signUpArgs("ada@example.com"))
	var others []*device
	for range 3 {
		others = append(others, a.device().must(signInArgs("ada@example.com", secret)))
	}
	bob := a.device().must(params("signUp", map[string]any{"email": "bob@example.com", "password": secret, "nickname": "Bob", "course": "go"}))
	touched := a.watchMe(others[0].principal)
	who := a.identity(d.principal)
	err := a.db.Update(context.Background(), func(tx *engine.Tx) error { return a.auth.RevokeSessions(tx, who.User, who.Session) })
	if err != nil {
		t.Fatal(err)
	}
	if a.me(d.principal) != "Ada" || a.me(bob.principal) != "Bob" {
		t.Error("a session ended that was not to")
	}
	for i, o := range others {
		if a.identity(o.principal) != nil || a.refreshWith(o.refresh) != "" {
			t.Errorf("session %d goes on", i)
		}
	}
	if !touched() {
		t.Error("its live queries were not touched")
	}
}
