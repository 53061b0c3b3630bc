package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// Kind is a kind of function.
type Kind uint8

// The kinds of function.
const (
	KindQuery Kind = iota + 1
	KindMutation
	KindAction
)

// String returns "query", "mutation" or "action".
func (k Kind) String() string {
	switch k {
	case KindQuery:
		return "query"
	case KindMutation:
		return "mutation"
	case KindAction:
		return "action"
	}
	return "unknown"
}

func (k Kind) article() string {
	if k == KindAction {
		return "an action"
	}
	return "a " + k.String()
}

// Option is a rare choice about one function.
type Option func(*function)

// Internal makes a function unreachable from outside: only the program itself may call it.
func Internal() Option { return func(f *function) { f.internal = true } }

// Ref names a registered function of any kind.
type Ref interface{ Name() string }

// QueryRef, MutationRef and ActionRef are handles of registered functions.
type (
	QueryRef[A, R any]    struct{ f *function }
	MutationRef[A, R any] struct{ f *function }
	ActionRef[A, R any]   struct{ f *function }
)

// Name returns "module:function".
func (q QueryRef[A, R]) Name() string { return q.f.name }

// Name returns "module:function".
func (m MutationRef[A, R]) Name() string { return m.f.name }

// Name returns "module:function".
func (a ActionRef[A, R]) Name() string { return a.f.name }

// Query registers a function that reads. A is a struct, its arguments; R its result. It must be deterministic but for
// ReadTx.Now and ReadTx.Rand, since it is run again whenever what it read changes.
func Query[A, R any](s *Schema, name string, fn func(*ReadTx, A) (R, error), o ...Option) QueryRef[A, R] {
	return QueryRef[A, R]{s.addFunction(name, KindQuery, reflect.TypeFor[A](), reflect.TypeFor[R](), func(f *function) {
		f.run = func(r any, args []byte) ([]byte, error) {
			return invoke(f, args, func(a A) (R, error) { return fn(r.(*ReadTx), a) })
		}
	}, o)}
}

// Mutation registers a function that reads and writes in one strictly serializable transaction. It may run more than once
// before it commits, so it must have no side effects outside the transaction.
func Mutation[A, R any](s *Schema, name string, fn func(*Tx, A) (R, error), o ...Option) MutationRef[A, R] {
	return MutationRef[A, R]{s.addFunction(name, KindMutation, reflect.TypeFor[A](), reflect.TypeFor[R](), func(f *function) {
		f.run = func(r any, args []byte) ([]byte, error) {
			return invoke(f, args, func(a A) (R, error) { return fn(r.(*Tx), a) })
		}
	}, o)}
}

// Action registers a function that runs once, outside any transaction, and may call out. It reads and writes through
// queries and mutations, each a transaction of its own.
func Action[A, R any](s *Schema, name string, fn func(*ActionCtx, A) (R, error), o ...Option) ActionRef[A, R] {
	return ActionRef[A, R]{s.addFunction(name, KindAction, reflect.TypeFor[A](), reflect.TypeFor[R](), func(f *function) {
		f.run = func(r any, args []byte) ([]byte, error) {
			return invoke(f, args, func(a A) (R, error) { return fn(r.(*ActionCtx), a) })
		}
	}, o)}
}

// ActionCtx is what an action runs with. It is safe for concurrent use.
type ActionCtx struct {
	db     *DB
	ctx    context.Context
	call   *callState
	remote netip.Addr
}

// Context ends at the action's time limit, with the context that it was called with, and when the database closes. A server
// may let an action go on when its client has gone.
func (c *ActionCtx) Context() context.Context { return c.ctx }

// DB returns the database, for View and Update.
func (c *ActionCtx) DB() *DB { return c.db }

// Principal returns who calls, nil for nobody.
func (c *ActionCtx) Principal() Principal { return c.call.principalNow() }

// Remote returns the address that the call came from, for limits and logs: IPv4 in its 4-byte form, without a zone. It is the
// zero Addr where that is not known: in scheduled jobs, crons and calls from Go code that set no Call.Remote. It proves nothing
// about the caller.
func (c *ActionCtx) Remote() netip.Addr { return c.remote }

// SetPrincipal changes who the rest of the action runs as, and, when it succeeds, who the connection that called it is from
// then on: nil signs it out.
func (c *ActionCtx) SetPrincipal(p Principal) { c.call.setPrincipal(p) }

// Log adds a line to the call's log.
func (c *ActionCtx) Log(format string, a ...any) { c.call.logf(format, a...) }

