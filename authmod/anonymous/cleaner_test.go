package anonymous_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// day is a short one, since all that runs in a day takes its time in a test too.
const day = 2 * time.Hour

// aging is an application that deletes temporary users of more than seven days whose sessions have been idle for two.
func aging(s *settings) {
	s.anonymous.MaxAge = 7 * day
	s.auth = authmod.Options{IdleTTL: 2 * day, SessionTTL: 30 * day, AccessTTL: time.Minute}
}

// pass lets time go by, and the jobs of that time run.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// keep uses the session, as an open page does.
func (d *device) keep() {
	d.app.t.Helper()
	args, _ := json.Marshal(map[string]string{"refreshToken": d.refresh})
	was := d.refresh
	if err := d.call(args); err != nil || d.refresh == was {
		d.app.t.Fatalf("the session does not go on: %v", err)
	}
}

// Those who left are deleted as the application would, and nobody else: not those who come back every day, and not those who
// have become somebody.
func TestAbandonedUsersAreDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := setup(t, aging)
		left, stays, signedOut, becomes := a.be(), a.be(), a.be(), a.be()
		left.add("mine")
		real := a.device()
		real.must("password", form("signUp", "bob@example.com"))
		becomes.must("password", form("signUp", "ada@example.com"))
		if _, err := a.db.RunAction(context.Background(), engine.Call{Function: "auth:signOut", Principal: signedOut.principal}); err != nil {
			t.Fatal(err)
		}
		a.triggered()
		gone, leftUser, staysUser := []string{}, left.user(), stays.user()
		for n := range 20 {
			pass(day)
			stays.keep()
			if fired := a.triggered(); n < 6 && len(fired) > 0 {
				t.Fatalf("on day %d: %q", n+1, fired)
			} else {
				gone = append(gone, fired...)
			}
		}
		if got := strings.Join(gone, ","); got != "delete  ,delete  " {
			t.Errorf("triggers: %q", got)
		}
		if a.usersThere() != 3 || len(a.accounts()) != 3 {
			t.Errorf("%d users, %d accounts are left", a.usersThere(), len(a.accounts()))
		}
		if stays.user() != staysUser || len(a.notesOf(leftUser)) != 0 {
			t.Errorf("who stays is %q; notes of who left: %q", stays.user(), a.notesOf(leftUser))
		}
		// Once the session is over they are left as well.
		pass(3 * day)
		if a.usersThere() != 2 {
			t.Errorf("%d users are left", a.usersThere())
		}
		again := a.device()
		again.must("password", form("signIn", "ada@example.com"))
	})
}

// One whom a trigger does not let go keeps the others from nothing, and goes as soon as it may.
func TestTriggerThatRefusesDeletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var kept atomic.Value // the id of a user
		kept.Store("")
		a := setup(t, aging, func(s *settings) {
			s.onDelete = func(_ *engine.Tx, u *engine.Doc[User]) error {
				if string(u.ID) == kept.Load() {
					return errors.New("there is an order that is not paid")
				}
				return nil
			}
		})
		first := a.be()
		kept.Store(first.user())
		for range 250 { // more than are looked at in one go
			a.be()
		}
		pass(8 * day)
		if n := a.usersThere(); n != 1 {
			t.Errorf("%d users are left", n)
		}
		if !strings.Contains(a.log.String(), fmt.Sprintf("user=%s", kept.Load())) || !strings.Contains(a.log.String(), "not paid") {
			t.Errorf("logged: %s", a.log.String())
		}
		kept.Store("")
		pass(day)
		if n := a.usersThere(); n != 0 {
			t.Errorf("%d users are left", n)
		}
	})
}

func TestWithoutMaxAgeNobodyIsDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := setup(t)
		a.be()
		pass(50 * day)
		if n := a.usersThere(); n != 1 {
			t.Errorf("%d users are left", n)
		}
	})
}
