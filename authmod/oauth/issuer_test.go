package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer is a provider of OpenID Connect that can be made to lie. It checks what honest ones check: client, redirect_uri, PKCE,
// that a code is used once. What a well-kept implementation says is tested elsewhere; here it is about one that is not.
type issuer struct {
	t   *testing.T
	url string
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	who    map[string]any        // guarded by mu; claims of whoever signs in
	info   map[string]any        // guarded by mu; what the user info says
	grants map[string]url.Values // guarded by mu; by code: the parameters of the authorization
	tokens []string              // guarded by mu; access and ID tokens that it gave
	// answers counts requests by path.
	answers map[string]int // guarded by mu

	lies lies // guarded by mu
}

// lies are what an issuer does wrong.
type lies struct {
	discovery func(doc map[string]any)
	authorize func(q, back url.Values)
	forge     func(claims jwt.MapClaims, t *jwt.Token)
	sign      func(t *jwt.Token) (string, error)
	token     http.HandlerFunc
	onToken   func(*http.Request)
	document  http.HandlerFunc
}

// lie changes what the issuer does wrong from now on.
func (p *issuer) lie(change func(l *lies)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.lies)
}

func (p *issuer) now() lies {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lies
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &issuer{t: t, key: key, grants: map[string]url.Values{}, answers: map[string]int{}}
	p.who = map[string]any{"sub": "sub-ada", "email": "Ada@Example.com", "email_verified": true, "name": "Ada Lovelace", "picture": "https://img.example/ada.png"}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", p.serveDiscovery)
	mux.HandleFunc("/authorize", p.serveAuthorize)
	mux.HandleFunc("/token", p.serveToken)
	mux.HandleFunc("/keys", p.serveKeys)
	mux.HandleFunc("/info", p.serveInfo)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.answers[r.URL.Path]++
		p.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

// is says who signs in from now on.
func (p *issuer) is(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.who = claims
}

func (p *issuer) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers[path]
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (p *issuer) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	if lie := p.now().document; lie != nil {
		lie(w, r)
		return
	}
	doc := map[string]any{
		"issuer": p.url, "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token",
		"jwks_uri": p.url + "/keys", "userinfo_endpoint": p.url + "/info",
		"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
	}
	if lie := p.now().discovery; lie != nil {
		lie(doc)
	}
	write(w, http.StatusOK, doc)
}

// serveAuthorize asks nobody: whoever comes has agreed before.
func (p *issuer) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != clientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "bad request: "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	code := rand.Text() + rand.Text()
	p.mu.Lock()
	p.grants[code] = q
	p.mu.Unlock()
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	if lie := p.now().authorize; lie != nil {
		lie(q, back)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (p *issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	if lie := p.now().token; lie != nil {
		lie(w, r)
		return
	}
	if lie := p.now().onToken; lie != nil {
		lie(r)
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	refuse := func(code string) {
		write(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": r.Form.Encode()})
	}
	if id != clientID || secret != clientSecret {
		refuse("invalid_client")
		return
	}
	p.mu.Lock()
	grant, ok := p.grants[r.PostFormValue("code")]
	delete(p.grants, r.PostFormValue("code"))
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || grant.Get("redirect_uri") != r.PostFormValue("redirect_uri") ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != grant.Get("code_challenge") {
		refuse("invalid_grant")
		return
	}
	access := rand.Text()
	idToken, err := p.idToken(grant, access)
	if err != nil {
		p.t.Error(err)
	}
	p.mu.Lock()
	p.tokens = append(p.tokens, access, idToken)
	p.mu.Unlock()
	write(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600, "id_token": idToken})
}

func (p *issuer) idToken(grant url.Values, access string) (string, error) {
	sum := sha256.Sum256([]byte(access))
	claims := jwt.MapClaims{
		"iss": p.url, "aud": clientID, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "nonce": grant.Get("nonce"),
		"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
	}
	p.mu.Lock()
	maps.Copy(claims, p.who)
	p.mu.Unlock()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["kid"] = "k1"
	if lie := p.now().forge; lie != nil {
		lie(claims, t)
	}
	if lie := p.now().sign; lie != nil {
		return lie(t)
	}
	return t.SignedString(p.key)
}

func (p *issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		p.t.Error(err)
	}
	write(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}}})
}

func (p *issuer) serveInfo(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.info == nil {
		write(w, http.StatusOK, map[string]any{"sub": p.who["sub"]})
		return
	}
	write(w, http.StatusOK, p.info)
}
