package authmod

import (
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// Account is one way in which one user signs in: a password, an identity at another service. Modules make accounts; an
// application that brings its users from elsewhere inserts them itself, through [Auth.Accounts].
type Account struct {
	// Provider is the name of the module that the account belongs to. Ids are unique within it.
	Provider          string `json:"provider" jsonschema:"minLength=1,maxLength=32"`
	ProviderAccountID string `json:"providerAccountId" jsonschema:"minLength=1,maxLength=1024"`
	// User is the id of the user's document.
	User string `json:"user" jsonschema:"minLength=1"`
	// Secret is whatever the module needs to recognise the person again, such as the hash of a password. Nothing is kept
	// here that would open the account by itself. It is for the module: a query must not give it to clients.
	Secret string `json:"secret,omitempty"`
	// VerifiedEmail is the normalised e-mail address that whoever signs in by this account has proved to be theirs, empty
	// when none: by a code that was sent there, or by the word of an identity provider. Accounts are linked by it.
	VerifiedEmail string `json:"verifiedEmail,omitempty"`
	// Temporary says that nobody can come back to the account, as with anonymous sign-ins. Its user goes over to the first
	// account that is not.
	Temporary bool `json:"temporary,omitempty"`
	// SignUp is the sign-up that made the account, for as long as it may be sent again.
	SignUp *SignUpNote `json:"signUp,omitempty"`
}

// SignUpNote is what a sign-up leaves behind for a client that does not get its answer: whose key it was and what session it
// made. Tokens are not in it, nor anything of which they could be made.
type SignUpNote struct {
	// Key is the hash of the idempotency key.
	Key     string    `json:"key"`
	Session string    `json:"session"`
	Expires time.Time `json:"expires"`
}

// Session is one sign-in on one device. Its document is what tx.Identity reads, so every change of it reruns that device's
// live queries; hence nothing is here that changes while the session goes on.
type Session struct {
	// User is the id of the user's document.
	User string `json:"user"`
	// Provider is the module that the person signed in by.
	Provider string `json:"provider,omitempty"`
	// Ends is the absolute end. No access token and no refresh token of the session is valid beyond it.
	Ends time.Time `json:"ends"`
	// Revoked is when it ended before its time: sign-out, a new sign-in in its place, a replayed refresh token.
	Revoked *time.Time `json:"revoked,omitempty"`
}

// refreshToken is one refresh token, of which only hashes are kept. Tokens form families: each use of one makes a child. A
// session has one family, and one more for each time its sign-up was sent again.
type refreshToken struct {
	// Family is the hash of the part that all tokens of one family share.
	Family string `json:"family"`
	// Hash is the hash of the whole token.
	Hash    string `json:"hash"`
	Session string `json:"session"`
	// Parent is the document of the token in exchange for which this one was given; empty for the first.
	Parent  string     `json:"parent,omitempty"`
	Expires time.Time  `json:"expires"`
	Used    *time.Time `json:"used,omitempty"`
}

// signingKey is a key that signs access tokens.
type signingKey struct {
	KeyID string `json:"keyId"`
	// Sealed says that Private is encrypted under Options.KeySecret.
	Sealed bool `json:"sealed"`
	// Private is PKCS #8 in base64, or the sealed form of it.
	Private string `json:"private"`
}

// collections are the ones this package defines.
type collections struct {
	accounts        *engine.Collection[Account]
	accountsByID    *engine.Index[Account]
	accountsByUser  *engine.Index[Account]
	accountsByEmail *engine.Index[Account]
	sessions        *engine.Collection[Session]
	sessionsByUser  *engine.Index[Session]
	sessionsByEnd   *engine.Index[Session]
	tokens          *engine.Collection[refreshToken]
	tokensByFamily  *engine.Index[refreshToken]
	tokensBySession *engine.Index[refreshToken]
	keys            *engine.Collection[signingKey]
	keysByPublicKey *engine.Index[signingKey]
}

func defineCollections(s *engine.Schema) collections {
	c := collections{
		accounts: engine.Define[Account](s, "authAccounts"),
		sessions: engine.Define[Session](s, "authSessions"),
		tokens:   engine.Define[refreshToken](s, "authRefreshTokens"),
		keys:     engine.Define[signingKey](s, "authKeys"),
	}
	c.accountsByID = c.accounts.AddUnique("providerAccount", "provider", "providerAccountId")
	c.accountsByUser = c.accounts.AddIndex("user", "user")
	c.accountsByEmail = c.accounts.AddIndex("verifiedEmail", "verifiedEmail")
	c.sessionsByEnd = c.sessions.AddIndex("ends", "ends")
	c.sessionsByUser = c.sessions.AddIndex("user", "user", "ends")
	c.tokensByFamily = c.tokens.AddIndex("family", "family")
	c.tokensBySession = c.tokens.AddIndex("session", "session")
	c.keysByPublicKey = c.keys.AddUnique("keyId", "keyId")
	return c
}

// Accounts is the collection authAccounts: for triggers, and for bringing users from elsewhere. Whoever inserts an account
// vouches for its VerifiedEmail, which gives its user every later account of that address.
func (a *Auth) Accounts() *engine.Collection[Account] { return a.c.accounts }

// Sessions is the collection authSessions, for triggers and reports. To end a session use RevokeSession or RevokeSessions,
// which take its refresh tokens along.
func (a *Auth) Sessions() *engine.Collection[Session] { return a.c.sessions }
