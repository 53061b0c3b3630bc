package doctype

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A kind is how a Go type travels.
type kind uint8

const (
	kindBool kind = iota
	kindInt
	kindUint
	kindFloat
	kindString
	kindID
	kindTime
	kindInt64 // $integer
	kindBytes // []byte and [n]byte: $bytes
	kindPointer
	kindSlice
	kindArray
	kindMap
	kindStruct
	kindDoc
	kindStored // a document as its JSON
	kindAny
	kindRaw  // json.RawMessage
	kindJSON // by its own MarshalJSON and UnmarshalJSON
	kindText // by its own MarshalText and UnmarshalText
)

// A node is what Compile found out about one Go type. Nodes of recursive types are cyclic; they do not change once built.
type node struct {
	typ    reflect.Type
	kind   kind
	elem   *node                     // of pointers, slices, arrays, map values; the value of a Doc; the Doc of a stored one
	set    func(ptr any, raw []byte) // of a stored one
	target reflect.Type              // of an ID
	fields []field                   // of a struct
	byName map[string]int
}

// A field is one member of a struct, embedded ones included.
type field struct {
	name      string
	quoted    string // "name":
	index     []int
	node      *node
	omitEmpty bool
	omitZero  bool
	optional  bool // may be absent
	isZero    func(reflect.Value) bool
	goName    string
	tag       reflect.StructTag
}

func (n *node) field(name []byte) *field {
	i, ok := n.byName[string(name)]
	if !ok {
		return nil
	}
	return &n.fields[i]
}

