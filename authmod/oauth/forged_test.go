package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
	"github.com/mimosadb/mimosa/engine"
)

// An ID token that is wrong in any way signs nobody in.
func TestForgedIDTokens(t *testing.T) {
	t.Parallel()
	claim := func(name string, v any) func(*issuer) {
		return func(p *issuer) {
			p.lies.forge = func(c jwt.MapClaims, _ *jwt.Token) {
				if c[name] = v; v == nil {
					delete(c, name)
				}
			}
		}
	}
	header := func(name string, v any) func(*issuer) {
		return func(p *issuer) { p.lies.forge = func(_ jwt.MapClaims, t *jwt.Token) { t.Header[name] = v } }
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hmac := func(secret func(*issuer) []byte) func(*issuer) {
		return func(p *issuer) {
			p.lies.sign = func(t *jwt.Token) (string, error) {
				forged := jwt.NewWithClaims(jwt.SigningMethodHS256, t.Claims)
				forged.Header["kid"] = "k1"
				return forged.SignedString(secret(p))
			}
		}
	}
	for name, c := range map[string]struct {
		lie  func(*issuer)
		good bool
	}{
		"nothing":                          {func(*issuer) {}, true},
		"no nonce":                         {claim("nonce", nil), false},
		"another nonce":                    {claim("nonce", strings.Repeat("A", 43)), false},
		"an empty nonce":                   {claim("nonce", ""), false},
		"another issuer":                   {claim("iss", "https://evil.example"), false},
		"the issuer with a slash":          {func(p *issuer) { claim("iss", p.url+"/")(p) }, false},
		"no issuer":                        {claim("iss", nil), false},
		"another audience":                 {claim("aud", "client-2"), false},
		"no audience":                      {claim("aud", nil), false},
		"an audience that contains ours":   {claim("aud", clientID+"0"), false},
		"two audiences":                    {claim("aud", []string{clientID, "client-2"}), false},
		"two audiences, issued to us":      {func(p *issuer) { two(p, clientID) }, true},
		"two audiences, issued to another": {func(p *issuer) { two(p, "client-2") }, false},
		"issued to another":                {claim("azp", "client-2"), false},
		"expired":                          {claim("exp", time.Now().Add(-time.Minute).Unix()), false},
		"no expiry":                        {claim("exp", nil), false},
		"not yet":                          {claim("nbf", time.Now().Add(time.Hour).Unix()), false},
		"another access token":             {claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), false},
		"no subject":                       {claim("sub", nil), false},
		"an empty subject":                 {claim("sub", ""), false},
		"a subject that is a number":       {claim("sub", 7), false},
		"a long subject":                   {claim("sub", strings.Repeat("x", 256)), false},
		"claims without end":               {claim("story", strings.Repeat("x", 80<<10)), false},
		"a key that is not known":          {header("kid", "k2"), false},
		"a key that comes along": {func(p *issuer) {
			p.lies.forge = func(_ jwt.MapClaims, t *jwt.Token) {
				point, _ := other.PublicKey.Bytes()
				t.Header["jwk"] = map[string]any{"kty": "EC", "crv": "P-256", "x": fmt.Sprintf("%x", point[1:33]), "y": fmt.Sprintf("%x", point[33:])}
			}
			p.lies.sign = func(t *jwt.Token) (string, error) { return t.SignedString(other) }
		}, false},
		"another key": {func(p *issuer) { p.lies.sign = func(t *jwt.Token) (string, error) { return t.SignedString(other) } }, false},
		"no signature": {func(p *issuer) {
			p.lies.sign = func(t *jwt.Token) (string, error) {
				return jwt.NewWithClaims(jwt.SigningMethodNone, t.Claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
			}
		}, false},
		"a signature cut off": {func(p *issuer) {
			p.lies.sign = func(t *jwt.Token) (string, error) {
				s, err := t.SignedString(p.key)
				return s[:strings.LastIndex(s, ".")+1], err
			}
		}, false},
		"signed by the client secret": {hmac(func(*issuer) []byte { return []byte(clientSecret) }), false},
		"signed by the public key":    {hmac(func(p *issuer) []byte { b, _ := p.key.PublicKey.Bytes(); return b }), false},
		"no token":                    {func(p *issuer) { p.lies.sign = func(*jwt.Token) (string, error) { return "", nil } }, false},
		"something else":              {func(p *issuer) { p.lies.sign = func(*jwt.Token) (string, error) { return "a.b.c", nil } }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, p := school(t)
			c.lie(p)
			b := a.browser(nil)
			page := b.visit(b.start("school", nil))
			if c.good {
				if out, err := b.redeem(page.Query().Get("code")); err != nil || out.Tokens == nil {
					t.Errorf("%v at %s: %s", err, page, a.log)
				}
				return
			}
			if page.String() != site+"?error=provider_failed" || a.userCount() != 0 {
				t.Errorf("came to %s", page)
			}
			if log := a.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "provider=school") {
				t.Errorf("the log says %q", log)
			}
		})
	}
}

