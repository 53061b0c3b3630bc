package doctype

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// The annotations of values that JSON Schema has no word for.
const (
	extraType = "x-mimosa-type" // id, int64, bytes, time, float
	extraID   = "x-mimosa-id"   // the name of the type of the documents that an id names
	extraSize = "x-mimosa-size" // of bytes whose number is fixed
)

// A schemaDoc is a schema together with what its annotations stand for.
type schemaDoc struct {
	root    *jsonschema.Schema
	defs    jsonschema.Definitions
	targets map[string]reflect.Type // by type name
}

// A describer makes the schema of a type: the generator reflects it, then fix brings the result in line with what Encode
// writes, since the generator knows encoding/json's rules only roughly (which fields are required, which are null).
type describer struct {
	schemaDoc
	b     *builder
	names map[reflect.Type]string
	taken map[string]bool
	docs  []*node // Doc types still to be defined
	fixed map[*jsonschema.Schema]bool
	errs  []error
}

func (b *builder) schema(root *node) (_ *schemaDoc, err error) {
	d := &describer{
		b: b, names: map[reflect.Type]string{}, taken: map[string]bool{}, fixed: map[*jsonschema.Schema]bool{},
		schemaDoc: schemaDoc{defs: jsonschema.Definitions{}, targets: map[string]reflect.Type{}},
	}
	defer func() {
		// The generator, and the methods of types that describe themselves, panic at what they do not like.
		if p := recover(); p != nil {
			err = fmt.Errorf("doctype: schema of %s: %v", root.typ, p)
		}
	}()
	s := d.nullable(root, d.fix(root, d.reflect(root.typ)))
	for len(d.docs) > 0 {
		n := d.docs[0]
		d.docs = d.docs[1:]
		d.document(n)
	}
	if root.kind == kindMap && !b.o.Result {
		s = d.topLevel(s)
	}
	s.Version = jsonschema.Version
	s.Definitions = d.defs
	d.root = s
	return &d.schemaDoc, errors.Join(d.errs...)
}

// reflect runs the generator and takes over the definitions it makes.
func (d *describer) reflect(t reflect.Type) *jsonschema.Schema {
	r := &jsonschema.Reflector{Anonymous: true, Namer: d.name, Mapper: d.mapped}
	s := r.ReflectFromType(t)
	for name, def := range s.Definitions {
		if d.defs[name] == nil {
			d.defs[name] = def
		}
	}
	s.Definitions, s.Version = nil, ""
	return s
}

// TypeName gives the name under which schemas define and mention a type: package path and name in [A-Za-z0-9_].
func TypeName(t reflect.Type) string {
	var b strings.Builder
	for _, c := range []byte(t.PkgPath() + "." + t.Name()) {
		switch {
		case isAlnum(c):
			b.WriteByte(c)
		case c == '.' || c == '/':
			b.WriteByte('_')
		case c == '_':
			b.WriteString("__")
		default:
			fmt.Fprintf(&b, "_%02x_", c)
		}
	}
	return b.String()
}

// name is the generator's Namer. Types declared inside functions may share package and name; within one schema they are
// numbered.
func (d *describer) name(t reflect.Type) string {
	if t.Name() == "" {
		return "" // defined in place
	}
	if name, ok := d.names[t]; ok {
		return name
	}
	base := TypeName(t)
	name := base
	for i := 2; d.taken[name]; i++ {
		name = base + "_" + strconv.Itoa(i)
	}
	d.names[t], d.taken[name] = name, true
	return name
}

var (
	describesItself = reflect.TypeFor[interface{ JSONSchema() *jsonschema.Schema }]()
	extendsItself   = reflect.TypeFor[interface{ JSONSchemaExtend(*jsonschema.Schema) }]()
	describedByType = reflect.TypeFor[interface{ JSONSchemaAlias() any }]()
)

// ownSchema reports whether a type brings its schema along.
func ownSchema(t reflect.Type) bool {
	return t.Implements(describesItself) || t.Implements(describedByType)
}

