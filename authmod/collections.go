package authmod

import (
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// account is one way in which one user signs in: a password, an identity at another service. Account ids are unique within
// their provider.
type account struct {
	Provider          string `json:"provider"`
	ProviderAccountID string `json:"providerAccountId"`
	User              string `json:"user"`
	// Secret is whatever the module needs to recognise the person again, such as the hash of a password. Modules must not
	// put anything here that would open the account by itself.
	Secret string `json:"secret,omitempty"`
	// SignUp is the sign-up that made the account, for as long as it may be sent again.
	SignUp *signUpRecord `json:"signUp,omitempty"`
}

// signUpRecord is what a sign-up leaves behind for a client that does not get its answer: whose key it was and what session it
// made. Tokens are not in it, nor anything of which they could be made.
type signUpRecord struct {
	// Key is the hash of the idempotency key.
	Key     string    `json:"key"`
	Session string    `json:"session"`
	Expires time.Time `json:"expires"`
}

// session is one sign-in on one device. Its document is what tx.Identity reads, so every change of it reruns that device's
// live queries; hence nothing is here that changes while the session goes on.
type session struct {
	User string `json:"user"`
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
	accounts        *engine.Collection[account]
	accountsByID    *engine.Index[account]
	accountsByUser  *engine.Index[account]
	sessions        *engine.Collection[session]
	sessionsByUser  *engine.Index[session]
	tokens          *engine.Collection[refreshToken]
	tokensByFamily  *engine.Index[refreshToken]
	tokensBySession *engine.Index[refreshToken]
	keys            *engine.Collection[signingKey]
	keysByPublicKey *engine.Index[signingKey]
}

func defineCollections(s *engine.Schema) collections {
	c := collections{
		accounts: engine.Define[account](s, "authAccounts"),
		sessions: engine.Define[session](s, "authSessions"),
		tokens:   engine.Define[refreshToken](s, "authRefreshTokens"),
		keys:     engine.Define[signingKey](s, "authKeys"),
	}
	c.accountsByID = c.accounts.AddUnique("providerAccount", "provider", "providerAccountId")
	c.accountsByUser = c.accounts.AddIndex("user", "user")
	c.sessionsByUser = c.sessions.AddIndex("user", "user", "ends")
	c.tokensByFamily = c.tokens.AddIndex("family", "family")
	c.tokensBySession = c.tokens.AddIndex("session", "session")
	c.keysByPublicKey = c.keys.AddUnique("keyId", "keyId")
	return c
}
