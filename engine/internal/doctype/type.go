package doctype

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// Options tell Compile about the types that the engine gives a meaning of their own. Functions that are nil recognise nothing.
type Options struct {
	// IDTarget reports whether t is an id, a string kind, and of which documents.
	IDTarget func(t reflect.Type) (target reflect.Type, ok bool)
	// Doc reports whether t is a document: a struct of an id, the creation time and the value, in this order.
	Doc func(t reflect.Type) (value reflect.Type, ok bool)
	// Stored reports whether t is a document in the very bytes that it is stored in: a struct whose first field is a []byte with
	// the wire JSON of doc, which is a type that Doc recognises. Encode copies the bytes, and the schema is that of doc. set makes
	// what ptr, a pointer to a t, points to one of raw, which is its to keep. Only results may hold such documents.
	Stored func(t reflect.Type) (doc reflect.Type, set func(ptr any, raw []byte), ok bool)
	// Int64 is the integer type that travels as $integer.
	Int64 reflect.Type
	// CheckID reports whether an id is well-formed and of target's collection. It is called while validating, possibly by
	// several goroutines at once.
	CheckID func(target reflect.Type, id string) bool
	// Result says that t is what a function gives back: its members may begin with an underscore, since a result is often a
	// document in another shape, with _id and _creationTime of its own.
	Result bool
}

// A Type is what is known about one Go type. It does not change; all methods may be called concurrently.
type Type struct {
	typ    reflect.Type
	o      Options
	root   *node
	schema json.RawMessage
	shape  *shape
	met    sync.Map // reflect.Type → *node, of values met behind interfaces
}

// Compile looks at t. Everything that keeps it from travelling is reported together, each with type and field: kinds that have
// no JSON (channels, functions, complex numbers), interfaces other than any, map keys that are not strings, names that are
// reserved, given twice or not carried by the wire, json and jsonschema tags that mean nothing.
func Compile(t reflect.Type, o Options) (*Type, error) {
	if t == nil {
		return nil, errors.New("doctype: no type given")
	}
	b := newBuilder(o)
	root := b.root(t)
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	s, err := b.schema(root)
	if err != nil {
		return nil, err
	}
	dt := &Type{typ: t, o: o, root: root}
	if dt.schema, err = json.Marshal(s.root); err != nil {
		return nil, fmt.Errorf("doctype: schema of %s: %w", t, err)
	}
	if dt.shape, err = compileShape(s); err != nil {
		return nil, fmt.Errorf("doctype: schema of %s: %w", t, err)
	}
	return dt, nil
}

// JSONSchema gives the schema of the wire form (draft 2020-12), the same bytes for the same type. Values that JSON Schema has no
// word for are marked by "x-mimosa-type": "id" (whose "x-mimosa-id" names the type of the documents), "int64", "bytes", "time" and
// "float"; a float may also come as $float, which the schema does not say.
func (t *Type) JSONSchema() json.RawMessage { return append(json.RawMessage(nil), t.schema...) }
