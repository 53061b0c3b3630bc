package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

func main() {
	var ttl time.Duration
	if text := os.Getenv("MIMOSA_TEST_ACCESS_TTL"); text != "" {
		var err error
		if ttl, err = time.ParseDuration(text); err != nil {
			fmt.Fprintln(os.Stderr, "MIMOSA_TEST_ACCESS_TTL:", err)
			os.Exit(2)
		}
	}
	a := newApp(ttl)
	cmd.Main(cmd.App{
		Name: "app", About: "The server that the TypeScript client is tested against.",
		Schema: a.schema, Auth: a.auth,
		Routes: func(mux *http.ServeMux, _ *engine.DB) { a.gates.routes(mux) },
		// Log lines reach the client. A busy machine must not fail a test that is not about time.
		Database: engine.Options{
			Development: os.Getenv("MIMOSA_TEST_PRODUCTION") == "",
			Limits:      engine.Limits{FunctionTime: 10 * time.Second},
		},
	})
}

// User is somebody who signed up.
type User struct {
	authmod.UserFields
	Nickname string `json:"nickname" jsonschema:"minLength=1,maxLength=30"`
	Role     string `json:"role,omitempty"`
	Banned   bool   `json:"banned,omitempty"`
}

// Counter counts under a name.
type Counter struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

// Message stands in a room. Author is empty when nobody was signed in.
type Message struct {
	Room   string `json:"room" jsonschema:"minLength=1"`
	Text   string `json:"text" jsonschema:"minLength=1,maxLength=2000"`
	Author string `json:"author,omitempty"`
}

// app is the program.
type app struct {
	schema *engine.Schema
	auth   *authmod.Auth
	gates  *gates

	users    *engine.Collection[User]
	counters *engine.Collection[Counter]
	byName   *engine.Index[Counter]
	messages *engine.Collection[Message]
	byRoom   *engine.Index[Message]

	getCounter engine.QueryRef[nameArgs, int]
	getMe      engine.QueryRef[struct{}, *engine.Doc[User]]
}

func newApp(ttl time.Duration) *app {
	s := engine.NewSchema()
	a := &app{
		schema:   s,
		gates:    newGates(),
		users:    engine.Define[User](s, "users"),
		counters: engine.Define[Counter](s, "counters"),
		messages: engine.Define[Message](s, "messages"),
	}
	a.byName = a.counters.AddUnique("byName", "name")
	a.byRoom = a.messages.AddIndex("byRoom", "room")
	a.auth = authmod.New(s, a.users, authmod.Options{
		AccessTTL: ttl, BeforeSession: a.notBanned,
		Modules: append(service(), password.New(password.Options{
			Profile: authmod.NewProfile(profile), MinLength: 8, MaxFailures: -1,
			Crypto: password.Argon2id{Memory: 8 << 10, Passes: 1, Threads: 1},
		})),
	})
	triggers.OnCreate(a.users, "greet", a.greet)
	triggers.OnCreate(a.messages, "count", func(tx *engine.Tx, m *engine.Doc[Message]) error {
		_, err := a.add(tx, addArgs{Name: "messages in " + m.Value.Room, By: 1})
		return err
	})

	a.getCounter = engine.Query(s, "counters:get", a.get)
	engine.Query(s, "counters:all", func(tx *engine.ReadTx, _ struct{}) ([]*engine.Doc[Counter], error) {
		return a.byName.Scan(tx).Collect()
	})
	engine.Mutation(s, "counters:add", a.add)
	engine.Mutation(s, "counters:addSlowly", a.addSlowly)
	engine.Action(s, "counters:reached", a.reached)
	engine.Query(s, "messages:list", func(tx *engine.ReadTx, in roomArgs) ([]*engine.Doc[Message], error) {
		return a.byRoom.Eq(tx, in.Room).Collect()
	})
	engine.Mutation(s, "messages:send", a.send)
	a.getMe = engine.Query(s, "users:me", a.me)
	engine.Action(s, "users:whoami", func(c *engine.ActionCtx, _ struct{}) (*engine.Doc[User], error) {
		return a.getMe.Run(c, struct{}{})
	})
	registerValues(s)
	registerErrors(s)
	a.registerEntries()
	a.registerMoves()
	a.registerKept()
	a.registerBugs()
	a.registerPages()
	a.registerPeople()
	return a
}

type signUp struct {
	Email    string `json:"email" jsonschema:"format=email"`
	Nickname string `json:"nickname" jsonschema:"minLength=1,maxLength=30"`
	Room     string `json:"room,omitempty"`
}

func profile(p signUp) (User, error) {
	return User{UserFields: authmod.UserFields{Email: p.Email}, Nickname: p.Nickname}, nil
}

// greet writes a message in the room that the sign-up named, and refuses whoever names the closed one.
func (a *app) greet(tx *engine.Tx, user *engine.Doc[User]) error {
	form, err := authmod.Params[signUp](tx)
	if err != nil {
		return err
	}
	switch form.Room {
	case "":
		return nil
	case "closed":
		return engine.Errorf(engine.CodeForbidden, "this room is closed").With(map[string]any{"room": form.Room})
	}
	_, err = a.messages.Insert(tx, Message{Room: form.Room, Text: "welcome, " + user.Value.Nickname})
	return err
}