var (
	timeType          = reflect.TypeFor[time.Time]()
	rawType           = reflect.TypeFor[json.RawMessage]()
	numberType        = reflect.TypeFor[json.Number]()
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	unmarshalerType   = reflect.TypeFor[json.Unmarshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshalType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// has reports whether t or *t implements an interface.
func has(t, iface reflect.Type) bool {
	return t.Implements(iface) || reflect.PointerTo(t).Implements(iface)
}

// A builder makes nodes and collects what is wrong with the types on the way.
type builder struct {
	o     Options
	nodes map[reflect.Type]*node
	errs  []error
	// tagged holds the fields whose tags are still to be checked: what a tag means depends on nodes that may be half built while
	// types refer to each other.
	tagged []tagged
}

type tagged struct {
	field field
	where string
}

func newBuilder(o Options) *builder {
	return &builder{o: o, nodes: map[reflect.Type]*node{}}
}

func (b *builder) fail(where, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("doctype: %s: %s", where, fmt.Sprintf(format, args...)))
}

// root builds t and all that it refers to, and checks the tags.
func (b *builder) root(t reflect.Type) *node {
	n := b.build(t, t.String())
	if len(b.errs) == 0 { // groups of keywords are looked up through complete nodes
		for i := range b.tagged {
			b.tags(&b.tagged[i].field, b.tagged[i].where)
		}
	}
	return n
}

// build gives the node of t; where names the type and field that led to it.
func (b *builder) build(t reflect.Type, where string) *node {
	if n := b.nodes[t]; n != nil {
		return n
	}
	n := &node{typ: t}
	b.nodes[t] = n
	if b.special(n, where) || b.methods(n, where) {
		return n
	}
	switch t.Kind() {
	case reflect.Bool:
		n.kind = kindBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.kind = kindInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.kind = kindUint
	case reflect.Float32, reflect.Float64:
		n.kind = kindFloat
	case reflect.String:
		n.kind = kindString
	case reflect.Pointer:
		n.kind = kindPointer
		if pointerLoop(t) {
			b.fail(where, "type %s points to itself", t)
			return n
		}
		n.elem = b.build(t.Elem(), where)
		if n.elem.kind == kindPointer {
			b.fail(where, "type %s is a pointer to a pointer: null could mean either", t)
		}
	case reflect.Slice, reflect.Array:
		b.list(n, where)
	case reflect.Map:
		n.kind = kindMap
		if t.Key().Kind() != reflect.String {
			b.fail(where, "type %s has keys that are not strings", t)
		} else if target, ok := b.idTarget(t.Key()); ok {
			n.target = target
		}
		n.elem = b.build(t.Elem(), where)
	case reflect.Struct:
		n.kind = kindStruct
		b.structFields(n)
	case reflect.Interface:
		n.kind = kindAny
		if t.NumMethod() > 0 {
			b.fail(where, "interface type %s cannot be decoded; any can", t)
		}
	default:
		b.fail(where, "type %s cannot travel", t)
	}
	return n
}

// pointerLoop reports whether t is made of pointers only.
func pointerLoop(t reflect.Type) bool {
	seen := map[reflect.Type]bool{}
	for t.Kind() == reflect.Pointer {
		if seen[t] {
			return true
		}
		seen[t] = true
		t = t.Elem()
	}
	return false
}

func (b *builder) idTarget(t reflect.Type) (reflect.Type, bool) {
	if b.o.IDTarget == nil || t.Kind() != reflect.String {
		return nil, false
	}
	return b.o.IDTarget(t)
}

func (b *builder) docValue(t reflect.Type) (reflect.Type, bool) {
	if b.o.Doc == nil || t.Kind() != reflect.Struct {
		return nil, false
	}
	return b.o.Doc(t)
}

// special recognises the types whose wire form has nothing to do with their kind.
func (b *builder) special(n *node, where string) bool {
	if target, ok := b.idTarget(n.typ); ok {
		n.kind, n.target = kindID, target
		return true
	}
	if value, ok := b.docValue(n.typ); ok {
		n.kind = kindDoc
		if n.typ.NumField() != 3 || n.typ.Field(0).Type.Kind() != reflect.String || n.typ.Field(1).Type != timeType ||
			n.typ.Field(2).Type != value {
			b.fail(where, "type %s does not have the fields of a document", n.typ)
		}
		n.elem = b.build(value, where)
		if n.elem.kind != kindStruct {
			b.fail(where, "type %s is a document of %s, which is not a plain struct", n.typ, value)
		}
		return true
	}
	if b.stored(n, where) {
		return true
	}
	switch n.typ {
	case b.o.Int64:
		n.kind = kindInt64
		if n.typ.Kind() != reflect.Int64 {
			b.fail(where, "type %s is not an int64", n.typ)
		}
	case timeType:
		n.kind = kindTime
	case rawType:
		n.kind = kindRaw
	case numberType:
		b.fail(where, "type json.Number cannot travel; float64, int64 and any can")
	default:
		return false
	}
	return true
}

// stored recognises documents in the bytes that they are stored in.
func (b *builder) stored(n *node, where string) bool {
	if b.o.Stored == nil || n.typ.Kind() != reflect.Struct {
		return false
	}
	doc, set, ok := b.o.Stored(n.typ)
	if !ok {
		return false
	}
	n.kind, n.set = kindStored, set
	if n.typ.NumField() == 0 || n.typ.Field(0).Type != reflect.TypeFor[[]byte]() {
		b.fail(where, "type %s does not begin with its bytes", n.typ)
	}
	if !b.o.Result {
		b.fail(where, "type %s can be in a result only", n.typ)
	}
	n.elem = b.build(doc, where)
	if n.elem.kind != kindDoc {
		b.fail(where, "type %s stands for %s, which is not a document", n.typ, doc)
	}
	return true
}

// methods recognises the types that encode themselves.
func (b *builder) methods(n *node, where string) bool {
	if k := n.typ.Kind(); k == reflect.Pointer || k == reflect.Interface {
		return false
	}
	switch {
	case has(n.typ, marshalerType):
		n.kind = kindJSON
	case has(n.typ, unmarshalerType):
		n.kind = kindJSON
		b.fail(where, "type %s has UnmarshalJSON but no MarshalJSON", n.typ)
	case has(n.typ, textMarshalerType):
		n.kind = kindText
	case has(n.typ, textUnmarshalType):
		n.kind = kindText
		b.fail(where, "type %s has UnmarshalText but no MarshalText", n.typ)
	default:
		return false
	}
	return true
}

func (b *builder) list(n *node, where string) {
	elem := n.typ.Elem()
	if elem.Kind() == reflect.Uint8 && !has(elem, marshalerType) && !has(elem, textMarshalerType) {
		n.kind = kindBytes
		return
	}
	n.kind = kindSlice
	if n.typ.Kind() == reflect.Array {
		n.kind = kindArray
	}
	n.elem = b.build(elem, where)
}

func (b *builder) structFields(n *node) {
	b.collect(n, n.typ, nil, false, []reflect.Type{n.typ})
	if len(n.fields) == 0 && n.typ.NumField() > 0 {
		b.fail(n.typ.String(), "no field travels: none is exported")
	}
	n.byName = make(map[string]int, len(n.fields))
	for i := range n.fields {
		f := &n.fields[i]
		if j, twice := n.byName[f.name]; twice {
			b.fail(n.typ.String(), "fields %s and %s have the same name %q", n.fields[j].goName, f.goName, f.name)
		}
		n.byName[f.name] = i
	}
}

// collect appends the fields of t, which is n's type or one embedded in it at index. Fields below an embedded pointer may be
// absent, since the pointer may be nil.
func (b *builder) collect(n *node, t reflect.Type, index []int, optional bool, outer []reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		where := t.String() + "." + f.Name
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		at := append(index[:len(index):len(index)], i)
		if f.Anonymous && name == "" {
			et := f.Type
			if et.Kind() == reflect.Pointer {
				et = et.Elem()
			}
			if _, isDoc := b.docValue(et); isDoc {
				b.fail(where, "a document cannot be embedded; name the field")
				continue
			}
			if et.Kind() == reflect.Struct {
				b.embed(n, f, et, where, at, optional, outer)
				continue
			}
		}
		if !f.IsExported() {
			if f.Anonymous && name != "" {
				b.fail(where, "an unexported embedded field cannot have a name")
			}
			continue
		}
		b.field(n, f, where, name, opts, at, optional)
	}
}

