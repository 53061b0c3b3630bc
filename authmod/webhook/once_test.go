package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/engine"
)

// at once runs fn n times at the same time.
func atOnce(n int, fn func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() { <-begin; fn(i) })
	}
	close(begin)
	wg.Wait()
}

// Of deliveries of one event at the same time one takes effect, and all are answered with success.
func TestDeliveredAtOnce(t *testing.T) {
	t.Parallel()
	a := setup(t)
	const n = 24
	body := clerkUser("user.created", "user_1", "ada@example.com", at(1))
	header := signed("svix", "msg_1", a.clock.now(), clerkSecret, body)
	var applied, duplicate atomic.Int32
	atOnce(n, func(int) {
		switch got := a.deliver(http.MethodPost, clerkPath, header, []byte(body)); got.String() {
		case "200 applied":
			applied.Add(1)
		case "200 duplicate":
			duplicate.Add(1)
		default:
			t.Errorf("%v %s", got, got.Message)
		}
	})
	if applied.Load() != 1 || duplicate.Load() != n-1 {
		t.Errorf("%d were applied and %d were duplicates of %d", applied.Load(), duplicate.Load(), n)
	}
	if got := a.entries(); got != "created ada@example.com" {
		t.Errorf("diary %q", got)
	}
}

// An id that comes again with another body is the first event: nothing happens, and the log says so.
func TestOneIDTwoBodies(t *testing.T) {
	t.Parallel()
	a := setup(t)
	a.expect("200 applied", "msg_1", clerkUser("user.created", "user_1", "ada@example.com", at(1)))
	a.expect("200 duplicate", "msg_1", clerkDeleted("user_1", at(2)))
	if got := a.people(); len(got) != 1 {
		t.Errorf("users %+v", got)
	}
	if !strings.Contains(a.log.String(), "came again with another body") {
		t.Error("the log does not tell")
	}
	if strings.Contains(a.log.String(), "user_1") {
		t.Error("the log has the body")
	}
	// Of another sender it is another event.
	body := encode(map[string]any{
		"type": "user.created", "timestamp": "2026-03-01T12:00:00Z", "data": Member{"m1", "m@example.com", "M"},
	})
	header := signed("webhook", "msg_1", a.clock.now(), clerkSecret, body)
	if got := a.deliver(http.MethodPost, clubPath, header, []byte(body)); got.String() != "200 applied" {
		t.Errorf("%v %s", got, got.Message)
	}
}

// What a trigger refuses has not happened, at all, and the sender is told to come again; when it does, it is done.
func TestRefusedByTrigger(t *testing.T) {
	t.Parallel()
	var refuse error
	hook := func() error {
		if refuse != nil && refuse.Error() == "panic" {
			panic("a trigger's fault")
		}
		return refuse
	}
	a := setup(t, func(s *settings) {
		s.onCreate = func(*engine.Tx, *engine.Doc[User]) error { return hook() }
		s.onUpdate = func(_ *engine.Tx, _, _ *engine.Doc[User]) error { return hook() }
		s.onDelete = func(*engine.Tx, *engine.Doc[User]) error { return hook() }
	})
	for i, event := range []string{
		clerkUser("user.created", "user_1", "ada@example.com", at(1)),
		clerkUser("user.updated", "user_1", "ada@new.example.com", at(2)),
		clerkDeleted("user_1", at(3)),
	} {
		before := fmt.Sprint(a.people(), a.entries(), a.accounts())
		for _, test := range []struct {
			err  error
			want string
		}{
			{engine.Errorf("seats_taken", "all seats are taken"), "422 seats_taken"},
			{engine.Errorf(engine.CodeForbidden, "no"), "422 forbidden"},
			{authmod.Invalid(engine.Issue{Path: "email", Rule: "domain", Message: "is not ours"}), "422 invalid"},
			{engine.Errorf(engine.CodeUnauthenticated, "no"), "422 unauthenticated"},
			{engine.Errorf(engine.CodeBusy, "later"), "503 busy"},
			{errors.New("a secret of the trigger's"), "500 internal"},
			{errors.New("panic"), "500 internal"},
			{&engine.LimitError{Limit: "WriteDocuments", Max: 1}, "422 too_large"},
			{engine.Errorf("odd", "data that cannot be sent").With(func() {}), "500 internal"},
		} {
			refuse = test.err
			got := a.clerk(fmt.Sprint("msg_", i), event)
			if got.String() != test.want || strings.Contains(got.Message, "secret") {
				t.Errorf("%v: %v %s, want %s", test.err, got, got.Message, test.want)
			}
			if (got.header.Get("Retry-After") != "") != (got.status == http.StatusServiceUnavailable) {
				t.Errorf("%v: Retry-After %q", got, got.header.Get("Retry-After"))
			}
			if got.String() == "422 invalid" && (len(got.Issues) != 1 || got.Issues[0].Path != "email") {
				t.Errorf("issues %+v", got.Issues)
			}
			if after := fmt.Sprint(a.people(), a.entries(), a.accounts()); after != before {
				t.Fatalf("%v, and now there is %s, where %s was", test.err, after, before)
			}
		}
		refuse = nil
		a.expect("200 applied", fmt.Sprint("msg_", i), event)
	}
	if got := a.entries(); got != "created ada@example.com\nupdated ada@new.example.com\ndeleted ada@new.example.com" {
		t.Errorf("diary %q", got)
	}
	for _, line := range []string{"a secret of the trigger's", "a trigger's fault", "stack=", "event=msg_0"} {
		if !strings.Contains(a.log.String(), line) {
			t.Errorf("the log does not have %q", line)
		}
	}
}

