package emailcode_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/emailcode"
	"github.com/mimosadb/mimosa/engine"
)

// wrong is a code that a message does not have.
func wrong(m authmod.Message) authmod.Message {
	first := byte('0')
	if m.Code[0] == '0' {
		first = '1'
	}
	m.Code = string(first) + m.Code[1:]
	return m
}

// Fresh codes are no fresh guesses: an attacker who has message after message sent tries as few as one who has not. The owner
// gets in by a link all the same, and the owner of another address as ever.
func TestGuessesAreBoundedOverAllCodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t, func(_ *emailcode.Options, o *authmod.Options) { o.MaxSendsPerAddress = -1 })
		guesses := 0
		for range 20 {
			m := a.device().ask(params{"email": "ada@example.com", "nickname": "Eve"})
			var all sync.WaitGroup
			var mu sync.Mutex
			for range 10 {
				all.Go(func() {
					err := a.device().enter(wrong(m))
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err != nil && err.Code == engine.CodeInvalid:
						guesses++
					case err == nil || err.Code != engine.CodeBusy:
						t.Errorf("a guess: %v", err)
					}
				})
			}
			all.Wait()
		}
		// Those that are under way when the last one is counted are some more.
		if guesses < 20 || guesses > 30 {
			t.Errorf("%d guesses were tried", guesses)
		}
		m := a.device().ask(params{"email": "ada@example.com", "nickname": "Ada"})
		if err := a.device().enter(m); err == nil || err.Code != engine.CodeBusy || !strings.Contains(encoded(t, err), "retryAfter") {
			t.Errorf("the right code after all that: %+v", err)
		}
		d := a.device()
		if err := d.open(m); err != nil || a.doc(d.user()).Nickname != "Ada" {
			t.Errorf("the owner's link: %v", err)
		}
		a.device().in("bob@example.com", nil)
		time.Sleep(time.Hour)
		a.device().in("ada@example.com", nil)
	})
}

// Five wrong codes end those that are there, and no link.
func TestWrongCodesEndCodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		m := a.device().ask(params{"email": "ada@example.com", "nickname": "Ada"})
		for range 5 {
			if err := a.device().enter(wrong(m)); err == nil || encoded(t, err) != wrongCode {
				t.Fatal(err)
			}
		}
		if err := a.device().enter(m); err == nil || encoded(t, err) != wrongCode {
			t.Errorf("the right code: %v", err)
		}
		if err := a.device().open(m); err != nil {
			t.Errorf("the link: %v", err)
		}
	})
}

// One code tried on the addresses of many is the network's failure.
func TestGuessesAreBoundedByNetwork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t, func(_ *emailcode.Options, o *authmod.Options) { o.MaxFailuresPerNetwork = 10 })
		eve := a.device()
		eve.remote = netip.MustParseAddr("192.0.2.7")
		for i := range 15 {
			_, err := eve.signIn("emailcode", params{"email": fmt.Sprintf("p%d@example.com", i), "code": "12345678"})
			if want := map[bool]engine.Code{true: engine.CodeInvalid, false: engine.CodeBusy}[i < 10]; err == nil || err.Code != want {
				t.Errorf("guess %d: %v, want %s", i, err, want)
			}
		}
		a.device().in("ada@example.com", nil)
	})
}

func TestMessagesAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t, func(_ *emailcode.Options, o *authmod.Options) { o.MaxSendsPerAddress, o.MaxSendsPerNetwork = 3, 8 })
		ask := func(email, from string) *engine.Error {
			d := a.device()
			d.remote = netip.MustParseAddr(from)
			_, err := d.signIn("emailcode", params{"email": email, "nickname": "Ada"})
			synctest.Wait()
			return err
		}
		for i := range 6 { // from wherever, however spelled
			err := ask([]string{"ada@example.com", " ADA@example.com"}[i%2], fmt.Sprintf("192.0.2.%d", i+1))
			if i < 3 && err != nil || i >= 3 && (err == nil || err.Code != engine.CodeBusy) {
				t.Errorf("message %d to one address: %v", i, err)
			}
		}
		for i := range 12 {
			err := ask(fmt.Sprintf("p%d@example.com", i), "2001:db8::1")
			if i < 8 && err != nil || i >= 8 && (err == nil || err.Code != engine.CodeBusy) {
				t.Errorf("message %d for one network: %v", i, err)
			}
		}
		if a.sent() != 11 {
			t.Errorf("%d messages were sent", a.sent())
		}
		// A form that is refused sends nothing, and counts for nothing.
		for range 10 {
			a.device().signIn("emailcode", params{"email": "bob@example.com", "nickname": "x"})
		}
		if err := ask("bob@example.com", "192.0.2.9"); err != nil {
			t.Error(err)
		}
	})
}

