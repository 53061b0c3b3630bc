package authmod

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mimosadb/mimosa/engine"
)

// maxToken bounds what is looked at, in bytes; ours have some 450.
const maxToken = 8 << 10

// minTTL is the shortest life of an access token. Clients plan their refresh from it in whole seconds and refuse to with less
// than two.
const minTTL = 3 * time.Second

var (
	errToken   = engine.Errorf(engine.CodeUnauthenticated, "the access token is not valid")
	errExpired = engine.Errorf(engine.CodeUnauthenticated, "the access token has expired")
)

// parser checks form and signature. Whether the claims hold depends on the clock of the key's database.
var parser = jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())

// mint signs an access token. It ends with the session at the latest: that is what lets tx.Identity find out whether a
// session is alive without looking at the clock.
func (a *Auth) mint(db *engine.DB, g granted) (string, *principal, error) {
	k, err := a.keys.signer(db)
	if err != nil {
		return "", nil, err
	}
	now := db.Now()
	expires := now.Add(a.options.AccessTTL)
	if g.Ends.Before(expires) {
		expires = g.Ends
	}
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: a.options.Issuer, Subject: g.User, Audience: jwt.ClaimStrings{a.options.Audience},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
			// Two tokens are never equal: clients take an equal one for a refresh that did not work.
			ID: rand.Text(),
		},
		Session: g.Session, custom: g.Claims,
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["kid"] = k.id
	signed, err := t.SignedString(k.private)
	if err != nil {
		return "", nil, fmt.Errorf("authmod: access token: %w", err)
	}
	return signed, a.principal(&c), nil
}

// TokenVerifier is a Module whose service signs the tokens that clients present.
type TokenVerifier interface {
	// Verify verifies a token. mine says whether the token is of the module's service, by what it says of itself, which nobody
	// has to believe; only then p and err count. Errors made by engine.Errorf reach the client as they are.
	//
	// A principal that also has a method Expires() time.Time stands for its token until then, and one that has a method
	// Confirm(context.Context, *engine.DB) error is confirmed by it, outside any transaction, each time that its token is
	// presented and before it is resolved: what is to be there for Resolve to find is made there. Verify is called
	// concurrently, and may take some seconds.
	Verify(token string) (p engine.Principal, mine bool, err error)
}

// Principal verifies an access token. One of ours is verified by its signature (ES256 and nothing else), issuer, audience and
// expiry; whether its session goes on is found out inside each transaction, by Resolve. Others are given to the modules that are
// a [TokenVerifier]: of those that take it for theirs, the first that accepts it counts. The error is of code unauthenticated,
// or the module's. The principal also has a method Expires() time.Time. It is safe for concurrent use.
func (a *Auth) Principal(token string) (engine.Principal, error) {
	p, err := a.own(token)
	if err == nil {
		return p, nil
	}
	if errors.Is(err, errExpired) {
		return nil, err
	}
	var refused error
	for _, m := range a.options.Modules {
		v, ok := m.(TokenVerifier)
		if !ok {
			continue
		}
		p, mine, err := v.Verify(token)
		switch {
		case mine && err == nil && p != nil:
			return p, nil
		case mine && err != nil && refused == nil:
			refused = err
		}
	}
	if refused != nil {
		return nil, refused
	}
	return nil, err
}

// own verifies a token of this Auth.
func (a *Auth) own(token string) (*principal, error) {
	// encoding/base64 reads over line breaks; a token has one spelling.
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return nil, errToken
	}
	var c claims
	var k *key
	_, err := parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		if k = a.keys.find(id); k == nil {
			return nil, errors.New("unknown key")
		}
		return &k.private.PublicKey, nil
	})
	if err != nil || c.Session == "" || c.Subject == "" {
		return nil, errToken
	}
	err = jwt.NewValidator(
		jwt.WithIssuer(a.options.Issuer), jwt.WithAudience(a.options.Audience),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(k.now),
	).Validate(c)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidIssuer) && !errors.Is(err, jwt.ErrTokenInvalidAudience):
		return nil, errExpired
	case err != nil:
		return nil, errToken
	}
	return a.principal(&c), nil
}

func (a *Auth) principal(c *claims) *principal {
	p := &principal{
		auth: a, user: c.Subject, session: engine.ID[Session](c.Session), expires: c.ExpiresAt.Time, claims: c.values(),
	}
	if p.key = "session:" + c.Session; c.custom != nil {
		p.key += ":" + digest("claims", c.custom)
	}
	return p
}

// principal is the caller that an access token stands for.
type principal struct {
	auth    *Auth
	user    string
	session engine.ID[Session]
	expires time.Time
	claims  map[string]any
	key     string
}

// Key is the session, and the application's claims: a new token of the same session is the same caller unless those changed.
func (p *principal) Key() string { return p.key }

// Expires is when the token does, which is not after its session's end.
func (p *principal) Expires() time.Time { return p.expires }

// Resolve reads the session. That its time is not over follows from the token, which never outlives it and is checked when it
// is presented; so nothing here depends on the clock, and results that read the identity can be shared. A user that was
// deleted took the sessions along.
func (p *principal) Resolve(r engine.Reader) (*engine.Identity, error) {
	d, err := p.auth.c.sessions.Get(r, p.session)
	if errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrInvalid) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if d.Value.Revoked != nil || d.Value.User != p.user {
		return nil, nil
	}
	return &engine.Identity{
		User: p.user, Session: string(p.session), Issuer: p.auth.options.Issuer, Subject: p.user,
		Claims: p.claims,
	}, nil
}
