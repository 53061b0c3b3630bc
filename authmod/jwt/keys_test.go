package jwt_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod/jwt"
	"github.com/mimosadb/mimosa/engine"
)

func TestKeysAreFetchedOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s)
	if s.fetched() != 0 {
		t.Error("keys were fetched before they were needed")
	}
	gate := make(chan struct{})
	s.mu.Lock()
	s.gate = gate
	s.mu.Unlock()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := a.auth.Principal(key.token(a.claims())); err != nil {
				t.Error(err)
			}
		})
	}
	close(gate)
	wg.Wait()
	for range 10 {
		a.is(key.token(a.claims()), "ann")
	}
	if n := s.fetched(); n != 1 {
		t.Errorf("keys were fetched %d times", n)
	}
}

func TestFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key, next := signers()["ec"], signers()["ec2"]
	s.publish(key.jwk())
	a := setup(t, s)
	a.is(key.token(a.claims()), "ann")
	flood := func() {
		var wg sync.WaitGroup
		for i := range 200 {
			forged := next
			forged.kid = fmt.Sprint("unknown", i)
			wg.Go(func() {
				if _, err := a.auth.Principal(forged.token(a.claims())); err == nil {
					t.Error("accepted")
				}
			})
		}
		wg.Wait()
		a.is(key.token(a.claims()), "ann")
	}
	flood()
	if n := s.fetched(); n != 1 {
		t.Errorf("right after the first, keys were fetched %d times", n)
	}
	for range 6 {
		a.clock.advance(10 * time.Second)
		flood()
	}
	if n := s.fetched(); n != 1+6 {
		t.Errorf("after a minute of it keys were fetched %d times, want one in ten seconds", n)
	}
	// The service's new key is taken up all the same.
	s.publish(next.jwk())
	a.clock.advance(10 * time.Second)
	a.is(next.token(a.claims()), "ann")
	if n := s.fetched(); n != 8 {
		t.Errorf("keys were fetched %d times", n)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s := newService(t)
	old, next := signers()["ec"], signers()["ec2"]
	s.publish(old.jwk())
	a := setup(t, s)
	a.is(old.token(a.claims()), "ann")
	a.clock.advance(time.Minute)
	s.publish(old.jwk(), next.jwk())
	a.is(next.token(a.claims()), "ann")
	a.is(old.token(a.claims()), "ann")
	if n := s.fetched(); n != 2 {
		t.Errorf("keys were fetched %d times", n)
	}
	// A key that is withdrawn is not accepted when the keys have been fetched again.
	s.publish(next.jwk())
	a.clock.advance(10 * time.Minute)
	a.refused(old.token(a.claims()), engine.CodeUnauthenticated)
	a.is(next.token(a.claims()), "ann")
}

func TestRotationWithoutKeyIDs(t *testing.T) {
	t.Parallel()
	s := newService(t)
	old, next := signers()["ec"], signers()["ec2"]
	s.publish(old.jwk(without("kid", "alg", "use")))
	a := setup(t, s)
	a.is(old.token(a.claims(), without("kid")), "ann")
	s.publish(next.jwk(without("kid")))
	a.refused(next.token(a.claims(), without("kid")), engine.CodeUnauthenticated) // not so soon again
	a.clock.advance(10 * time.Second)
	a.is(next.token(a.claims(), without("kid")), "ann")
	a.refused(old.token(a.claims(), without("kid")), engine.CodeUnauthenticated)
	a.refused(next.token(a.claims()), engine.CodeUnauthenticated) // a kid that no key has
}

func TestServiceIsAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]http.HandlerFunc{
		"with errors":         fails(500),
		"with nonsense":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"without keys":        func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"with keys of no use": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[{"kty":"?"},7]}`) },
		"with a long answer": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, map[string]any{"keys": []any{signers()["ec"].jwk()}})
			fmt.Fprint(w, strings.Repeat(" ", 1<<20))
		},
		"with no answer": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		"with a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://keys.example/", http.StatusFound)
		},
		"with many redirects":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"with half an answer":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[`) },
		"with something else":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[]`) },
		"with a success of no": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			key, unknown := signers()["ec"], signers()["ec2"]
			s.publish(key.jwk())
			s.answers(away)
			a := setup(t, s, provisioning)

			// Nothing is known: it is not the token's fault.
			a.refused(key.token(a.claims()), engine.CodeBusy)
			tries := s.fetched()
			for range 20 {
				a.refused(key.token(a.claims()), engine.CodeBusy)
			}
			if s.fetched() != tries {
				t.Error("a service that is away is asked again and again")
			}
			if len(a.allUsers()) != 0 {
				t.Error("a user was made")
			}
			s.answers(nil)
			a.clock.advance(10 * time.Second)
			a.is(key.token(a.claims()), "ann")

			// Keys are known: they are used, and the service asked now and then.
			s.answers(away)
			tries = s.fetched()
			for range 60 {
				a.clock.advance(time.Minute)
				a.is(key.token(a.claims()), "ann")
			}
			if n := s.fetched() - tries; n < 10 || n > 60*4 {
				t.Errorf("the service was asked %d times in an hour", n)
			}
			a.refused(unknown.token(a.claims()), engine.CodeUnauthenticated)
			a.clock.advance(23 * time.Hour)
			a.refused(key.token(a.claims()), engine.CodeBusy) // that was a day
			s.answers(nil)
			a.clock.advance(10 * time.Second)
			a.is(key.token(a.claims()), "ann")
			if !strings.Contains(a.log.String(), "keys could not be fetched") {
				t.Error("nothing was logged")
			}
		})
	}
}

// While the service does not answer, only those wait who cannot do without.
func TestKnownKeysNeedNotWait(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s)
	a.is(key.token(a.claims()), "ann")
	gate := make(chan struct{})
	s.mu.Lock()
	s.gate = gate
	s.mu.Unlock()
	a.clock.advance(11 * time.Minute)
	done := make(chan error, 1)
	go func() {
		_, err := a.auth.Principal(key.token(a.claims()))
		done <- err
	}()
	<-s.waiting // that one waits for the service
	a.is(key.token(a.claims()), "ann")
	select {
	case <-done:
		close(gate)
		t.Fatal("somebody else waited for the service, too")
	default:
	}
	close(gate)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	s := newService(t)
	old, next := signers()["ec"], signers()["ec2"]
	s.publish(old.jwk())
	a := setup(t, s)
	a.is(old.token(a.claims()), "ann")
	a.clock.advance(-24 * time.Hour)
	s.publish(next.jwk())
	a.is(next.token(a.claims()), "ann")
}

// Calls that come at once have read the clock in one order and look at the keys in another.
func TestClockReadALittleBefore(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key, unknown := signers()["ec"], signers()["ec2"]
	s.publish(key.jwk())
	a := setup(t, s)
	a.is(key.token(a.claims()), "ann")
	for range 3 {
		a.clock.advance(-time.Millisecond)
		a.is(key.token(a.claims()), "ann")
		a.refused(unknown.token(a.claims()), engine.CodeUnauthenticated)
	}
	if n := s.fetched(); n != 1 {
		t.Errorf("keys were fetched %d times", n)
	}
	// Whoever waits for the keys that somebody else fetches has read it before, too.
	a.clock.advance(11 * time.Minute)
	gate := make(chan struct{})
	s.mu.Lock()
	s.keys, s.gate = []any{unknown.jwk()}, gate
	s.mu.Unlock()
	token := unknown.token(a.claims())
	var wg sync.WaitGroup
	present := func() {
		if _, err := a.auth.Principal(token); err != nil {
			t.Error(err)
		}
	}
	wg.Go(present)
	<-s.waiting
	a.clock.advance(-time.Millisecond)
	wg.Go(present)
	close(gate)
	wg.Wait()
	if n := s.fetched(); n != 2 {
		t.Errorf("keys were fetched %d times", n)
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	key := signers()["ec"]
	for name, test := range map[string]struct {
		document func(base string) any
		ok       bool
	}{
		"good":             {func(base string) any { return map[string]any{"issuer": base, "jwks_uri": base + "/keys"} }, true},
		"another issuer":   {func(base string) any { return map[string]any{"issuer": base + "/", "jwks_uri": base + "/keys"} }, false},
		"no issuer":        {func(base string) any { return map[string]any{"jwks_uri": base + "/keys"} }, false},
		"no keys":          {func(base string) any { return map[string]any{"issuer": base} }, false},
		"keys without TLS": {func(base string) any { return map[string]any{"issuer": base, "jwks_uri": "http://keys.example/"} }, false},
		"keys in a file":   {func(base string) any { return map[string]any{"issuer": base, "jwks_uri": "file:///etc/keys"} }, false},
		"something else":   {func(string) any { return "no" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := newService(t)
			keys.publish(key.jwk())
			var base string
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/tenant/.well-known/openid-configuration":
					reply(w, test.document(base))
				case "/tenant/keys":
					reply(w, map[string]any{"keys": []any{key.jwk()}})
				default:
					http.NotFound(w, r)
				}
			}))
			t.Cleanup(web.Close)
			base = web.URL + "/tenant"
			a := setup(t, keys, func(set *settings) { set.options.Issuer, set.options.JWKS = base, "" })
			token := key.token(a.claims(with("iss", base)))
			if test.ok {
				a.is(token, "ann")
			} else {
				a.refused(token, engine.CodeBusy)
			}
		})
	}
}

// Where the keys are asked for in clear, whoever stands between could give their own.
func TestRedirects(t *testing.T) {
	t.Parallel()
	key := signers()["ec"]
	for name, test := range map[string]struct {
		to string
		ok bool
	}{
		"with TLS":    {"https://keys.example/keys", true},
		"without TLS": {"http://keys.example/keys", false},
		"to a file":   {"file:///keys", false},
	} {
		asked := ""
		client := &http.Client{Transport: tripper(func(r *http.Request) *http.Response {
			rec := httptest.NewRecorder()
			if r.URL.Host == "service.example" {
				http.Redirect(rec, r, test.to, http.StatusFound)
				return rec.Result()
			}
			asked = r.URL.String()
			reply(rec, map[string]any{"keys": []any{key.jwk()}})
			return rec.Result()
		}), CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
		a := setup(t, newService(t), func(set *settings) {
			set.options.JWKS, set.options.Client = "https://service.example/keys", client
		})
		if _, err := a.auth.Principal(key.token(a.claims())); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		if (asked == test.to) != test.ok {
			t.Errorf("%s: %q was asked", name, asked)
		}
	}
}

type tripper func(*http.Request) *http.Response

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// A token without a key id is one of the only key that there is for its algorithm.
func TestNoKeyID(t *testing.T) {
	t.Parallel()
	k := signers()
	bare := without("alg", "kid")
	for name, test := range map[string]struct {
		keys []any
		ok   bool
	}{
		"one key":                     {[]any{k["ec"].jwk(bare)}, true},
		"one key with an id":          {[]any{k["ec"].jwk()}, true},
		"others for other algorithms": {[]any{k["ec384"].jwk(bare), k["rsa"].jwk(bare), k["ed"].jwk(bare), k["ec"].jwk(bare)}, true},
		"two":                         {[]any{k["ec"].jwk(bare), k["ec2"].jwk(bare)}, false},
	} {
		s := newService(t)
		s.publish(test.keys...)
		a := setup(t, s)
		if _, err := a.auth.Principal(k["ec"].token(a.claims(), without("kid"))); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a set of keys may have beside the one that is needed.
func TestOddKeys(t *testing.T) {
	t.Parallel()
	k := signers()
	key := k["ec"]
	for name, test := range map[string]struct {
		keys []any
		ok   bool
	}{
		"among others that nobody understands": {[]any{
			map[string]any{"kty": "XYZ", "kid": "a"}, "text", map[string]any{"kty": "EC", "crv": "secp256k1", "kid": "b", "x": "AA", "y": "AA"}, key.jwk(),
		}, true},
		"without use and alg":      {[]any{key.jwk(without("use", "alg"))}, true},
		"with other members":       {[]any{key.jwk(with("x-note", "hello"))}, true},
		"twice the same kid":       {[]any{k["ec2"].jwk(with("kid", "ec")), key.jwk()}, true},
		"its private half as well": {[]any{key.jwk(with("d", part("0123456789abcdef0123456789abcdef")))}, false},
		"a point off the curve":    {[]any{key.jwk(with("x", k["ec2"].jwk()["x"]))}, false},
		"another algorithm said":   {[]any{key.jwk(with("alg", "ES384"))}, false},
	} {
		s := newService(t)
		s.publish(test.keys...)
		a := setup(t, s)
		_, err := a.auth.Principal(key.token(a.claims()))
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	good := jwt.Options{Issuer: "https://a.example", Audience: []string{"x"}}
	for name, test := range map[string]struct {
		change func(o *jwt.Options)
		want   string // in Open's error; "" is none
	}{
		"good":                {func(*jwt.Options) {}, ""},
		"no issuer":           {func(o *jwt.Options) { o.Issuer, o.JWKS = "", "https://a.example/keys" }, "an Issuer is empty"},
		"no audience":         {func(o *jwt.Options) { o.Audience = nil }, "Audience is empty"},
		"an empty audience":   {func(o *jwt.Options) { o.Audience = []string{""} }, "an Audience is empty"},
		"none at all":         {func(o *jwt.Options) { o.Audience, o.AudienceOptional = nil, true }, ""},
		"no algorithm":        {func(o *jwt.Options) { o.Algorithms = []string{"none"} }, `algorithm "none" is not one of`},
		"a shared secret":     {func(o *jwt.Options) { o.Algorithms = []string{"RS256", "HS256"} }, `algorithm "HS256" is not one of`},
		"without TLS":         {func(o *jwt.Options) { o.JWKS = "http://a.example/keys" }, "JWKS is not https"},
		"issuer without TLS":  {func(o *jwt.Options) { o.Issuer = "http://a.example" }, "is not https"},
		"allowed without TLS": {func(o *jwt.Options) { o.JWKS, o.AllowHTTP = "http://a.example/keys", true }, ""},
		"the machine itself":  {func(o *jwt.Options) { o.JWKS = "http://localhost:3000/keys" }, ""},
		"its address":         {func(o *jwt.Options) { o.JWKS = "http://[::1]:3000/keys" }, ""},
		"what looks like it":  {func(o *jwt.Options) { o.JWKS = "http://localhost.example/keys" }, "JWKS is not https"},
		"no address":          {func(o *jwt.Options) { o.Issuer = "mimosa-else" }, "is no address"},
		"with a password":     {func(o *jwt.Options) { o.JWKS = "https://user:pw@a.example/keys" }, "is no address"},
		"a name of no address": {func(o *jwt.Options) {
			o.Issuer, o.JWKS = "my-service", "https://a.example/keys"
		}, ""},
		"much leeway":   {func(o *jwt.Options) { o.Leeway = time.Hour }, "Leeway is 1h0m0s"},
		"an empty type": {func(o *jwt.Options) { o.Types = []string{"JWT", ""} }, "one of Types is empty"},
		"a bad name":    {func(o *jwt.Options) { o.Name = "a b" }, `"a b"`},
	} {
		o := good
		test.change(&o)
		err := openWith(o)
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v", name, err)
		case err != nil && strings.Contains(err.Error(), "pw"):
			t.Errorf("%s: the error has the password: %v", name, err)
		}
	}
}

func TestPresets(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		o    jwt.Options
		want string // Name, Issuer, OtherIssuers, JWKS, Audience, Algorithms
	}{
		"clerk": {
			jwt.Clerk("https://happy-otter-1.clerk.accounts.dev/"),
			`["clerk","https://happy-otter-1.clerk.accounts.dev",null,"https://happy-otter-1.clerk.accounts.dev/.well-known/jwks.json",null,["RS256"]]`,
		},
		"clerk, a host": {
			jwt.Clerk("clerk.example.com"),
			`["clerk","https://clerk.example.com",null,"https://clerk.example.com/.well-known/jwks.json",null,["RS256"]]`,
		},
		"auth0": {
			jwt.Auth0("example.eu.auth0.com", "https://api.example.com"),
			`["auth0","https://example.eu.auth0.com/",null,"https://example.eu.auth0.com/.well-known/jwks.json",["https://api.example.com"],["RS256"]]`,
		},
		"workos": {
			jwt.WorkOS("client_01"),
			`["workos","https://api.workos.com/user_management/client_01",["https://api.workos.com","https://api.workos.com/"],` +
				`"https://api.workos.com/sso/jwks/client_01",["client_01"],["RS256"]]`,
		},
		"better auth": {
			jwt.BetterAuth("https://app.example.com"),
			`["better-auth","https://app.example.com",null,"https://app.example.com/api/auth/jwks",["https://app.example.com"],["EdDSA"]]`,
		},
		"better auth, a path": {
			jwt.BetterAuth("http://localhost:3000/auth/"),
			`["better-auth","http://localhost:3000/auth/",null,"http://localhost:3000/auth/jwks",["http://localhost:3000/auth/"],["EdDSA"]]`,
		},
	} {
		var got bytes.Buffer
		e := json.NewEncoder(&got)
		if err := e.Encode([]any{test.o.Name, test.o.Issuer, test.o.OtherIssuers, test.o.JWKS, test.o.Audience, test.o.Algorithms}); err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(got.String()) != test.want {
			t.Errorf("%s: %s, want %s", name, got.String(), test.want)
		}
		if err := openWith(test.o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := openWith(jwt.Auth0("example.auth0.com", "")); err == nil {
		t.Error("Auth0 without an audience")
	}
}

// The tokens that the services document are accepted by their presets.
func TestPresetsAcceptTheirTokens(t *testing.T) {
	t.Parallel()
	k := signers()
	for name, test := range map[string]struct {
		options func(base string) jwt.Options
		key     signer
		claims  func(base string) map[string]any
		refused func(map[string]any) // makes a bad one of it
	}{
		"clerk": {
			func(base string) jwt.Options {
				o := jwt.Clerk(base)
				o.AuthorizedParties = []string{"http://localhost:5173"}
				return o
			}, k["rsa"],
			func(base string) map[string]any {
				return map[string]any{
					"iss": base, "azp": "http://localhost:5173", "fva": []int{7, -1}, "sid": "sess_1", "sts": "active", "sub": "user_1", "v": 2,
					"aud": nil, "jti": "x",
				}
			}, with("sts", "pending"),
		},
		"auth0": {
			func(base string) jwt.Options {
				o := jwt.Auth0(base, "https://api.example.com")
				return o
			}, k["rsa"],
			func(base string) map[string]any {
				return map[string]any{
					"iss": base + "/", "sub": "auth0|1", "aud": []string{"https://api.example.com", base + "/userinfo"}, "azp": "client", "scope": "openid",
				}
			}, with("aud", "https://other.example.com"),
		},
		"workos": {
			func(base string) jwt.Options {
				o := jwt.WorkOS("client_01")
				o.JWKS = base + "/.well-known/jwks.json"
				return o
			}, k["rsa"],
			func(string) map[string]any {
				return map[string]any{
					"iss": "https://api.workos.com/user_management/client_01", "sub": "user_1", "sid": "session_1", "org_id": "org_1", "role": "member",
					"permissions": []string{"posts:read"}, "jti": "01",
				}
			}, with("iss", "https://api.workos.com/user_management/client_02"),
		},
		"better auth": {
			func(base string) jwt.Options { return jwt.BetterAuth(base) }, k["ed"],
			func(base string) map[string]any {
				return map[string]any{
					"iss": base, "aud": base, "sub": "u1", "id": "u1", "email": "ann@example.com", "emailVerified": true, "name": "Ann",
					"createdAt": "2026-01-01T00:00:00.000Z",
				}
			}, with("aud", "http://localhost:3001"),
		},
		"clerk, of a machine": {
			jwt.Clerk, k["rsa"],
			func(base string) map[string]any { return map[string]any{"iss": base, "sub": "user_1", "sid": "sess_1"} }, with("sub", "mch_1"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/.well-known/jwks.json" || r.URL.Path == "/api/auth/jwks" {
					reply(w, map[string]any{"keys": []any{test.key.jwk()}})
					return
				}
				http.NotFound(w, r)
			}))
			t.Cleanup(web.Close)
			a := setup(t, newService(t), func(set *settings) {
				set.options = test.options(web.URL)
				set.options.Provision = nil
			})
			claims := test.claims(web.URL)
			if claims["aud"] == nil {
				delete(claims, "aud")
			}
			claims["iat"], claims["exp"] = a.clock.now().Unix(), a.clock.now().Unix()+60
			who := a.is(test.key.token(claims), claims["sub"].(string))
			for _, name := range []string{"iss", "sub", "exp", "iat", "jti", "fva"} {
				if _, there := who.Claims[name]; there {
					t.Errorf("Identity has the claim %s", name)
				}
			}
			test.refused(claims)
			var coded *engine.Error
			if _, err := a.auth.Principal(test.key.token(claims)); !errors.As(err, &coded) || coded.Code != engine.CodeUnauthenticated {
				t.Errorf("a bad one: %v", err)
			}
		})
	}
}