// An account goes to the user who has proved the address, whichever came first; and never to one who has not.
func TestLinkingByVerifiedAddress(t *testing.T) {
	byCode := func(d *device) { d.in("ada@example.com", nil) }
	byProvider := func(d *device) {
		if err := d.redeem("provider", params{"email": "ada@example.com"}); err != nil {
			d.app.t.Fatal(err)
		}
	}
	byPassword := func(d *device) { // does not prove the address
		err := d.redeem("password", params{"flow": "signUp", "email": "ada@example.com", "password": "correct horse"})
		if err != nil {
			d.app.t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		first, second func(*device)
		same          bool
	}{
		"provider, code": {byProvider, byCode, true},
		"code, provider": {byCode, byProvider, true},
		"password, code": {byPassword, byCode, false}, // an account that was prepared for the victim
		"code, password": {byCode, byPassword, false}, // one that an attacker makes afterwards
		"code, code":     {byCode, byCode, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := setup(t)
				first, second := a.device(), a.device()
				c.first(first)
				c.second(second)
				if (first.user() == second.user()) != c.same || first.user() == "" {
					t.Errorf("users %s and %s", first.user(), second.user())
				}
				if !c.same {
					return
				}
				if c := a.counts(); c[0] != 1 || a.created != 1 {
					t.Errorf("documents %v", c)
				}
				if u := a.doc(second.user()); !u.EmailVerified {
					t.Errorf("user %+v", u)
				}
			})
		})
	}
}

// Who is anonymous and redeems a code keeps the user; who opens the link elsewhere, where nobody is signed in, does not.
func TestAnonymousUserIsUpgraded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		d := a.device()
		if err := d.redeem("anonymous", params{}); err != nil {
			t.Fatal(err)
		}
		was := d.user()
		m := d.ask(params{"email": "ada@example.com", "nickname": "Ada"})
		if err := d.enter(m); err != nil {
			t.Fatal(err)
		}
		if u := a.doc(was); d.user() != was || u.Email != "ada@example.com" || !u.EmailVerified || u.Nickname != "Ada" || a.created != 1 {
			t.Errorf("user %s, was %s: %+v", d.user(), was, u)
		}
		if in := a.lastSignIn(); !in.Upgraded || in.NewUser {
			t.Errorf("the sign-in: %+v", in)
		}
		other := a.device()
		if err := other.redeem("anonymous", params{}); err != nil {
			t.Fatal(err)
		}
		left := other.user()
		if err := other.enter(other.ask(params{"email": "ada@example.com"})); err != nil {
			t.Fatal(err)
		}
		if other.user() != was || a.lastSignIn().Previous != left {
			t.Errorf("signed in as %s: %+v", other.user(), a.lastSignIn())
		}
	})
}

