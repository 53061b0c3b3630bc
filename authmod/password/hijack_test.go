package password_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

// An attacker who signs up with somebody's address, before them or right after, ends up with nothing: whichever of the two
// codes the owner types in, whenever, and whether the client sends the password along or not. The owner is in, the attacker's
// password opens nothing, and the owner's opens the account wherever it is clear that it is theirs.
func TestPreHijacking(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"attacker", "owner"} {
		for _, between := range []time.Duration{0, 14 * time.Minute, 20 * time.Minute, 26 * time.Hour} {
			for _, typed := range []string{"attacker", "owner"} {
				for _, sends := range []bool{true, false} {
					if first == "owner" && between > 24*time.Hour && !sends {
						// Somebody types in the code of a mail that came on its own, a day after they gave up: nothing tells
						// that from a sign-up of theirs.
						continue
					}
					t.Run(fmt.Sprintf("%s first, %v, code of %s, sends %v", first, between, typed, sends), func(t *testing.T) {
						inBubble(t, func(t *testing.T) { preHijack(t, first, between, typed, sends) })
					})
				}
			}
		}
	}
}

func preHijack(t *testing.T, first string, between time.Duration, typed string, sends bool) {
	a := newClub(t)
	codes := map[string]string{}
	signUp := func(who string) {
		pw, nick := hers, "Ada"
		if who == "attacker" {
			pw, nick = his, "Eve"
		}
		a.phone().wants(started, "signUp", "email", ada, "password", pw, "nick", nick)
		codes[who] = a.code(authmod.PurposeVerify)
	}
	second := map[string]string{"attacker": "owner", "owner": "attacker"}[first]
	signUp(first)
	pass(between)
	signUp(second)
	pass(time.Minute)
	owner := a.phone()
	params := []string{"email", ada, "code", codes[typed]}
	if sends {
		params = append(params, "password", hers)
	}
	if typed == first && between >= 14*time.Minute {
		owner.wants("invalid", "email-verification", params...) // expired
		typed = second
		params[3] = codes[typed]
	}
	owner.wants("tokens", "email-verification", params...)

	attacker := a.phone()
	attacker.wants("unauthenticated", "signIn", "email", ada, "password", his)
	for _, code := range codes {
		attacker.wants("invalid", "email-verification", "email", ada, "code", code, "password", his)
	}
	// What was asked for by the sign-up whose code came back holds.
	if want := map[string]string{"attacker": "Eve", "owner": "Ada"}[typed]; owner.me() != want {
		t.Errorf("the owner is signed in as %q, want %s", owner.me(), want)
	}
	switch mine := a.phone(); {
	case typed == "owner" && (sends || between > 24*time.Hour):
		mine.wants("tokens", "signIn", "email", ada, "password", hers)
	case typed == "attacker" || !sends:
		mine.wants("unauthenticated", "signIn", "email", ada, "password", hers)
		mine.wants(started, "reset", "email", ada)
		mine.wants("tokens", "reset-verification", "email", ada, "code", a.code(authmod.PurposeReset), "newPassword", hers)
		mine.wants("tokens", "signIn", "email", ada, "password", hers)
	}
	members, accounts := a.all()
	if len(members) != 1 || len(accounts) != 1 || !members[0].EmailVerified {
		t.Errorf("%+v, %+v", members, accounts)
	}
}

// One whose code comes back a day after the other's is alone, and its password holds; the attacker's is no longer a code away.
func TestSecondSignUpAfterADay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		a.phone().wants(started, "signUp", "email", ada, "password", his, "nick", "Eve")
		pass(26 * time.Hour)
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		hersCode := a.code(authmod.PurposeVerify)
		// The attacker gets no other code for that sign-up, and one for another: whoever types that in must not be theirs for it.
		a.phone().wants("unauthenticated", "signIn", "email", ada, "password", his)
		a.phone().wants(started, "signUp", "email", ada, "password", his, "nick", "Eve")
		for _, code := range []string{a.code(authmod.PurposeVerify), hersCode} {
			p := a.phone()
			p.call("password", "email-verification", "email", ada, "code", code)
			a.phone().wants("unauthenticated", "signIn", "email", ada, "password", his)
		}
	})
}

// However many sign-ups an attacker makes after the owner's, theirs stays one of several.
func TestSignUpsByTheDozen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t, func(_ *password.Options, o *authmod.Options, _ *engine.Options) { o.MaxSendsPerAddress = -1 })
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		for range 80 {
			pass(time.Second)
			a.phone().wants(started, "signUp", "email", ada, "password", his, "nick", "Eve")
		}
		a.phone().wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify))
		a.phone().wants("unauthenticated", "signIn", "email", ada, "password", his)
	})
}

// The user of a sign-up that was never verified is somebody's, if there is a session: it loses the account alone, and the owner of
// the address gets a user of their own.
func TestUnverifiedAccountOfSomebodySignedIn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		a.phone().wants(started, "signUp", "email", ada, "password", his, "nick", "Eve")
		change := func(fn func(tx *engine.Tx, user string) error) {
			t.Helper()
			err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
				d, err := a.auth.Accounts().All(tx).First()
				if err != nil {
					return err
				}
				return fn(tx, d.Value.User)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var other engine.ID[authmod.Account]
		change(func(tx *engine.Tx, user string) (err error) {
			other, err = a.auth.Accounts().Insert(tx, authmod.Account{Provider: "vouching", ProviderAccountID: "eve@example.com", User: user})
			return err
		})
		eve := a.phone()
		if err := eve.call("vouching", "", "email", "eve@example.com"); err != nil {
			t.Fatal(err)
		}
		change(func(tx *engine.Tx, user string) error { return a.auth.Unlink(tx, user, string(other)) })
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		owner := a.phone()
		owner.wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify), "password", hers)
		if eve.me() != "Eve" || owner.me() != "Ada" {
			t.Errorf("signed in are %q and %q", eve.me(), owner.me())
		}
	})
}
