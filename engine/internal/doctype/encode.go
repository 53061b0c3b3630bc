package doctype

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Encode gives the wire JSON of v, which is of the Go type or a pointer to it. Equal values give equal bytes: members come in
// the order of the fields, map keys sorted. The error is a *ValueError for what the wire cannot carry (integers beyond
// ±(2^53−1), text that is not Unicode, years beyond 9999, bad map keys, more than 64 levels), or that of a type's own
// MarshalJSON.
func (t *Type) Encode(v any) ([]byte, error) {
	rv := reflect.ValueOf(v)
	switch {
	case !rv.IsValid():
		if k := t.typ.Kind(); k != reflect.Pointer && k != reflect.Interface {
			return nil, valueErr(ruleType, fmt.Sprintf("is nil, not a %s", t.typ))
		}
		return []byte("null"), nil
	case rv.Type() == t.typ:
	case rv.Kind() == reflect.Pointer && rv.Type().Elem() == t.typ:
		if rv.IsNil() {
			return nil, valueErr(ruleType, fmt.Sprintf("is nil, not a %s", t.typ))
		}
		rv = rv.Elem()
	case t.root.kind == kindAny:
		p := reflect.New(t.typ).Elem()
		p.Set(rv)
		rv = p
	default:
		return nil, valueErr(ruleType, fmt.Sprintf("is a %s, not a %s", rv.Type(), t.typ))
	}
	e := encoder{t: t, buf: make([]byte, 0, 256)}
	if err := e.value(t.root, rv, 0); err != nil {
		return nil, err
	}
	return e.buf, nil
}

type encoder struct {
	t   *Type
	buf []byte
}

// under puts a name in front of an error's path, whichever kind of error it is.
func under(err error, name string) error {
	if ve, ok := err.(*ValueError); ok { //nolint:errorlint // only our own, unwrapped, is still on its way out
		return ve.under(name)
	}
	return err
}

func (e *encoder) value(n *node, v reflect.Value, depth int) error {
	switch n.kind {
	case kindBool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case kindInt:
		return e.int(v.Int())
	case kindUint:
		u := v.Uint()
		if u > maxInt {
			return valueErr(ruleRange, msgInt)
		}
		e.buf = strconv.AppendUint(e.buf, u, 10)
	case kindFloat:
		if f := v.Float(); needsSpecial(f) {
			e.buf = appendSpecialFloat(e.buf, f)
		} else {
			e.buf = appendFloat(e.buf, f, n.typ.Bits())
		}
	case kindString, kindID:
		return e.string(v.String())
	case kindTime:
		return e.time(v)
	case kindInt64:
		e.buf = appendInt64(e.buf, v.Int())
	case kindBytes:
		e.buf = appendSpecial(e.buf, memberBytes, bytesOf(v))
	case kindPointer:
		if v.IsNil() {
			e.buf = append(e.buf, "null"...)
			return nil
		}
		return e.value(n.elem, v.Elem(), depth)
	case kindSlice, kindArray:
		return e.list(n, v, depth)
	case kindMap:
		return e.mapping(n, v, depth)
	case kindStruct:
		if depth >= maxDepth {
			return valueErr(ruleRange, msgDepth)
		}
		e.buf = append(e.buf, '{')
		if err := e.members(n, v, depth); err != nil {
			return err
		}
		e.buf = append(e.buf, '}')
	case kindDoc:
		return e.doc(n, v, depth)
	case kindStored:
		raw := v.Field(0).Bytes()
		if len(raw) == 0 {
			return valueErr(ruleType, fmt.Sprintf("is a %s that no document was read into", n.typ))
		}
		e.buf = append(e.buf, raw...)
	case kindAny:
		return e.any(v, depth)
	case kindRaw:
		return e.raw(v.Bytes(), depth)
	case kindJSON:
		return e.marshaler(v, depth)
	case kindText:
		text, err := addressable(v).Addr().Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return fmt.Errorf("doctype: %s: %w", n.typ, err)
		}
		return e.string(string(text))
	}
	return nil
}

const (
	msgInt  = "is an integer beyond ±(2^53−1); use the 64-bit integer type"
	msgTime = "is a time outside the years 0 to 9999"
)

func (e *encoder) int(n int64) error {
	if n > maxInt || n < -maxInt {
		return valueErr(ruleRange, msgInt)
	}
	e.buf = strconv.AppendInt(e.buf, n, 10)
	return nil
}

