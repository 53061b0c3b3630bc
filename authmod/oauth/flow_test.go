package oauth_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// profiled makes users of what the form and the provider say, and refuses people from elsewhere.
func profiled(o *oauth.Options) {
	o.Profile = oauth.NewProfile(func(who oauth.Person, s SignUp) (User, error) {
		if strings.HasSuffix(who.Email, "@evil.example") {
			return User{}, engine.Errorf(engine.CodeForbidden, "not for you")
		}
		if s.Nickname == "taken" {
			return User{}, engine.Errorf(engine.CodeInvalid, "no").WithIssues(engine.Issue{Path: "nickname", Rule: "unique", Message: "is taken"})
		}
		return User{UserFields: authmod.UserFields{Email: who.Email}, Nickname: s.Nickname}, nil
	})
}

// Clients that always say which button was pressed may: both are one here.
func TestFlowOfTheButton(t *testing.T) {
	t.Parallel()
	a, _ := school(t)
	for _, flow := range []string{"signUp", "signIn"} {
		b := a.browser(nil)
		code := b.visit(b.start("school", map[string]any{"flow": flow})).Query().Get("code")
		args := quoted(map[string]any{"provider": "school", "params": map[string]any{"flow": flow, "code": code}, "verifier": b.verifier})
		if out, err := b.call(args); err != nil || out.Tokens == nil {
			t.Errorf("%s: %s %v", flow, out.raw, err)
		}
	}
	if a.userCount() != 1 || len(a.created) != 1 || a.created[0].in.Flow != "" {
		t.Errorf("%d users; OnCreate saw %+v", a.userCount(), a.created)
	}
}

