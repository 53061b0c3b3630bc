package doctype

import (
	"bytes"
	"strings"

	full "github.com/santhosh-tekuri/jsonschema/v6"
	cause "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// An Oracle judges values by a type's schema with the general validator, which shares nothing with shapes and walkers but the
// formats.
type Oracle struct{ schema *full.Schema }

func (t *Type) Oracle() (*Oracle, error) {
	s, err := compileGeneral(t.schema)
	return &Oracle{s}, err
}

// Validate gives the issues of raw without their messages.
func (o *Oracle) Validate(raw []byte) ([]Issue, error) {
	v, err := full.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	var issues []Issue
	if err := o.schema.Validate(v); err != nil {
		innermost(err.(*full.ValidationError), func(path []string, rule, _ string) {
			issues = append(issues, Issue{Path: strings.Join(path, "."), Rule: rule})
		})
	}
	return tidy(issues), nil
}

// innermost is leaves, but for pointers: the alternative of being null explains nothing.
func innermost(e *full.ValidationError, report func(path []string, rule, message string)) {
	if _, ok := e.ErrorKind.(*cause.AnyOf); ok && len(e.Causes) == 2 {
		if k, ok := e.Causes[1].ErrorKind.(*cause.Type); ok && len(k.Want) == 1 && k.Want[0] == "null" {
			innermost(e.Causes[0], report)
			return
		}
	}
	switch e.ErrorKind.(type) {
	case *cause.Schema, *cause.Group, *cause.Reference, *cause.AllOf:
		for _, c := range e.Causes {
			innermost(c, report)
		}
		return
	}
	leaves(e, report)
}

// Checked reports whether raw is what any value on the wire must be.
func Checked(raw []byte) bool { return check(raw) == nil }
