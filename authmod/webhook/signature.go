package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// tolerance is how far the time of a delivery may be from the database's, in either direction. Senders stamp each attempt
	// anew, so that a retry of days later is within it; what was recorded and is sent again by somebody else is not.
	tolerance = 5 * time.Minute
	// minSecret is the least length of a key, in bytes. Senders give out 24 and more.
	minSecret = 16
	// maxHeader bounds a signature header in bytes, maxSignatures how many of those in it are compared: a sender that changes
	// its key sends two.
	maxHeader, maxSignatures = 4 << 10, 16
	// maxEventID bounds the id of an event, in bytes.
	maxEventID = 256
)

// mac is a message authentication code: HMAC-SHA256.
type mac = [sha256.Size]byte

// claim is what the headers of a delivery say of it. Nothing of that is known to be true before holds.
type claim struct {
	id     string    // the event's; empty where the body has it
	at     time.Time // when the delivery was sent
	prefix string    // what is signed in front of the body
	macs   []mac
}

// Errors of reading headers. They carry no part of them.
var (
	errNoHeader  = errors.New("is missing")
	errRepeated  = errors.New("comes more than once")
	errLong      = errors.New("is too long")
	errMalformed = errors.New("is malformed")
)

// headerError says which header is wrong.
type headerError struct {
	header string
	err    error
}

func (e *headerError) Error() string { return fmt.Sprintf("header %s %v", e.header, e.err) }
func (e *headerError) Unwrap() error { return e.err }

// one returns the only value of a header. Of one that is repeated, another program on the way may have looked at another value.
func one(h http.Header, name string, limit int) (string, error) {
	switch values := h.Values(name); {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", &headerError{name, errNoHeader}
	case len(values) > 1:
		return "", &headerError{name, errRepeated}
	case len(values[0]) > limit:
		return "", &headerError{name, errLong}
	default:
		return values[0], nil
	}
}

// readStandard reads the headers of Standard Webhooks, under a prefix of their names. What is signed is
// "id.timestamp.body" (standard-webhooks.md, signature scheme).
func readStandard(h http.Header, prefix string) (claim, error) {
	idHeader, timeHeader, signatureHeader := prefix+"-id", prefix+"-timestamp", prefix+"-signature"
	id, err := one(h, idHeader, maxEventID)
	if err != nil {
		return claim{}, err
	}
	if !validEventID(id) {
		return claim{}, &headerError{idHeader, errMalformed}
	}
	stamp, err := one(h, timeHeader, 16)
	if err != nil {
		return claim{}, err
	}
	seconds, ok := parseStamp(stamp)
	if !ok {
		return claim{}, &headerError{timeHeader, errMalformed}
	}
	list, err := one(h, signatureHeader, maxHeader)
	if err != nil {
		return claim{}, err
	}
	c := claim{id: id, at: time.Unix(seconds, 0), prefix: id + "." + stamp + "."}
	for s := range strings.SplitSeq(list, " ") {
		// v1a is of public keys, which are not supported; what other versions there may be is not known.
		if text, found := strings.CutPrefix(s, "v1,"); found {
			c.add(base64.StdEncoding.Strict().DecodeString(text))
		}
	}
	return c, nil
}

// readSvix reads the headers of Svix, which sends for Clerk and others: those of Standard Webhooks under its own prefix, or
// under the common one.
func readSvix(h http.Header) (claim, error) {
	if len(h.Values("svix-id")) == 0 && len(h.Values("webhook-id")) > 0 {
		return readStandard(h, "webhook")
	}
	return readStandard(h, "svix")
}

// readWorkOS reads "WorkOS-Signature: t=<milliseconds>, v1=<hex>". What is signed is "t.body"; the event's id is in the body.
func readWorkOS(h http.Header) (claim, error) {
	const name = "workos-signature"
	list, err := one(h, name, maxHeader)
	if err != nil {
		return claim{}, err
	}
	var c claim
	for part := range strings.SplitSeq(list, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "t":
			millis, ok := parseStamp(value)
			if !ok || c.prefix != "" {
				return claim{}, &headerError{name, errMalformed}
			}
			c.at, c.prefix = time.UnixMilli(millis), value+"."
		case "v1":
			c.add(hex.DecodeString(value))
		}
	}
	if c.prefix == "" {
		return claim{}, &headerError{name, errMalformed}
	}
	return c, nil
}

// add takes a signature up, if it is one.
func (c *claim) add(sum []byte, err error) {
	if err == nil && len(sum) == sha256.Size && len(c.macs) < maxSignatures {
		c.macs = append(c.macs, mac(sum))
	}
}

// parseStamp reads a time as senders write it: digits, without a sign, a point, or zeros in front. One time has one spelling,
// since it is the spelling that is signed.
func parseStamp(s string) (int64, bool) {
	if s == "" || len(s) > 15 || s[0] == '0' {
		return 0, false
	}
	for _, r := range []byte(s) {
		if r < '0' || r > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// validEventID says whether an id may stand in front of what is signed: printable ASCII without braces or spaces. Bodies are
// JSON objects, so that no other cut of what was signed gives an id, a time and a body.
func validEventID(id string) bool {
	for _, r := range []byte(id) {
		if r <= ' ' || r > '~' || r == '{' || r == '}' {
			return false
		}
	}
	return id != "" && len(id) <= maxEventID
}

// fresh says whether the delivery was sent about now.
func (c claim) fresh(now time.Time) bool { return now.Sub(c.at).Abs() <= tolerance }

// holds says whether one of the keys has signed the claim and the body. How long it takes depends on how many keys and
// signatures there are and on the length of the body, and on nothing in them.
func (c claim) holds(keys [][]byte, body []byte) bool {
	ok := 0
	for _, key := range keys {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(c.prefix))
		h.Write(body)
		want := h.Sum(nil)
		for _, got := range c.macs {
			ok |= subtle.ConstantTimeCompare(got[:], want)
		}
	}
	return ok == 1
}

// standardKey reads a secret of Standard Webhooks: base64, after "whsec_" as a rule. Some senders give it out with a version in
// front.
func standardKey(secret string) ([]byte, error) {
	text := strings.TrimPrefix(strings.TrimPrefix(secret, "v1,"), "whsec_")
	if strings.HasPrefix(text, "whpk_") || strings.HasPrefix(text, "whsk_") {
		return nil, errors.New("is one of a pair of keys, and only symmetric ones are supported")
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New(`must be base64, after "whsec_" or without it`)
	}
	return key, checkLength(key)
}

// workOSKey takes a secret of WorkOS as it is.
func workOSKey(secret string) ([]byte, error) { return []byte(secret), checkLength([]byte(secret)) }

func checkLength(key []byte) error {
	if len(key) < minSecret {
		return fmt.Errorf("has %d bytes, and must have at least %d", len(key), minSecret)
	}
	return nil
}
