package authmod

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/mimosadb/mimosa/engine"
)

// signInArgs are those of auth:signIn. Members that a client leaves undefined are absent. CalledBy is one that frameworks set
// for their logs. IdempotencyKey is random, and the same when a sign-up is sent again because its answer was lost.
type signInArgs struct {
	Provider     string          `json:"provider,omitempty"`
	Params       json.RawMessage `json:"params,omitempty"`
	Verifier     string          `json:"verifier,omitempty"`
	RefreshToken *string         `json:"refreshToken,omitempty"`
	CalledBy     string          `json:"calledBy,omitempty"`

	IdempotencyKey *string `json:"idempotencyKey,omitempty"`
}

const (
	// maxParams bounds the parameters of a sign-in, in bytes of JSON: they are stored in some flows before anybody has
	// proved anything.
	maxParams = 64 << 10
	// maxVerifier bounds a verifier.
	maxVerifier = 1 << 10
	// The length of an idempotency key, in bytes. A shorter one cannot be random enough.
	minKey, maxKey = 16, 128
)

func (a *Auth) registerFunctions() {
	engine.Action(a.schema, fnSignIn, func(c *engine.ActionCtx, in signInArgs) (json.RawMessage, error) {
		out, err := a.signIn(c, in)
		if err != nil {
			return nil, err
		}
		if out.body == nil {
			return nil, errors.New("authmod: a module returned no answer")
		}
		return out.body, nil
	})
	engine.Action(a.schema, fnSignOut, func(c *engine.ActionCtx, in signOutArgs) (*struct{}, error) {
		return nil, a.signOut(c, in)
	})
	engine.Query(a.schema, fnIsAuthenticated, func(tx *engine.ReadTx, _ struct{}) (bool, error) {
		who, err := tx.Identity()
		return who != nil, err
	})
	a.complete = engine.Mutation(a.schema, fnComplete, a.inTransaction, engine.Internal())
	a.refresh = engine.Mutation(a.schema, fnRefresh, a.rotate, engine.Internal())
	a.end = engine.Mutation(a.schema, fnEnd, a.endSession, engine.Internal())
	a.clear = engine.Mutation(a.schema, fnPrune, a.clearSessions, engine.Internal())
	a.clear.Cron(fnPrune, "@hourly", struct{}{})
	a.registerOwn()
}

// signOutArgs are those of auth:signOut. The session that ends is that of a refresh token, if there is one, else the caller's.
type signOutArgs struct {
	RefreshToken *string `json:"refreshToken,omitempty"`
}

// signOut ends a session. Whoever has one of its refresh tokens may, so that a client that was offline when its user signed out
// can tell later, when the access token has expired. A token that is of no use is not an error: there is nothing left to end.
func (a *Auth) signOut(c *engine.ActionCtx, in signOutArgs) error {
	var args endArgs
	caller := c.Principal()
	if in.RefreshToken != nil {
		t, ok := parseTicket(*in.RefreshToken)
		if !ok {
			return nil
		}
		args.Family = t.family
	} else if _, ours := caller.(*principal); !ours {
		return nil // nobody, or a session of a service elsewhere, which ends there
	}
	ended, err := a.end.Run(c, args)
	if err != nil || caller == nil {
		return err
	}
	if p, ours := caller.(*principal); args.Family == "" || ours && string(p.session) == ended {
		c.SetPrincipal(nil)
	}
	return nil
}

// signIn finds out which of its four uses a call of auth:signIn is: a sign-in by a named module, a refresh, a code from an
// address, or none of these.
func (a *Auth) signIn(c *engine.ActionCtx, in signInArgs) (Answer, error) {
	if in.Provider == "" && in.RefreshToken != nil {
		return a.exchange(c, *in.RefreshToken)
	}
	at := &Attempt{ActionCtx: c, verifier: in.Verifier}
	if issues := at.read(in); len(issues) > 0 {
		return Answer{}, Invalid(issues...)
	}
	if in.Provider == "" {
		return a.redeem(at)
	}
	m := a.modules[in.Provider]
	if m == nil {
		return Answer{}, Invalid(engine.Issue{Path: "provider", Rule: "enum", Message: "is not a way to sign in here"})
	}
	at.module, at.host = m, a.hosts[in.Provider]
	return m.SignIn(at)
}

// redeem offers a code to the modules that take codes.
func (a *Auth) redeem(at *Attempt) (Answer, error) {
	if _, given := at.reserved["code"]; !given {
		return Answer{}, Invalid(engine.Issue{Path: "provider", Rule: "required", Message: "is missing"})
	}
	code, issue := at.Reserved("code")
	if issue != nil {
		return Answer{}, Invalid(*issue)
	}
	for _, m := range a.options.Modules {
		r, ok := m.(Redeemer)
		if !ok {
			continue
		}
		own := *at
		own.module, own.host = m, a.hosts[m.Provider()]
		if out, mine, err := r.Redeem(&own, code); mine || err != nil {
			return out, err
		}
	}
	return Answer{}, Invalid(engine.Issue{Path: "code", Rule: "code", Message: "is not valid, or not any more"})
}

// read takes the parameters apart: those that modules use themselves, and the others.
func (a *Attempt) read(in signInArgs) (issues []engine.Issue) {
	if len(in.Verifier) > maxVerifier {
		issues = append(issues, engine.Issue{Path: "verifier", Rule: "maxLength", Message: "is too long"})
	}
	if key := in.IdempotencyKey; key != nil {
		if len(*key) < minKey || len(*key) > maxKey {
			issues = append(issues, engine.Issue{Path: "idempotencyKey", Rule: "length", Message: "must have 16 to 128 bytes"})
		}
		a.key = digest("signUp", []byte(*key))
	}
	a.reserved, a.params = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if len(in.Params) > maxParams {
		return append(issues, engine.Issue{Path: "params", Rule: "maxLength", Message: "are larger than 64 KiB"})
	}
	if len(in.Params) == 0 {
		return issues
	}
	if err := json.Unmarshal(in.Params, &a.params); err != nil || a.params == nil {
		a.params = map[string]json.RawMessage{}
		return append(issues, engine.Issue{Path: "params", Rule: "type", Message: "must be an object"})
	}
	for _, name := range reservedParams {
		if raw, ok := a.params[name]; ok {
			a.reserved[name] = raw
			delete(a.params, name)
		}
	}
	if _, ok := a.reserved["flow"]; ok {
		flow, issue := a.Reserved("flow")
		if issue != nil {
			issues = append(issues, *issue)
		}
		a.flow = flow
	}
	return slices.Clip(issues)
}
