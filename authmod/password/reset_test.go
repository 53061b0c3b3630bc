package password_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

func newShared() *memstore.Shared { return memstore.NewShared(memstore.Options{}) }

func noVerify(o *password.Options, _ *authmod.Options, _ *engine.Options) { o.Verify = false }

// A reset sets the password, ends every session, whose live queries run again as nobody, and signs in.
func TestReset(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t, noVerify)
		laptop, phone, other := a.phone(), a.phone(), a.phone()
		laptop.wants("tokens", "signUp", "email", ada, "password", hers, "nick", "Ada")
		other.wants("tokens", "signUp", "email", "bob@example.com", "password", hers, "nick", "Bob")
		phone.wants("tokens", "signIn", "email", ada, "password", hers)
		call := engine.Call{Function: "members:me", Principal: laptop.principal}
		live, err := a.db.Evaluate(context.Background(), a.db.Published(), call)
		if err != nil {
			t.Fatal(err)
		}
		var rerun atomic.Bool
		defer a.db.Watch(live, func() { rerun.Store(true) }).Stop()
		p := a.phone()
		p.wants(started, "reset", "email", " ADA@example.com")
		p.wants("tokens", "reset-verification", "email", ada, "code", a.code(authmod.PurposeReset), "newPassword", "another long password")
		if got := fmt.Sprint(laptop.me(), phone.me(), p.me(), other.me()); got != "AdaBob" {
			t.Errorf("signed in are %s", got)
		}
		if !rerun.Load() {
			t.Error("a live query of a session that has ended is not run again")
		}
		a.phone().wants("unauthenticated", "signIn", "email", ada, "password", hers)
		a.phone().wants("tokens", "signIn", "email", ada, "password", "another long password")
		a.phone().wants("tokens", "signIn", "email", "bob@example.com", "password", hers)
		if got := a.events(); got != "created Ada by signUp; created Bob by signUp; updated Ada verified=true" {
			t.Error(got)
		}
		// Likewise where the address was proved before.
		again := a.phone()
		again.wants(started, "reset", "email", ada)
		again.wants("tokens", "reset-verification", "email", ada, "code", a.code(authmod.PurposeReset), "newPassword", hers)
		if got := fmt.Sprint(p.me(), again.me()); got != "Ada" {
			t.Errorf("after another reset, signed in are %s", got)
		}
	})
}

// reset answers the same, after the same work, whether there is an account or not; only the mailbox tells.
func TestResetTellsNothing(t *testing.T) {
	t.Parallel()
	work := func(email string) (got string, mails int) {
		synctest.Test(t, func(t *testing.T) {
			a := newClub(t, noVerify)
			a.phone().wants("tokens", "signUp", "email", ada, "password", hers, "nick", "Ada")
			before := a.db.Metrics()
			p := a.phone()
			p.wants(started, "reset", "email", email)
			wrong := a.phone().call("password", "reset-verification", "email", email, "code", "00000000", "newPassword", hers)
			after := a.db.Metrics()
			got = fmt.Sprint(p.raw, encoded(t, wrong), after.Commits-before.Commits, after.Jobs.Succeeded-before.Jobs.Succeeded,
				a.crypto.hashed.Load(), a.crypto.verified.Load())
			mails = len(a.sent())
		})
		return got, mails
	}
	known, sent := work(ada)
	unknown, unsent := work("nobody@example.com")
	if known != unknown || sent != 1 || unsent != 0 {
		t.Errorf("known:   %s, %d messages\nunknown: %s, %d messages", known, sent, unknown, unsent)
	}
}

