package anonymous_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/anonymous"
	"github.com/mimosadb/mimosa/engine"
)

const secret = "correct horse battery"

func form(flow, email string) map[string]any {
	return map[string]any{"flow": flow, "email": email, "password": secret}
}

func TestAnonymousSignIn(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d, other := a.be(), a.be()
	if d.user() == "" || d.user() == other.user() {
		t.Fatalf("users %q and %q", d.user(), other.user())
	}
	if got := a.triggered(); !slices.Equal(got, []string{"create  ", "create  "}) {
		t.Errorf("triggers: %q", got)
	}
	if in := a.lastSignIn(); !in.NewUser || in.Provider != "anonymous" || in.User != other.user() || in.Previous != "" {
		t.Errorf("the sign-in: %+v", in)
	}
	d.add("mine")
	if got := a.notesOf(d.user()); !slices.Equal(got, []string{"welcome", "mine"}) {
		t.Errorf("notes: %q", got)
	}
	for _, acc := range a.accounts() {
		if !acc.Temporary || acc.Secret != "" || len(acc.ProviderAccountID) < 26 {
			t.Errorf("account %+v", acc)
		}
	}
}

// To be anonymous again, as a page that is loaded twice may ask for, is to stay who one is.
func TestAnonymousAgain(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.be()
	was, session := d.user(), d.principal
	a.triggered()
	d.must("anonymous", nil)
	if d.user() != was || a.usersThere() != 1 || len(a.triggered()) != 0 {
		t.Errorf("user %s was %s; %d users", d.user(), was, a.usersThere())
	}
	old := &device{app: a, principal: session}
	if old.user() != "" {
		t.Error("the session that was replaced goes on")
	}
}

// A sign-up, of whatever kind, makes the user theirs: with its id and all that it has, and in one transaction.
func TestSignUpKeepsTheUser(t *testing.T) {
	t.Parallel()
	for provider, params := range map[string]map[string]any{
		"password": form("signUp", "ada@example.com"), "verifier": {"email": "ada@example.com"},
	} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			a := setup(t)
			d := a.be()
			d.add("mine")
			was, session := d.user(), d.principal
			a.triggered()
			d.must(provider, params)
			if d.user() != was || a.usersThere() != 1 {
				t.Errorf("user %s was %s; %d users", d.user(), was, a.usersThere())
			}
			if got := a.notesOf(was); !slices.Equal(got, []string{"welcome", "mine"}) {
				t.Errorf("notes: %q", got)
			}
			got := a.triggered()
			if len(got) == 0 || slices.ContainsFunc(got, func(s string) bool { return s != "update  ada@example.com" }) {
				t.Errorf("triggers: %q", got)
			}
			if in := a.lastSignIn(); in.NewUser || !in.Upgraded || in.Previous != "" || in.User != was {
				t.Errorf("the sign-in: %+v", in)
			}
			if accounts := a.accounts(); len(accounts) != 1 || accounts[0].Provider != provider || accounts[0].Temporary || accounts[0].User != was {
				t.Errorf("accounts: %+v", accounts)
			}
			if (&device{app: a, principal: session}).user() != "" {
				t.Error("the anonymous session goes on")
			}
			// Another device of theirs.
			again := a.device()
			if provider == "password" {
				params = form("signIn", "ada@example.com")
			}
			again.must(provider, params)
			if again.user() != was {
				t.Errorf("signed in as %s", again.user())
			}
			// It happens once: the user is nobody's to take any more.
			d.must("verifier", map[string]any{"email": "eve@example.com"})
			if d.user() == was || a.usersThere() != 2 {
				t.Errorf("the second sign-up is user %s, with %d users", d.user(), a.usersThere())
			}
		})
	}
}

// A sign-up that is refused leaves all as it was.
func TestSignUpThatFailsKeepsAnonymous(t *testing.T) {
	t.Parallel()
	a := setup(t)
	a.device().must("password", form("signUp", "ada@example.com"))
	d := a.be()
	was := d.user()
	for _, params := range []map[string]any{
		form("signUp", "ada@example.com"), {"flow": "signUp", "email": "bob@example.com", "password": "short"}, form("signIn", "nobody@example.com"),
	} {
		if d.signIn("password", params) == nil {
			t.Fatalf("%v was accepted", params)
		}
		if d.user() != was || a.usersThere() != 2 || len(a.accounts()) != 2 {
			t.Errorf("after %v: user %q, was %q", params, d.user(), was)
		}
	}
}

