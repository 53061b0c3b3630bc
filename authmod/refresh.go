package authmod

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// A refresh token is 48 random bytes: 16 that all tokens of one session share, its family, and 32 of its own. Only hashes are
// stored. The family's part lets a token be recognised for one of a session's after its document was cleared away, so that a
// handful of documents a session is enough to notice a token that comes back long after its use.
const (
	familyBytes = 16
	ownBytes    = 32
)

// reuseWindow is for how long after its first use a token may be presented again as a matter of course: tabs race, answers
// get lost.
const reuseWindow = 10 * time.Second

// maxFamily bounds the documents of one session: whoever presents a token a thousand times within the window gets a thousand
// tokens, of which the newest are good. Each race of two tabs leaves one that nobody comes to use, and a browser that is
// started with all its tabs a good many at once, so it is far above what is needed at a time.
const maxFamily = 128

// ticket is a refresh token that was drawn and not yet given away.
type ticket struct {
	secret       string // for the client
	family, hash string // for the store
}

var tokenEncoding = base64.RawURLEncoding

func newTicket() ticket {
	var raw [familyBytes + ownBytes]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	return ticketOf(raw)
}

// next draws a token of the same family.
func (t ticket) next() ticket {
	var raw [familyBytes + ownBytes]byte
	decoded, err := tokenEncoding.DecodeString(t.secret)
	if err != nil || copy(raw[:], decoded) != len(raw) {
		return newTicket() // t was parsed from its secret
	}
	rand.Read(raw[familyBytes:])
	return ticketOf(raw)
}

func ticketOf(raw [familyBytes + ownBytes]byte) ticket {
	return ticket{
		secret: tokenEncoding.EncodeToString(raw[:]),
		family: digest("family", raw[:familyBytes]),
		hash:   digest("token", raw[:]),
	}
}

// parseTicket reads what a client presents. Base64 has several spellings of some values; one is ours.
func parseTicket(s string) (ticket, bool) {
	var raw [familyBytes + ownBytes]byte
	if len(s) != tokenEncoding.EncodedLen(len(raw)) {
		return ticket{}, false
	}
	decoded, err := tokenEncoding.Strict().DecodeString(s)
	if err != nil || copy(raw[:], decoded) != len(raw) {
		return ticket{}, false
	}
	return ticketOf(raw), true
}

func digest(what string, b []byte) string {
	h := sha256.New()
	h.Write([]byte(what))
	h.Write([]byte{0})
	h.Write(b)
	return tokenEncoding.EncodeToString(h.Sum(nil))
}

// refreshArgs are the arguments of the internal mutation: what was presented, and what is given for it, as hashes.
type refreshArgs struct {
	Family string `json:"family"`
	Hash   string `json:"hash"`
	Next   string `json:"next"`
}

type refreshed struct {
	// Refused says why there are no new tokens; empty when there are.
	Refused string `json:"refused,omitempty"`
	granted
}

// Why a refresh token is refused.
const (
	refusedMalformed = "malformed"
	refusedUnknown   = "unknown"
	refusedEnded     = "session ended"
	refusedExpired   = "expired"
	refusedReplayed  = "presented again after its use; the session was ended"
)

// exchange answers a refresh over any call of auth:signIn. A token that is of no use is not an error: clients take an error
// for a fault that may pass, and wait. They are told that they have no tokens, and the log why.
func (a *Auth) exchange(c *engine.ActionCtx, presented string) (Answer, error) {
	log := c.DB().Options().Logger
	old, ok := parseTicket(presented)
	if !ok {
		log.InfoContext(c.Context(), "authmod: refresh token refused", "reason", refusedMalformed)
		return SignedOut(), nil
	}
	next := old.next()
	out, err := a.refresh.Run(c, refreshArgs{Family: old.family, Hash: old.hash, Next: next.hash})
	if err != nil {
		return Answer{}, err
	}
	if out.Refused != "" {
		log.InfoContext(c.Context(), "authmod: refresh token refused", "reason", out.Refused, "session", out.Session)
		return SignedOut(), nil
	}
	token, p, err := a.mint(c.DB(), out.granted)
	if err != nil {
		return Answer{}, err
	}
	// A connection that runs as this session goes on for as long as the new token; any other stays who it is.
	if now, ours := c.Principal().(*principal); ours && now.session == p.session {
		c.SetPrincipal(p)
	}
	return answer(tokensAnswer{&tokens{token, next.secret}}), nil
}

