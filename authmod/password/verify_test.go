package password_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

// The user is there from sign-up, and signed in from verification.
func TestVerification(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		p := a.phone()
		p.wants(started, "signUp", "email", " Ada@Example.com ", "password", hers, "nick", "Ada")
		if got := a.events(); got != "created Ada by signUp" {
			t.Errorf("after signUp: %s", got)
		}
		if p.principal != nil {
			t.Error("signUp has signed in")
		}
		code := a.code(authmod.PurposeVerify)
		if m := a.sent()[0]; m.To != ada || m.Provider != "password" || !strings.Contains(string(m.Params), `"nick":"Ada"`) {
			t.Errorf("%+v", m)
		}
		// The right password is not enough, and sends another code.
		p.wants(started, "signIn", "email", ada, "password", hers)
		if n := len(a.sent()); n != 2 || a.code(authmod.PurposeVerify) == code || p.principal != nil {
			t.Errorf("%d messages", n)
		}
		p.wants("unauthenticated", "signIn", "email", ada, "password", his)
		if len(a.sent()) != 2 {
			t.Error("a wrong password has sent a code")
		}
		p.wants("invalid", "email-verification", "email", ada, "code", "00000000")
		p.wants("tokens", "email-verification", "email", "ADA@example.com", "code", code)
		if p.me() != "Ada" {
			t.Errorf("signed in as %q", p.me())
		}
		p.wants("tokens", "signIn", "email", ada, "password", hers)
		if got := a.events(); got != "created Ada by signUp; updated Ada verified=true" {
			t.Errorf("in the end: %s", got)
		}
		members, accounts := a.all()
		if len(members) != 1 || !members[0].EmailVerified || len(accounts) != 1 || accounts[0].VerifiedEmail != ada {
			t.Errorf("%+v, %+v", members, accounts)
		}
	})
}

// Whoever signs up learns nothing from the answer, and the database does as much: for a free address, one that waits for its
// code, one that has an account, and one that a user has proved by another module.
func TestSignUpTellsNothing(t *testing.T) {
	t.Parallel()
	prepare := map[string]func(a *club){
		"free": func(*club) {},
		"waiting": func(a *club) {
			a.phone().wants(started, "signUp", "email", ada, "password", his, "nick", "Eve")
		},
		"account": func(a *club) {
			a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
			a.phone().wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify))
		},
		"elsewhere": func(a *club) {
			if err := a.phone().call("vouching", "", "email", ada); err != nil {
				a.t.Fatal(err)
			}
		},
	}
	form := func(more ...string) []string {
		return append([]string{"email", ada, "password", "some long password", "nick", "Bob"}, more...)
	}
	for what, try := range map[string][]string{
		"right":             form(),
		"short":             form("password", "short", "nick", "B"),
		"trigger refuses":   form("nick", "refused"),
		"nick is taken":     form("nick", "unique"),
		"unknown parameter": form("role", "admin"),
	} {
		want := ""
		for _, state := range []string{"free", "waiting", "account", "elsewhere"} {
			t.Run(what+"/"+state, func(t *testing.T) { // one after the other: the first says what all have to be
				synctest.Test(t, func(t *testing.T) {
					a := newClub(t, func(_ *password.Options, o *authmod.Options, _ *engine.Options) {
						o.Modules = append(o.Modules, &anonymousLike{})
					})
					a.phone().wants("unauthenticated", "signIn", "email", "eve@example.com", "password", his) // which makes the decoy
					a.phone().wants(started, "signUp", "email", "other@example.com", "password", hers, "nick", "unique")
					prepare[state](a)
					pass(time.Hour)
					members, _ := a.all()
					before, hashed, verified, mails := a.db.Metrics(), a.crypto.hashed.Load(), a.crypto.verified.Load(), len(a.sent())
					p := a.phone()
					answer := "error "
					if err := p.call("password", "signUp", try...); err != nil {
						answer += encoded(t, err)
					} else {
						answer = p.raw
					}
					after := a.db.Metrics()
					wrong := a.phone().call("password", "email-verification", "email", ada, "code", "00000000", "password", his)
					got := fmt.Sprintf("%s commits=%d jobs=%d hashes=%d verifications=%d mails=%d, a wrong code: %s commits=%d", answer,
						after.Commits-before.Commits, after.Jobs.Succeeded-before.Jobs.Succeeded, a.crypto.hashed.Load()-hashed,
						a.crypto.verified.Load()-verified, len(a.sent())-mails, encoded(t, wrong), a.db.Metrics().Commits-after.Commits)
					if want == "" {
						want = got
					}
					if got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
					now, _ := a.all()
					if made := len(now) - len(members); made != 0 && (state != "free" || what != "right") {
						t.Errorf("%d users were made", made)
					}
				})
			})
		}
	}
}