// Whoever turns out to be somebody who was there before becomes them. The application takes along what it wants to.
func TestSignInToAnotherUser(t *testing.T) {
	t.Parallel()
	for provider, params := range map[string]map[string]any{
		"password": form("signIn", "ada@example.com"),
		"verifier": {"email": "ada@example.com"},
		"another":  {"email": "ada@example.com"}, // a new account, whose address the other user has proved
	} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			a := setup(t)
			first := a.device()
			first.must("password", form("signUp", "ada@example.com"))
			first.must("verifier", map[string]any{"email": "ada@example.com", "flow": "link"})
			ada := first.user()
			d := a.be()
			d.add("mine")
			was := d.user()
			d.must(provider, params)
			if d.user() != ada || d.user() == was {
				t.Fatalf("user %s, want %s", d.user(), ada)
			}
			if in := a.lastSignIn(); in.Previous != was || in.Upgraded || in.NewUser {
				t.Errorf("the sign-in: %+v", in)
			}
			if got := a.notesOf(ada); !slices.Equal(got, []string{"welcome", "welcome", "mine"}) {
				t.Errorf("notes: %q", got)
			}
			if got := a.notesOf(was); len(got) != 0 {
				t.Errorf("notes left behind: %q", got)
			}
		})
	}
}

// What an attacker could try: to become somebody by way of an anonymous user who claims their address.
func TestAnonymousIsNoWayIntoAnAccount(t *testing.T) {
	t.Parallel()
	a := setup(t)
	victim := a.device()
	victim.must("verifier", map[string]any{"email": "ada@example.com"})
	ada := victim.user()

	attacker := a.be()
	own := attacker.user()
	// An address that nobody has proved opens nothing, and keeps nothing for later.
	attacker.must("password", form("signUp", "ada@example.com"))
	if attacker.user() != own {
		t.Fatalf("the attacker is %s, was %s", attacker.user(), own)
	}
	for _, email := range []string{"ada@example.com", "ADA@example.com"} {
		if err := a.device().signIn("anonymous", map[string]any{"email": email}); err == nil || err.Code != engine.CodeInvalid {
			t.Errorf("an anonymous person with an address: %v", err)
		}
	}
	again := a.device()
	again.must("verifier", map[string]any{"email": "ada@example.com"})
	if again.user() != ada {
		t.Errorf("the victim is %s, was %s", again.user(), ada)
	}
	// The other order: it is prepared first, the owner proves the address later, and is not led into it.
	early := a.be()
	early.must("password", form("signUp", "bob@example.com"))
	bob := a.device()
	bob.must("verifier", map[string]any{"email": "bob@example.com"})
	if bob.user() == early.user() {
		t.Error("the owner of an address is led into an account that somebody else has prepared")
	}
	// Ids of anonymous accounts are no passwords: they open nothing.
	victimToBe := a.be()
	for _, acc := range a.accounts() {
		if acc.User != victimToBe.user() {
			continue
		}
		for _, params := range []map[string]any{{"code": acc.ProviderAccountID}, {"id": acc.ProviderAccountID}, {"account": acc.ProviderAccountID}} {
			thief := a.device()
			if err := thief.signIn("anonymous", params); err == nil && thief.user() == acc.User {
				t.Errorf("%v is as good as a session", params)
			}
		}
	}
}

// Clients that always say which button was pressed may.
func TestFlowOfTheButton(t *testing.T) {
	t.Parallel()
	a := setup(t)
	d := a.device()
	for i, flow := range []string{"signUp", "signIn"} {
		d.must("anonymous", map[string]any{"flow": flow})
		if in := a.lastSignIn(); in.Flow != "" || in.NewUser != (i == 0) {
			t.Errorf("%s: %+v", flow, in)
		}
	}
	if a.usersThere() != 1 {
		t.Errorf("%d users", a.usersThere())
	}
}

