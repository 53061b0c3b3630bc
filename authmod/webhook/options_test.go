package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// A verified address leads to the user who has proved it before, and an unverified one to nobody else's.
func TestLinking(t *testing.T) {
	t.Parallel()
	a := setup(t)
	member := func(id, subject string, verified bool) string {
		return encode(map[string]any{
			"id": id, "event": "user.created", "created_at": "2026-03-01T12:00:00Z", "data": map[string]any{
				"id": subject, "email": "ADA@example.com", "email_verified": verified, "first_name": subject,
				"updated_at": "2026-03-01T12:00:00Z",
			},
		})
	}
	send := func(body string) {
		t.Helper()
		header := workos(a.clock.now(), workSecret, body)
		if got := a.deliver(http.MethodPost, workosPath, header, []byte(body)); got.String() != "200 applied" {
			t.Fatalf("%v %s", got, got.Message)
		}
	}
	send(member("event_1", "mallory", false))
	a.expect("200 applied", "msg_1", clerkUser("user.created", "user_1", "ada@example.com", at(1)))
	if got := a.people(); len(got) != 2 || got[0].EmailVerified || !got[1].EmailVerified {
		t.Fatalf("users %+v, want two, the first with an unverified address", got)
	}
	send(member("event_2", "mallory2", false))
	if got := a.people(); len(got) != 3 || got[1].Name != "Ada Lovelace" {
		t.Fatalf("users %+v, want a third", got)
	}
	send(member("event_3", "ada", true))
	if got := a.people(); len(got) != 3 || a.accounts() != 4 || got[1].Name != "ada" {
		t.Fatalf("users %+v with %d accounts, want three with four", got, a.accounts())
	}
	// Clerk says so by the state of the primary address alone, whatever is said of the others.
	address := func(id, email, status string) any {
		return map[string]any{"id": id, "email_address": email, "verification": map[string]any{"status": status}}
	}
	for i, addresses := range [][]any{ // the last two of a user without a primary address
		{address("idn_1", "ada@example.com", "unverified")},
		{address("idn_1", "ada@example.com", "")},
		{address("idn_1", "mallory@example.com", "verified"), address("idn_2", "ada@example.com", "verified")},
		{address("", "ada@example.com", "verified")},
		{},
	} {
		a.expect("200 applied", fmt.Sprint("msg_m", i), clerkUser("user.created", fmt.Sprint("mallory_", i), "", at(1),
			map[string]any{"email_addresses": addresses, "primary_email_address_id": []any{"idn_1", nil}[i/3]}))
		if got := a.people(); len(got) != 4+i || got[1].Name != "ada" {
			t.Fatalf("%v: users %+v, want another", addresses, got)
		}
	}
	if n := strings.Count(a.entries(), "created"); n != 8 {
		t.Errorf("OnCreate ran %d times for eight users", n)
	}
}

// Nobody signs in by a webhook.
func TestSignIn(t *testing.T) {
	t.Parallel()
	a := setup(t)
	for _, provider := range []string{"clerk-webhook", "workos-webhook", "club-events"} {
		args, err := json.Marshal(map[string]any{"provider": provider, "params": map[string]any{"flow": "signIn", "code": "x"}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: args})
		e, ok := errors.AsType[*engine.Error](err)
		if !ok || e.Code != engine.CodeInvalid || len(e.Issues) != 1 || e.Issues[0].Path != "provider" {
			t.Errorf("%s: %v", provider, err)
		}
	}
}

