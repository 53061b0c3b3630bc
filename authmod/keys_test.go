package authmod_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

type plainUser struct{ authmod.UserFields }

// reopen opens a memory with a key secret, and returns the published keys and everything that is stored.
func reopen(t *testing.T, shared *memstore.Shared, keySecret []byte) (jwks, dump string, err error) {
	t.Helper()
	s := engine.NewSchema()
	auth := authmod.New(s, engine.Define[plainUser](s, "users"), authmod.Options{KeySecret: keySecret})
	var store storage.Store = shared.Open()
	db, err := engine.Open(s, engine.Options{Store: store})
	if err != nil {
		return "", "", err
	}
	w := httptest.NewRecorder()
	auth.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil))
	a := &app{t: t, store: store}
	dump = a.dump()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return w.Body.String(), dump, nil
}

// storedKey finds the private key among the documents.
var storedKey = regexp.MustCompile(`"private":"([^"]+)"`)

func privateKey(t *testing.T, dump string) []byte {
	t.Helper()
	m := storedKey.FindStringSubmatch(dump)
	if m == nil {
		t.Fatalf("no key in\n%s", dump)
	}
	b, err := base64.StdEncoding.DecodeString(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The object identifier of elliptic curve keys, which every PKCS #8 key of ours begins with.
var oid = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}

func TestSigningKeyIsSealed(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	one, two := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	keys, dump, err := reopen(t, shared, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(privateKey(t, dump), oid) {
		t.Fatal("without a secret the key is not what this test takes it for")
	}
	// Older copies of the files have that key. Once there is a secret it is another, which is sealed and stays.
	clear := keys
	for i := range 3 {
		again, dump, err := reopen(t, shared, one)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			keys = again
		}
		if again != keys || again == clear {
			t.Errorf("the keys are %s, were %s, and %s before there was a secret", again, keys, clear)
		}
		if bytes.Contains(privateKey(t, dump), oid) {
			t.Error("the key is stored in the clear")
		}
	}
	for name, wrong := range map[string][]byte{"none": nil, "another": two} {
		if _, _, err := reopen(t, shared, wrong); err == nil || !strings.Contains(err.Error(), "KeySecret") {
			t.Errorf("with a secret of %s Open said %v", name, err)
		}
	}
	if again, _, err := reopen(t, shared, one); err != nil || again != keys {
		t.Errorf("the right secret afterwards: %v", err)
	}
}

// Whoever signs with the key that an older copy of the files has in the clear is nobody, once there is a secret; people stay
// signed in.
func TestOldKeyIsGoodForNothing(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	call := func(keySecret []byte, args string) (answer, *authmod.Auth) {
		t.Helper()
		s := engine.NewSchema()
		auth := authmod.New(s, engine.Define[plainUser](s, "users"), authmod.Options{KeySecret: keySecret, Modules: []authmod.Module{&linkModule{}}})
		db, err := engine.Open(s, engine.Options{Store: shared.Open()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		res, err := db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: json.RawMessage(args)})
		if err != nil {
			t.Fatal(err)
		}
		var out answer
		if err := json.Unmarshal(res.Value, &out); err != nil || out.Tokens == nil {
			t.Fatalf("%s %v", res.Value, err)
		}
		if _, err := auth.Principal(out.Tokens.Token); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return out, auth
	}
	before, _ := call(nil, `{"provider":"link","params":{"flow":"now","email":"a@b.example"}}`)
	_, auth := call(bytes.Repeat([]byte{1}, 32), `{"refreshToken":"`+before.Tokens.RefreshToken+`"}`)
	if _, err := auth.Principal(before.Tokens.Token); !errors.Is(err, &engine.Error{Code: engine.CodeUnauthenticated}) {
		t.Errorf("a token of the old key: %v", err)
	}
}

func TestSealedFromTheStart(t *testing.T) {
	t.Parallel()
	_, dump, err := reopen(t, memstore.NewShared(memstore.Options{}), bytes.Repeat([]byte{7}, 40))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(privateKey(t, dump), oid) {
		t.Error("the key is stored in the clear")
	}
}

// The secret may come from the environment; what Options say goes first.
func TestSealedByTheEnvironment(t *testing.T) {
	t.Setenv("MIMOSA_AUTH_SECRET", strings.Repeat("environment", 4))
	shared := memstore.NewShared(memstore.Options{})
	_, dump, err := reopen(t, shared, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(privateKey(t, dump), oid) {
		t.Error("the key lies in the clear")
	}
	if _, _, err := reopen(t, shared, bytes.Repeat([]byte("o"), 32)); err == nil {
		t.Error("the environment outdid Options")
	}
	t.Setenv("MIMOSA_AUTH_SECRET", "short")
	if _, _, err := reopen(t, shared, nil); err == nil || !strings.Contains(err.Error(), "MIMOSA_AUTH_SECRET") {
		t.Errorf("a short one: %v", err)
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]int{"": 404, "school": 404, "https://school.example": 200, "https://school.example/": 200} {
		s := engine.NewSchema()
		auth := authmod.New(s, engine.Define[plainUser](s, "users"), authmod.Options{Issuer: issuer})
		w := httptest.NewRecorder()
		auth.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration", nil))
		if w.Code != want {
			t.Errorf("issuer %q: status %d, want %d", issuer, w.Code, want)
		}
		if want != 200 {
			continue
		}
		var doc map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		if doc["issuer"] != issuer || doc["jwks_uri"] != "https://school.example/.well-known/jwks.json" {
			t.Errorf("issuer %q: %v", issuer, doc)
		}
	}
}

// The same schema opened twice: each database signs with its own key, and both verify.
func TestOneSchemaManyDatabases(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	users := engine.Define[plainUser](s, "users")
	m := &linkModule{}
	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{m}})
	var tokens []string
	for range 2 {
		db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		res, err := db.RunAction(context.Background(), engine.Call{
			Function: "auth:signIn", Args: json.RawMessage(`{"provider":"link","params":{"flow":"now","email":"a@b.example"}}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		var out answer
		if err := json.Unmarshal(res.Value, &out); err != nil || out.Tokens == nil {
			t.Fatalf("%s %v", res.Value, err)
		}
		tokens = append(tokens, out.Tokens.Token)
	}
	a := &app{t: t, auth: auth}
	if n := len(a.jwks()); n != 2 {
		t.Errorf("%d keys", n)
	}
	for i, token := range tokens {
		if _, err := auth.Principal(token); err != nil {
			t.Errorf("token %d: %v", i, err)
		}
	}
}
