package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

const (
	// awayTime is for how long somebody may be at the provider's.
	awayTime = 10 * time.Minute
	// codeTime is for how long the code with which they come back is good. A page redeems it as soon as it is loaded.
	codeTime = 5 * time.Minute
	// maxMisses is how often a code may be presented with the wrong verifier. It cannot be guessed; but it has been in an
	// address, and whoever finds it there is to try neither for ever, nor to take it from its owner by trying once.
	maxMisses = 5
	// maxSwept bounds how many sign-ins that are over one call clears away.
	maxSwept = 16
)

// pending is a sign-in from its beginning to its end. What opens it is in three places: state goes by the provider, the
// verifier stays in the browser that began, the code comes back in an address. Here are only hashes, and a salt.
type pending struct {
	Provider string `json:"provider"`
	// State is the hash of the parameter state.
	State string `json:"state"`
	// Salt makes, together with state itself, the nonce and the verifier of PKCE: whoever reads this document alone, or an
	// address alone, can make neither.
	Salt string `json:"salt"`
	// Verifier is the hash of what the client keeps.
	Verifier string `json:"verifier"`
	// Flow is "" or "link", and User who links.
	Flow string `json:"flow,omitempty"`
	User string `json:"user,omitempty"`
	// RedirectTo is absolute and allowed.
	RedirectTo string          `json:"redirectTo"`
	Params     json.RawMessage `json:"params,omitempty"`
	Expires    time.Time       `json:"expires"`

	// Returned says that somebody has come back with state, which is good for that once.
	Returned bool `json:"returned,omitempty"`
	// Code is the hash of the code that they were given, and Person who they are.
	Code   *string `json:"code,omitempty"`
	Person *Person `json:"person,omitempty"`
	Misses int     `json:"misses,omitempty"`
}

// pendings are the sign-ins of all providers of a schema.
type pendings struct {
	docs      *engine.Collection[pending]
	byState   *engine.Index[pending]
	byCode    *engine.Index[pending]
	byExpires *engine.Index[pending]
	byPerson  *engine.Index[pending]
	byUser    *engine.Index[pending]
	add       engine.MutationRef[pending, struct{}]
	sweep     engine.MutationRef[struct{}, struct{}]
}

type pendingsKey struct{}

func pendingsOf(h *authmod.Host) *pendings {
	s := h.Schema()
	return engine.Attach(s, pendingsKey{}, func() *pendings {
		p := &pendings{docs: engine.Define[pending](s, "authOAuth")}
		p.byState = p.docs.AddUnique("state", "state")
		p.byCode = p.docs.AddUnique("code", "code")
		p.byExpires = p.docs.AddIndex("expires", "expires")
		p.byPerson = p.docs.AddIndex("person", "provider", "person.id")
		p.byUser = p.docs.AddIndex("user", "user")
		p.add = engine.Mutation(s, "auth:oauthStart", p.start, engine.Internal())
		p.sweep = engine.Mutation(s, "auth:oauthSweep", func(tx *engine.Tx, _ struct{}) (struct{}, error) {
			return struct{}{}, p.clear(tx, 100*maxSwept)
		}, engine.Internal())
		p.sweep.Cron("auth:oauth", "@hourly", struct{}{})
		s.OnWrite(forgetting{p, h.Accounts().Name()})
		return p
	})
}

// forgetting removes sign-ins under way with an account that goes: by itself, or with its user.
type forgetting struct {
	p        *pendings
	accounts string
}

func (forgetting) Before(*engine.ReadTx, *engine.Change) error { return nil }

