package authmod

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/mimosadb/mimosa/engine"
)

// A key is one that signs access tokens: ECDSA on P-256, which every JWT library knows.
type key struct {
	id      string // RFC 7638 thumbprint
	private *ecdsa.PrivateKey
	public  jwk
	now     func() time.Time // of the database that it was read from
}

// jwk is the public half as RFC 7517 writes it. The order of its first four members is that of the thumbprint.
type jwk struct {
	Curve string `json:"crv"`
	Type  string `json:"kty"`
	X     string `json:"x"`
	Y     string `json:"y"`
	Use   string `json:"use,omitempty"`
	Alg   string `json:"alg,omitempty"`
	KeyID string `json:"kid,omitempty"`
}

func newKey(private *ecdsa.PrivateKey, now func() time.Time) (*key, error) {
	point, err := private.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		return nil, err
	}
	half := (len(point) - 1) / 2
	public := jwk{
		Curve: "P-256", Type: "EC",
		X: base64.RawURLEncoding.EncodeToString(point[1 : 1+half]),
		Y: base64.RawURLEncoding.EncodeToString(point[1+half:]),
	}
	canonical, err := json.Marshal(public)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	public.KeyID = base64.RawURLEncoding.EncodeToString(sum[:])
	public.Use, public.Alg = "sig", "ES256"
	return &key{id: public.KeyID, private: private, public: public, now: now}, nil
}

// keyring holds the keys of the databases that were opened with one schema. One program opens one; tests open many, which
// come and go, so databases are not kept alive by it.
type keyring struct {
	mu      sync.RWMutex
	byID    map[string]*key                      // guarded by mu
	signing map[weak.Pointer[engine.DB]]*key     // guarded by mu
	order   []string                             // guarded by mu; ids in the order in which they came
	kept    map[weak.Pointer[engine.DB]][]string // guarded by mu; which database has which keys
}

func newKeyring() *keyring {
	return &keyring{
		byID: map[string]*key{}, signing: map[weak.Pointer[engine.DB]]*key{}, kept: map[weak.Pointer[engine.DB]][]string{},
	}
}

// add takes in the keys of a database; the last one signs.
func (r *keyring) add(db *engine.DB, keys []*key) {
	w := weak.Make(db)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if r.byID[k.id] == nil {
			r.order = append(r.order, k.id)
		}
		r.byID[k.id] = k // a database that was closed and opened again: the newer one's clock
		r.kept[w] = append(r.kept[w], k.id)
	}
	r.signing[w] = keys[len(keys)-1]
	runtime.AddCleanup(db, r.drop, w)
}

// drop forgets a database that is gone, and the keys that no other one has.
func (r *keyring) drop(w weak.Pointer[engine.DB]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := r.kept[w]
	delete(r.kept, w)
	delete(r.signing, w)
	for _, id := range mine {
		used := false
		for _, ids := range r.kept {
			used = used || slices.Contains(ids, id)
		}
		if !used {
			delete(r.byID, id)
			r.order = slices.DeleteFunc(r.order, func(o string) bool { return o == id })
		}
	}
}

func (r *keyring) find(id string) *key {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byID[id]
}

func (r *keyring) signer(db *engine.DB) (*key, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k := r.signing[weak.Make(db)]
	if k == nil {
		return nil, errors.New("authmod: the database was not opened with this Auth's schema")
	}
	return k, nil
}

// public lists the public keys, oldest first.
func (r *keyring) public() []jwk {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]jwk, 0, len(r.order))
	for _, id := range r.order {
		out = append(out, r.byID[id].public)
	}
	return out
}

// openKeys reads a database's signing keys, and makes one where there is none. It runs inside Open. Keys that were stored
// in the clear go once a secret is given: they lie in every older copy of the files.
func (a *Auth) openKeys(ctx context.Context, db *engine.DB) error {
	sealer, err := newSealer(a.options.KeySecret)
	if err != nil {
		return err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("authmod: signing key: %w", err)
	}
	fresh, err := newKey(private, db.Now) // used where there is none
	if err != nil {
		return fmt.Errorf("authmod: signing key: %w", err)
	}
	var keys []*key
	err = db.Update(ctx, func(tx *engine.Tx) error {
		keys = nil // the function may run again
		docs, err := a.c.keys.All(tx).Collect()
		if err != nil {
			return err
		}
		for _, d := range docs {
			if sealer != nil && !d.Value.Sealed {
				if err := a.c.keys.Delete(tx, d.ID); err != nil {
					return err
				}
				continue
			}
			k, err := sealer.open(d.Value, db.Now)
			if err != nil {
				return fmt.Errorf("authmod: signing key %s: %w", d.Value.KeyID, err)
			}
			keys = append(keys, k)
		}
		if len(keys) > 0 {
			return nil
		}
		keys = []*key{fresh}
		stored, err := sealer.seal(fresh)
		if err != nil {
			return err
		}
		_, err = a.c.keys.Insert(tx, stored)
		return err
	})
	if err != nil {
		return err
	}
	a.keys.add(db, keys)
	return nil
}

// sealer encrypts signing keys at rest with AES-256-GCM under a key derived from Options.KeySecret. A nil sealer leaves them
// in the clear.
type sealer struct{ aead cipher.AEAD }

// minKeySecret is in bytes.
const minKeySecret = 32

var errKeySecret = errors.New("it is encrypted, and Options.KeySecret is missing or not the one it was encrypted with")

func newSealer(secret []byte) (*sealer, error) {
	if len(secret) == 0 {
		return nil, nil
	}
	derived, err := hkdf.Key(sha256.New, secret, nil, "mimosa authmod signing keys v1", 32)
	if err != nil {
		return nil, fmt.Errorf("authmod: KeySecret: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("authmod: KeySecret: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("authmod: KeySecret: %w", err)
	}
	return &sealer{aead}, nil
}

func (s *sealer) seal(k *key) (signingKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return signingKey{}, fmt.Errorf("authmod: signing key: %w", err)
	}
	out := signingKey{KeyID: k.id}
	if s != nil {
		out.Sealed = true
		der = s.aead.Seal(nil, nil, der, []byte(k.id)) // its id goes with it: keys cannot be exchanged for one another
	}
	out.Private = base64.StdEncoding.EncodeToString(der)
	return out, nil
}

func (s *sealer) open(stored signingKey, now func() time.Time) (*key, error) {
	der, err := base64.StdEncoding.DecodeString(stored.Private)
	if err != nil {
		return nil, err
	}
	if stored.Sealed {
		if s == nil {
			return nil, errKeySecret
		}
		if der, err = s.aead.Open(nil, nil, der, []byte(stored.KeyID)); err != nil {
			return nil, errKeySecret
		}
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, fmt.Errorf("it is a %T, not an ECDSA key on P-256", crypto.PrivateKey(parsed))
	}
	k, err := newKey(private, now)
	if err != nil {
		return nil, err
	}
	if k.id != stored.KeyID {
		return nil, errors.New("it is not the key that its id names")
	}
	return k, nil
}