// Wrong options are errors of Open, and say what is wrong without saying the secret.
func TestWrongOptions(t *testing.T) {
	t.Parallel()
	users := authmod.NewMapping(func(in webhook.ClerkUser, u *User) error { return nil })
	good := []string{clerkSecret}
	on := func(typ string, fn func(*engine.Tx, webhook.Event) error) map[string]func(*engine.Tx, webhook.Event) error {
		return map[string]func(*engine.Tx, webhook.Event) error{typ: fn}
	}
	publicKey := "whpk_" + strings.Repeat("A", 44)
	nothing := func(*engine.Tx, webhook.Event) error { return nil }
	for name, test := range map[string]struct {
		module authmod.Module
		want   string // in Open's error; empty when it succeeds
	}{
		"no secret": {webhook.Clerk(webhook.Options{Users: users}), "Secrets is empty"},
		"an empty secret": {
			webhook.Clerk(webhook.Options{Users: users, Secrets: []string{clerkSecret, ""}}), "secret 2 has 0 bytes",
		},
		"only a prefix": {
			webhook.Clerk(webhook.Options{Users: users, Secrets: []string{"whsec_"}}), "secret 1 has 0 bytes",
		},
		"a short secret": {
			webhook.Clerk(webhook.Options{Users: users, Secrets: []string{"whsec_c2VjcmV0"}}), "secret 1 has 6 bytes, and must",
		},
		"no base64": {
			webhook.Clerk(webhook.Options{Users: users, Secrets: []string{"whsec_not base64, hush-hush"}}), "secret 1 must be base64",
		},
		"a public key": {
			webhook.Standard(webhook.Options{Provider: "club", Users: users, Secrets: []string{publicKey}}), "one of a pair of keys",
		},
		"an empty WorkOS":       {webhook.WorkOS(webhook.Options{Users: users, Secrets: []string{" "}}), "secret 1 has 0 bytes"},
		"nothing to do":         {webhook.Clerk(webhook.Options{Secrets: good}), "neither Users nor On"},
		"a nil function":        {webhook.Clerk(webhook.Options{Secrets: good, On: on("ping", nil)}), `On["ping"] is nil`},
		"a function of no type": {webhook.Clerk(webhook.Options{Secrets: good, On: on("", nothing)}), `On[""]`},
		"no provider": {
			webhook.Standard(webhook.Options{Name: "club", Secrets: good, Users: users}), "Provider is empty",
		},
		"neither name": {webhook.Standard(webhook.Options{Secrets: good, Users: users}), `module ""`},
		"a wrong name": {webhook.Clerk(webhook.Options{Name: "a/b", Secrets: good, Users: users}), `module "a/b"`},
		"a wrong provider": {
			webhook.Clerk(webhook.Options{Provider: "a b", Name: "c", Secrets: good, Users: users}), `"a b" is no name of a provider`,
		},
		"forgets at once": {webhook.Clerk(webhook.Options{Secrets: good, Users: users, Keep: time.Minute}), "Keep is 1m0s"},
		"another user type": {webhook.Clerk(webhook.Options{
			Secrets: good, Users: authmod.NewMapping(func(webhook.ClerkUser, *Entry) error { return nil }),
		}), "the mapping makes webhook_test.Entry"},
		"functions alone": {webhook.Clerk(webhook.Options{Secrets: good, On: on("ping", nothing)}), ""},
		"a raw secret": {
			webhook.Standard(webhook.Options{Provider: "club", Users: users, Secrets: []string{"c2l4dGVlbiBsZXR0ZXJzLg=="}}), "",
		},
	} {
		s := engine.NewSchema()
		authmod.New(s, engine.Define[User](s, "users"), authmod.Options{Modules: []authmod.Module{test.module}})
		db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
		if err == nil {
			err = db.Close()
			if test.want != "" {
				t.Errorf("%s: Open succeeded", name)
			}
		}
		if test.want == "" && err != nil || test.want != "" && err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), clerkSecret)) {
			t.Errorf("%s: the error has the secret", name)
		}
	}
}

// Events without Users change nobody, whatever they say; functions of the application run.
func TestWithoutUsers(t *testing.T) {
	t.Parallel()
	var a *app
	a = setup(t, func(s *settings) {
		s.clerk.Users = nil
		s.clerk.On = map[string]func(*engine.Tx, webhook.Event) error{"user.deleted": func(tx *engine.Tx, e webhook.Event) error {
			_, err := a.diary.Insert(tx, Entry{e.Type})
			return err
		}}
	})
	if _, err := a.provision("user_1", "ada@example.com"); err != nil {
		t.Fatal(err)
	}
	a.expect("200 ignored", "msg_1", clerkUser("user.updated", "user_1", "new@example.com", at(1)))
	a.expect("200 applied", "msg_2", clerkDeleted("user_1", at(2)))
	if got := a.people(); len(got) != 1 || got[0].Email != "ada@example.com" {
		t.Errorf("users %+v", got)
	}
	if got := a.entries(); got != "created ada@example.com\nuser.deleted" {
		t.Errorf("diary %q", got)
	}
}
