package jwt

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// Bounds of what is looked at, in bytes: services put permissions and more into their tokens.
const (
	maxToken   = 16 << 10
	maxSubject = 1024
)

var (
	errToken       = engine.Errorf(engine.CodeUnauthenticated, "the access token is not valid")
	errExpired     = engine.Errorf(engine.CodeUnauthenticated, "the access token has expired")
	errUnavailable = engine.Errorf(engine.CodeBusy, "access tokens cannot be verified at the moment")
)

// unverified reads what a token says of itself, to find out whose it is.
var unverified = gojwt.NewParser(gojwt.WithStrictDecoding())

// Verify verifies a token; it is called by authmod. A token is the module's own if it says that it is of its issuer.
func (m *Module) Verify(token string) (engine.Principal, bool, error) {
	// encoding/base64 reads over line breaks; a token has one spelling.
	if m.host == nil || len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return nil, false, nil
	}
	said := gojwt.MapClaims{}
	_, _, _ = unverified.ParseUnverified(token, said) // an error is found again below
	if issuer, _ := said["iss"].(string); !m.issues(issuer) {
		return nil, false, nil
	}
	p, err := m.verify(token)
	if err == nil {
		return p, true, nil
	}
	if errors.Is(err, gojwt.ErrTokenExpired) {
		m.logger().Debug("a token was refused", "error", err) // it happens to everybody
	} else {
		m.logRefusal(err)
	}
	var coded *engine.Error
	switch {
	case errors.As(err, &coded):
		return nil, true, coded
	case errors.Is(err, gojwt.ErrTokenExpired):
		return nil, true, errExpired
	}
	return nil, true, errToken
}

// logRefusal writes a refusal to the log. There are few lines of them, however many tokens are presented.
func (m *Module) logRefusal(err error) {
	db := m.host.DB()
	if db == nil {
		return
	}
	if more, ok := m.refusals.Line(db.Now()); ok {
		m.logger().Info("a token was refused", "error", err, "more", more)
	}
}

func (m *Module) issues(issuer string) bool {
	return issuer != "" && (issuer == m.o.Issuer || slices.Contains(m.o.OtherIssuers, issuer))
}

func (m *Module) verify(token string) (*principal, error) {
	db := m.host.DB()
	if db == nil {
		return nil, errUnavailable
	}
	now := db.Now()
	parser := gojwt.NewParser(
		gojwt.WithValidMethods(m.o.Algorithms), gojwt.WithStrictDecoding(), gojwt.WithExpirationRequired(),
		gojwt.WithIssuedAt(), gojwt.WithLeeway(m.o.Leeway), gojwt.WithTimeFunc(func() time.Time { return now }),
	)
	anonymous := false
	parse := func() (gojwt.MapClaims, error) {
		claims := gojwt.MapClaims{}
		_, err := parser.ParseWithClaims(token, claims, func(t *gojwt.Token) (any, error) {
			set, kid, err := m.candidates(now, t)
			anonymous = kid == "" && err == nil
			return set, err
		})
		return claims, err
	}
	claims, err := parse()
	if errors.Is(err, gojwt.ErrTokenSignatureInvalid) && anonymous && m.keys.renew(now) {
		claims, err = parse() // without a kid, a key that was replaced shows in this way only
	}
	if err != nil {
		return nil, err
	}
	if err := m.check(claims); err != nil {
		return nil, err
	}
	_, payload, _ := strings.Cut(token, ".")
	payload, _, _ = strings.Cut(payload, ".")
	raw, err := parser.DecodeSegment(payload)
	if err != nil {
		return nil, err
	}
	return m.principal(claims, raw)
}

// candidates finds the keys that a token may be signed by. Nothing in its header but alg, kid, typ and crit is looked at.
func (m *Module) candidates(now time.Time, t *gojwt.Token) (set gojwt.VerificationKeySet, kid string, err error) {
	if _, critical := t.Header["crit"]; critical {
		return set, "", errors.New("the header demands extensions")
	}
	if typ, given := t.Header["typ"]; given && !m.takes(typ) {
		return set, "", errors.New("typ is not that of a token that is accepted")
	}
	kid, ok := t.Header["kid"].(string)
	if _, given := t.Header["kid"]; given && (!ok || kid == "") {
		return set, "", errors.New("kid is no name")
	}
	found, err := m.keys.find(now, t.Method.Alg(), kid)
	for _, k := range found {
		set.Keys = append(set.Keys, k)
	}
	return set, kid, err
}

