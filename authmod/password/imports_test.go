package password_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// logged takes a log.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logged) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }

func (l *logged) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func importing(t *testing.T, o password.Options) (*app, *logged) {
	t.Helper()
	a, log := &app{t: t, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}, &logged{}
	if o.Crypto == nil {
		o.Crypto = cheap
	}
	s := engine.NewSchema()
	a.users = engine.Define[User](s, "users")
	a.auth = authmod.New(s, a.users, authmod.Options{Modules: []authmod.Module{password.New(o)}})
	a.db = enginetest.Open(t, s, func(o *engine.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	return a, log
}

func (a *app) importLines(collection, lines string, o engine.ImportOptions) error {
	_, err := a.db.Import(context.Background(), collection, strings.NewReader(lines), o)
	return err
}

// user makes a user's document, as an application that imports does.
func (a *app) user(email string) (id engine.ID[User]) {
	a.t.Helper()
	err := a.db.Update(context.Background(), func(tx *engine.Tx) (err error) {
		id, err = a.users.Insert(tx, User{authmod.UserFields{Email: email}})
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return id
}

func (a *app) secretOf(user engine.ID[User]) (secret string) {
	a.t.Helper()
	err := a.db.View(context.Background(), func(r *engine.ReadTx) error {
		for d, err := range a.auth.Accounts().All(r).Docs() {
			if err != nil {
				return err
			}
			if d.Value.User == string(user) {
				secret = d.Value.Secret
			}
		}
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return secret
}

// Users who come with hashes of bcrypt or scrypt sign in with the passwords that they have, and leave a hash of today's kind.
func TestImportedUsersSignIn(t *testing.T) {
	t.Parallel()
	scrypt, err := password.Scrypt{LogN: 4, R: 1, P: 1}.Hash(secret)
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]string{scrypt: secret}
	for hash, pw := range bcryptHashes {
		hashes[hash] = pw
	}
	for name, bring := range map[string]func(a *app, acc authmod.Account) error{
		"by Go": func(a *app, acc authmod.Account) error {
			return a.db.Update(context.Background(), func(tx *engine.Tx) error {
				_, err := a.auth.Accounts().Insert(tx, acc)
				return err
			})
		},
		"by import": func(a *app, acc authmod.Account) error {
			return a.importLines("authAccounts", fmt.Sprintf(
				`{"provider":%q,"providerAccountId":%q,"user":%q,"secret":%q}`, acc.Provider, acc.ProviderAccountID, acc.User, acc.Secret,
			), engine.ImportOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, log := importing(t, password.Options{})
			n := 0
			for hash, pw := range hashes {
				n++
				email := fmt.Sprintf("user%d@example.com", n)
				user := a.user(email)
				// The other system spelled addresses as it was given them.
				err := bring(a, authmod.Account{Provider: "password", ProviderAccountID: " " + strings.ToUpper(email), User: string(user), Secret: hash})
				if err != nil {
					t.Fatalf("%s: %v", hash, err)
				}
				if err := a.call("signIn", email, "wrong "+pw); err == nil || err.Code != engine.CodeUnauthenticated || a.secretOf(user) != hash {
					t.Errorf("%s with a wrong password: %v", hash, err)
				}
				a.must("signIn", email, pw)
				if now := a.secretOf(user); !strings.HasPrefix(now, "$argon2id$v=19$m=8,t=1,p=1$") {
					t.Errorf("%s was replaced by %.20s", hash, now)
				}
				a.must("signIn", email, pw)
				if err := a.call("signIn", email, "wrong "+pw); err == nil || err.Code != engine.CodeUnauthenticated {
					t.Errorf("%s with a wrong password, then: %v", hash, err)
				}
				if len(pw) > 72 { // now all of it counts
					if err := a.call("signIn", email, pw[:72]); err == nil || err.Code != engine.CodeUnauthenticated {
						t.Errorf("%s with the first 72 bytes: %v", hash, err)
					}
				}
				if err := a.call("signUp", email, secret); err == nil || err.Code != engine.CodeAlreadyExists {
					t.Errorf("a sign-up with an imported address: %v", err)
				}
			}
			if strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("logged: %s", log)
			}
		})
	}
}

// What could never sign in is refused where it is brought, with the line and what is wrong.
func TestImportRefusesBrokenAccounts(t *testing.T) {
	t.Parallel()
	a, _ := importing(t, password.Options{})
	user := a.user("ada@example.com")
	for _, c := range []struct{ id, secret, want string }{
		{"ada@example.com", "correct horse battery staple", "secret"}, // a password where the hash belongs
		{"ada@example.com", "5f4dcc3b5aa765d61d8327deb882cf99", "secret"},
		{"ada@example.com", "$2b$31$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i", "secret"}, // a month of work
		{"ada@example.com", "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0", "secret"},
		{"ada", "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i", "providerAccountId"},
		{"ada", "x", "providerAccountId secret"},
		{"", "", "providerAccountId"},
	} {
		good := `{"provider":"password","providerAccountId":"bob@example.com","user":"` + string(user) + `"}` + "\n"
		bad := fmt.Sprintf(`{"provider":"password","providerAccountId":%q,"user":%q,"secret":%q}`, c.id, user, c.secret)
		err := a.importLines("authAccounts", good+bad, engine.ImportOptions{DryRun: true})
		var at *engine.ImportError
		var e *engine.Error
		if !errors.As(err, &at) || at.Line != 2 || !errors.As(err, &e) || e.Code != engine.CodeInvalid {
			t.Errorf("%q, %q: %v", c.id, c.secret, err)
			continue
		}
		var paths []string
		for _, i := range e.Issues {
			paths = append(paths, i.Path)
		}
		if strings.Join(paths, " ") != c.want || c.secret != "" && c.secret != "x" && strings.Contains(err.Error(), c.secret) {
			t.Errorf("%q, %q: %v", c.id, c.secret, err)
		}
	}
	// A hash of the program's own kind is its own affair.
	b, _ := importing(t, password.Options{Crypto: &counting{Crypto: cheap}})
	err := b.importLines("authAccounts", fmt.Sprintf(
		`{"provider":"password","providerAccountId":"ada@example.com","user":%q,"secret":"md5:1234"}`, b.user("ada@example.com"),
	), engine.ImportOptions{})
	if err != nil {
		t.Errorf("a hash of another Crypto: %v", err)
	}
}

// A hash that is there and cannot be read, because it was stored aside from all checks, is a wrong password to whoever tries,
// at the same cost, and a line in the log for whoever runs the program.
func TestUnreadableHashAtSignIn(t *testing.T) {
	for name, crypto := range map[string]password.Crypto{"ErrHash": cheap, "an error of its own": homemade{cheap}} {
		t.Run(name, func(t *testing.T) { t.Parallel(); unreadableHash(t, crypto) })
	}
}

// homemade is a Crypto of a program's own, which says in words of its own what it cannot read.
type homemade struct{ password.Crypto }

func (h homemade) Verify(hash, pw string) (bool, error) {
	right, err := h.Crypto.Verify(hash, pw)
	if err != nil {
		err = errors.New("what hash is this?")
	}
	return right, err
}

func unreadableHash(t *testing.T, crypto password.Crypto) {
	a, log := importing(t, password.Options{Crypto: &counting{Crypto: crypto}, MaxFailures: 3})
	const broken = "$2x$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i"
	err := a.importLines("authAccounts", fmt.Sprintf(
		`{"provider":"password","providerAccountId":"ada@example.com","user":%q,"secret":%q}`, a.user("ada@example.com"), broken,
	), engine.ImportOptions{SkipTriggers: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, email := range []string{"ada@example.com", "nobody@example.com"} {
		for range 3 {
			if err := a.call("signIn", email, secret); err == nil || err.Code != engine.CodeUnauthenticated ||
				encoded(t, err) != `{"code":"unauthenticated","message":"wrong e-mail address or password"}` {
				t.Fatalf("%s: %+v", email, err)
			}
		}
		if err := a.call("signIn", email, secret); err == nil || err.Code != engine.CodeBusy {
			t.Errorf("%s: failures are not counted: %v", email, err)
		}
	}
	if n := strings.Count(log.String(), "cannot be verified"); n != 3 || strings.Contains(log.String(), broken[4:]) || strings.Contains(log.String(), secret) {
		t.Errorf("logged %d times: %s", n, log)
	}
}