func (b *builder) embed(n *node, f reflect.StructField, et reflect.Type, where string, at []int, optional bool, outer []reflect.Type) {
	pointer := f.Type.Kind() == reflect.Pointer
	if pointer && !f.IsExported() {
		b.fail(where, "an embedded pointer to an unexported struct cannot be decoded")
		return
	}
	for _, o := range outer {
		if o == et {
			b.fail(where, "struct %s embeds itself", et)
			return
		}
	}
	b.collect(n, et, at, optional || pointer, append(outer[:len(outer):len(outer)], et))
}

func (b *builder) field(n *node, f reflect.StructField, where, name, opts string, at []int, optional bool) {
	if name == "" {
		name = f.Name
	}
	b.fieldName(where, name)
	fd := field{name: name, index: at, goName: f.Name, tag: f.Tag}
	for opt := range strings.SplitSeq(opts, ",") {
		switch opt {
		case "":
		case "omitempty":
			fd.omitEmpty = true
		case "omitzero":
			fd.omitZero = true
			fd.isZero = zeroFunc(f.Type)
		default:
			b.fail(where, "json option %q is not supported; omitempty and omitzero are", opt)
		}
	}
	fd.quoted = string(append(appendString(nil, name), ':'))
	fd.optional = optional || fd.omitEmpty || fd.omitZero
	fd.node = b.build(f.Type, where)
	b.tagged = append(b.tagged, tagged{fd, where})
	n.fields = append(n.fields, fd)
}

func (b *builder) fieldName(where, name string) {
	switch {
	case name[0] == '_' && !b.o.Result || name[0] == '$':
		b.fail(where, "the name %q begins with %c, which is reserved", name, name[0])
	case !validName([]byte(name)):
		b.fail(where, "the name %q is not made of 1 to 1,024 ASCII characters from space to tilde", name)
	case strings.Contains(name, "."):
		b.fail(where, "the name %q has a dot, so that no path could name it", name)
	}
}

// zeroFunc is what omitzero asks: the type's own IsZero if it has one.
func zeroFunc(t reflect.Type) func(reflect.Value) bool {
	type isZeroer interface{ IsZero() bool }
	iface := reflect.TypeFor[isZeroer]()
	switch {
	case t.Implements(iface) && t.Kind() == reflect.Pointer:
		return func(v reflect.Value) bool { return v.IsNil() || v.Interface().(isZeroer).IsZero() }
	case t.Implements(iface) && t.Kind() != reflect.Interface:
		return func(v reflect.Value) bool { return v.Interface().(isZeroer).IsZero() }
	case reflect.PointerTo(t).Implements(iface):
		return func(v reflect.Value) bool { return addressable(v).Addr().Interface().(isZeroer).IsZero() }
	}
	return reflect.Value.IsZero
}

// addressable gives v, or a copy of it, so that methods with a pointer receiver can be called.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	p := reflect.New(v.Type()).Elem()
	p.Set(v)
	return p
}
