package authmod

import (
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// What signed-in people may see and do about their own sessions and accounts.

// SessionInfo is a session as its user sees it: what auth:sessions returns.
type SessionInfo struct {
	ID string `json:"_id"`
	// Provider is the module that they signed in by.
	Provider string `json:"provider"`
	// Created, LastUsed and Ends are when they signed in, when a device last fetched tokens for it, and its absolute end. It
	// ends earlier when it is not used for Options.IdleTTL.
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"lastUsed"`
	Ends     time.Time `json:"ends"`
	// Current says that it is the session that asks.
	Current bool `json:"current"`
}

// AccountInfo is an account as its user sees it: what auth:accounts returns.
type AccountInfo struct {
	ID                string    `json:"_id"`
	Provider          string    `json:"provider"`
	ProviderAccountID string    `json:"providerAccountId"`
	VerifiedEmail     string    `json:"verifiedEmail,omitempty"`
	Created           time.Time `json:"created"`
}

func (a *Auth) registerOwn() {
	engine.Query(a.schema, fnSessions, func(tx *engine.ReadTx, _ struct{}) ([]SessionInfo, error) {
		who, err := a.somebody(tx)
		if err != nil {
			return nil, err
		}
		out, err := a.ListSessions(tx, who.User)
		for i := range out {
			out[i].Current = out[i].ID == who.Session
		}
		return out, err
	})
	engine.Mutation(a.schema, fnRevokeSession, func(tx *engine.Tx, in struct {
		Session string `json:"session"`
	},
	) (*struct{}, error) {
		who, err := a.somebody(tx)
		if err != nil {
			return nil, err
		}
		return nil, a.RevokeSession(tx, who.User, in.Session)
	})
	engine.Mutation(a.schema, fnRevokeOthers, func(tx *engine.Tx, _ struct{}) (*struct{}, error) {
		who, err := a.somebody(tx)
		if err != nil {
			return nil, err
		}
		return nil, a.RevokeSessions(tx, who.User, who.Session)
	})
	engine.Query(a.schema, fnAccounts, func(tx *engine.ReadTx, _ struct{}) ([]AccountInfo, error) {
		who, err := a.somebody(tx)
		if err != nil {
			return nil, err
		}
		return a.ListAccounts(tx, who.User)
	})
	engine.Mutation(a.schema, fnUnlink, func(tx *engine.Tx, in struct {
		Account string `json:"account"`
	},
	) (*struct{}, error) {
		who, err := a.somebody(tx)
		if err != nil {
			return nil, err
		}
		return nil, a.Unlink(tx, who.User, in.Account)
	})
}

// somebody is the caller, who must be a user.
func (a *Auth) somebody(r engine.Reader) (*engine.Identity, error) {
	who, err := r.Identity()
	if err != nil {
		return nil, err
	}
	if who == nil || who.User == "" {
		return nil, errNobody
	}
	return who, nil
}

// ListSessions returns the sessions of a user that go on, oldest first.
func (a *Auth) ListSessions(r engine.Reader, user string) ([]SessionInfo, error) {
	docs, err := a.c.sessionsByUser.Eq(r, user).Gt(r.Now()).Collect()
	if err != nil {
		return nil, err
	}
	out := make([]SessionInfo, 0, len(docs))
	for _, d := range docs {
		if d.Value.Revoked != nil {
			continue
		}
		tokens, err := a.c.tokensBySession.Eq(r, string(d.ID)).Collect()
		if err != nil {
			return nil, err
		}
		info := SessionInfo{
			ID: string(d.ID), Provider: d.Value.Provider, Created: d.Created.UTC(), LastUsed: d.Created.UTC(), Ends: d.Value.Ends,
		}
		alive := false
		for _, t := range tokens {
			alive = alive || r.Now().Before(t.Value.Expires)
			if t.Created.After(info.LastUsed) {
				info.LastUsed = t.Created.UTC()
			}
		}
		if alive {
			out = append(out, info)
		}
	}
	return out, nil
}

// ListAccounts returns the ways in which a user can sign in, oldest first.
func (a *Auth) ListAccounts(r engine.Reader, user string) ([]AccountInfo, error) {
	docs, err := a.c.accountsByUser.Eq(r, user).Collect()
	if err != nil {
		return nil, err
	}
	out := make([]AccountInfo, len(docs))
	for i, d := range docs {
		out[i] = AccountInfo{
			ID: string(d.ID), Provider: d.Value.Provider, ProviderAccountID: d.Value.ProviderAccountID,
			VerifiedEmail: d.Value.VerifiedEmail, Created: d.Created.UTC(),
		}
	}
	return out, nil
}

// RevokeSession ends one session of a user; code not_found where they have no such session. To end one that has ended does
// nothing.
func (a *Auth) RevokeSession(tx *engine.Tx, user, session string) error {
	id, err := a.c.sessions.ParseID(session)
	if err != nil {
		return err
	}
	d, err := a.c.sessions.Get(tx, id)
	if err != nil {
		return err
	}
	if d.Value.User != user {
		return engine.Errorf(engine.CodeNotFound, "there is no such session")
	}
	return a.revoke(tx, id)
}
