package subscriptions_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/jwt"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
	"github.com/mimosadb/mimosa/triggers"
)

type kitUser struct {
	authmod.UserFields
	Role string `json:"role"`
}

// kit is an application whose people sign in at a service elsewhere, and that service.
type kit struct {
	*host
	users *engine.Collection[kitUser]
	clock *handClock
	key   ed25519.PrivateKey
	web   *httptest.Server

	// welcomes has a document for each time that OnCreate of users fired in a transaction that committed.
	welcomes *engine.Collection[userArgs]

	mu   sync.Mutex
	away bool // guarded by mu; the service does not answer
}

func setupKit(t *testing.T) *kit {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{clock: newClock(), key: private}
	k.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.away {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	t.Cleanup(k.web.Close)

	s := engine.NewSchema()
	k.users = engine.Define[kitUser](s, "users")
	k.welcomes = engine.Define[userArgs](s, "welcomes")
	o := jwt.Options{
		Issuer: k.web.URL, JWKS: k.web.URL, Audience: []string{"app"}, IgnoreClaims: []string{"fva"},
		Provision: authmod.NewMapping(func(c jwt.Claims, u *kitUser) error {
			u.Name, u.Role = c.Name, "member"
			return nil
		}),
	}
	auth := authmod.New(s, k.users, authmod.Options{Modules: []authmod.Module{jwt.New(o)}})
	triggers.OnCreate(k.users, "welcome", func(tx *engine.Tx, u *engine.Doc[kitUser]) error {
		if u.Value.Name == "Pan" {
			panic("a secret reason")
		}
		if u.Value.Name == "Eve" {
			return engine.Errorf("not_invited", "by invitation only")
		}
		_, err := k.welcomes.Insert(tx, userArgs{User: string(u.ID)})
		return err
	})
	engine.Query(s, "users:me", func(r *engine.ReadTx, _ none) (string, error) {
		who, err := r.Identity()
		if err != nil || who == nil {
			return "nobody", err
		}
		u, err := k.users.Get(r, engine.ID[kitUser](who.User))
		if err != nil {
			return "", err
		}
		return u.Value.Name + " " + u.Value.Role, nil
	})
	engine.Mutation(s, "users:rename", func(tx *engine.Tx, in userArgs) (string, error) {
		id, err := authmod.UserID(tx, k.users)
		if err != nil {
			return "", err
		}
		return in.User, k.users.Patch(tx, id, func(u *kitUser) error { u.Name = in.User; return nil })
	})
	engine.Action(s, "fails:action", func(_ *engine.ActionCtx, in codeArgs) (none, error) { return none{}, fail(in.Code) })

	db := enginetest.Open(t, s, func(o *engine.Options) { o.Clock = k.clock.Now })
	srv := subscriptions.New(db, subscriptions.Options{Authenticator: auth, Clock: k.clock})
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		web.Close()
	})
	k.host = &host{t: t, db: db, srv: srv, url: web.URL}
	return k
}

// token is one that the service signs, for a minute.
func (k *kit) token(subject, name string, more ...map[string]any) string {
	now := k.clock.Now().Unix()
	claims := map[string]any{
		"iss": k.web.URL, "aud": "app", "sub": subject, "name": name, "sid": "s-" + subject, "iat": now, "exp": now + 60, "jti": rand.Text(),
	}
	for _, m := range more {
		maps.Copy(claims, m)
	}
	part := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			k.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	text := part(map[string]any{"alg": "EdDSA", "kid": "k", "typ": "JWT"}) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.key, []byte(text)))
}

func (k *kit) setAway(away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
}

