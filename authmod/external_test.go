package authmod_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

// kit is a module that hears of people who sign in elsewhere.
type kit struct {
	name string
	x    *authmod.External
}

// Person is what the kit says of somebody.
type Person struct {
	Email    string `json:"email"`
	Nickname string `json:"nickname"`
	Verified *bool  `json:"verified"`
}

func (k *kit) Provider() string { return k.name }

func (k *kit) Attach(h *authmod.Host) {
	k.x = h.External("kit", authmod.NewMapping(func(p Person, u *User) error {
		if p.Nickname == "refused" {
			return engine.Errorf(engine.CodeForbidden, "not here")
		}
		u.Email, u.Nickname = p.Email, p.Nickname
		if p.Verified != nil {
			u.EmailVerified = *p.Verified
		}
		if u.Role == "" {
			u.Role = "guest"
		}
		return nil
	}))
}

func (k *kit) SignIn(*authmod.Attempt) (authmod.Answer, error) {
	return authmod.Answer{}, errors.New("nobody signs in here")
}

// external is a school with two modules that hear of the same people, and what the triggers of users saw.
type external struct {
	*app
	tokens, hooks *authmod.External

	mu                      sync.Mutex
	inserted, updated, gone int                   // guarded by mu
	signIns                 []*authmod.SignInInfo // guarded by mu; what OnCreate found
	params                  []Person              // guarded by mu
}

func setupExternal(t *testing.T) *external {
	t.Helper()
	tokens, hooks := &kit{name: "kit"}, &kit{name: "kit-webhook"}
	e := &external{}
	e.app = setup(t, func(s *settings) {
		s.modules = []authmod.Module{tokens, hooks}
		s.onCreate = func(*engine.Tx, *engine.Doc[User]) error { return nil }
		s.define = func(users *engine.Collection[User]) {
			triggers.OnCreate(users, "count", func(tx *engine.Tx, _ *engine.Doc[User]) error {
				p, err := authmod.Params[Person](tx)
				if err != nil && !errors.Is(err, authmod.ErrNoSignIn) {
					return err
				}
				info := authmod.SignIn(tx)
				e.mu.Lock()
				defer e.mu.Unlock()
				e.inserted++
				e.signIns, e.params = append(e.signIns, info), append(e.params, p)
				return nil
			})
			triggers.OnUpdate(users, "count", func(*engine.Tx, *engine.Doc[User], *engine.Doc[User]) error {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.updated++
				return nil
			})
			triggers.OnDelete(users, "count", func(*engine.Tx, *engine.Doc[User]) error {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.gone++
				return nil
			})
		}
	})
	e.tokens, e.hooks = tokens.x, hooks.x
	return e
}

// in runs fn in a transaction.
func (e *external) in(fn func(tx *engine.Tx) error) error {
	return e.db.Update(context.Background(), fn)
}

func (e *external) must(fn func(tx *engine.Tx) error) {
	e.t.Helper()
	if err := e.in(fn); err != nil {
		e.t.Fatal(err)
	}
}

func says(subject string, p Person) authmod.ExternalUser {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return authmod.ExternalUser{Subject: subject, Data: data}
}

func (e *external) put(subject, nickname string, at time.Time) (user string, applied bool) {
	e.t.Helper()
	e.must(func(tx *engine.Tx) (err error) {
		u := says(subject, Person{Nickname: nickname})
		u.At = at
		user, applied, err = e.hooks.Put(tx, u)
		return err
	})
	return user, applied
}

func (e *external) provision(subject, nickname string) (user string, created bool, err error) {
	e.t.Helper()
	err = e.in(func(tx *engine.Tx) (err error) {
		user, created, err = e.tokens.Provision(tx, says(subject, Person{Nickname: nickname}))
		return err
	})
	return user, created, err
}

