package oauth_test

import (
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
)

// What somebody said when they began reaches the trigger when they come back, once; coming back later changes nothing.
func TestSignUpThenSignIn(t *testing.T) {
	t.Parallel()
	p := newIssuer(t)
	a := setup(t, settings{modules: []authmod.Module{oauth.OIDC("school", p.url, options(func(o *oauth.Options) {
		o.Profile = oauth.NewProfile(func(who oauth.Person, s SignUp) (User, error) {
			return User{UserFields: authmod.UserFields{Email: who.Email, Name: who.Name}, Nickname: s.Nickname, Login: who.ID}, nil
		})
	}))}})
	b := a.browser(nil).signIn("school", map[string]any{"nickname": "ada", "course": "go", "redirectTo": "/welcome"})
	me := b.me()
	if me == nil {
		t.Fatal("nobody is signed in")
	}
	if v := me.Value; v.Nickname != "ada" || v.Email != "ada@example.com" || !v.EmailVerified || v.Name != "Ada Lovelace" || v.Login != "sub-ada" {
		t.Errorf("user %+v", v)
	}
	if len(a.created) != 1 {
		t.Fatalf("OnCreate ran %d times", len(a.created))
	}
	seen := a.created[0]
	if seen.in.Provider != "school" || !seen.in.NewUser || seen.in.Flow != "" || seen.params["course"] != "go" || seen.params["redirectTo"] != nil {
		t.Errorf("the trigger saw %+v", seen)
	}

	p.is(map[string]any{"sub": "sub-ada", "email": "other@example.com", "email_verified": true, "name": "Countess"})
	again := a.browser(nil).signIn("school", nil)
	if you := again.me(); you == nil || you.ID != me.ID || you.Value != me.Value {
		t.Errorf("signed in as %+v, want %+v", you, me)
	}
	if n := a.userCount(); n != 1 || len(a.created) != 1 {
		t.Errorf("%d users, OnCreate ran %d times", n, len(a.created))
	}
}