// What is wrong is said at once, and the code is still good then. A code that is not good has one answer.
func TestResetRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t, noVerify, func(o *password.Options, _ *authmod.Options, _ *engine.Options) {
			o.ValidatePassword = blocklist(t, "a listed password\n")
		})
		a.phone().wants("tokens", "signUp", "email", ada, "password", hers, "nick", "Ada")
		a.phone().wants("tokens", "signUp", "email", "bob@example.com", "password", hers, "nick", "Bob")
		a.phone().wants(started, "reset", "email", ada)
		code := a.code(authmod.PurposeReset)
		for i, bad := range []struct {
			params []string
			paths  string
		}{
			{[]string{}, "code email newPassword"},
			{[]string{"email", "nobody", "code", "", "newPassword", "short"}, "code email newPassword"},
			{[]string{"email", ada, "code", code}, "newPassword"},
			{[]string{"email", ada, "code", code, "newPassword", "short"}, "newPassword"},
			{[]string{"email", ada, "code", code, "newPassword", "A LISTED password"}, "newPassword"},
			{[]string{"email", ada, "code", code, "newPassword", "Ada@Example.com"}, "newPassword"},
			{[]string{"email", ada, "code", code, "newPassword", strings.Repeat("x", 1025)}, "newPassword"},
			{[]string{"email", ada, "code", code, "password", hers}, "newPassword"},
			{[]string{"email", "bob@example.com", "code", code, "newPassword", hers}, "code"},
			{[]string{"email", "eve@example.com", "code", code, "newPassword", hers}, "code"},
			{[]string{"email", ada, "code", code + "0", "newPassword", hers}, "code"},
		} {
			err := a.phone().call("password", "reset-verification", bad.params...)
			if err == nil || err.Code != engine.CodeInvalid {
				t.Fatalf("%d: %v", i, err)
			}
			var paths []string
			for _, issue := range err.Issues {
				paths = append(paths, issue.Path)
			}
			if got := strings.Join(paths, " "); got != bad.paths {
				t.Errorf("%d: issues at %s, want %s", i, got, bad.paths)
			}
		}
		// Of another type than text.
		for _, raw := range []string{
			`{"flow":"reset-verification","email":1,"code":[],"newPassword":{}}`, `{"flow":"reset","email":null}`, `{"flow":"reset"}`,
			`{"flow":"email-verification","email":"ada@example.com","code":12345678}`, `{"flow":"forgot","email":"ada@example.com"}`, `[]`,
		} {
			if err := a.phone().run([]byte(`{"provider":"password","params":` + raw + `}`)); err == nil || err.Code != engine.CodeInvalid {
				t.Errorf("%s: %v", raw, err)
			}
		}
		a.phone().wants("tokens", "signIn", "email", ada, "password", hers)
		a.phone().wants("tokens", "reset-verification", "email", ada, "code", code, "newPassword", "another long password")
		a.phone().wants("invalid", "reset-verification", "email", ada, "code", code, "newPassword", "another long password")
		if text := a.log.String(); strings.Contains(text, code) || strings.Contains(text, hers) || strings.Contains(text, "another long password") {
			t.Errorf("the log: %s", text)
		}
	})
}

// The codes of one flow are no use in the other, though they go to the same address.
func TestCodesOfAnotherFlow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		verify := a.code(authmod.PurposeVerify)
		a.phone().wants(started, "reset", "email", ada)
		reset := a.code(authmod.PurposeReset)
		a.phone().wants("invalid", "reset-verification", "email", ada, "code", verify, "newPassword", his)
		a.phone().wants("invalid", "email-verification", "email", ada, "code", reset)
		a.phone().wants("tokens", "reset-verification", "email", ada, "code", reset, "newPassword", "another long password")
		// Which has proved the address, and is newer than the sign-up: that one's code is void.
		a.phone().wants("invalid", "email-verification", "email", ada, "code", verify)
		if info, err := a.db.Export(context.Background(), "authCodes", io.Discard); err != nil || info.Documents != 0 {
			t.Errorf("%+v, %v: what waited for a code is still there", info, err)
		}
		a.phone().wants("tokens", "signIn", "email", ada, "password", "another long password")
	})
}

// Whoever prepared an account for somebody else's address, with a way in of their own, is out when its owner resets the
// password: their session, and the other account.
func TestResetOfAnAccountThatSomebodyElsePrepared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t, noVerify)
		attacker := a.phone()
		attacker.wants("tokens", "signUp", "email", ada, "password", his, "nick", "Eve")
		err := a.db.Update(context.Background(), func(tx *engine.Tx) error { // a way in of their own, linked while signed in
			d, err := a.auth.Accounts().All(tx).First()
			if err != nil {
				return err
			}
			for _, acc := range []authmod.Account{
				{Provider: "vouching", ProviderAccountID: "eve@example.com", User: d.Value.User, VerifiedEmail: "eve@example.com"},
				{Provider: "idle", ProviderAccountID: "ada", User: d.Value.User, VerifiedEmail: ada},
			} {
				if _, err := a.auth.Accounts().Insert(tx, acc); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		owner := a.phone()
		owner.wants(started, "reset", "email", ada)
		owner.wants("tokens", "reset-verification", "email", ada, "code", a.code(authmod.PurposeReset), "newPassword", hers)
		if attacker.me() != "" || owner.me() != "Eve" {
			t.Errorf("the attacker is %q, the owner %q", attacker.me(), owner.me())
		}
		back := a.phone()
		if err := back.call("vouching", "", "email", "eve@example.com"); err != nil {
			t.Fatal(err)
		}
		if back.me() != "" {
			t.Errorf("the attacker came back as %q", back.me())
		}
		_, accounts := a.all()
		if n := len(accounts); n != 3 { // hers, the other that proves her address, and the attacker's new one
			t.Errorf("%+v", accounts)
		}
	})
}

