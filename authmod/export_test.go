package authmod

import (
	"context"

	"github.com/mimosadb/mimosa/engine"
)

// Counts says how many documents this package keeps, by collection.
func (a *Auth) Counts(db *engine.DB) (map[string]int, error) {
	out := map[string]int{}
	return out, db.View(context.Background(), func(tx *engine.ReadTx) error {
		for name, count := range map[string]func() (int, error){
			"authAccounts":      a.c.accounts.All(tx).Count,
			"authSessions":      a.c.sessions.All(tx).Count,
			"authRefreshTokens": a.c.tokens.All(tx).Count,
			"authKeys":          a.c.keys.All(tx).Count,
		} {
			n, err := count()
			if err != nil {
				return err
			}
			out[name] = n
		}
		return nil
	})
}

// MaxFamily is the bound on the refresh tokens of a session.
const MaxFamily = maxFamily

// Prune clears ended sessions away, as the cron does.
func (a *Auth) Prune(db *engine.DB) error {
	return db.Update(context.Background(), func(tx *engine.Tx) error {
		_, err := a.clearSessions(tx, struct{}{})
		return err
	})
}
