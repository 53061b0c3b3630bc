package doctype

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

// A Path is a component of an index: where in a document its key stands, and how that becomes bytes whose order is the order of
// the values. It does not change; its methods may be called concurrently.
type Path struct {
	name  string
	steps []string
	desc  bool
	leaf  *node
}

var (
	idLeaf      = &node{typ: reflect.TypeFor[string](), kind: kindID}
	createdLeaf = &node{typ: reflect.TypeFor[float64](), kind: kindFloat}
)

// Path resolves a dotted path against the Go type: every member on the way is a struct, or a pointer to one, and the last can be
// ordered: a string, an id, a bool, a number, a 64-bit integer, a time, bytes, or a pointer to one of these. A leading '-' makes
// the order descending. The system's _id and _creationTime may be named. The error says which member is wrong.
func (t *Type) Path(path string) (*Path, error) {
	p := &Path{name: path}
	p.name, p.desc = strings.CutPrefix(path, "-")
	p.steps = strings.Split(p.name, ".")
	switch p.name {
	case memberID:
		leaf := *idLeaf
		leaf.target = t.typ
		p.leaf = &leaf
		return p, nil
	case memberCreated:
		p.leaf = createdLeaf
		return p, nil
	}
	n := t.root
	for i, name := range p.steps {
		n = pointee(n)
		if n.kind != kindStruct {
			return nil, fmt.Errorf("doctype: path %q: %s is a %s, which has no members to index", path, sofar(t, p.steps[:i]), n.typ)
		}
		f := n.field([]byte(name))
		if f == nil {
			return nil, fmt.Errorf("doctype: path %q: %s has no member %q", path, n.typ, name)
		}
		n = f.node
	}
	p.leaf = pointee(n)
	switch p.leaf.kind {
	case kindBool, kindInt, kindUint, kindFloat, kindString, kindText, kindID, kindTime, kindInt64, kindBytes:
		return p, nil
	}
	return nil, fmt.Errorf("doctype: path %q: a %s has no order to index by", path, p.leaf.typ)
}

func sofar(t *Type, steps []string) string {
	if len(steps) == 0 {
		return t.typ.String()
	}
	return strings.Join(steps, ".")
}

func pointee(n *node) *node {
	for n.kind == kindPointer {
		n = n.elem
	}
	return n
}

// Name gives the path without the sign for descending.
func (p *Path) Name() string { return p.name }

// Descending reports whether the component orders from high to low.
func (p *Path) Descending() bool { return p.desc }

// AppendStored appends the key component of a stored document. present is false for null and for a missing member, which have
// components of their own. Values that do not fit the type any more, since an older program wrote them, are ordered by what they
// are: every document can be indexed. The error is a *ValueError if raw is not JSON.
func (p *Path) AppendStored(dst, raw []byte) (key []byte, present bool, err error) {
	from := len(dst)
	value, found, bad := locate(raw, p.steps)
	switch {
	case bad != nil:
		return dst, false, bad
	case !found:
		key = keyenc.AppendMissing(dst)
	case value[0] == 'n':
		key = keyenc.AppendNull(dst)
	default:
		present = true
		key = p.leaf.appendStored(dst, value)
	}
	return p.finish(key, from), present, nil
}

func (p *Path) finish(key []byte, from int) []byte {
	if p.desc {
		keyenc.Complement(key, from)
	}
	return key
}

// locate finds the value at a path.
func locate(raw []byte, steps []string) (value []byte, found bool, err *ValueError) {
	s := scanner{data: raw}
	for depth, name := range steps {
		if s.next() != '{' {
			return nil, false, s.skip(depth)
		}
		s.pos++
		for first := true; ; first = false {
			got, more, ok := s.member(first)
			if !ok {
				return nil, false, syntaxErr()
			}
			if !more {
				return nil, false, nil
			}
			if string(got) == name {
				break
			}
			if err := s.skip(depth + 1); err != nil {
				return nil, false, err
			}
		}
	}
	value, err = s.span(len(steps))
	return value, err == nil, err
}

// appendStored appends the component of a value that skip accepted.
func (n *node) appendStored(dst, value []byte) []byte {
	s := scanner{data: value}
	switch value[0] {
	case 't', 'f':
		return keyenc.AppendBool(dst, value[0] == 't')
	case '"':
		text, _ := s.text()
		if n.kind == kindTime {
			if at, ok := parseTime(text); ok {
				return keyenc.AppendTime(dst, at)
			}
		}
		return keyenc.AppendString(dst, string(text))
	case '{':
		if member, text, ok := s.special(); ok && wellFormed(member, text) {
			return appendSpecialKey(dst, member, text)
		}
		return appendForeign(dst, value)
	case '[':
		return appendForeign(dst, value)
	}
	tok, _ := s.number()
	if n.kind == kindInt64 { // was an ordinary integer when it was stored
		if i, integral, fits := parseInt(tok); integral && fits {
			return keyenc.AppendInt64(dst, i)
		}
	}
	f, ok := parseFloat(tok)
	if !ok {
		f = math.Inf(1)
		if tok[0] == '-' {
			f = math.Inf(-1)
		}
	}
	return keyenc.AppendNumber(dst, f)
}

