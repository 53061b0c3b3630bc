package anonymous

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// Options configure New. The zero value works, where the schema of the users collection takes an empty document.
type Options struct {
	// Profile makes the user's document of what the client passes, such as a nickname: see authmod.NewProfile. Without one the
	// document is empty, and parameters are for triggers to look at. There is no e-mail address in it: nobody has one before
	// they sign up.
	Profile authmod.Profile
	// MaxAge is how old a temporary user may become, counted from when it was made, before it is deleted once its sessions are
	// over: after authmod.Options.IdleTTL without use, at their absolute end, or when they are signed out. 0 deletes nobody.
	MaxAge time.Duration
	// MaxPerNetwork is how many anonymous users one network may make in an hour, 100 by default, before clients get the code
	// busy, with data {retryAfter: seconds}; -1 is no limit. See authmod.NetworkOf.
	MaxPerNetwork int
}

const (
	provider          = "anonymous"
	defaultPerNetwork = 100
	fnCurrent         = "auth:anonymousAccount"
)

// New makes the module.
func New(o Options) authmod.Module { return &module{options: o} }

// module is the Module. What is not in options is set by Attach.
type module struct {
	options Options
	host    *authmod.Host
	sheet   *authmod.Sheet
	made    *authmod.Limiter // users, by network
	current engine.QueryRef[struct{}, string]
	cleaner *cleaner
}

func (*module) Provider() string { return provider }

func (m *module) Attach(h *authmod.Host) {
	if m.options.MaxAge < 0 {
		h.Problem("MaxAge is %v, and must not be negative", m.options.MaxAge)
	}
	if m.options.MaxPerNetwork == 0 {
		m.options.MaxPerNetwork = defaultPerNetwork
	}
	m.host, m.sheet = h, h.Profile(m.options.Profile)
	m.made = authmod.NewLimiter(m.options.MaxPerNetwork, time.Hour)
	m.current = engine.Query(h.Schema(), fnCurrent, m.accountOfCaller, engine.Internal())
	if m.options.MaxAge > 0 {
		m.cleaner = newCleaner(h, m.options.MaxAge)
	}
}

// SignIn makes a user, or goes on with the caller's.
func (m *module) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	current, err := m.current.Run(a.ActionCtx, struct{}{})
	if err != nil {
		return authmod.Answer{}, err
	}
	user, err := m.check(a)
	if err != nil {
		return authmod.Answer{}, err
	}
	if current != "" {
		out, err := a.Complete(authmod.Completion{Mode: authmod.LogIn, AccountID: current, Params: a.Params(), Temporary: true})
		if !errors.Is(err, authmod.ErrNoAccount) { // it has become a real one meanwhile, and that session is over
			return out, err
		}
	}
	if err := a.AllowFrom(m.made); err != nil {
		return authmod.Answer{}, err
	}
	return a.Complete(authmod.Completion{
		Mode: authmod.SignUp, AccountID: rand.Text(), User: user, Params: a.Params(), Temporary: true,
	})
}

// check makes the user's document, and refuses what an anonymous person cannot have, all at once.
func (m *module) check(a *authmod.Attempt) (authmod.NewUser, error) {
	user, issues, err := m.sheet.Check(a)
	if err != nil {
		return authmod.NewUser{}, err
	}
	if a.OneFlow() != "" {
		issues = append(issues, engine.Issue{Path: "flow", Rule: "enum", Message: "is neither signIn nor signUp"})
	}
	var params map[string]json.RawMessage
	if err := json.Unmarshal(a.Params(), &params); err != nil {
		return authmod.NewUser{}, err
	}
	if email, given := params["email"]; given && !bytes.Equal(email, []byte(`""`)) {
		issues = append(issues, engine.Issue{Path: "email", Rule: "anonymous", Message: "is nothing that an anonymous person has"})
	}
	if len(issues) > 0 {
		return authmod.NewUser{}, authmod.Invalid(issues...)
	}
	return user, nil
}

// accountOfCaller is the id of the account of whoever calls, if that is a temporary user; empty otherwise.
func (m *module) accountOfCaller(r *engine.ReadTx, _ struct{}) (string, error) {
	who, err := r.Identity()
	if err != nil || who == nil || who.User == "" {
		return "", err
	}
	account, err := temporary(m.host, r, who.User)
	if err != nil || account == nil {
		return "", err
	}
	return account.Value.ProviderAccountID, nil
}

// temporary is the account of a user who has one of this module and no other; nil for all others.
func temporary(h *authmod.Host, r engine.Reader, user string) (*engine.Doc[authmod.Account], error) {
	accounts, err := h.AccountsOf(r, user)
	if err != nil || len(accounts) != 1 {
		return nil, err
	}
	if v := accounts[0].Value; v.Provider != provider || !v.Temporary {
		return nil, nil
	}
	return accounts[0], nil
}
