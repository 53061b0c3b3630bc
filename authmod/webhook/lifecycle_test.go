package webhook_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/engine"
)

// A user of Clerk comes, changes and goes: each time the application's document and what its triggers write, in one transaction
// that belongs to no sign-in.
func TestClerk(t *testing.T) {
	t.Parallel()
	a := setup(t)
	a.expect("200 applied", "msg_1", clerkUser("user.created", "user_1", "Ada@Example.com", at(1)))
	ada := User{}
	ada.Email, ada.EmailVerified, ada.Name, ada.Image = "ada@example.com", true, "Ada Lovelace", "https://img.example.com/user_1"
	if got := a.people(); len(got) != 1 || got[0] != ada {
		t.Fatalf("users %+v, want %+v", got, ada)
	}
	a.expect("200 applied", "msg_2", clerkUser("user.updated", "user_1", "ada@new.example.com", at(2), map[string]any{
		"banned": true, "last_name": nil,
	}))
	ada.Email, ada.Name, ada.Banned = "ada@new.example.com", "Ada", true
	if got := a.people(); len(got) != 1 || got[0] != ada {
		t.Fatalf("users %+v, want %+v", got, ada)
	}
	a.expect("200 applied", "msg_3", clerkDeleted("user_1", at(3)))
	if got := a.people(); len(got) != 0 {
		t.Fatalf("users %+v, want none", got)
	}
	const want = "created ada@example.com\nupdated ada@new.example.com\ndeleted ada@new.example.com"
	if got := a.entries(); got != want {
		t.Errorf("the triggers saw %q, want %q", got, want)
	}
	if n := a.accounts(); n != 0 {
		t.Errorf("%d accounts are left", n)
	}
}

// The same for WorkOS, and for any sender that keeps to the standard.
func TestOtherSenders(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		path     string
		event    func(id, typ, email, updated string) string
		sign     func(a *app, id, body string) http.Header
		verified bool
	}{
		"WorkOS": {
			workosPath,
			func(id, typ, email, updated string) string {
				return encode(map[string]any{
					"object": "event", "id": id, "event": typ, "created_at": updated, "context": map[string]any{},
					"data": map[string]any{
						"object": "user", "id": "user_01", "email": email, "email_verified": true, "first_name": "Ada",
						"last_name": "Lovelace", "profile_picture_url": nil, "metadata": map[string]string{"zone": "x"},
						"created_at": "2026-03-01T11:00:00.000Z", "updated_at": updated, "last_sign_in_at": nil,
					},
				})
			},
			func(a *app, _, body string) http.Header { return workos(a.clock.now(), workSecret, body) },
			true,
		},
		"Standard": {
			clubPath,
			func(id, typ, email, updated string) string {
				return encode(map[string]any{
					"type": typ, "timestamp": updated, "data": map[string]any{"id": "m1", "email": email, "name": "Ada Lovelace"},
				})
			},
			func(a *app, id, body string) http.Header {
				return signed("webhook", id, a.clock.now(), clerkSecret, body)
			},
			false,
		},
		"Clerk under the standard's names": {
			clerkPath,
			func(id, typ, email, updated string) string {
				when, err := time.Parse(time.RFC3339, updated)
				if err != nil {
					t.Error(err)
				}
				return clerkUser(typ, "user_1", email, when.UnixMilli())
			},
			func(a *app, id, body string) http.Header {
				return signed("webhook", id, a.clock.now(), clerkSecret, body)
			},
			true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup(t)
			send := func(want, id, typ, email, updated string) {
				t.Helper()
				body := test.event(id, typ, email, updated)
				if got := a.deliver(http.MethodPost, test.path, test.sign(a, id, body), []byte(body)); got.String() != want {
					t.Fatalf("%s: %v %s, want %s", id, got, got.Message, want)
				}
			}
			send("200 applied", "e1", "user.created", "ada@example.com", "2026-03-01T12:00:00.001Z")
			send("200 applied", "e3", "user.updated", "ada@third.example.com", "2026-03-01T12:00:00.003Z")
			send("200 stale", "e2", "user.updated", "ada@second.example.com", "2026-03-01T12:00:00.002Z")
			send("200 duplicate", "e3", "user.updated", "ada@third.example.com", "2026-03-01T12:00:00.003Z")
			got := a.people()
			if len(got) != 1 || got[0].Email != "ada@third.example.com" || got[0].EmailVerified != test.verified {
				t.Fatalf("users %+v", got)
			}
			send("200 applied", "e4", "user.deleted", "", "2026-03-01T12:00:00.004Z")
			send("200 stale", "e5", "user.updated", "ada@fourth.example.com", "2026-03-01T12:00:00.005Z")
			if got := a.people(); len(got) != 0 {
				t.Fatalf("users %+v, want none", got)
			}
			const want = "created ada@example.com\nupdated ada@third.example.com\ndeleted ada@third.example.com"
			if got := a.entries(); got != want {
				t.Errorf("the triggers saw %q, want %q", got, want)
			}
		})
	}
}

