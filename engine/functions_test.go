package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

type greetArgs struct {
	Name  string `json:"name" jsonschema:"minLength=1,maxLength=10"`
	Times int    `json:"times,omitempty"`
}

type greeting struct {
	Text string `json:"text"`
}

// greeter is a schema of functions of every kind.
type greeter struct {
	*counters
	hello    engine.QueryRef[greetArgs, greeting]
	count    engine.MutationRef[addArgs, addResult]
	twice    engine.ActionRef[addArgs, []int]
	internal engine.QueryRef[greetArgs, greeting]
}

func newGreeter() *greeter {
	g := &greeter{counters: newCounters()}
	s := g.schema
	greet := func(r *engine.ReadTx, a greetArgs) (greeting, error) {
		r.Log("greeting %s", a.Name)
		switch a.Name {
		case "coded":
			return greeting{}, engine.Errorf("rude", "no greeting for you: %w", engine.ErrNotFound).With(map[string]int{"n": 1})
		case "secret":
			return greeting{}, errors.New("password is hunter2")
		case "panic":
			panic("at the disco")
		case "goexit":
			runtime.Goexit()
		}
		return greeting{"hello " + a.Name}, nil
	}
	g.hello = engine.Query(s, "greet:hello", greet)
	g.internal = engine.Query(s, "greet:internal", greet, engine.Internal())
	g.count = engine.Mutation(s, "greet/deep:count", func(tx *engine.Tx, a addArgs) (addResult, error) {
		id, err := tx.Identity()
		if err != nil {
			return addResult{}, err
		}
		name := a.Name
		if id != nil {
			name += "-" + id.User
		}
		return addResult{Echo: name}, g.increment(tx, name)
	})
	g.twice = engine.Action(s, "greet:twice", func(c *engine.ActionCtx, a addArgs) ([]int, error) {
		c.Log("acting")
		var out []int
		for range 2 {
			if _, err := g.count.Run(c, a); err != nil {
				return nil, err
			}
			h, err := g.internal.Run(c, greetArgs{Name: "me"})
			if err != nil {
				return nil, err
			}
			out = append(out, len(h.Text))
		}
		return out, nil
	})
	engine.Action(s, "greet:signIn", func(c *engine.ActionCtx, a addArgs) (string, error) {
		c.SetPrincipal(someone(a.Name))
		r, err := g.count.Run(c, addArgs{Name: "as"})
		return r.Echo, err
	})
	engine.Action(s, "greet:fail", func(c *engine.ActionCtx, a greetArgs) (greeting, error) {
		c.Log("about to fail")
		c.SetPrincipal(someone("nobody"))
		return g.hello.Run(c, a)
	})
	return g
}

func query(t testing.TB, db *engine.DB, name string, args any) (*engine.Result, error) {
	t.Helper()
	return db.RunQuery(context.Background(), engine.Call{Function: name, Args: encode(t, args)})
}

func TestQuery(t *testing.T) {
	t.Parallel()
	db := enginetest.Open(t, newGreeter().schema)
	r, err := query(t, db, "greet:hello", greetArgs{Name: "ann"})
	if err != nil || string(r.Value) != `{"text":"hello ann"}` || r.Timestamp != db.Published() || len(r.Log) != 1 {
		t.Errorf("got %s at %d with %q (%v)", r.Value, r.Timestamp, r.Log, err)
	}
	if r, err = db.Run(context.Background(), engine.Call{Function: "greet:hello", Args: json.RawMessage(`{"name":"bob"}`)}); err != nil || string(r.Value) != `{"text":"hello bob"}` {
		t.Errorf("Run: %s (%v)", r.Value, err)
	}
}

func TestArgumentsAreValidated(t *testing.T) {
	t.Parallel()
	db := enginetest.Open(t, newGreeter().schema)
	for args, want := range map[string]string{
		`{}`:                         "name/required",
		``:                           "name/required",
		`null`:                       "/type",
		`[]`:                         "/type",
		`{"name":"a","name":"b"}`:    "",
		`{"name":""}`:                "name/minLength",
		`{"name":"a","extra":1}`:     "extra/",
		`{"name":7}`:                 "name/type",
		`{"name":"a","times":1.5}`:   "times/",
		`{"name":"a","times":1e300}`: "times/",
		`{"name":"a"`:                "/json",
		`{"name":"a"} trailing`:      "/json",
	} {
		r, err := db.RunQuery(context.Background(), engine.Call{Function: "greet:hello", Args: json.RawMessage(args)})
		var e *engine.Error
		if !errors.As(err, &e) || e.Code != engine.CodeInvalid || r.Value != nil {
			t.Errorf("%s: %v, want an error of code invalid", args, err)
			continue
		}
		if len(e.Issues) == 0 || want != "" && !strings.HasPrefix(e.Issues[0].Path+"/"+e.Issues[0].Rule, want) {
			t.Errorf("%s: issues %+v, want %s", args, e.Issues, want)
		}
	}
	if r, err := db.RunQuery(context.Background(), engine.Call{Function: "greet:hello", Args: json.RawMessage(`{"name":"a","times":3.0}`)}); err != nil {
		t.Errorf("an integral number in another spelling: %v, %s", err, r.Value)
	}
}