// nickname is that of the subject's user, "" when there is none.
func (e *external) nickname(subject string) (name string) {
	e.t.Helper()
	err := e.db.View(context.Background(), func(tx *engine.ReadTx) error {
		id, err := e.tokens.Find(tx, subject)
		if errors.Is(err, authmod.ErrNoAccount) || errors.Is(err, authmod.ErrDeleted) {
			name = ""
			return nil
		}
		if err != nil {
			return err
		}
		d, err := e.users.Get(tx, engine.ID[User](id))
		if err == nil {
			name = d.Value.Nickname
		}
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return name
}

func TestWhoeverHearsFirstMakesTheUser(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		run    func(e *external)
		flow   string // of the creation; "" is none
		wanted string
	}{
		"the token": {func(e *external) {
			first, created, err := e.provision("ann", "Token")
			second, applied := e.put("ann", "Event", at)
			if !created || err != nil || !applied || first != second {
				e.t.Errorf("%s created %v, %v; %s applied %v", first, created, err, second, applied)
			}
		}, "provision", "Event"},
		"the event": {func(e *external) {
			first, applied := e.put("ann", "Event", at)
			second, created, err := e.provision("ann", "Token")
			if created || err != nil || !applied || first != second {
				e.t.Errorf("%s applied %v; %s created %v, %v", first, applied, second, created, err)
			}
		}, "", "Event"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setupExternal(t)
			test.run(e)
			if n := e.nickname("ann"); n != test.wanted {
				t.Errorf("the user is %q", n)
			}
			if e.inserted != 1 || e.count("users") != 1 || e.count("authAccounts") != 1 || e.count("authSessions") != 0 {
				t.Errorf("OnCreate fired %d times; %d users, %d accounts", e.inserted, e.count("users"), e.count("authAccounts"))
			}
			info := e.signIns[0]
			if test.flow == "" {
				if info != nil {
					t.Errorf("an event is no sign-in, and the trigger found %+v", info)
				}
				return
			}
			if info == nil || info.Flow != test.flow || info.Provider != "kit" || info.AccountID != "ann" || !info.NewUser {
				t.Errorf("the trigger found %+v", info)
			}
			if e.params[0].Nickname != "Token" {
				t.Errorf("and the parameters %+v", e.params[0])
			}
		})
	}
}

// A trigger that reads the parameters of another module's form reads claims likewise: what is in neither is no fault.
func TestClaimsAsParams(t *testing.T) {
	t.Parallel()
	k := &kit{name: "kit"}
	a := setup(t, func(s *settings) { s.modules = []authmod.Module{k} })
	err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
		_, _, err := k.x.Provision(tx, authmod.ExternalUser{
			Subject: "ann", Data: json.RawMessage(`{"sub":"ann","email":"ann@example.com","nickname":"Ann","course":"go"}`),
		})
		return err
	})
	if err != nil || a.count("enrolments") != 1 {
		t.Errorf("%d enrolments, %v", a.count("enrolments"), err)
	}
}

