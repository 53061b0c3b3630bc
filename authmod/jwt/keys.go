package jwt

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// When keys are fetched.
const (
	// refreshAfter is for how long keys are used without being fetched again.
	refreshAfter = 10 * time.Minute
	// maxStale is for how long they are used when they cannot be. A service that is away for longer signs nobody in anyway.
	maxStale = 24 * time.Hour
	// betweenFetches is the least time between two attempts for keys that are not known, and betweenRefreshes between two that
	// fail for keys that are.
	betweenFetches   = 10 * time.Second
	betweenRefreshes = time.Minute
)

var errUnknownKey = errors.New("no key of the service fits the token")

// verifyingKey is a public key of the service.
type verifyingKey struct {
	id     string
	alg    string // empty where the service does not say
	public crypto.PublicKey
}

// keySet is the keys of a service, as they were fetched last. Whoever finds that they are to be fetched does so, in the call
// that needs them; others go on with what is known, or wait for the result if that is of no use to them.
type keySet struct {
	source *source
	logger func() *slog.Logger

	mu       sync.Mutex
	keys     []verifyingKey // guarded by mu
	fetched  time.Time      // guarded by mu; when keys came
	tried    time.Time      // guarded by mu; when the last attempt began
	failed   bool           // guarded by mu; whether it did
	fetching chan struct{}  // guarded by mu; closed when the attempt under way has ended; nil when there is none
}

func newKeySet(o Options, logger func() *slog.Logger) *keySet {
	return &keySet{source: newSource(o), logger: logger}
}

// find returns the keys that a token of this algorithm and key id may be signed by.
func (s *keySet) find(now time.Time, alg, kid string) ([]crypto.PublicKey, error) {
	s.mu.Lock()
	found := s.match(now, alg, kid)
	switch {
	case len(found) > 0 && since(now, s.fetched) < refreshAfter:
		s.mu.Unlock()
		return found, nil
	case len(found) > 0 && s.fetching == nil && since(now, s.tried) >= betweenRefreshes:
		s.fetch(now)
	case len(found) > 0: // being fetched by somebody else, or not to be had
		s.mu.Unlock()
		return found, nil
	case s.fetching != nil:
		under := s.fetching
		s.mu.Unlock()
		<-under
		s.mu.Lock()
	case since(now, s.tried) >= betweenFetches:
		s.fetch(now)
	}
	defer s.mu.Unlock()
	found = s.match(now, alg, kid)
	switch {
	case len(found) > 0:
		return found, nil
	case s.failed && (len(s.keys) == 0 || since(now, s.fetched) >= maxStale):
		return nil, errUnavailable
	}
	return nil, errUnknownKey
}

// renew fetches the keys where they have not been a moment ago, and says whether there are any that may be other ones.
func (s *keySet) renew(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetching != nil || since(now, s.tried) < betweenFetches {
		return false
	}
	s.fetch(now)
	return !s.failed
}

// match returns the keys that are known and fit. A token without a key id has to be of the only one. s.mu is held.
func (s *keySet) match(now time.Time, alg, kid string) (found []crypto.PublicKey) {
	if since(now, s.fetched) >= maxStale {
		return nil
	}
	for _, k := range s.keys {
		if (kid == "" || k.id == kid) && (k.alg == "" || k.alg == alg) && fits(k.public, alg) {
			found = append(found, k.public)
		}
	}
	if kid == "" && len(found) > 1 {
		return nil
	}
	return found
}

// fetch fetches the keys. s.mu is held, but not while it waits.
func (s *keySet) fetch(now time.Time) {
	done := make(chan struct{})
	s.fetching, s.tried = done, now
	first := len(s.keys) == 0
	s.mu.Unlock()
	keys, err := s.source.keys(context.Background(), first)
	if err != nil {
		s.logger().Warn("keys could not be fetched", "error", err)
	}
	s.mu.Lock()
	if s.failed = err != nil; !s.failed {
		s.keys, s.fetched = keys, now
	}
	s.fetching = nil
	close(done)
}

// since is how long ago something was, and long for what was never, or by a clock that was set back since. A little after now
// is now: of calls that come at once one may have read the clock before another, and look here after it.
func since(now, then time.Time) time.Duration {
	const before = time.Minute
	switch d := now.Sub(then); {
	case then.IsZero() || d < -before:
		return 1<<63 - 1
	default:
		return max(d, 0)
	}
}

// minRSA is the least size of an RSA key, in bits (RFC 7518, section 3.3).
const minRSA = 2048

// fits says whether a key is one of the algorithm's, so that no token chooses what a key is used for.
func fits(key crypto.PublicKey, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return (alg[:2] == "RS" || alg[:2] == "PS") && k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		return alg == map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[k.Curve.Params().Name]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}