func two(p *issuer, azp string) {
	p.lies.forge = func(c jwt.MapClaims, _ *jwt.Token) { c["aud"], c["azp"] = []string{"client-2", clientID}, azp }
}

// The user info is asked where the ID token does not say the address, and believed where it is about the same person.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		who, info map[string]any
		email     string
		verified  bool
		failed    bool
		name      string
	}{
		"with another name": {
			map[string]any{"sub": "s", "name": "Ada"},
			map[string]any{"sub": "s", "name": "Eve", "email": "ada@example.com"},
			"ada@example.com", false, false, "Ada",
		},
		"asked": {
			map[string]any{"sub": "s"}, map[string]any{"sub": "s", "email": "Ada@Example.com", "email_verified": true}, "ada@example.com", true, false, "",
		},
		"not verified": {
			map[string]any{"sub": "s"}, map[string]any{"sub": "s", "email": "ada@example.com"}, "ada@example.com", false, false, "",
		},
		"verified, as a string": {
			map[string]any{"sub": "s", "email": "ada@example.com", "email_verified": "true"}, nil, "ada@example.com", true, false, "",
		},
		"not verified, as a string": {
			map[string]any{"sub": "s", "email": "ada@example.com", "email_verified": "false"}, nil, "ada@example.com", false, false, "",
		},
		"verified, as a number": {
			map[string]any{"sub": "s", "email": "ada@example.com", "email_verified": 1}, nil, "ada@example.com", false, false, "",
		},
		"not asked": {
			map[string]any{"sub": "s", "email": "ada@example.com"},
			map[string]any{"sub": "s", "email": "eve@example.com", "email_verified": true},
			"ada@example.com", false, false, "",
		},
		"about somebody else": {
			map[string]any{"sub": "s"}, map[string]any{"sub": "t", "email": "ada@example.com", "email_verified": true}, "", false, true, "",
		},
		"about nobody": {
			map[string]any{"sub": "s"}, map[string]any{"email": "ada@example.com", "email_verified": true}, "", false, true, "",
		},
		"no address": {
			map[string]any{"sub": "s", "email": "ada", "email_verified": true}, nil, "", false, false, "",
		},
		"an address that looks like another's": {
			map[string]any{"sub": "s", "email": "\uff41da@example.com", "email_verified": true}, nil, "ada@example.com", false, false, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, p := school(t)
			p.who, p.info = c.who, c.info
			b := a.browser(nil)
			page := b.visit(b.start("school", nil))
			if c.failed {
				if page.Query().Get("error") != "provider_failed" {
					t.Errorf("came to %s", page)
				}
				return
			}
			if _, err := b.redeem(page.Query().Get("code")); err != nil {
				t.Fatal(err)
			}
			if u := b.me().Value; u.Email != c.email || u.EmailVerified != c.verified || u.Name != c.name {
				t.Errorf("user %+v", u)
			}
		})
	}
}

// An organisation that sets its people's addresses itself may say of any that it is verified.
func TestDistrustedAddresses(t *testing.T) {
	t.Parallel()
	trusted, tenant := newIssuer(t), newIssuer(t)
	a := setup(t, settings{modules: []authmod.Module{
		oauth.OIDC("trusted", trusted.url, options()),
		oauth.OIDC("tenant", tenant.url, options(func(o *oauth.Options) { o.DistrustEmail = true })),
	}})
	ada := a.browser(nil).signIn("trusted", nil).me()
	tenant.is(map[string]any{"sub": "mallory", "email": "ada@example.com", "email_verified": true})
	mallory := a.browser(nil).signIn("tenant", nil).me()
	if mallory.ID == ada.ID || mallory.Value.EmailVerified {
		t.Errorf("signed in as %+v", mallory)
	}
}

