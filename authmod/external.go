package authmod

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

// Mapping makes and updates a user document from what a service elsewhere says of a person: the claims of a token, the data of
// a webhook. It is made by NewMapping and given to a module's options.
type Mapping interface {
	// bind puts the mapping into a schema.
	bind(h *Host) boundMapping
}

// boundMapping is a Mapping in its place, without its types.
type boundMapping interface {
	create(tx *engine.Tx, u ExternalUser) (user string, err error)
	update(tx *engine.Tx, user string, u ExternalUser) error
}

// NewMapping makes a Mapping of a function. In is what the service sends, decoded as encoding/json does, without what In has no
// field for; T is the type of the users collection. fn is called with the zero user when one is created, and with the stored
// one when it is updated, so it sets what the service knows better and leaves the rest alone. It may run more than once for one
// event. What it refuses with, an engine.Errorf, leaves everything as it was.
//
// The e-mail address of the result is normalised, and the result validated as every write is. EmailVerified becomes true where
// the service vouches for that address; where fn changes the address and says nothing of EmailVerified, it becomes false.
func NewMapping[In, T any](fn func(in In, user *T) error) Mapping { return mapping[In, T]{fn} }

type mapping[In, T any] struct{ fn func(In, *T) error }

func (m mapping[In, T]) bind(h *Host) boundMapping {
	if m.fn == nil {
		h.Problem("the mapping's function is nil")
	}
	b := mapped[In, T]{fn: m.fn}
	of, ok := h.auth.users.(interface{ collection() *engine.Collection[T] })
	if !ok {
		h.Problem("the mapping makes %v, the users collection holds %v", reflect.TypeFor[T](), h.auth.users.goType())
		return b
	}
	b.users = of.collection()
	return b
}

func (u usersOf[T, P]) collection() *engine.Collection[T] { return u.c }

func (u usersOf[T, P]) remove(tx *engine.Tx, user string) error {
	return u.c.Delete(tx, engine.ID[T](user))
}

type mapped[In, T any] struct {
	fn    func(In, *T) error
	users *engine.Collection[T]
}

// run calls the function on a user.
func (m mapped[In, T]) run(u ExternalUser, user *T) error {
	var in In
	if err := json.Unmarshal(u.Data, &in); err != nil {
		issue := engine.Issue{Rule: "type", Message: "has the wrong type"}
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			issue.Path = wrong.Field
		}
		return engine.Errorf(engine.CodeInvalid, "what the service says of the user cannot be read: %w", err).WithIssues(issue)
	}
	of, ok := any(user).(interface{ authFields() *UserFields })
	if !ok {
		return m.fn(in, user)
	}
	f := of.authFields()
	before := *f
	f.EmailVerified = false // what it is for the address before says nothing about another
	if err := m.fn(in, user); err != nil {
		return err
	}
	f.Email = NormalizeEmail(f.Email)
	same := f.Email == NormalizeEmail(before.Email)
	f.EmailVerified = f.EmailVerified || same && before.EmailVerified || f.Email != "" && f.Email == u.email()
	return nil
}

func (m mapped[In, T]) create(tx *engine.Tx, u ExternalUser) (string, error) {
	var user T
	if err := m.run(u, &user); err != nil {
		return "", err
	}
	id, err := m.users.Insert(tx, user)
	return string(id), err
}

func (m mapped[In, T]) update(tx *engine.Tx, user string, u ExternalUser) error {
	return m.users.Patch(tx, engine.ID[T](user), func(v *T) error { return m.run(u, v) })
}

// External keeps accounts whose people sign in elsewhere, for the modules that hear of them: one by the tokens that clients
// present, one by webhooks. Both find the same account by the same provider and subject, so whichever comes first makes the
// user, and OnCreate fires once. Its methods are called in transactions; what they decide holds for all that commit after.
//
// Whoever was deleted stays so: the service's word, the deletion of the user's document by anybody, or Auth.Unlink leaves a
// tombstone for the subject, by which neither a late event nor a token that is still valid brings them back. Readmit takes it
// away.
type External struct {
	auth     *Auth
	provider string
	mapping  boundMapping // nil: no users are made
}

// ExternalUser is what a service says of a person.
type ExternalUser struct {
	// Subject is who it is, in the service's words; 1 to 1,024 characters.
	Subject string
	// At is as of when, by the service's clock. What is older than what is known is not applied. Zero is unknown, and always
	// applied.
	At time.Time
	// VerifiedEmail is the address that the service vouches for; empty for none. It links a new account to the user who has
	// proved the same address before.
	VerifiedEmail string
	// Data is the Mapping's In, as JSON.
	Data json.RawMessage
}