// What is wrong with the parameters is said before anybody is sent away.
func TestMalformedStarts(t *testing.T) {
	t.Parallel()
	a, _ := school(t, profiled)
	before := a.dump()
	for _, c := range []struct{ params, issues string }{
		{`{"flow":"reset"}`, "flow enum"},
		{`{"flow":7}`, "flow type"},
		{`{"redirectTo":7}`, "redirectTo type"},
		{`{"redirectTo":null}`, "redirectTo type"},
		{`{"redirectTo":"https://evil.example"}`, "redirectTo redirect"},
		{`{"redirectTo":""}`, "redirectTo redirect"},
		{`{"code":7}`, "code type"},
		{`{"code":""}`, "code code"},
		{`{"code":"` + strings.Repeat("A", 43) + `"}`, "code code"},
		{`{"code":"` + strings.Repeat("A", 20<<10) + `"}`, "code code"},
		{`{"nickname":"ada"}`, "course required"},
		{`{"nickname":"a","course":"go"}`, "nickname minLength"},
		{`{"nickname":"a","course":7,"redirectTo":"//x"}`, "redirectTo redirect,course type,nickname minLength"},
		{`{"nickname":"ada","course":"go","role":"admin"}`, "role additionalProperties"},
		{`{"nickname":"ada","course":"go","email":"eve@example.com"}`, "email additionalProperties"},
		{`{"nickname":"ada","course":"` + strings.Repeat("x", 17<<10) + `"}`, "params maxLength"},
		{`[]`, "params type"},
		{`"x"`, "params type"},
	} {
		_, err := a.browser(nil).call(`{"provider":"school","params":` + c.params + `}`)
		if err == nil || err.Code != engine.CodeInvalid {
			t.Errorf("%.80s: %v", c.params, err)
			continue
		}
		var got []string
		for _, i := range err.Issues {
			got = append(got, i.Path+" "+i.Rule)
		}
		if strings.Join(got, ",") != c.issues {
			t.Errorf("%.80s: issues %q, want %q", c.params, got, c.issues)
		}
	}
	for _, args := range []string{
		`{"params":{"code":"` + strings.Repeat("A", 43) + `"},"verifier":"x"}`, `{"params":{"code":"x"}}`, `{"params":{"code":""}}`,
	} {
		if _, err := a.browser(nil).call(args); !invalidCode(err) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if a.dump() != before {
		t.Error("the store has changed")
	}
}

// The profile is asked for those who are new, and its refusal counts for them alone.
func TestProfiles(t *testing.T) {
	t.Parallel()
	a, p := school(t, profiled)
	form := map[string]any{"nickname": "ada", "course": "go"}
	redeem := func(params map[string]any) (*browser, *engine.Error) {
		b := a.browser(nil)
		_, err := b.redeem(b.visit(b.start("school", params)).Query().Get("code"))
		return b, err
	}
	if _, err := redeem(nil); err == nil || err.Code != engine.CodeInvalid || len(err.Issues) != 2 || err.Issues[0].Path != "course" {
		t.Errorf("somebody new without the form: %v", err)
	}
	if _, err := redeem(map[string]any{"nickname": "taken", "course": "go"}); err == nil || err.Issues[0].Message != "is taken" {
		t.Errorf("a name that the profile refuses: %v", err)
	}
	p.is(map[string]any{"sub": "eve", "email": "eve@evil.example", "email_verified": true})
	if _, err := redeem(form); err == nil || err.Code != engine.CodeForbidden || err.Message != "not for you" {
		t.Errorf("somebody whom the profile refuses: %v", err)
	}
	if n := a.userCount(); n != 0 || len(a.accounts()) != 0 {
		t.Fatalf("%d users, accounts %v", n, a.accounts())
	}
	p.is(map[string]any{"sub": "ada", "email": "ada@example.com"})
	ada, err := redeem(form)
	if err != nil {
		t.Fatal(err)
	}
	// From now on nothing of it matters.
	p.is(map[string]any{"sub": "ada", "email": "ada@evil.example"})
	for _, params := range []map[string]any{nil, {"nickname": "taken", "course": "go"}} {
		if again, err := redeem(params); err != nil || again.me().ID != ada.me().ID || again.me().Value.Nickname != "ada" {
			t.Errorf("coming back with %v: %v", params, err)
		}
	}
}

// A trigger's refusal undoes the sign-up, the use of the code included.
func TestTriggerRefuses(t *testing.T) {
	t.Parallel()
	p := newIssuer(t)
	full := true
	a := setup(t, settings{
		modules: []authmod.Module{oauth.OIDC("school", p.url, options())},
		onCreate: func(tx *engine.Tx, u *engine.Doc[User]) error {
			if full {
				return engine.Errorf("course_full", "the course is full")
			}
			return nil
		},
	})
	b := a.browser(nil)
	code := b.visit(b.start("school", nil)).Query().Get("code")
	if _, err := b.redeem(code); err == nil || err.Code != "course_full" || b.principal != nil {
		t.Errorf("got %v", err)
	}
	if a.userCount() != 0 || len(a.accounts()) != 0 {
		t.Error("something is left of it")
	}
	full = false
	if out, err := b.redeem(code); err != nil || out.Tokens == nil {
		t.Errorf("when there is room: %v", err)
	}
}

func signUp(b *browser, email string) {
	b.app.t.Helper()
	args := quoted(map[string]any{"provider": "password", "params": map[string]any{"flow": "signUp", "email": email, "password": "correct horse battery"}})
	if out, err := b.call(args); err != nil || out.Tokens == nil {
		b.app.t.Fatalf("sign-up: %s %v", out.raw, err)
	}
}

func twoWays(t *testing.T, change ...func(*oauth.Options)) (*app, *issuer, *issuer) {
	t.Helper()
	p, q := newIssuer(t), newIssuer(t)
	return setup(t, settings{modules: []authmod.Module{
		password.New(password.Options{Crypto: password.Argon2id{Memory: 8, Passes: 1}, MinLength: 8}),
		oauth.OIDC("school", p.url, options(change...)), oauth.OIDC("work", q.url, options(change...)),
	}}), p, q
}

// A verified address links; one that is not does nothing, on whichever side it is not.
func TestLinkingByAddress(t *testing.T) {
	t.Parallel()
	verified := func(sub string) map[string]any {
		return map[string]any{"sub": sub, "email": "Ada@Example.com", "email_verified": true}
	}
	unverified := func(sub string) map[string]any { return map[string]any{"sub": sub, "email": "ada@example.com"} }

	t.Run("verified both times", func(t *testing.T) {
		t.Parallel()
		a, p, q := twoWays(t)
		p.is(verified("1"))
		q.is(verified("2"))
		one, two := a.browser(nil).signIn("school", nil), a.browser(nil).signIn("work", nil)
		if one.me().ID != two.me().ID || a.userCount() != 1 || len(a.accounts()) != 2 || len(a.created) != 1 {
			t.Errorf("accounts %q", a.accounts())
		}
	})
	t.Run("with a profile that would refuse", func(t *testing.T) {
		t.Parallel()
		a, p, q := twoWays(t, profiled)
		p.is(verified("1"))
		q.is(verified("2"))
		one := a.browser(nil).signIn("school", map[string]any{"nickname": "ada", "course": "go"})
		if two := a.browser(nil).signIn("work", nil); two.me().ID != one.me().ID {
			t.Errorf("accounts %q", a.accounts())
		}
	})
	for name, order := range map[string][2]map[string]any{
		"not verified first": {unverified("1"), verified("2")}, "not verified then": {verified("1"), unverified("2")},
		"never verified": {unverified("1"), unverified("2")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, p, q := twoWays(t)
			p.is(order[0])
			q.is(order[1])
			if a.browser(nil).signIn("school", nil).me().ID == a.browser(nil).signIn("work", nil).me().ID {
				t.Errorf("accounts %q", a.accounts())
			}
		})
	}
	// Both orders of the pre-hijack: an attacker signs up with the victim's address and a password of theirs, before or after.
	t.Run("a password first", func(t *testing.T) {
		t.Parallel()
		a, p, _ := twoWays(t)
		attacker := a.browser(nil)
		signUp(attacker, "ada@example.com")
		p.is(verified("1"))
		if victim := a.browser(nil).signIn("school", nil); victim.me().ID == attacker.me().ID {
			t.Error("the victim is in the attacker's account")
		}
	})
	t.Run("a password then", func(t *testing.T) {
		t.Parallel()
		a, p, _ := twoWays(t)
		p.is(verified("1"))
		victim, attacker := a.browser(nil).signIn("school", nil), a.browser(nil)
		signUp(attacker, "ada@example.com")
		if victim.me().ID == attacker.me().ID {
			t.Error("the attacker is in the victim's account")
		}
	})
}

