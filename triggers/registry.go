package triggers

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/mimosadb/mimosa/engine"
)

// kind is when a trigger runs, as its name says it.
type kind string

const (
	beforeCreate kind = "BeforeCreate"
	beforeUpdate kind = "BeforeUpdate"
	beforeDelete kind = "BeforeDelete"
	onCreate     kind = "OnCreate"
	onUpdate     kind = "OnUpdate"
	onDelete     kind = "OnDelete"
)

// kindsOf says which triggers a change of a document concerns.
func kindsOf(op engine.Op) (before, on kind) {
	switch op {
	case engine.Create:
		return beforeCreate, onCreate
	case engine.Update:
		return beforeUpdate, onUpdate
	default:
		return beforeDelete, onDelete
	}
}

// trigger is a registered trigger without its type parameter. It does not change once it is registered.
type trigger struct {
	name string // users.OnCreate(enroll)
	narrowing
	// One of the two is set, by kind.
	before func(*engine.ReadTx, *engine.Change) error
	on     func(*engine.Tx, *engine.Change) error
}

// registry holds the triggers of one schema and is its write hook. Registration and Open happen on one goroutine; from then
// on triggers does not change, so that writes read it without a lock.
type registry struct {
	triggers map[place][]*trigger // in the order of registration
	names    map[string]bool      // names taken, in full
	sealed   atomic.Bool
}

// place is what triggers are looked up by.
type place struct {
	collection string
	kind       kind
}

// registryKey is the key of the registry in its schema.
type registryKey struct{}

func registryOf(s *engine.Schema) *registry {
	return engine.Attach(s, registryKey{}, func() *registry {
		r := &registry{triggers: map[place][]*trigger{}, names: map[string]bool{}}
		s.OnWrite(r)
		s.OnOpen(func(context.Context, *engine.DB) error {
			r.sealed.Store(true)
			return nil
		})
		return r
	})
}

// maxName bounds the name of a trigger, in bytes.
const maxName = 64

// register adds a trigger, or reports to the collection's schema what is wrong with it. bind sets its function.
func register[T any](c *engine.Collection[T], k kind, name string, noFunction bool, o []Option, bind func(*trigger)) {
	if c == nil || c.Owner() == nil {
		// There is no schema to report to, and a trigger that silently never runs would be worse.
		panic(fmt.Sprintf("triggers: %s(%q): the collection was not made by engine.Define", k, name))
	}
	t := &trigger{name: fmt.Sprintf("%s.%s(%s)", c.Name(), k, name)}
	bind(t)
	var problems []string
	if problem := checkName(name); problem != "" {
		problems = append(problems, problem)
	}
	if noFunction {
		problems = append(problems, "its function is nil")
	}
	var wrong []string
	t.narrowing, wrong = narrow(k, reflect.TypeFor[T](), c.HasPath, o)
	s := c.Owner()
	for _, problem := range append(problems, wrong...) {
		s.Problem("triggers: %s: %s", t.name, problem)
	}
	registryOf(s).add(s, place{c.Name(), k}, t)
}

func (r *registry) add(s *engine.Schema, p place, t *trigger) {
	switch {
	case r.sealed.Load():
		// Databases are running on what is there.
		s.Problem("triggers: %s: registered after Open", t.name)
	case r.names[t.name]:
		s.Problem("triggers: %s: registered twice; two triggers of one kind on one collection need two names", t.name)
	default:
		r.names[t.name] = true
		r.triggers[p] = append(r.triggers[p], t)
	}
}

// Completes says that a collection has BeforeCreate triggers, which may change new documents before they are validated.
func (r *registry) Completes(collection string) bool {
	return len(r.triggers[place{collection, beforeCreate}]) > 0
}

// checkName returns what is wrong with a trigger's name. Names stand in chains and traces, between parentheses.
func checkName(name string) string {
	switch {
	case name == "":
		return "its name is empty"
	case len(name) > maxName:
		return fmt.Sprintf("its name is longer than %d bytes", maxName)
	case !utf8.ValidString(name),
		strings.ContainsAny(name, "()→"),
		strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "its name has characters that are not printable, or parentheses, or an arrow"
	}
	return ""
}