func TestManyHearAtOnce(t *testing.T) {
	t.Parallel()
	e := setupExternal(t)
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	const subjects, each = 4, 8
	var wg sync.WaitGroup
	found := make([]map[string]bool, subjects)
	var mu sync.Mutex
	for i := range subjects {
		found[i] = map[string]bool{}
		for j := range each {
			wg.Go(func() {
				var user string
				err := e.in(func(tx *engine.Tx) (err error) {
					u := says(fmt.Sprint("s", i), Person{Nickname: "Ann"})
					if j%2 == 0 {
						user, _, err = e.tokens.Provision(tx, u)
						return err
					}
					u.At = at.Add(time.Duration(j) * time.Second)
					user, _, err = e.hooks.Put(tx, u)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				found[i][user] = true
			})
		}
	}
	wg.Wait()
	if n := e.count("users"); n != subjects {
		t.Errorf("%d users, want %d", n, subjects)
	}
	for i, users := range found {
		if len(users) != 1 {
			t.Errorf("subject %d is %v", i, slices.Collect(maps.Keys(users)))
		}
	}
}

func TestDeletedStaysDeleted(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for name, kill := range map[string]func(e *external, user string){
		"by the service": func(e *external, _ string) {
			e.must(func(tx *engine.Tx) error {
				if applied, err := e.hooks.Delete(tx, "ann", at.Add(time.Hour)); !applied || err != nil {
					return fmt.Errorf("applied %v: %w", applied, err)
				}
				return nil
			})
		},
		"by the application": func(e *external, user string) {
			e.must(func(tx *engine.Tx) error { return e.users.Delete(tx, engine.ID[User](user)) })
		},
		"before it was heard of": func(e *external, user string) {
			e.must(func(tx *engine.Tx) error {
				if err := e.users.Delete(tx, engine.ID[User](user)); err != nil {
					return err
				}
				if err := e.hooks.Readmit(tx, "ann"); err != nil {
					return err
				}
				_, err := e.hooks.Delete(tx, "ann", time.Time{})
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setupExternal(t)
			user, _ := e.put("ann", "Ann", at)
			kill(e, user)
			if e.gone != 1 || e.count("users") != 0 || e.count("authAccounts") != 0 {
				t.Errorf("OnDelete fired %d times, %d users are left", e.gone, e.count("users"))
			}
			for _, late := range []time.Time{at, at.Add(48 * time.Hour), {}} {
				if user, applied := e.put("ann", "Back", late); applied || user != "" {
					t.Errorf("an event of %v brought back %q", late, user)
				}
			}
			if _, _, err := e.provision("ann", "Back"); !errors.Is(err, authmod.ErrDeleted) {
				t.Errorf("a token that is valid still: %v", err)
			}
			e.must(func(tx *engine.Tx) error {
				if applied, err := e.hooks.Delete(tx, "ann", at); applied || err != nil {
					t.Errorf("deleted again: %v, %v", applied, err)
				}
				return nil
			})
			if e.count("users") != 0 {
				t.Fatal("somebody is back")
			}
			e.must(func(tx *engine.Tx) error { return e.hooks.Readmit(tx, "ann") })
			if _, created, err := e.provision("ann", "Back"); !created || err != nil {
				t.Errorf("readmitted: %v, %v", created, err)
			}
		})
	}
}

// What links an account is the address that the service vouches for, and not the one in its data.
// A way to sign in that somebody has taken away from their user stays away: the token that their browser goes on presenting
// makes no second user of them, nor does the service's next event, and whoever has got into the account there is kept out.
func TestUnlinkedStaysUnlinked(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	e := setupExternal(t)
	u := says("ann", Person{Email: "ann@example.com", Nickname: "Ann"})
	u.VerifiedEmail, u.At = "ann@example.com", at
	var user string
	e.must(func(tx *engine.Tx) (err error) {
		if user, _, err = e.tokens.Provision(tx, u); err != nil {
			return err
		}
		_, err = e.auth.Accounts().Insert(tx, authmod.Account{
			Provider: "password", ProviderAccountID: "ann@example.com", User: user, VerifiedEmail: "ann@example.com",
		})
		return err
	})
	e.must(func(tx *engine.Tx) error {
		list, err := e.auth.ListAccounts(tx, user)
		for _, a := range list {
			if a.Provider == "kit" {
				err = e.auth.Unlink(tx, user, a.ID)
			}
		}
		return err
	})
	e.must(func(tx *engine.Tx) error {
		if _, created, err := e.tokens.Provision(tx, u); created || !errors.Is(err, authmod.ErrDeleted) {
			t.Errorf("a token: created %v, %v", created, err)
		}
		return nil
	})
	later := u
	later.At = at.Add(time.Hour)
	e.must(func(tx *engine.Tx) error {
		if _, applied, err := e.hooks.Put(tx, later); applied || err != nil {
			t.Errorf("an event: applied %v, %v", applied, err)
		}
		if applied, err := e.hooks.Delete(tx, "ann", later.At); applied || err != nil {
			t.Errorf("the end at the service: applied %v, %v", applied, err)
		}
		return nil
	})
	if n := e.count("users"); n != 1 {
		t.Fatalf("%d users", n)
	}
	e.must(func(tx *engine.Tx) error { return e.hooks.Readmit(tx, "ann") })
	e.must(func(tx *engine.Tx) error {
		if again, _, err := e.tokens.Provision(tx, u); again != user || err != nil {
			t.Errorf("readmitted: %q, %v; want the user with the same verified address", again, err)
		}
		return nil
	})
}

func TestExternalLinksByVerifiedAddress(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for name, test := range map[string]struct {
		mine, theirs string // the addresses vouched for
		data         Person
		linked       bool
	}{
		"both verified":      {"ann@example.com", " Ann@Example.com", Person{Email: "ann@example.com", Nickname: "Two"}, true},
		"theirs is not":      {"ann@example.com", "", Person{Email: "ann@example.com", Nickname: "Two", Verified: &yes}, false},
		"mine is not":        {"", "ann@example.com", Person{Email: "ann@example.com", Nickname: "Two", Verified: &no}, false},
		"another address":    {"ann@example.com", "bob@example.com", Person{Email: "ann@example.com", Nickname: "Two"}, false},
		"what is no address": {"ann@example", "ann@example", Person{Nickname: "Two"}, false},
	} {
		for _, way := range []string{"provision", "put"} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				e := setupExternal(t)
				var first, second string
				e.must(func(tx *engine.Tx) (err error) {
					id, err := e.users.Insert(tx, User{UserFields: authmod.UserFields{Email: "ann@example.com"}, Nickname: "One", Role: "student"})
					if err != nil {
						return err
					}
					first = string(id)
					_, err = e.auth.Accounts().Insert(tx, authmod.Account{
						Provider: "password", ProviderAccountID: "ann@example.com", User: first, VerifiedEmail: test.mine,
					})
					return err
				})
				e.must(func(tx *engine.Tx) (err error) {
					u := says("ann", test.data)
					u.VerifiedEmail = test.theirs
					if way == "put" {
						second, _, err = e.hooks.Put(tx, u)
					} else {
						second, _, err = e.tokens.Provision(tx, u)
					}
					return err
				})
				if linked := first == second; linked != test.linked {
					t.Fatalf("linked is %v", linked)
				}
				want := "Two"
				if test.linked && way == "provision" {
					want = "One" // a sign-in changes nothing about a user
				}
				if n := e.nickname("ann"); n != want {
					t.Errorf("the user is %q", n)
				}
				e.must(func(tx *engine.Tx) error {
					d, err := e.users.Get(tx, engine.ID[User](second))
					if err != nil {
						return err
					}
					if test.linked && (!d.Value.EmailVerified || d.Value.Role != "student") {
						t.Errorf("the linked user is %+v", d.Value)
					}
					return nil
				})
			})
		}
	}
}

