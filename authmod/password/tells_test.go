package password_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

// told is all that a stranger can find out by a call: its answer, byte for byte, and the work that it takes, by which its time
// is decided. Work that follows in jobs is counted as well, since a server that is busy with it is slower to answer.
type told struct {
	answer string
	work   work
}

type work struct {
	hashed, verified              int64
	queries, mutations, actions   uint64 // runs
	committed, rows               uint64
	jobsSucceeded, jobsFailed     uint64
	retries, jobsRetried, refused uint64
}

func (a *app) worked(c *counting) work {
	m := a.db.Metrics()
	return work{
		hashed: c.hashed.Load(), verified: c.verified.Load(),
		queries: m.Queries.Time.Count, mutations: m.Mutations.Time.Count, actions: m.Actions.Time.Count,
		committed: m.Committed, rows: m.Rows,
		jobsSucceeded: m.Jobs.Succeeded, jobsFailed: m.Jobs.Failed,
		retries: m.Retries, jobsRetried: m.Jobs.Retried, refused: m.Busy,
	}
}

func (w work) minus(v work) work {
	return work{
		w.hashed - v.hashed, w.verified - v.verified,
		w.queries - v.queries, w.mutations - v.mutations, w.actions - v.actions,
		w.committed - v.committed, w.rows - v.rows,
		w.jobsSucceeded - v.jobsSucceeded, w.jobsFailed - v.jobsFailed,
		w.retries - v.retries, w.jobsRetried - v.jobsRetried, w.refused - v.refused,
	}
}

var stranger = netip.MustParseAddr("192.0.2.66")

// tell makes a call as a stranger, and waits until all that follows from it is done. It runs in a bubble.
func (a *app) tell(c *counting, params map[string]string) told {
	a.t.Helper()
	args, err := json.Marshal(map[string]any{"provider": "password", "params": params})
	if err != nil {
		a.t.Fatal(err)
	}
	a.advance(time.Millisecond) // no two calls are at the same time
	synctest.Wait()
	before := a.worked(c)
	res, err := a.db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: args, Remote: stranger})
	answer := string(res.Value)
	if err != nil {
		var e *engine.Error
		if !errors.As(err, &e) {
			a.t.Fatalf("%T %v", err, err)
		}
		answer = encoded(a.t, e)
	}
	if len(res.Log) > 0 {
		answer += fmt.Sprintf(" and logged %q", res.Log)
	}
	synctest.Wait()
	return told{answer, a.worked(c).minus(before)}
}

// tellTale is a call that is made about several addresses.
type tellTale struct {
	name    string
	options password.Options
	params  map[string]string   // of the call, without the address
	before  []map[string]string // calls of the same stranger before that
	after   time.Duration       // how long after them
	answer  string              // what the answer begins with
	anyRows bool                // how many rows are written may differ, in one commit
}

func repeated(n int, params map[string]string) (out []map[string]string) {
	for range n {
		out = append(out, params)
	}
	return out
}

// mailing are options with something to send mail with.
func mailing(o password.Options) password.Options {
	o.Send = func(context.Context, authmod.Message) error { return nil }
	return o
}