// takes says whether tokens of a type are accepted (RFC 7515, section 4.1.9; RFC 8725, section 3.11).
func (m *Module) takes(typ any) bool {
	s, _ := typ.(string)
	if i := len("application/"); len(s) > i && strings.EqualFold(s[:i], "application/") {
		s = s[i:]
	}
	return slices.ContainsFunc(m.o.Types, func(t string) bool { return strings.EqualFold(t, s) })
}

// check checks what the parser has not: it knows neither several issuers nor an optional audience.
func (m *Module) check(c gojwt.MapClaims) error {
	issuer, _ := c["iss"].(string)
	if !m.issues(issuer) {
		return gojwt.ErrTokenInvalidIssuer
	}
	audience, err := c.GetAudience()
	if err != nil {
		return err
	}
	if _, given := c["aud"]; given || !m.o.AudienceOptional {
		if !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(m.o.Audience, a) }) {
			return gojwt.ErrTokenInvalidAudience
		}
	}
	if len(m.o.AuthorizedParties) > 0 {
		party, ok := c["azp"].(string)
		if _, given := c["azp"]; given && (!ok || party == "") || !slices.Contains(m.o.AuthorizedParties, party) {
			return errors.New("azp is not an authorized party")
		}
	}
	subject, _ := c["sub"].(string)
	if n := len([]rune(subject)); n == 0 || n > maxSubject {
		return gojwt.ErrTokenInvalidSubject
	}
	if m.o.Check != nil {
		return m.o.Check(c)
	}
	return nil
}

// volatile are the claims that are different in each token, or stand in Identity under a name of their own.
var volatile = []string{"iss", "sub", "exp", "nbf", "iat", "jti", "nonce", "at_hash", "c_hash", "s_hash"}

func (m *Module) principal(c gojwt.MapClaims, raw json.RawMessage) (*principal, error) {
	expires, err := c.GetExpirationTime()
	if err != nil {
		return nil, err
	}
	p := &principal{
		module: m, subject: c["sub"].(string), issuer: c["iss"].(string), raw: raw,
		email: m.o.VerifiedEmail(c), expires: expires.Add(m.o.Leeway),
	}
	p.claims = maps.Clone(map[string]any(c))
	for _, names := range [][]string{volatile, m.o.IgnoreClaims} {
		for _, name := range names {
			delete(p.claims, name)
		}
	}
	canonical, err := json.Marshal([]any{m.o.Name, p.issuer, p.subject, p.claims}) // members are sorted
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	p.key = "jwt:" + base64.RawURLEncoding.EncodeToString(sum[:])
	return p, nil
}

// principal is the caller that a token stands for.
type principal struct {
	module          *Module
	issuer, subject string
	claims          map[string]any  // those of Identity
	raw             json.RawMessage // all of them
	email           string
	expires         time.Time
	key             string
}

// Key is a digest of all that Resolve returns: a new token of the same session is the same caller.
func (p *principal) Key() string { return p.key }

// Expires is when the token is not accepted any more.
func (p *principal) Expires() time.Time { return p.expires }

// Confirm makes account and user where there are none and the module is to make them. It is called before Resolve, each time
// that a token is presented.
func (p *principal) Confirm(ctx context.Context, db *engine.DB) error {
	m := p.module
	err := db.View(ctx, func(tx *engine.ReadTx) error {
		_, err := m.external.Find(tx, p.subject)
		return err
	})
	if errors.Is(err, authmod.ErrNoAccount) {
		if m.o.Provision == nil {
			return nil
		}
		err = db.Update(ctx, func(tx *engine.Tx) error {
			_, _, err := m.external.Provision(tx, authmod.ExternalUser{Subject: p.subject, VerifiedEmail: p.email, Data: p.raw})
			return err
		})
	}
	if err == nil {
		return nil
	}
	var coded *engine.Error
	if !errors.As(err, &coded) { // whoever asked logs it
		return fmt.Errorf("authmod/jwt: %s: %w", m.o.Name, err)
	}
	m.logRefusal(err)
	return err
}

// Resolve reads the account, so whoever asked for the identity is run again when the user is deleted.
func (p *principal) Resolve(r engine.Reader) (*engine.Identity, error) {
	user, err := p.module.external.Find(r, p.subject)
	switch {
	case errors.Is(err, authmod.ErrDeleted):
		return nil, nil
	case errors.Is(err, authmod.ErrNoAccount):
		if p.module.o.Provision != nil {
			return nil, nil // the account was taken away since
		}
	case err != nil:
		return nil, err
	}
	return &engine.Identity{User: user, Issuer: p.issuer, Subject: p.subject, Claims: p.claims}, nil
}
