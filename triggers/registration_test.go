package triggers_test

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

func nothing[T any](*engine.Tx, *engine.Doc[T]) error                         { return nil }
func nothingToUpdate[T any](*engine.Tx, *engine.Doc[T], *engine.Doc[T]) error { return nil }

// TestWrongRegistration makes every mistake there is, and looks for each in the error of Open, with the line that made it.
func TestWrongRegistration(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	users := engine.Define[user](s, "users")
	var want []string
	// wrong expects the mistake that was made on the line before.
	wrong := func(text string) {
		_, _, line, _ := runtime.Caller(1)
		line--
		want = append(want, fmt.Sprintf("registration_test.go:%d: triggers: %s", line, text))
	}
	option := func(o triggers.Option) []triggers.Option { return []triggers.Option{o} }

	triggers.OnCreate(users, "", nothing[user])
	wrong(`users.OnCreate(): its name is empty`)
	triggers.OnCreate(users, strings.Repeat("a", 65), nothing[user])
	wrong(`users.OnCreate(` + strings.Repeat("a", 65) + `): its name is longer than 64 bytes`)
	triggers.OnCreate(users, "a\nb", nothing[user])
	wrong("users.OnCreate(a\nb): its name has characters that are not printable, or parentheses, or an arrow")
	triggers.OnCreate(users, "nil", nil)
	wrong(`users.OnCreate(nil): its function is nil`)
	triggers.BeforeCreate(users, "nil", nil)
	wrong(`users.BeforeCreate(nil): its function is nil`)
	triggers.BeforeUpdate(users, "nil", nil)
	wrong(`users.BeforeUpdate(nil): its function is nil`)
	triggers.BeforeDelete(users, "nil", nil)
	wrong(`users.BeforeDelete(nil): its function is nil`)
	triggers.OnUpdate(users, "nil", nil)
	wrong(`users.OnUpdate(nil): its function is nil`)
	triggers.OnDelete(users, "nil", nil)
	wrong(`users.OnDelete(nil): its function is nil`)
	triggers.OnCreate(users, "one", nothing[user])
	triggers.OnDelete(users, "one", nothing[user]) // another kind: no mistake
	triggers.OnCreate(users, "one", nothing[user])
	wrong(`users.OnCreate(one): registered twice; two triggers of one kind on one collection need two names`)
	triggers.OnUpdate(users, "path", nothingToUpdate[user], triggers.Fields("n", "address.street"))
	wrong(`users.OnUpdate(path): Fields: `)
	triggers.OnUpdate(users, "minus", nothingToUpdate[user], triggers.Fields("-n"))
	wrong(`users.OnUpdate(minus): Fields: `)
	triggers.OnUpdate(users, "deep", nothingToUpdate[user], triggers.Fields("n.n"))
	wrong(`users.OnUpdate(deep): Fields: `)
	triggers.OnUpdate(users, "none", nothingToUpdate[user], triggers.Fields())
	wrong(`users.OnUpdate(none): Fields is given no path`)
	triggers.OnCreate(users, "fields", nothing[user], triggers.Fields("n"))
	wrong(`users.OnCreate(fields): Fields narrows updates only`)
	triggers.OnDelete(users, "fields", nothing[user], triggers.Fields("n"))
	wrong(`users.OnDelete(fields): Fields narrows updates only`)
	triggers.OnUpdate(users, "type", nothingToUpdate[user], triggers.When(func(_, _ *engine.Doc[room]) bool { return true }))
	wrong(`users.OnUpdate(type): When looks at triggers_test.room, but the collection holds triggers_test.user`)
	triggers.OnUpdate(users, "when", nothingToUpdate[user], triggers.When[user](nil))
	wrong(`users.OnUpdate(when): When is given no function`)
	triggers.OnUpdate(users, "option", nothingToUpdate[user], option(nil)...)
	wrong(`users.OnUpdate(option): an option is nil`)

	_, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err == nil {
		t.Fatal("Open accepted it all")
	}
	got := problemsOf(err)
	for _, w := range want {
		i := slices.IndexFunc(got, func(g string) bool { return strings.HasPrefix(g, w) })
		if i < 0 {
			t.Errorf("not reported: %q", w)
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	for _, g := range got {
		t.Errorf("reported, but no mistake: %q", g)
	}
}

var problemPlace = regexp.MustCompile(`registration_test\.go:\d+: `)

// problemsOf takes an error of Open apart, each problem beginning with the name of this file.
func problemsOf(err error) []string {
	text := err.Error()
	var out []string
	starts := problemPlace.FindAllStringIndex(text, -1)
	for i, s := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		out = append(out, text[s[0]:end])
	}
	return out
}

func TestRegistrationAfterOpen(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	users := engine.Define[user](s, "users")
	ran := 0
	count := func(*engine.Tx, *engine.Doc[user]) error { ran++; return nil }
	triggers.OnCreate(users, "early", count)
	db := enginetest.Open(t, s)
	triggers.OnCreate(users, "late", count)
	insert := func(tx *engine.Tx) error {
		_, err := users.Insert(tx, user{Name: "bob"})
		return err
	}
	if err := db.Update(t.Context(), insert); err != nil || ran != 1 {
		t.Errorf("%d triggers ran, error %v; want the early one alone", ran, err)
	}
	if _, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})}); err == nil || !strings.Contains(err.Error(), "users.OnCreate(late): registered after Open") {
		t.Errorf("the next Open says %v", err)
	}
}

func TestCollectionOfNoSchema(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*engine.Collection[user]{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if v := recover(); v != `triggers: OnCreate("x"): the collection was not made by engine.Define` {
					t.Errorf("panicked with %v", v)
				}
			}()
			triggers.OnCreate(c, "x", nothing[user])
		})
	}
}

// TestSchemaOpenedTwice has two databases of one schema, with one set of triggers.
func TestSchemaOpenedTwice(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	users, rooms := engine.Define[user](s, "users"), engine.Define[room](s, "rooms")
	triggers.OnCreate(users, "room", func(tx *engine.Tx, u *engine.Doc[user]) error {
		_, err := rooms.Insert(tx, room{Name: u.Value.Name})
		return err
	})
	first, second := enginetest.Open(t, s), enginetest.Open(t, s)
	for range 2 {
		for name, db := range map[string]*engine.DB{"ann": first, "bob": second} {
			if err := db.Update(t.Context(), func(tx *engine.Tx) error {
				_, err := users.Insert(tx, user{Name: name})
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	if err := second.View(t.Context(), func(tx *engine.ReadTx) error {
		for d, err := range rooms.All(tx).Docs() {
			if err != nil {
				return err
			}
			got = append(got, d.Value.Name)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"bob", "bob"}) {
		t.Errorf("the second database has rooms %q", got)
	}
}
