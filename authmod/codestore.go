package authmod

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mimosadb/mimosa/engine"
)

// codeStore keeps and sends the codes of all modules of one Auth.
type codeStore struct {
	docs      *engine.Collection[CodeDoc]
	byAddress *engine.Index[CodeDoc]
	byUser    *engine.Index[CodeDoc]
	byEnd     *engine.Index[CodeDoc]
	of        map[string]*Codes // by provider
	check     engine.MutationRef[checkArgs, *engine.Doc[CodeDoc]]
	draw      engine.MutationRef[drawArgs, *Message]
	send      engine.ActionRef[sendArgs, struct{}]
	prune     engine.MutationRef[struct{}, int]
}

type (
	sendArgs struct {
		Code engine.ID[CodeDoc] `json:"code"`
	}
	drawArgs struct {
		Code     engine.ID[CodeDoc] `json:"code"`
		CodeHash string             `json:"codeHash"`
		LinkHash string             `json:"linkHash"`
	}
	checkArgs struct {
		Provider string `json:"provider"`
		Purpose  string `json:"purpose"`
		To       string `json:"to"`
		Hash     string `json:"hash"`
	}
)

const (
	fnCheckCode  = "auth:checkCode"
	fnDrawCode   = "auth:drawCode"
	fnSendCode   = "auth:sendCode"
	fnPruneCodes = "auth:pruneCodes"

	// linkSeparator stands between the document's id and the secret of a link's code.
	linkSeparator = "."

	maxPrunedCodes = 1000
)

// sending is how messages are tried again: for about two minutes, while the person waits.
var sending = engine.RetryPolicy{Max: 5, Backoff: 4 * time.Second, MaxBackoff: time.Minute}

// codeStore returns the store, which is made for the first module that has codes.
func (a *Auth) codeStore() *codeStore {
	if a.codes != nil {
		return a.codes
	}
	s := &codeStore{docs: engine.Define[CodeDoc](a.schema, "authCodes"), of: map[string]*Codes{}}
	s.byAddress = s.docs.AddIndex("address", "provider", "to", "purpose")
	s.byUser = s.docs.AddIndex("user", "user")
	s.byEnd = s.docs.AddIndex("gone", "gone")
	s.check = engine.Mutation(a.schema, fnCheckCode, s.checkCode, engine.Internal())
	s.draw = engine.Mutation(a.schema, fnDrawCode, s.drawCode, engine.Internal())
	s.send = engine.Action(a.schema, fnSendCode, s.sendCode, engine.Internal(), engine.Retry(sending))
	s.prune = engine.Mutation(a.schema, fnPruneCodes, func(tx *engine.Tx, _ struct{}) (int, error) { return s.pruneCodes(tx) },
		engine.Internal())
	s.prune.Cron(fnPruneCodes, "19 * * * *", struct{}{})
	a.codes = s
	return s
}