type (
	nameArgs struct {
		Name string `json:"name" jsonschema:"minLength=1,maxLength=100"`
	}
	addArgs struct {
		Name string `json:"name" jsonschema:"minLength=1,maxLength=100"`
		By   int    `json:"by"`
	}
	roomArgs struct {
		Room string `json:"room"`
	}
	sendArgs struct {
		Room string `json:"room" jsonschema:"minLength=1"`
		Text string `json:"text" jsonschema:"minLength=1,maxLength=2000"`
	}
)

func (a *app) get(tx *engine.ReadTx, in nameArgs) (int, error) {
	c, err := a.byName.One(tx, in.Name)
	if errors.Is(err, engine.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return c.Value.Value, nil
}

// add returns the counter's new value. Adding too much is refused by name, after the write, so that a refusal undoes one.
func (a *app) add(tx *engine.Tx, in addArgs) (int, error) {
	value := in.By
	c, err := a.byName.One(tx, in.Name)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		_, err = a.counters.Insert(tx, Counter{Name: in.Name, Value: in.By})
	case err == nil:
		value += c.Value.Value
		err = a.counters.Patch(tx, c.ID, func(c *Counter) error {
			c.Value += in.By
			return nil
		})
	}
	if err == nil && value > 1_000_000 {
		err = engine.Errorf("overflow", "%s would be more than a million", in.Name).With(map[string]any{"limit": 1_000_000})
	}
	return value, err
}

// addSlowly takes so long that a test can end the server while it runs.
func (a *app) addSlowly(tx *engine.Tx, in addArgs) (int, error) {
	select {
	case <-time.After(200 * time.Millisecond):
	case <-tx.Context().Done():
		return 0, tx.Context().Err()
	}
	return a.add(tx, in)
}

type reachedArgs struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

// reached ends when a counter has come to a value: a slow action whose end is the test's.
func (a *app) reached(c *engine.ActionCtx, in reachedArgs) (int, error) {
	for {
		value, err := a.getCounter.Run(c, nameArgs{Name: in.Name})
		if err != nil || value >= in.Value {
			return value, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-c.Context().Done():
			return 0, c.Context().Err()
		}
	}
}

// send returns the message's id.
func (a *app) send(tx *engine.Tx, in sendArgs) (engine.ID[Message], error) {
	who, err := tx.Identity()
	if err != nil {
		return "", err
	}
	m := Message{Room: in.Room, Text: in.Text}
	if who != nil {
		m.Author = who.User
	}
	tx.Log("sending to %s", in.Room)
	return a.messages.Insert(tx, m)
}

// me returns the user's document, null for nobody.
func (a *app) me(tx *engine.ReadTx, _ struct{}) (*engine.Doc[User], error) {
	who, err := tx.Identity()
	if err != nil || who == nil {
		return nil, err
	}
	return a.users.Get(tx, engine.ID[User](who.User))
}

// everything has a member for every kind of value that travels.
type everything struct {
	Text  string          `json:"text"`
	Bool  bool            `json:"bool"`
	Int   int             `json:"int"`
	Big   engine.Int64    `json:"big"`
	Float float64         `json:"float"`
	Bytes []byte          `json:"bytes"`
	Time  time.Time       `json:"time"`
	List  []string        `json:"list"`
	Map   map[string]int  `json:"map"`
	Maybe *string         `json:"maybe,omitempty"`
	Any   json.RawMessage `json:"any,omitempty"`
}

func registerValues(s *engine.Schema) {
	engine.Query(s, "values:query", func(_ *engine.ReadTx, in everything) (everything, error) { return in, nil })
	engine.Mutation(s, "values:mutation", func(_ *engine.Tx, in everything) (everything, error) { return in, nil })
	engine.Action(s, "values:action", func(_ *engine.ActionCtx, in everything) (everything, error) { return in, nil })
}

type failArgs struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
	Issues  []engine.Issue  `json:"issues,omitempty"`
}

func (in failArgs) err() error {
	e := engine.Errorf(engine.Code(in.Code), "%s", in.Message)
	if in.Data != nil {
		e = e.With(in.Data)
	}
	if in.Issues != nil {
		e = e.WithIssues(in.Issues...)
	}
	return e
}

func registerErrors(s *engine.Schema) {
	engine.Query(s, "errors:query", func(_ *engine.ReadTx, in failArgs) (int, error) { return 0, in.err() })
	engine.Mutation(s, "errors:mutation", func(_ *engine.Tx, in failArgs) (int, error) { return 0, in.err() })
	engine.Action(s, "errors:action", func(_ *engine.ActionCtx, in failArgs) (int, error) { return 0, in.err() })
	engine.Mutation(s, "errors:secret", func(*engine.Tx, struct{}) (int, error) {
		return 0, errors.New("the disk at /dev/sda is full")
	})
	engine.Mutation(s, "errors:panic", func(*engine.Tx, struct{}) (int, error) { panic("a bug") })
	engine.Mutation(s, "errors:internal", func(*engine.Tx, struct{}) (int, error) { return 1, nil }, engine.Internal())
}
