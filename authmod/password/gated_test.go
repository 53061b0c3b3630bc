package password_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

// The cap on how many passwords are hashed or verified at a time holds for every flow that does.
func TestHashingIsBoundedInEveryFlow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const slots, people = 2, 6
		a := newClub(t, func(o *password.Options, _ *authmod.Options, _ *engine.Options) { o.MaxConcurrentHashes = slots })
		a.phone().wants("unauthenticated", "signIn", "email", "eve@example.com", "password", his) // which makes the decoy
		together := func(want string, params func(email string) map[string]string) {
			t.Helper()
			a.crypto.holdUp()
			var all sync.WaitGroup
			for i := range people {
				args, err := json.Marshal(map[string]any{"provider": "password", "params": params(fmt.Sprintf("user%d@example.com", i))})
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					p := a.phone()
					if err := p.run(args); err != nil || p.raw != want {
						t.Errorf("%s: %v, %s", args, err, p.raw)
					}
				})
			}
			synctest.Wait()
			if n := a.crypto.running.Load(); n != slots {
				t.Errorf("%v: %d at a time, want %d", params("x"), n, slots)
			}
			close(a.crypto.hold)
			all.Wait()
			synctest.Wait()
		}
		code := func(email string) (code string) {
			for _, m := range a.sent() {
				if m.To == email {
					code = m.Code // the newest
				}
			}
			return code
		}
		together(started, func(email string) map[string]string {
			return map[string]string{"flow": "signUp", "email": email, "password": hers, "nick": "Ada"}
		})
		together("tokens", func(email string) map[string]string {
			return map[string]string{"flow": "email-verification", "email": email, "code": code(email), "password": hers}
		})
		together("tokens", func(email string) map[string]string {
			return map[string]string{"flow": "signIn", "email": email, "password": hers}
		})
		for i := range people {
			a.phone().wants(started, "reset", "email", fmt.Sprintf("user%d@example.com", i))
		}
		together("tokens", func(email string) map[string]string {
			return map[string]string{"flow": "reset-verification", "email": email, "code": code(email), "newPassword": his}
		})
	})
}
