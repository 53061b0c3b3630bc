package authmod_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// proofModule believes what it is told: who somebody is, and which address they have proved.
type proofModule struct {
	name  string
	sheet *authmod.Sheet
}

func (m *proofModule) Provider() string       { return m.name }
func (m *proofModule) Attach(h *authmod.Host) { m.sheet = h.Profile(nil) }

func (m *proofModule) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	c := authmod.Completion{Mode: authmod.Mode(a.Flow()), Params: a.Params()}
	c.AccountID, _ = a.Param("id")
	c.VerifiedEmail, _ = a.Param("proved")
	temporary, _ := a.Param("temporary")
	c.Temporary = temporary != ""
	var err error
	if c.User, _, err = m.sheet.Check(a); err != nil {
		return authmod.Answer{}, err
	}
	out, err := a.Complete(c)
	if errors.Is(err, authmod.ErrAccountExists) {
		return authmod.Answer{}, engine.Errorf(engine.CodeAlreadyExists, "it is somebody's")
	}
	return out, err
}

// note is a document of a user's own.
type note struct {
	User engine.ID[looseUser] `json:"user"`
}

// linking is an application with three such modules, which keeps what its triggers and hooks saw.
type linking struct {
	*app
	people   *engine.Collection[looseUser]
	notes    *engine.Collection[note]
	created  int
	updated  int
	accounts []string
	signIns  []authmod.SignInInfo
}

func linkingApp(t *testing.T, options ...func(*linking, *authmod.Options)) *linking {
	t.Helper()
	l := &linking{app: &app{t: t}}
	s := engine.NewSchema()
	l.people = engine.Define[looseUser](s, "users")
	l.notes = engine.Define[note](s, "notes")
	o := authmod.Options{
		Modules: []authmod.Module{&proofModule{name: "one"}, &proofModule{name: "two"}, &proofModule{name: "three"}},
		OnSignIn: func(_ *engine.Tx, in *authmod.SignInInfo) error {
			l.signIns = append(l.signIns, *in)
			return nil
		},
	}
	for _, change := range options {
		change(l, &o)
	}
	l.auth = authmod.New(s, l.people, o)
	triggers.OnCreate(l.people, "count", func(*engine.Tx, *engine.Doc[looseUser]) error { l.created++; return nil })
	triggers.OnUpdate(l.people, "count", func(_ *engine.Tx, _, _ *engine.Doc[looseUser]) error { l.updated++; return nil })
	triggers.OnCreate(l.auth.Accounts(), "note", func(_ *engine.Tx, d *engine.Doc[authmod.Account]) error {
		l.accounts = append(l.accounts, "+"+d.Value.Provider)
		return nil
	})
	triggers.OnDelete(l.auth.Accounts(), "note", func(_ *engine.Tx, d *engine.Doc[authmod.Account]) error {
		l.accounts = append(l.accounts, "-"+d.Value.Provider)
		return nil
	})
	l.db = enginetest.Open(t, s)
	return l
}

func (l *linking) device() *device { return l.app.device() }

// as writes the arguments of a sign-in by one of the modules.
func as(provider, mode, id, email, proved string) string {
	return fmt.Sprintf(`{"provider":%q,"params":{"flow":%q,"id":%q,"email":%q,"proved":%q}}`, provider, mode, id, email, proved)
}

const temporarily = `{"provider":"three","params":{"flow":"signUp","id":"guest","temporary":"yes"}}`

// who is the user that a device runs as.
func (d *device) who() (user string) {
	d.app.t.Helper()
	err := d.app.db.View(context.Background(), func(tx *engine.ReadTx) error {
		if d.principal == nil {
			return nil
		}
		who, err := d.principal.Resolve(tx)
		if who != nil {
			user = who.User
		}
		return err
	})
	if err != nil {
		d.app.t.Fatal(err)
	}
	return user
}

