package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

// The application under test keeps users of services elsewhere, and a diary that its triggers write.

type User struct {
	authmod.UserFields
	Plan   string `json:"plan,omitempty"`
	Banned bool   `json:"banned,omitempty"`
}

type Entry struct {
	Text string `json:"text"`
}

type settings struct {
	clerk, workos, standard webhook.Options
	onCreate                func(tx *engine.Tx, u *engine.Doc[User]) error
	onUpdate                func(tx *engine.Tx, before, after *engine.Doc[User]) error
	onDelete                func(tx *engine.Tx, u *engine.Doc[User]) error
	open                    func(o *engine.Options)
}

type app struct {
	t     testing.TB
	db    *engine.DB
	auth  *authmod.Auth
	users *engine.Collection[User]
	diary *engine.Collection[Entry]
	hook  *webhook.Module // Clerk's
	// tokens stands for the module that accepts the service's tokens.
	tokens *tokens
	clock  *clock
	log    *syncBuffer
	server *httptest.Server
}

// The secrets that the senders' dashboards show.
var (
	clerkSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("clerk's key, of 32 bytes or more"))
	workSecret  = "a secret of WorkOS, as it is shown"
	otherSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the key of somebody else entirely"))
)

// Member is the user as a sender of Standard Webhooks has it.
type Member struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name"`
}

func setup(t testing.TB, change ...func(*settings)) *app {
	t.Helper()
	a := &app{t: t, clock: newClock(), log: &syncBuffer{}}
	a.db = a.open(change...)
	return a
}

// open makes the application and opens a database with it.
func (a *app) open(change ...func(*settings)) *engine.DB {
	a.t.Helper()
	set := settings{
		clerk: webhook.Options{
			Secrets: []string{clerkSecret},
			Users: authmod.NewMapping(func(in webhook.ClerkUser, u *User) error {
				u.UserFields, u.Banned = in.Fields(), in.Banned
				return nil
			}),
		},
		workos: webhook.Options{
			Secrets: []string{workSecret},
			Users: authmod.NewMapping(func(in webhook.WorkOSUser, u *User) error {
				u.UserFields = in.Fields()
				return nil
			}),
		},
		standard: webhook.Options{
			Provider: "club", Name: "club-events", Secrets: []string{clerkSecret},
			Users: authmod.NewMapping(func(in Member, u *User) error {
				u.Email, u.Name = in.Email, in.Name
				return nil
			}),
		},
	}
	for _, c := range change {
		c(&set)
	}
	s := engine.NewSchema()
	a.users = engine.Define[User](s, "users")
	a.diary = engine.Define[Entry](s, "diary")
	a.tokens = &tokens{}
	a.hook = webhook.Clerk(set.clerk)
	a.auth = authmod.New(s, a.users, authmod.Options{Modules: []authmod.Module{
		a.tokens, a.hook, webhook.WorkOS(set.workos), webhook.Standard(set.standard),
	}})
	a.write(set)
	db := enginetest.Open(a.t, s, func(o *engine.Options) {
		o.Clock = a.clock.now
		o.Store = memstore.New(memstore.Options{Clock: a.clock.now})
		o.Logger = slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if set.open != nil {
			set.open(o)
		}
	})
	a.server = httptest.NewServer(a.auth.Handler())
	a.t.Cleanup(a.server.Close)
	return db
}

// write has the triggers write the diary.
func (a *app) write(set settings) {
	note := func(tx *engine.Tx, what string, u *engine.Doc[User]) error {
		if in := authmod.SignIn(tx); in != nil && in.Flow != "provision" {
			what += " in a sign-in"
		}
		_, err := a.diary.Insert(tx, Entry{what + " " + u.Value.Email})
		return err
	}
	triggers.OnCreate(a.users, "note", func(tx *engine.Tx, u *engine.Doc[User]) error {
		if err := note(tx, "created", u); err != nil || set.onCreate == nil {
			return err
		}
		return set.onCreate(tx, u)
	})
	triggers.OnUpdate(a.users, "note", func(tx *engine.Tx, before, after *engine.Doc[User]) error {
		if err := note(tx, "updated", after); err != nil || set.onUpdate == nil {
			return err
		}
		return set.onUpdate(tx, before, after)
	})
	triggers.OnDelete(a.users, "note", func(tx *engine.Tx, u *engine.Doc[User]) error {
		if err := note(tx, "deleted", u); err != nil || set.onDelete == nil {
			return err
		}
		return set.onDelete(tx, u)
	})
}

