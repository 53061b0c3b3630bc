package doctype

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/invopop/jsonschema"
	full "github.com/santhosh-tekuri/jsonschema/v6"
	cause "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// A general is a schema that a general validator checks, because it uses keywords that shapes do not compile. Only methods
// with which a type describes itself can bring those.
type general struct {
	schema *full.Schema
}

// beyond reports whether a schema uses a keyword that shapes do not compile.
func (c *shaper) beyond(s *jsonschema.Schema) bool {
	for key := range s.Extras {
		if !strings.HasPrefix(key, "x-") {
			return true
		}
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); s.Ref != "" && (!ok || c.schemaDoc.defs[name] == nil) {
		return true
	}
	return s.DynamicRef != "" || s.Not != nil || s.If != nil || s.Then != nil || s.Else != nil ||
		len(s.DependentSchemas) > 0 || len(s.PrefixItems) > 0 || s.Contains != nil || s.MinContains != nil || s.MaxContains != nil ||
		len(s.PatternProperties) > 0 || len(s.DependentRequired) > 0 || s.ContentSchema != nil
}

func (c *shaper) generalFor(s *jsonschema.Schema) *general {
	whole := *s
	whole.Definitions = c.schemaDoc.defs
	raw, err := json.Marshal(&whole)
	if err != nil {
		c.fail("%w", err)
		return nil
	}
	schema, err := compileGeneral(raw)
	if err != nil {
		c.fail("%w", err)
		return nil
	}
	return &general{schema}
}

// compileGeneral compiles a schema for the general validator, with the same formats as ours.
func compileGeneral(raw []byte) (*full.Schema, error) {
	doc, err := full.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := full.NewCompiler()
	c.AssertFormat()
	for name, fn := range formats {
		c.RegisterFormat(&full.Format{Name: name, Validate: func(v any) error {
			if s, ok := v.(string); ok && !fn([]byte(s)) {
				return fmt.Errorf("not a %s", name)
			}
			return nil
		}})
	}
	const at = "mimosa:schema"
	if err := c.AddResource(at, doc); err != nil {
		return nil, err
	}
	return c.Compile(at)
}

// check reports the issues of a value that check accepted, with paths that begin at the value.
func (g *general) check(raw []byte, report func(path []string, rule, message string)) {
	canonical := appendCanonical(nil, raw) // bounds the length of numbers, which the validator computes with exactly
	v, err := full.UnmarshalJSON(bytes.NewReader(canonical))
	if err != nil {
		report(nil, ruleJSON, msgSyntax)
		return
	}
	if err := g.schema.Validate(v); err != nil {
		ve, ok := err.(*full.ValidationError) //nolint:errorlint // the validator returns nothing else
		if !ok {
			report(nil, ruleType, "does not fit")
			return
		}
		leaves(ve, report)
	}
}

// leaves reports the innermost causes. Of alternatives none is the cause: they are reported as one.
func leaves(e *full.ValidationError, report func(path []string, rule, message string)) {
	at := e.InstanceLocation
	member := func(name string) []string { return append(at[:len(at):len(at)], name) }
	switch k := e.ErrorKind.(type) {
	case *cause.Required:
		for _, name := range k.Missing {
			report(member(name), "required", msgRequired)
		}
		return
	case *cause.DependentRequired:
		for _, name := range k.Missing {
			report(member(name), "dependentRequired", msgRequired)
		}
		return
	case *cause.AdditionalProperties:
		for _, name := range k.Properties {
			report(member(name), "additionalProperties", msgUnknown)
		}
		return
	case *cause.PropertyNames:
		report(member(k.Property), "propertyNames", msgKey)
		return
	case *cause.AnyOf, *cause.OneOf, *cause.Not, *cause.Contains, *cause.MinContains, *cause.MaxContains:
	default:
		if len(e.Causes) > 0 {
			for _, c := range e.Causes {
				leaves(c, report)
			}
			return
		}
	}
	rule := "not" // a schema that is false
	if kp := e.ErrorKind.KeywordPath(); len(kp) > 0 {
		rule = kp[0]
	}
	report(at, rule, "does not satisfy the rule "+rule)
}
