//go:build linux

package examples_test

import (
	"strings"
	"testing"
)

const secret = "correct horse battery"

func TestPassword(t *testing.T) {
	t.Parallel()
	p := start(t, "password", "MIMOSA_AUTH_SECRET=0123456789abcdef0123456789abcdef")
	call := func(flow, email, password, nickname, course string) answer {
		params := object{"flow": flow, "email": email, "password": password}
		if flow == "signUp" {
			params["nickname"], params["course"] = nickname, course
		}
		return p.signIn(object{"provider": "password", "params": params})
	}
	// All that is wrong comes at once, as the form has it.
	if a := call("signUp", "ada", "short", "admin", "go"); !a.refused("invalid", "email", "nickname", "password") {
		t.Errorf("%+v", a)
	}
	// What the trigger refuses is refused whole: the address is free after that.
	if a := call("signUp", "ada@example.com", secret, "Ada", "cooking"); !a.refused("invalid", "course") {
		t.Errorf("%+v", a)
	}
	token := p.token(call("signUp", "Ada@Example.com", secret, "Ada", "go"))
	me := get[user](p, "users:me", token)
	if me.Email != "ada@example.com" || me.Nickname != "Ada" || me.Role != "student" || p.courses(token) != "go" {
		t.Errorf("%+v", me)
	}
	if a := call("signUp", "ada@example.com", secret, "Ada", "go"); !a.refused("already_exists", "email") {
		t.Errorf("%+v", a)
	}
	if a := call("signIn", "ada@example.com", secret+"!", "", ""); !a.refused("unauthenticated") {
		t.Errorf("%+v", a)
	}
	// Later sign-ins are sign-ins: nothing is made again.
	token = p.token(call("signIn", "ada@example.com", secret, "", ""))
	if again := get[user](p, "users:me", token); again != me || p.courses(token) != "go" {
		t.Errorf("%+v", again)
	}
	if a := p.call("query", "enrolments:mine", "", object{}); !a.refused("unauthenticated") {
		t.Errorf("%+v", a)
	}
	// What somebody who gets hold of a dump finds in it.
	access, refresh := p.tokens(call("signIn", "ada@example.com", secret, "", ""))
	dump := p.dump()
	for what, text := range map[string]string{
		"a password": secret, "an access token": access, "a refresh token": refresh, "a key in clear": `"sealed":false`,
	} {
		if strings.Contains(dump, text) || strings.Contains(p.stderr.String(), text) {
			t.Errorf("%s is in the dump, or in the log", what)
		}
	}
	for _, text := range []string{"ada@example.com", "$argon2id$", `"sealed":true`} {
		if !strings.Contains(dump, text) {
			t.Errorf("%s is not in the dump", text)
		}
	}
}