func (e *encoder) string(s string) error {
	if !utf8.ValidString(s) {
		return valueErr(ruleJSON, msgUnicode)
	}
	e.buf = appendString(e.buf, s)
	return nil
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string, escaping only what JSON makes it escape.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func (e *encoder) time(v reflect.Value) error {
	var at time.Time
	if v.CanAddr() {
		at = *v.Addr().Interface().(*time.Time)
	} else {
		at = v.Interface().(time.Time)
	}
	at = at.UTC()
	if y := at.Year(); y < 0 || y > 9999 {
		return valueErr(ruleRange, msgTime)
	}
	e.buf = append(e.buf, '"')
	e.buf = at.AppendFormat(e.buf, time.RFC3339Nano)
	e.buf = append(e.buf, '"')
	return nil
}

// bytesOf gives the content of a []byte or a [n]byte.
func bytesOf(v reflect.Value) []byte {
	if v.Kind() == reflect.Array {
		v = addressable(v)
	}
	return v.Bytes()
}

func (e *encoder) list(n *node, v reflect.Value, depth int) error {
	if depth >= maxDepth {
		return valueErr(ruleRange, msgDepth)
	}
	if n.elem.kind == kindStored {
		e.grow(v)
	}
	e.buf = append(e.buf, '[')
	for i := range v.Len() {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if err := e.value(n.elem, v.Index(i), depth+1); err != nil {
			return under(err, strconv.Itoa(i))
		}
	}
	e.buf = append(e.buf, ']')
	return nil
}

// grow makes room for a list of stored documents: they are most of what a result holds, and are copied once.
func (e *encoder) grow(v reflect.Value) {
	size := 2
	for i := range v.Len() {
		size += v.Index(i).Field(0).Len() + 1
	}
	e.buf = slices.Grow(e.buf, size)
}

func (e *encoder) mapping(n *node, v reflect.Value, depth int) error {
	if depth >= maxDepth {
		return valueErr(ruleRange, msgDepth)
	}
	type entry struct {
		key string
		val reflect.Value
	}
	entries := make([]entry, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key := it.Key().String()
		if !validName([]byte(key)) || n == e.t.root && depth == 0 && !e.t.o.Result && strings.HasPrefix(key, "_") {
			return valueErr("propertyNames", msgName)
		}
		entries = append(entries, entry{key, it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	e.buf = append(e.buf, '{')
	for i, en := range entries {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		e.buf = append(appendString(e.buf, en.key), ':')
		if err := e.value(n.elem, en.val, depth+1); err != nil {
			return under(err, en.key)
		}
	}
	e.buf = append(e.buf, '}')
	return nil
}

// members writes the members of a struct, without the braces.
func (e *encoder) members(n *node, v reflect.Value, depth int) error {
	for i := range n.fields {
		f := &n.fields[i]
		fv, ok := fieldByIndex(v, f.index)
		if !ok || f.omitEmpty && isEmpty(fv) || f.omitZero && f.isZero(fv) {
			continue
		}
		if c := e.buf[len(e.buf)-1]; c != '{' {
			e.buf = append(e.buf, ',')
		}
		e.buf = append(e.buf, f.quoted...)
		if err := e.value(f.node, fv, depth+1); err != nil {
			return under(err, f.name)
		}
	}
	return nil
}

// fieldByIndex follows index; false if an embedded pointer on the way is nil.
func fieldByIndex(v reflect.Value, index []int) (reflect.Value, bool) {
	if len(index) == 1 {
		return v.Field(index[0]), true
	}
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}, false
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v, true
}

// isEmpty is what omitempty asks.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// doc writes a document: its system members, then those of its value.
func (e *encoder) doc(n *node, v reflect.Value, depth int) error {
	if depth >= maxDepth {
		return valueErr(ruleRange, msgDepth)
	}
	id := v.Field(0).String()
	if !utf8.ValidString(id) {
		return valueErr(ruleJSON, msgUnicode).under(memberID)
	}
	created := v.Field(1).Interface().(time.Time)
	e.buf = appendSystem(e.buf, id, created.UnixMicro())
	if err := e.members(n.elem, v.Field(2), depth); err != nil {
		return err
	}
	e.buf = append(e.buf, '}')
	return nil
}

// any writes the value inside an interface by its dynamic type.
func (e *encoder) any(v reflect.Value, depth int) error {
	if v.IsNil() {
		e.buf = append(e.buf, "null"...)
		return nil
	}
	v = v.Elem()
	switch x := v.Interface().(type) {
	case string:
		return e.string(x)
	case bool:
		e.buf = strconv.AppendBool(e.buf, x)
		return nil
	case json.Number:
		return e.raw([]byte(x), depth)
	}
	if v.Kind() == reflect.Pointer {
		if depth >= maxDepth { // a pointer to an interface that holds it has no end
			return valueErr(ruleRange, msgDepth)
		}
		depth++
	}
	n, err := e.t.dynamic(v.Type())
	if err != nil {
		return err
	}
	return e.value(n, v, depth)
}

// raw copies JSON that somebody else made, once it is known to be what the wire carries.
func (e *encoder) raw(raw []byte, depth int) error {
	if len(raw) == 0 {
		e.buf = append(e.buf, "null"...)
		return nil
	}
	if err := checkAt(raw, depth); err != nil {
		return err
	}
	e.buf = appendCompact(e.buf, raw)
	return nil
}

func (e *encoder) marshaler(v reflect.Value, depth int) error {
	var raw []byte
	var err error
	if m, ok := v.Interface().(json.Marshaler); ok {
		raw, err = m.MarshalJSON()
	} else {
		raw, err = addressable(v).Addr().Interface().(json.Marshaler).MarshalJSON()
	}
	if err != nil {
		return fmt.Errorf("doctype: %s: %w", v.Type(), err)
	}
	return e.raw(raw, depth)
}

// dynamic gives the node of a type met behind an interface, built at the first meeting.
func (t *Type) dynamic(typ reflect.Type) (*node, error) {
	if n, ok := t.met.Load(typ); ok {
		return n.(*node), nil
	}
	b := newBuilder(t.o)
	n := b.root(typ)
	if len(b.errs) > 0 {
		return nil, valueErr(ruleType, fmt.Sprintf("holds a %s, which cannot travel", typ))
	}
	t.met.Store(typ, n)
	return n, nil
}