// ErrDeleted says that a user was deleted, or the account unlinked, and stays so. It is of code unauthenticated, and may be
// shown to the client.
var ErrDeleted error = engine.Errorf(engine.CodeUnauthenticated, "the user has been deleted")

// externalMark is what is known of a subject beside the account.
type externalMark struct {
	Provider string `json:"provider"`
	Subject  string `json:"subject"`
	// At is the newest version that was applied, or when the subject was deleted.
	At      time.Time `json:"at,omitzero"`
	Deleted bool      `json:"deleted,omitempty"`
}

// externals are the providers whose people sign in elsewhere.
type externals struct {
	providers map[string]bool
	marks     *engine.Collection[externalMark]
	bySubject *engine.Index[externalMark]
}

// maxSubject is the limit of Account.ProviderAccountID, in characters.
const maxSubject = 1024

var errSubject = engine.Errorf(engine.CodeInvalid, "the subject is not 1 to 1,024 characters long")

// External returns what keeps the accounts of a provider. Modules that hear of the same people name the same provider, which is
// the name of the module whose tokens they sign in by. A nil mapping makes no users. It is called in Attach; what is wrong is
// reported by Open.
func (h *Host) External(provider string, m Mapping) *External {
	x := &External{auth: h.auth, provider: provider}
	if !validProvider(provider) {
		h.Problem("%q is no name of a provider", provider)
	}
	e := &h.auth.external
	if e.marks == nil {
		e.providers = map[string]bool{}
		e.marks = engine.Define[externalMark](h.auth.schema, "authExternal")
		e.bySubject = e.marks.AddUnique("subject", "provider", "subject")
	}
	e.providers[provider] = true
	if m != nil {
		x.mapping = m.bind(h)
	}
	return x
}

// Find returns the user of a subject: ErrNoAccount when there is none, ErrDeleted when there was one.
func (x *External) Find(r engine.Reader, subject string) (user string, err error) {
	d, err := x.account(r, subject)
	if err != nil {
		return "", err
	}
	if d != nil {
		return d.Value.User, nil
	}
	mark, err := x.auth.external.mark(r, x.provider, subject)
	switch {
	case err != nil:
		return "", err
	case mark != nil && mark.Value.Deleted:
		return "", ErrDeleted
	}
	return "", ErrNoAccount
}

// Provision makes account and user where there is no account yet, and otherwise changes nothing. Triggers find the service's
// word by SignIn and Params. ErrDeleted where the subject was deleted.
func (x *External) Provision(tx *engine.Tx, u ExternalUser) (user string, created bool, err error) {
	if user, err = x.Find(tx, u.Subject); !errors.Is(err, ErrNoAccount) {
		return user, false, err
	}
	info := &SignInInfo{
		Provider: x.provider, Flow: flowProvision, AccountID: u.Subject, params: u.Data, // without shapes: claims follow no form
	}
	tx.SetLocal(infoKey{}, info)
	if info.User, err = x.linkable(tx, u); err != nil {
		return "", false, err
	}
	info.Linked, info.NewUser = info.User != "", info.User == ""
	if user, err = x.make(tx, u, info.User); err != nil {
		return "", false, err
	}
	info.User = user
	return user, info.NewUser, nil
}

// flowProvision is SignInInfo's Flow where a token was presented by somebody who is not known yet.
const flowProvision = "provision"

// Put makes account and user, or updates the user. Nothing is applied that is older than what is known, nor to a subject that
// was deleted. A user whose account is linked by a verified address is updated too. What the service vouches for replaces what
// it vouched for before.
func (x *External) Put(tx *engine.Tx, u ExternalUser) (user string, applied bool, err error) {
	mark, err := x.auth.external.mark(tx, x.provider, u.Subject)
	if err != nil {
		return "", false, err
	}
	d, err := x.account(tx, u.Subject)
	if err != nil {
		return "", false, err
	}
	if d != nil {
		user = d.Value.User
	}
	switch {
	case d == nil && mark != nil && mark.Value.Deleted:
		return "", false, nil
	case mark != nil && !u.At.IsZero() && u.At.Before(mark.Value.At):
		return user, false, nil
	case d == nil:
		if user, err = x.linkable(tx, u); err != nil {
			return "", false, err
		}
		if user != "" {
			err = x.update(tx, user, u)
		}
		if err == nil {
			user, err = x.make(tx, u, user)
		}
	default:
		err = x.change(tx, d, u)
	}
	if err != nil {
		return "", false, err
	}
	if !u.At.IsZero() {
		err = x.auth.external.note(tx, mark, externalMark{Provider: x.provider, Subject: u.Subject, At: u.At.UTC()})
	}
	return user, err == nil, err
}