// anonymousLike is a module that does nothing here but be there.
type anonymousLike struct{}

func (*anonymousLike) Provider() string     { return "idle" }
func (*anonymousLike) Attach(*authmod.Host) {}
func (*anonymousLike) SignIn(*authmod.Attempt) (authmod.Answer, error) {
	return authmod.SignedOut(), nil
}

// A sign-up that is made again with the same password and form is one: its user stays, and either code is good.
func TestSignUpAgain(t *testing.T) {
	for _, typed := range []int{0, 1} {
		t.Run(fmt.Sprint("code ", typed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				a := newClub(t)
				for range 2 {
					a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
				}
				mails := a.sent()
				if len(mails) != 2 || mails[0].Code == mails[1].Code {
					t.Fatalf("%+v", mails)
				}
				a.phone().wants("tokens", "email-verification", "email", ada, "code", mails[typed].Code)
				a.phone().wants("invalid", "email-verification", "email", ada, "code", mails[1-typed].Code)
				a.phone().wants("tokens", "signIn", "email", ada, "password", hers)
				if got := a.events(); got != "created Ada by signUp; updated Ada verified=true" {
					t.Error(got)
				}
			})
		})
	}
}

// The user of a sign-up that waits for its code has no claim to anything: who signs up again, with another password even, may
// have what that one has.
func TestSignUpAgainWithWhatIsUnique(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		a.phone().wants(started, "signUp", "email", ada, "password", his, "nick", "unique")
		a.phone().wants("already_exists", "signUp", "email", "bob@example.com", "password", hers, "nick", "unique")
		if got := a.events(); got != "created unique by signUp" {
			t.Errorf("after a sign-up that was refused: %s", got)
		}
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "unique")
		p := a.phone()
		p.wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify), "password", hers)
		if got := a.events(); got != "created unique by signUp; deleted unique; created unique, verified, by email-verification" {
			t.Errorf("in the end: %s", got)
		}
	})
}

// With another form, the one whose code comes back holds, and the user of the other goes, triggers and all.
func TestSignUpAgainWithAnotherForm(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Lady Ada")
		p := a.phone()
		p.wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify))
		a.phone().wants("tokens", "signIn", "email", ada, "password", hers)
		want := "created Ada by signUp; deleted Ada; created Lady Ada, verified, by email-verification"
		if got := a.events(); got != want || p.me() != "Lady Ada" {
			t.Errorf("%s, signed in as %s", got, p.me())
		}
	})
}

// A call that is sent again because its answer was lost: no second user, and no second message within a minute.
func TestSignUpSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		again := func() {
			t.Helper()
			a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada", "key", "0123456789abcdef")
		}
		again()
		again()
		if n := len(a.sent()); n != 1 {
			t.Errorf("%d messages", n)
		}
		pass(61 * time.Second)
		again()
		if n := len(a.sent()); n != 2 {
			t.Errorf("%d messages after a minute", n)
		}
		if got := a.events(); got != "created Ada by signUp" {
			t.Error(got)
		}
		a.phone().wants("tokens", "email-verification", "email", ada, "code", a.sent()[0].Code)
	})
}

