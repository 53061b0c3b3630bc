package emailcode_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/emailcode"
	"github.com/mimosadb/mimosa/engine"
)

// The first code makes the user, with what the form said when it was asked for; later ones sign in.
func TestSignUpAndSignIn(t *testing.T) {
	for name, redeem := range map[string]func(*device, authmod.Message) *engine.Error{"code": (*device).enter, "link": (*device).open} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := setup(t)
				d := a.device()
				m := d.ask(params{"email": " Ada@Example.com", "nickname": "Ada", "course": "go"})
				if m.To != "ada@example.com" || m.Purpose != authmod.PurposeSignIn || len(m.Code) != 8 || a.counts() != [3]int{} {
					t.Fatalf("message %+v, documents %v", m, a.counts())
				}
				other := a.device() // people read their mail elsewhere
				if err := redeem(other, m); err != nil {
					t.Fatal(err)
				}
				if u := a.doc(other.user()); u.Email != "ada@example.com" || !u.EmailVerified || u.Nickname != "Ada" || a.counts() != [3]int{1, 1, 1} {
					t.Errorf("user %+v, documents %v", u, a.counts())
				}
				a.view(func(r *engine.ReadTx) error {
					e, err := a.enrolments.All(r).First()
					if err == nil && (e.Value.Course != "go" || string(e.Value.User) != other.user()) {
						t.Errorf("enrolled %+v", e.Value)
					}
					return err
				})
				if in := a.lastSignIn(); !in.NewUser || in.Provider != "emailcode" || in.User != other.user() || in.AccountID != "ada@example.com" {
					t.Errorf("the sign-in: %+v", in)
				}
				if err := redeem(d, d.ask(params{"email": "ada@example.com"})); err != nil {
					t.Fatal(err)
				}
				if d.user() != other.user() || a.counts() != [3]int{1, 1, 1} || a.created != 1 || a.lastSignIn().NewUser {
					t.Errorf("the second sign-in: %+v, documents %v", a.lastSignIn(), a.counts())
				}
				if got := a.doc(d.user()).Nickname; got != "Ada" {
					t.Errorf("nickname %q", got)
				}
			})
		})
	}
}

// Clients that always say which button was pressed may, in both steps: it makes no difference.
func TestFlowOfTheButton(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		for i, flow := range []string{"signUp", "signIn", "signUp"} {
			d := a.device()
			m := d.ask(params{"email": "ada@example.com", "flow": flow, "nickname": "Ada", "course": "go"})
			if err := d.redeem("emailcode", params{"email": m.To, "code": m.Code, "flow": flow}); err != nil {
				t.Fatalf("%s: %v", flow, err)
			}
			if in := a.lastSignIn(); in.Flow != "" || in.NewUser != (i == 0) {
				t.Errorf("%s: %+v", flow, in)
			}
		}
	})
}

// Somebody who is new and has given nothing but an address hears what is missing when the address is proved, and the code stays
// good for the second half of the form. Somebody who is not is not asked.
func TestRestOfTheFormLater(t *testing.T) {
	for name, redeem := range map[string]func(*device, authmod.Message, params) *engine.Error{
		"code": func(d *device, m authmod.Message, p params) *engine.Error {
			p["email"], p["code"] = m.To, m.Code
			return d.redeem("emailcode", p)
		},
		"link": func(d *device, m authmod.Message, p params) *engine.Error {
			p["code"] = d.app.token(m)
			return d.redeem("", p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := setup(t)
				d := a.device()
				m := d.ask(params{"email": "ada@example.com"})
				for _, p := range []params{{}, {"nickname": "A"}, {"nickname": "Ada", "role": "teacher"}} {
					err := redeem(d, m, p)
					if err == nil || err.Code != engine.CodeInvalid || len(err.Issues) != 1 || err.Issues[0].Path == "code" || a.counts() != [3]int{} {
						t.Errorf("with %v: %+v, documents %v", p, err, a.counts())
					}
				}
				if err := redeem(d, m, params{"nickname": "admin"}); err == nil || err.Code != engine.CodeForbidden {
					t.Errorf("what the profile refuses: %v", err)
				}
				if err := redeem(d, m, params{"nickname": "Ada", "course": "go"}); err != nil {
					t.Fatalf("%+v", err)
				}
				if u := a.doc(d.user()); u.Nickname != "Ada" || u.Email != "ada@example.com" || a.counts() != [3]int{1, 1, 1} {
					t.Errorf("user %+v, documents %v", u, a.counts())
				}
				if err := redeem(d, m, params{"nickname": "Eve"}); err == nil || encoded(t, err) != wrongCode {
					t.Errorf("the code again: %v", err)
				}
				if err := redeem(d, d.ask(params{"email": "ada@example.com"}), params{}); err != nil {
					t.Errorf("somebody who has an account: %v", err)
				}
			})
		})
	}
}

