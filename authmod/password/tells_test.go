package password_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

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
	params  map[string]string // of the call, without the address
	before  []map[string]string
	answer  string // what the answer begins with
}

// Of whom there is an account and of whom there is none is not told, neither by an answer nor by the work behind it.
func TestNoTells(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{"flow": "signIn", "password": "wrong " + secret}
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
	a := setup(t, c.options)
	// Somebody who signs in, somebody who has not for long, somebody who is gone; and nobody.
	who := []string{"nobody@example.com", "ada@example.com", "bob@example.com", "gone@example.com"}
	for _, email := range who[1:] {
		a.must("signUp", email, secret)
	}
	a.must("signIn", "ada@example.com", secret)
	a.delete("gone@example.com")

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
		got := a.tell(crypto, at(c.params))
		got.answer = strings.ReplaceAll(got.answer, email, "…")
		if i == 0 {
			first = got
			if !strings.HasPrefix(got.answer, c.answer) {
				t.Errorf("the answer is %s, want %s…", got.answer, c.answer)
			}
		}
		if got != first {
			t.Errorf("about %s:\n%+v\nabout %s:\n%+v", email, got, who[0], first)
		}
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
