package authmod_test

import (
	"errors"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// secretModule completes as its parameters say.
type secretModule struct {
	sheet *authmod.Sheet
	got   error // of the last completion
}

func (*secretModule) Provider() string         { return "secret" }
func (m *secretModule) Attach(h *authmod.Host) { m.sheet = h.Profile(nil) }

func (m *secretModule) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	id, _ := a.Param("id")
	expect, _ := a.Param("expect")
	replace, _ := a.Param("replace")
	user, _, err := m.sheet.Check(a)
	if err != nil {
		return authmod.Answer{}, err
	}
	out, err := a.Complete(authmod.Completion{
		Mode: authmod.Mode(a.Flow()), AccountID: id, User: user, Secret: replace, Expect: expect,
	})
	if m.got = err; err != nil {
		return authmod.SignedOut(), nil
	}
	return out, nil
}

// What Complete says to a module that expected something else of the account; none of it changes anything.
func TestCompletionModes(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	m := &secretModule{}
	a := &app{t: t}
	a.auth = authmod.New(s, engine.Define[looseUser](s, "users"), authmod.Options{Modules: []authmod.Module{m}})
	a.db = enginetest.Open(t, s)
	for _, step := range []struct {
		flow, id, expect, replace string
		want                      error
	}{
		{"logIn", "a", "", "", authmod.ErrNoAccount},
		{"signUp", "a", "", "one", nil},
		{"signUp", "a", "", "two", authmod.ErrAccountExists},
		{"logIn", "a", "one", "", nil},
		{"logIn", "a", "two", "three", authmod.ErrSecretChanged},
		{"logIn", "a", "one", "two", nil},
		{"logIn", "a", "one", "", authmod.ErrSecretChanged},
		{"either", "a", "one", "", authmod.ErrSecretChanged},
		{"either", "a", "two", "", nil},
		{"either", "b", "", "x", nil},
		{"signUp", "b", "", "x", authmod.ErrAccountExists},
	} {
		_, err := a.device().call(`{"provider":"secret","params":{"flow":"` + step.flow + `","id":"` + step.id +
			`","expect":"` + step.expect + `","replace":"` + step.replace + `"}}`)
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(m.got, step.want) {
			t.Errorf("%+v: %v", step, m.got)
		}
	}
}
