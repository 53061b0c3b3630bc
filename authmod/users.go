package authmod

import (
	"encoding/json"
	"errors"
	"reflect"

	"github.com/mimosadb/mimosa/engine"
)

// users is what this package does with the application's users, without their type.
type users interface {
	goType() reflect.Type
	shape() any // *engine.Shape of it
	plainProfile() Profile
	// plain is a document of these fields and no others.
	plain(f UserFields) (json.RawMessage, error)
	// insert makes a user of doc. proved is the address that the person has proved, which is verified from the start.
	insert(tx *engine.Tx, doc json.RawMessage, proved string) (string, error)
	// merge puts what doc says into a user's document: members that are not zero.
	merge(tx *engine.Tx, user string, doc json.RawMessage, proved string) error
	// verify marks a user's e-mail address as verified, if it is this one.
	verify(tx *engine.Tx, user, email string) error
	fields(r engine.Reader, user string) (UserFields, error)
	remove(tx *engine.Tx, user string) error
}

type usersOf[T any, P userPtr[T]] struct {
	c *engine.Collection[T]
	s *engine.Shape[T]
}

func (u usersOf[T, P]) goType() reflect.Type { return reflect.TypeFor[T]() }
func (u usersOf[T, P]) shape() any           { return u.s }

func (u usersOf[T, P]) insert(tx *engine.Tx, doc json.RawMessage, proved string) (string, error) {
	if doc == nil {
		return "", ErrNoUser
	}
	v, err := u.s.Decode(doc)
	if err != nil {
		return "", err
	}
	P(&v).authFields().proved(proved)
	id, err := u.c.Insert(tx, v)
	return string(id), err
}

// plainProfile is that of modules without one.
func (u usersOf[T, P]) plainProfile() Profile {
	type params struct {
		Email string `json:"email,omitempty"`
	}
	return NewProfile(func(p params) (T, error) {
		var user T
		P(&user).authFields().Email = p.Email
		return user, nil
	})
}

func (u usersOf[T, P]) plain(f UserFields) (json.RawMessage, error) {
	var user T
	*P(&user).authFields() = f
	return u.s.Encode(user)
}

func (u usersOf[T, P]) merge(tx *engine.Tx, user string, doc json.RawMessage, proved string) error {
	return u.c.Patch(tx, engine.ID[T](user), func(v *T) error {
		before := NormalizeEmail(P(v).authFields().Email)
		stored, err := u.s.Encode(*v)
		if err != nil {
			return err
		}
		var members, news map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(stored, &members), json.Unmarshal(doc, &news)); err != nil {
			return err
		}
		for name, value := range news {
			if !zeroJSON(value) {
				members[name] = value
			}
		}
		if *v, err = u.s.Decode(encodeObject(members)); err != nil {
			return err
		}
		f := P(v).authFields()
		if _, said := news["emailVerified"]; !said && NormalizeEmail(f.Email) != before {
			f.EmailVerified = false // that was about another address
		}
		f.proved(proved)
		return nil
	})
}

// zeroJSON says whether a value is one that Go's zero values are encoded as.
func zeroJSON(v json.RawMessage) bool {
	switch string(v) {
	case `""`, "0", "false", "null", "[]", "{}":
		return true
	}
	return false
}

func (u usersOf[T, P]) verify(tx *engine.Tx, user, email string) error {
	return u.c.Patch(tx, engine.ID[T](user), func(v *T) error {
		P(v).authFields().proved(email)
		return nil
	})
}

func (u usersOf[T, P]) fields(r engine.Reader, user string) (UserFields, error) {
	d, err := u.c.Get(r, engine.ID[T](user))
	if err != nil {
		return UserFields{}, err
	}
	return *P(&d.Value).authFields(), nil
}

var errNobody = engine.Errorf(engine.CodeUnauthenticated, "nobody is signed in")

// UserID returns the user whom r runs as, as an id of the users collection. When nobody is signed in the error is of code
// unauthenticated.
func UserID[T any](r engine.Reader, users *engine.Collection[T]) (engine.ID[T], error) {
	who, err := r.Identity()
	if err != nil {
		return "", err
	}
	if who == nil || who.User == "" {
		return "", errNobody
	}
	return users.ParseID(who.User)
}
