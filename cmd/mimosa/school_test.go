package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// campus is a school that has been opened and seeded, for one test.
type campus struct {
	*school
	t  *testing.T
	db *engine.DB
}

func open(t *testing.T) *campus {
	t.Helper()
	s := newSchool()
	db := enginetest.Open(t, s.schema)
	if err := db.Update(t.Context(), s.seed); err != nil {
		t.Fatalf("seed: %v", err)
	}
	return &campus{s, t, db}
}

// visitor calls functions as one client does: as nobody, until a sign-in gives it a principal.
type visitor struct {
	*campus
	principal engine.Principal
}

func (c *campus) visitor() *visitor { return &visitor{campus: c} }

type object map[string]any

// try calls a function and decodes its result into out, unless that is nil.
func (v *visitor) try(function string, args, out any) error {
	v.t.Helper()
	enc, err := json.Marshal(args)
	if err != nil {
		v.t.Fatal(err)
	}
	res, err := v.db.Run(v.t.Context(), engine.Call{Function: function, Args: enc, Principal: v.principal})
	if err != nil {
		return err
	}
	if res.PrincipalSet {
		v.principal = res.Principal
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(res.Value, out); err != nil {
		v.t.Fatalf("%s: %v in %s", function, err, res.Value)
	}
	return nil
}

func (v *visitor) call(function string, args, out any) {
	v.t.Helper()
	if err := v.try(function, args, out); err != nil {
		v.t.Fatalf("%s: %v", function, err)
	}
}

func (v *visitor) enter(flow string, params object) error {
	params["flow"] = flow
	return v.try("auth:signIn", object{"provider": "password", "params": params}, nil)
}

// student signs up somebody for a course.
func (c *campus) student(nickname, course string) *visitor {
	c.t.Helper()
	v := c.visitor()
	if err := v.enter("signUp", form(nickname, course)); err != nil {
		c.t.Fatalf("sign up %s for %s: %v", nickname, course, err)
	}
	return v
}

func form(nickname, course string) object {
	return object{"email": strings.ToLower(nickname) + "@example.org", "password": "12345678", "nickname": nickname, "course": course}
}

// roomOf finds the room of a course, as any client sees it.
func (c *campus) roomOf(course string) roomView {
	c.t.Helper()
	var rooms []roomView
	c.visitor().call("rooms:list", object{}, &rooms)
	i := slices.IndexFunc(rooms, func(r roomView) bool { return r.Course == course })
	if i < 0 {
		c.t.Fatalf("there is no room of %s in %v", course, rooms)
	}
	return rooms[i]
}

func (c *campus) texts(room engine.ID[Room]) []string {
	c.t.Helper()
	var views []messageView
	c.visitor().call("messages:list", object{"room": room}, &views)
	texts := []string{}
	for _, m := range views {
		texts = append(texts, m.Text)
	}
	return texts
}

// counts says how many documents there are of what a sign-up makes.
func (c *campus) counts() string {
	c.t.Helper()
	var out string
	err := c.db.View(c.t.Context(), func(tx *engine.ReadTx) error {
		users, err := c.users.All(tx).Count()
		if err != nil {
			return err
		}
		enrolments, err := c.userCourses.All(tx).Count()
		if err != nil {
			return err
		}
		messages, err := c.messages.All(tx).Count()
		out = fmt.Sprintf("%d users, %d enrolments, %d messages", users, enrolments, messages)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// wantCode checks an error as a client gets it: its code, and the paths of its issues.
func wantCode(t *testing.T, err error, code engine.Code, paths ...string) {
	t.Helper()
	e, ok := err.(*engine.Error)
	if !ok || e.Code != code {
		t.Errorf("error %v, want code %s", err, code)
		return
	}
	var got []string
	for _, i := range e.Issues {
		got = append(got, i.Path)
		if i.Rule == "" || i.Message == "" {
			t.Errorf("issue %+v says too little", i)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, paths) {
		t.Errorf("issues at %q, want %q", got, paths)
	}
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	c := open(t)
	var courses []struct {
		ID   string `json:"_id"`
		Name string `json:"name"`
	}
	c.visitor().call("courses:list", object{}, &courses)
	var names []string
	for _, course := range courses {
		names = append(names, course.Name)
		if r := c.roomOf(course.Name); r.ID == "" || r.Name == "" || r.Members != 0 || r.Messages != 0 {
			t.Errorf("room of %s: %+v", course.Name, r)
		}
	}
	if want := []string{"databases", "go", "music"}; !slices.Equal(names, want) {
		t.Errorf("courses %q, want %q", names, want)
	}
}

func TestSignUp(t *testing.T) {
	t.Parallel()
	c := open(t)
	ada := c.student("Ada", "databases")

	var me struct {
		ID       string `json:"_id"`
		Email    string `json:"email"`
		Nickname string `json:"nickname"`
		Role     string `json:"role"`
	}
	ada.call("users:me", object{}, &me)
	if me.ID == "" || me.Email != "ada@example.org" || me.Nickname != "Ada" || me.Role != "student" {
		t.Errorf("users:me is %+v", me)
	}
	var enrolments []enrolmentView
	ada.call("enrolments:mine", object{}, &enrolments)
	if len(enrolments) != 1 || enrolments[0].Course != "databases" {
		t.Errorf("enrolments are %+v", enrolments)
	}
	room := c.roomOf("databases")
	if room.Members != 1 || room.Messages != 1 {
		t.Errorf("counters are %+v, want one member and one message, the welcome", room)
	}
	var members []person
	ada.call("members:list", object{"room": room.ID}, &members)
	if len(members) != 1 || string(members[0].ID) != me.ID || members[0].Nickname != "Ada" {
		t.Errorf("members are %+v", members)
	}
	var messages []messageView
	ada.call("messages:list", object{"room": room.ID}, &messages)
	if len(messages) != 1 || messages[0].Text != "Welcome, Ada!" || messages[0].Author.Nickname != "School" {
		t.Errorf("messages are %+v", messages)
	}
	for _, other := range []string{"go", "music"} {
		if r := c.roomOf(other); r.Members != 0 || r.Messages != 0 {
			t.Errorf("the sign-up reached the room of %s: %+v", other, r)
		}
	}
}

func TestSignUpWithUnknownCourseLeavesNoTrace(t *testing.T) {
	t.Parallel()
	c := open(t)
	before := c.counts()
	v := c.visitor()
	wantCode(t, v.enter("signUp", form("Ada", "alchemy")), engine.CodeNotFound, "course")
	if v.principal != nil {
		t.Error("the failed sign-up signed in")
	}
	if after := c.counts(); after != before {
		t.Errorf("the failed sign-up left %s, there were %s", after, before)
	}
	if err := v.enter("signIn", form("Ada", "alchemy")); err == nil {
		t.Error("the failed sign-up left an account")
	}
	// The address is free.
	if err := v.enter("signUp", form("Ada", "go")); err != nil {
		t.Errorf("sign up after the failed one: %v", err)
	}
}

func TestSignUpIsValidated(t *testing.T) {
	t.Parallel()
	c := open(t)
	before := c.counts()
	for name, tt := range map[string]struct {
		change object // of a good form; nil takes the field away
		paths  []string
	}{
		"address":       {object{"email": "a@b"}, []string{"email"}},
		"password":      {object{"password": "1234567"}, []string{"password"}},
		"no nickname":   {object{"nickname": nil}, []string{"nickname"}},
		"empty":         {object{"nickname": ""}, []string{"nickname"}},
		"blank":         {object{"nickname": " \t"}, []string{"nickname"}},
		"long nickname": {object{"nickname": strings.Repeat("é", 31)}, []string{"nickname"}},
		"no course":     {object{"course": nil}, []string{"course"}},
		"all at once":   {object{"email": "a@b", "password": "x", "nickname": 7, "course": nil}, []string{"course", "email", "nickname", "password"}},
		"own role":      {object{"role": "school"}, []string{"role"}},
	} {
		params := form("Ada", "go")
		for k, v := range tt.change {
			if params[k] = v; v == nil {
				delete(params, k)
			}
		}
		t.Run(name, func(t *testing.T) { wantCode(t, c.visitor().enter("signUp", params), engine.CodeInvalid, tt.paths...) })
	}
	if after := c.counts(); after != before {
		t.Errorf("refused sign-ups left %s, there were %s", after, before)
	}
}

func TestSecondSignInFiresNothing(t *testing.T) {
	t.Parallel()
	c := open(t)
	ada := c.student("Ada", "music")
	before := c.counts()
	ada.call("auth:signOut", object{}, nil)
	var me any
	if ada.call("users:me", object{}, &me); me != nil {
		t.Errorf("after the sign-out users:me is %v", me)
	}
	if err := ada.enter("signIn", object{"email": "ada@example.org", "password": "12345678"}); err != nil {
		t.Fatal(err)
	}
	if ada.call("users:me", object{}, &me); me == nil {
		t.Error("after the sign-in users:me is null")
	}
	if after := c.counts(); after != before {
		t.Errorf("after a second sign-in there are %s, before there were %s", after, before)
	}
	wantCode(t, c.visitor().enter("signUp", form("Ada", "go")), engine.CodeAlreadyExists, "email")
	if after := c.counts(); after != before {
		t.Errorf("after a second sign-up there are %s, before there were %s", after, before)
	}
}

func TestWhoMaySend(t *testing.T) {
	t.Parallel()
	c := open(t)
	ada, nadia, nobody := c.student("Ada", "databases"), c.student("Nadia", "music"), c.visitor()
	room := c.roomOf("databases")

	// An id of a room that is no more, and one of another collection.
	var gone engine.ID[Room]
	var other string
	err := c.db.Update(t.Context(), func(tx *engine.Tx) error {
		r, err := c.rooms.Get(tx, room.ID)
		if err != nil {
			return err
		}
		other = string(r.Value.Course)
		if gone, err = c.rooms.Insert(tx, Room{Course: r.Value.Course, Name: "A tent"}); err != nil {
			return err
		}
		return c.rooms.Delete(tx, gone)
	})
	if err != nil {
		t.Fatal(err)
	}

	for name, tt := range map[string]struct {
		by    *visitor
		args  object
		code  engine.Code
		paths []string
	}{
		"signed out":     {nobody, object{"room": room.ID, "text": "x"}, engine.CodeUnauthenticated, nil},
		"another course": {nadia, object{"room": room.ID, "text": "x"}, engine.CodeForbidden, nil},
		"no such room":   {ada, object{"room": gone, "text": "x"}, engine.CodeNotFound, nil},
		"not a room":     {ada, object{"room": other, "text": "x"}, engine.CodeInvalid, []string{"room"}},
		"not an id":      {ada, object{"room": "lobby", "text": "x"}, engine.CodeInvalid, []string{"room"}},
		"empty":          {ada, object{"room": room.ID, "text": ""}, engine.CodeInvalid, []string{"text"}},
		"long":           {ada, object{"room": room.ID, "text": strings.Repeat("é", 2001)}, engine.CodeInvalid, []string{"text"}},
		"no text":        {ada, object{"room": room.ID}, engine.CodeInvalid, []string{"text"}},
		"more":           {ada, object{"room": room.ID, "text": "x", "author": "me"}, engine.CodeInvalid, []string{"author"}},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, tt.by.try("messages:send", tt.args, nil), tt.code, tt.paths...) })
	}
	if got := c.roomOf("databases"); got.Messages != 1 {
		t.Errorf("refused messages were counted: %+v", got)
	}

	long := strings.Repeat("é", 2000)
	for _, text := range []string{"x", long} {
		var id string
		ada.call("messages:send", object{"room": room.ID, "text": text}, &id)
		var views []messageView
		nobody.call("messages:list", object{"room": room.ID}, &views)
		if last := views[len(views)-1]; string(last.ID) != id || last.Text != text || last.Author.Nickname != "Ada" || last.At == 0 {
			t.Errorf("sent %s, the last message is %+v", id, last)
		}
	}
	if got := c.roomOf("databases"); got.Messages != 3 {
		t.Errorf("after two messages the room has %d", got.Messages)
	}
	wantCode(t, nobody.try("messages:list", object{"room": gone}, nil), engine.CodeNotFound)
	wantCode(t, nobody.try("members:list", object{"room": gone}, nil), engine.CodeNotFound)
	wantCode(t, nobody.try("enrolments:mine", object{}, nil), engine.CodeUnauthenticated)
}

func TestListGivesTheNewestHundredOldestFirst(t *testing.T) {
	t.Parallel()
	c := open(t)
	ada := c.student("Ada", "go")
	room := c.roomOf("go")
	var want []string
	for i := range 103 {
		text := fmt.Sprint("message ", i)
		ada.call("messages:send", object{"room": room.ID, "text": text}, nil)
		if i >= 3 {
			want = append(want, text)
		}
	}
	if got := c.texts(room.ID); !slices.Equal(got, want) {
		t.Errorf("messages are %q", got)
	}
	if got := c.roomOf("go").Messages; got != 104 {
		t.Errorf("%d messages counted, want 104", got)
	}
}

// Counters are read and written by every sign-up and message: none may be lost when many come at once.
func TestCountersUnderConcurrency(t *testing.T) {
	t.Parallel()
	c := open(t)
	ada := c.student("Ada", "go")
	room := c.roomOf("go")
	const people, each = 4, 10
	var all sync.WaitGroup
	errs := make(chan error, people*(each+1))
	for i := range people {
		all.Go(func() { errs <- c.visitor().enter("signUp", form(fmt.Sprint("Guest", i), "go")) })
		all.Go(func() {
			for j := range each {
				errs <- ada.try("messages:send", object{"room": room.ID, "text": fmt.Sprint(i, " ", j)}, nil)
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	got := c.roomOf("go")
	if got.Members != 1+people || got.Messages != 1+people+people*each {
		t.Errorf("counters are %+v, want %d members and %d messages", got, 1+people, 1+people+people*each)
	}
	if n := len(c.texts(room.ID)); n != got.Messages {
		t.Errorf("%d messages are counted, there are %d", got.Messages, n)
	}
}

func TestDeletingKeepsCountersTrue(t *testing.T) {
	t.Parallel()
	c := open(t)
	ada := c.student("Ada", "music")
	c.student("Nadia", "music")
	room := c.roomOf("music")
	var id engine.ID[Message]
	ada.call("messages:send", object{"room": room.ID, "text": "first"}, nil)
	ada.call("messages:send", object{"room": room.ID, "text": "second"}, &id)
	var me struct {
		ID engine.ID[User] `json:"_id"`
	}
	ada.call("users:me", object{}, &me)

	err := c.db.Update(t.Context(), func(tx *engine.Tx) error {
		if err := c.messages.Delete(tx, id); err != nil {
			return err
		}
		return c.users.Delete(tx, me.ID)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.roomOf("music"); got.Members != 1 || got.Messages != 3 {
		t.Errorf("counters are %+v, want one member, and two welcomes and a message", got)
	}
	var members []person
	c.visitor().call("members:list", object{"room": room.ID}, &members)
	if len(members) != 1 || members[0].Nickname != "Nadia" {
		t.Errorf("members are %+v", members)
	}
	var views []messageView
	c.visitor().call("messages:list", object{"room": room.ID}, &views)
	if last := views[len(views)-1]; last.Text != "first" || last.Author.Nickname != "somebody who left" {
		t.Errorf("the last message is %+v", last)
	}
	// Who is deleted is signed out.
	var none any
	if ada.call("users:me", object{}, &none); none != nil {
		t.Errorf("users:me of a deleted user is %v", none)
	}
}