func TestErrorsInTheirPublicForm(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	quiet := func(o *engine.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	db := enginetest.Open(t, newGreeter().schema, quiet)
	r, err := query(t, db, "greet:hello", greetArgs{Name: "coded"})
	var e *engine.Error
	if !errors.As(err, &e) || e.Code != "rude" || e.Data == nil || !errors.Is(err, engine.ErrNotFound) || !strings.HasPrefix(e.Message, "no greeting") {
		t.Errorf("a coded error came out as %#v", err)
	}
	if len(r.Log) != 1 || r.Value != nil || r.Timestamp != 0 {
		t.Errorf("the result of a failed call is %+v, want its log alone", r)
	}
	if log.String() != "" {
		t.Errorf("an error meant for the client was logged: %s", log.String())
	}
	for name, hidden := range map[string]string{"secret": "hunter2", "panic": "disco"} {
		_, err = query(t, db, "greet:hello", greetArgs{Name: name})
		if !errors.As(err, &e) || e.Code != engine.CodeInternal || strings.Contains(e.Message, hidden) {
			t.Errorf("%s: came out as %v", name, err)
			continue
		}
		id := e.Message[strings.LastIndex(e.Message, " ")+1:]
		if !strings.Contains(log.String(), id) || !strings.Contains(log.String(), hidden) {
			t.Errorf("%s: the log has no line for %q: %s", name, id, log.String())
		}
	}
	if !strings.Contains(log.String(), "functions_test.go") {
		t.Error("the panic's stack is not in the log")
	}
	if _, err = query(t, db, "greet:hello", greetArgs{Name: "goexit"}); !errors.Is(err, &engine.Error{Code: engine.CodeInternal}) {
		t.Errorf("a function that ended its goroutine: %v", err)
	}
	dev := enginetest.Open(t, newGreeter().schema, quiet, func(o *engine.Options) { o.Development = true })
	if _, err = query(t, dev, "greet:hello", greetArgs{Name: "secret"}); err == nil || !strings.Contains(err.Error(), "hunter2") {
		t.Errorf("in development: %v, want the error's text", err)
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestWhatMayBeCalled(t *testing.T) {
	t.Parallel()
	db := enginetest.Open(t, newGreeter().schema)
	ctx := context.Background()
	args := json.RawMessage(`{"name":"a"}`)
	_, unknown := db.RunQuery(ctx, engine.Call{Function: "greet:unknown", Args: args})
	_, hidden := db.RunQuery(ctx, engine.Call{Function: "greet:internal", Args: args})
	for _, err := range []error{unknown, hidden} {
		if !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("got %v, want not found", err)
		}
	}
	if strings.ReplaceAll(hidden.Error(), "internal", "unknown") != unknown.Error() {
		t.Errorf("%q and %q tell an internal function from one that does not exist", hidden, unknown)
	}
	if _, err := db.RunQuery(ctx, engine.Call{Function: "greet:internal", Args: args, Internal: true}); err != nil {
		t.Error(err)
	}
	if _, err := db.RunMutation(ctx, engine.Call{Function: "greet:hello", Args: args}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a query called as a mutation: %v", err)
	}
	if _, err := db.RunAction(ctx, engine.Call{Function: "tally:add", Args: args}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a mutation called as an action: %v", err)
	}
}

func TestAction(t *testing.T) {
	t.Parallel()
	g := newGreeter()
	db := enginetest.Open(t, g.schema)
	r, err := db.Run(context.Background(), engine.Call{Function: "greet:twice", Args: json.RawMessage(`{"name":"x"}`), Principal: someone("ann")})
	if err != nil || string(r.Value) != "[8,8]" || len(r.Log) != 1 || r.PrincipalSet {
		t.Errorf("got %+v (%v)", r, err)
	}
	if n := g.value(t, db, "x-ann"); n != 2 {
		t.Errorf("its mutations ran %d times as its caller, want 2", n)
	}
}

func TestActionThatChangesItsPrincipal(t *testing.T) {
	t.Parallel()
	g := newGreeter()
	db := enginetest.Open(t, g.schema)
	r, err := db.RunAction(context.Background(), engine.Call{Function: "greet:signIn", Args: json.RawMessage(`{"name":"bob"}`)})
	if err != nil || string(r.Value) != `"as-bob"` || !r.PrincipalSet || r.Principal != someone("bob") {
		t.Errorf("got %+v (%v)", r, err)
	}
	// One that fails changes nothing, and an error of what it called reaches its caller as it is.
	r, err = db.RunAction(context.Background(), engine.Call{Function: "greet:fail", Args: json.RawMessage(`{"name":"coded"}`)})
	if !errors.Is(err, &engine.Error{Code: "rude"}) || r.PrincipalSet || r.Principal != nil || len(r.Log) != 1 {
		t.Errorf("got %+v (%v)", r, err)
	}
}

func TestInsideAFunction(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema)
	view(t, db, func(r *engine.ReadTx) error {
		ctx := r.Context()
		if err := db.View(ctx, func(*engine.ReadTx) error { return nil }); !errors.Is(err, engine.ErrInsideFunction) {
			t.Errorf("View: %v", err)
		}
		if err := db.Update(ctx, func(*engine.Tx) error { return nil }); !errors.Is(err, engine.ErrInsideFunction) {
			t.Errorf("Update: %v", err)
		}
		for _, run := range []func(context.Context, engine.Call) (*engine.Result, error){db.Run, db.RunQuery, db.RunMutation, db.RunAction} {
			if _, err := run(ctx, engine.Call{Function: "tally:add"}); !errors.Is(err, engine.ErrInsideFunction) {
				t.Errorf("Run: %v", err)
			}
		}
		if _, err := db.Evaluate(ctx, db.Published(), engine.Call{Function: "tally:get"}); !errors.Is(err, engine.ErrInsideFunction) {
			t.Errorf("Evaluate: %v", err)
		}
		return nil
	})
}

func TestAfterTheFunctionHasReturned(t *testing.T) {
	t.Parallel()
	b := newBank()
	db := enginetest.Open(t, b.schema)
	id := b.open(t, db, "ann", 1)
	var leaked *engine.Tx
	update(t, db, func(tx *engine.Tx) error { leaked = tx; return nil })
	for name, err := range map[string]error{
		"get":    second(b.accounts.Get(leaked, id)),
		"scan":   second(b.balance.Scan(leaked).Collect()),
		"insert": second(b.accounts.Insert(leaked, account{Owner: "late"})),
		"patch":  b.accounts.Patch(leaked, id, func(*account) error { return nil }),
		"delete": b.accounts.Delete(leaked, id),
		"nested": leaked.Nested(func(*engine.Tx) error { return nil }),
		"who":    second(leaked.Identity()),
	} {
		if !errors.Is(err, engine.ErrDead) {
			t.Errorf("%s: %v, want ErrDead", name, err)
		}
	}
	if leaked.Context().Err() == nil {
		t.Error("the function's context has not ended")
	}
}

func second[T any](_ T, err error) error { return err }

func TestAfterClose(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db, err := engine.Open(c.schema, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	_, wait := db.StartMutation(ctx, engine.Call{Function: "tally:add"})
	for name, err := range map[string]error{
		"view":     db.View(ctx, func(*engine.ReadTx) error { return nil }),
		"update":   db.Update(ctx, func(*engine.Tx) error { return nil }),
		"run":      second(db.Run(ctx, engine.Call{Function: "tally:get"})),
		"evaluate": second(db.Evaluate(ctx, db.Published(), engine.Call{Function: "tally:get"})),
		"identity": second(db.EvaluateIdentity(ctx, db.Published(), nil)),
		"start":    second(wait()),
		"check":    db.Check(ctx),
	} {
		if !errors.Is(err, engine.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}

func TestNowAndRandStandStill(t *testing.T) {
	t.Parallel()
	c := newCounters()
	now := fixedClock()
	db := enginetest.Open(t, c.schema, func(o *engine.Options) { o.Clock = fixedClock })
	var seen []uint64
	for range 2 {
		view(t, db, func(r *engine.ReadTx) error {
			if !r.Now().Equal(now) || !r.Now().Equal(r.Now()) {
				t.Errorf("now is %v, want %v", r.Now(), now)
			}
			a, b := r.Rand().Uint64(), r.Rand().Uint64()
			if a == b {
				t.Error("the same number twice in one run")
			}
			seen = append(seen, a)
			return nil
		})
	}
	if seen[0] == seen[1] {
		t.Error("two runs got the same numbers")
	}
}

func TestLocalsOfARun(t *testing.T) {
	t.Parallel()
	c := newCounters()
	db := enginetest.Open(t, c.schema)
	type key struct{}
	for range 2 {
		update(t, db, func(tx *engine.Tx) error {
			if tx.Local(key{}) != nil {
				t.Error("another run's value")
			}
			tx.SetLocal(key{}, 1)
			if tx.ReadOnly().Local(key{}) != 1 {
				t.Error("the value is gone")
			}
			return nil
		})
	}
}

func TestFunctionsAreDescribed(t *testing.T) {
	t.Parallel()
	db := enginetest.Open(t, newGreeter().schema)
	var names []string
	for _, f := range db.Functions() {
		names = append(names, fmt.Sprintf("%s %s %v", f.Kind, f.Name, f.Internal))
		if !json.Valid(f.Args) || !json.Valid(f.Result) {
			t.Errorf("%s: schemas %s and %s", f.Name, f.Args, f.Result)
		}
	}
	want := "mutation greet/deep:count false,action greet:fail false,query greet:hello false,query greet:internal true,action greet:signIn false," +
		"action greet:twice false,mutation tally:add false,query tally:get false,mutation tally:other false"
	if got := strings.Join(names, ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if f, ok := db.Lookup("greet:hello"); !ok || f.Kind != engine.KindQuery || !strings.Contains(string(f.Args), "maxLength") {
		t.Errorf("lookup: %+v, %v", f, ok)
	}
	if _, ok := db.Lookup("no:such"); ok {
		t.Error("found a function that does not exist")
	}
}

func TestErrorf(t *testing.T) {
	t.Parallel()
	one, two := errors.New("one"), errors.New("two")
	err := engine.Errorf("mine", "both %w and %w", one, two)
	if !errors.Is(err, one) || !errors.Is(err, two) || err.Error() != "both one and two" {
		t.Errorf("%v does not carry its causes", err)
	}
	wrapped := fmt.Errorf("around: %w", err.With(1).WithIssues(engine.Issue{Path: "a", Rule: "r", Message: "m"}, engine.Issue{}))
	if !errors.Is(wrapped, &engine.Error{Code: "mine"}) || errors.Is(wrapped, &engine.Error{Code: "other"}) {
		t.Error("not matched by its code")
	}
	if err.Data != nil || err.Issues != nil {
		t.Error("With changed the original")
	}
	if !strings.Contains(wrapped.Error(), "a: m (and 1 more)") {
		t.Errorf("text %q", wrapped)
	}
}

// An Identity is resolved in the function's own snapshot, once.
func TestIdentity(t *testing.T) {
	t.Parallel()
	g := newGreeter()
	db := enginetest.Open(t, g.schema)
	calls := 0
	p := principal{key: "k", resolve: func(r engine.Reader) (*engine.Identity, error) {
		calls++
		d, err := g.byName.One(r, "session")
		if errors.Is(err, engine.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &engine.Identity{User: d.Value.Name}, nil
	}}
	run := func() string {
		r, err := db.RunMutation(context.Background(), engine.Call{Function: "greet/deep:count", Args: json.RawMessage(`{"name":"n"}`), Principal: p})
		if err != nil {
			t.Fatal(err)
		}
		var out addResult
		if err := json.Unmarshal(r.Value, &out); err != nil {
			t.Fatal(err)
		}
		return out.Echo
	}
	if got := run(); got != "n" {
		t.Errorf("ran as %s, want nobody", got)
	}
	if err := g.add(context.Background(), db, "session"); err != nil {
		t.Fatal(err)
	}
	if got := run(); got != "n-session" || calls != 2 {
		t.Errorf("ran as %s after %d resolves", got, calls)
	}
}

type principal struct {
	key     string
	resolve func(engine.Reader) (*engine.Identity, error)
}

func (p principal) Key() string                                       { return p.key }
func (p principal) Resolve(r engine.Reader) (*engine.Identity, error) { return p.resolve(r) }

// Close does not wait for ever for an action that does not heed its context; the action cannot use the database any more.
func TestCloseLeavesActionsBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := engine.NewSchema()
		stuck, tried := make(chan struct{}), make(chan error, 1)
		engine.Action(s, "test:stuck", func(c *engine.ActionCtx, _ struct{}) (struct{}, error) {
			<-stuck
			tried <- c.DB().View(context.Background(), func(*engine.ReadTx) error { return nil })
			return struct{}{}, nil
		})
		db := enginetest.Open(t, s)
		answered := make(chan error, 1)
		go func() {
			_, err := db.RunAction(context.Background(), engine.Call{Function: "test:stuck"})
			answered <- err
		}()
		synctest.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := <-answered; err == nil {
			t.Error("the action was answered as if it had ended")
		}
		if n := db.Abandoned(); n != 1 {
			t.Errorf("%d functions are left behind, want 1", n)
		}
		close(stuck)
		if err := <-tried; !errors.Is(err, engine.ErrClosed) {
			t.Errorf("using the database afterwards: %v, want ErrClosed", err)
		}
	})
}
