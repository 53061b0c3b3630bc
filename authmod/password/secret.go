package password

import "strings"

// secret is what an account's Secret says: the hash of a password, or
//
//	unproved:signUp:hash   of an account that nobody has proved to be theirs yet; which sign-up made its user
//	none                   there is no password, and the person sets one by reset
//
// None but the first is anything that a password could be verified against by mistake.
type secret struct{ signUp, hash string }

const (
	unprovedPrefix = "unproved:"
	noPassword     = "none"
)

func (s secret) unproved() bool { return s.signUp != "" }

func (s secret) String() string {
	switch {
	case s.signUp != "":
		return unprovedPrefix + s.signUp + ":" + s.hash
	case s.hash == "":
		return noPassword
	}
	return s.hash
}

func parseSecret(stored string) secret {
	if rest, ok := strings.CutPrefix(stored, unprovedPrefix); ok {
		if signUp, hash, ok := strings.Cut(rest, ":"); ok && signUp != "" {
			return secret{signUp, hash}
		}
	}
	if stored == noPassword {
		return secret{}
	}
	return secret{hash: stored}
}
