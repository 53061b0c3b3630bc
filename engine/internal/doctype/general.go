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

// split takes a schema apart: what shapes compile, and the rest, nil if there is none. Keywords whose meaning depends on each
// other stay together.
func (c *shaper) split(s *jsonschema.Schema) (*jsonschema.Schema, *general) {
	for key := range s.Extras {
		if !strings.HasPrefix(key, "x-") { // may depend on anything
			return &jsonschema.Schema{}, c.generalFor(*s)
		}
	}
	ours, rest := *s, jsonschema.Schema{
		DynamicRef: s.DynamicRef, Not: s.Not, If: s.If, Then: s.Then, Else: s.Else,
		DependentSchemas: s.DependentSchemas, DependentRequired: s.DependentRequired,
		Contains: s.Contains, MinContains: s.MinContains, MaxContains: s.MaxContains,
		PatternProperties: s.PatternProperties, PrefixItems: s.PrefixItems, ContentSchema: s.ContentSchema,
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); s.Ref != "" && (!ok || c.schemaDoc.defs[name] == nil) {
		ours.Ref, rest.Ref = "", s.Ref
	}
	if len(s.PatternProperties) > 0 && s.AdditionalProperties != nil {
		ours.AdditionalProperties, rest.AdditionalProperties = nil, s.AdditionalProperties
		rest.Properties = jsonschema.NewProperties() // they are not additional
		if s.Properties != nil {
			for p := s.Properties.Oldest(); p != nil; p = p.Next() {
				rest.Properties.Set(p.Key, jsonschema.TrueSchema)
			}
		}
	}
	if len(s.PrefixItems) > 0 {
		ours.Items, rest.Items = nil, s.Items
	}
	if verdict(&rest) == "true" {
		return s, nil
	}
	return &ours, c.generalFor(rest)
}

func (c *shaper) generalFor(s jsonschema.Schema) *general {
	s.Definitions = c.schemaDoc.defs
	raw, err := json.Marshal(&s)
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