// tokens makes the users of tokens, as package jwt does.
type tokens struct{ external *authmod.External }

func (*tokens) Provider() string { return "clerk" }
func (m *tokens) Attach(h *authmod.Host) {
	m.external = h.External("clerk", authmod.NewMapping(func(in struct {
		Email string `json:"email"`
	}, u *User,
	) error {
		u.Email = in.Email
		return nil
	}))
}

func (*tokens) SignIn(*authmod.Attempt) (authmod.Answer, error) { return authmod.SignedOut(), nil }

// provision is what happens when a client presents a token.
func (a *app) provision(subject, email string) (user string, err error) {
	a.t.Helper()
	a.clock.advance(time.Millisecond)
	data, err := json.Marshal(map[string]string{"email": email})
	if err != nil {
		a.t.Fatal(err)
	}
	err = a.db.Update(context.Background(), func(tx *engine.Tx) (err error) {
		user, _, err = a.tokens.external.Provision(tx, authmod.ExternalUser{Subject: subject, Data: data})
		return err
	})
	return user, err
}

// people are the users' documents, in the order of their creation.
func (a *app) people() (out []User) {
	a.t.Helper()
	a.view(func(tx *engine.ReadTx) error {
		docs, err := a.users.All(tx).Collect()
		for _, d := range docs {
			out = append(out, d.Value)
		}
		return err
	})
	return out
}

// entries is the diary, one entry a line.
func (a *app) entries() string {
	a.t.Helper()
	var out []string
	a.view(func(tx *engine.ReadTx) error {
		docs, err := a.diary.All(tx).Collect()
		for _, d := range docs {
			out = append(out, d.Value.Text)
		}
		return err
	})
	return strings.Join(out, "\n")
}

func (a *app) accounts() (n int) {
	a.t.Helper()
	a.view(func(tx *engine.ReadTx) (err error) {
		n, err = a.auth.Accounts().All(tx).Count()
		return err
	})
	return n
}

func (a *app) view(fn func(tx *engine.ReadTx) error) {
	a.t.Helper()
	if err := a.db.View(context.Background(), fn); err != nil {
		a.t.Fatal(err)
	}
}

func (a *app) update(fn func(tx *engine.Tx) error) {
	a.t.Helper()
	a.clock.advance(time.Millisecond)
	if err := a.db.Update(context.Background(), fn); err != nil {
		a.t.Fatal(err)
	}
}

// reply is what a sender gets.
type reply struct {
	status  int
	header  http.Header
	Outcome string         `json:"outcome"`
	Code    engine.Code    `json:"code"`
	Message string         `json:"message"`
	Issues  []engine.Issue `json:"issues"`
}

func (r reply) String() string {
	return strings.TrimSpace(fmt.Sprint(r.status, " ", r.Outcome, r.Code))
}

