package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

// What is stored. The json and jsonschema tags are the schema: every write is checked against them.
type (
	// User is somebody who signed up, or the school itself, which says welcome.
	User struct {
		authmod.UserFields
		Nickname string `json:"nickname" jsonschema:"minLength=1,maxLength=30"`
		Role     string `json:"role,omitempty" jsonschema:"enum=student,enum=school"`
	}

	Course struct {
		Name  string `json:"name" jsonschema:"minLength=1,maxLength=30"`
		About string `json:"about" jsonschema:"maxLength=200"`
	}

	// Room is where those who take a course talk. Triggers keep its counters.
	Room struct {
		Course   engine.ID[Course] `json:"course"`
		Name     string            `json:"name" jsonschema:"minLength=1,maxLength=50"`
		Members  int               `json:"members" jsonschema:"minimum=0"`
		Messages int               `json:"messages" jsonschema:"minimum=0"`
	}

	// UserCourse says that a user takes a course.
	UserCourse struct {
		User   engine.ID[User]   `json:"user"`
		Course engine.ID[Course] `json:"course"`
	}

	Message struct {
		Room   engine.ID[Room] `json:"room"`
		Author engine.ID[User] `json:"author"`
		Text   string          `json:"text" jsonschema:"minLength=1,maxLength=2000"`
	}
)

const (
	roleStudent = "student"
	roleSchool  = "school"
)

// school is the program: its collections with their indexes, and its sign-in.
type school struct {
	schema *engine.Schema
	auth   *authmod.Auth

	users         *engine.Collection[User]
	usersByRole   *engine.Index[User]
	courses       *engine.Collection[Course]
	coursesByName *engine.Index[Course]
	rooms         *engine.Collection[Room]
	roomsByCourse *engine.Index[Room]
	userCourses   *engine.Collection[UserCourse]
	byUserCourse  *engine.Index[UserCourse]
	byCourse      *engine.Index[UserCourse]
	messages      *engine.Collection[Message]
	byRoom        *engine.Index[Message]
}

func newSchool() *school {
	schema := engine.NewSchema()
	s := &school{
		schema:      schema,
		users:       engine.Define[User](schema, "users"),
		courses:     engine.Define[Course](schema, "courses"),
		rooms:       engine.Define[Room](schema, "rooms"),
		userCourses: engine.Define[UserCourse](schema, "userCourses"),
		messages:    engine.Define[Message](schema, "messages"),
	}
	s.usersByRole = s.users.AddIndex("byRole", "role")
	s.coursesByName = s.courses.AddUnique("byName", "name")
	s.roomsByCourse = s.rooms.AddIndex("byCourse", "course")
	s.byUserCourse = s.userCourses.AddUnique("byUserCourse", "user", "course")
	s.byCourse = s.userCourses.AddIndex("byCourse", "course")
	s.byRoom = s.messages.AddIndex("byRoom", "room")

	s.auth = authmod.New(schema, s.users, authmod.Options{
		Modules: []authmod.Module{password.New(password.Options{
			Profile:   authmod.NewProfile(profile),
			MinLength: 8, // short, for trying things out; the default is 15
		})},
	})

	triggers.BeforeCreate(s.users, "role", s.setRole)
	triggers.OnCreate(s.users, "enrol", s.enrol)
	triggers.OnDelete(s.users, "leave", s.leave)
	triggers.OnCreate(s.userCourses, "count", s.countMember(+1))
	triggers.OnDelete(s.userCourses, "count", s.countMember(-1))
	triggers.OnCreate(s.userCourses, "welcome", s.welcome)
	triggers.OnCreate(s.messages, "count", s.countMessage(+1))
	triggers.OnDelete(s.messages, "count", s.countMessage(-1))

	engine.Query(schema, "users:me", s.me)
	engine.Query(schema, "courses:list", s.listCourses)
	engine.Query(schema, "rooms:list", s.listRooms)
	engine.Query(schema, "messages:list", s.listMessages)
	engine.Query(schema, "members:list", s.listMembers)
	engine.Query(schema, "enrolments:mine", s.myEnrolments)
	engine.Mutation(schema, "messages:send", s.send)
	return s
}

// Signing up.

// signUp is what the form asks, beside the password. The course is not part of the user: it reaches the trigger enrol.
type signUp struct {
	Email    string `json:"email" jsonschema:"format=email"`
	Nickname string `json:"nickname" jsonschema:"minLength=1,maxLength=30"`
	Course   string `json:"course" jsonschema:"minLength=1,maxLength=30"`
}

// profile makes the user document of somebody who signs up.
func profile(p signUp) (User, error) {
	nickname := strings.TrimSpace(p.Nickname)
	if nickname == "" {
		return User{}, invalid("nickname", "must not be blank")
	}
	return User{UserFields: authmod.UserFields{Email: p.Email}, Nickname: nickname}, nil
}

