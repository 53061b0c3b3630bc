package oauth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
	"github.com/mimosadb/mimosa/engine"
)

// school is an app with one provider.
func school(t *testing.T, change ...func(*oauth.Options)) (*app, *issuer) {
	t.Helper()
	p := newIssuer(t)
	return setup(t, settings{modules: []authmod.Module{oauth.OIDC("school", p.url, options(change...))}}), p
}

// answered stops a browser right before it takes the provider's answer to the callback, and returns the callback's address.
func (b *browser) answered(address string) string {
	b.app.t.Helper()
	c := *b.http
	c.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), b.app.url) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	res, err := c.Get(address)
	if err != nil {
		b.app.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.Header.Get("Location")
}

// The attacker signs in at the provider as themselves, and has the victim's browser load the page with the attacker's code, so
// that the victim works in the attacker's account (login CSRF).
func TestCodePutIntoAnotherBrowser(t *testing.T) {
	t.Parallel()
	a, _ := school(t)
	attacker := a.browser(nil)
	code := attacker.visit(attacker.start("school", nil)).Query().Get("code")

	// A victim who has not begun anything, and one who has begun a sign-in of their own.
	fresh, begun := a.browser(nil), a.browser(nil)
	begun.start("school", nil)
	for name, victim := range map[string]*browser{"without a verifier": fresh, "with their own": begun} {
		if out, err := victim.redeem(code); !invalidCode(err) || victim.principal != nil {
			t.Errorf("%s: %s, %v", name, out.raw, err)
		}
	}
	if n := a.userCount(); n != 0 {
		t.Errorf("there are %d users", n)
	}
	// Neither has taken it from its owner.
	if out, err := attacker.redeem(code); err != nil || out.Tokens == nil {
		t.Errorf("the owner gets %v", err)
	}
}

// The same with a link to the callback: the victim's browser comes back in the attacker's sign-in.
func TestCallbackPutIntoAnotherBrowser(t *testing.T) {
	t.Parallel()
	a, _ := school(t)
	attacker, victim := a.browser(nil), a.browser(nil)
	link := attacker.answered(attacker.start("school", nil))
	page := victim.visit(link)
	if _, err := victim.redeem(page.Query().Get("code")); !invalidCode(err) {
		t.Errorf("the victim is signed in as the attacker: %v", err)
	}
}

// The attacker begins, and has the victim go to the provider, who knows them and asks nothing. The attacker has the verifier
// and state, and wants the victim's account.
func TestVictimSentIntoTheAttackersSignIn(t *testing.T) {
	t.Parallel()
	a, p := school(t)
	attacker, victim := a.browser(nil), a.browser(nil)
	link := attacker.start("school", nil)
	p.is(map[string]any{"sub": "sub-victim"})
	page := victim.visit(link)
	if page.Host != "app.example.com" || page.Query().Get("code") == "" {
		t.Fatalf("came to %s", page)
	}
	state := query(t, link, "state")
	for _, guess := range []string{state, attacker.verifier, query(t, link, "nonce"), query(t, link, "code_challenge"), strings.Repeat("A", 43)} {
		if out, err := attacker.redeem(guess); !invalidCode(err) {
			t.Errorf("a guess opened the sign-in: %s %v", out.raw, err)
		}
	}
	// Coming to the callback again gets nothing either.
	again := attacker.visit(a.url + "/api/auth/school/callback?code=x&state=" + state)
	if again.Query().Get("error") != "invalid_state" || again.Query().Get("code") != "" {
		t.Errorf("came to %s", again)
	}
	if n := a.userCount(); n != 0 {
		t.Errorf("there are %d users", n)
	}
}

func query(t *testing.T, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	v := u.Query().Get(name)
	if v == "" {
		t.Fatalf("%s has no %s", address, name)
	}
	return v
}