func (f forgetting) After(tx *engine.Tx, c engine.Change) error {
	if c.Collection != f.accounts || c.Op != engine.Delete {
		return nil
	}
	d, err := engine.DecodeBefore[authmod.Account](&c)
	if err != nil {
		return err
	}
	for _, scan := range []*engine.Scan[pending]{
		f.p.byPerson.Eq(tx, d.Value.Provider, d.Value.ProviderAccountID), f.p.byUser.Eq(tx, d.Value.User),
	} {
		docs, err := scan.Collect()
		if err != nil {
			return err
		}
		for _, d := range docs {
			if err := f.p.docs.Delete(tx, d.ID); err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// start stores a sign-in that begins. Who links an account is found out here, as the caller.
func (p *pendings) start(tx *engine.Tx, in pending) (struct{}, error) {
	if err := p.clear(tx, maxSwept); err != nil {
		return struct{}{}, err
	}
	if in.Flow == flowLink {
		who, err := tx.Identity()
		if err != nil {
			return struct{}{}, err
		}
		if who == nil || who.User == "" {
			return struct{}{}, engine.Errorf(engine.CodeUnauthenticated, "only somebody who is signed in can link an account")
		}
		in.User = who.User
	}
	in.Expires = tx.Now().Add(awayTime).UTC()
	_, err := p.docs.Insert(tx, in)
	return struct{}{}, err
}

// clear removes sign-ins that nobody came back from.
func (p *pendings) clear(tx *engine.Tx, most int) error {
	over, err := p.byExpires.Scan(tx).Lt(tx.Now().UTC()).Limit(most).Collect()
	if err != nil {
		return err
	}
	for _, d := range over {
		if err := p.docs.Delete(tx, d.ID); err != nil {
			return err
		}
	}
	return nil
}

// errOver says that there is no such sign-in, or not any more.
var errOver = errors.New("authmod/oauth: no such sign-in")

// take finds the sign-in that somebody comes back to, and marks it: state is good once, however many come at the same time.
func (p *pendings) take(ctx context.Context, db *engine.DB, provider, state string) (found *engine.Doc[pending], err error) {
	if len(state) != secretLength {
		return nil, errOver
	}
	err = db.Update(ctx, func(tx *engine.Tx) error {
		found = nil
		d, err := p.byState.One(tx, digest("state", state))
		switch {
		case errors.Is(err, engine.ErrNotFound):
			return errOver
		case err != nil:
			return err
		case d.Value.Provider != provider || d.Value.Returned || !tx.Now().Before(d.Value.Expires):
			return errOver
		}
		found = d
		return p.docs.Patch(tx, d.ID, func(v *pending) error { v.Returned = true; return nil })
	})
	return found, err
}

// drop ends a sign-in that came to nothing.
func (p *pendings) drop(ctx context.Context, db *engine.DB, id engine.ID[pending]) error {
	return db.Update(ctx, func(tx *engine.Tx) error {
		err := p.docs.Delete(tx, id)
		if errors.Is(err, engine.ErrNotFound) {
			return nil
		}
		return err
	})
}

// settle stores who it is, and returns the code for which that is to be had.
func (p *pendings) settle(ctx context.Context, db *engine.DB, id engine.ID[pending], who Person) (code string, err error) {
	code = newSecret()
	hash := digest("code", code)
	err = db.Update(ctx, func(tx *engine.Tx) error {
		err := p.docs.Patch(tx, id, func(v *pending) error {
			v.Code, v.Person, v.Expires = &hash, &who, tx.Now().Add(codeTime).UTC()
			return nil
		})
		if errors.Is(err, engine.ErrNotFound) {
			return errOver
		}
		return err
	})
	return code, err
}

// find looks a code up; nil where it is none of this provider's, or not any more.
func (p *pendings) find(ctx context.Context, db *engine.DB, provider, code string) (found *engine.Doc[pending], err error) {
	if len(code) != secretLength {
		return nil, nil
	}
	err = db.View(ctx, func(tx *engine.ReadTx) (err error) {
		found, err = p.byCode.One(tx, digest("code", code))
		return err
	})
	if errors.Is(err, engine.ErrNotFound) {
		return nil, nil
	}
	if err != nil || found.Value.Provider != provider || found.Value.Person == nil || !db.Now().Before(found.Value.Expires) {
		return nil, err
	}
	return found, nil
}

// miss counts a wrong verifier; after too many the code is good no more.
func (p *pendings) miss(ctx context.Context, db *engine.DB, id engine.ID[pending]) error {
	return db.Update(ctx, func(tx *engine.Tx) error {
		d, err := p.docs.Get(tx, id)
		if errors.Is(err, engine.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.Value.Misses+1 >= maxMisses {
			return p.docs.Delete(tx, id)
		}
		return p.docs.Patch(tx, id, func(v *pending) error { v.Misses++; return nil })
	})
}

// redeem uses a code up, in the transaction of what it is good for.
func (p *pendings) redeem(tx *engine.Tx, r redemption) (*engine.Doc[pending], error) {
	d, err := p.docs.Get(tx, r.ID)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, errOver
	}
	if err != nil {
		return nil, err
	}
	if d.Value.Code == nil || !equal(*d.Value.Code, r.Code) || !tx.Now().Before(d.Value.Expires) {
		return nil, errOver
	}
	return d, p.docs.Delete(tx, d.ID)
}

// redemption is what Join is handed: which sign-in, and the hash of the code that was presented.
type redemption struct {
	ID   engine.ID[pending] `json:"id"`
	Code string             `json:"code"`
}

// secretLength is that of newSecret's, in bytes.
const secretLength = 43

// newSecret draws 256 bits: too many to guess, so that a plain hash of it can be stored.
func newSecret() string {
	var raw [32]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

func digest(what, secret string) string {
	sum := sha256.Sum256([]byte("mimosa oauth " + what + "\x00" + secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// derive makes a secret of two, for one purpose. It has the form that RFC 7636 wants of a verifier.
func derive(what, state, salt string) string {
	mac := hmac.New(sha256.New, []byte(state))
	mac.Write([]byte("mimosa oauth " + what + "\x00" + salt)) // never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
