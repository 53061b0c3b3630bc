//go:build linux

package examples_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const portalSecret = "a secret of at least thirty-two bytes"

// ticket is what the portal puts into its link.
func ticket(t *testing.T, secret, subject, role string, made time.Time) string {
	t.Helper()
	body, err := json.Marshal(object{"subject": subject, "email": subject + "@example.com", "role": role, "made": made})
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString(body)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestOwnModule(t *testing.T) {
	t.Parallel()
	p := start(t, "ownmodule", "PORTAL_SECRET="+portalSecret)
	call := func(code, course string) answer {
		params := object{"code": code}
		if course != "" {
			params["course"] = course
		}
		return p.signIn(object{"provider": "portal", "params": params})
	}
	made := time.Now()
	first := ticket(t, portalSecret, "ada", "teacher", made)
	// The first time the form is needed; the ticket stays good.
	if a := call(first, ""); !a.refused("invalid", "course") {
		t.Errorf("%+v", a)
	}
	if a := call(first, "cooking"); !a.refused("invalid", "course") {
		t.Errorf("%+v", a)
	}
	token := p.token(p.signIn(object{"provider": "portal", "params": object{"code": first, "course": "go", "role": "student"}}))
	me := get[user](p, "users:me", token)
	if me.Email != "ada@example.com" || !me.EmailVerified || me.Role != "teacher" || p.courses(token) != "go" {
		t.Errorf("%+v", me)
	}
	for name, code := range map[string]string{
		"used":                    first,
		"older than the one used": ticket(t, portalSecret, "ada", "teacher", made.Add(-time.Second)),
		"of another key":          ticket(t, portalSecret+"!", "ada", "teacher", time.Now()),
		"too old":                 ticket(t, portalSecret, "eve", "teacher", time.Now().Add(-2*time.Minute)),
		"of the future":           ticket(t, portalSecret, "eve", "teacher", time.Now().Add(2*time.Minute)),
		"without signature":       "e30.", "nothing": ".", "rubbish": "rubbish",
	} {
		if a := call(code, "go"); !a.refused("unauthenticated") {
			t.Errorf("%s: %+v", name, a)
		}
	}
	// Of many that bring the same new ticket at once one is let in.
	second := ticket(t, portalSecret, "ada", "teacher", time.Now())
	answers := make(chan answer)
	for range 8 {
		go func() { answers <- call(second, "") }()
	}
	var in []answer
	for range 8 {
		if a := <-answers; a.Status == "success" {
			in = append(in, a)
		} else if !a.refused("unauthenticated") {
			t.Errorf("%+v", a)
		}
	}
	if len(in) != 1 {
		t.Fatalf("%d got in by one ticket", len(in))
	}
	if token = p.token(in[0]); get[user](p, "users:me", token) != me || p.courses(token) != "go" {
		t.Error("the second sign-in changed something")
	}
}

// A program with a wrong secret says so, and does not start.
func TestOwnModuleWithoutItsSecret(t *testing.T) {
	t.Parallel()
	out, err := command("ownmodule", t.TempDir()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "PORTAL_SECRET must have at least 32 bytes") {
		t.Errorf("%v: %s", err, out)
	}
}