// A code of the provider's that was stolen on its way is put into the attacker's own sign-in. PKCE binds it to the sign-in
// that it was made for.
func TestStolenProviderCode(t *testing.T) {
	t.Parallel()
	a, p := school(t)
	victim, attacker := a.browser(nil), a.browser(nil)
	p.is(map[string]any{"sub": "sub-victim"})
	stolen := query(t, victim.answered(victim.start("school", nil)), "code")
	state := query(t, attacker.start("school", nil), "state")
	page := attacker.visit(a.url + "/api/auth/school/callback?" + url.Values{"state": {state}, "code": {stolen}}.Encode())
	if page.Query().Get("error") != "provider_failed" || page.Query().Has("code") {
		t.Errorf("came to %s", page)
	}
}

func TestStateIsGoodOnce(t *testing.T) {
	t.Parallel()
	a, p := school(t)
	b := a.browser(nil)
	link := b.answered(b.start("school", nil))
	const many = 8
	var wg sync.WaitGroup
	pages := make([]*url.URL, many)
	for i := range pages {
		other := a.browser(nil)
		wg.Go(func() { pages[i] = other.visit(link) })
	}
	wg.Wait()
	var code string
	for _, page := range pages {
		got := page.Query()
		switch {
		case got.Get("code") != "" && code == "":
			code = got.Get("code")
		case got.Get("error") != "invalid_state" || got.Has("code"):
			t.Errorf("came to %s", page)
		}
	}
	if n := p.count("/token"); n != 1 {
		t.Errorf("the provider's code was sent %d times", n)
	}
	if out, err := b.redeem(code); err != nil || out.Tokens == nil {
		t.Errorf("the one code: %v", err)
	}
}

func TestCodeIsGoodOnce(t *testing.T) {
	t.Parallel()
	a, _ := school(t)
	b := a.browser(nil)
	code := b.visit(b.start("school", nil)).Query().Get("code")
	const many = 12
	var wg sync.WaitGroup
	var mu sync.Mutex
	signedIn := 0
	for range many {
		other := &browser{app: a, verifier: b.verifier}
		wg.Go(func() {
			out, err := other.redeem(code)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && out.Tokens != nil {
				signedIn++
			} else if !invalidCode(err) {
				t.Errorf("got %s, %v", out.raw, err)
			}
		})
	}
	wg.Wait()
	if signedIn != 1 || a.userCount() != 1 || len(a.accounts()) != 1 {
		t.Errorf("%d signed in, %d users, accounts %q", signedIn, a.userCount(), a.accounts())
	}
	if _, err := b.redeem(code); !invalidCode(err) {
		t.Errorf("later: %v", err)
	}
}

// A wrong verifier does not take a code from its owner at once, and cannot be tried for ever.
func TestWrongVerifier(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		misses int
		good   bool
	}{{4, true}, {5, false}} {
		a, _ := school(t)
		b := a.browser(nil)
		code := b.visit(b.start("school", nil)).Query().Get("code")
		for i := range c.misses {
			other := &browser{app: a, verifier: strings.Repeat("x", i)}
			if _, err := other.redeem(code); !invalidCode(err) {
				t.Errorf("wrong verifier: %v", err)
			}
		}
		out, err := b.redeem(code)
		if c.good && (err != nil || out.Tokens == nil) || !c.good && !invalidCode(err) {
			t.Errorf("after %d misses: %s %v", c.misses, out.raw, err)
		}
	}
}

func TestSignInsExpire(t *testing.T) {
	t.Parallel()
	a, p := school(t)
	b := a.browser(nil)
	link := b.answered(b.start("school", nil))
	a.clock.advance(10 * time.Minute)
	if page := b.visit(link); page.Query().Get("error") != "invalid_state" || p.count("/token") != 0 {
		t.Errorf("after 10 minutes: %s", page)
	}

	code := b.visit(b.start("school", nil)).Query().Get("code")
	a.clock.advance(5 * time.Minute)
	if _, err := b.redeem(code); !invalidCode(err) {
		t.Errorf("after 5 minutes: %v", err)
	}

	// Just in time, both.
	link = b.answered(b.start("school", nil))
	a.clock.advance(10*time.Minute - time.Second)
	code = b.visit(link).Query().Get("code")
	a.clock.advance(5*time.Minute - time.Second)
	if out, err := b.redeem(code); err != nil || out.Tokens == nil {
		t.Errorf("in time: %v", err)
	}
}