// However many try at once, by code and by link, one of them gets in.
// What a profile refuses altogether, such as anybody new, it refuses to those who are new, when they have proved their address.
// Whoever has an account signs in.
func TestSignUpsAreClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var closed atomic.Bool
		type form struct {
			Nickname string `json:"nickname,omitempty"`
		}
		a := setup(t, func(o *emailcode.Options, _ *authmod.Options) {
			o.Profile = authmod.NewProfile(func(form) (User, error) {
				if closed.Load() {
					return User{}, engine.Errorf(engine.CodeForbidden, "there are no places left")
				}
				return User{Nickname: "Ada"}, nil
			})
		})
		a.device().in("ada@example.com", nil)
		closed.Store(true)
		known := a.device()
		if err := known.enter(known.ask(params{"email": "ada@example.com"})); err != nil {
			t.Errorf("somebody known: %v", err)
		}
		d := a.device()
		m := d.ask(params{"email": "bob@example.com"})
		for _, err := range []*engine.Error{d.enter(m), d.open(m)} {
			if err == nil || err.Code != engine.CodeForbidden || d.user() != "" {
				t.Errorf("somebody new: %v", err)
			}
		}
		closed.Store(false)
		if err := d.enter(m); err != nil {
			t.Errorf("with the same code, later: %v", err)
		}
	})
}

func TestOneRedemptionHoweverManyTry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		m := a.device().ask(params{"email": "ada@example.com", "nickname": "Ada"})
		const n = 50
		errs := make([]*engine.Error, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if i%2 == 0 {
					errs[i] = a.device().open(m)
				} else {
					errs[i] = a.device().enter(m)
				}
			})
		}
		all.Wait()
		in := 0
		for _, err := range errs {
			switch {
			case err == nil:
				in++
			case err.Code != engine.CodeInvalid && err.Code != engine.CodeBusy:
				t.Errorf("%s %v", err.Code, err)
			}
		}
		if in != 1 || a.counts() != [3]int{1, 1, 1} || a.created < 1 {
			t.Errorf("%d got in; documents %v", in, a.counts())
		}
	})
}

// Messages overtake each other, so all that have not expired are good, each for the form that it was asked for with; and when
// one has been redeemed none is.
func TestSeveralCodes(t *testing.T) {
	for n := range 3 {
		t.Run(fmt.Sprint("the last but ", n), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := setup(t)
				for i := range 3 {
					a.device().ask(params{"email": "ada@example.com", "nickname": fmt.Sprint("number ", i)})
				}
				d := a.device()
				if err := d.enter(a.mail(n)); err != nil {
					t.Fatal(err)
				}
				if got := a.doc(d.user()).Nickname; got != fmt.Sprint("number ", 2-n) {
					t.Errorf("nickname %q", got)
				}
				for i := range 3 {
					for _, err := range []*engine.Error{a.device().enter(a.mail(i)), a.device().open(a.mail(i))} {
						if err == nil || encoded(t, err) != wrongCode {
							t.Errorf("code %d afterwards: %v", i, err)
						}
					}
				}
			})
		})
	}
}

func TestCodesExpire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t, func(o *emailcode.Options, _ *authmod.Options) { o.TTL, o.Digits = 5*time.Minute, 6 })
		m := a.device().ask(params{"email": "ada@example.com", "nickname": "Ada"})
		if len(m.Code) != 6 || !m.Expires.Equal(time.Now().Add(5*time.Minute)) {
			t.Errorf("message %+v", m)
		}
		time.Sleep(5 * time.Minute)
		for _, err := range []*engine.Error{a.device().enter(m), a.device().open(m)} {
			if err == nil || encoded(t, err) != wrongCode {
				t.Errorf("after its time: %v", err)
			}
		}
		m = a.device().ask(params{"email": "ada@example.com", "nickname": "Ada"})
		time.Sleep(5*time.Minute - 1)
		if err := a.device().enter(m); err != nil {
			t.Errorf("just before: %v", err)
		}
	})
}

// What a trigger refuses has not happened: the code is as good as before.
func TestRefusalKeepsTheCode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		a.refuse = engine.Errorf("no_such_course", "there is no such course")
		m := a.device().ask(params{"email": "ada@example.com", "nickname": "Ada"})
		d := a.device()
		for _, err := range []*engine.Error{d.enter(m), d.open(m)} {
			if err == nil || err.Code != "no_such_course" || a.counts() != [3]int{} || d.user() != "" {
				t.Fatalf("%+v, documents %v", err, a.counts())
			}
		}
		a.refuse = nil
		if err := d.enter(m); err != nil {
			t.Error(err)
		}
	})
}

// To whoever asks for a code, somebody who has an account and somebody who has none are the same: the answer, the messages, the
// transactions and the jobs.
func TestKnownAndUnknownAreTheSame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		a.device().in("ada@example.com", nil)
		work := func(email string) string {
			before, mails := a.db.Metrics(), a.sent()
			m := a.device().ask(params{"email": email})
			_, wrong := a.device().signIn("emailcode", params{"email": email, "code": "no code"})
			_, form := a.device().signIn("emailcode", params{"email": email, "nickname": "x"})
			after := a.db.Metrics()
			return fmt.Sprint(after.Commits-before.Commits, after.Jobs.Succeeded-before.Jobs.Succeeded, a.sent()-mails, m.Purpose, len(m.Code),
				encoded(t, wrong), encoded(t, form))
		}
		if known, unknown := work("ada@example.com"), work("bob@example.com"); known != unknown {
			t.Errorf("for a known address %s\nfor an unknown one %s", known, unknown)
		}
	})
}

