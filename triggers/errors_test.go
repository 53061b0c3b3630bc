package triggers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

// failing is a database in which each new user gets a room, whose trigger ends as the test says.
type failing struct {
	db    *engine.DB
	users *engine.Collection[user]
	rooms *engine.Collection[room]
	id    engine.ID[room]
}

func newFailing(t *testing.T, end func(tx *engine.Tx) error, options ...func(*engine.Options)) *failing {
	t.Helper()
	s := engine.NewSchema()
	f := &failing{users: engine.Define[user](s, "users"), rooms: engine.Define[room](s, "rooms")}
	triggers.OnCreate(f.users, "enroll", func(tx *engine.Tx, _ *engine.Doc[user]) error {
		var err error
		f.id, err = f.rooms.Insert(tx, room{Name: "r"})
		return err
	})
	triggers.OnCreate(f.rooms, "end", func(tx *engine.Tx, _ *engine.Doc[room]) error { return end(tx) })
	f.db = enginetest.Open(t, s, options...)
	return f
}

func (f *failing) signUp(ctx context.Context) error {
	return f.db.Update(ctx, func(tx *engine.Tx) error {
		_, err := f.users.Insert(tx, user{Name: "bob"})
		return err
	})
}

func TestErrorOfATrigger(t *testing.T) {
	t.Parallel()
	f := newFailing(t, func(*engine.Tx) error { return fmt.Errorf("reading the course: %w", io.ErrUnexpectedEOF) })
	err := f.signUp(t.Context())
	var e *triggers.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	if e.Trigger != "rooms.OnCreate(end)" || e.Document != string(f.id) || !slices.Equal(e.Chain, []string{"users.OnCreate(enroll)", "rooms.OnCreate(end)"}) {
		t.Errorf("it names trigger %s, document %s (want %s), chain %q", e.Trigger, e.Document, f.id, e.Chain)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("it does not wrap the trigger's error")
	}
	if want := "triggers: users.OnCreate(enroll) → rooms.OnCreate(end): reading the course: unexpected EOF"; err.Error() != want {
		t.Errorf("it says %q, want %q", err, want)
	}
	var coded *engine.Error
	if errors.As(err, &coded) {
		t.Errorf("it is meant for clients: %v", coded)
	}
}

func TestCodedErrorOfATrigger(t *testing.T) {
	t.Parallel()
	f := newFailing(t, func(*engine.Tx) error {
		return engine.Errorf("course_full", "the course is full").With(map[string]int{"seats": 3})
	})
	var coded *engine.Error
	if err := f.signUp(t.Context()); !errors.As(err, &coded) {
		t.Fatalf("not meant for clients: %v", err)
	}
	if data, ok := coded.Data.(map[string]int); coded.Code != "course_full" || coded.Message != "the course is full" || !ok || data["seats"] != 3 {
		t.Errorf("code %s, message %q, data %v", coded.Code, coded.Message, coded.Data)
	}
}

func TestPanicOfATrigger(t *testing.T) {
	t.Parallel()
	f := newFailing(t, func(*engine.Tx) error { panic(io.ErrClosedPipe) })
	err := f.signUp(t.Context())
	var e *triggers.Error
	var p *engine.PanicError
	if !errors.As(err, &e) || !errors.As(err, &p) {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	if e.Trigger != "rooms.OnCreate(end)" || p.Value != io.ErrClosedPipe {
		t.Errorf("trigger %s, value %v", e.Trigger, p.Value)
	}
	if !strings.Contains(string(p.Stack), "TestPanicOfATrigger") {
		t.Errorf("the stack does not show where it was:\n%s", p.Stack)
	}
}

// TestLimitNamesTheChain checks the forms in which the error of a limit can be had: the limit itself, the chain, and the
// coded error that a client gets, which names the chain as well.
func TestLimitNamesTheChain(t *testing.T) {
	t.Parallel()
	f := newFailing(t, func(*engine.Tx) error { return nil }, func(o *engine.Options) { o.Limits.CascadeDepth = 1 })
	err := f.signUp(t.Context())
	var e *triggers.Error
	var limit *engine.LimitError
	var coded *engine.Error
	if !errors.As(err, &e) || !errors.As(err, &limit) || !errors.As(err, &coded) {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	if limit.Limit != "CascadeDepth" || limit.Max != 1 {
		t.Errorf("limit %s of %d", limit.Limit, limit.Max)
	}
	if coded.Code != engine.CodeTooLarge || !strings.Contains(coded.Message, "users.OnCreate(enroll) → rooms.OnCreate(end)") {
		t.Errorf("code %s, message %q", coded.Code, coded.Message)
	}
	if !errors.Is(coded, limit) {
		t.Error("the coded error does not wrap the limit")
	}
}

// TestLongChainIsShortened keeps the message of an error readable; the chain itself is whole.
func TestLongChainIsShortened(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	users := engine.Define[user](s, "users")
	triggers.OnUpdate(users, "first", func(tx *engine.Tx, _, u *engine.Doc[user]) error {
		return users.Patch(tx, u.ID, func(v *user) error { v.N = (v.N + 1) % 100; return nil })
	})
	db := enginetest.Open(t, s, func(o *engine.Options) { o.Limits.CascadeDepth = 500 })
	err := db.Update(t.Context(), func(tx *engine.Tx) error {
		id, err := users.Insert(tx, user{Name: "bob"})
		if err != nil {
			return err
		}
		return users.Patch(tx, id, func(v *user) error { v.N = 1; return nil })
	})
	var e *triggers.Error
	if !errors.As(err, &e) || len(e.Chain) != 501 {
		t.Fatalf("a chain of %d names: %v", len(e.Chain), err)
	}
	if text := err.Error(); !strings.Contains(text, " → … 461 more … → ") || strings.Count(text, "users.OnUpdate(first)") != 40 {
		t.Errorf("it says %q", text)
	}
}

// TestEndOfTheCall ends the caller's context inside a trigger: the triggers that wait do not run any more.
func TestEndOfTheCall(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := engine.NewSchema()
	users := engine.Define[user](s, "users")
	triggers.OnCreate(users, "cancel", func(*engine.Tx, *engine.Doc[user]) error { cancel(); return nil })
	triggers.OnCreate(users, "never", func(*engine.Tx, *engine.Doc[user]) error {
		t.Error("ran after the end of the call")
		return nil
	})
	db := enginetest.Open(t, s)
	err := db.Update(ctx, func(tx *engine.Tx) error {
		_, err := users.Insert(tx, user{Name: "bob"})
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update returned %v", err)
	}
	if err := db.View(t.Context(), func(tx *engine.ReadTx) error {
		n, err := users.All(tx).Count()
		if n != 0 {
			t.Errorf("%d users are left", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