// created is how often OnCreate of users fired.
func (k *kit) created() (n int) {
	k.t.Helper()
	err := k.db.View(context.Background(), func(r *engine.ReadTx) (err error) {
		n, err = k.welcomes.All(r).Count()
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

func (k *kit) onlyUser() engine.ID[kitUser] {
	k.t.Helper()
	var id engine.ID[kitUser]
	err := k.db.View(context.Background(), func(r *engine.ReadTx) error {
		d, err := k.users.All(r).First()
		if err == nil {
			id = d.ID
		}
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return id
}

// The client of a service's user is that user when its token is confirmed, though nobody has heard of them before; what it sent
// meanwhile runs as them; a new token of the same session runs nothing again.
func TestServiceTokens(t *testing.T) {
	t.Parallel()
	k := setupKit(t)
	c := k.connect()
	c.authenticate(k.token("ann", "Ann", map[string]any{"fva": []int{0, -1}}))
	c.watch(0, "users:me", `{}`)
	c.mutate(0, "users:rename", `{"user":"Anne"}`)
	c.done(0)
	if c.values[0] != `"Anne member"` || c.version.Identity != 1 {
		t.Fatalf("%v at %+v", c.values, c.version)
	}
	before := k.srv.Stats().Evaluations
	k.clock.advance(50 * time.Second)
	c.authenticate(k.token("ann", "Ann", map[string]any{"fva": []int{1, -1}}))
	c.until("the new token", func() bool { return c.version.Identity == 2 })
	if n := k.srv.Stats().Evaluations - before; n != 0 {
		t.Errorf("a new token ran %d queries again", n)
	}
	if k.created() != 1 {
		t.Errorf("OnCreate fired %d times", k.created())
	}

	// Claims are part of what functions see.
	c.authenticate(k.token("ann", "Ann", map[string]any{"org_role": "admin"}))
	c.until("other claims", func() bool { return c.version.Identity == 3 })
	if n := k.srv.Stats().Evaluations - before; n == 0 {
		t.Error("other claims ran nothing again")
	}

	resp, body := k.post("/api/query", `{"path":"users:me","args":{}}`, "Authorization", "Bearer "+k.token("bob", "Bob"))
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"Bob member"`) {
		t.Errorf("over HTTP: %d %s", resp.StatusCode, body)
	}
}

func TestServiceTokensOnManySockets(t *testing.T) {
	t.Parallel()
	k := setupKit(t)
	clients := make([]*client, 24)
	for i := range clients {
		clients[i] = k.connect()
		clients[i].watch(0, "users:me", `{}`)
		clients[i].until("the result", func() bool { return clients[i].values[0] == `"nobody"` })
	}
	for _, c := range clients {
		c.authenticate(k.token("ann", "Ann"))
	}
	for _, c := range clients {
		c.until("the user", func() bool { return c.values[0] == `"Ann member"` && c.version.Identity == 1 })
	}
	if k.created() != 1 {
		t.Errorf("OnCreate fired %d times", k.created())
	}
}

// A trigger that refuses the user refuses the token, in its own words, and nothing is left.
func TestServiceTokenRefusedByATrigger(t *testing.T) {
	t.Parallel()
	k := setupKit(t)
	c := k.connect()
	c.watch(0, "users:me", `{}`)
	c.expect(`T 1.0 0="nobody"`)
	c.authenticate(k.token("eve", "Eve"))
	m, err := c.receive()
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := m.(*wire.AuthError); !ok || e.Error != "by invitation only" || !e.AuthUpdateAttempted {
		t.Errorf("got %+v", m)
	}
	resp, body := k.post("/api/query", `{"path":"users:me","args":{}}`, "Authorization", "Bearer "+k.token("eve", "Eve"))
	if resp.StatusCode != http.StatusUnauthorized || body != `{"code":"not_invited","message":"by invitation only"}` {
		t.Errorf("over HTTP: %d %s", resp.StatusCode, body)
	}
	err = k.db.View(context.Background(), func(r *engine.ReadTx) error {
		n, err := k.users.All(r).Count()
		if n != 0 {
			t.Errorf("%d users", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.auth = 1
	c.authenticate(k.token("ann", "Ann"))
	c.until("another user", func() bool { return c.values[0] == `"Ann member"` })
}

// A trigger that is broken says nothing against the token: nobody is told that they are signed out over HTTP.
func TestServiceTokenBreaksATrigger(t *testing.T) {
	t.Parallel()
	k := setupKit(t)
	resp, body := k.post("/api/query", `{"path":"users:me","args":{}}`, "Authorization", "Bearer "+k.token("pan", "Pan"))
	const want = `{"code":"internal","message":"the token could not be checked"}`
	if resp.StatusCode != http.StatusInternalServerError || body != want || resp.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("over HTTP: %d %s", resp.StatusCode, body)
	}
	c := k.connect()
	c.authenticate(k.token("pan", "Pan"))
	m, err := c.receive()
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := m.(*wire.AuthError); !ok || e.Error != "the token could not be checked" {
		t.Errorf("got %+v", m)
	}
	if n := k.created(); n != 0 {
		t.Errorf("%d users were made", n)
	}
}

// The deletion of the user ends it on all devices, and no token brings them back.
func TestServiceUserIsDeleted(t *testing.T) {
	t.Parallel()
	k := setupKit(t)
	devices := []*client{k.connect(), k.connect()}
	for _, c := range devices {
		c.authenticate(k.token("ann", "Ann"))
		c.watch(0, "users:me", `{}`)
		c.until("the user", func() bool { return c.values[0] == `"Ann member"` && c.version.Identity == 1 })
	}
	id := k.onlyUser()
	if err := k.db.Update(context.Background(), func(tx *engine.Tx) error { return k.users.Delete(tx, id) }); err != nil {
		t.Fatal(err)
	}
	for _, c := range devices {
		for told := false; !told; {
			m, err := c.receive()
			if err != nil {
				t.Fatal(err)
			}
			e, ok := m.(*wire.AuthError)
			told = ok && !e.AuthUpdateAttempted
		}
	}
	k.clock.advance(3 * time.Second) // the time that they have to leave
	for _, c := range devices {
		c.until("being nobody", func() bool { return c.values[0] == `"nobody"` })
		c.authenticate(k.token("ann", "Ann"))
		for {
			m, err := c.receive()
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := m.(*wire.AuthError); ok {
				if !e.AuthUpdateAttempted || e.Error != "the user has been deleted" {
					t.Errorf("a new token: %+v", e)
				}
				break
			}
		}
	}
	resp, body := k.post("/api/query", `{"path":"users:me","args":{}}`, "Authorization", "Bearer "+k.token("ann", "Ann"))
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "unauthenticated") {
		t.Errorf("over HTTP: %d %s", resp.StatusCode, body)
	}
	if k.created() != 1 {
		t.Errorf("OnCreate fired %d times", k.created())
	}
}

func TestServiceTokenExpires(t *testing.T) {
	t.Parallel()
	k := setupKit(t)
	c := k.connect()
	c.authenticate(k.token("ann", "Ann"))
	c.watch(0, "users:me", `{}`)
	c.until("the user", func() bool { return c.values[0] == `"Ann member"` && c.version.Identity == 1 })
	k.clock.advance(89 * time.Second) // a minute, and the leeway of 30 s
	c.mutate(0, "users:rename", `{"user":"Anne"}`)
	c.done(0)
	k.clock.advance(2 * time.Second)
	for {
		m, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := m.(*wire.AuthError); ok {
			if e.AuthUpdateAttempted || e.Error != "the token has expired" {
				t.Errorf("got %+v", e)
			}
			break
		}
	}
}

// auth:signOut leaves the session alone, which is the service's to end.
func TestServiceSessionAndSignOut(t *testing.T) {
	t.Parallel()
	k := setupKit(t)
	c := k.connect()
	c.authenticate(k.token("ann", "Ann"))
	c.watch(0, "users:me", `{}`)
	c.until("the user", func() bool { return c.values[0] == `"Ann member"` && c.version.Identity == 1 })
	c.act(0, "auth:signOut", `{}`)
	c.expect(`A 0 null`)
	c.act(1, "auth:signIn", `{"provider":"jwt","params":{}}`)
	c.expect(`A 1 !invalid`)
	c.mutate(2, "users:rename", `{"user":"Anne"}`)
	c.done(2)
	if c.values[0] != `"Anne member"` {
		t.Errorf("values %v", c.values)
	}
	c.quiet()
}

// A service whose keys cannot be had says nothing against the token.
func TestServiceIsAway(t *testing.T) {
	t.Parallel()
	k := setupKit(t)
	k.setAway(true)
	resp, body := k.post("/api/query", `{"path":"users:me","args":{}}`, "Authorization", "Bearer "+k.token("ann", "Ann"))
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"busy"`) || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	c := k.connect()
	c.authenticate(k.token("ann", "Ann"))
	c.watch(0, "users:me", `{}`)
	c.mutate(0, "users:rename", `{"user":"Anne"}`) // waits, and does not run as nobody
	c.expect("AuthError 0 true", `T 1.0 0="nobody"`)
	k.setAway(false)
	k.clock.advance(9 * time.Second) // the client comes back
	c.auth = 1
	c.authenticate("nonsense")
	c.expect("AuthError 1 true")
	k.clock.advance(2 * time.Second)
	c.auth = 2
	c.authenticate(k.token("ann", "Ann"))
	c.done(0)
	if c.values[0] != `"Anne member"` {
		t.Errorf("values %v", c.values)
	}
}