// setRole gives everybody who comes without a role that of a student.
func (s *school) setRole(_ *engine.ReadTx, u *User) error {
	if u.Role == "" {
		u.Role = roleStudent
	}
	return nil
}

// enrol enters a new user in the course that the sign-up named. When there is none, the whole sign-up fails: no account, no
// user, no session.
func (s *school) enrol(tx *engine.Tx, user *engine.Doc[User]) error {
	if authmod.SignIn(tx) == nil {
		return nil // not a sign-up: the seed, an import
	}
	form, err := authmod.Params[signUp](tx)
	if err != nil {
		return err
	}
	course, err := s.coursesByName.One(tx, form.Course)
	if errors.Is(err, engine.ErrNotFound) {
		return engine.Errorf(engine.CodeNotFound, "there is no such course").
			WithIssues(engine.Issue{Path: "course", Rule: "exists", Message: "is not a course of this school"})
	}
	if err != nil {
		return err
	}
	_, err = s.userCourses.Insert(tx, UserCourse{User: user.ID, Course: course.ID})
	return err
}

// leave takes a user who is deleted out of every course. What they wrote stays.
func (s *school) leave(tx *engine.Tx, user *engine.Doc[User]) error {
	for e, err := range s.byUserCourse.Eq(tx, user.ID).Docs() {
		if err != nil {
			return err
		}
		if err := s.userCourses.Delete(tx, e.ID); err != nil {
			return err
		}
	}
	return nil
}

// welcome greets in the rooms of a course whoever has been enrolled in it.
func (s *school) welcome(tx *engine.Tx, e *engine.Doc[UserCourse]) error {
	user, err := s.users.Get(tx, e.Value.User)
	if err != nil {
		return err
	}
	host, err := s.usersByRole.One(tx, roleSchool)
	if err != nil {
		return err
	}
	for room, err := range s.roomsByCourse.Eq(tx, e.Value.Course).Docs() {
		if err != nil {
			return err
		}
		m := Message{Room: room.ID, Author: host.ID, Text: "Welcome, " + user.Value.Nickname + "!"}
		if _, err := s.messages.Insert(tx, m); err != nil {
			return err
		}
	}
	return nil
}

// countMember keeps the number of members of a course's rooms.
func (s *school) countMember(by int) func(*engine.Tx, *engine.Doc[UserCourse]) error {
	return func(tx *engine.Tx, e *engine.Doc[UserCourse]) error {
		for room, err := range s.roomsByCourse.Eq(tx, e.Value.Course).Docs() {
			if err != nil {
				return err
			}
			if err := s.rooms.Patch(tx, room.ID, func(r *Room) error { r.Members += by; return nil }); err != nil {
				return err
			}
		}
		return nil
	}
}

// countMessage keeps the number of a room's messages.
func (s *school) countMessage(by int) func(*engine.Tx, *engine.Doc[Message]) error {
	return func(tx *engine.Tx, m *engine.Doc[Message]) error {
		return s.rooms.Patch(tx, m.Value.Room, func(r *Room) error { r.Messages += by; return nil })
	}
}

// Reading. A query that somebody watches runs again whenever what it read has changed.

type none struct{}

type inRoom struct {
	Room engine.ID[Room] `json:"room"`
}

// me is who is signed in; null is nobody.
func (s *school) me(tx *engine.ReadTx, _ none) (*engine.Doc[User], error) {
	who, err := tx.Identity()
	if who == nil || err != nil {
		return nil, err
	}
	id, err := authmod.UserID(tx, s.users)
	if err != nil {
		return nil, err
	}
	return s.users.Get(tx, id)
}

func (s *school) listCourses(tx *engine.ReadTx, _ none) ([]*engine.Doc[Course], error) {
	return s.courses.All(tx).Collect()
}

type roomView struct {
	ID       engine.ID[Room] `json:"_id"`
	Name     string          `json:"name"`
	Course   string          `json:"course"` // its name
	Members  int             `json:"members"`
	Messages int             `json:"messages"`
}

func (s *school) listRooms(tx *engine.ReadTx, _ none) ([]roomView, error) {
	var views []roomView
	for room, err := range s.rooms.All(tx).Docs() {
		if err != nil {
			return nil, err
		}
		course, err := s.courses.Get(tx, room.Value.Course)
		if err != nil {
			return nil, err
		}
		views = append(views, roomView{room.ID, room.Value.Name, course.Value.Name, room.Value.Members, room.Value.Messages})
	}
	return views, nil
}

// person is what everybody may know of a user.
type person struct {
	ID       engine.ID[User] `json:"_id"`
	Nickname string          `json:"nickname"`
	Role     string          `json:"role"`
}