// deliver sends a request as it is. No two are of the same millisecond, so that documents have an order.
func (a *app) deliver(method, path string, header http.Header, body []byte) reply {
	a.t.Helper()
	a.clock.advance(time.Millisecond)
	req, err := http.NewRequest(method, a.server.URL+path, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header = header
	res, err := a.server.Client().Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	out := reply{status: res.StatusCode, header: res.Header}
	if err := json.Unmarshal(raw, &out); err != nil && method != http.MethodHead {
		a.t.Fatalf("%s %s answered %d %q", method, path, res.StatusCode, raw)
	}
	return out
}

const (
	clerkPath  = "/api/auth/clerk-webhook"
	workosPath = "/api/auth/workos-webhook"
	clubPath   = "/api/auth/club-events"
)

// clerk delivers an event as Clerk does.
func (a *app) clerk(id, body string) reply {
	a.t.Helper()
	return a.deliver(http.MethodPost, clerkPath, signed("svix", id, a.clock.now(), clerkSecret, body), []byte(body))
}

// expect delivers an event as Clerk does, and fails the test if the answer is not "status outcome".
func (a *app) expect(want, id, body string) {
	a.t.Helper()
	if got := a.clerk(id, body); got.String() != want {
		a.t.Fatalf("event %s: %v %s %v, want %s", id, got, got.Message, got.Issues, want)
	}
}

// signed gives the headers of Standard Webhooks, under a prefix.
func signed(prefix, id string, at time.Time, secret, body string) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	return http.Header{
		http.CanonicalHeaderKey(prefix + "-id"):        {id},
		http.CanonicalHeaderKey(prefix + "-timestamp"): {stamp},
		http.CanonicalHeaderKey(prefix + "-signature"): {"v1," + sign(secret, id+"."+stamp+"."+body)},
	}
}

// sign is the signature of Standard Webhooks.
func sign(secret, text string) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(hmac256(key, text))
}

func hmac256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// workos gives the header of WorkOS.
func workos(at time.Time, secret, body string) http.Header {
	stamp := strconv.FormatInt(at.UnixMilli(), 10)
	sum := hex.EncodeToString(hmac256([]byte(secret), stamp+"."+body))
	return http.Header{"Workos-Signature": {"t=" + stamp + ", v1=" + sum}}
}

// at is a time of the service's, n milliseconds after the beginning.
func at(n int) int64 { return start.UnixMilli() + int64(n) }

// clerkUser is Clerk's event of a user, as of a time. The address is verified unless rest says otherwise; rest overrides
// members of data.
func clerkUser(typ, subject, email string, updated int64, rest ...map[string]any) string {
	data := map[string]any{
		"object": "user", "id": subject, "first_name": "Ada", "last_name": "Lovelace", "username": nil, "external_id": nil,
		"image_url": "https://img.example.com/" + subject, "has_image": true, "primary_phone_number_id": nil,
		"primary_email_address_id": "idn_1", "phone_numbers": []any{}, "web3_wallets": []any{}, "external_accounts": []any{},
		"email_addresses": []any{
			map[string]any{
				"object": "email_address", "id": "idn_0", "email_address": "old." + email,
				"verification": nil, "linked_to": []any{},
			},
			map[string]any{
				"object": "email_address", "id": "idn_1", "email_address": email, "linked_to": []any{},
				"verification": map[string]any{"status": "verified", "strategy": "email_code", "attempts": 1, "expire_at": 1700000000000},
			},
		},
		"public_metadata": map[string]any{"$plan": "a name that no document may have"}, "private_metadata": map[string]any{},
		"unsafe_metadata": map[string]any{}, "banned": false, "locked": false, "two_factor_enabled": false,
		"created_at": start.UnixMilli(), "updated_at": updated, "last_sign_in_at": nil,
	}
	for _, r := range rest {
		for k, v := range r {
			data[k] = v
		}
	}
	return encode(map[string]any{
		"object": "event", "type": typ, "timestamp": updated, "instance_id": "ins_1", "data": data,
		"event_attributes": map[string]any{"http_request": map[string]any{"client_ip": "192.0.2.7", "user_agent": "test"}},
	})
}

// clerkDeleted is Clerk's event of a user who is gone.
func clerkDeleted(subject string, when int64) string {
	return encode(map[string]any{
		"object": "event", "type": "user.deleted", "timestamp": when,
		"data": map[string]any{"object": "user", "id": subject, "deleted": true},
	})
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// start is when the tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that stands still between advances.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

func newClock() *clock { return &clock{at: start} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// syncBuffer takes the log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0) }