// mapped is the generator's Mapper: the schemas of the types that it would describe wrongly.
func (d *describer) mapped(t reflect.Type) *jsonschema.Schema {
	n := d.b.nodes[t]
	if n == nil { // reached only through a method of the generator's
		n = d.b.root(t)
		if len(d.b.errs) > 0 {
			panic(errors.Join(d.b.errs...))
		}
	}
	switch n.kind {
	case kindInt, kindUint:
		low, high := intBounds(n)
		return &jsonschema.Schema{Type: "integer", Minimum: jsonInt(low), Maximum: jsonInt(high)}
	case kindFloat:
		return marked("number", "float")
	case kindID:
		return d.id(n.target)
	case kindTime:
		s := marked("string", "time")
		s.Format = "date-time"
		return s
	case kindInt64:
		return specialSchema(memberInteger, "int64", 12)
	case kindBytes:
		if t.Kind() == reflect.Slice {
			return specialSchema(memberBytes, "bytes", -1)
		}
		s := specialSchema(memberBytes, "bytes", b64.EncodedLen(t.Len()))
		s.Extras[extraSize] = t.Len()
		return s
	case kindDoc:
		name := d.name(t)
		if d.defs[name] == nil {
			d.defs[name] = &jsonschema.Schema{}
			d.docs = append(d.docs, n)
		}
		return &jsonschema.Schema{Ref: "#/$defs/" + name}
	case kindStored:
		return d.mapped(n.elem.typ)
	case kindJSON:
		if !ownSchema(t) {
			return &jsonschema.Schema{}
		}
	case kindText:
		if !ownSchema(t) {
			return &jsonschema.Schema{Type: "string"}
		}
	}
	return nil
}

func marked(typ, mark string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: typ, Extras: map[string]any{extraType: mark}}
}

func (d *describer) id(target reflect.Type) *jsonschema.Schema {
	s := marked("string", "id")
	name := d.name(target)
	s.Extras[extraID] = name
	d.targets[name] = target
	return s
}

// specialSchema describes an object with one member of base64; size is the length of that, -1 if any.
func specialSchema(member, mark string, size int) *jsonschema.Schema {
	text := &jsonschema.Schema{Type: "string", ContentEncoding: "base64"}
	if size >= 0 {
		n := uint64(size)
		text.MinLength, text.MaxLength = &n, &n
	}
	s := marked("object", mark)
	s.Properties = jsonschema.NewProperties()
	s.Properties.Set(member, text)
	s.Required = []string{member}
	s.AdditionalProperties = jsonschema.FalseSchema
	return s
}

func jsonInt(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

// intBounds gives what both the Go type and the wire hold.
func intBounds(n *node) (low, high int64) {
	bits := n.typ.Bits()
	if n.kind == kindUint {
		if bits >= 53 {
			return 0, maxInt
		}
		return 0, 1<<bits - 1
	}
	if bits >= 54 {
		return -maxInt, maxInt
	}
	return -1 << (bits - 1), 1<<(bits-1) - 1
}

// deref follows a reference to a definition.
func (s *schemaDoc) deref(sch *jsonschema.Schema) *jsonschema.Schema {
	if name, ok := strings.CutPrefix(sch.Ref, "#/$defs/"); ok && s.defs[name] != nil {
		return s.defs[name]
	}
	return sch
}

// nullable wraps the schema of a pointer that is written as null when it is nil.
func (d *describer) nullable(n *node, s *jsonschema.Schema) *jsonschema.Schema {
	if n.kind != kindPointer || n.elem.kind == kindAny {
		return s
	}
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "null"}}}
}

// fix brings a schema that the generator made for n in line with Encode, in place.
func (d *describer) fix(n *node, s *jsonschema.Schema) *jsonschema.Schema {
	if n.kind == kindPointer {
		return d.fix(n.elem, s)
	}
	target := d.deref(s)
	if ownSchema(n.typ) || d.fixed[target] {
		return s
	}
	switch n.kind {
	case kindSlice, kindArray:
		d.fixed[target] = true
		target.Items = d.nullable(n.elem, d.fix(n.elem, target.Items))
	case kindMap:
		d.fixed[target] = true
		if target.AdditionalProperties != nil {
			target.AdditionalProperties = d.nullable(n.elem, d.fix(n.elem, target.AdditionalProperties))
		}
		if n.target != nil {
			target.PropertyNames = d.id(n.target)
		} else {
			max := uint64(maxName)
			target.PropertyNames = &jsonschema.Schema{Pattern: `^([ -#%-~][ -~]*)?$`, MaxLength: &max}
		}
	case kindStruct:
		d.fixed[target] = true
		d.structure(n, target)
	case kindInt, kindUint:
		d.clamp(n, s)
	}
	return s
}

