package authmod

import (
	"cmp"
	"context"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// Options configure New. The zero value, with Modules set, works.
type Options struct {
	// Modules are the ways to sign in.
	Modules []Module
	// Issuer and Audience are the claims iss and aud of access tokens; "mimosa" by default. An Issuer that is the program's
	// public address, such as "https://api.example.com", lets other services find the keys by OpenID Connect Discovery.
	// Changing either makes every access token invalid; clients then refresh.
	Issuer, Audience string
	// BaseURL is the public address of the program, under which Auth.Handler is served, such as "https://api.example.com".
	// Identity providers send browsers back there. Modules never take it from what a request says about its host.
	BaseURL string
	// SiteURL is the address of the pages from which people sign in, and to which they come back; BaseURL by default.
	SiteURL string
	// AccessTTL is for how long an access token is valid: 15 minutes by default, 3 seconds at least. It bounds for how long
	// other services trust a token whose session has ended; Mimosa itself notices at once.
	AccessTTL time.Duration
	// SessionTTL is the absolute end of a session, however much it is used: 90 days by default.
	SessionTTL time.Duration
	// IdleTTL ends a session that is not used for so long: 30 days by default.
	IdleTTL time.Duration
	// KeySecret encrypts the signing keys in the database, with AES-256-GCM. It is at least 32 bytes, from a random source,
	// and kept outside the database. Without it, whoever can read the database's files can sign access tokens. Keys stored
	// before it was set are replaced at the next Open, since older copies of the files have them: access tokens are invalid then,
	// and clients refresh. From then on it is needed. Where it is nil, it is what the environment
	// variable MIMOSA_AUTH_SECRET holds, if anything. One-time codes are hashed under it too.
	KeySecret []byte
	// MaxFailuresPerNetwork is how many attempts from one network, an IPv4 address or an IPv6 /64, may fail in an hour, in all
	// modules together, before clients of it get the code busy, with data {retryAfter: seconds}; 100 by default, unlimited with
	// -1. It stops who tries one password on many accounts, which limits by account do not see. Successes do not count, so that a
	// class behind one address signs in; nor do they clear the count. Where the network is not known there is no such limit. A
	// server behind a proxy sees the proxy's address alone, unless it is told to trust it.
	MaxFailuresPerNetwork int
	// MaxSendsPerAddress and MaxSendsPerNetwork are how many messages, such as mails with a code, may be asked for in an hour to
	// one address, and from one network, in all modules together; 5 and 50 by default, unlimited with -1. Beyond that the answer
	// is as above.
	MaxSendsPerAddress, MaxSendsPerNetwork int
	// OnSignIn runs in the transaction of every sign-in that makes a session, sign-ups included, after everything else in
	// it. An error undoes the whole. Refreshing a token is not a sign-in.
	OnSignIn func(tx *engine.Tx, in *SignInInfo) error
	// BeforeSession may refuse a session, such as that of somebody who is banned: it runs in the transaction of every sign-in,
	// when account and user are there and the session is not. Its error undoes the whole and reaches the client, if it was
	// made by engine.Errorf. It says nothing about sessions that are there: RevokeSessions ends those.
	BeforeSession func(tx *engine.Tx, in *SignInInfo) error
	// CustomClaims adds claims to a session's access tokens, for other services to read, and for Identity.Claims. It runs in
	// the transaction of each sign-in and of each refresh, so what it reads is as old as the token. Names that this package
	// uses itself are refused; all claims together have at most 4 KiB as JSON. Where the claims of a refreshed token are
	// others than before, live queries that read the identity run again.
	CustomClaims func(r engine.Reader, user, session string) (map[string]any, error)
}

const (
	defaultName       = "mimosa"
	defaultAccessTTL  = 15 * time.Minute
	defaultSessionTTL = 90 * 24 * time.Hour
	defaultIdleTTL    = 30 * 24 * time.Hour

	secretVariable = "MIMOSA_AUTH_SECRET"
)

// Auth is a schema's authentication. It is safe for concurrent use.
type Auth struct {
	schema   *engine.Schema
	options  Options
	c        collections
	users    users
	modules  map[string]Module
	hosts    map[string]*Host
	shapes   map[reflect.Type]any // *engine.Shape of the profiles' parameters
	complete engine.MutationRef[completeArgs, completed]
	refresh  engine.MutationRef[refreshArgs, refreshed]
	end      engine.MutationRef[endArgs, string]
	clear    engine.MutationRef[struct{}, struct{}]
	keys     *keyring
	open     openDatabases
	limits   limits
	external externals
	codes    *codeStore // nil until a module asks for codes
}

// The functions of this package. Those below the line are internal.
const (
	fnSignIn          = "auth:signIn"
	fnSignOut         = "auth:signOut"
	fnIsAuthenticated = "auth:isAuthenticated"
	fnSessions        = "auth:sessions"
	fnRevokeSession   = "auth:revokeSession"
	fnRevokeOthers    = "auth:revokeOtherSessions"
	fnAccounts        = "auth:accounts"
	fnUnlink          = "auth:unlink"

	fnComplete = "auth:complete"
	fnRefresh  = "auth:refresh"
	fnEnd      = "auth:end"
	fnPrune    = "auth:prune"
)

type attachKey struct{}

// New gives a schema its sign-in: the actions auth:signIn and auth:signOut, the queries auth:isAuthenticated, auth:sessions and
// auth:accounts, the mutations auth:revokeSession, auth:revokeOtherSessions and auth:unlink, and the collections authAccounts,
// authSessions, authRefreshTokens and authKeys, beside those of its modules, authCodes for instance. users is the application's
// own collection, whose struct embeds UserFields. It is called once a schema; what is wrong is reported by engine.Open.
func New[T any, P userPtr[T]](s *engine.Schema, users *engine.Collection[T], o Options) *Auth {
	a := &Auth{
		schema: s, options: o.withDefaults(), modules: map[string]Module{}, hosts: map[string]*Host{},
		shapes: map[reflect.Type]any{}, keys: newKeyring(),
	}
	a.limits = newLimits(a.options)
	if engine.Attach(s, attachKey{}, func() *Auth { return a }) != a {
		s.Problem("authmod: New was called twice")
		return a
	}
	if users == nil {
		s.Problem("authmod: the users collection is nil")
		return a
	}
	if users.Owner() != s {
		s.Problem("authmod: the users collection %s belongs to another schema", users.Name())
		return a
	}
	a.users = usersOf[T, P]{users, engine.DraftOf(users)}
	checkUserType(s, reflect.TypeFor[T]())
	a.options.check(s)
	a.c = defineCollections(s)
	a.registerFunctions()
	s.OnWrite(&forgetting{auth: a, users: users.Name()})
	s.OnOpen(a.openKeys)
	s.OnOpen(func(_ context.Context, db *engine.DB) error { a.open.add(db); return nil })
	for _, m := range o.Modules {
		a.attach(m)
	}
	return a
}

func (a *Auth) attach(m Module) {
	if m == nil {
		a.schema.Problem("authmod: a module is nil")
		return
	}
	name := m.Provider()
	switch {
	case !validProvider(name):
		a.schema.Problem("authmod: module %q: a provider's name is 1 to 32 letters, digits, _ and -, and begins with a letter", name)
		return
	case a.modules[name] != nil:
		a.schema.Problem("authmod: there are two modules %q", name)
		return
	}
	h := &Host{auth: a, provider: name}
	a.modules[name], a.hosts[name] = m, h
	m.Attach(h)
}

func validProvider(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '_' && r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= 32
}

func (o Options) withDefaults() Options {
	text := func(v *string) {
		if *v == "" {
			*v = defaultName
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	count := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	text(&o.Issuer)
	text(&o.Audience)
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	o.SiteURL = strings.TrimRight(cmp.Or(o.SiteURL, o.BaseURL), "/")
	span(&o.AccessTTL, defaultAccessTTL)
	span(&o.SessionTTL, defaultSessionTTL)
	span(&o.IdleTTL, defaultIdleTTL)
	count(&o.MaxFailuresPerNetwork, defaultNetworkFailures)
	count(&o.MaxSendsPerAddress, defaultAddressSends)
	count(&o.MaxSendsPerNetwork, defaultNetworkSends)
	if o.KeySecret == nil {
		o.KeySecret = []byte(os.Getenv(secretVariable))
	}
	return o
}

func (o Options) check(s *engine.Schema) {
	checkAddress(s, "BaseURL", o.BaseURL)
	checkAddress(s, "SiteURL", o.SiteURL)
	if o.AccessTTL < minTTL {
		s.Problem("authmod: AccessTTL is %v, and must be at least %v", o.AccessTTL, minTTL)
	}
	if o.SessionTTL <= minTTL || o.IdleTTL <= minTTL {
		s.Problem("authmod: SessionTTL is %v and IdleTTL %v, and both must be longer than %v", o.SessionTTL, o.IdleTTL, minTTL)
	}
	if n := len(o.KeySecret); n > 0 && n < minKeySecret {
		s.Problem("authmod: KeySecret has %d bytes, or %s has, and must have at least %d", n, secretVariable, minKeySecret)
	}
}

// forgetting removes what belongs to a user when the user's document is deleted, by whomever.
type forgetting struct {
	auth  *Auth
	users string
}

func (*forgetting) Before(*engine.ReadTx, *engine.Change) error { return nil }

func (f *forgetting) After(tx *engine.Tx, c engine.Change) error {
	if c.Collection != f.users || c.Op != engine.Delete {
		return nil
	}
	return f.auth.forget(tx, c.ID)
}
