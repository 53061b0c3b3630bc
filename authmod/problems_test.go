package authmod_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

type (
	hidesGo struct {
		authmod.UserFields
		Email string `json:"mail"`
	}
	hidesJSON struct {
		authmod.UserFields
		Avatar string `json:"image"`
	}
	tagged struct {
		authmod.UserFields `json:"auth"`
	}
	pointer  struct{ *authmod.UserFields }
	person   struct{ authmod.UserFields }
	indirect struct {
		person
		Role string `json:"role"`
	}
)

type named struct {
	linkModule
	name string
}

func (n *named) Provider() string { return n.name }

func TestWrongRegistrations(t *testing.T) {
	t.Parallel()
	define := func(s *engine.Schema) *engine.Collection[person] { return engine.Define[person](s, "users") }
	profile := func(p password.Options) func(*engine.Schema) {
		return func(s *engine.Schema) {
			authmod.New(s, define(s), authmod.Options{Modules: []authmod.Module{password.New(p)}})
		}
	}
	options := func(o authmod.Options) func(*engine.Schema) {
		return func(s *engine.Schema) { authmod.New(s, define(s), o) }
	}
	for name, test := range map[string]struct {
		register func(s *engine.Schema)
		want     []string // all in Open's error; none means that Open succeeds
	}{
		"a field that hides one in Go": {func(s *engine.Schema) {
			authmod.New(s, engine.Define[hidesGo](s, "users"), authmod.Options{})
		}, []string{"field Email of authmod_test.hidesGo shadows authmod.UserFields.Email"}},
		"a field that hides one in JSON": {func(s *engine.Schema) {
			authmod.New(s, engine.Define[hidesJSON](s, "users"), authmod.Options{})
		}, []string{"field Avatar of authmod_test.hidesJSON", `"image"`, "authmod.UserFields.Image"}},
		"a tag":     {func(s *engine.Schema) { authmod.New(s, engine.Define[tagged](s, "users"), authmod.Options{}) }, []string{"without a tag"}},
		"a pointer": {func(s *engine.Schema) { authmod.New(s, engine.Define[pointer](s, "users"), authmod.Options{}) }, []string{"embed authmod.UserFields itself"}},
		"embedded two levels down": {func(s *engine.Schema) {
			authmod.New(s, engine.Define[indirect](s, "users"), authmod.Options{})
		}, nil},
		"no collection": {func(s *engine.Schema) { authmod.New[person](s, nil, authmod.Options{}) }, []string{"users collection is nil"}},
		"a collection of another schema": {func(s *engine.Schema) {
			authmod.New(s, define(engine.NewSchema()), authmod.Options{})
		}, []string{"belongs to another schema"}},
		"twice": {func(s *engine.Schema) {
			users := define(s)
			authmod.New(s, users, authmod.Options{})
			authmod.New(s, users, authmod.Options{})
		}, []string{"New was called twice"}},
		"two modules of a name": {options(authmod.Options{Modules: []authmod.Module{
			password.New(password.Options{}), password.New(password.Options{}),
		}}), []string{`two modules "password"`}},
		"a nil module":             {options(authmod.Options{Modules: []authmod.Module{nil}}), []string{"a module is nil"}},
		"a name that is none":      {options(authmod.Options{Modules: []authmod.Module{&named{name: "a b"}}}), []string{`module "a b"`}},
		"a short secret":           {options(authmod.Options{KeySecret: []byte("hunter2")}), []string{"KeySecret has 7 bytes"}},
		"a short life":             {options(authmod.Options{AccessTTL: time.Second, IdleTTL: -1}), []string{"AccessTTL is 1s", "IdleTTL"}},
		"another user type":        {profile(password.Options{Profile: authmod.NewProfile(func(struct{}) (User, error) { return User{}, nil })}), []string{"the profile makes authmod_test.User"}},
		"parameters of no struct":  {profile(password.Options{Profile: authmod.NewProfile(func(string) (person, error) { return person{}, nil })}), []string{"the profile takes string"}},
		"no function":              {profile(password.Options{Profile: authmod.NewProfile[SignUp, person](nil)}), []string{"function is nil"}},
		"a length of nonsense":     {profile(password.Options{MinLength: 5000}), []string{"MinLength is 5000"}},
		"hashing of nonsense":      {profile(password.Options{Crypto: password.Argon2id{Memory: 1 << 31}}), []string{"Crypto", "argon2id"}},
		"the zero value of it all": {options(authmod.Options{}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := engine.NewSchema()
			test.register(s)
			db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
			if len(test.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				_ = db.Close()
				t.Fatal("Open found nothing wrong")
			}
			for _, w := range append(test.want, "problems_test.go:") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not say %q:\n%v", w, err)
				}
			}
		})
	}
}
