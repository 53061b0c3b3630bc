package engine

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// Shape validates and decodes JSON of a Go type outside of collections and functions: the parameters of a sign-up, the body
// of a webhook. It follows the same rules as arguments do. It is safe for concurrent use.
type Shape[T any] struct {
	name string
	typ  *doctype.Type
	// completed says that hooks complete what has this shape before it is stored. It is nil, or asked when it is used, since
	// triggers are registered after what needs the shape.
	completed func() bool
}

// ShapeOf compiles T. What is wrong with it is reported by Open, and by every use of the Shape.
func ShapeOf[T any](s *Schema) *Shape[T] {
	t := reflect.TypeFor[T]()
	p := &Shape[T]{name: t.String()}
	s.register(func() error {
		typ, err := s.compile(t)
		if err != nil {
			return fmt.Errorf("shape of %v: %w", t, err)
		}
		p.typ = typ
		return nil
	})
	return p
}

// DraftOf is the Shape of documents that are about to be inserted in c. Where a [CompleteHook] may change new documents of c,
// such as a trigger that sets a required field, the Shape does not ask for what the collection does: Encode and Decode then do
// not validate, and the insertion does, when the hooks have run. Otherwise it is the Shape of T.
func DraftOf[T any](c *Collection[T]) *Shape[T] {
	s := c.Owner()
	p := ShapeOf[T](s)
	p.completed = func() bool {
		return slices.ContainsFunc(s.hooks, func(h WriteHook) bool {
			completing, ok := h.(CompleteHook)
			return ok && completing.Completes(c.Name())
		})
	}
	return p
}

// strict says whether values are validated here.
func (p *Shape[T]) strict() bool { return p.completed == nil || !p.completed() }

// Decode validates raw strictly and decodes it. Errors are of code invalid, with issues.
func (p *Shape[T]) Decode(raw json.RawMessage) (v T, err error) {
	if p.typ == nil {
		return v, fmt.Errorf("engine: shape of %s was not registered properly", p.name)
	}
	if p.strict() {
		if issues := p.typ.Validate(raw, doctype.ValidateOptions{}); len(issues) > 0 {
			return v, invalid("invalid value", issues)
		}
	}
	if err := p.typ.Decode(raw, &v); err != nil {
		return v, asInvalid(err, "invalid value")
	}
	return v, nil
}

// Encode encodes and validates v. Errors are of code invalid, with issues.
func (p *Shape[T]) Encode(v T) (json.RawMessage, error) {
	if p.typ == nil {
		return nil, fmt.Errorf("engine: shape of %s was not registered properly", p.name)
	}
	raw, err := p.typ.Encode(&v)
	if err != nil {
		return nil, asInvalid(err, "invalid value")
	}
	if p.strict() {
		if issues := p.typ.Validate(raw, doctype.ValidateOptions{}); len(issues) > 0 {
			return nil, invalid("invalid value", issues)
		}
	}
	return raw, nil
}

// Schema returns T's JSON Schema.
func (p *Shape[T]) Schema() json.RawMessage {
	if p.typ == nil {
		return nil
	}
	return p.typ.JSONSchema()
}