// Adding an address is for whoever began it, signed in still or again, and for no one else.
func TestAddingAnAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		ada, eve := a.device(), a.device()
		ada.in("ada@example.com", nil)
		eve.in("eve@example.com", nil)
		me, session := ada.user(), ada.principal
		add := func(d *device, email string) authmod.Message {
			t.Helper()
			return d.ask(params{"email": email, "flow": "link"})
		}
		redeem := map[string]func(*device, authmod.Message) (string, *engine.Error){
			"code": func(d *device, m authmod.Message) (string, *engine.Error) {
				return d.signIn("emailcode", params{"email": m.To, "code": m.Code, "flow": "link"})
			},
			"link": func(d *device, m authmod.Message) (string, *engine.Error) {
				return d.signIn("", params{"code": a.token(m)})
			},
		}
		for name, redeem := range redeem {
			sent, second := a.sent(), name+"@example.com"
			if _, err := a.device().signIn("emailcode", params{"email": second, "flow": "link"}); err == nil || err.Code != engine.CodeUnauthenticated || a.sent() != sent {
				t.Errorf("%s: asked for by nobody: %v", name, err)
			}
			m := add(ada, second)
			if m.Purpose != emailcode.PurposeLink {
				t.Errorf("%s: message %+v", name, m)
			}
			if _, err := redeem(a.device(), m); err == nil || err.Code != engine.CodeUnauthenticated {
				t.Errorf("%s: redeemed by nobody: %v", name, err)
			}
			if _, err := redeem(eve, m); err == nil || encoded(t, err) != wrongCode {
				t.Errorf("%s: redeemed by another user: %v", name, err)
			}
			if err := eve.enter(m); err == nil || encoded(t, err) != wrongCode {
				t.Errorf("%s: as a sign-in: %v", name, err)
			}
			out, err := redeem(ada, m)
			if err != nil || out != `{"linked":true}` || ada.principal != session || ada.user() != me {
				t.Errorf("%s: %s %v", name, out, err)
			}
			if _, err := redeem(ada, m); err == nil || encoded(t, err) != wrongCode {
				t.Errorf("%s: again: %v", name, err)
			}
			other := a.device()
			other.in(second, nil)
			if other.user() != me {
				t.Errorf("%s: the new address signs in %s", name, other.user())
			}
			// An address of somebody else's: they have the mailbox, so they may know.
			m = add(ada, "eve@example.com")
			for range 2 { // the code is not used up by it
				if _, err := redeem(ada, m); err == nil || err.Code != engine.CodeAlreadyExists {
					t.Errorf("%s: an address that is taken: %v", name, err)
				}
			}
		}
	})
}

// With SameDevice code and link are of no use to a browser that did not ask for them, be it the mail program's, an attacker's
// who has seen the mail, or a victim's who has been sent the attacker's link.
func TestSameDevice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t, func(o *emailcode.Options, _ *authmod.Options) { o.SameDevice = true })
		for _, verifier := range []string{"", "short"} {
			d := a.device()
			d.verifier = verifier
			_, err := d.signIn("emailcode", params{"email": "ada@example.com", "nickname": "x"})
			if err == nil || err.Code != engine.CodeInvalid || len(err.Issues) != 2 || err.Issues[1].Path != "verifier" {
				t.Errorf("verifier %q: %+v", verifier, err)
			}
		}
		d := a.device()
		d.verifier = "a verifier of this device"
		m := d.ask(params{"email": "ada@example.com", "nickname": "Ada"})
		for _, verifier := range []string{"", "a verifier of another one", "A verifier of this device"} {
			other := a.device()
			other.verifier = verifier
			for _, err := range []*engine.Error{other.enter(m), other.open(m)} {
				if err == nil || err.Code != engine.CodeInvalid || len(err.Issues) != 1 || err.Issues[0].Path != "verifier" {
					t.Errorf("verifier %q: %+v", verifier, err)
				}
			}
		}
		if strings.Contains(a.log.String(), d.verifier) || a.counts() != [3]int{} {
			t.Errorf("documents %v, log %s", a.counts(), a.log.String())
		}
		if err := d.open(m); err != nil {
			t.Errorf("where it was asked for: %v", err)
		}
	})
}

// Accounts that are brought from elsewhere are found whatever the spelling of their addresses.
func TestImportedAccounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		var user engine.ID[User]
		bring := func(id string) error {
			return a.db.Update(t.Context(), func(tx *engine.Tx) (err error) {
				if user, err = a.users.Insert(tx, User{UserFields: authmod.UserFields{Email: "ada@example.com"}}); err != nil {
					return err
				}
				_, err = a.auth.Accounts().Insert(tx, authmod.Account{Provider: "emailcode", ProviderAccountID: id, User: string(user)})
				return err
			})
		}
		if err := bring("ada"); err == nil || !strings.Contains(err.Error(), "providerAccountId") {
			t.Errorf("no address: %v", err)
		}
		if err := bring(" Ada@Example.COM"); err != nil {
			t.Fatal(err)
		}
		d := a.device()
		d.in("ada@example.com", nil)
		if d.user() != string(user) || !a.doc(d.user()).EmailVerified {
			t.Errorf("signed in as %s: %+v", d.user(), a.doc(d.user()))
		}
	})
}
