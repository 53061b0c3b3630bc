package jwt

import (
	"net/url"
	"strings"

	"github.com/mimosadb/mimosa/engine"
)

// Clerk returns the Options for the session tokens of a Clerk instance, whose issuer is its Frontend API URL, such as
// "https://happy-otter-1.clerk.accounts.dev" or "https://clerk.example.com". Name is "clerk".
//
// Session tokens have no aud; those of a JWT template that has one need Audience. Set AuthorizedParties to the origins of your
// pages, as Clerk recommends. Tokens that Clerk gives to other applications (OAuth) and to machines are signed by the same keys,
// and are refused; a Check of your own should call the preset's first. Session tokens say nothing of a person but their id: further claims are added in Clerk's
// dashboard, or come by webhook. A session that is pending, which Clerk treats as signed out, is refused.
func Clerk(issuer string) Options {
	issuer = address(issuer)
	return Options{
		Name: "clerk", Issuer: issuer, JWKS: issuer + "/.well-known/jwks.json",
		AudienceOptional: true, Algorithms: []string{"RS256"},
		Types:        []string{"JWT"}, // those of OAuth applications are at+jwt, and may do what their scope says
		IgnoreClaims: []string{"fva"}, // minutes since the last verification
		Check: func(claims map[string]any) error {
			if subject, _ := claims["sub"].(string); strings.HasPrefix(subject, "mch_") {
				return engine.Errorf(engine.CodeUnauthenticated, "the token is a machine's")
			}
			if claims["sts"] == "pending" {
				return engine.Errorf(engine.CodeUnauthenticated, "the session is pending")
			}
			return nil
		},
	}
}

// Auth0 returns the Options for the access tokens of an Auth0 tenant, by its domain, such as "example.eu.auth0.com" or a custom
// one, and the identifier of your API. Name is "auth0". For ID tokens the audience is the application's client id; a page that
// asks for no audience gets access tokens that are not JWTs at all.
func Auth0(domain, audience string) Options {
	base := address(domain)
	return Options{
		Name: "auth0", Issuer: base + "/", JWKS: base + "/.well-known/jwks.json",
		Audience: []string{audience}, Algorithms: []string{"RS256"},
	}
}

// WorkOS returns the Options for the access tokens of WorkOS AuthKit, by the client's id, "client_…". Name is "workos". Access
// tokens have no aud unless a JWT template gives them one, and say nothing of a person but their id: further claims are added
// by such a template, or come by webhook. With an authentication domain of your own, set Issuer to what your tokens have.
func WorkOS(clientID string) Options {
	const api = "https://api.workos.com"
	id := url.PathEscape(clientID)
	return Options{
		Name: "workos", Issuer: api + "/user_management/" + clientID, OtherIssuers: []string{api, api + "/"},
		JWKS: api + "/sso/jwks/" + id, Audience: []string{clientID}, AudienceOptional: true, Algorithms: []string{"RS256"},
	}
}

// BetterAuth returns the Options for the tokens of Better Auth's plugin jwt, by its baseURL, such as "https://app.example.com",
// written as it is there. Name is "better-auth". Where the plugin has another issuer, audience or key pair, set Issuer,
// Audience or Algorithms; by default it signs by EdDSA. Its tokens have the user's fields as claims: a Provision takes a struct
// of them.
func BetterAuth(baseURL string) Options {
	base := strings.TrimSuffix(baseURL, "/")
	keys := base + "/api/auth/jwks"
	if u, err := url.Parse(base); err == nil && u.Path != "" { // the path of baseURL takes the place of /api/auth
		keys = base + "/jwks"
	}
	return Options{
		Name: "better-auth", Issuer: baseURL, JWKS: keys, Audience: []string{baseURL}, Algorithms: []string{"EdDSA"},
		VerifiedEmail: func(claims map[string]any) string {
			if verified, _ := claims["emailVerified"].(bool); !verified {
				return ""
			}
			email, _ := claims["email"].(string)
			return email
		},
	}
}

// address adds what people leave out, and takes off the slash at the end.
func address(s string) string {
	if s != "" && !strings.Contains(s, "://") {
		s = "https://" + s
	}
	return strings.TrimSuffix(s, "/")
}