// An address that a user has proved by another module: signing up with it makes nobody, and the code gives that user a
// password, in whichever order the two came.
func TestVerifiedElsewhere(t *testing.T) {
	for _, order := range []string{"before signUp", "before verification"} {
		t.Run(order, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				a := newClub(t)
				vouch := func() {
					if err := a.phone().call("vouching", "", "email", ada); err != nil {
						t.Fatal(err)
					}
				}
				if order == "before signUp" {
					vouch()
				}
				a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
				if order != "before signUp" {
					vouch()
				}
				a.phone().wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify))
				a.phone().wants("tokens", "signIn", "email", ada, "password", hers)
				members, accounts := a.all()
				if len(members) != 1 || members[0].Nick != "" || len(accounts) != 2 || accounts[0].User != accounts[1].User {
					t.Errorf("%+v, %+v", members, accounts)
				}
			})
		})
	}
}

// A temporary user stays who they are, and becomes the one who has proved the address by proving it, not before.
func TestTemporaryUserVerifies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		p := a.phone()
		if err := p.call("vouching", ""); err != nil {
			t.Fatal(err)
		}
		p.wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		if _, accounts := a.all(); len(accounts) != 1 || !accounts[0].Temporary {
			t.Errorf("%+v", accounts)
		}
		p.wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify))
		members, accounts := a.all()
		if len(members) != 1 || members[0].Nick != "Ada" || !members[0].EmailVerified || len(accounts) != 1 || accounts[0].Temporary {
			t.Errorf("%+v, %+v", members, accounts)
		}
		if got := a.events(); strings.Contains(got, "deleted") || strings.Count(got, "created") != 1 {
			t.Error(got)
		}
	})
}

// Accounts from before verification was asked for keep their users: nobody can take them by signing up, and their owner
// verifies at the next sign-in.
func TestAccountsFromBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		hash, err := cheap.Hash(hers)
		if err != nil {
			t.Fatal(err)
		}
		err = a.db.Update(context.Background(), func(tx *engine.Tx) error {
			id, err := a.members.Insert(tx, Member{UserFields: authmod.UserFields{Email: ada}, Nick: "Ada"})
			if err != nil {
				return err
			}
			_, err = a.auth.Accounts().Insert(tx, authmod.Account{
				Provider: "password", ProviderAccountID: ada, User: string(id), Secret: hash,
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		a.phone().wants(started, "signUp", "email", ada, "password", his, "nick", "Eve")
		a.code(authmod.PurposeExists)
		p := a.phone()
		p.wants(started, "signIn", "email", ada, "password", hers)
		p.wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify))
		p.wants("tokens", "signIn", "email", ada, "password", hers)
		if members, _ := a.all(); len(members) != 1 || members[0].Nick != "Ada" || !members[0].EmailVerified {
			t.Errorf("%+v", members)
		}
	})
}

// Somebody may have signed up with another's address before verification was asked for, too. When the owner comes, and brings the
// password that they chose themselves, that of the account opens nothing any more, and whoever was signed in is not.
func TestAccountOfSomebodyElseFromBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		shared := newShared()
		on := func(verify bool) func(*password.Options, *authmod.Options, *engine.Options) {
			return func(o *password.Options, _ *authmod.Options, eo *engine.Options) {
				o.Verify, eo.Store = verify, shared.Open()
			}
		}
		a := newClub(t, on(false))
		attacker := a.phone()
		attacker.wants("tokens", "signUp", "email", ada, "password", his, "nick", "Eve")
		if err := a.db.Close(); err != nil {
			t.Fatal(err)
		}
		a = newClub(t, on(true))
		principal, err := a.auth.Principal(attacker.token)
		if err != nil {
			t.Fatal(err)
		}
		if attacker.club, attacker.principal = a, principal; attacker.me() != "Eve" {
			t.Fatal("the attacker's session has not survived")
		}

		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		a.phone().wants(started, "signIn", "email", ada, "password", his) // which has a code sent to the owner
		owner := a.phone()
		owner.wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify), "password", hers)
		a.phone().wants("unauthenticated", "signIn", "email", ada, "password", his)
		if attacker.me() != "" {
			t.Error("the attacker is signed in still")
		}
		if owner.me() != "Eve" {
			t.Errorf("the owner is signed in as %q", owner.me())
		}
		owner.wants(started, "reset", "email", ada)
		owner.wants("tokens", "reset-verification", "email", ada, "code", a.code(authmod.PurposeReset), "newPassword", hers)
		owner.wants("tokens", "signIn", "email", ada, "password", hers)
	})
}

func TestVerificationHappensOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		args, err := json.Marshal(map[string]any{"provider": "password", "params": map[string]string{
			"flow": "email-verification", "email": ada, "code": a.code(authmod.PurposeVerify),
		}})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		in := 0
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				p := a.phone()
				err := p.run(args)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && p.raw == "tokens":
					in++
				case err == nil || err.Code != engine.CodeInvalid && err.Code != engine.CodeBusy:
					t.Errorf("%s %v", p.raw, err)
				}
			})
		}
		all.Wait()
		if in != 1 {
			t.Errorf("%d were signed in", in)
		}
	})
}

// Sending is bounded by address; the answer is the same for everybody.
func TestSendingIsBounded(t *testing.T) {
	for name, call := range map[string]func(p *phone, email, want string){
		"signUp": func(p *phone, email, want string) {
			p.wants(want, "signUp", "email", email, "password", hers, "nick", "Ada")
		},
		"reset": func(p *phone, email, want string) { p.wants(want, "reset", "email", email) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				a := newClub(t)
				a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
				pass(time.Hour)
				for _, email := range []string{ada, "nobody@example.com"} {
					for range 5 {
						call(a.phone(), email, started)
					}
					call(a.phone(), email, "busy")
				}
			})
		})
	}
}

// Verification that is not asked for any more leaves nobody out who had not got round to it.
func TestVerifySwitchedOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := newShared()
		open := func(verify bool) *club {
			return newClub(t, func(o *password.Options, _ *authmod.Options, e *engine.Options) {
				o.Verify, e.Store = verify, store.Open()
			})
		}
		a := open(true)
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		if err := a.db.Close(); err != nil {
			t.Fatal(err)
		}
		a = open(false)
		a.phone().wants("unauthenticated", "signIn", "email", ada, "password", his)
		for range 2 {
			a.phone().wants("tokens", "signIn", "email", ada, "password", hers)
		}
		a.phone().wants("already_exists", "signUp", "email", ada, "password", hers, "nick", "Ada")
		a.phone().wants("invalid", "email-verification", "email", ada, "code", "12345678")
		if err := a.db.Close(); err != nil {
			t.Fatal(err)
		}
		// Switched on again, the account is one that somebody uses, and which nobody replaces by signing up.
		a = open(true)
		a.phone().wants(started, "signUp", "email", ada, "password", his, "nick", "Eve")
		a.code(authmod.PurposeExists)
		a.phone().wants(started, "signIn", "email", ada, "password", hers)
	})
}

// A program that ends while the first code is on its way sends another when it runs again; both are good.
func TestVerificationOverARestart(t *testing.T) {
	for typed := range 2 {
		t.Run(fmt.Sprint("code ", typed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				store := newShared()
				open := func() *club {
					return newClub(t, func(_ *password.Options, _ *authmod.Options, e *engine.Options) { e.Store = store.Open() })
				}
				a := open()
				a.broken = fmt.Errorf("no connection")
				a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
				if err := a.db.Close(); err != nil {
					t.Fatal(err)
				}
				b := open()
				pass(time.Minute)
				mails := append(a.sent(), b.sent()...)
				if len(mails) != 2 {
					t.Fatalf("%d messages", len(mails))
				}
				b.phone().wants("tokens", "email-verification", "email", ada, "code", mails[typed].Code)
				b.phone().wants("tokens", "signIn", "email", ada, "password", hers)
			})
		})
	}
}