// Of whom there is an account and of whom there is none is not told, neither by an answer nor by the work behind it.
func TestNoTells(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{"flow": "signIn", "password": "wrong " + secret}
	reset := map[string]string{"flow": "reset"}
	set := map[string]string{"flow": "reset-verification", "code": "no such code", "newPassword": "wrong " + secret}
	signUp := map[string]string{"flow": "signUp", "password": "wrong " + secret}
	other := map[string]string{"flow": "signUp", "password": "another " + secret}
	guess := map[string]string{"flow": "signIn", "password": "guessed " + secret}
	prove := map[string]string{"flow": "email-verification", "code": "no such code"}
	for _, c := range []tellTale{
		{name: "signIn", params: wrong, answer: `{"code":"unauthenticated"`},
		{
			name: "signIn, the last attempt", params: wrong, answer: `{"code":"unauthenticated"`,
			options: password.Options{MaxFailures: 3}, before: []map[string]string{wrong, wrong},
		},
		{
			name: "signIn, too often", params: wrong, answer: `{"code":"busy","message":"too many attempts; try again later","data":{"retryAfter":1200}`,
			options: password.Options{MaxFailures: 3}, before: []map[string]string{wrong, wrong, wrong},
		},
		{
			name: "signIn, malformed", params: map[string]string{"flow": "signIn", "password": strings.Repeat("x", 2000)},
			answer: `{"code":"invalid"`,
		},
		{
			name: "signIn, not verified", params: wrong, answer: `{"code":"unauthenticated"`,
			options: mailing(password.Options{Verify: true}),
		},
		{
			name: "reset", params: reset, answer: `{"started":true}`,
			options: mailing(password.Options{}),
		},
		{
			name: "reset, too often", params: reset, answer: `{"code":"busy","message":"too many attempts; try again later","data":{"retryAfter":720}`,
			options: mailing(password.Options{}), before: repeated(5, reset),
		},
		{
			name: "reset-verification, out of the blue", params: set, answer: `{"code":"invalid"`,
			options: mailing(password.Options{}),
		},
		{
			name: "reset-verification, wrong code", params: set, answer: `{"code":"invalid"`,
			options: mailing(password.Options{}), before: []map[string]string{reset},
		},
		{
			name: "reset-verification, code worn out", params: set, answer: `{"code":"invalid"`,
			options: mailing(password.Options{}), before: append(repeated(1, reset), repeated(5, set)...),
		},
		{
			name: "reset-verification, too often", params: set, answer: `{"code":"busy"`,
			options: mailing(password.Options{}), before: repeated(20, set),
		},
		{
			name: "signUp to verify", params: signUp, answer: `{"started":true}`, anyRows: true,
			options: mailing(password.Options{Verify: true}),
		},
		{
			name: "signUp to verify, too often", params: signUp, answer: `{"code":"busy"`,
			options: mailing(password.Options{Verify: true}), before: repeated(5, signUp),
		},
		{
			name: "email-verification, wrong code", params: prove, answer: `{"code":"invalid"`,
			options: mailing(password.Options{Verify: true}), before: []map[string]string{signUp},
		},
		{
			name: "email-verification, code worn out", params: prove, answer: `{"code":"invalid"`,
			options: mailing(password.Options{Verify: true}), before: append(repeated(1, signUp), repeated(5, prove)...),
		},
		{
			name: "signIn, after a sign-up of one's own", params: wrong, answer: `{"started":true}`,
			options: mailing(password.Options{Verify: true}), before: []map[string]string{signUp},
		},
		{
			name: "signIn, after a sign-up of one's own, again and again", params: wrong, answer: `{"code":"busy"`,
			options: mailing(password.Options{Verify: true}), before: append(repeated(1, signUp), repeated(4, wrong)...),
		},
		{
			name: "signIn, after sign-ups of one's own", params: wrong, answer: `{"code":"unauthenticated"`,
			options: mailing(password.Options{Verify: true}), before: []map[string]string{signUp, other},
		},
		{
			name: "signIn, after a sign-up of one's own and another password", params: wrong, answer: `{"code":"unauthenticated"`,
			options: mailing(password.Options{Verify: true}), before: []map[string]string{other, prove},
		},
		{
			// One's own password in between gives no more guesses at that of the account.
			name: "signIn, guesses and one's own", params: guess, answer: `{"code":"busy","message":"too many attempts; try again later"`,
			options: mailing(password.Options{Verify: true, MaxFailures: 3}), before: []map[string]string{signUp, guess, guess, wrong, guess},
		},
		{
			name: "signIn, hours after a sign-up of one's own", params: wrong, answer: `{"started":true}`,
			options: mailing(password.Options{Verify: true}), before: []map[string]string{signUp}, after: 24 * time.Hour,
		},
		{
			name: "signIn, a day after a sign-up of one's own", params: wrong, answer: `{"code":"unauthenticated"`,
			options: mailing(password.Options{Verify: true}), before: []map[string]string{signUp}, after: 25 * time.Hour,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { compareTells(t, c) })
		})
	}
}

func compareTells(t *testing.T, c tellTale) {
	crypto := &counting{Crypto: cheap}
	c.options.Crypto = crypto
	var codes sync.Map // by address
	if c.options.Send != nil {
		c.options.Send = func(_ context.Context, m authmod.Message) error {
			codes.Store(m.To, m.Code)
			return nil
		}
	}
	a := setup(t, c.options)
	// Nobody, somebody who has signed in before, somebody who has only signed up, and somebody who is gone.
	who := []string{"nobody@example.com", "ada@example.com", "bob@example.com", "gone@example.com"}
	for _, email := range who[1:] {
		a.must("signUp", email, secret)
		if c.options.Verify && email != "bob@example.com" {
			synctest.Wait()
			code, _ := codes.Load(email)
			a.verify(email, fmt.Sprint(code))
		}
	}
	if !c.options.Verify {
		a.must("signIn", "ada@example.com", secret)
	} else { // makes the decoy
		a.call("signIn", "somebody@example.com", secret)
	}
	a.delete("gone@example.com")
	// Their own doings are forgotten, and crons have run.
	a.advance(2 * time.Hour)
	time.Sleep(2 * time.Hour)

	var first told
	for i, email := range who {
		at := func(params map[string]string) map[string]string {
			p := map[string]string{"email": email}
			for k, v := range params {
				p[k] = v
			}
			return p
		}
		for _, p := range c.before {
			a.tell(crypto, at(p))
		}
		a.advance(c.after)
		time.Sleep(c.after)
		got := a.tell(crypto, at(c.params))
		got.answer = strings.ReplaceAll(got.answer, email, "…")
		if i == 0 {
			first = got
			if !strings.HasPrefix(got.answer, c.answer) {
				t.Errorf("the answer is %s, want %s…", got.answer, c.answer)
			}
		}
		if c.anyRows {
			got.work.rows = first.work.rows
		}
		if got != first {
			t.Errorf("about %s:\n%+v\nabout %s:\n%+v", email, got, who[0], first)
		}
	}
}

// verify proves an address.
func (a *app) verify(email, code string) {
	a.t.Helper()
	args, err := json.Marshal(map[string]any{
		"provider": "password", "params": map[string]string{"flow": "email-verification", "email": email, "code": code},
	})
	if err == nil {
		_, err = a.db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: args})
	}
	if err != nil {
		a.t.Fatalf("verifying %s: %v", email, err)
	}
}

// delete removes a user.
func (a *app) delete(email string) {
	a.t.Helper()
	err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
		for u, err := range a.users.All(tx).Docs() {
			if err != nil {
				return err
			}
			if u.Value.Email == email {
				return a.users.Delete(tx, u.ID)
			}
		}
		return errors.New("there is no such user")
	})
	if err != nil {
		a.t.Fatal(err)
	}
}
