package authmod

import (
	"crypto/subtle"
	"errors"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// resendTime is for how long a sign-up may be sent again: for as long as a client may be without a network and its user still
// be waiting.
const resendTime = 24 * time.Hour

// Resent says whether the attempt is the sign-up that made the account, sent again because its answer was lost: it brings the
// idempotency key of that call, in time. That proves nothing about the person. A module lets them prove it as at any sign-in,
// and then calls Complete with Resume.
func (a *Attempt) Resent(acc *engine.Doc[Account]) bool {
	return acc != nil && acc.Value.SignUp.matches(a.key, a.DB().Now())
}

// matches says whether a key, given as its hash, is that of the sign-up.
func (r *SignUpNote) matches(key string, now time.Time) bool {
	return r != nil && key != "" && now.Before(r.Expires) && subtle.ConstantTimeCompare([]byte(r.Key), []byte(key)) == 1
}

// recordSignUp notes on the new account what call has made it.
func (a *Auth) recordSignUp(tx *engine.Tx, in completeArgs, c Completion, out granted) error {
	doc, err := a.c.accountsByID.One(tx, in.Provider, c.AccountID)
	if err != nil {
		return err
	}
	now := tx.Now()
	expires := now.Add(resendTime).UTC()
	if idle := a.idleEnd(now, out.Ends); idle.Before(expires) {
		expires = idle
	}
	return a.c.accounts.Patch(tx, doc.ID, func(v *Account) error {
		v.SignUp = &SignUpNote{Key: in.Key, Session: out.Session, Expires: expires}
		return nil
	})
}

// resume gives the session of a sign-up another family of refresh tokens. The first is left alone: of two calls that run at
// the same time, either may be the one whose answer arrives.
func (a *Auth) resume(
	tx *engine.Tx, caller *engine.Identity, doc *engine.Doc[Account], c Completion, in completeArgs,
) (completed, error) {
	now := tx.Now()
	r := doc.Value.SignUp
	if c.NoSession || !r.matches(in.Key, now) {
		return completed{Status: statusMissing}, nil
	}
	s, err := a.c.sessions.Get(tx, engine.ID[Session](r.Session))
	if errors.Is(err, engine.ErrNotFound) {
		return completed{Status: statusMissing}, nil
	}
	if err != nil {
		return completed{}, err
	}
	if s.Value.Revoked != nil || !now.Add(minTTL).Before(s.Value.Ends) {
		return completed{Status: statusMissing}, nil
	}
	if err := a.useAccount(tx, doc, c); err != nil {
		return completed{}, err
	}
	if caller == nil || caller.Session != r.Session {
		if err := a.revokeOf(tx, caller); err != nil {
			return completed{}, err
		}
	}
	if err := a.startFamily(tx, r.Session, s.Value.Ends, in.Family, in.Hash); err != nil {
		return completed{}, err
	}
	out, err := a.withClaims(tx, granted{User: s.Value.User, Session: r.Session, Ends: s.Value.Ends})
	return completed{Status: statusDone, granted: out}, err
}