// rotate exchanges a refresh token, in a transaction that writes refresh tokens only, so that no live query runs again for
// it; but for a token that somebody else has used already, which ends the session.
func (a *Auth) rotate(tx *engine.Tx, in refreshArgs) (refreshed, error) {
	family, err := a.c.tokensByFamily.Eq(tx, in.Family).Collect()
	if err != nil {
		return refreshed{}, err
	}
	if len(family) == 0 {
		return refreshed{Refused: refusedUnknown}, nil
	}
	out := refreshed{granted: granted{Session: family[0].Value.Session}}
	sid := engine.ID[Session](out.Session)
	s, err := a.c.sessions.Get(tx, sid)
	if errors.Is(err, engine.ErrNotFound) {
		return refreshed{Refused: refusedEnded, granted: out.granted}, nil
	}
	if err != nil {
		return refreshed{}, err
	}
	now := tx.Now()
	if s.Value.Revoked != nil || !now.Add(minTTL).Before(s.Value.Ends) {
		out.Refused = refusedEnded
		return out, nil
	}
	i := slices.IndexFunc(family, func(d *engine.Doc[refreshToken]) bool {
		return subtle.ConstantTimeCompare([]byte(d.Value.Hash), []byte(in.Hash)) == 1
	})
	switch {
	case i < 0, replayed(family, family[i], now):
		// Either side may be the thief; both have to sign in again.
		out.Refused = refusedReplayed
		return out, a.revoke(tx, sid)
	case !now.Before(family[i].Value.Expires):
		out.Refused = refusedExpired
		return out, nil
	}
	if err := a.useToken(tx, family, family[i], s.Value, in.Next, now); err != nil {
		return refreshed{}, err
	}
	out.User, out.Ends = s.Value.User, s.Value.Ends
	out.granted, err = a.withClaims(tx, out.granted)
	return out, err
}

// replayed says whether presenting t now means that two parties hold it: its window is over and what it was exchanged for
// has been used, so the client did get that.
func replayed(family []*engine.Doc[refreshToken], t *engine.Doc[refreshToken], now time.Time) bool {
	return settled(t.Value, now) && successorUsed(family, t.ID)
}

// settled says that t was used, and that its window is over.
func settled(t refreshToken, now time.Time) bool {
	return t.Used != nil && now.Sub(*t.Used) > reuseWindow
}

func successorUsed(family []*engine.Doc[refreshToken], id engine.ID[refreshToken]) bool {
	return slices.ContainsFunc(family, func(d *engine.Doc[refreshToken]) bool {
		return d.Value.Parent == string(id) && d.Value.Used != nil
	})
}

// useToken marks t used, stores its child, and clears away what nothing depends on any more.
func (a *Auth) useToken(
	tx *engine.Tx, family []*engine.Doc[refreshToken], t *engine.Doc[refreshToken], s Session, next string, now time.Time,
) error {
	if t.Value.Used == nil {
		used := now.UTC()
		t.Value.Used = &used // family holds t: what follows sees it used
		if err := a.c.tokens.Replace(tx, t.ID, t.Value); err != nil {
			return err
		}
	}
	_, err := a.c.tokens.Insert(tx, refreshToken{
		Family: t.Value.Family, Hash: next, Session: t.Value.Session, Parent: string(t.ID), Expires: a.idleEnd(now, s.Ends),
	})
	if err != nil {
		return err
	}
	for _, id := range superfluous(family, t.ID, now) {
		if err := a.c.tokens.Delete(tx, id); err != nil {
			return err
		}
	}
	return nil
}

// superfluous lists the tokens whose documents can go. One that would be taken for replayed can: without its document it is,
// all the same. Beyond maxFamily the oldest go, unused ones first.
func superfluous(family []*engine.Doc[refreshToken], keep engine.ID[refreshToken], now time.Time) []engine.ID[refreshToken] {
	var gone []engine.ID[refreshToken]
	var rest []*engine.Doc[refreshToken]
	for _, d := range family {
		switch {
		case d.ID == keep:
		case replayed(family, d, now):
			gone = append(gone, d.ID)
		default:
			rest = append(rest, d)
		}
	}
	if over := len(rest) + 2 - maxFamily; over > 0 { // the kept one and the new one
		slices.SortStableFunc(rest, func(x, y *engine.Doc[refreshToken]) int {
			return cmp.Or(boolOrder(x.Value.Used != nil, y.Value.Used != nil), x.Created.Compare(y.Created))
		})
		for _, d := range rest[:over] {
			gone = append(gone, d.ID)
		}
	}
	return gone
}

func boolOrder(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	}
	return 1
}
