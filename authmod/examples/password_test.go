//go:build linux

package examples_test

import (
	"regexp"
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

// With a server to send mail by, people prove their address, and set a new password when they have forgotten the old one.
func TestPasswordWithMail(t *testing.T) {
	t.Parallel()
	mails := newPost(t)
	p := start(t, "password", "SMTP_ADDR="+mails.addr, "MAIL_FROM=school@example.com", "MIMOSA_AUTH_SECRET=0123456789abcdef0123456789abcdef")
	call := func(params object) answer { return p.signIn(object{"provider": "password", "params": params}) }
	started := func(params object) {
		t.Helper()
		if a := call(params); a.Status != "success" || string(a.Value) != `{"started":true}` {
			t.Fatalf("%s %+v; it says %s", a.Value, a.ErrorData, p.stderr)
		}
	}
	const email, renewed = "ada@example.com", "battery staple correct"
	form := object{"flow": "signUp", "email": email, "password": secret, "nickname": "Ada", "course": "go"}
	if a := call(object{"flow": "signUp", "email": email, "password": secret, "nickname": "Ada", "course": "cooking"}); !a.refused("invalid", "course") {
		t.Errorf("%+v", a)
	}
	started(form)
	code := mails.code(email, "verify")
	if a := call(object{"flow": "email-verification", "email": email, "code": wrong(code)}); !a.refused("invalid", "code") {
		t.Errorf("%+v", a)
	}
	token := p.token(call(object{"flow": "email-verification", "email": email, "code": code}))
	me := get[user](p, "users:me", token)
	if me.Email != email || !me.EmailVerified || me.Nickname != "Ada" || me.Role != "student" || p.courses(token) != "go" {
		t.Errorf("%+v", me)
	}
	if a := call(object{"flow": "email-verification", "email": email, "code": code}); !a.refused("invalid", "code") {
		t.Errorf("the code again: %+v", a)
	}
	// Whoever signs up with it once more does not learn that it is taken; its owner does.
	started(form)
	mails.code(email, "exists")
	started(object{"flow": "reset", "email": "nobody@example.com"})
	started(object{"flow": "reset", "email": email})
	reset := mails.code(email, "reset")
	if a := call(object{"flow": "reset-verification", "email": email, "code": reset, "newPassword": "short"}); !a.refused("invalid", "newPassword") {
		t.Errorf("%+v", a)
	}
	again := p.token(call(object{"flow": "reset-verification", "email": email, "code": reset, "newPassword": renewed}))
	if get[user](p, "users:me", again) != me || p.courses(again) != "go" {
		t.Error("a reset changed the user")
	}
	if a := p.call("query", "users:me", token, object{}); !a.refused("unauthenticated") {
		t.Errorf("a session of before: %+v", a)
	}
	if a := call(object{"flow": "signIn", "email": email, "password": secret}); !a.refused("unauthenticated") {
		t.Errorf("the old password: %+v", a)
	}
	p.token(call(object{"flow": "signIn", "email": email, "password": renewed}))
	dump := p.dump() + p.stderr.String()
	for what, text := range map[string]string{"a password": secret, "a new password": renewed, "a code": code, "a code of a reset": reset} {
		if regexp.MustCompile(`\b` + text + `\b`).MatchString(dump) {
			t.Errorf("%s is in the dump, or in the log", what)
		}
	}
}

// wrong is another code.
func wrong(code string) string {
	if code[0] == '1' {
		return "2" + code[1:]
	}
	return "1" + code[1:]
}