// Delete deletes the user's document, whereupon its triggers run and all accounts go, and leaves a tombstone, for a subject
// that was never heard of too. Deleting again applies nothing.
func (x *External) Delete(tx *engine.Tx, subject string, at time.Time) (applied bool, err error) {
	d, err := x.account(tx, subject)
	if err != nil {
		return false, err
	}
	if d != nil {
		if err := x.remove(tx, d); err != nil {
			return false, err
		}
	}
	mark, err := x.auth.external.mark(tx, x.provider, subject)
	if err != nil || d == nil && mark != nil && mark.Value.Deleted {
		return false, err
	}
	if at.IsZero() {
		at = tx.Now()
	}
	err = x.auth.external.note(tx, mark, externalMark{Provider: x.provider, Subject: subject, At: at.UTC(), Deleted: true})
	return err == nil, err
}

// remove deletes the user of an account, who is missing where somebody inserted the account alone.
func (x *External) remove(tx *engine.Tx, d *engine.Doc[Account]) error {
	switch _, err := x.auth.users.fields(tx, d.Value.User); {
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrInvalid):
		return x.auth.c.accounts.Delete(tx, d.ID)
	case err != nil:
		return err
	}
	return x.auth.users.remove(tx, d.Value.User)
}

// Readmit takes a subject's tombstone away, so that the next token or event makes a new user. Nothing happens where there is
// none.
func (x *External) Readmit(tx *engine.Tx, subject string) error {
	mark, err := x.auth.external.mark(tx, x.provider, subject)
	if err != nil || mark == nil || !mark.Value.Deleted {
		return err
	}
	return x.auth.external.marks.Delete(tx, mark.ID)
}

// account is nil where there is none.
func (x *External) account(r engine.Reader, subject string) (*engine.Doc[Account], error) {
	if n := len([]rune(subject)); n == 0 || n > maxSubject {
		return nil, errSubject
	}
	d, err := x.auth.c.accountsByID.One(r, x.provider, subject)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, nil
	}
	return d, err
}

// linkable is the user to whom a new account belongs since they have proved the same address.
func (x *External) linkable(tx *engine.Tx, u ExternalUser) (string, error) {
	email := u.email()
	if email == "" {
		return "", nil
	}
	return x.auth.linkable(tx, email)
}

// email is the address that links, in its normal form.
func (u ExternalUser) email() string {
	return VouchedEmail(u.VerifiedEmail)
}

// make makes the account, and the user where none is given. The user comes first, as in every sign-up.
func (x *External) make(tx *engine.Tx, u ExternalUser, user string) (string, error) {
	var err error
	switch {
	case user == "" && x.mapping == nil:
		err = fmt.Errorf("authmod: %s has no mapping to make users by", x.provider)
	case user == "":
		user, err = x.mapping.create(tx, u)
	case u.email() != "":
		err = x.auth.users.verify(tx, user, u.email())
	}
	if err != nil {
		return "", err
	}
	_, err = x.auth.c.accounts.Insert(tx, Account{
		Provider: x.provider, ProviderAccountID: u.Subject, User: user, VerifiedEmail: u.email(),
	})
	return user, err
}

// change brings account and user up to date.
func (x *External) change(tx *engine.Tx, d *engine.Doc[Account], u ExternalUser) error {
	if err := x.update(tx, d.Value.User, u); err != nil {
		return err
	}
	return x.auth.c.accounts.Patch(tx, d.ID, func(v *Account) error { // writes nothing where nothing changes
		v.VerifiedEmail = u.email()
		return nil
	})
}

func (x *External) update(tx *engine.Tx, user string, u ExternalUser) error {
	if x.mapping == nil {
		return nil
	}
	return x.mapping.update(tx, user, u)
}

// mark is nil where nothing is known of a subject.
func (e *externals) mark(r engine.Reader, provider, subject string) (*engine.Doc[externalMark], error) {
	d, err := e.bySubject.One(r, provider, subject)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, nil
	}
	return d, err
}

func (e *externals) note(tx *engine.Tx, known *engine.Doc[externalMark], m externalMark) error {
	if known == nil {
		_, err := e.marks.Insert(tx, m)
		return err
	}
	return e.marks.Replace(tx, known.ID, m)
}

// bury leaves a tombstone for an account that is taken away, with its user or alone, if its people sign in elsewhere: they hold
// tokens that are valid still, and would be made anew by the next.
func (e *externals) bury(tx *engine.Tx, a Account) error {
	if !e.providers[a.Provider] {
		return nil
	}
	known, err := e.mark(tx, a.Provider, a.ProviderAccountID)
	if err != nil {
		return err
	}
	return e.note(tx, known, externalMark{
		Provider: a.Provider, Subject: a.ProviderAccountID, At: tx.Now().UTC(), Deleted: true,
	})
}