// Signatures are those that the senders' own libraries make: the one that the libraries of Standard Webhooks and Svix test
// themselves with, and one of WorkOS' scheme made by OpenSSL.
func TestSignaturesOfOthers(t *testing.T) {
	t.Parallel()
	const (
		published = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		body      = `{"test": 2432232314}`
	)
	a := setup(t, func(s *settings) {
		s.clerk.Secrets = []string{published}
		s.standard.Secrets = []string{"v1," + published}
		s.workos.Secrets = []string{"whsec_test_secret_key"}
	})
	a.clock.advance(-start.Sub(unix(1614265330)))
	standard := func(prefix, signature string) http.Header {
		h := signed(prefix, "msg_p5jXN8AQM9LWM0D4loKWxJek", unix(1614265330), published, body)
		h.Set(prefix+"-signature", signature)
		return h
	}
	for name, test := range map[string]struct {
		path   string
		header http.Header
		want   string // what is signed is no event: 400 when the signature holds
	}{
		"svix":            {clerkPath, standard("svix", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), "400 invalid"},
		"svix, wrong":     {clerkPath, standard("svix", "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="), "401 unauthenticated"},
		"standard":        {clubPath, standard("webhook", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), "400 invalid"},
		"standard, wrong": {clubPath, standard("webhook", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA="), "401 unauthenticated"},
		"workos": {workosPath, http.Header{"Workos-Signature": {
			"t=1614265330000, v1=437737f33a39ec797c78a2685f3f49de87fa882ad44614c24764328a390aa481",
		}}, "400 invalid"},
		"workos, wrong": {workosPath, http.Header{"Workos-Signature": {
			"t=1614265330001, v1=437737f33a39ec797c78a2685f3f49de87fa882ad44614c24764328a390aa481",
		}}, "401 unauthenticated"},
	} {
		if got := a.deliver(http.MethodPost, test.path, test.header, []byte(body)); got.String() != test.want {
			t.Errorf("%s: %v %s, want %s", name, got, got.Message, test.want)
		}
	}
}

// Functions of the application run once an event, in its transaction, and find the service's users.
func TestOn(t *testing.T) {
	t.Parallel()
	type session struct {
		UserID string `json:"user_id"`
	}
	var a *app
	refuse := true
	a = setup(t, func(s *settings) {
		s.clerk.On = map[string]func(*engine.Tx, webhook.Event) error{
			"session.revoked": func(tx *engine.Tx, e webhook.Event) error {
				in, err := webhook.Decode[session](e)
				if err != nil {
					return err
				}
				user, err := e.User(tx, in.UserID)
				if err != nil {
					return err
				}
				return a.users.Patch(tx, engine.ID[User](user), func(u *User) error { u.Plan = "revoked"; return nil })
			},
			"user.created": func(tx *engine.Tx, e webhook.Event) error {
				if _, err := a.diary.Insert(tx, Entry{e.Type + " " + e.ID}); err != nil {
					return err
				}
				if refuse {
					return engine.Errorf("not_now", "not now")
				}
				return nil
			},
		}
	})
	created := clerkUser("user.created", "user_1", "ada@example.com", at(1))
	a.expect("422 not_now", "msg_1", created)
	if got, users := a.entries(), a.people(); got != "" || len(users) != 0 {
		t.Fatalf("refused, and yet there is %q and %+v", got, users)
	}
	refuse = false
	a.expect("200 applied", "msg_1", created)
	a.expect("200 duplicate", "msg_1", created)
	revoked := encode(map[string]any{"type": "session.revoked", "data": map[string]any{"id": "sess_1", "user_id": "user_1"}})
	a.expect("200 applied", "msg_2", revoked)
	if got := a.people(); len(got) != 1 || got[0].Plan != "revoked" {
		t.Errorf("users %+v", got)
	}
	if got := a.entries(); got != "created ada@example.com\nuser.created msg_1\nupdated ada@example.com" {
		t.Errorf("diary %q", got)
	}
	// Of a user who is not known here the application decides: this one refuses, and the event comes again.
	a.expect("500 internal", "msg_3", strings.Replace(revoked, "user_1", "user_2", 1))
	a.expect("400 invalid", "msg_4", `{"type":"session.revoked","data":{"user_id":7}}`)
	// What nobody asked for is answered at once, and leaves no trace.
	a.expect("200 ignored", "msg_5", `{"type":"session.created","data":{"user_id":"user_1"}}`)
	a.expect("200 ignored", "msg_5", `{"type":"session.created","data":{"user_id":"user_1"}}`)
}

// An application may read events in its own way.
func TestRead(t *testing.T) {
	t.Parallel()
	a := setup(t, func(s *settings) {
		s.standard.Read = func(e webhook.Event) (webhook.Change, error) {
			in, err := webhook.Decode[struct {
				Member  Member `json:"member"`
				Version int64  `json:"version"`
			}](e)
			if err != nil || e.Type != "member.changed" {
				return webhook.Change{}, err
			}
			return webhook.Change{
				Op: webhook.Put, Subject: in.Member.ID, At: unix(in.Version), VerifiedEmail: in.Member.Email,
				Data: []byte(encode(in.Member)),
			}, nil
		}
	})
	send := func(id, typ string, data any) reply {
		t.Helper()
		body := encode(map[string]any{"type": typ, "data": data})
		return a.deliver(http.MethodPost, clubPath, signed("webhook", id, a.clock.now(), clerkSecret, body), []byte(body))
	}
	member := func(version int, name string) any {
		return map[string]any{"version": version, "member": Member{"m1", "ada@example.com", name}}
	}
	for _, step := range []struct{ id, typ, name, want string }{
		{"1", "member.changed", "Ada", "200 applied"},
		{"0", "member.changed", "A.", "200 stale"},
		{"2", "user.deleted", "", "200 ignored"},
		{"3", "member.changed", "Ada L.", "200 applied"},
	} {
		if got := send("e"+step.id, step.typ, member(int(step.id[0]-'0'), step.name)); got.String() != step.want {
			t.Errorf("%+v: %v %s", step, got, got.Message)
		}
	}
	if got := a.people(); len(got) != 1 || got[0].Name != "Ada L." || !got[0].EmailVerified {
		t.Errorf("users %+v", got)
	}
	if got := send("e4", "member.changed", "no object"); got.String() != "400 invalid" {
		t.Errorf("data of the wrong type: %v", got)
	}
}
