package authmod

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/mimosadb/mimosa/engine"
)

// Profile makes the user document of somebody who signs up from the parameters that they gave. It is made by NewProfile and
// given to a module's options.
type Profile interface {
	// bind puts the profile into a schema.
	bind(h *Host) boundProfile
}

// boundProfile is a Profile in its place, without its types.
type boundProfile interface {
	// make validates the parameters, runs the profile's function and encodes the result, which is not validated yet.
	make(params json.RawMessage) (json.RawMessage, error)
	// wantsEmail says that the parameters' type has a field for the e-mail address.
	wantsEmail() bool
}

// NewProfile makes a Profile of a function. P is a struct: the parameters, as a form has them, with the rules of its json and
// jsonschema tags. They are validated strictly before fn runs: members that P does not have are refused, and nothing is
// converted. T is the type of the users collection. fn runs on creation only, possibly more than once for one sign-up. It
// refuses with an engine.Errorf of code invalid and issues, which reach the client together with all the others, or with any
// other code, which reaches it as it is.
func NewProfile[P, T any](fn func(p P) (T, error)) Profile { return profile[P, T]{fn} }

type profile[P, T any] struct{ fn func(P) (T, error) }

func (p profile[P, T]) bind(h *Host) boundProfile {
	if p.fn == nil {
		h.Problem("the profile's function is nil")
	}
	params := reflect.TypeFor[P]()
	if params.Kind() != reflect.Struct {
		h.Problem("the profile takes %v, and must take a struct", params)
	}
	b := bound[P, T]{fn: p.fn, params: engine.ShapeOf[P](h.auth.schema)}
	shape, ok := h.auth.users.shape().(*engine.Shape[T])
	if !ok {
		h.Problem("the profile makes %v, the users collection holds %v", reflect.TypeFor[T](), h.auth.users.goType())
		shape = engine.ShapeOf[T](h.auth.schema)
	}
	b.user = shape
	h.auth.shapes[params] = b.params
	return b
}

type bound[P, T any] struct {
	fn     func(P) (T, error)
	params *engine.Shape[P]
	user   *engine.Shape[T]
}

func (b bound[P, T]) make(params json.RawMessage) (json.RawMessage, error) {
	p, err := b.params.Decode(params)
	if err != nil {
		return nil, err
	}
	v, err := b.fn(p)
	if err != nil {
		return nil, err
	}
	return b.user.Encode(v)
}

func (b bound[P, T]) wantsEmail() bool { return hasJSONField(reflect.TypeFor[P](), "email") }

// Sheet is what a module asks to check a sign-up.
type Sheet struct {
	host    *Host
	profile boundProfile
	open    bool // there is no profile: any parameters do
}

// NewUser is a checked document of a user who does not exist yet.
type NewUser struct {
	// Email is the document's, normalised; it may be empty.
	Email string

	doc json.RawMessage
}

// Document is the user document, for a module that keeps it until somebody has proved something; NewUserOf takes it back.
func (u NewUser) Document() json.RawMessage { return u.doc }

// NewUserOf is the NewUser of a Document. It is validated again when it is stored.
func NewUserOf(doc json.RawMessage) NewUser {
	var fields struct {
		Email string `json:"email"`
	}
	if err := json.Unmarshal(doc, &fields); err != nil {
		return NewUser{} // which Complete refuses
	}
	return NewUser{Email: fields.Email, doc: doc}
}

// Profile puts a profile in its place. A nil one stands for users with an e-mail address and nothing else; further parameters
// are let through to the triggers as they are.
func (h *Host) Profile(p Profile) *Sheet {
	s := &Sheet{host: h, open: p == nil}
	if p == nil {
		p = h.auth.users.plainProfile()
	}
	s.profile = p.bind(h)
	return s
}

// Check makes the user document from the attempt's parameters and validates it: the parameters against the profile's type,
// what its function says, the result against the schema of the users collection. All issues come together, with paths as the
// form has them; when there are any the NewUser is of no use. An error is one that the profile refused with under a code of
// its own, or a fault.
//
// A parameter email that the profile's type has no field for is not refused but put into the document.
func (s *Sheet) Check(a *Attempt) (NewUser, []engine.Issue, error) {
	params := map[string]json.RawMessage{}
	for name, v := range a.params {
		if name == "email" && !s.profile.wantsEmail() || s.open && name != "email" {
			continue
		}
		params[name] = v
	}
	doc, err := s.profile.make(encodeObject(params))
	if err != nil {
		issues, err := issuesOf(err)
		return NewUser{}, issues, err
	}
	user, err := s.withEmail(doc, a)
	return user, nil, err
}

// withEmail normalises the e-mail address of what the profile made.
func (s *Sheet) withEmail(doc json.RawMessage, a *Attempt) (NewUser, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(doc, &members); err != nil {
		return NewUser{}, fmt.Errorf("authmod: profile: %w", err)
	}
	var email string
	if raw, ok := members["email"]; ok {
		if err := json.Unmarshal(raw, &email); err != nil {
			return NewUser{}, fmt.Errorf("authmod: profile: %w", err)
		}
	}
	if email == "" && !s.profile.wantsEmail() {
		if given, issue := a.Param("email"); issue == nil {
			email = given
		}
	}
	email = NormalizeEmail(email)
	if email != "" {
		quoted, err := json.Marshal(email)
		if err != nil {
			return NewUser{}, fmt.Errorf("authmod: profile: %w", err)
		}
		members["email"] = quoted
	}
	return NewUser{Email: email, doc: encodeObject(members)}, nil
}

// issuesOf takes the issues out of an error of code invalid; any other error stays one.
func issuesOf(err error) ([]engine.Issue, error) {
	var e *engine.Error
	if errors.As(err, &e) && e.Code == engine.CodeInvalid && len(e.Issues) > 0 {
		return append([]engine.Issue(nil), e.Issues...), nil
	}
	return nil, err
}
