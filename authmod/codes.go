package authmod

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/mimosadb/mimosa/engine"
)

// What messages are for. Modules may have purposes of their own beside these.
const (
	// PurposeVerify is a code that proves the address of somebody who has signed up.
	PurposeVerify = "verify"
	// PurposeReset is a code that lets the owner of an address set a new password.
	PurposeReset = "reset"
	// PurposeSignIn is a code that signs in.
	PurposeSignIn = "signIn"
	// PurposeExists is no code: somebody, perhaps the owner of the address, has signed up with one that has an account already.
	// Only the mailbox is told.
	PurposeExists = "exists"
)

// Message is one message to a person, such as a mail with a code.
type Message struct {
	// Provider is the module that sends it, Purpose what it is for: one of the constants above, or the module's own.
	Provider, Purpose string
	// To is the address, normalised.
	To string
	// Code is what the person types in; empty where there is none, as with PurposeExists.
	Code string
	// Link is an address that does the same by being opened; empty where CodeOptions.Link is.
	Link string
	// Expires is when code and link are of no use any more.
	Expires time.Time
	// Params are the parameters of the call that asked for the message, such as the language of a form. Whoever that was, it
	// need not be the person who gets it: a message that quotes them is written by strangers.
	Params json.RawMessage
}

// Sender hands a message over to whatever delivers it. It runs in a job, outside of any transaction, at least once for a
// message, and is bound to return when ctx ends. An error or a panic is followed by another attempt with another code, 5 in all
// within a few minutes and as long as the code has not expired; one of code invalid says that there is no point. Its text is
// logged, but for one that quotes the code. It must be safe for concurrent use.
type Sender func(ctx context.Context, m Message) error

// CodeOptions configure Host.Codes.
type CodeOptions struct {
	// Send is needed.
	Send Sender
	// Digits is how long a code is, 6 to 32; 8 by default.
	Digits int
	// TTL is for how long a code is good, from when it was asked for: 15 minutes by default.
	TTL time.Duration
	// MaxTries is how many wrong codes end a code: 5 by default. Its link stays good.
	MaxTries int
	// Link is the absolute address of a page, such as "https://app.example/verify", for messages to have a Link too: that page
	// with the parameter code, which it passes to auth:signIn.
	Link string
	// SendTimeout is after how long the context of Send ends: 30 seconds by default.
	SendTimeout time.Duration
}

const (
	defaultDigits      = 8
	minDigits          = 6
	maxDigits          = 32
	defaultCodeTTL     = 15 * time.Minute
	defaultTries       = 5
	defaultSendTimeout = 30 * time.Second

	// resendPause is for how long a call that is sent again does not send another message.
	resendPause = time.Minute
	// maxWrongCodes is how many wrong codes an address may see in an hour, over all the codes that it is sent meanwhile.
	maxWrongCodes = 20
	// maxListed bounds how many codes of one address are looked at. The limits of sending keep them fewer.
	maxListed = 64
)

