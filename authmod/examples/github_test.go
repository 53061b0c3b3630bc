//go:build linux

package examples_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// github answers as GitHub's documentation of OAuth apps and of its REST API says.
type github struct {
	t  *testing.T
	mu sync.Mutex

	challenges map[string]string // guarded by mu; of the codes that were given
	verified   bool              // guarded by mu
}

const githubSecret = "the client's secret"

func (g *github) hosts() map[string]http.Handler {
	site, api := http.NewServeMux(), http.NewServeMux()
	site.HandleFunc("POST /login/oauth/access_token", g.token)
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer gho_1" {
				http.Error(w, `{"message":"Bad credentials"}`, http.StatusUnauthorized)
				return
			}
			g.json(w, v)
		}
	}
	api.HandleFunc("GET /user", answer(object{
		"id": 583231, "login": "ada", "name": "Ada Lovelace", "avatar_url": "https://avatars.githubusercontent.com/u/583231", "email": nil,
	}))
	api.HandleFunc("GET /user/emails", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		answer([]object{
			{"email": "old@example.com", "primary": false, "verified": true, "visibility": nil},
			{"email": "Ada@example.com", "primary": true, "verified": g.verified, "visibility": "private"},
		})(w, r)
	})
	return map[string]http.Handler{"github.com": site, "api.github.com": api}
}

func (g *github) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		g.t.Error(err)
	}
}

func (g *github) token(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	g.mu.Lock()
	defer g.mu.Unlock()
	challenge, known := g.challenges[r.FormValue("code")]
	delete(g.challenges, r.FormValue("code"))
	if !known || r.FormValue("client_secret") != githubSecret || challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		g.json(w, object{"error": "bad_verification_code"})
		return
	}
	g.json(w, object{"access_token": "gho_1", "token_type": "bearer", "scope": "read:user,user:email"})
}

// authorize is what happens when somebody agrees on GitHub's page: where they are sent on.
func (g *github) authorize(address string) (callback string) {
	g.t.Helper()
	u, err := url.Parse(address)
	q := u.Query()
	if err != nil || u.Host != "github.com" || u.Path != "/login/oauth/authorize" || q.Get("client_id") != "client" ||
		q.Get("code_challenge_method") != "S256" || !strings.Contains(q.Get("scope"), "user:email") {
		g.t.Fatalf("%s, %v", address, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	code := "code of " + q.Get("state")
	g.challenges[code] = q.Get("code_challenge")
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		g.t.Fatal(err)
	}
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
	return back.String()
}

func (g *github) verify() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.verified = true
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	g := &github{t: t, challenges: map[string]string{}}
	const base, site = "https://api.school.example", "https://school.example"
	p := start(t, "github", append(newInternet(t, g.hosts()).env(),
		"GITHUB_CLIENT_ID=client", "GITHUB_CLIENT_SECRET="+githubSecret, "BASE_URL="+base, "SITE_URL="+site)...)
	begin := func(form object) answer { return p.signIn(object{"provider": "github", "params": form}) }
	// through is the whole way, from the button to the answer that the page gets at the end.
	through := func(form object) answer {
		t.Helper()
		var to struct{ Redirect, Verifier string }
		if a := begin(form); json.Unmarshal(a.Value, &to) != nil || to.Redirect == "" {
			t.Fatalf("%+v", a)
		}
		callback, ok := strings.CutPrefix(g.authorize(to.Redirect), base)
		if !ok {
			t.Fatalf("the callback is %s", callback)
		}
		back, err := url.Parse(p.redirect(callback))
		if err != nil || back.Scheme+"://"+back.Host != site || back.Query().Get("code") == "" {
			t.Fatalf("sent back to %s, %v; it says %s", back, err, p.stderr)
		}
		return p.signIn(object{"params": object{"code": back.Query().Get("code")}, "verifier": to.Verifier})
	}
	form := object{"nickname": "Ada", "course": "go"}
	// What is wrong with the form is told before anybody goes anywhere.
	if a := begin(object{"nickname": "A", "course": "cooking"}); !a.refused("invalid", "course", "nickname") {
		t.Errorf("%+v", a)
	}
	if a := through(form); !a.refused("invalid", "email") {
		t.Errorf("an address that is not verified: %+v", a)
	}
	g.verify()
	if a := through(object{}); !a.refused("invalid", "course", "nickname") {
		t.Errorf("somebody new, and no form: %+v", a)
	}
	token := p.token(through(form))
	me := get[user](p, "users:me", token)
	if me.Email != "ada@example.com" || !me.EmailVerified || me.Name != "Ada Lovelace" || me.Nickname != "Ada" || me.Role != "student" ||
		p.courses(token) != "go" {
		t.Errorf("%+v", me)
	}
	// Who is known needs no form, and nothing is made again.
	token = p.token(through(object{}))
	if again := get[user](p, "users:me", token); again != me || p.courses(token) != "go" {
		t.Errorf("%+v", again)
	}
	if strings.Contains(p.stderr.String(), githubSecret) || strings.Contains(p.stderr.String(), "gho_1") {
		t.Errorf("a secret is in the log: %s", p.stderr)
	}
}