// Somebody who is signed in adds a way to sign in.
func TestLinkFlow(t *testing.T) {
	t.Parallel()
	a, p, q := twoWays(t, profiled)
	p.is(map[string]any{"sub": "1", "email": "ada@evil.example", "email_verified": true}) // whom the profile would refuse
	q.is(map[string]any{"sub": "2"})
	if _, err := a.browser(nil).call(`{"provider":"school","params":{"flow":"link"}}`); err == nil || err.Code != engine.CodeUnauthenticated {
		t.Errorf("nobody: %v", err)
	}
	if out := export(t, a); out != "" {
		t.Errorf("nobody: %s", out)
	}
	link := func(b *browser, provider string) (answer, *engine.Error) {
		t.Helper()
		return b.redeem(b.visit(b.start(provider, map[string]any{"flow": "link", "redirectTo": "/settings"})).Query().Get("code"))
	}
	ada := a.browser(nil)
	signUp(ada, "ada@example.com")
	me, was := ada.me(), ada.principal
	out, err := link(ada, "school")
	if err != nil || !out.Linked || out.Tokens != nil || ada.principal != was {
		t.Fatalf("linked: %s %v", out.raw, err)
	}
	if got := a.flows[len(a.flows)-1]; got != "link" {
		t.Errorf("triggers see flow %q", got)
	}
	if out, err := link(ada, "school"); err != nil || !out.Linked {
		t.Errorf("linked again: %s %v", out.raw, err)
	}
	if by := a.browser(nil).signIn("school", nil); by.me().ID != me.ID || by.me().Value != me.Value {
		t.Errorf("signed in as %+v", by.me())
	}
	bob := a.browser(nil)
	signUp(bob, "bob@example.com")
	if _, err := link(bob, "school"); err == nil || err.Code != engine.CodeAlreadyExists {
		t.Errorf("an account of somebody else: %v", err)
	}

	// Whoever is signed in when the browser comes back must be the one who began.
	page := bob.visit(bob.start("work", map[string]any{"flow": "link"}))
	for name, other := range map[string]engine.Principal{"somebody else": ada.principal, "nobody": nil} {
		late := &browser{app: a, verifier: bob.verifier, principal: other}
		if _, err := late.redeem(page.Query().Get("code")); err == nil || err.Code != engine.CodeForbidden && err.Code != engine.CodeUnauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := a.accounts(); len(got) != 3 {
		t.Errorf("accounts %q", got)
	}
	if out, err := bob.redeem(page.Query().Get("code")); err != nil || !out.Linked {
		t.Errorf("the one who began: %s %v", out.raw, err)
	}
	if got := a.accounts(); len(got) != 4 || !slices.Contains(got, "work 2 "+string(bob.me().ID)) {
		t.Errorf("accounts %q", got)
	}
}

// An attacker who is signed in has somebody else's browser come back in their linking, and the reverse.
func TestLinkAcrossBrowsers(t *testing.T) {
	t.Parallel()
	a, p, _ := twoWays(t)
	attacker, victim := a.browser(nil), a.browser(nil)
	signUp(attacker, "eve@example.com")
	signUp(victim, "ada@example.com")
	p.is(map[string]any{"sub": "victim"})
	code := victim.visit(attacker.start("school", map[string]any{"flow": "link"})).Query().Get("code")
	if _, err := victim.redeem(code); !invalidCode(err) {
		t.Errorf("the victim's account at the provider is the attacker's: %v", err)
	}
	p.is(map[string]any{"sub": "attacker"})
	code = attacker.visit(attacker.start("school", map[string]any{"flow": "link"})).Query().Get("code")
	if _, err := victim.redeem(code); !invalidCode(err) {
		t.Errorf("the attacker's account at the provider is the victim's: %v", err)
	}
	if got := a.accounts(); len(got) != 2 {
		t.Errorf("accounts %q", got)
	}
}

func TestStartsPerNetwork(t *testing.T) {
	t.Parallel()
	a, _ := school(t, func(o *oauth.Options) { o.MaxStartsPerNetwork = 3 })
	at := func(addr string) *browser {
		b := a.browser(nil)
		b.remote = netip.MustParseAddr(addr)
		return b
	}
	for i := range 3 {
		at(fmt.Sprintf("2001:db8::%d", i+1)).start("school", nil)
	}
	stored := export(t, a)
	_, err := at("2001:db8::9").call(`{"provider":"school"}`)
	if err == nil || err.Code != engine.CodeBusy || err.Data == nil || export(t, a) != stored {
		t.Errorf("one more: %v", err)
	}
	at("2001:db8:0:1::1").start("school", nil)
	a.browser(nil).start("school", nil) // of which nothing is known
}

// What a client asks for beside the module's own parameters goes to the provider.
func TestScopesAndParameters(t *testing.T) {
	t.Parallel()
	a, _ := school(t, func(o *oauth.Options) {
		o.Scopes = []string{"groups"}
		o.AuthParams = map[string]string{"prompt": "select_account"}
		o.CallbackURL = "https://proxy.example.com/back"
	})
	link := a.browser(nil).start("school", nil)
	if query(t, link, "scope") != "openid email profile groups" || query(t, link, "prompt") != "select_account" ||
		query(t, link, "redirect_uri") != "https://proxy.example.com/back" {
		t.Errorf("sent to %s", link)
	}
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		auth   authmod.Options
		module authmod.Module
	}{
		"ClientID is missing": {authmod.Options{BaseURL: site}, oauth.GitHub(oauth.Options{})},
		"no address for the provider to send people back to": {
			authmod.Options{SiteURL: site}, oauth.GitHub(options()),
		},
		"nowhere for people to come back to": {
			authmod.Options{}, oauth.GitHub(options(func(o *oauth.Options) { o.CallbackURL = site + "/cb" })),
		},
		`the issuer is "http://login.example.com"`: {authmod.Options{BaseURL: site}, oauth.OIDC("school", "http://login.example.com", options())},
		`the issuer is ""`:                         {authmod.Options{BaseURL: site}, oauth.OIDC("school", "", options())},
		`the issuer is "https://login.example/?x"`: {authmod.Options{BaseURL: site}, oauth.OIDC("school", "https://login.example/?x", options())},
		`RedirectTo: ["*"]`:                        {authmod.Options{BaseURL: site}, oauth.GitHub(options(func(o *oauth.Options) { o.RedirectTo = []string{"*"} }))},
		`AuthParams has "State"`:                   {authmod.Options{BaseURL: site}, oauth.GitHub(options(func(o *oauth.Options) { o.AuthParams = map[string]string{"State": "x"} }))},
		"the profile takes string": {authmod.Options{BaseURL: site}, oauth.GitHub(options(func(o *oauth.Options) {
			o.Profile = oauth.NewProfile(func(oauth.Person, string) (User, error) { return User{}, nil })
		}))},
		"the profile makes oauth_test.SignUp": {authmod.Options{BaseURL: site}, oauth.GitHub(options(func(o *oauth.Options) {
			o.Profile = oauth.NewProfile(func(oauth.Person, SignUp) (SignUp, error) { return SignUp{}, nil })
		}))},
		"the profile's function is nil":             {authmod.Options{BaseURL: site}, oauth.GitHub(options(func(o *oauth.Options) { o.Profile = oauth.NewProfile[SignUp, User](nil) }))},
		`there are two modules "github"`:            {authmod.Options{BaseURL: site, Modules: []authmod.Module{oauth.GitHub(options())}}, oauth.OIDC("github", "https://x.example", options())},
		`module "git hub": a provider's name is 1`:  {authmod.Options{BaseURL: site}, oauth.OIDC("git hub", "https://x.example", options())},
		`BaseURL must be an address such as https:`: {authmod.Options{BaseURL: "app.example.com"}, oauth.GitHub(options())},
	} {
		s := engine.NewSchema()
		c.auth.Modules = append(c.auth.Modules, c.module)
		authmod.New(s, engine.Define[User](s, "users"), c.auth)
		db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
		if err == nil {
			_ = db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// Google is OpenID Connect by its issuer.
func TestGoogle(t *testing.T) {
	t.Parallel()
	p := newIssuer(t)
	const google = "https://accounts.google.com"
	names := elsewhere{"accounts.google.com": p.url, "oauth2.googleapis.com": p.url, "www.googleapis.com": p.url}
	p.lies.discovery = func(d map[string]any) {
		d["issuer"], d["authorization_endpoint"] = google, google+"/authorize"
		d["token_endpoint"], d["jwks_uri"] = "https://oauth2.googleapis.com/token", "https://www.googleapis.com/keys"
		delete(d, "userinfo_endpoint")
	}
	p.is(map[string]any{"iss": google, "sub": "110169484474386276334", "email": "ada@gmail.com", "email_verified": true})
	a := setup(t, settings{modules: []authmod.Module{oauth.Google(options(func(o *oauth.Options) { o.HTTPClient = &http.Client{Transport: names} }))}})
	b := a.browser(names)
	b.signIn("google", nil)
	if got := a.accounts(); len(got) != 1 || got[0] != "google 110169484474386276334 "+string(b.me().ID) {
		t.Errorf("accounts %q", got)
	}
}
