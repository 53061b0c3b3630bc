//go:build linux

package examples_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// service signs tokens as a service does that people sign in by, and publishes its key.
type service struct {
	t      *testing.T
	method jwt.SigningMethod
	key    crypto.Signer
}

func newService(t *testing.T, method jwt.SigningMethod) *service {
	t.Helper()
	s := &service{t: t, method: method}
	var err error
	if method == jwt.SigningMethodEdDSA {
		_, s.key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		s.key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ServeHTTP answers with the JWK Set.
func (s *service) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	key := object{"kid": "key", "use": "sig", "alg": s.method.Alg()}
	switch public := s.key.Public().(type) {
	case ed25519.PublicKey:
		key["kty"], key["crv"], key["x"] = "OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(public)
	case *rsa.PublicKey:
		key["kty"], key["n"] = "RSA", base64.RawURLEncoding.EncodeToString(public.N.Bytes())
		key["e"] = base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes())
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(object{"keys": []any{key}}); err != nil {
		s.t.Error(err)
	}
}

// token is one with these claims, good for a minute.
func (s *service) token(claims object) string {
	s.t.Helper()
	now := time.Now()
	all := jwt.MapClaims{"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": rand.Text()}
	for name, v := range claims {
		all[name] = v
	}
	t := jwt.NewWithClaims(s.method, all)
	t.Header["kid"] = "key"
	signed, err := t.SignedString(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

// webhookKey is a secret as Svix and Standard Webhooks have them.
var webhookKey = "whsec_" + base64.StdEncoding.EncodeToString([]byte("twenty-four bytes at least"))

// deliver sends an event as Svix (prefix "svix") or Standard Webhooks (prefix "webhook") say, and returns status and outcome.
func (p *program) deliver(path, prefix, id, key string, event object) (int, string) {
	p.t.Helper()
	body, err := json.Marshal(event)
	if err != nil {
		p.t.Fatal(err)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		p.t.Fatal(err)
	}
	stamp := fmt.Sprint(time.Now().Unix())
	mac := hmac.New(sha256.New, secret)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	return p.outcome(path, body, map[string]string{
		prefix + "-id": id, prefix + "-timestamp": stamp,
		prefix + "-signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	})
}

// deliverWorkOS sends an event as WorkOS says.
func (p *program) deliverWorkOS(path, key string, event object) (int, string) {
	p.t.Helper()
	body, err := json.Marshal(event)
	if err != nil {
		p.t.Fatal(err)
	}
	stamp := fmt.Sprint(time.Now().UnixMilli())
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = fmt.Fprintf(mac, "%s.%s", stamp, body)
	return p.outcome(path, body, map[string]string{
		"WorkOS-Signature": fmt.Sprintf("t=%s, v1=%s", stamp, hex.EncodeToString(mac.Sum(nil))),
	})
}

func (p *program) outcome(path string, body []byte, headers map[string]string) (int, string) {
	p.t.Helper()
	h := http.Header{"Content-Type": {"application/json"}}
	for name, value := range headers {
		h.Set(name, value)
	}
	status, raw := p.send(http.MethodPost, path, h, body)
	var answer struct{ Outcome, Code string }
	if err := json.Unmarshal(raw, &answer); err != nil {
		p.t.Fatalf("%s: status %d, %s", path, status, raw)
	}
	return status, answer.Outcome + answer.Code
}