// Run runs the query as the action's caller, at the newest published state.
func (q QueryRef[A, R]) Run(c *ActionCtx, a A) (R, error) {
	return runInner[A, R](c, q.f, a, c.db.RunQuery)
}

// Run runs the mutation as the action's caller, as a transaction of its own.
func (m MutationRef[A, R]) Run(c *ActionCtx, a A) (R, error) {
	return runInner[A, R](c, m.f, a, c.db.RunMutation)
}

func runInner[A, R any](c *ActionCtx, f *function, a A, run func(context.Context, Call) (*Result, error)) (R, error) {
	var out R
	if f.args == nil || f.result == nil {
		return out, fmt.Errorf("engine: function %s was not registered properly", f.name)
	}
	args, err := f.args.Encode(&a)
	if err != nil {
		return out, asInvalid(err, "invalid arguments")
	}
	res, err := run(c.ctx, Call{Function: f.name, Args: args, Principal: c.Principal(), Internal: true})
	if err != nil {
		return out, err
	}
	err = f.result.Decode(res.Value, &out)
	return out, err
}

// function is the core of a registered function, without type parameters.
type function struct {
	schema   *Schema
	name     string
	kind     Kind
	internal bool
	retry    *RetryPolicy // of an action; may be nil
	args     *doctype.Type
	result   *doctype.Type
	run      func(r any, args []byte) ([]byte, error)
}

// FunctionInfo describes a registered function.
type FunctionInfo struct {
	Name     string
	Kind     Kind
	Internal bool
	Args     json.RawMessage // JSON Schema
	Result   json.RawMessage // JSON Schema
}

func (s *Schema) addFunction(name string, k Kind, args, result reflect.Type, bind func(*function), o []Option) *function {
	f := &function{schema: s, name: name, kind: k}
	bind(f)
	for _, opt := range o {
		opt(f)
	}
	s.register(func() error {
		module, fn, ok := strings.Cut(name, ":")
		if !ok || !validName(fn) || !validModule(module) {
			return fmt.Errorf("%s %q: a name is module:function", k, name)
		}
		if s.functions[name] != nil {
			return fmt.Errorf("%s %q: registered twice", k, name)
		}
		if f.retry != nil && k != KindAction {
			return fmt.Errorf("%s %q: %w", k, name, errRetryKind)
		}
		if f.retry != nil {
			if err := f.retry.check(); err != nil {
				return fmt.Errorf("%s %q: %w", k, name, err)
			}
		}
		var err error
		if args.Kind() != reflect.Struct {
			return fmt.Errorf("%s %q: arguments are a struct, not %v", k, name, args)
		}
		if f.args, err = s.compile(args); err != nil {
			return fmt.Errorf("%s %q: arguments: %w", k, name, err)
		}
		if f.result, err = s.compileResult(result); err != nil {
			return fmt.Errorf("%s %q: result: %w", k, name, err)
		}
		s.functions[name] = f
		return nil
	})
	return f
}

func validModule(m string) bool {
	for part := range strings.SplitSeq(m, "/") {
		if !validName(part) {
			return false
		}
	}
	return true
}

// invoke validates and decodes the arguments, calls fn, and encodes its result.
func invoke[A, R any](f *function, args []byte, fn func(A) (R, error)) ([]byte, error) {
	if len(args) == 0 {
		args = []byte("{}")
	}
	if issues := f.args.Validate(args, doctype.ValidateOptions{}); len(issues) > 0 {
		return nil, invalid("invalid arguments for "+f.name, issues)
	}
	var a A
	if err := f.args.Decode(args, &a); err != nil {
		return nil, asInvalid(err, "invalid arguments for "+f.name)
	}
	r, err := fn(a)
	if err != nil {
		return nil, err
	}
	out, err := f.result.Encode(&r)
	if err != nil {
		return nil, fmt.Errorf("engine: result of %s: %w", f.name, err)
	}
	return out, nil
}

func invalid(what string, issues []doctype.Issue) *Error {
	e := &Error{Code: CodeInvalid, Message: what}
	for _, i := range issues {
		e.Issues = append(e.Issues, Issue(i))
	}
	return e
}

// asInvalid turns an encoding or decoding error into one of code invalid.
func asInvalid(err error, what string) error {
	var v *doctype.ValueError
	if errors.As(err, &v) {
		return invalid(what, []doctype.Issue{{Path: v.Path, Rule: v.Rule, Message: v.Message}})
	}
	return &Error{Code: CodeInvalid, Message: what + ": " + err.Error(), cause: err}
}
