package authmod

import (
	"errors"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// makeSession starts a session for user, with its first refresh token.
func (a *Auth) makeSession(tx *engine.Tx, info *SignInInfo, family, hash string) (granted, error) {
	if err := a.makeRoom(tx, info.User); err != nil {
		return granted{}, err
	}
	now := tx.Now()
	ends := now.Add(a.options.SessionTTL).UTC()
	sid, err := a.c.sessions.Insert(tx, Session{User: info.User, Provider: info.Provider, Ends: ends})
	if err != nil {
		return granted{}, err
	}
	return granted{User: info.User, Session: string(sid), Ends: ends}, a.startFamily(tx, string(sid), ends, family, hash)
}

// maxSessions bounds the documents of one user's sessions. A sign-in may cost nothing but a request, as it does an anonymous
// person, and leaves a document until the session's absolute end.
const maxSessions = 256

// makeRoom removes sessions of a user who has too many: all that were revoked, else one that cannot go on for want of use,
// else the oldest one.
func (a *Auth) makeRoom(tx *engine.Tx, user string) error {
	docs, err := a.c.sessionsByUser.Eq(tx, user).Limit(maxSessions).Collect()
	if err != nil || len(docs) < maxSessions {
		return err
	}
	var gone []*engine.Doc[Session]
	for _, d := range docs {
		if d.Value.Revoked != nil {
			gone = append(gone, d)
		}
	}
	for i := 0; len(gone) == 0 && i < len(docs); i++ {
		on, err := a.goesOn(tx, docs[i])
		if err != nil {
			return err
		}
		if !on {
			gone = append(gone, docs[i])
		}
	}
	if len(gone) == 0 {
		gone = docs[:1]
	}
	for _, d := range gone {
		if err := a.deleteTokens(tx, d.ID); err != nil {
			return err
		}
		if err := a.c.sessions.Delete(tx, d.ID); err != nil {
			return err
		}
	}
	return nil
}

// goesOn says whether there is a refresh token of a session that is still good.
func (a *Auth) goesOn(r engine.Reader, s *engine.Doc[Session]) (bool, error) {
	if s.Value.Revoked != nil || !r.Now().Before(s.Value.Ends) {
		return false, nil
	}
	for t, err := range a.c.tokensBySession.Eq(r, string(s.ID)).Docs() {
		if err != nil {
			return false, err
		}
		if r.Now().Before(t.Value.Expires) {
			return true, nil
		}
	}
	return false, nil
}

// startFamily gives a session its first refresh token of a family.
func (a *Auth) startFamily(tx *engine.Tx, sid string, ends time.Time, family, hash string) error {
	_, err := a.c.tokens.Insert(tx, refreshToken{
		Family: family, Hash: hash, Session: sid, Expires: a.idleEnd(tx.Now(), ends),
	})
	return err
}

// idleEnd is when a refresh token given now expires: unused for as long as Options.IdleTTL, or with its session.
func (a *Auth) idleEnd(now, ends time.Time) time.Time {
	if idle := now.Add(a.options.IdleTTL).UTC(); idle.Before(ends) {
		return idle
	}
	return ends
}

// maxCleared bounds how many ended sessions one transaction clears away.
const maxCleared = 100

// clearSessions removes sessions whose time is over, with their refresh tokens. It runs now and then, and again at once where
// there is more to do. Their time is that of the session document, which is when the last of their tokens is worthless; nobody
// notices them going.
func (a *Auth) clearSessions(tx *engine.Tx, _ struct{}) (struct{}, error) {
	over, err := a.c.sessionsByEnd.Scan(tx).Lte(tx.Now()).Limit(maxCleared).Collect()
	if err != nil {
		return struct{}{}, err
	}
	for _, d := range over {
		if err := a.deleteTokens(tx, d.ID); err != nil {
			return struct{}{}, err
		}
		if err := a.c.sessions.Delete(tx, d.ID); err != nil {
			return struct{}{}, err
		}
	}
	if len(over) == maxCleared {
		_, err = a.clear.Schedule(tx, 0, struct{}{})
	}
	return struct{}{}, err
}

// revokeOf ends the session that an identity stands for, if it is one of ours.
func (a *Auth) revokeOf(tx *engine.Tx, id *engine.Identity) error {
	if id == nil || id.Session == "" || id.Issuer != a.options.Issuer {
		return nil
	}
	sid, err := a.c.sessions.ParseID(id.Session)
	if err != nil {
		return nil // of another authenticator that shares the issuer's name
	}
	return a.revoke(tx, sid)
}

// revoke ends a session. Everything that asked who it was reads its document, and is run again.
func (a *Auth) revoke(tx *engine.Tx, id engine.ID[Session]) error {
	d, err := a.c.sessions.Get(tx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if err != nil || d.Value.Revoked != nil {
		return err
	}
	if err := a.deleteTokens(tx, d.ID); err != nil {
		return err
	}
	return a.c.sessions.Patch(tx, id, func(s *Session) error {
		now := tx.Now().UTC()
		s.Revoked = &now
		return nil
	})
}

// endArgs are the arguments of the internal mutation that ends a session: of a family of refresh tokens, or the caller's.
type endArgs struct {
	Family string `json:"family,omitempty"`
}

// endSession returns the session of the family, empty when there is none.
func (a *Auth) endSession(tx *engine.Tx, in endArgs) (string, error) {
	if in.Family == "" {
		who, err := tx.Identity()
		if err != nil {
			return "", err
		}
		return "", a.revokeOf(tx, who)
	}
	t, err := a.c.tokensByFamily.Eq(tx, in.Family).First()
	if errors.Is(err, engine.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return t.Value.Session, a.revoke(tx, engine.ID[Session](t.Value.Session))
}

func (a *Auth) deleteTokens(tx *engine.Tx, id engine.ID[Session]) error {
	docs, err := a.c.tokensBySession.Eq(tx, string(id)).Collect()
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := a.c.tokens.Delete(tx, d.ID); err != nil {
			return err
		}
	}
	return nil
}

// RevokeSessions ends every session of a user, but for one if except is not empty: after a change of password, on a ban. It
// takes effect when the transaction commits: live queries on all of the user's devices run again as nobody.
func (a *Auth) RevokeSessions(tx *engine.Tx, user, except string) error {
	docs, err := a.c.sessionsByUser.Eq(tx, user).Collect()
	if err != nil {
		return err
	}
	for _, d := range docs {
		if string(d.ID) == except {
			continue
		}
		if err := a.revoke(tx, d.ID); err != nil {
			return err
		}
	}
	return nil
}

// forget removes all that this package keeps about a user: accounts, sessions, refresh tokens, codes. It runs in the transaction
// that deletes the user's document, so that a user who is gone can neither go on nor come back.
func (a *Auth) forget(tx *engine.Tx, user string) error {
	accounts, err := a.c.accountsByUser.Eq(tx, user).Collect()
	if err != nil {
		return err
	}
	for _, d := range accounts {
		if err := a.c.accounts.Delete(tx, d.ID); err != nil {
			return err
		}
		if err := a.external.bury(tx, d.Value); err != nil {
			return err
		}
	}
	if err := a.forgetCodes(tx, user, accounts); err != nil {
		return err
	}
	sessions, err := a.c.sessionsByUser.Eq(tx, user).Collect()
	if err != nil {
		return err
	}
	for _, d := range sessions {
		if err := a.deleteTokens(tx, d.ID); err != nil {
			return err
		}
		if err := a.c.sessions.Delete(tx, d.ID); err != nil {
			return err
		}
	}
	return nil
}
