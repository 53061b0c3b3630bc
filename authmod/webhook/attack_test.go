package webhook_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/engine"
)

// What somebody tries who knows the address and has seen deliveries, but has no key. None of it changes anything, and what was
// tried is not in the log.
func TestAttacks(t *testing.T) {
	t.Parallel()
	a := setup(t)
	a.expect("200 applied", "msg_0", clerkUser("user.created", "user_1", "ada@example.com", at(1)))
	before := fmt.Sprint(a.people(), a.entries(), a.accounts())

	body := clerkUser("user.created", "user_2", "mallory@example.com", at(5))
	now := a.clock.now()
	genuine := signed("svix", "msg_9", now, clerkSecret, body)
	with := func(name string, values ...string) http.Header {
		h := genuine.Clone()
		h[http.CanonicalHeaderKey(name)] = values
		return h
	}
	without := func(name string) http.Header {
		h := genuine.Clone()
		h.Del(name)
		return h
	}
	signature := genuine.Get("svix-signature")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signature, "v1,"))
	if err != nil {
		t.Fatal(err)
	}
	stamp := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	deleted := clerkDeleted("user_1", at(9))
	// The third signature is good, if only its body were this one.
	moved := "v1," + sign(clerkSecret, "msg_9."+stamp(0)+"."+deleted)

	type try struct {
		header http.Header
		body   string
		want   string
	}
	tries := map[string]try{
		"no headers":             {http.Header{}, body, "400 invalid"},
		"no id":                  {without("svix-id"), body, "400 invalid"},
		"no timestamp":           {without("svix-timestamp"), body, "400 invalid"},
		"no signature":           {without("svix-signature"), body, "400 invalid"},
		"an empty signature":     {with("svix-signature", ""), body, "400 invalid"},
		"another body":           {genuine, deleted, "401 unauthenticated"},
		"one space more":         {genuine, body + " ", "401 unauthenticated"},
		"an empty body":          {genuine, "", "401 unauthenticated"},
		"another id":             {with("svix-id", "msg_8"), body, "401 unauthenticated"},
		"another time":           {with("svix-timestamp", stamp(time.Second)), body, "401 unauthenticated"},
		"a key of somebody else": {signed("svix", "msg_9", now, otherSecret, body), body, "401 unauthenticated"},
		"the secret as it is shown": {
			with("svix-signature", "v1,"+shown(clerkSecret, "msg_9."+stamp(0)+"."+body)), body, "401 unauthenticated",
		},
		"a signature cut short": {with("svix-signature", signature[:len(signature)-4]), body, "401 unauthenticated"},
		"a signature's first half": {
			with("svix-signature", "v1,"+base64.StdEncoding.EncodeToString(raw[:16])), body, "401 unauthenticated",
		},
		"a signature with more behind it": {
			with("svix-signature", "v1,"+base64.StdEncoding.EncodeToString(append(raw, 0))), body, "401 unauthenticated",
		},
		"a signature of no version": {
			with("svix-signature", strings.TrimPrefix(signature, "v1,")), body, "401 unauthenticated",
		},
		"a signature of another version": {
			with("svix-signature", "v2"+strings.TrimPrefix(signature, "v1")), body, "401 unauthenticated",
		},
		"v1a, which is of public keys": {
			with("svix-signature", "v1a"+strings.TrimPrefix(signature, "v1")), body, "401 unauthenticated",
		},
		"no key at all": {
			with("svix-signature", "v1,"+shown("", "msg_9."+stamp(0)+"."+body)), body, "401 unauthenticated",
		},
		"signatures of other bodies": {with("svix-signature", moved+" "+moved+" v1,"), body, "401 unauthenticated"},
		"5 minutes and a second ago": {
			signed("svix", "msg_9", now.Add(-5*time.Minute-time.Second), clerkSecret, body), body, "400 invalid",
		},
		"5 minutes and two seconds hence": {
			signed("svix", "msg_9", now.Add(5*time.Minute+2*time.Second), clerkSecret, body), body, "400 invalid",
		},
		"a time before the epoch":   {with("svix-timestamp", "-"+stamp(0)), body, "400 invalid"},
		"a time with a sign":        {with("svix-timestamp", "+"+stamp(0)), body, "400 invalid"},
		"a time with zeros":         {with("svix-timestamp", "0"+stamp(0)), body, "400 invalid"},
		"a time with spaces inside": {with("svix-timestamp", stamp(0)[:5]+" "+stamp(0)[5:]), body, "400 invalid"},
		"a time in milliseconds":    {with("svix-timestamp", stamp(0)+"000"), body, "400 invalid"},
		"a time beyond all bounds":  {with("svix-timestamp", "99999999999999999999"), body, "400 invalid"},
		"a fraction of a time":      {with("svix-timestamp", stamp(0)+".5"), body, "400 invalid"},
		"a huge id":                 {with("svix-id", strings.Repeat("x", 300)), body, "400 invalid"},
		"a huge list":               {with("svix-signature", strings.Repeat(signature+" ", 90)), body, "400 invalid"},
		"a hundred headers":         {with("svix-signature", slices.Repeat([]string{signature}, 100)...), body, "400 invalid"},
		"two ids":                   {with("svix-id", "msg_9", "msg_10"), body, "400 invalid"},
		"two times":                 {with("svix-timestamp", stamp(0), stamp(time.Second)), body, "400 invalid"},
		"more than fit, good last":  {with("svix-signature", strings.Repeat(moved+" ", 16)+signature), body, "401 unauthenticated"},
		// "msg_9.T.{…}" cut elsewhere: the id takes the time, and the body would have to go on with a number.
		"the cut moved": {with("svix-id", "msg_9."+stamp(0)), body, "401 unauthenticated"},
		"an id with the body's beginning": {
			signed("svix", `msg_9.1.{"type":"user.created",`, now, clerkSecret, body), body, "400 invalid",
		},
		"a body larger than 1 MiB": {genuine, body + strings.Repeat(" ", 1<<20), "413 too_large"},
	}
	for i := range 3 * 8 { // one bit, anywhere
		changed := []byte(body)
		changed[i*len(changed)/24] ^= 1 << (i % 8)
		tries[fmt.Sprintf("bit %d of byte %d", i%8, i*len(changed)/24)] = try{genuine, string(changed), "401 unauthenticated"}
	}
	for name, test := range tries {
		got := a.deliver(http.MethodPost, clerkPath, test.header, []byte(test.body))
		if got.String() != test.want || got.Message == "" {
			t.Errorf("%s: %v %q, want %s", name, got, got.Message, test.want)
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		got := a.deliver(method, clerkPath, genuine, []byte(body))
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
			t.Errorf("%s: %v, Allow %q", method, got, got.header.Get("Allow"))
		}
	}
	for _, path := range []string{clerkPath + "/x", "/api/auth/clerk", "/api/auth/nobody", clubPath, workosPath} {
		if got := a.deliver(http.MethodPost, path, genuine, []byte(body)); got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %v", path, got)
		}
	}
	if after := fmt.Sprint(a.people(), a.entries(), a.accounts()); after != before {
		t.Errorf("now there is %s, and there was %s", after, before)
	}
	// The genuine one is good all the same, once.
	for _, want := range []string{"200 applied", "200 duplicate", "200 duplicate"} {
		if got := a.deliver(http.MethodPost, clerkPath, genuine, []byte(body)); got.String() != want {
			t.Errorf("the genuine delivery: %v %s, want %s", got, got.Message, want)
		}
	}
	for _, secret := range []string{
		"mallory", "ada@example.com", strings.TrimPrefix(signature, "v1,"), strings.TrimPrefix(clerkSecret, "whsec_"), "192.0.2.7",
	} {
		if strings.Contains(a.log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// Strangers do not fill the log: it tells of the first of them each minute, and of how many there were.
func TestFlood(t *testing.T) {
	t.Parallel()
	a := setup(t)
	flood := func(n int) {
		for range n {
			h := signed("svix", "msg_1", a.clock.now(), otherSecret, "{}")
			if got := a.deliver(http.MethodPost, clerkPath, h, []byte("{}")); got.String() != "401 unauthenticated" {
				t.Fatal(got, got.Message)
			}
		}
	}
	lines := func() int { return strings.Count(a.log.String(), "webhook refused") }
	flood(webhook.MaxLines + 70)
	if n := lines(); n != webhook.MaxLines {
		t.Errorf("%d lines, want %d", n, webhook.MaxLines)
	}
	// What is signed is told of all the same.
	a.expect("400 invalid", "msg_2", "{}")
	if n := lines(); n != webhook.MaxLines+1 {
		t.Errorf("%d lines, want %d", n, webhook.MaxLines+1)
	}
	a.clock.advance(time.Minute)
	flood(1)
	const want = `reason="no signature is of a key that is known here" more=70`
	if n := lines(); n != webhook.MaxLines+2 || !strings.Contains(a.log.String(), want) {
		t.Errorf("%d lines, want %d and %q", n, webhook.MaxLines+2, want)
	}
}

// shown signs with the text of a secret, as a careless receiver would verify.
func shown(secret, text string) string {
	return base64.StdEncoding.EncodeToString(hmac256([]byte(secret), text))
}

// The same for WorkOS' header.
func TestAttacksOnWorkOS(t *testing.T) {
	t.Parallel()
	a := setup(t)
	body := encode(map[string]any{
		"id": "event_1", "event": "user.created", "created_at": "2026-03-01T12:00:00Z",
		"data": map[string]any{"id": "user_1", "email": "ada@example.com", "updated_at": "2026-03-01T12:00:00Z"},
	})
	now := a.clock.now()
	genuine := workos(now, workSecret, body).Get("workos-signature")
	stamp, sum, _ := strings.Cut(genuine, ", v1=")
	for name, test := range map[string]struct{ header, want string }{
		"no header":         {"", "400 invalid"},
		"no time":           {"v1=" + sum, "400 invalid"},
		"no signature":      {stamp, "401 unauthenticated"},
		"two times":         {stamp + ", " + genuine, "400 invalid"},
		"another time":      {stamp[:len(stamp)-1] + "9, v1=" + sum, "401 unauthenticated"},
		"a time in seconds": {stamp[:len(stamp)-3] + ", v1=" + sum, "400 invalid"},
		"old": {
			workos(now.Add(-5*time.Minute-time.Second), workSecret, body).Get("workos-signature"), "400 invalid",
		},
		"of the future": {
			workos(now.Add(5*time.Minute+2*time.Second), workSecret, body).Get("workos-signature"), "400 invalid",
		},
		"another key":             {workos(now, workSecret+"x", body).Get("workos-signature"), "401 unauthenticated"},
		"a half of the signature": {stamp + ", v1=" + sum[:32], "401 unauthenticated"},
		"no hexadecimal digits":   {stamp + ", v1=" + strings.Repeat("z", 64), "401 unauthenticated"},
		"base64": {
			stamp + ", v1=" + base64.StdEncoding.EncodeToString(must(hex.DecodeString(sum))), "401 unauthenticated",
		},
		"version 2":   {stamp + ", v2=" + sum, "401 unauthenticated"},
		"a huge list": {genuine + strings.Repeat(", v1="+sum, 90), "400 invalid"},
		"nonsense":    {"=,=,,,;", "400 invalid"},
	} {
		got := a.deliver(http.MethodPost, workosPath, http.Header{"Workos-Signature": {test.header}}, []byte(body))
		if got.String() != test.want {
			t.Errorf("%s: %v %s, want %s", name, got, got.Message, test.want)
		}
	}
	if got := a.people(); len(got) != 0 {
		t.Errorf("users %+v", got)
	}
	// Any order, other members, upper case and a second signature are as good.
	for i, header := range []string{
		genuine, "v1=" + strings.ToUpper(sum) + ",x=y,  " + stamp, stamp + ", v1=" + strings.Repeat("0", 64) + ", v1=" + sum,
	} {
		want := []string{"200 applied", "200 duplicate"}[min(i, 1)]
		got := a.deliver(http.MethodPost, workosPath, http.Header{"Workos-Signature": {header}}, []byte(body))
		if got.String() != want {
			t.Errorf("%q: %v %s, want %s", header, got, got.Message, want)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Up to five minutes, either way, a delivery is taken; among several signatures one good one is enough, and any of our keys is.
func TestRotation(t *testing.T) {
	t.Parallel()
	a := setup(t, func(s *settings) { s.clerk.Secrets = []string{otherSecret, clerkSecret} })
	n := 0
	send := func(want string, header func(id, body string) http.Header) {
		t.Helper()
		n++
		id, body := fmt.Sprint("msg_", n), clerkUser("user.updated", "user_1", fmt.Sprint("ada", n, "@example.com"), at(n))
		if got := a.deliver(http.MethodPost, clerkPath, header(id, body), []byte(body)); got.String() != want {
			t.Errorf("delivery %d: %v %s, want %s", n, got, got.Message, want)
		}
	}
	for _, secret := range []string{otherSecret, clerkSecret} {
		for _, d := range []time.Duration{0, -5*time.Minute + time.Second, 5 * time.Minute} {
			send("200 applied", func(id, body string) http.Header {
				return signed("svix", id, a.clock.now().Add(d), secret, body)
			})
		}
	}
	third := "whsec_" + base64.StdEncoding.EncodeToString([]byte("a key that is known to nobody here"))
	send("401 unauthenticated", func(id, body string) http.Header { return signed("svix", id, a.clock.now(), third, body) })
	send("200 applied", func(id, body string) http.Header {
		h := signed("svix", id, a.clock.now(), clerkSecret, body)
		unknown := signed("svix", id, a.clock.now(), third, body).Get("svix-signature")
		h.Set("svix-signature", "v1a,"+strings.Repeat("A", 88)+" "+unknown+"  "+h.Get("svix-signature")+" v2,x")
		return h
	})
}

// Bodies that are signed and yet no events are refused, with what is wrong with them, and change nothing.
func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	a := setup(t)
	user := func(members map[string]any) string {
		return clerkUser("user.updated", "user_1", "ada@example.com", at(1), members)
	}
	for body, want := range map[string]engine.Issue{
		``:                {Path: "", Rule: "type"},
		`null`:            {Path: "", Rule: "type"},
		`[]`:              {Path: "", Rule: "type"},
		`"user.created"`:  {Path: "", Rule: "type"},
		`{"type":"x"`:     {Path: "", Rule: "json"},
		`{"type":"x"} {}`: {Path: "", Rule: "json"},
		`{}`:              {Path: "type", Rule: "length"},
		`{"type":7}`:      {Path: "type", Rule: "type"},
		`{"type":"` + strings.Repeat("x", 257) + `"}`:                      {Path: "type", Rule: "length"},
		`{"type":"user.created"}`:                                          {Path: "data", Rule: "type"},
		`{"type":"user.created","data":null,"timestamp":1700000000000}`:    {Path: "data.id", Rule: "required"},
		`{"type":"user.created","data":[]}`:                                {Path: "data", Rule: "type"},
		`{"type":"user.deleted","data":{"id":7}}`:                          {Path: "data", Rule: "type"},
		`{"type":"user.deleted","data":{"deleted":true}}`:                  {Path: "data.id", Rule: "required"},
		`{"type":"user.updated","data":{"id":"user_1"}}`:                   {Path: "data.updated_at", Rule: "required"},
		`{"type":"user.updated","data":{"id":"user_1","updated_at":"x"}}`:  {Path: "data.updated_at", Rule: "required"},
		`{"type":"user.updated","data":{"id":"user_1","updated_at":-1}}`:   {Path: "data.updated_at", Rule: "required"},
		`{"type":"user.updated","data":{"id":"user_1","updated_at":1e99}}`: {Path: "data.updated_at", Rule: "required"},
		user(map[string]any{"email_addresses": "ada@example.com"}):         {Path: "data", Rule: "type"},
	} {
		got := a.clerk("msg_1", body)
		if got.status != http.StatusBadRequest || got.Code != engine.CodeInvalid || len(got.Issues) != 1 ||
			got.Issues[0].Path != want.Path || got.Issues[0].Rule != want.Rule || got.Issues[0].Message == "" {
			t.Errorf("%.60s: %v %+v, want %+v", body, got, got.Issues, want)
		}
	}
	// What the schema refuses is refused with its issues, by 422.
	if got := a.clerk("msg_1", user(map[string]any{"id": strings.Repeat("x", 2000)})); got.String() != "422 invalid" {
		t.Errorf("a subject of 2,000 letters: %v %s", got, got.Message)
	}
	if got := a.people(); len(got) != 0 || a.entries() != "" {
		t.Errorf("users %+v", got)
	}
	// None of them used up the id.
	a.expect("200 applied", "msg_1", user(nil))
	if strings.Contains(a.log.String(), "ada@") {
		t.Error("the log has an address")
	}
}
