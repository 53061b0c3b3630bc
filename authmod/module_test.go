package authmod_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// linkModule is a module of another kind than passwords, written against the exported API alone: it stores what the sign-up
// gave under a code, which would go out by mail, and makes the user when the code comes back.
type linkModule struct {
	host  *authmod.Host
	sheet *authmod.Sheet
	codes *engine.Collection[linkCode]
	find  *engine.Index[linkCode]
	start engine.MutationRef[linkCode, struct{}]
}

type linkCode struct {
	Code     string          `json:"code"`
	Verifier string          `json:"verifier"`
	Email    string          `json:"email"`
	Params   json.RawMessage `json:"params"`
}

func (*linkModule) Provider() string { return "link" }

func (m *linkModule) Attach(h *authmod.Host) {
	m.host, m.sheet = h, h.Profile(nil)
	m.codes = engine.Define[linkCode](h.Schema(), "linkCodes")
	m.find = m.codes.AddUnique("code", "code")
	m.start = engine.Mutation(h.Schema(), "auth:link_start", func(tx *engine.Tx, c linkCode) (struct{}, error) {
		_, err := m.codes.Insert(tx, c)
		return struct{}{}, err
	}, engine.Internal())
}

func (m *linkModule) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	email, issue := a.Param("email")
	if issue != nil {
		return authmod.Answer{}, authmod.Invalid(*issue)
	}
	email = authmod.NormalizeEmail(email)
	a.SetParam("email", email)
	switch a.Flow() {
	case "now":
		return m.complete(a, authmod.Completion{Mode: authmod.Either, AccountID: email, Params: a.Params()})
	case "quiet":
		return m.complete(a, authmod.Completion{Mode: authmod.Either, AccountID: email, Params: a.Params(), NoSession: true})
	case "away":
		if _, err := m.start.Run(a.ActionCtx, linkCode{"c-" + email, "verifier", email, a.Params()}); err != nil {
			return authmod.Answer{}, err
		}
		return authmod.Redirect("https://elsewhere.example/?state=1", "verifier"), nil
	case "nothing":
		return authmod.Answer{}, nil
	}
	if _, err := m.start.Run(a.ActionCtx, linkCode{"c-" + email, "", email, a.Params()}); err != nil {
		return authmod.Answer{}, err
	}
	return authmod.Started(), nil
}

func (m *linkModule) complete(a *authmod.Attempt, c authmod.Completion) (authmod.Answer, error) {
	user, issues, err := m.sheet.Check(a)
	if err != nil || len(issues) > 0 {
		return authmod.Answer{}, errors.Join(err, authmod.Invalid(issues...))
	}
	c.User = user
	return a.Complete(c)
}

// Redeem implements authmod.Redeemer.
func (m *linkModule) Redeem(a *authmod.Attempt, code string) (authmod.Answer, bool, error) {
	if !strings.HasPrefix(code, "c-") {
		return authmod.Answer{}, false, nil
	}
	var found *engine.Doc[linkCode]
	err := a.DB().View(a.Context(), func(tx *engine.ReadTx) (err error) {
		found, err = m.find.One(tx, code)
		return err
	})
	if errors.Is(err, engine.ErrNotFound) || err == nil && found.Value.Verifier != a.Verifier() {
		return authmod.SignedOut(), true, nil
	}
	if err != nil {
		return authmod.Answer{}, true, err
	}
	a.SetParam("email", found.Value.Email)
	state, err := json.Marshal(found.ID)
	if err != nil {
		return authmod.Answer{}, true, err
	}
	out, err := m.complete(a, authmod.Completion{
		Mode: authmod.Either, AccountID: found.Value.Email, Params: found.Value.Params, State: state,
	})
	return out, true, err
}

// Join implements authmod.Joiner: a code is good once.
func (m *linkModule) Join(tx *engine.Tx, c *authmod.Completion) error {
	if c.State == nil {
		return nil
	}
	var id engine.ID[linkCode]
	if err := json.Unmarshal(c.State, &id); err != nil {
		return err
	}
	return m.codes.Delete(tx, id)
}

type looseUser struct {
	authmod.UserFields
	Course string `json:"course,omitempty"`
}