// deaf is a connection that breaks when the answer is written.
type deaf struct{ http.ResponseWriter }

func (deaf) WriteHeader(int) { panic(http.ErrAbortHandler) }

// A program that dies after the commit and before the answer has done it: what comes again is known, to the next program too.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	onDisk := func(s *settings) {
		s.open = func(o *engine.Options) { o.Store, o.Dir = nil, dir }
	}
	a := setup(t, onDisk)
	body := clerkUser("user.created", "user_1", "ada@example.com", at(1))
	header := signed("svix", "msg_1", a.clock.now(), clerkSecret, body)
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // what was thrown
				t.Errorf("the answer was not attempted: %v", p)
			}
		}()
		r := httptest.NewRequest(http.MethodPost, clerkPath, strings.NewReader(body))
		r.Header = header
		a.auth.Handler().ServeHTTP(deaf{httptest.NewRecorder()}, r)
	}()
	if err := a.db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := a.deliver(http.MethodPost, clerkPath, header, []byte(body)); got.status != http.StatusServiceUnavailable {
		t.Errorf("no database is open: %v", got)
	}
	a.db = a.open(onDisk)
	if got := a.deliver(http.MethodPost, clerkPath, header, []byte(body)); got.String() != "200 duplicate" {
		t.Errorf("%v %s, want 200 duplicate", got, got.Message)
	}
	if got := a.entries(); got != "created ada@example.com" {
		t.Errorf("diary %q", got)
	}
}

// A sender that is gone before the commit changes nothing about whether it comes.
func TestSenderGoes(t *testing.T) {
	t.Parallel()
	a := setup(t)
	body := clerkUser("user.created", "user_1", "ada@example.com", at(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, clerkPath, strings.NewReader(body))
	r.Header = signed("svix", "msg_1", a.clock.now(), clerkSecret, body)
	w := httptest.NewRecorder()
	a.auth.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := a.clerk("msg_1", body); got.status != http.StatusOK {
		t.Errorf("%v %s", got, got.Message)
	}
	if got := a.entries(); got != "created ada@example.com" {
		t.Errorf("diary %q", got)
	}
}

// Ids are forgotten when nobody sends them any more, in bounded transactions; what comes even later does no harm to users.
func TestForgetting(t *testing.T) {
	t.Parallel()
	a := setup(t, func(s *settings) {
		s.clerk.On = map[string]func(*engine.Tx, webhook.Event) error{
			"ping": func(*engine.Tx, webhook.Event) error { return nil },
		}
	})
	created := clerkUser("user.created", "user_1", "ada@example.com", at(1))
	a.expect("200 applied", "msg_1", created)
	a.expect("200 applied", "msg_2", clerkUser("user.updated", "user_1", "ada@new.example.com", at(2)))
	const many = webhook.MaxPruned + 20
	for i := range many {
		a.expect("200 applied", fmt.Sprint("ping_", i), `{"type":"ping"}`)
	}
	prune := func() (n int) {
		t.Helper()
		res, err := a.db.RunMutation(t.Context(), engine.Call{Function: webhook.FnPrune, Internal: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(res.Value, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	a.clock.advance(30*24*time.Hour - time.Minute)
	if n := prune(); n != 0 {
		t.Errorf("%d are forgotten before their time", n)
	}
	a.expect("200 duplicate", "msg_1", created)
	a.clock.advance(2 * time.Minute)
	jobs := func() (n int) {
		t.Helper()
		err := a.db.View(t.Context(), func(r *engine.ReadTx) error {
			all, err := engine.Jobs(a.db.Schema()).All(r).Collect()
			for _, j := range all {
				if j.Value.Function == webhook.FnPrune {
					n++
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := jobs()
	first := prune()
	if jobs() == before {
		t.Error("no job goes on")
	}
	if first > webhook.MaxPruned {
		t.Errorf("%d are forgotten in one transaction", first)
	}
	for n := first; n > 0; n = prune() { // the job that goes on may have been quicker
	}
	a.expect("200 stale", "msg_1", created)
	if got := a.people(); len(got) != 1 || got[0].Email != "ada@new.example.com" {
		t.Errorf("users %+v", got)
	}
	a.expect("200 applied", "ping_0", `{"type":"ping"}`)
	if n := len(a.remembered()); n != 2 {
		t.Errorf("%d ids are remembered, want 2", n)
	}
}

// remembered are the ids of events that are kept.
func (a *app) remembered() (ids []string) {
	a.t.Helper()
	var out strings.Builder
	if _, err := a.db.Export(context.Background(), "authWebhookEvents", &out); err != nil {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var d struct{ Event string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			a.t.Fatal(err)
		}
		ids = append(ids, d.Event)
	}
	return ids
}
