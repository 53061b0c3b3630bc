package jwt

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/internal/fewlines"
	"github.com/mimosadb/mimosa/engine"
)

// Options say whose tokens are accepted. Issuer and either Audience or AudienceOptional are needed; the presets set them.
type Options struct {
	// Name is the provider's, "jwt" by default. It is part of the accounts' key, so it stays; a webhook of the same service
	// names it too.
	Name string
	// Issuer is the claim iss, to the letter: with a slash at its end or without, as the service writes it.
	Issuer string
	// OtherIssuers are further spellings of it.
	OtherIssuers []string
	// Audience are the values of the claim aud, one of which a token must have.
	Audience []string
	// AudienceOptional accepts tokens without aud, for services whose tokens have none. A token that has one must have one of
	// Audience all the same: it may have been made for somebody else.
	AudienceOptional bool
	// AuthorizedParties are the values of the claim azp, the origins whose pages a token may have been made for. Empty does not
	// look at it. With "" among them tokens without azp are accepted, as those of native applications are.
	AuthorizedParties []string
	// Algorithms are those that a token may be signed by: of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and
	// EdDSA. By default RS256, ES256 and EdDSA.
	Algorithms []string
	// Types are the values of the header typ that a token may have, in letters of any size and without "application/" in front.
	// By default "JWT" and "at+jwt"; a token without typ is accepted. Services sign by the same keys what is no session: that
	// somebody has signed out, or what another application may act by.
	Types []string
	// JWKS is where the keys are. By default it is asked of Issuer, by OpenID Connect Discovery.
	JWKS string
	// AllowHTTP accepts addresses without TLS, such as those of a private network. Those of the machine itself (localhost,
	// 127.0.0.1, ::1) are accepted anyway.
	AllowHTTP bool
	// Leeway is by how much the service's clock and this one may differ: 30 seconds by default, 5 minutes at most.
	Leeway time.Duration
	// IgnoreClaims are left out of Identity.Claims, since they are different in each token of a session and functions would be
	// run again for them.
	IgnoreClaims []string
	// Check may refuse a token by its claims, after all else was checked. What it refuses with by engine.Errorf reaches the
	// client, any other error only the log. The map must not be changed. It is called concurrently, and must be quick.
	Check func(claims map[string]any) error
	// Provision makes a user of whoever has none, from the claims; see the package's documentation. Nil makes none.
	Provision authmod.Mapping
	// VerifiedEmail says which e-mail address the service vouches for, "" for none: a new account is linked to the user who has
	// proved the same address before. By default it is the claim email, where email_verified is true. It is called
	// concurrently.
	VerifiedEmail func(claims map[string]any) string
	// Client fetches the keys. By default it is one that gives up after 5 seconds. Redirects are followed to addresses that
	// would be accepted here, three at most, whatever the client says.
	Client *http.Client
}

// Claims are the standard claims about a person, of OpenID Connect Core 1.0, section 5.1, for a Provision. Which of them a
// token has is up to the service; access tokens often have none. A Provision may take a struct of its own in place of it.
type Claims struct {
	Subject       string `json:"sub"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	Name          string `json:"name"`
	GivenName     string `json:"given_name"`
	FamilyName    string `json:"family_name"`
	Picture       string `json:"picture"`
}

// Module accepts the tokens of one service. It is safe for concurrent use.
type Module struct {
	o        Options
	host     *authmod.Host
	external *authmod.External
	keys     *keySet
	refusals fewlines.Limit // lines about refused tokens
}

var (
	_ authmod.Module        = (*Module)(nil)
	_ authmod.TokenVerifier = (*Module)(nil)
)

const (
	defaultName   = "jwt"
	defaultLeeway = 30 * time.Second
	maxLeeway     = 5 * time.Minute
)

// New returns a module for authmod.Options.Modules. Wrong options are reported by Open.
func New(o Options) *Module {
	if o.Name == "" {
		o.Name = defaultName
	}
	if len(o.Algorithms) == 0 {
		o.Algorithms = []string{"RS256", "ES256", "EdDSA"}
	}
	if len(o.Types) == 0 {
		o.Types = []string{"JWT", "at+jwt"}
	}
	if o.Leeway == 0 {
		o.Leeway = defaultLeeway
	}
	if o.VerifiedEmail == nil {
		o.VerifiedEmail = standardEmail
	}
	return &Module{o: o}
}

// Provider is Options.Name.
func (m *Module) Provider() string { return m.o.Name }

// Attach is called by authmod.New.
func (m *Module) Attach(h *authmod.Host) {
	m.host = h
	m.o.check(h.Problem)
	m.external = h.External(m.o.Name, m.o.Provision)
	m.keys = newKeySet(m.o, m.logger)
}

// SignIn refuses: people sign in at the service, and present its token.
func (m *Module) SignIn(*authmod.Attempt) (authmod.Answer, error) {
	return authmod.Answer{}, authmod.Invalid(engine.Issue{
		Path: "provider", Rule: "enum", Message: "is signed in to elsewhere: present the token that it gives",
	})
}

// Readmit lets a subject in again that was deleted: the next token of theirs makes a new user. Nothing happens to others.
func (m *Module) Readmit(tx *engine.Tx, subject string) error { return m.external.Readmit(tx, subject) }

func (m *Module) logger() *slog.Logger {
	if db := m.host.DB(); db != nil {
		return db.Options().Logger.With("provider", m.o.Name)
	}
	return slog.New(slog.DiscardHandler)
}

// asymmetric are the algorithms that there can be.
var asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func (o *Options) check(problem func(format string, a ...any)) {
	if o.Issuer == "" || slices.Contains(o.OtherIssuers, "") {
		problem("an Issuer is empty")
	}
	if slices.Contains(o.Audience, "") {
		problem("an Audience is empty")
	}
	if len(o.Audience) == 0 && !o.AudienceOptional {
		problem("Audience is empty: tokens that were made for others would be accepted; AudienceOptional is for services " +
			"whose tokens have no aud")
	}
	for _, alg := range o.Algorithms {
		if !slices.Contains(asymmetric, alg) {
			problem("algorithm %q is not one of %s", alg, strings.Join(asymmetric, ", "))
		}
	}
	if slices.Contains(o.Types, "") {
		problem("one of Types is empty")
	}
	if o.Leeway < 0 || o.Leeway > maxLeeway {
		problem("Leeway is %v, and must be from 0 to %v", o.Leeway, maxLeeway)
	}
	name, address := "JWKS", o.JWKS
	if address == "" {
		name, address = "Issuer, which is asked for the keys,", o.Issuer
	}
	if err := o.allowed(address); err != nil {
		problem("%s %w", name, err)
	}
}

// allowed says whether keys may be fetched from an address: by TLS, or from the machine itself, or from anywhere if it was
// allowed. Whoever can put themselves between could otherwise give keys of their own.
func (o *Options) allowed(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return fmt.Errorf("is no address such as https://example.com/jwks.json")
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme == "https" || u.Scheme == "http" && (o.AllowHTTP || local) {
		return nil
	}
	return fmt.Errorf("is not https")
}

// standardEmail is the address of the standard claims.
func standardEmail(claims map[string]any) string {
	if verified, _ := claims["email_verified"].(bool); !verified {
		return ""
	}
	email, _ := claims["email"].(string)
	return email
}