func TestAnonymousBadInput(t *testing.T) {
	t.Parallel()
	type nick struct {
		Nickname string `json:"nickname" jsonschema:"minLength=2"`
	}
	a := setup(t, func(s *settings) {
		s.anonymous.Profile = authmod.NewProfile(func(p nick) (User, error) { return User{Nickname: p.Nickname}, nil })
	})
	for args, want := range map[string]string{
		`{"provider":"anonymous"}`:                                                             "nickname",
		`{"provider":"anonymous","params":{}}`:                                                 "nickname",
		`{"provider":"anonymous","params":{"nickname":"x"}}`:                                   "nickname",
		`{"provider":"anonymous","params":{"nickname":7}}`:                                     "nickname",
		`{"provider":"anonymous","params":{"nickname":"Ada","admin":true}}`:                    "admin",
		`{"provider":"anonymous","params":{"nickname":"Ada","email":"ada@example.com"}}`:       "email",
		`{"provider":"anonymous","params":{"nickname":"Ada","email":null}}`:                    "email",
		`{"provider":"anonymous","params":{"nickname":"Ada","flow":"link"}}`:                   "flow",
		`{"provider":"anonymous","params":{"nickname":"x","flow":"a","email":"b"}}`:            "email flow nickname",
		`{"provider":"anonymous","params":[1]}`:                                                "params",
		`{"provider":"anonymous","params":{"nickname":"` + strings.Repeat("x", 65<<10) + `"}}`: "params",
	} {
		err := a.device().call(json.RawMessage(args))
		if err == nil || err.Code != engine.CodeInvalid {
			t.Errorf("%.100s: %v", args, err)
			continue
		}
		var paths []string
		for _, i := range err.Issues {
			paths = append(paths, i.Path)
		}
		slices.Sort(paths)
		if got := strings.Join(slices.Compact(paths), " "); got != want {
			t.Errorf("%.100s: issues at %q", args, got)
		}
	}
	if a.usersThere() != 0 || len(a.accounts()) != 0 {
		t.Errorf("%d users", a.usersThere())
	}
	a.device().must("anonymous", map[string]any{"nickname": "Ada"})
	if got := a.triggered(); !slices.Equal(got, []string{"create Ada "}) {
		t.Errorf("triggers: %q", got)
	}
}

// Users cost room whoever makes them, so one network does not make any number of them.
func TestAnonymousUsersAreLimitedByNetwork(t *testing.T) {
	t.Parallel()
	a := setup(t, func(s *settings) { s.anonymous = anonymous.Options{MaxPerNetwork: 5} })
	try := func(addr string) *engine.Error {
		d := a.device()
		d.remote = netip.MustParseAddr(addr)
		return d.signIn("anonymous", nil)
	}
	for i := range 12 {
		// One network of IPv6, whatever address of it.
		err := try(fmt.Sprintf("2001:db8:1:2::%x", i+1))
		if i < 5 && err != nil || i >= 5 && (err == nil || err.Code != engine.CodeBusy || !strings.Contains(fmt.Sprint(err.Data), "retryAfter")) {
			t.Errorf("number %d: %+v", i, err)
		}
	}
	if n := a.usersThere(); n != 5 {
		t.Errorf("%d users", n)
	}
	if err := try("2001:db8:1:3::1"); err != nil {
		t.Errorf("another network: %v", err)
	}
	// Who is anonymous already takes nothing away.
	d := a.be()
	d.remote = netip.MustParseAddr("192.0.2.1")
	for range 10 {
		d.must("anonymous", nil)
	}
	if err := try("192.0.2.1"); err != nil {
		t.Errorf("after going on ten times: %v", err)
	}
	// Where the network is not known there is none to limit.
	for range 10 {
		a.be()
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	authmod.New(s, engine.Define[User](s, "users"), authmod.Options{Modules: []authmod.Module{anonymous.New(anonymous.Options{MaxAge: -1})}})
	if _, err := engine.Open(s, engine.Options{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "MaxAge") {
		t.Errorf("a negative MaxAge: %v", err)
	}
}
