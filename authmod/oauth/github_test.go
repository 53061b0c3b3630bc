package oauth_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
)

// github is GitHub as its documentation describes the four addresses that matter: the authorization page, the exchange of a
// code, the user, and their addresses.
type github struct {
	names map[string]string // hosts, for browsers and clients
	iss   string            // what it says of itself in answers

	mu     sync.Mutex
	user   map[string]any        // guarded by mu
	emails any                   // guarded by mu
	status int                   // guarded by mu; of the addresses
	grants map[string]url.Values // guarded by mu
	token  string                // guarded by mu
	asked  []*http.Request       // guarded by mu
}

func newGitHub(t *testing.T) *github {
	t.Helper()
	g := &github{grants: map[string]url.Values{}, status: http.StatusOK, iss: "https://github.com/login/oauth"}
	g.user = map[string]any{"id": 583231, "login": "octocat", "name": "Mona", "avatar_url": "https://avatars.example/583231", "email": nil}
	g.emails = []map[string]any{
		{"email": "other@example.com", "primary": false, "verified": true, "visibility": nil},
		{"email": "Mona@Example.com", "primary": true, "verified": true, "visibility": "private"},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET github.com/login/oauth/authorize", g.authorize)
	mux.HandleFunc("POST github.com/login/oauth/access_token", g.exchange)
	mux.HandleFunc("GET api.github.com/user", g.api(func() (int, any) { return 200, g.user }))
	mux.HandleFunc("GET api.github.com/user/emails", g.api(func() (int, any) { return g.status, g.emails }))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	g.names = map[string]string{"github.com": srv.URL, "api.github.com": srv.URL}
	return g
}

func (g *github) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := rand.Text()
	g.mu.Lock()
	g.grants[code] = q
	g.mu.Unlock()
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	if g.iss != "" {
		back.Set("iss", g.iss)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// exchange answers errors with status 200, as GitHub does, and forms unless JSON is asked for.
func (g *github) exchange(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q, ok := g.grants[r.PostFormValue("code")]
	delete(g.grants, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	out := url.Values{}
	switch {
	case r.PostFormValue("client_id") != clientID || r.PostFormValue("client_secret") != clientSecret:
		out.Set("error", "incorrect_client_credentials")
	case !ok || q.Get("redirect_uri") != r.PostFormValue("redirect_uri"):
		out.Set("error", "bad_verification_code")
	case base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") || q.Get("code_challenge_method") != "S256":
		out.Set("error", "bad_verification_code")
	default:
		g.token = "gho_" + rand.Text()
		out = url.Values{"access_token": {g.token}, "token_type": {"bearer"}, "scope": {strings.ReplaceAll(q.Get("scope"), " ", ",")}}
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	_, _ = w.Write([]byte(out.Encode()))
}

func (g *github) api(answer func() (int, any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asked = append(g.asked, r)
		if r.Header.Get("Authorization") != "Bearer "+g.token || r.Header.Get("User-Agent") == "" {
			write(w, http.StatusUnauthorized, map[string]any{"message": "Bad credentials"})
			return
		}
		status, body := answer()
		write(w, status, body)
	}
}

func githubApp(t *testing.T, change ...func(*oauth.Options)) (*app, *github) {
	t.Helper()
	g := newGitHub(t)
	change = append(change, func(o *oauth.Options) { o.HTTPClient = &http.Client{Transport: elsewhere(g.names)} })
	return setup(t, settings{modules: []authmod.Module{oauth.GitHub(options(change...))}}), g
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	a, g := githubApp(t)
	b := a.browser(g.names)
	link := b.start("github", map[string]any{"course": "go"})
	if !strings.HasPrefix(link, "https://github.com/login/oauth/authorize?") || query(t, link, "scope") != "read:user user:email" ||
		query(t, link, "client_id") != clientID {
		t.Errorf("sent to %s", link)
	}
	if _, err := b.redeem(b.visit(link).Query().Get("code")); err != nil {
		t.Fatalf("%v\n%s", err, a.log)
	}
	me := b.me()
	want := authmod.UserFields{Email: "mona@example.com", EmailVerified: true, Name: "Mona", Image: "https://avatars.example/583231"}
	if me.Value.UserFields != want {
		t.Errorf("user %+v", me.Value)
	}
	if got := a.accounts(); len(got) != 1 || got[0] != "github 583231 "+string(me.ID) {
		t.Errorf("accounts %q", got)
	}
	if len(a.created) != 1 || a.created[0].params["course"] != "go" {
		t.Errorf("OnCreate saw %+v", a.created)
	}

	// Somebody else takes over the login and the address: another account, and the address is not proved.
	g.user = map[string]any{"id": 99, "login": "octocat", "name": nil, "email": "mona@example.com"}
	g.emails = []map[string]any{{"email": "mona@example.com", "primary": true, "verified": false}}
	other := a.browser(g.names).signIn("github", nil).me()
	if other.ID == me.ID || other.Value.EmailVerified || other.Value.Name != "octocat" {
		t.Errorf("signed in as %+v", other)
	}
	// Mona has another login and another address now, and is the same.
	g.user = map[string]any{"id": 583231, "login": "mona", "name": "Mona L."}
	g.emails = []map[string]any{{"email": "new@example.com", "primary": true, "verified": true}}
	if again := a.browser(g.names).signIn("github", nil).me(); again.ID != me.ID || again.Value != me.Value {
		t.Errorf("signed in as %+v", again)
	}
}

func TestGitHubAddresses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status   int
		emails   any
		public   any
		want     string
		verified bool
		failed   bool
	}{
		"not granted":            {http.StatusForbidden, map[string]any{"message": "no"}, nil, "", false, false},
		"not granted, public":    {http.StatusNotFound, map[string]any{"message": "no"}, "mona@example.com", "mona@example.com", false, false},
		"none primary":           {200, []any{map[string]any{"email": "a@example.com", "verified": true}}, nil, "", false, false},
		"none":                   {200, []any{}, nil, "", false, false},
		"primary, not verified":  {200, []any{map[string]any{"email": "a@example.com", "primary": true}}, nil, "a@example.com", false, false},
		"down":                   {http.StatusBadGateway, map[string]any{}, nil, "", false, true},
		"something else":         {200, map[string]any{"x": 1}, nil, "", false, true},
		"limit of GitHub's rate": {http.StatusTooManyRequests, map[string]any{}, nil, "", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, g := githubApp(t)
			g.status, g.emails, g.user["email"] = c.status, c.emails, c.public
			b := a.browser(g.names)
			page := b.visit(b.start("github", nil))
			if c.failed {
				if page.String() != site+"?error=provider_failed" {
					t.Errorf("came to %s", page)
				}
				return
			}
			if _, err := b.redeem(page.Query().Get("code")); err != nil {
				t.Fatal(err)
			}
			if u := b.me().Value; u.Email != c.want || u.EmailVerified != c.verified {
				t.Errorf("user %+v", u)
			}
		})
	}
}

// GitHub says who answers, and did not always.
func TestGitHubsIssuer(t *testing.T) {
	t.Parallel()
	for iss, good := range map[string]bool{
		"": true, "https://github.com/login/oauth": true, "https://github.com": false, "https://evil.example/login/oauth": false,
	} {
		a, g := githubApp(t)
		g.iss = iss
		b := a.browser(g.names)
		if page := b.visit(b.start("github", nil)); page.Query().Has("code") != good {
			t.Errorf("iss %q: came to %s", iss, page)
		}
	}
}

func TestGitHubUsersWithoutAnID(t *testing.T) {
	t.Parallel()
	for _, id := range []any{nil, 0, -1, "583231", 1.5} {
		a, g := githubApp(t)
		g.user["id"] = id
		b := a.browser(g.names)
		if page := b.visit(b.start("github", nil)); page.Query().Get("error") != "provider_failed" {
			t.Errorf("id %v: came to %s", id, page)
		}
	}
}

func TestGitHubSecretsStayAtGitHub(t *testing.T) {
	t.Parallel()
	a, g := githubApp(t, func(o *oauth.Options) { o.ClientSecret = "a wrong secret" })
	b := a.browser(g.names)
	if page := b.visit(b.start("github", nil)); page.Query().Get("error") != "provider_failed" {
		t.Errorf("came to %s", page)
	}
	if log := a.log.String(); !strings.Contains(log, "incorrect_client_credentials") || strings.Contains(log, "a wrong secret") {
		t.Errorf("log %s", log)
	}
	if len(g.asked) != 0 {
		t.Error("the API was asked without a token")
	}
}