// An address that the service changes is not verified by what was known of the one before.
func TestVerifiedGoesWithTheAddress(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for name, test := range map[string]struct {
		before, after Person
		vouched       string // with the second
		want          bool
	}{
		"the same address, nothing said":    {Person{Email: "a@example.com", Verified: &yes}, Person{Email: "A@example.com"}, "", true},
		"another address, nothing said":     {Person{Email: "a@example.com", Verified: &yes}, Person{Email: "b@example.com"}, "", false},
		"another address, said to be":       {Person{Email: "a@example.com", Verified: &no}, Person{Email: "b@example.com", Verified: &yes}, "", true},
		"another address, vouched for":      {Person{Email: "a@example.com"}, Person{Email: "b@example.com"}, "B@example.com", true},
		"another address, another vouched":  {Person{Email: "a@example.com", Verified: &yes}, Person{Email: "b@example.com"}, "a@example.com", false},
		"no address any more, nothing said": {Person{Email: "a@example.com", Verified: &yes}, Person{}, "", false},
		"the same address, another vouched": {Person{Email: "a@example.com"}, Person{Email: "a@example.com"}, "b@example.com", false},
		"the same address, later vouched":   {Person{Email: "a@example.com"}, Person{Email: "a@example.com"}, "a@example.com", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setupExternal(t)
			test.before.Nickname, test.after.Nickname = "Ann", "Ann"
			var user string
			for i, p := range []Person{test.before, test.after} {
				e.must(func(tx *engine.Tx) (err error) {
					u := says("ann", p)
					if i == 1 {
						u.VerifiedEmail = test.vouched
					}
					user, _, err = e.hooks.Put(tx, u)
					return err
				})
			}
			e.must(func(tx *engine.Tx) error {
				d, err := e.users.Get(tx, engine.ID[User](user))
				if err == nil && d.Value.EmailVerified != test.want {
					t.Errorf("the user is %+v", d.Value)
				}
				return err
			})
			if e.updated > 1 {
				t.Errorf("one event updated the user %d times", e.updated)
			}
		})
	}
}