// CodeDoc is a document of the collection authCodes: a message that was asked for, and what its code is good for. The codes
// themselves are not in it, nor anywhere else but in the message.
type CodeDoc struct {
	Provider string `json:"provider"`
	Purpose  string `json:"purpose"`
	To       string `json:"to"`
	// User is the user whose code it is, empty where there is none yet. It goes with the user.
	User string `json:"user,omitempty"`
	// Deliver says that there is somebody to send to. Where there is nobody all else is done just the same.
	Deliver bool `json:"deliver"`
	// Notice is a message without a code, InPlaceOf what the code would be for that others get in its place.
	Notice    bool   `json:"notice,omitempty"`
	InPlaceOf string `json:"inPlaceOf,omitempty"`
	// NewUser, Params and State are the request's.
	NewUser json.RawMessage `json:"newUser,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	State   json.RawMessage `json:"state,omitempty"`
	// Key is the hash of the call's idempotency key.
	Key string `json:"key,omitempty"`
	// Codes and Links are hashes, one of each for every time that the message was sent.
	Codes []string `json:"codes"`
	Links []string `json:"links"`
	// Tries are the wrong codes so far.
	Tries   int       `json:"tries"`
	Expires time.Time `json:"expires"`
	// Gone is when the document is removed.
	Gone time.Time `json:"gone"`
}

// CodeRequest asks for a message.
type CodeRequest struct {
	// Purpose and To say what for, and where to. To is normalised, and the id of the account that the code is about.
	Purpose, To string
	// Deliver is false where nobody is to get the message, since there is no account for instance: the same is done as for all
	// others, so that nobody can tell, but nothing is sent and no code is good.
	Deliver bool
	// Notice sends a message without a code. InPlaceOf is the purpose of the code that somebody else would get in its place, if
	// so: wrong codes for that are counted here then, so that they take as long.
	Notice    bool
	InPlaceOf string
	// User is whose code it is, if there is a user already.
	User string
	// NewUser is what a user is going to be made of when the code is redeemed, and Params what triggers get then; Params go
	// into the message too. State is the module's own. None of them may hold anything that would open an account by itself.
	NewUser       NewUser
	Params, State json.RawMessage
	// Key is Attempt.Key: a call that is sent again within a minute, for the same purpose and address, sends no second message.
	Key string
	// Keep is for how long the document stays when the code has expired; it is removed within an hour or so after that.
	Keep time.Duration
}

// Codes are the one-time codes of one module: it lets them be issued in a transaction, and redeemed in another.
type Codes struct {
	host    *Host
	options CodeOptions
	store   *codeStore
	wrong   *Limiter
	key     []byte // of the hashes; nil where there is no secret
}

var errCode = Invalid(engine.Issue{Path: "code", Rule: "code", Message: "is not valid, or not any more"})

// Codes gives the module one-time codes. It is called in Attach, once. What is wrong with the options is reported by Open.
func (h *Host) Codes(o CodeOptions) *Codes {
	if o.Send == nil {
		h.Problem("Send is nil: there is nothing to send codes with")
	}
	if o.Digits == 0 {
		o.Digits = defaultDigits
	}
	if o.Digits < minDigits || o.Digits > maxDigits {
		h.Problem("codes of %d digits: there must be %d to %d", o.Digits, minDigits, maxDigits)
	}
	if o.TTL == 0 {
		o.TTL = defaultCodeTTL
	}
	if o.MaxTries == 0 {
		o.MaxTries = defaultTries
	}
	if o.SendTimeout == 0 {
		o.SendTimeout = defaultSendTimeout
	}
	if o.TTL < 0 || o.MaxTries < 0 || o.SendTimeout < 0 {
		h.Problem("codes: TTL, MaxTries and SendTimeout must not be negative")
	}
	if o.Link != "" {
		if u, err := url.Parse(o.Link); err != nil || u.Scheme == "" || u.Host == "" {
			h.Problem("codes: Link is not an absolute address")
		}
	}
	c := &Codes{host: h, options: o, store: h.auth.codeStore(), wrong: NewLimiter(maxWrongCodes, time.Hour)}
	if secret := h.auth.options.KeySecret; len(secret) > 0 {
		key, err := hkdf.Key(sha256.New, secret, nil, "mimosa authmod codes v1", sha256.Size)
		if err != nil {
			h.Problem("codes: KeySecret: %v", err)
		}
		c.key = key
	}
	if c.store.of[h.provider] != nil {
		h.Problem("Codes was called twice")
	}
	c.store.of[h.provider] = c
	return c
}

// Issue asks for a message in a transaction: when that has committed, a job draws a code, stores its hash, and sends it. What
// has to be asked before, outside, is Attempt.AllowSend.
func (c *Codes) Issue(tx *engine.Tx, r CodeRequest) error {
	if r.Purpose == "" || r.To == "" {
		return errors.New("authmod: a code needs a purpose and an address")
	}
	now := tx.Now()
	if r.Key != "" {
		docs, err := c.List(tx, r.Purpose, r.To)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if d.Value.Key == r.Key && now.Sub(d.Created) < resendPause {
				return nil
			}
		}
	}
	expires := now.Add(c.options.TTL).UTC()
	id, err := c.store.docs.Insert(tx, CodeDoc{
		Provider: c.host.provider, Purpose: r.Purpose, To: r.To, User: r.User, Deliver: r.Deliver, Notice: r.Notice,
		InPlaceOf: r.InPlaceOf, NewUser: r.NewUser.doc, Params: r.Params, State: r.State, Key: r.Key, Expires: expires, Gone: expires.Add(r.Keep),
	})
	if err != nil {
		return err
	}
	_, err = c.store.send.Schedule(tx, 0, sendArgs{Code: id})
	return err
}

// List returns the documents of a purpose and an address, newest first, those that have expired and are still kept included;
// the newest 64 of them.
func (c *Codes) List(r engine.Reader, purpose, to string) ([]*engine.Doc[CodeDoc], error) {
	return c.store.byAddress.Eq(r, c.host.provider, to, purpose).Desc().Limit(maxListed).Collect()
}

// Check holds a code that somebody has typed in against all that were sent to an address for a purpose and are still good, and
// returns the one that it is. Spaces and hyphens in it do not matter. The error is of code invalid, the same for a wrong code,
// one that has expired or was used, and for an address that was sent none; or of code busy, after too many wrong ones. A wrong
// code counts for each of those that are good, in a transaction; those that have seen CodeOptions.MaxTries can only be redeemed
// by their links from then on.
//
// A code is not used up by it: that is what Redeem does.
func (c *Codes) Check(a *Attempt, purpose, to, code string) (*engine.Doc[CodeDoc], error) {
	guard, err := a.Guard(c.wrong, purpose+" "+to)
	if err != nil {
		return nil, err
	}
	defer guard.End()
	found, err := c.store.check.Run(a.ActionCtx, checkArgs{
		Provider: c.host.provider, Purpose: purpose, To: to, Hash: c.hashCode(purpose, to, plainCode(code)),
	})
	if err != nil {
		return nil, err
	}
	if found == nil {
		guard.Fail()
		return nil, errCode
	}
	guard.Succeed()
	return found, nil
}

// CheckLink does the same with the code out of a Message's Link, for Redeemers: mine is false for one that is none of the
// module's. There is nothing to guess in it, so nothing is counted.
func (c *Codes) CheckLink(a *Attempt, code string) (found *engine.Doc[CodeDoc], mine bool, err error) {
	name, secret, ok := strings.Cut(code, linkSeparator)
	id, err := c.store.docs.ParseID(name)
	if !ok || err != nil || len(secret) > maxKey {
		return nil, false, nil
	}
	err = a.DB().View(a.Context(), func(tx *engine.ReadTx) error {
		found, err = c.store.docs.Get(tx, id)
		return err
	})
	switch {
	case errors.Is(err, engine.ErrNotFound): // used, or removed long after it has expired: whose it was is not known any more
		return nil, false, nil
	case err != nil:
		return nil, true, err
	case found.Value.Provider != c.host.provider:
		return nil, false, nil
	case !c.good(found, a.DB().Now()) || !among(found.Value.Links, c.hashLink(id, secret)):
		return nil, true, errCode
	}
	return found, true, nil
}

// Redeem uses a code up in the transaction of what it is good for, in Joiner.Join: however many try at once, one of them gets
// it. The other codes of that purpose and address are void with it. The error is Check's for one that is not good any more.
func (c *Codes) Redeem(tx *engine.Tx, id engine.ID[CodeDoc]) (*engine.Doc[CodeDoc], error) {
	d, err := c.store.docs.Get(tx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, errCode
	}
	if err != nil {
		return nil, err
	}
	if d.Value.Provider != c.host.provider || !c.good(d, tx.Now()) {
		return nil, errCode
	}
	return d, c.store.drop(tx, c.store.byAddress.Eq(tx, c.host.provider, d.Value.To, d.Value.Purpose))
}

// Void removes all codes of an address, whatever for.
func (c *Codes) Void(tx *engine.Tx, to string) error {
	return c.store.drop(tx, c.store.byAddress.Eq(tx, c.host.provider, to))
}

// good says whether a code could be redeemed, by its link at least.
func (c *Codes) good(d *engine.Doc[CodeDoc], now time.Time) bool {
	v := d.Value
	return v.Deliver && !v.Notice && now.Before(v.Expires)
}

// guessed says whether there have been too many wrong codes for one to be typed in. That does not end the link, in which there
// is nothing to guess: who guesses at the codes of others does not keep them from signing in.
func (c *Codes) guessed(d *engine.Doc[CodeDoc]) bool { return d.Value.Tries >= c.options.MaxTries }

// The hashes are of what they are good for too. A code can be guessed from its hash by whoever has the whole database, but not
// where a secret is kept outside of it.

func (c *Codes) hashCode(purpose, to, code string) string {
	return c.hash("code", c.host.provider, purpose, to, code)
}

func (c *Codes) hashLink(id engine.ID[CodeDoc], secret string) string {
	return c.hash("link", c.host.provider, string(id), secret)
}

func (c *Codes) hash(parts ...string) string {
	var h hash.Hash
	if c.key == nil {
		h = sha256.New()
	} else {
		h = hmac.New(sha256.New, c.key)
	}
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}

func among(hashes []string, hash string) bool {
	found := 0
	for _, h := range hashes {
		found |= subtle.ConstantTimeCompare([]byte(h), []byte(hash))
	}
	return found == 1
}

// plainCode is a code without what people write between its digits.
func plainCode(s string) string {
	if len(s) > 4*maxDigits {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			return -1
		}
		return r
	}, norm.NFKC.String(s))
}
