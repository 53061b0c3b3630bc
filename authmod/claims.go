package authmod

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mimosadb/mimosa/engine"
)

// claims are those of an access token: RFC 7519's, the session, and the application's own.
type claims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`

	// custom is an object, nil where there are none.
	custom json.RawMessage
}

// maxClaims bounds the application's claims, in bytes of JSON: a token travels with every call.
const maxClaims = 4 << 10

// ownClaims are the names that are not the application's to give.
var ownClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid"}

// withClaims asks Options.CustomClaims.
func (a *Auth) withClaims(r engine.Reader, g granted) (granted, error) {
	if a.options.CustomClaims == nil {
		return g, nil
	}
	custom, err := a.options.CustomClaims(r, g.User, g.Session)
	if err != nil || len(custom) == 0 {
		return g, err
	}
	for name := range custom {
		// encoding/json takes a member for one whose name differs from it by case alone.
		if slices.ContainsFunc(ownClaims, func(own string) bool { return strings.EqualFold(own, name) }) {
			return g, fmt.Errorf("authmod: CustomClaims: the claim %q is this package's own", name)
		}
	}
	g.Claims, err = json.Marshal(custom)
	if err != nil {
		return g, fmt.Errorf("authmod: CustomClaims: %w", err)
	}
	if len(g.Claims) > maxClaims {
		return g, fmt.Errorf("authmod: CustomClaims: the claims have %d bytes, and may have %d", len(g.Claims), maxClaims)
	}
	return g, nil
}

// MarshalJSON puts the application's claims beside the others.
func (c claims) MarshalJSON() ([]byte, error) {
	type plain claims
	own, err := json.Marshal(plain(c))
	if err != nil || c.custom == nil {
		return own, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.custom, &members); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(own, &members); err != nil { // ours win
		return nil, err
	}
	return json.Marshal(members)
}

// UnmarshalJSON takes the application's claims apart from the others.
func (c *claims) UnmarshalJSON(b []byte) error {
	type plain claims
	if err := json.Unmarshal(b, (*plain)(c)); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	for _, name := range ownClaims {
		delete(members, name)
	}
	c.custom = nil
	if len(members) > 0 {
		c.custom = encodeObject(members) // sorted by name, so equal for equal claims
	}
	return nil
}

// values decodes the application's claims, for Identity.Claims.
func (c *claims) values() map[string]any {
	if c.custom == nil {
		return nil
	}
	var out map[string]any
	if json.Unmarshal(c.custom, &out) != nil { // they were decoded from JSON
		return nil
	}
	return out
}