func TestBadInput(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := setup(t)
		code := a.device().ask(params{"email": "ada@example.com", "nickname": "Ada"})
		sent := a.sent()
		for args, want := range map[string]string{
			`{"provider":"emailcode"}`:                                                                              "email nickname",
			`{"provider":"emailcode","params":{}}`:                                                                  "email nickname",
			`{"provider":"emailcode","params":{"email":7}}`:                                                         "email",
			`{"provider":"emailcode","params":{"email":null}}`:                                                      "email",
			`{"provider":"emailcode","params":{"email":""}}`:                                                        "email",
			`{"provider":"emailcode","params":{"email":"ada"}}`:                                                     "email",
			`{"provider":"emailcode","params":{"email":"ada@example.com\r\nBcc: eve@example.com"}}`:                 "email",
			`{"provider":"emailcode","params":{"email":"ada@example.com,eve@example.com"}}`:                         "email",
			`{"provider":"emailcode","params":{"email":["ada@example.com"]}}`:                                       "email",
			`{"provider":"emailcode","params":{"email":"` + strings.Repeat("a", 300) + `@example.com"}}`:            "email",
			`{"provider":"emailcode","params":{"email":"ada@example.com","nickname":"x"}}`:                          "nickname",
			`{"provider":"emailcode","params":{"email":"ada@example.com","nickname":["Ada"]}}`:                      "nickname",
			`{"provider":"emailcode","params":{"email":"ada@example.com","nickname":"Ada","role":"a"}}`:             "role",
			`{"provider":"emailcode","params":{"email":"ada","nickname":"x"}}`:                                      "email nickname",
			`{"provider":"emailcode","params":{"email":"ada@example.com","flow":"reset"}}`:                          "flow",
			`{"provider":"emailcode","params":{"email":"ada","flow":"sign-up","code":""}}`:                          "flow email code",
			`{"provider":"emailcode","params":{"email":"ada@example.com","flow":7}}`:                                "flow",
			`{"provider":"emailcode","params":{"email":"ada@example.com","code":""}}`:                               "code",
			`{"provider":"emailcode","params":{"email":"ada@example.com","code":12345678}}`:                         "code",
			`{"provider":"emailcode","params":{"email":"ada@example.com","code":null}}`:                             "code",
			`{"provider":"emailcode","params":{"email":"ada@example.com","code":{"$ne":""}}}`:                       "params.code",
			`{"provider":"emailcode","params":{"email":"ada@example.com","code":"12345678"}}`:                       "code",
			`{"provider":"emailcode","params":{"email":"ada@example.com","code":"%"}}`:                              "code",
			`{"provider":"emailcode","params":{"email":"ada@example.com","code":"` + code.Code + `0"}}`:             "code",
			`{"provider":"emailcode","params":{"email":"ada@example.com","code":"` + a.token(code) + `"}}`:          "code",
			`{"provider":"emailcode","params":{"email":"eve@example.com","code":"` + code.Code + `"}}`:              "code",
			`{"provider":"emailcode","params":{"email":"a@example.com","n":"` + strings.Repeat("x", 65<<10) + `"}}`: "params",
			`{"params":{"code":"` + code.Code + `"}}`:                                                               "code",
			`{"params":{"code":"."}}`:                                   "code",
			`{"params":{"code":"` + strings.Repeat("x", 60<<10) + `"}}`: "code",
			`{"params":{"code":"` + a.token(code) + `x"}}`:              "code",
			`{"params":{"code":7}}`:                                     "code",
		} {
			_, err := a.device().call(json.RawMessage(args))
			if err == nil || err.Code != engine.CodeInvalid {
				t.Errorf("%.100s: %v", args, err)
				continue
			}
			var paths []string
			for _, i := range err.Issues {
				paths = append(paths, i.Path)
			}
			if got := strings.Join(paths, " "); got != want {
				t.Errorf("%.100s: issues at %q, want %q", args, got, want)
			}
		}
		synctest.Wait()
		if a.sent() != sent || a.counts() != [3]int{} {
			t.Errorf("%d messages, documents %v", a.sent()-sent, a.counts())
		}
		log := a.log.String()
		for _, secret := range []string{code.Code, a.token(code), strings.SplitN(a.token(code), ".", 2)[1]} {
			if strings.Contains(log, secret) {
				t.Errorf("the log has %s: %s", secret, log)
			}
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]emailcode.Options{
		"Send": {}, "digits": {Send: (&app{}).send, Digits: 4}, "Link": {Send: (&app{}).send, Link: "signin"},
	} {
		s := engine.NewSchema()
		authmod.New(s, engine.Define[User](s, "users"), authmod.Options{Modules: []authmod.Module{emailcode.New(o)}})
		if _, err := engine.Open(s, engine.Options{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "emailcode: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
