package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
)

// Schema collects what a program declares: collections, functions, hooks. Registration never fails on the spot: what is
// wrong is collected and returned by Open, all at once, with file and line. A Schema is not safe for concurrent use and is
// sealed by the first Open; it may be opened again, several times even, for instance by tests.
type Schema struct {
	mu          sync.Mutex // guards all below during registration
	sealed      bool
	collections []*collection
	byName      map[string]*collection
	byType      map[reflect.Type]*collection
	functions   map[string]*function
	crons       map[string]*cronEntry
	system      *jobTables
	attached    map[any]any
	hooks       []WriteHook
	migrations  []*migration
	onOpen      []func(context.Context, *DB) error
	problems    []error
}

// NewSchema returns an empty schema.
func NewSchema() *Schema {
	s := &Schema{
		byName:    map[string]*collection{},
		byType:    map[reflect.Type]*collection{},
		functions: map[string]*function{},
		crons:     map[string]*cronEntry{},
		attached:  map[any]any{},
	}
	s.system = newJobTables(s)
	return s
}

// seal ends registration and returns all that is wrong with it.
func (s *Schema) seal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = true
	if err := errors.Join(s.problems...); err != nil {
		return fmt.Errorf("engine: wrong registrations:\n%w", err)
	}
	return nil
}

// Attach returns what mk made the first time it was called with key on this schema. Packages that register things of their
// own keep them there. Keys follow the rules of context.WithValue.
func Attach[S any](s *Schema, key any, mk func() S) S {
	s.mu.Lock()
	v, ok := s.attached[key]
	s.mu.Unlock()
	if !ok {
		// mk may itself register with the schema, so it runs outside the lock.
		v = mk()
		s.mu.Lock()
		s.attached[key] = v
		s.mu.Unlock()
	}
	return v.(S)
}

// OnWrite registers a hook that sees every write to every collection. Hooks run in the order of registration.
func (s *Schema) OnWrite(h WriteHook) {
	s.register(func() error { s.hooks = append(s.hooks, h); return nil })
}

// OnOpen registers fn to run at the end of every Open, before it returns. An error fails that Open.
func (s *Schema) OnOpen(fn func(context.Context, *DB) error) {
	s.register(func() error { s.onOpen = append(s.onOpen, fn); return nil })
}

// Problem records a wrong registration, for Open to return with the file and line of the calling program. Packages that
// register things of their own report theirs by it.
func (s *Schema) Problem(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem(fmt.Errorf(format, a...))
}

// problem records what is wrong, with the place. The caller holds the lock.
func (s *Schema) problem(err error) {
	s.problems = append(s.problems, fmt.Errorf("%s: %w", callerPlace(), err))
}

// register runs fn under the lock, unless the schema is sealed, and records its error with the place of the first caller outside this module's library
// packages.
func (s *Schema) register(fn func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Databases are open that read what is registered, so that it is not touched any more.
	err := errors.New("registered after Open")
	if !s.sealed {
		err = fn()
	}
	if err != nil {
		s.problem(err)
	}
}

const modulePath = "github.com/mimosadb/mimosa/"

// callerPlace returns file:line of the first frame that belongs to the program and not to the library.
func callerPlace() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		rest, inModule := strings.CutPrefix(f.Function, modulePath)
		library := inModule && !strings.HasSuffix(f.File, "_test.go") &&
			(strings.HasPrefix(rest, "engine.") || strings.HasPrefix(rest, "triggers.") || strings.HasPrefix(rest, "authmod"))
		if !library {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return "unknown place"
		}
	}
}

// validName says whether a name of a collection, an index or a half of a function's name is well-formed.
func validName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '_' && (r < '0' || r > '9')) {
			return false
		}
	}
	return true
}
