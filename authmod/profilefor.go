package authmod

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/mimosadb/mimosa/engine"
)

// ProfileFor is a Profile for modules that know more about a person than what the form says: W is what an identity provider
// says of them. It is made by NewProfileFor, and put in its place by BindProfile.
type ProfileFor[W any] interface {
	bindFor(h *Host) boundProfileFor[W]
}

type boundProfileFor[W any] interface {
	check(params json.RawMessage) error
	make(who W, params json.RawMessage) (json.RawMessage, error)
}

// NewProfileFor is NewProfile with a function that is also told who it is. The parameters are what the client sent beside those
// that the module uses itself, validated strictly against P.
func NewProfileFor[W, P, T any](fn func(who W, params P) (T, error)) ProfileFor[W] {
	return profileFor[W, P, T]{fn}
}

type profileFor[W, P, T any] struct{ fn func(W, P) (T, error) }

func (p profileFor[W, P, T]) bindFor(h *Host) boundProfileFor[W] {
	b := boundFor[W, P, T]{fn: p.fn}
	if p.fn == nil {
		h.Problem("the profile's function is nil")
	}
	params := reflect.TypeFor[P]()
	if params.Kind() != reflect.Struct {
		h.Problem("the profile takes %v, and must take a struct", params)
	}
	b.params = engine.ShapeOf[P](h.auth.schema)
	h.auth.shapes[params] = b.params
	var ok bool
	if b.user, ok = h.auth.users.shape().(*engine.Shape[T]); !ok {
		h.Problem("the profile makes %v, the users collection holds %v", reflect.TypeFor[T](), h.auth.users.goType())
		b.user = engine.ShapeOf[T](h.auth.schema)
	}
	return b
}

type boundFor[W, P, T any] struct {
	fn     func(W, P) (T, error)
	params *engine.Shape[P]
	user   *engine.Shape[T]
}

func (b boundFor[W, P, T]) check(params json.RawMessage) error {
	_, err := b.params.Decode(params)
	return err
}

func (b boundFor[W, P, T]) make(who W, params json.RawMessage) (json.RawMessage, error) {
	p, err := b.params.Decode(params)
	if err != nil {
		return nil, err
	}
	v, err := b.fn(who, p)
	if err != nil {
		return nil, err
	}
	return b.user.Encode(v)
}

// plainProfileFor is that of users with the fields of UserFields and nothing else. It lets all parameters through.
type plainProfileFor[W any] struct {
	users  users
	fields func(W) UserFields
}

func (p plainProfileFor[W]) check(json.RawMessage) error { return nil }

func (p plainProfileFor[W]) make(who W, _ json.RawMessage) (json.RawMessage, error) {
	return p.users.plain(p.fields(who))
}

// SheetFor is what a module asks to make a user who is known from elsewhere.
type SheetFor[W any] struct{ profile boundProfileFor[W] }

// BindProfile puts a profile in its place. A nil one stands for users with what fields says of a person and nothing else; any
// parameters are let through to the triggers as they are then.
func BindProfile[W any](h *Host, p ProfileFor[W], fields func(W) UserFields) *SheetFor[W] {
	if p == nil {
		return &SheetFor[W]{plainProfileFor[W]{h.auth.users, fields}}
	}
	return &SheetFor[W]{p.bindFor(h)}
}

// Check validates parameters against the profile's type, before it is known who it is.
func (s *SheetFor[W]) Check(params json.RawMessage) ([]engine.Issue, error) {
	return issuesOf(s.profile.check(params))
}

// Make makes the user document of a person and validates it, as [Sheet.Check] does. The address in it is normalised; a
// parameter of that name is a parameter like others.
func (s *SheetFor[W]) Make(who W, params json.RawMessage) (NewUser, []engine.Issue, error) {
	doc, err := s.profile.make(who, params)
	if err != nil {
		issues, err := issuesOf(err)
		return NewUser{}, issues, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(doc, &members); err != nil {
		return NewUser{}, nil, fmt.Errorf("authmod: profile: %w", err)
	}
	var email string
	if raw, ok := members["email"]; ok {
		if err := json.Unmarshal(raw, &email); err != nil {
			return NewUser{}, nil, fmt.Errorf("authmod: profile: %w", err)
		}
		email = NormalizeEmail(email)
		if members["email"], err = json.Marshal(email); err != nil {
			return NewUser{}, nil, fmt.Errorf("authmod: profile: %w", err)
		}
	}
	return NewUser{Email: email, doc: encodeObject(members)}, nil, nil
}