func appendSpecialKey(dst []byte, member string, text []byte) []byte {
	if member == memberBytes {
		b, _ := parseBytes(text)
		return keyenc.AppendBytes(dst, b)
	}
	bits, _ := parse8(text)
	if member == memberFloat {
		return keyenc.AppendNumber(dst, math.Float64frombits(bits))
	}
	return keyenc.AppendInt64(dst, int64(bits))
}

// appendForeign gives what cannot be ordered, an array or object where a scalar stood once, a place of its own.
func appendForeign(dst, value []byte) []byte {
	c, err := Canonical(value)
	if err != nil {
		c = value
	}
	return keyenc.AppendBytes(dst, c)
}

// AppendValue appends the key component of a value that a programmer gives to compare with. nil, and a nil pointer, is null.
// Kinds convert where nothing is lost: any integer or float for a number, named strings, pointers. The error is a *ValueError
// with the path when v does not fit it.
func (p *Path) AppendValue(dst []byte, v any) ([]byte, error) {
	from := len(dst)
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	if !rv.IsValid() || rv.Kind() == reflect.Pointer {
		return p.finish(keyenc.AppendNull(dst), from), nil
	}
	key, ok := p.appendGo(dst, rv)
	if !ok {
		err := valueErr(ruleType, fmt.Sprintf("cannot be compared with a %T, it is a %s", v, p.leaf.typ))
		err.Path = p.name
		return dst, err
	}
	return p.finish(key, from), nil
}

// AppendPrefix appends the beginning that the components of all texts that begin with s share, for a scan by prefix. The error
// is a *ValueError if the path does not hold text.
func (p *Path) AppendPrefix(dst []byte, s string) ([]byte, error) {
	switch p.leaf.kind {
	case kindString, kindText, kindID:
		return p.finish(keyenc.StringPrefix(dst, s), len(dst)), nil
	}
	err := valueErr(ruleType, fmt.Sprintf("has no prefixes, it is a %s", p.leaf.typ))
	err.Path = p.name
	return dst, err
}

func (p *Path) appendGo(dst []byte, v reflect.Value) ([]byte, bool) {
	k := v.Kind()
	switch p.leaf.kind {
	case kindBool:
		if k == reflect.Bool {
			return keyenc.AppendBool(dst, v.Bool()), true
		}
	case kindString:
		if k == reflect.String {
			return keyenc.AppendString(dst, v.String()), true
		}
	case kindText:
		return p.appendText(dst, v)
	case kindID:
		// An id of other documents is a mistake; a plain string may come from anywhere.
		if k == reflect.String && (v.Type() == p.leaf.typ || v.Type() == reflect.TypeFor[string]() || p.name == memberID) {
			return keyenc.AppendString(dst, v.String()), true
		}
	case kindTime:
		if v.Type().ConvertibleTo(timeType) && k == reflect.Struct {
			return keyenc.AppendTime(dst, v.Convert(timeType).Interface().(time.Time)), true
		}
	case kindBytes:
		if (k == reflect.Slice || k == reflect.Array) && v.Type().Elem().Kind() == reflect.Uint8 {
			return keyenc.AppendBytes(dst, bytesOf(v)), true
		}
	case kindInt64:
		switch {
		case v.CanInt():
			return keyenc.AppendInt64(dst, v.Int()), true
		case v.CanUint() && v.Uint() <= math.MaxInt64:
			return keyenc.AppendInt64(dst, int64(v.Uint())), true
		}
	case kindInt, kindUint, kindFloat:
		return p.appendNumber(dst, v)
	}
	return dst, false
}

// appendNumber compares as the doubles that numbers on the wire are. Integers beyond 2^53 are rounded: no stored integer is
// that large, so they serve as bounds.
func (p *Path) appendNumber(dst []byte, v reflect.Value) ([]byte, bool) {
	switch {
	case v.CanInt():
		return keyenc.AppendNumber(dst, float64(v.Int())), true
	case v.CanUint():
		return keyenc.AppendNumber(dst, float64(v.Uint())), true
	case v.CanFloat():
		return keyenc.AppendNumber(dst, v.Float()), true
	case v.Type() == timeType && p.name == memberCreated:
		ms := float64(v.Interface().(time.Time).UnixMicro()) / 1000
		return keyenc.AppendNumber(dst, ms), true
	}
	return dst, false
}

func (p *Path) appendText(dst []byte, v reflect.Value) ([]byte, bool) {
	if v.Type() != p.leaf.typ {
		return dst, false
	}
	e := encoder{}
	if e.value(p.leaf, v, 0) != nil {
		return dst, false
	}
	s := scanner{data: e.buf}
	text, _ := s.text()
	return keyenc.AppendString(dst, string(text)), true
}