func (l *linking) user(id string) looseUser {
	l.t.Helper()
	var out looseUser
	err := l.db.View(context.Background(), func(tx *engine.ReadTx) error {
		d, err := l.people.Get(tx, engine.ID[looseUser](id))
		if err == nil {
			out = d.Value
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// Who gets whose user: by an address that both accounts have proved, and by nothing less.
func TestLinkingByAddress(t *testing.T) {
	t.Parallel()
	const mail = "ada@example.com"
	for name, c := range map[string]struct {
		first, second string
		linked        bool
	}{
		"both proved":                {as("one", "either", "1", mail, mail), as("two", "either", "2", mail, mail), true},
		"sign-up, then either":       {as("one", "signUp", "1", mail, mail), as("two", "either", "2", mail, mail), true},
		"either, then sign-up":       {as("one", "either", "1", mail, mail), as("two", "signUp", "2", mail, mail), true},
		"in another spelling":        {as("one", "either", "1", mail, mail), as("two", "either", "2", mail, "ADA@Example.com "), true},
		"prepared by somebody":       {as("one", "signUp", "1", mail, ""), as("two", "either", "2", mail, mail), false},
		"claimed by somebody":        {as("one", "either", "1", mail, mail), as("two", "signUp", "2", mail, ""), false},
		"nobody proved anything":     {as("one", "either", "1", mail, ""), as("two", "either", "2", mail, ""), false},
		"another address was proved": {as("one", "either", "1", mail, mail), as("two", "either", "2", mail, "eve@example.com"), false},
		"no address at all":          {as("one", "either", "1", "", ""), as("two", "either", "2", "", ""), false},
		"the same id elsewhere":      {as("one", "either", "1", "", ""), as("two", "either", "1", "", ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := linkingApp(t)
			first, second := l.device().must(c.first), l.device().must(c.second)
			if linked := first.who() == second.who(); linked != c.linked {
				t.Errorf("linked is %v, want %v", linked, c.linked)
			}
			users := 2
			if c.linked {
				users = 1
			}
			if l.created != users {
				t.Errorf("OnCreate fired %d times, want %d", l.created, users)
			}
			last := l.signIns[len(l.signIns)-1]
			if last.Linked != c.linked || last.NewUser == c.linked || last.User != second.who() || last.Session == "" {
				t.Errorf("OnSignIn saw %+v", last)
			}
			if l.device().must(strings.Replace(c.second, "signUp", "logIn", 1)).who() != second.who() {
				t.Error("the second is somebody else when they come back")
			}
		})
	}
}

// Where two people have proved one address, since one linked it by hand, a third account is neither's.
func TestAddressOfTwo(t *testing.T) {
	t.Parallel()
	const mail = "office@example.com"
	for _, order := range [][2]string{{"1", "2"}, {"2", "1"}} {
		l := linkingApp(t)
		ada, bob := l.device().must(as("one", "either", order[0], "", "")), l.device().must(as("one", "either", order[1], "", ""))
		for id, d := range map[string]*device{"a": ada, "b": bob} {
			if out, err := d.call(as("two", "link", id, "", mail)); err != nil || out.raw != `{"linked":true}` {
				t.Fatalf("%s %v", out.raw, err)
			}
		}
		third := l.device().must(as("three", "either", "3", mail, mail))
		if third.who() == ada.who() || third.who() == bob.who() || l.created != 3 {
			t.Errorf("it is %s; ada is %s, bob %s", third.who(), ada.who(), bob.who())
		}
		// One who has proved it twice is one.
		if out, err := ada.call(as("three", "link", "4", "", "ada@example.com")); err != nil {
			t.Fatal(out.raw, err)
		}
		if out, err := ada.call(as("two", "link", "5", "", "ada@example.com")); err != nil {
			t.Fatal(out.raw, err)
		}
		if l.device().must(as("three", "either", "6", "", "ada@example.com")).who() != ada.who() {
			t.Error("somebody with two accounts of one address is nobody")
		}
	}
}

// The user's document says that the address is verified once it is, and only if it is that address; nothing else changes.
func TestVerificationReachesTheUser(t *testing.T) {
	t.Parallel()
	l := linkingApp(t)
	d := l.device().must(as("one", "signUp", "1", "ada@example.com", ""))
	if u := l.user(d.who()); u.EmailVerified || u.Email != "ada@example.com" {
		t.Fatalf("%+v", u)
	}
	l.device().must(as("one", "logIn", "1", "other@example.com", "else@example.com"))
	if u := l.user(d.who()); u.EmailVerified || l.updated != 0 {
		t.Errorf("by another address: %+v", u)
	}
	l.device().must(as("one", "logIn", "1", "other@example.com", "ada@example.com"))
	if u := l.user(d.who()); !u.EmailVerified || u.Email != "ada@example.com" || l.updated != 1 {
		t.Errorf("%+v after %d updates", u, l.updated)
	}
	l.device().must(as("one", "logIn", "1", "", "ada@example.com"))
	if l.updated != 1 {
		t.Error("verified twice")
	}
	// Who proves it on signing up is verified from the start, for OnCreate too.
	if eve := l.device().must(as("one", "signUp", "2", "Eve@example.com", "eve@example.com")); !l.user(eve.who()).EmailVerified || l.updated != 1 {
		t.Errorf("%+v after %d updates", l.user(eve.who()), l.updated)
	}
}

// A temporary user who signs up stays who they are, with all they have; OnCreate is not run again.
func TestTemporaryUsers(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"by what proves an address": as("one", "either", "1", "ada@example.com", "ada@example.com"),
		"by what does not":          as("one", "signUp", "1", "ada@example.com", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := linkingApp(t)
			d := l.device().must(temporarily)
			guest, old := d.who(), d.token
			d.must(args)
			if d.who() != guest || l.created != 1 || l.updated != 1 {
				t.Errorf("created %d, updated %d", l.created, l.updated)
			}
			if u := l.user(guest); u.Email != "ada@example.com" || u.EmailVerified != (name == "by what proves an address") {
				t.Errorf("%+v", u)
			}
			if got := fmt.Sprint(l.accounts); got != "[+three -three +one]" {
				t.Errorf("accounts: %s", got)
			}
			if in := l.signIns[1]; !in.Upgraded || !in.Linked || in.NewUser || in.Previous != "" {
				t.Errorf("OnSignIn saw %+v", in)
			}
			if e := (&device{app: l.app, principal: l.principal(old)}); e.who() != "" {
				t.Error("the temporary session goes on beside the new one")
			}
			if l.device().must(as("one", "logIn", "1", "", "")).who() != guest {
				t.Error("they come back as somebody else")
			}
			// Having become somebody, they are not taken over by the next account.
			if d.must(as("two", "signUp", "2", "", "")); d.who() == guest {
				t.Error("a user with an account of their own was taken for a temporary one")
			}
		})
	}
}

// One to whom the application gave an account beside the temporary one can come back by it, and is no temporary user.
func TestTemporaryAccountBesideAnother(t *testing.T) {
	t.Parallel()
	l := linkingApp(t)
	d := l.device().must(temporarily)
	guest := d.who()
	if err := l.db.Update(context.Background(), func(tx *engine.Tx) error {
		_, err := l.auth.Accounts().Insert(tx, authmod.Account{Provider: "one", ProviderAccountID: "1", User: guest})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if d.must(as("two", "signUp", "2", "", "")); d.who() == guest {
		t.Error("the next account took them over")
	}
	if in := l.signIns[1]; !in.NewUser || in.Upgraded || in.Previous != guest {
		t.Errorf("OnSignIn saw %+v", in)
	}
}

// A temporary user who turns out to be somebody already becomes them, and the application can hand over what they made.
func TestTemporaryUserWhoIsKnown(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"the account is there":         as("one", "either", "1", "", ""),
		"their address was proved":     as("two", "either", "2", "ada@example.com", "ada@example.com"),
		"temporary once more, another": `{"provider":"three","params":{"flow":"signUp","id":"guest 2","temporary":"yes"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := linkingApp(t, func(l *linking, o *authmod.Options) {
				plain := o.OnSignIn
				o.OnSignIn = func(tx *engine.Tx, in *authmod.SignInInfo) error {
					for d, err := range l.notes.All(tx).Docs() {
						if err != nil {
							return err
						}
						if string(d.Value.User) == in.Previous {
							err = l.notes.Replace(tx, d.ID, note{engine.ID[looseUser](in.User)})
						}
						if err != nil {
							return err
						}
					}
					return plain(tx, in)
				}
			})
			ada := l.device().must(as("one", "either", "1", "ada@example.com", "ada@example.com"))
			d := l.device().must(temporarily)
			guest := d.who()
			if err := l.db.Update(context.Background(), func(tx *engine.Tx) error {
				_, err := l.notes.Insert(tx, note{engine.ID[looseUser](guest)})
				return err
			}); err != nil {
				t.Fatal(err)
			}
			d.must(args)
			if known := d.who() == ada.who(); known == (name == "temporary once more, another") || d.who() == guest {
				t.Errorf("is %s; ada is %s, the guest was %s", d.who(), ada.who(), guest)
			}
			if in := l.signIns[2]; in.Previous != guest || in.Upgraded {
				t.Errorf("OnSignIn saw %+v", in)
			}
			if err := l.db.View(context.Background(), func(tx *engine.ReadTx) error {
				n, err := l.notes.All(tx).First()
				if err == nil && string(n.Value.User) != d.who() {
					t.Error("the note was not handed over")
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLinkWhileSignedIn(t *testing.T) {
	t.Parallel()
	l := linkingApp(t)
	if _, err := l.device().call(as("two", "link", "2", "", "")); err == nil || err.Code != engine.CodeUnauthenticated {
		t.Errorf("nobody: %v", err)
	}
	ada := l.device().must(as("one", "signUp", "1", "ada@example.com", ""))
	eve := l.device().must(as("one", "signUp", "9", "eve@example.com", ""))
	before := ada.principal
	for range 2 { // the second time is none
		out, err := ada.call(as("two", "link", "2", "", ""))
		if err != nil || out.raw != `{"linked":true}` || ada.principal != before {
			t.Fatalf("%s %v", out.raw, err)
		}
	}
	if got := fmt.Sprint(l.accounts); got != "[+one +one +two]" {
		t.Errorf("accounts: %s", got)
	}
	if _, err := eve.call(as("two", "link", "2", "", "")); err == nil || err.Code != engine.CodeAlreadyExists {
		t.Errorf("another's account: %v", err)
	}
	if l.device().must(as("two", "logIn", "2", "", "")).who() != ada.who() {
		t.Error("by the linked account they are somebody else")
	}
	guest := l.device().must(temporarily)
	id := guest.who()
	if out, err := guest.call(as("two", "link", "guest's", "", "")); err != nil || out.raw != `{"linked":true}` || guest.who() != id {
		t.Errorf("a temporary user: %s %v", out.raw, err)
	}
	if got := fmt.Sprint(l.accounts[3:]); got != "[+three -three +two]" {
		t.Errorf("accounts: %s", got)
	}
}

func (d *device) run(kind func(context.Context, engine.Call) (*engine.Result, error), name, args string) (string, *engine.Error) {
	d.app.t.Helper()
	res, err := kind(context.Background(), engine.Call{Function: name, Args: json.RawMessage(args), Principal: d.principal})
	if err == nil {
		return string(res.Value), nil
	}
	var e *engine.Error
	if !errors.As(err, &e) {
		d.app.t.Fatalf("%s failed with %T: %v", name, err, err)
	}
	return "", e
}

func TestAccountsOfOnesOwn(t *testing.T) {
	t.Parallel()
	l := linkingApp(t)
	ada := l.device().must(as("one", "signUp", "1", "ada@example.com", "ada@example.com"))
	ada.call(as("two", "link", "2", "", ""))
	eve := l.device().must(as("one", "signUp", "9", "eve@example.com", ""))
	list := func(d *device) (out []authmod.AccountInfo) {
		t.Helper()
		raw, err := d.run(l.db.RunQuery, "auth:accounts", "{}")
		if err != nil || json.Unmarshal([]byte(raw), &out) != nil {
			t.Fatal(raw, err)
		}
		return out
	}
	got := list(ada)
	if len(got) != 2 || got[0].Provider != "one" || got[0].VerifiedEmail != "ada@example.com" || got[1].ProviderAccountID != "2" {
		t.Fatalf("%+v", got)
	}
	if _, err := l.device().run(l.db.RunQuery, "auth:accounts", "{}"); err == nil || err.Code != engine.CodeUnauthenticated {
		t.Errorf("nobody's: %v", err)
	}
	for _, c := range []struct {
		who  *device
		id   string
		code engine.Code
	}{
		{eve, got[0].ID, engine.CodeNotFound},
		{ada, "nonsense", engine.CodeInvalid},
		{l.device(), got[0].ID, engine.CodeUnauthenticated},
		{ada, got[0].ID, ""},
		{ada, got[0].ID, engine.CodeNotFound},
		{ada, got[1].ID, engine.CodeForbidden},
		{eve, list(eve)[0].ID, engine.CodeForbidden},
	} {
		_, err := c.who.run(l.db.RunMutation, "auth:unlink", fmt.Sprintf(`{"account":%q}`, c.id))
		if err == nil && c.code != "" || err != nil && err.Code != c.code {
			t.Errorf("unlink %s: %v, want %q", c.id, err, c.code)
		}
	}
	if got := list(ada); len(got) != 1 || got[0].Provider != "two" {
		t.Errorf("%+v", got)
	}
	if l.device().must(as("one", "either", "1", "", "")).who() == ada.who() {
		t.Error("an account that was taken away still signs in")
	}
}