// A reset of an account that its owner has proved leaves their other accounts alone.
func TestResetKeepsOtherAccounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t)
		a.phone().wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		a.phone().wants("tokens", "email-verification", "email", ada, "code", a.code(authmod.PurposeVerify))
		err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
			d, err := a.auth.Accounts().All(tx).First()
			if err != nil {
				return err
			}
			_, err = a.auth.Accounts().Insert(tx, authmod.Account{Provider: "idle", ProviderAccountID: "ada", User: d.Value.User})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		a.phone().wants(started, "reset", "email", ada)
		a.phone().wants("tokens", "reset-verification", "email", ada, "code", a.code(authmod.PurposeReset), "newPassword", his)
		if _, accounts := a.all(); len(accounts) != 2 {
			t.Errorf("%+v", accounts)
		}
	})
}

// The user is deleted while a code is on its way.
func TestResetOfADeletedUser(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t, noVerify)
		a.phone().wants("tokens", "signUp", "email", ada, "password", hers, "nick", "Ada")
		a.phone().wants(started, "reset", "email", ada)
		err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
			d, err := a.members.All(tx).First()
			if err != nil {
				return err
			}
			return a.members.Delete(tx, d.ID)
		})
		if err != nil {
			t.Fatal(err)
		}
		a.phone().wants("invalid", "reset-verification", "email", ada, "code", a.code(authmod.PurposeReset), "newPassword", hers)
		if members, accounts := a.all(); len(members)+len(accounts) != 0 {
			t.Errorf("%+v, %+v", members, accounts)
		}
	})
}

// Without anything to send with, the flows that need it say so.
func TestFlowsThatNeedMail(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t, func(o *password.Options, _ *authmod.Options, _ *engine.Options) { o.Send, o.Verify = nil, false })
		for _, flow := range []string{"reset", "reset-verification", "email-verification"} {
			err := a.phone().call("password", flow, "email", ada, "code", "12345678", "newPassword", hers)
			if err == nil || err.Code != engine.CodeInvalid || len(err.Issues) != 1 || err.Issues[0].Path != "flow" {
				t.Errorf("%s: %v", flow, err)
			}
		}
	})
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	authmod.New(s, users, authmod.Options{Modules: []authmod.Module{password.New(password.Options{Verify: true})}})
	if _, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})}); err == nil || !strings.Contains(err.Error(), "Verify needs Send") {
		t.Errorf("Verify without Send: %v", err)
	}
}

// Passwords, codes and tokens are nowhere in the store, in a backup, an export or the log, in the midst of all flows and after.
func TestNoSecretLiesAnywhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newClub(t, func(_ *password.Options, o *authmod.Options, _ *engine.Options) {
			o.KeySecret = []byte(strings.Repeat("k", 32))
		})
		a.broken = fmt.Errorf("not yet")
		p := a.phone()
		p.wants(started, "signUp", "email", ada, "password", hers, "nick", "Ada")
		p.wants(started, "signUp", "email", ada, "password", his, "nick", "Eve")
		p.wants(started, "reset", "email", ada)
		pass(30 * time.Second)
		texts := []string{a.everything()}
		a.mu.Lock()
		a.broken = nil
		a.mu.Unlock()
		pass(2 * time.Minute)
		p.wants("tokens", "email-verification", "email", ada, "code", a.sent()[0].Code, "password", hers)
		texts = append(texts, a.everything())
		p.wants("tokens", "signIn", "email", ada, "password", hers)
		p.wants(started, "reset", "email", ada)
		p.wants("tokens", "reset-verification", "email", ada, "code", a.code(authmod.PurposeReset), "newPassword", "another long password")
		texts = append(texts, a.everything())
		secrets := []string{hers, his, "another long password", p.token}
		for _, m := range a.sent() {
			secrets = append(secrets, m.Code)
		}
		if len(secrets) < 8 {
			t.Fatalf("%d secrets", len(secrets))
		}
		for i, text := range texts {
			if !strings.Contains(text, ada) {
				t.Fatalf("text %d does not hold what the store holds", i)
			}
			for j, s := range secrets {
				quoted, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(text, s) || strings.Contains(text, strings.Trim(string(quoted), `"`)) {
					t.Errorf("text %d holds secret %d", i, j)
				}
			}
		}
	})
}
