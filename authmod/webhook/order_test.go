package webhook_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// Whatever the order in which deliveries come, however often, alone or many at a time: in the end each user is as the newest
// event has it, those who were deleted are gone, and each was created once.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		a := setup(quiet{t, rt})
		type event struct{ subject, id, body string }
		var events []event
		want := map[string]string{} // subject → address; "" when deleted
		for s := range rapid.IntRange(1, 3).Draw(rt, "users") {
			subject := fmt.Sprint("user_", s)
			updates := rapid.IntRange(0, 4).Draw(rt, "updates")
			deleted := rapid.Bool().Draw(rt, "deleted")
			// The first update may be of the same millisecond as the creation.
			when := 10
			add := func(typ string) {
				id := fmt.Sprint("msg_", len(events))
				want[subject] = fmt.Sprint("v", len(events), "@", s, ".example.com")
				events = append(events, event{subject, id, clerkUser(typ, subject, want[subject], at(when))})
			}
			add("user.created")
			for u := range updates {
				if u > 0 || rapid.Bool().Draw(rt, "later") {
					when++
				}
				add("user.updated")
			}
			if deleted {
				events = append(events, event{subject, fmt.Sprint("msg_", len(events)), clerkDeleted(subject, at(when))})
				want[subject] = ""
			}
		}
		again := rapid.SliceOfN(rapid.IntRange(0, len(events)-1), 0, 6).Draw(rt, "again")
		deliveries := slices.Clone(events)
		for _, i := range again {
			deliveries = append(deliveries, events[i])
		}
		deliveries = rapid.Permutation(deliveries).Draw(rt, "order")
		width := rapid.IntRange(1, 4).Draw(rt, "at once")
		for batch := range slices.Chunk(deliveries, width) {
			atOnce(len(batch), func(i int) {
				if got := a.clerk(batch[i].id, batch[i].body); got.status != http.StatusOK {
					rt.Errorf("%s: %v %s", batch[i].id, got, got.Message)
				}
			})
		}
		var left, expected []string
		for _, u := range a.people() {
			left = append(left, u.Email)
		}
		for _, address := range want {
			if address != "" {
				expected = append(expected, address)
			}
		}
		slices.Sort(left)
		slices.Sort(expected)
		if !slices.Equal(left, expected) {
			rt.Fatalf("users %v, want %v", left, expected)
		}
		for s := range want {
			domain := "@" + strings.TrimPrefix(s, "user_") + ".example.com"
			created, deleted := 0, 0
			for line := range strings.Lines(a.entries()) {
				if strings.HasSuffix(strings.TrimSpace(line), domain) {
					created += strings.Count(line, "created")
					deleted += strings.Count(line, "deleted")
				}
			}
			if created > 1 || deleted > created || want[s] != "" && created != 1 {
				rt.Fatalf("%s was created %d times and deleted %d times", s, created, deleted)
			}
		}
	})
}

// quiet gives a run of a property the test's clean-up, at the end of the run.
type quiet struct {
	testing.TB
	rt *rapid.T
}

func (q quiet) Helper()                   {}
func (q quiet) Cleanup(f func())          { q.rt.Cleanup(f) }
func (q quiet) Errorf(f string, v ...any) { q.rt.Errorf(f, v...) }
func (q quiet) Fatalf(f string, v ...any) { q.rt.Fatalf(f, v...) }
func (q quiet) Fatal(v ...any)            { q.rt.Fatal(v...) }
func (q quiet) Error(v ...any)            { q.rt.Error(v...) }

// A client with a token may be there before the webhook, or come after it, or at the same moment: the user is created once.
func TestWithTokens(t *testing.T) {
	t.Parallel()
	created := clerkUser("user.created", "user_1", "ada@example.com", at(1))
	t.Run("token first", func(t *testing.T) {
		t.Parallel()
		a := setup(t)
		if _, err := a.provision("user_1", "token@example.com"); err != nil {
			t.Fatal(err)
		}
		a.expect("200 applied", "msg_1", created)
		if got := a.entries(); got != "created token@example.com\nupdated ada@example.com" {
			t.Errorf("diary %q", got)
		}
	})
	t.Run("webhook first", func(t *testing.T) {
		t.Parallel()
		a := setup(t)
		a.expect("200 applied", "msg_1", created)
		if _, err := a.provision("user_1", "token@example.com"); err != nil {
			t.Fatal(err)
		}
		if got := a.entries(); got != "created ada@example.com" {
			t.Errorf("diary %q", got)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		a := setup(t)
		a.expect("200 applied", "msg_1", clerkDeleted("user_1", at(2)))
		if _, err := a.provision("user_1", "token@example.com"); !errors.Is(err, authmod.ErrDeleted) {
			t.Errorf("a token of a user who is gone: %v", err)
		}
		a.expect("200 stale", "msg_2", created)
	})
	t.Run("deleted by the application", func(t *testing.T) {
		t.Parallel()
		a := setup(t)
		a.expect("200 applied", "msg_1", created)
		a.update(func(tx *engine.Tx) error {
			u, err := a.users.All(tx).First()
			if err != nil {
				return err
			}
			return a.users.Delete(tx, u.ID)
		})
		updated := clerkUser("user.updated", "user_1", "ada@example.com", at(2))
		a.expect("200 stale", "msg_2", updated)
		a.update(func(tx *engine.Tx) error { return a.hook.Readmit(tx, "user_1") })
		a.expect("200 applied", "msg_3", updated)
		if got := a.entries(); got != "created ada@example.com\ndeleted ada@example.com\ncreated ada@example.com" {
			t.Errorf("diary %q", got)
		}
	})
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		for range 5 {
			a := setup(t)
			updated := clerkUser("user.updated", "user_1", "new@example.com", at(2))
			atOnce(12, func(i int) {
				switch i % 3 {
				case 0:
					if _, err := a.provision("user_1", "token@example.com"); err != nil {
						t.Error(err)
					}
				case 1:
					if got := a.clerk("msg_1", created); got.status != http.StatusOK {
						t.Errorf("%v %s", got, got.Message)
					}
				default:
					if got := a.clerk("msg_2", updated); got.status != http.StatusOK {
						t.Errorf("%v %s", got, got.Message)
					}
				}
			})
			users := a.people()
			if len(users) != 1 || users[0].Email != "new@example.com" || a.accounts() != 1 {
				t.Fatalf("users %+v, %d accounts", users, a.accounts())
			}
			if n := strings.Count(a.entries(), "created"); n != 1 {
				t.Fatalf("OnCreate ran %d times", n)
			}
		}
	})
}
