package authmod_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// member has a role that no form asks for and no document may lack.
type member struct {
	authmod.UserFields
	Nickname string `json:"nickname" jsonschema:"minLength=2"`
	Role     string `json:"role" jsonschema:"enum=student,enum=teacher"`
}

type memberForm struct {
	Email    string `json:"email" jsonschema:"format=email"`
	Nickname string `json:"nickname"`
}

// A trigger BeforeCreate may set what the schema of the users collection requires and the profile leaves open. What it leaves
// wrong is refused by the insertion, with issues as a form shows them, and nothing is kept. Without such a trigger the refusal
// comes before anything is hashed, together with what is wrong with the password.
func TestBeforeCreateSetsARequiredField(t *testing.T) {
	t.Parallel()
	setRole := func(_ *engine.ReadTx, m *member) error { m.Role = "student"; return nil }
	setNothing := func(*engine.ReadTx, *member) error { return nil }
	tests := map[string]struct {
		trigger  func(*engine.ReadTx, *member) error
		nickname string
		password string
		want     []string // paths of the issues
	}{
		"the trigger completes the document":       {setRole, "Ada", secret, nil},
		"it leaves the role out":                   {setNothing, "Ada", secret, []string{"role"}},
		"something else is wrong":                  {setRole, "A", secret, []string{"nickname"}},
		"the password is, which is checked before": {setRole, "A", "short", []string{"password"}},
		"there is no trigger":                      {nil, "A", "short", []string{"nickname", "password", "role"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := engine.NewSchema()
			members := engine.Define[member](s, "members")
			authmod.New(s, members, authmod.Options{Modules: []authmod.Module{password.New(password.Options{
				Crypto: cheap, MinLength: 8,
				Profile: authmod.NewProfile(func(f memberForm) (member, error) {
					return member{UserFields: authmod.UserFields{Email: f.Email}, Nickname: f.Nickname}, nil
				}),
			})}})
			if tt.trigger != nil {
				triggers.BeforeCreate(members, "role", tt.trigger) // registered after New
			}
			db := enginetest.Open(t, s)
			res, err := db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: json.RawMessage(
				params("signUp", map[string]any{"email": "ada@example.com", "nickname": tt.nickname, "password": tt.password}),
			)})
			var stored []*engine.Doc[member]
			if err := db.View(context.Background(), func(tx *engine.ReadTx) (err error) {
				stored, err = members.All(tx).Collect()
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if len(stored) != 1 || stored[0].Value.Role != "student" || res.Principal == nil {
					t.Errorf("stored %+v", stored)
				}
				return
			}
			var e *engine.Error
			if !errors.As(err, &e) || e.Code != engine.CodeInvalid {
				t.Fatalf("got %v, want code invalid", err)
			}
			var paths []string
			for _, issue := range e.Issues {
				paths = append(paths, issue.Path)
			}
			if slices.Sort(paths); !slices.Equal(paths, tt.want) {
				t.Errorf("issues %+v, want those of %v", e.Issues, tt.want)
			}
			if len(stored) != 0 {
				t.Errorf("stored %+v", stored)
			}
		})
	}
}
