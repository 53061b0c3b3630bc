package authmod

import (
	"reflect"
	"strings"

	"github.com/mimosadb/mimosa/engine"
)

// UserFields are what sign-in modules know about a person. The application embeds them, without a pointer and without a json
// tag, in the struct of its users collection, and may read and write them like fields of its own. They hold no secrets:
// credentials live in collections of this package.
//
// Email is normalised when a module sets it; it is not unique among users, since what must be unique is the account.
type UserFields struct {
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"emailVerified,omitempty"`
	Name          string `json:"name,omitempty"`
	Image         string `json:"image,omitempty"`
}

func (f *UserFields) authFields() *UserFields { return f }

// proved notes that an address, normalised or empty, was proved to be the person's: theirs is verified if it is that one.
func (f *UserFields) proved(email string) {
	if email != "" && NormalizeEmail(f.Email) == email {
		f.EmailVerified = true
	}
}

// userPtr is satisfied by *T for every struct T that embeds UserFields.
type userPtr[T any] interface {
	*T
	authFields() *UserFields
}

var fieldsType = reflect.TypeFor[UserFields]()

// checkUserType reports to s what is wrong with the way in which t embeds UserFields: a pointer, a json tag that would move
// the fields into an object of their own, and fields of the application that hide one of them in Go or in JSON.
func checkUserType(s *engine.Schema, t reflect.Type) {
	if t.Kind() != reflect.Struct {
		return // Define has reported it
	}
	at, found := embedding(t, nil)
	if !found {
		s.Problem("authmod: %v embeds *authmod.UserFields, or embeds it with a json tag: embed authmod.UserFields itself, without a tag", t)
		return
	}
	auth := map[string]string{} // JSON name → Go name
	for i := range fieldsType.NumField() {
		f := fieldsType.Field(i)
		auth[jsonName(f)] = f.Name
		if got, ok := t.FieldByName(f.Name); !ok || !within(got.Index, at) {
			s.Problem("authmod: field %s of %v shadows authmod.UserFields.%s: rename it, or use the embedded one", f.Name, t, f.Name)
		}
	}
	for _, f := range reflect.VisibleFields(t) {
		name, ours := auth[jsonName(f)]
		if f.IsExported() && !f.Anonymous && ours && !within(f.Index, at) && f.Name != name {
			s.Problem("authmod: field %s of %v is %q in JSON, which shadows authmod.UserFields.%s: rename it, or use the embedded one",
				f.Name, t, jsonName(f), name)
		}
	}
}

// embedding finds the index path at which t embeds UserFields by value, directly or through structs that it embeds likewise.
func embedding(t reflect.Type, at []int) ([]int, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.Anonymous || f.Type.Kind() != reflect.Struct || jsonTagName(f) != "" {
			continue
		}
		here := append(at[:len(at):len(at)], i)
		if f.Type == fieldsType {
			return here, true
		}
		if found, ok := embedding(f.Type, here); ok {
			return found, true
		}
	}
	return nil, false
}

// within says whether the field at index lies in the struct embedded at outer.
func within(index, outer []int) bool {
	if len(index) <= len(outer) {
		return false
	}
	for i, n := range outer {
		if index[i] != n {
			return false
		}
	}
	return true
}

func jsonTagName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// jsonName is the name under which f travels, "-" when it does not.
func jsonName(f reflect.StructField) string {
	if name := jsonTagName(f); name != "" {
		return name
	}
	return f.Name
}

// hasJSONField says whether struct type t has a member of this name, embedded structs included.
func hasJSONField(t reflect.Type, name string) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() && jsonName(f) == name && (!f.Anonymous || jsonTagName(f) != "") {
			return true
		}
	}
	return false
}