func TestWhatTheServiceSaysMayBeWrong(t *testing.T) {
	t.Parallel()
	e := setupExternal(t)
	e.put("known", "Ann", time.Time{})
	before := e.dump()
	long := make([]byte, 1025)
	for i := range long {
		long[i] = 'x'
	}
	for name, test := range map[string]struct {
		subject, data string
		code          engine.Code
		path          string
	}{
		"no subject":                {"", `{"nickname":"Ann"}`, engine.CodeInvalid, ""},
		"a long subject":            {string(long), `{"nickname":"Ann"}`, engine.CodeInvalid, ""},
		"no JSON":                   {"ann", `{`, engine.CodeInvalid, ""},
		"no data":                   {"ann", ``, engine.CodeInvalid, ""},
		"a wrong type":              {"ann", `{"nickname":7}`, engine.CodeInvalid, "nickname"},
		"against the schema":        {"ann", `{"nickname":"A"}`, engine.CodeInvalid, "nickname"},
		"refused":                   {"ann", `{"nickname":"refused"}`, engine.CodeForbidden, ""},
		"an update of wrong type":   {"known", `{"nickname":7}`, engine.CodeInvalid, "nickname"},
		"an update that is refused": {"known", `{"nickname":"refused"}`, engine.CodeForbidden, ""},
	} {
		u := authmod.ExternalUser{Subject: test.subject, Data: json.RawMessage(test.data), At: e.clock.now()}
		for way, run := range map[string]func(tx *engine.Tx) error{
			"put":       func(tx *engine.Tx) error { _, _, err := e.hooks.Put(tx, u); return err },
			"provision": func(tx *engine.Tx) error { _, _, err := e.tokens.Provision(tx, u); return err },
		} {
			err := e.in(run)
			var coded *engine.Error
			switch {
			case way == "provision" && test.subject == "known": // is not looked at
				if err != nil {
					t.Errorf("%s, %s: %v", name, way, err)
				}
			case !errors.As(err, &coded) || coded.Code != test.code:
				t.Errorf("%s, %s: %v", name, way, err)
			case test.path != "" && (len(coded.Issues) != 1 || coded.Issues[0].Path != test.path):
				t.Errorf("%s, %s: issues %+v", name, way, coded.Issues)
			}
		}
	}
	if e.dump() != before {
		t.Error("the store has changed")
	}
}

// Any course of events, late ones, tokens, deletions and readmissions, ends as a plain model of one subject says.
func TestExternalModel(t *testing.T) {
	t.Parallel()
	e := setupExternal(t)
	base := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		subject := fmt.Sprint("subject", runs)
		var (
			user    string // the model: who it is, "" for nobody
			name    string
			known   = -1 // the newest version
			deleted bool
		)
		e.mu.Lock()
		inserted := e.inserted
		e.mu.Unlock()
		rt.Repeat(map[string]func(*rapid.T){
			"event": func(rt *rapid.T) {
				version := rapid.IntRange(-1, 9).Draw(rt, "version") // -1 is unknown
				nickname := fmt.Sprint("v", rapid.IntRange(10, 99).Draw(rt, "name"))
				var at time.Time
				if version >= 0 {
					at = base.Add(time.Duration(version) * time.Second)
				}
				got, applied := e.put(subject, nickname, at)
				want := !deleted && (version < 0 || version >= known)
				if applied != want {
					rt.Fatalf("version %d after %d: applied %v", version, known, applied)
				}
				if !applied {
					return
				}
				if user == "" {
					user = got
					inserted++
				}
				name, known = nickname, max(known, version)
			},
			"token": func(rt *rapid.T) {
				got, created, err := e.provision(subject, "token")
				switch {
				case deleted != errors.Is(err, authmod.ErrDeleted), !deleted && err != nil, created != (!deleted && user == ""):
					rt.Fatalf("created %v, %v", created, err)
				case created:
					user, name = got, "token"
					inserted++
				}
			},
			"deletion by the service": func(rt *rapid.T) {
				e.must(func(tx *engine.Tx) error {
					applied, err := e.hooks.Delete(tx, subject, base)
					if err == nil && applied == deleted {
						rt.Fatalf("applied %v", applied)
					}
					return err
				})
				user, name, deleted = "", "", true
			},
			"deletion by the application": func(rt *rapid.T) {
				if user == "" {
					rt.Skip()
				}
				e.must(func(tx *engine.Tx) error { return e.users.Delete(tx, engine.ID[User](user)) })
				user, name, deleted = "", "", true
			},
			"readmission": func(rt *rapid.T) {
				e.must(func(tx *engine.Tx) error { return e.hooks.Readmit(tx, subject) })
				if deleted {
					deleted, known = false, -1
				}
			},
			"": func(rt *rapid.T) {
				if got := e.nickname(subject); got != name {
					rt.Fatalf("the user is %q, want %q", got, name)
				}
				e.mu.Lock()
				defer e.mu.Unlock()
				if e.inserted != inserted {
					rt.Fatalf("OnCreate fired %d times, want %d", e.inserted, inserted)
				}
			},
		})
	})
}
