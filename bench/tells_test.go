package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

// BenchmarkTells says whether the time of an answer tells who has an account: what calls about people who have one take, and the
// ratio to calls about people who have none, which are made in turn. The hashes are the default ones, the store is on
// disk, and whoever has an account has verified the address.
func BenchmarkTells(b *testing.B) {
	wrong := "wrong horse battery staple"
	for _, c := range []struct {
		name   string
		params map[string]string
	}{
		{"signIn", map[string]string{"flow": "signIn", "password": wrong}},
		{"signUp", map[string]string{"flow": "signUp", "password": wrong}},
		{"reset", map[string]string{"flow": "reset"}},
		{"resetVerification", map[string]string{"flow": "reset-verification", "code": "00000000", "newPassword": wrong}},
		{"emailVerification", map[string]string{"flow": "email-verification", "code": "00000000"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			a := openAccounts(b)
			const people = 50
			known, unknown := func(i int) string { return fmt.Sprintf("person%03d@example.com", 2*(i%people)) },
				func(i int) string { return fmt.Sprintf("person%03d@example.com", 2*(i%people)+1) } // side by side in every index
			for i := range people {
				a.signUp(known(i))
			}
			a.call(map[string]string{"flow": "signIn", "email": "first@example.com", "password": wrong}) // what is made once
			var times [2][]time.Duration
			b.ResetTimer()
			for i := range b.N {
				about := [2]string{known(i), unknown(i)}
				for j := range 2 { // each is first as often as the other
					k := (i + j) % 2
					c.params["email"] = about[k]
					began := time.Now()
					a.call(c.params)
					times[k] = append(times[k], time.Since(began))
				}
			}
			k, u := typical(times[0]), typical(times[1])
			b.ReportMetric(k/1e6, "known-ms")
			b.ReportMetric(k/u, "known/unknown")
		})
	}
}

// typical is the mean without the slowest and the fastest tenth, in nanoseconds. Calls are of two kinds, those that find the
// machine busy with the one before and others, so that a median would lie in between and jump.
func typical(times []time.Duration) float64 {
	slices.Sort(times)
	cut := len(times) / 10
	times = times[cut : len(times)-cut]
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	return float64(sum) / float64(len(times))
}

// accounts is an application with passwords and mail.
type accounts struct {
	b     *testing.B
	db    *engine.DB
	codes chan string
}

func openAccounts(b *testing.B) *accounts {
	b.Helper()
	type user struct{ authmod.UserFields }
	a := &accounts{b: b, codes: make(chan string, 1)}
	s := engine.NewSchema()
	authmod.New(s, engine.Define[user](s, "users"), authmod.Options{
		MaxFailuresPerNetwork: -1, MaxSendsPerAddress: -1, MaxSendsPerNetwork: -1,
		Modules: []authmod.Module{password.New(password.Options{
			MaxFailures: -1, Verify: true,
			Send: func(_ context.Context, m authmod.Message) error {
				select {
				case a.codes <- m.Code:
				default:
				}
				return nil
			},
		})},
	})
	db, err := engine.Open(s, engine.Options{Dir: b.TempDir(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	a.db = db
	return a
}

func (a *accounts) call(params map[string]string) {
	args, err := json.Marshal(map[string]any{"provider": "password", "params": params})
	if err != nil {
		a.b.Fatal(err)
	}
	// Refusals are what is measured.
	_, _ = a.db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: args})
}

// signUp makes an account, and proves its address.
func (a *accounts) signUp(email string) {
	a.call(map[string]string{"flow": "signUp", "email": email, "password": "correct horse battery staple"})
	select {
	case code := <-a.codes:
		a.call(map[string]string{"flow": "email-verification", "email": email, "code": code})
	case <-time.After(time.Minute):
		a.b.Fatalf("%s was sent no code", email)
	}
}
