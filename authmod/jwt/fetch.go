package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of what is asked for the keys.
const (
	maxBody      = 1 << 20
	maxRedirects = 3
	fetchTime    = 5 * time.Second
)

// pauses stand between the attempts to fetch keys where none are known: whoever waits is at the door.
var pauses = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond}

// source is where the keys of a service come from.
type source struct {
	o      Options
	client *http.Client
}

func newSource(o Options) *source {
	c := http.Client{}
	if o.Client != nil {
		c = *o.Client
	}
	if c.Timeout == 0 {
		c.Timeout = fetchTime
	}
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		if err := o.allowed(r.URL.String()); err != nil {
			return fmt.Errorf("the address that it redirects to %w", err)
		}
		return nil
	}
	return &source{o: o, client: &c}
}

// keys fetches the keys, more than once if it is insistent.
func (s *source) keys(ctx context.Context, insist bool) (keys []verifyingKey, err error) {
	for i := 0; ; i++ {
		if keys, err = s.once(ctx); err == nil || !insist || i == len(pauses) {
			return keys, err
		}
		pause := time.NewTimer(pauses[i])
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

func (s *source) once(ctx context.Context) ([]verifyingKey, error) {
	address := s.o.JWKS
	if address == "" {
		var err error
		if address, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, address, &set); err != nil {
		return nil, err
	}
	var keys []verifyingKey
	var ignored error
	for _, raw := range set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			ignored = err // a set may have keys that not everybody understands (RFC 7517, section 5)
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no key that can be used: %w", address, ignored)
	}
	return keys, nil
}

// discover asks the issuer where its keys are (OpenID Connect Discovery 1.0, section 4).
func (s *source) discover(ctx context.Context) (string, error) {
	var about struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	address := strings.TrimSuffix(s.o.Issuer, "/") + "/.well-known/openid-configuration"
	if err := s.get(ctx, address, &about); err != nil {
		return "", err
	}
	if about.Issuer != s.o.Issuer {
		return "", fmt.Errorf("%s says that it is the issuer %q, and not %q", address, about.Issuer, s.o.Issuer)
	}
	if err := s.o.allowed(about.JWKS); err != nil {
		return "", fmt.Errorf("%s: jwks_uri %q %w", address, about.JWKS, err)
	}
	return about.JWKS, nil
}

func (s *source) get(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	res, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", address, err)
	case len(body) > maxBody:
		return fmt.Errorf("%s answers with more than %d bytes", address, maxBody)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}

// parseKey reads a JSON Web Key that verifies signatures. A key whose secret half is published is nobody's.
func parseKey(raw json.RawMessage) (verifyingKey, error) {
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(raw); err != nil {
		return verifyingKey{}, err
	}
	switch {
	case !k.Valid():
		return verifyingKey{}, errors.New("a key is not valid")
	case !k.IsPublic():
		return verifyingKey{}, errors.New("a key is not a public one")
	case k.Use != "" && k.Use != "sig":
		return verifyingKey{}, errors.New("a key is not for signatures")
	}
	return verifyingKey{id: k.KeyID, alg: k.Algorithm, public: k.Key}, nil
}