// Whatever a provider does, people end up at a page that can tell them, and the log says why.
func TestProvidersThatFail(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sorry", http.StatusInternalServerError) },
		"a page":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{"))
		},
		"no token": func(w http.ResponseWriter, _ *http.Request) { write(w, 200, map[string]any{}) },
		"no ID token": func(w http.ResponseWriter, _ *http.Request) {
			write(w, 200, map[string]any{"access_token": "x", "token_type": "Bearer"})
		},
		"an ID token of objects": func(w http.ResponseWriter, _ *http.Request) {
			write(w, 200, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": map[string]any{}})
		},
		"an error with status 200": func(w http.ResponseWriter, _ *http.Request) {
			write(w, 200, map[string]any{"error": "bad_verification_code"})
		},
		"no end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"`))
			for range 1 << 10 {
				if _, err := w.Write([]byte(strings.Repeat("x", 1<<10))); err != nil {
					return
				}
			}
			_, _ = w.Write([]byte(`","token_type":"Bearer"}`))
		},
		"no answer": func(_ http.ResponseWriter, r *http.Request) { _ = r.ParseForm(); <-r.Context().Done() },
		"cut off":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, p := school(t, func(o *oauth.Options) {
				if name == "no answer" {
					o.Timeout = 2 * time.Second
				}
			})
			p.lies.token = answer
			b := a.browser(nil)
			page := b.visit(b.start("school", map[string]any{"redirectTo": "/in?x=1#part"}))
			if page.String() != site+"/in?x=1&error=provider_failed#part" {
				t.Errorf("came to %s", page)
			}
			if log := a.log.String(); strings.Count(log, "\n") != 1 {
				t.Errorf("the log says %q", log)
			}
			if p.count("/elsewhere") != 0 {
				t.Error("the client secret was sent elsewhere")
			}
			if out := export(t, a); out != "" {
				t.Errorf("what has failed is kept: %s", out)
			}
			p.lie(func(l *lies) { l.token = nil })
			if b.signIn("school", nil).me() == nil {
				t.Error("nobody can sign in afterwards")
			}
		})
	}
}

// What people decide at the provider is passed on, in words that pages can rely on.
func TestErrorsOfProviders(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"access_denied": "access_denied", "temporarily_unavailable": "temporarily_unavailable", "login_required": "login_required",
		"invalid_scope": "provider_failed", "<script>": "provider_failed", "invalid_state": "provider_failed",
	} {
		a, p := school(t)
		b := a.browser(nil)
		state := query(t, b.start("school", nil), "state")
		req := a.url + "/api/auth/school/callback?error_description=x&state=" + state + "&error=" + said
		if page := b.visit(req); page.String() != site+"?error="+want || p.count("/token") != 0 {
			t.Errorf("%s: came to %s", said, page)
		}
		if page := b.visit(strings.Replace(req, "error=", "code=", 1)); page.Query().Get("error") != "invalid_state" {
			t.Errorf("%s: the sign-in goes on: %s", said, page)
		}
	}
}

// A provider that is down when a sign-in begins is asked again by the next one; what it then says is kept.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	a, p := school(t)
	p.lies.document = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) }
	b := a.browser(nil)
	if _, err := b.call(`{"provider":"school"}`); err == nil || err.Code != engine.CodeBusy {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(a.log.String(), "503") || export(t, a) != "" {
		t.Errorf("log %s", a.log)
	}
	p.lie(func(l *lies) { l.document = nil })
	b.signIn("school", nil)
	b.signIn("school", nil)
	if n := p.count("/.well-known/openid-configuration"); n != 2 {
		t.Errorf("discovery was asked %d times", n)
	}
	if n := p.count("/keys"); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}

	for name, lie := range map[string]func(map[string]any){
		"another issuer":        func(d map[string]any) { d["issuer"] = "https://evil.example" },
		"a token endpoint bare": func(d map[string]any) { d["token_endpoint"] = "http://evil.example/token" },
		"keys bare":             func(d map[string]any) { d["jwks_uri"] = "http://evil.example/keys" },
		"no token endpoint":     func(d map[string]any) { delete(d, "token_endpoint") },
		"a script":              func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
		"user info bare":        func(d map[string]any) { d["userinfo_endpoint"] = "http://evil.example/info" },
	} {
		a, p := school(t)
		p.lies.discovery = lie
		if out, err := a.browser(nil).call(`{"provider":"school"}`); err == nil || err.Code != engine.CodeBusy {
			t.Errorf("%s: %s %v", name, out.raw, err)
		}
	}
}

// How a client says who it is, is as the provider announces.
func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	for _, methods := range [][]string{nil, {"client_secret_basic", "client_secret_post"}, {"client_secret_post"}} {
		a, p := school(t)
		p.lies.discovery = func(d map[string]any) {
			if d["token_endpoint_auth_methods_supported"] = methods; methods == nil {
				delete(d, "token_endpoint_auth_methods_supported")
			}
		}
		basic := make(chan bool, 4)
		p.lies.onToken = func(r *http.Request) { _, _, ok := r.BasicAuth(); basic <- ok }
		a.browser(nil).signIn("school", nil)
		want := len(methods) != 1
		if got := <-basic; got != want || len(basic) != 0 {
			t.Errorf("%v: basic %v, and %d requests more", methods, got, len(basic))
		}
	}
}
