package engine

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// Shape validates and decodes JSON of a Go type outside of collections and functions: the parameters of a sign-up, the body
// of a webhook. It follows the same rules as arguments do. It is safe for concurrent use.
type Shape[T any] struct {
	name string
	typ  *doctype.Type
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

// Decode validates raw strictly and decodes it. Errors are of code invalid, with issues.
func (p *Shape[T]) Decode(raw json.RawMessage) (v T, err error) {
	if p.typ == nil {
		return v, fmt.Errorf("engine: shape of %s was not registered properly", p.name)
	}
	if issues := p.typ.Validate(raw, doctype.ValidateOptions{}); len(issues) > 0 {
		return v, invalid("invalid value", issues)
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
	if issues := p.typ.Validate(raw, doctype.ValidateOptions{}); len(issues) > 0 {
		return nil, invalid("invalid value", issues)
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