func (s *school) person(r engine.Reader, id engine.ID[User]) (person, error) {
	u, err := s.users.Get(r, id)
	if errors.Is(err, engine.ErrNotFound) {
		return person{ID: id, Nickname: "somebody who left"}, nil
	}
	if err != nil {
		return person{}, err
	}
	return person{u.ID, u.Value.Nickname, u.Value.Role}, nil
}

type messageView struct {
	ID     engine.ID[Message] `json:"_id"`
	At     int64              `json:"_creationTime"` // milliseconds since 1970
	Text   string             `json:"text"`
	Author person             `json:"author"`
}

// listMessages gives the newest 100 messages of a room, oldest first.
func (s *school) listMessages(tx *engine.ReadTx, a inRoom) ([]messageView, error) {
	if _, err := s.rooms.Get(tx, a.Room); err != nil {
		return nil, err
	}
	authors := map[engine.ID[User]]person{}
	var views []messageView
	for m, err := range s.byRoom.Eq(tx, a.Room).Desc().Limit(100).Docs() {
		if err != nil {
			return nil, err
		}
		author, known := authors[m.Value.Author]
		if !known {
			if author, err = s.person(tx, m.Value.Author); err != nil {
				return nil, err
			}
			authors[m.Value.Author] = author
		}
		views = append(views, messageView{m.ID, m.Created.UnixMilli(), m.Value.Text, author})
	}
	slices.Reverse(views)
	return views, nil
}

// listMembers gives those who take the room's course, in the order in which they joined, the first 1,000 of them.
func (s *school) listMembers(tx *engine.ReadTx, a inRoom) ([]person, error) {
	room, err := s.rooms.Get(tx, a.Room)
	if err != nil {
		return nil, err
	}
	var members []person
	for e, err := range s.byCourse.Eq(tx, room.Value.Course).Limit(1000).Docs() {
		if err != nil {
			return nil, err
		}
		member, err := s.person(tx, e.Value.User)
		if err != nil {
			return nil, err
		}
		members = append(members, member)
	}
	return members, nil
}

type enrolmentView struct {
	ID     engine.ID[UserCourse] `json:"_id"`
	At     int64                 `json:"_creationTime"`
	Course string                `json:"course"` // its name
	About  string                `json:"about"`
}

// myEnrolments gives the courses that the caller takes.
func (s *school) myEnrolments(tx *engine.ReadTx, _ none) ([]enrolmentView, error) {
	me, err := authmod.UserID(tx, s.users)
	if err != nil {
		return nil, err
	}
	var views []enrolmentView
	for e, err := range s.byUserCourse.Eq(tx, me).Docs() {
		if err != nil {
			return nil, err
		}
		course, err := s.courses.Get(tx, e.Value.Course)
		if err != nil {
			return nil, err
		}
		views = append(views, enrolmentView{e.ID, e.Created.UnixMilli(), course.Value.Name, course.Value.About})
	}
	return views, nil
}

// Writing.

type sendArgs struct {
	Room engine.ID[Room] `json:"room"`
	Text string          `json:"text" jsonschema:"minLength=1,maxLength=2000"`
}

// send posts a message in a room of a course that the caller takes.
func (s *school) send(tx *engine.Tx, a sendArgs) (engine.ID[Message], error) {
	me, err := authmod.UserID(tx, s.users)
	if err != nil {
		return "", err
	}
	room, err := s.rooms.Get(tx, a.Room)
	if err != nil {
		return "", err
	}
	_, err = s.byUserCourse.One(tx, me, room.Value.Course)
	if errors.Is(err, engine.ErrNotFound) {
		return "", engine.Errorf(engine.CodeForbidden, "only those who take the course may write in its room")
	}
	if err != nil {
		return "", err
	}
	return s.messages.Insert(tx, Message{Room: room.ID, Author: me, Text: a.Text})
}

// invalid is an error about one field, as those of the schema are.
func invalid(path, message string) error {
	return engine.Errorf(engine.CodeInvalid, "%s %s", path, message).
		WithIssues(engine.Issue{Path: path, Rule: "blank", Message: message})
}

// The first start.

// seed makes the courses, each with a room, and the one who says welcome.
func (s *school) seed(tx *engine.Tx) error {
	if _, err := s.users.Insert(tx, User{Nickname: "School", Role: roleSchool}); err != nil {
		return err
	}
	for _, c := range []struct{ name, about, room string }{
		{"databases", "Transactions, indexes, and what a commit is worth.", "The index card"},
		{"go", "Goroutines, generics, and the joy of a short program.", "The gopher hole"},
		{"music", "Scales, silence, and everything in between.", "The rehearsal room"},
	} {
		course, err := s.courses.Insert(tx, Course{Name: c.name, About: c.about})
		if err != nil {
			return err
		}
		if _, err := s.rooms.Insert(tx, Room{Course: course, Name: c.room}); err != nil {
			return err
		}
	}
	return nil
}