// linkApp is a schema with only the link module; what a sign-up asked reaches the user by a trigger.
func linkApp(t *testing.T) (*app, *engine.Collection[looseUser]) {
	t.Helper()
	a := &app{t: t}
	s := engine.NewSchema()
	users := engine.Define[looseUser](s, "users")
	a.auth = authmod.New(s, users, authmod.Options{Modules: []authmod.Module{&linkModule{}}})
	triggers.OnCreate(users, "course", func(tx *engine.Tx, u *engine.Doc[looseUser]) error {
		p, err := authmod.Params[struct {
			Course string `json:"course"`
		}](tx)
		if err != nil {
			return err
		}
		if p.Course == "full" {
			return engine.Errorf(engine.CodeForbidden, "the course is full")
		}
		return users.Patch(tx, u.ID, func(v *looseUser) error { v.Course = p.Course; return nil })
	})
	a.db = enginetest.Open(t, s)
	return a, users
}

func courses(t *testing.T, a *app, users *engine.Collection[looseUser]) (out []string) {
	t.Helper()
	err := a.db.View(context.Background(), func(tx *engine.ReadTx) error {
		for u, err := range users.All(tx).Docs() {
			if err != nil {
				return err
			}
			out = append(out, u.Value.Email+" "+u.Value.Course)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestShapesOfAnswers(t *testing.T) {
	t.Parallel()
	a, _ := linkApp(t)
	for _, c := range []struct{ args, want string }{
		{`{"provider":"link","params":{"email":"a@b.example"}}`, `{"started":true}`},
		{
			`{"provider":"link","params":{"flow":"away","email":"b@b.example"}}`,
			`{"redirect":"https://elsewhere.example/?state=1","verifier":"verifier"}`,
		},
		{`{"params":{"code":"c-nobody"}}`, `{"tokens":null}`},
		{`{"params":{"code":"c-b@b.example"},"verifier":"wrong"}`, `{"tokens":null}`},
		{`{"provider":"link","params":{"flow":"quiet","email":"c@b.example"}}`, `{"started":true}`},
		{`{"refreshToken":"nothing"}`, `{"tokens":null}`},
	} {
		d := a.device()
		out, err := d.call(c.args)
		if err != nil || out.raw != c.want {
			t.Errorf("%s: %s, %v, want %s", c.args, out.raw, err, c.want)
		}
		if d.principal != nil {
			t.Errorf("%s: the connection has become somebody", c.args)
		}
	}
	if _, err := a.device().call(`{"provider":"link","params":{"flow":"nothing","email":"a@b.example"}}`); err == nil || err.Code != engine.CodeInternal {
		t.Errorf("no answer at all: %v", err)
	}
}

// What was asked at the start reaches the triggers at the end, and the code is used up in the same transaction.
func TestSignUpByCode(t *testing.T) {
	t.Parallel()
	a, users := linkApp(t)
	if _, err := a.device().call(`{"provider":"link","params":{"email":"Ada@b.example","course":"go"}}`); err != nil {
		t.Fatal(err)
	}
	if got := courses(t, a, users); len(got) != 0 {
		t.Fatalf("users before the code came back: %v", got)
	}
	d := a.device().must(`{"params":{"code":"c-ada@b.example"}}`)
	if d.principal == nil {
		t.Error("nobody is signed in")
	}
	if got := courses(t, a, users); len(got) != 1 || got[0] != "ada@b.example go" {
		t.Errorf("users %v", got)
	}
	if out, err := a.device().call(`{"params":{"code":"c-ada@b.example"}}`); err != nil || out.raw != `{"tokens":null}` {
		t.Errorf("the code a second time: %s, %v", out.raw, err)
	}
	// Again, with a refusal: the code remains.
	if _, err := a.device().call(`{"provider":"link","params":{"email":"bob@b.example","course":"full"}}`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := a.device().call(`{"params":{"code":"c-bob@b.example"}}`); err == nil || err.Code != engine.CodeForbidden {
			t.Errorf("a refused sign-up got %v", err)
		}
	}
}

func TestEitherCreatesOnce(t *testing.T) {
	t.Parallel()
	a, users := linkApp(t)
	for _, course := range []string{"go", "music", "databases"} {
		a.device().must(`{"provider":"link","params":{"flow":"now","email":"ada@b.example","course":"` + course + `"}}`)
	}
	if got := courses(t, a, users); len(got) != 1 || got[0] != "ada@b.example go" {
		t.Errorf("users %v", got)
	}
}

// Every malformed call gets a coded error, with issues that say where, and changes nothing.
func TestMalformedCalls(t *testing.T) {
	t.Parallel()
	a := setup(t)
	before := a.dump()
	long := strings.Repeat("x", 70<<10)
	for _, c := range []struct{ args, issue string }{
		{`{}`, "provider required"},
		{`{"params":{}}`, "provider required"},
		{`{"provider":""}`, "provider required"},
		{`{"provider":7}`, "provider type"},
		{`{"provider":"github"}`, "provider enum"},
		{`{"provider":"password"}`, "flow required"},
		{`{"provider":"password","params":null}`, "params type"},
		{`{"provider":"password","params":[]}`, "params type"},
		{`{"provider":"password","params":"x"}`, "params type"},
		{`{"provider":"password","extra":1}`, "extra additionalProperties"},
		{`{"provider":"password","params":{"flow":7}}`, "flow type"},
		{`{"provider":"password","params":{"flow":null}}`, "flow type"},
		{`{"provider":"password","params":{"flow":"guess"}}`, "flow enum"},
		{`{"provider":"password","params":{"flow":"reset","email":"a@b.example"}}`, "flow enum"},
		{`{"provider":"password","params":{"flow":"reset-verification"}}`, "flow enum"},
		{`{"provider":"password","params":{"flow":"email-verification"}}`, "flow enum"},
		{`{"provider":"password","params":{"flow":"signIn"}}`, "email required"},
		{`{"provider":"password","params":{"flow":"signIn","email":"a@b.example"}}`, "password required"},
		{`{"provider":"password","params":{"flow":"signIn","email":"a@b.example","password":""}}`, "password required"},
		{`{"provider":"password","params":{"flow":"signIn","email":"a@b.example","password":null}}`, "password type"},
		{`{"provider":"password","params":{"flow":"signIn","email":"a@b.example","password":12345678}}`, "password type"},
		{`{"provider":"password","params":{"flow":"signIn","email":["a@b.example"],"password":"12345678"}}`, "email type"},
		{`{"provider":"password","params":{"flow":"signIn","email":"a@b","password":"12345678"}}`, "email format"},
		{`{"provider":"password","params":{"flow":"signIn","email":"  ","password":"12345678"}}`, "email required"},
		{`{"provider":"password","params":{"flow":"signIn","email":"a@b.example","password":"` + long[:1025] + `"}}`, "password maxLength"},
		{`{"provider":"password","params":{"flow":"signUp","email":"a@b.example","password":"` + long[:1025] + `","nickname":"Ada","course":"go"}}`, "password maxLength"},
		{`{"provider":"password","params":{"flow":"signUp","email":"a@b.example","password":"12345678","course":"go"}}`, "nickname required"},
		{`{"provider":"password","params":{"flow":"signUp","email":"` + long[:300] + `@b.example","password":"12345678","nickname":"Ada","course":"go"}}`, "email format"},
		{`{"provider":"password","params":{"flow":"signIn","email":"a@b.example","x":"` + long + `"}}`, "params maxLength"},
		{`{"provider":"password","verifier":"` + long[:2000] + `","params":{"flow":"signIn"}}`, "verifier maxLength"},
		{`{"params":{"code":5}}`, "code type"},
		{`{"params":{"code":"12345"}}`, "code code"},
		{`{"refreshToken":5}`, "refreshToken type"},
		{`[]`, " type"},
		{`{`, " json"},
	} {
		_, err := a.device().call(c.args)
		if err == nil || err.Code != engine.CodeInvalid || len(err.Issues) == 0 {
			t.Errorf("%.100s: got %+v", c.args, err)
			continue
		}
		if got := err.Issues[0].Path + " " + err.Issues[0].Rule; got != c.issue {
			t.Errorf("%.100s: issue %q, want %q", c.args, got, c.issue)
		}
		if strings.Contains(err.Error(), "xxx") {
			t.Errorf("%.100s: the error repeats the value", c.args)
		}
	}
	if a.dump() != before {
		t.Error("the store has changed")
	}
}
