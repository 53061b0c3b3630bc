package authmod

import (
	"encoding/json"
	"reflect"
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
	// AccessTTL is for how long an access token is valid: 15 minutes by default, 3 seconds at least. It bounds for how long
	// other services trust a token whose session has ended; Mimosa itself notices at once.
	AccessTTL time.Duration
	// SessionTTL is the absolute end of a session, however much it is used: 90 days by default.
	SessionTTL time.Duration
	// IdleTTL ends a session that is not used for so long: 30 days by default.
	IdleTTL time.Duration
	// KeySecret encrypts the signing keys in the database, with AES-256-GCM. It is at least 32 bytes, from a random source,
	// and kept outside the database. Without it, whoever can read the database's files can sign access tokens. Keys stored
	// before it was set are encrypted at the next Open; from then on it is needed.
	KeySecret []byte
	// OnSignIn runs in the transaction of every sign-in that makes a session, sign-ups included, after everything else in
	// it. An error undoes the whole. Refreshing a token is not a sign-in.
	OnSignIn func(tx *engine.Tx, in *SignInInfo) error
}

const (
	defaultName       = "mimosa"
	defaultAccessTTL  = 15 * time.Minute
	defaultSessionTTL = 90 * 24 * time.Hour
	defaultIdleTTL    = 30 * 24 * time.Hour
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
	keys     *keyring
}

// users is what this package does with the application's users, without their type.
type users interface {
	goType() reflect.Type
	shape() any // *engine.Shape of it
	plainProfile() Profile
	insert(tx *engine.Tx, doc json.RawMessage) (string, error)
}

type usersOf[T any, P userPtr[T]] struct {
	c *engine.Collection[T]
	s *engine.Shape[T]
}

func (u usersOf[T, P]) goType() reflect.Type { return reflect.TypeFor[T]() }
func (u usersOf[T, P]) shape() any           { return u.s }

func (u usersOf[T, P]) insert(tx *engine.Tx, doc json.RawMessage) (string, error) {
	if doc == nil {
		return "", errNoDocument
	}
	v, err := u.s.Decode(doc)
	if err != nil {
		return "", err
	}
	id, err := u.c.Insert(tx, v)
	return string(id), err
}

// plainProfile is that of modules without one.
func (u usersOf[T, P]) plainProfile() Profile {
	type params struct {
		Email string `json:"email,omitempty"`
	}
	return NewProfile(func(p params) (T, error) {
		var user T
		P(&user).authFields().Email = p.Email
		return user, nil
	})
}

// The functions of this package. Those below the line are internal.
const (
	fnSignIn          = "auth:signIn"
	fnSignOut         = "auth:signOut"
	fnIsAuthenticated = "auth:isAuthenticated"

	fnComplete = "auth:complete"
	fnRefresh  = "auth:refresh"
	fnEnd      = "auth:end"
)

type attachKey struct{}

// New gives a schema its sign-in: the actions auth:signIn and auth:signOut, the query auth:isAuthenticated, and the
// collections authAccounts, authSessions, authRefreshTokens and authKeys. users is the application's own collection, whose
// struct embeds UserFields. It is called once a schema; what is wrong is reported by engine.Open.
func New[T any, P userPtr[T]](s *engine.Schema, users *engine.Collection[T], o Options) *Auth {
	a := &Auth{
		schema: s, options: o.withDefaults(), modules: map[string]Module{}, hosts: map[string]*Host{},
		shapes: map[reflect.Type]any{}, keys: newKeyring(),
	}
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
	a.users = usersOf[T, P]{users, engine.ShapeOf[T](s)}
	checkUserType(s, reflect.TypeFor[T]())
	a.options.check(s)
	a.c = defineCollections(s)
	a.registerFunctions()
	s.OnWrite(&forgetting{auth: a, users: users.Name()})
	s.OnOpen(a.openKeys)
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
	text(&o.Issuer)
	text(&o.Audience)
	span(&o.AccessTTL, defaultAccessTTL)
	span(&o.SessionTTL, defaultSessionTTL)
	span(&o.IdleTTL, defaultIdleTTL)
	return o
}

func (o Options) check(s *engine.Schema) {
	if o.AccessTTL < minTTL {
		s.Problem("authmod: AccessTTL is %v, and must be at least %v", o.AccessTTL, minTTL)
	}
	if o.SessionTTL <= minTTL || o.IdleTTL <= minTTL {
		s.Problem("authmod: SessionTTL is %v and IdleTTL %v, and both must be longer than %v", o.SessionTTL, o.IdleTTL, minTTL)
	}
	if n := len(o.KeySecret); n > 0 && n < minKeySecret {
		s.Problem("authmod: KeySecret has %d bytes, and must have at least %d", n, minKeySecret)
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

// UserID returns the user whom r runs as, as an id of the users collection. When nobody is signed in the error is of code
// unauthenticated.
func UserID[T any](r engine.Reader, users *engine.Collection[T]) (engine.ID[T], error) {
	who, err := r.Identity()
	if err != nil {
		return "", err
	}
	if who == nil || who.User == "" {
		return "", engine.Errorf(engine.CodeUnauthenticated, "nobody is signed in")
	}
	return users.ParseID(who.User)
}