// checkCode finds the code of a hash, or counts a wrong one.
func (s *codeStore) checkCode(tx *engine.Tx, in checkArgs) (*engine.Doc[CodeDoc], error) {
	c := s.of[in.Provider]
	if c == nil {
		return nil, fmt.Errorf("authmod: no codes of module %q", in.Provider)
	}
	docs, err := c.List(tx, in.Purpose, in.To)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		if c.good(d, tx.Now()) && !c.guessed(d) && among(d.Value.Codes, in.Hash) {
			return d, nil
		}
	}
	// Where no code was sent too: it is to take as long.
	docs = unexpired(docs, func(v CodeDoc) bool { return !v.Notice }, tx.Now())
	if len(docs) == 0 {
		if docs, err = s.byAddress.Eq(tx, in.Provider, in.To).Collect(); err != nil {
			return nil, err
		}
		docs = unexpired(docs, func(v CodeDoc) bool { return v.Notice && v.InPlaceOf == in.Purpose }, tx.Now())
	}
	for _, d := range docs {
		if err := s.docs.Patch(tx, d.ID, func(v *CodeDoc) error { v.Tries++; return nil }); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// unexpired are those of documents that have not expired, of a kind.
func unexpired(docs []*engine.Doc[CodeDoc], kind func(CodeDoc) bool, now time.Time) []*engine.Doc[CodeDoc] {
	return slices.DeleteFunc(docs, func(d *engine.Doc[CodeDoc]) bool { return !now.Before(d.Value.Expires) || !kind(d.Value) })
}

// drawCode stores the hashes of a code that is about to be sent, and returns the message without it; nil where it is not wanted
// any more.
func (s *codeStore) drawCode(tx *engine.Tx, in drawArgs) (*Message, error) {
	d, err := s.docs.Get(tx, in.Code)
	if errors.Is(err, engine.ErrNotFound) || err == nil && !tx.Now().Before(d.Value.Expires) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v := d.Value
	err = s.docs.Patch(tx, in.Code, func(v *CodeDoc) error {
		v.Codes, v.Links = append(v.Codes, in.CodeHash), append(v.Links, in.LinkHash)
		return nil
	})
	m := &Message{Provider: v.Provider, Purpose: v.Purpose, To: v.To, Expires: v.Expires, Params: v.Params}
	if m.Params == nil {
		m.Params = json.RawMessage("{}")
	}
	return m, err
}

// sendCode is one attempt to send a message. Each draws a code of its own, so that none has to be kept in between; all that
// were sent are good.
func (s *codeStore) sendCode(a *engine.ActionCtx, in sendArgs) (struct{}, error) {
	var d *engine.Doc[CodeDoc]
	err := a.DB().View(a.Context(), func(tx *engine.ReadTx) (err error) {
		d, err = s.docs.Get(tx, in.Code)
		return err
	})
	if errors.Is(err, engine.ErrNotFound) {
		return struct{}{}, nil
	}
	if err != nil {
		return struct{}{}, err
	}
	c := s.of[d.Value.Provider]
	if c == nil {
		return struct{}{}, engine.Errorf(engine.CodeInvalid, "the program has no codes of module %q any more", d.Value.Provider)
	}
	code, secret, err := c.fresh()
	if err != nil {
		return struct{}{}, err
	}
	m, err := s.draw.Run(a, drawArgs{
		Code: d.ID, CodeHash: c.hashCode(d.Value.Purpose, d.Value.To, code), LinkHash: c.hashLink(d.ID, secret),
	})
	if err != nil || m == nil || !d.Value.Deliver {
		return struct{}{}, err
	}
	if !d.Value.Notice {
		m.Code, m.Link = code, c.link(string(d.ID)+linkSeparator+secret)
	}
	ctx, cancel := context.WithTimeout(a.Context(), c.options.SendTimeout)
	defer cancel()
	return struct{}{}, unquoted(deliver(ctx, c.options.Send, *m), code, secret)
}

// fresh draws a code and a link's secret.
func (c *Codes) fresh() (code, secret string, err error) {
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(c.options.Digits)), nil)
	n, err := rand.Int(rand.Reader, most)
	if err != nil {
		return "", "", fmt.Errorf("authmod: code: %w", err)
	}
	return fmt.Sprintf("%0*d", c.options.Digits, n), rand.Text(), nil
}

// link is the address that a message leads to; empty where there is none.
func (c *Codes) link(code string) string {
	u, err := url.Parse(c.options.Link)
	if c.options.Link == "" || err != nil { // reported by Codes
		return ""
	}
	q := u.Query()
	q.Set("code", code)
	u.RawQuery = q.Encode()
	return u.String()
}

func deliver(ctx context.Context, send Sender, m Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return send(ctx, m)
}

// unquoted is a sender's error for log and job: without its text where that gives the code away.
func unquoted(err error, code, secret string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	plain := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text)
	if strings.Contains(plain, code) || strings.Contains(plain, secret) {
		text = "its error is left out, since it quotes the code"
	}
	if errors.Is(err, engine.ErrInvalid) {
		return engine.Errorf(engine.CodeInvalid, "the message could not be sent: %s", text)
	}
	return fmt.Errorf("authmod: the message could not be sent: %s", text)
}

// pruneCodes removes what has expired long enough.
func (s *codeStore) pruneCodes(tx *engine.Tx) (int, error) {
	over, err := s.byEnd.Scan(tx).Lte(tx.Now()).Limit(maxPrunedCodes).Collect()
	if err != nil {
		return 0, err
	}
	for _, d := range over {
		if err := s.docs.Delete(tx, d.ID); err != nil {
			return 0, err
		}
	}
	if len(over) == maxPrunedCodes {
		_, err = s.prune.Schedule(tx, 0, struct{}{})
	}
	return len(over), err
}

// forgetCodes removes the codes of a user who is deleted, and those that were sent to the addresses of their accounts.
func (a *Auth) forgetCodes(tx *engine.Tx, user string, accounts []*engine.Doc[Account]) error {
	if a.codes == nil {
		return nil
	}
	err := a.codes.drop(tx, a.codes.byUser.Eq(tx, user))
	for _, d := range accounts {
		if err == nil {
			err = a.codes.drop(tx, a.codes.byAddress.Eq(tx, d.Value.Provider, d.Value.ProviderAccountID))
		}
	}
	return err
}

func (s *codeStore) drop(tx *engine.Tx, codes *engine.Scan[CodeDoc]) error {
	docs, err := codes.Collect()
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := s.docs.Delete(tx, d.ID); err != nil {
			return err
		}
	}
	return nil
}