// What is over goes when others begin, so nothing of those who never came back stays.
func TestExpiredSignInsGo(t *testing.T) {
	t.Parallel()
	a, p := school(t)
	p.is(map[string]any{"sub": "sub-of-somebody-who-left"})
	b := a.browser(nil)
	b.visit(b.start("school", nil))
	if !strings.Contains(export(t, a), "sub-of-somebody-who-left") {
		t.Fatal("who it is waits for the code")
	}
	a.clock.advance(11 * time.Minute)
	a.browser(nil).start("school", nil)
	if out := export(t, a); strings.Contains(out, "sub-of-somebody-who-left") {
		t.Errorf("still stored: %s", out)
	}
}

// export gives the documents of sign-ins under way: unlike a dump, without what is there of old versions.
func export(t *testing.T, a *app) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := a.db.Export(context.Background(), "authOAuth", &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Requests to the callback that are no answer to a sign-in change nothing, and people end up at a page all the same.
func TestStrangeCallbacks(t *testing.T) {
	t.Parallel()
	a, p := school(t)
	b := a.browser(nil)
	state := query(t, b.start("school", nil), "state")
	before := export(t, a)
	for _, q := range []string{
		"", "state=", "code=1", "error=access_denied", "state=unknown", "state=" + strings.Repeat("A", 43),
		"state=" + state + "&state=" + state + "&code=1", "state=" + state + "&code=1&code=2",
		"state=" + state + "&code=1&error=access_denied&error=x", "state=" + state + "&code=1&iss=a&iss=b",
		"state=" + state + "%00&code=1", "state=" + state + "x&code=1", "code=1;state=" + state, "%zz=1&state=" + state,
		"state[]=" + state, "STATE=" + state,
	} {
		page := b.visit(a.url + "/api/auth/school/callback?" + q)
		if page.String() != site+"?error=invalid_state" {
			t.Errorf("%q leads to %s", q, page)
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/callback?state=" + state, http.StatusMethodNotAllowed},
		{"HEAD", "/callback?state=" + state, http.StatusMethodNotAllowed},
		{"GET", "/callback/?state=" + state, http.StatusNotFound},
		{"GET", "/callback/x?state=" + state, http.StatusNotFound},
		{"GET", "/?state=" + state, http.StatusNotFound},
		{"GET", "/callback?state=" + state + "&code=" + strings.Repeat("x", 9<<10), http.StatusRequestURITooLong},
	} {
		req, err := http.NewRequest(c.method, a.url+"/api/auth/school"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		var e engine.Error
		if res.StatusCode != c.status || c.method != "HEAD" && (json.Unmarshal(body, &e) != nil || e.Code == "") {
			t.Errorf("%s %.60s: %s %s", c.method, c.path, res.Status, body)
		}
	}
	if p.count("/token") != 0 || export(t, a) != before {
		t.Error("something has changed")
	}
	// The sign-in is not over for all that.
	if page := b.visit(a.url + "/api/auth/school/callback?error=access_denied&state=" + state); page.String() != site+"?error=access_denied" {
		t.Errorf("came to %s", page)
	}
}

// Answers of one provider that are brought to the callback of another, and answers that say that they are another's.
func TestMixUp(t *testing.T) {
	t.Parallel()
	honest, evil := newIssuer(t), newIssuer(t)
	a := setup(t, settings{modules: []authmod.Module{
		oauth.OIDC("honest", honest.url, options()), oauth.OIDC("evil", evil.url, options()),
	}})
	b := a.browser(nil)
	answer := b.answered(b.start("honest", nil))
	page := b.visit(strings.Replace(answer, "/honest/", "/evil/", 1))
	if page.Query().Get("error") != "invalid_state" || evil.count("/token") != 0 {
		t.Errorf("at the other's callback: %s", page)
	}
	if page := b.visit(answer); page.Query().Get("code") == "" {
		t.Errorf("at its own then: %s", page)
	}
	for name, c := range map[string]struct {
		announced bool
		iss       string
		good      bool
	}{
		"its own":                 {false, honest.url, true},
		"its own, announced":      {true, honest.url, true},
		"none":                    {false, "", true},
		"none, announced":         {true, "", false},
		"another's":               {false, evil.url, false},
		"another's, announced":    {true, evil.url, false},
		"its own, another's path": {false, honest.url + "/", false},
	} {
		p := newIssuer(t)
		p.lies.discovery = func(doc map[string]any) { doc["authorization_response_iss_parameter_supported"] = c.announced }
		p.lies.authorize = func(_, back url.Values) {
			if iss := strings.Replace(c.iss, honest.url, p.url, 1); iss != "" {
				back.Set("iss", iss)
			}
		}
		a := setup(t, settings{modules: []authmod.Module{oauth.OIDC("school", p.url, options())}})
		b := a.browser(nil)
		page := b.visit(b.start("school", nil))
		if c.good != page.Query().Has("code") || !c.good && (page.Query().Get("error") != "provider_failed" || p.count("/token") != 0) {
			t.Errorf("%s: %s", name, page)
		}
	}
}

// The callback's address is the configured one, whatever a request says.
func TestHostHeaderIsNotBelieved(t *testing.T) {
	t.Parallel()
	a, _ := school(t)
	b := a.browser(nil)
	if got := query(t, b.start("school", nil), "redirect_uri"); got != a.url+"/api/auth/school/callback" {
		t.Errorf("redirect_uri %s", got)
	}
	link := b.answered(b.start("school", nil))
	req, err := http.NewRequest(http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	req.Header.Set("X-Forwarded-Host", "evil.example")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if to := res.Header.Get("Location"); !strings.HasPrefix(to, site+"?code=") {
		t.Errorf("sent to %s", to)
	}
	if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers %v", res.Header)
	}
}

// Whoever reads the database, or its log, at any moment finds nothing by which to sign in.
func TestNothingUsableIsStoredOrLogged(t *testing.T) {
	t.Parallel()
	a, p := school(t)
	b := a.browser(nil)
	link := b.start("school", nil)
	state := query(t, link, "state")
	secrets := map[string]string{
		"state": state, "verifier": b.verifier, "nonce": query(t, link, "nonce"), "challenge": query(t, link, "code_challenge"),
		"client secret": clientSecret,
	}
	absent := func(when string) {
		t.Helper()
		for name, s := range secrets {
			if strings.Contains(a.dump(), s) {
				t.Errorf("%s: %s is stored", when, name)
			}
			if strings.Contains(a.log.String(), s) {
				t.Errorf("%s: %s is logged", when, name)
			}
		}
	}
	absent("begun")
	answer := b.answered(link)
	secrets["provider's code"] = query(t, answer, "code")
	code := b.visit(answer).Query().Get("code")
	secrets["code"] = code
	p.mu.Lock()
	secrets["access token"], secrets["ID token"] = p.tokens[0], p.tokens[1]
	p.mu.Unlock()
	absent("come back")
	other := &browser{app: a, verifier: "somebody else's"}
	if _, err := other.redeem(code); !invalidCode(err) {
		t.Error(err)
	}
	absent("tried")
	out, err := b.redeem(code)
	if err != nil {
		t.Fatal(err)
	}
	secrets["our access token"], secrets["our refresh token"] = out.Tokens.Token, out.Tokens.RefreshToken
	absent("signed in")

	// Errors of the provider that repeat what they were asked.
	p.lies.token = func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		secrets["verifier of PKCE"] = r.PostFormValue("code_verifier")
		write(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": r.PostForm.Encode(), "id_token": r.PostForm.Encode()})
	}
	link = b.start("school", nil)
	answer = b.answered(link)
	secrets["state"], secrets["provider's code"] = query(t, link, "state"), query(t, answer, "code")
	if page := b.visit(answer); page.Query().Get("error") != "provider_failed" {
		t.Errorf("came to %s", page)
	}
	absent("refused")
	if !strings.Contains(a.log.String(), "status 400") || !strings.Contains(a.log.String(), "invalid_grant") {
		t.Errorf("the log does not say what is wrong: %s", a.log)
	}
	if secrets["verifier of PKCE"] == "" {
		t.Error("the provider got no verifier")
	}
}

// What the database holds does not give the verifier of PKCE away, even to somebody who sees where the browser is sent.
func TestVerifierOfPKCEIsNotStored(t *testing.T) {
	t.Parallel()
	a, _ := school(t)
	link := a.browser(nil).start("school", nil)
	var doc map[string]any
	if err := json.Unmarshal([]byte(export(t, a)), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["salt"] == "" || doc["state"] == query(t, link, "state") {
		t.Fatalf("document %v", doc)
	}
	for name, v := range doc {
		s, _ := v.(string)
		sum := sha256.Sum256([]byte(s))
		if base64.RawURLEncoding.EncodeToString(sum[:]) == query(t, link, "code_challenge") {
			t.Errorf("%s is the verifier of PKCE", name)
		}
	}
}

// Whoever has seen state alone, in an address, or the salt alone, in a dump, has nothing.
func TestDerivedSecrets(t *testing.T) {
	t.Parallel()
	base := oauth.Derive("pkce", "state", "salt")
	for _, other := range []string{
		oauth.Derive("nonce", "state", "salt"), oauth.Derive("pkce", "state2", "salt"), oauth.Derive("pkce", "state", "salt2"),
		oauth.Derive("pkce", "", "salt"), oauth.Derive("pkce", "state", ""),
	} {
		if other == base || len(other) != 43 {
			t.Errorf("%q and %q", base, other)
		}
	}
}

// With a user go the sign-ins that were under way for them.
func TestDeletedUsers(t *testing.T) {
	t.Parallel()
	a, _ := school(t)
	b := a.browser(nil).signIn("school", nil)
	me := b.me().ID
	stale := a.browser(nil)
	code := stale.visit(stale.start("school", nil)).Query().Get("code")
	b.start("school", map[string]any{"flow": "link"})
	other := a.browser(nil)
	other.start("school", nil)
	if n := strings.Count(export(t, a), "\n"); n != 3 {
		t.Fatalf("%d sign-ins are under way", n)
	}
	if err := a.db.Update(context.Background(), func(tx *engine.Tx) error { return a.users.Delete(tx, me) }); err != nil {
		t.Fatal(err)
	}
	if out := export(t, a); strings.Count(out, "\n") != 1 || strings.Contains(out, string(me)) || strings.Contains(out, "sub-ada") {
		t.Errorf("what is left: %s", out)
	}
	if _, err := stale.redeem(code); !invalidCode(err) || a.userCount() != 0 {
		t.Errorf("the code of somebody who was deleted: %v", err)
	}
}

// Two sign-ins have nothing in common.
func TestSecretsDiffer(t *testing.T) {
	t.Parallel()
	a, _ := school(t)
	seen := map[string]bool{}
	for range 3 {
		b := a.browser(nil)
		link := b.start("school", nil)
		for _, s := range []string{query(t, link, "state"), query(t, link, "nonce"), query(t, link, "code_challenge"), b.verifier} {
			if seen[s] || len(s) != 43 {
				t.Errorf("%q is there twice, or not of 256 bits", s)
			}
			seen[s] = true
		}
	}
}