// clamp keeps a tag from allowing what the Go type cannot hold.
func (d *describer) clamp(n *node, s *jsonschema.Schema) {
	low, high := intBounds(n)
	if f, ok := parseFloat([]byte(s.Minimum)); !ok || f < float64(low) {
		s.Minimum = jsonInt(low)
	}
	if f, ok := parseFloat([]byte(s.Maximum)); !ok || f > float64(high) {
		s.Maximum = jsonInt(high)
	}
}

// structure replaces the generator's idea of a struct's members by the fields that Encode writes.
func (d *describer) structure(n *node, s *jsonschema.Schema) {
	found, required := s.Properties, s.Required
	s.Properties = jsonschema.NewProperties()
	s.Required = nil
	for i := range n.fields {
		f := &n.fields[i]
		prop, ok := found.Get(f.name)
		if !ok {
			d.errs = append(d.errs, fmt.Errorf("doctype: %s.%s: the schema generator leaves the field out", n.typ, f.goName))
			continue
		}
		if tagFlag(f, "nullable") && len(prop.OneOf) == 2 {
			inner := d.fix(f.node, prop.OneOf[0])
			d.counts(f, inner)
			prop = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{inner, {Type: "null"}}}
		} else {
			prop = d.fix(f.node, prop)
			d.counts(f, prop)
			if !f.omitEmpty && !f.omitZero {
				prop = d.nullable(f.node, prop)
			}
		}
		s.Properties.Set(f.name, prop)
		if f.required(slices.Contains(required, f.name)) {
			s.Required = append(s.Required, f.name)
		}
	}
	if n.typ.Implements(extendsItself) { // members that it added are for others to write
		for p := found.Oldest(); p != nil; p = p.Next() {
			if _, ok := s.Properties.Get(p.Key); !ok {
				s.Properties.Set(p.Key, p.Value)
			}
		}
	}
}

// required reports whether a field must be there, given what the generated schema says. The generator goes by the tags alone;
// where the schema differs from that, JSONSchemaExtend changed it and is obeyed.
func (f *field) required(generated bool) bool {
	byTags := !f.omitEmpty && !f.omitZero || tagFlag(f, "required")
	if generated != byTags {
		return generated
	}
	return !f.optional || tagFlag(f, "required")
}

// counts adds the keywords that the generator does not apply: those of maps, and those of references.
func (d *describer) counts(f *field, s *jsonschema.Schema) {
	n := pointee(f.node)
	switch {
	case n.kind == kindMap:
		s.MinProperties, s.MaxProperties = tagCount(f, "minProperties"), tagCount(f, "maxProperties")
	case n.kind == kindArray && s.Ref != "":
		s.UniqueItems = tagFlag(f, "uniqueItems=true")
	case n.kind == kindSlice && s.Ref != "":
		s.MinItems, s.MaxItems = tagCount(f, "minItems"), tagCount(f, "maxItems")
		s.UniqueItems = tagFlag(f, "uniqueItems=true")
	}
}

// document defines a Doc type: the members of its value and those of the system.
func (d *describer) document(n *node) {
	value := d.deref(d.fix(n.elem, d.reflect(n.elem.typ)))
	if value.Properties == nil {
		d.errs = append(d.errs, fmt.Errorf("doctype: %s: the documents' own schema has no properties", n.elem.typ))
		return
	}
	def := *value
	def.Properties = jsonschema.NewProperties()
	def.Properties.Set(memberID, d.id(n.elem.typ))
	def.Properties.Set(memberCreated, &jsonschema.Schema{Type: "number", Description: "Milliseconds since 1970."})
	for p := value.Properties.Oldest(); p != nil; p = p.Next() {
		def.Properties.Set(p.Key, p.Value)
	}
	def.Required = append([]string{memberID, memberCreated}, value.Required...)
	d.defs[d.name(n.typ)] = &def
}

// topLevel keeps the system's names out of a map at the root.
func (d *describer) topLevel(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{
		AllOf:         []*jsonschema.Schema{s},
		PropertyNames: &jsonschema.Schema{Pattern: `^[^_]?$|^[^_]`},
	}
}
