package doctype

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// Decode reads wire JSON into the value that into points to, which is of the Go type. It is lenient: members that the type does
// not know are passed over, missing ones and null leave the zero value, integers may be spelled 3.0 or 1e3. What was there
// before is overwritten whole. A value of the wrong type is a *ValueError with its path; the target is then in an undefined
// state.
func (t *Type) Decode(raw []byte, into any) error {
	rv := reflect.ValueOf(into)
	if rv.Kind() != reflect.Pointer || rv.IsNil() || rv.Type().Elem() != t.typ {
		return valueErr(ruleType, fmt.Sprintf("is to be decoded into a %T, not a non-nil *%s", into, t.typ))
	}
	rv = rv.Elem()
	rv.SetZero()
	d := decoder{scanner: scanner{data: raw}, t: t}
	if err := d.value(t.root, rv, 0); err != nil {
		return err
	}
	if !d.end() {
		return syntaxErr()
	}
	return nil
}

type decoder struct {
	scanner
	t *Type
}

// wrong reports that what stands here is not what the type wants. If it is not JSON at all, that is said instead.
func (d *decoder) wrong(want string) error {
	if err := d.skip(0); err != nil {
		return err
	}
	return valueErr(ruleType, want)
}

func (d *decoder) value(n *node, v reflect.Value, depth int) error {
	c := d.next()
	if c == 'n' && n.kind != kindJSON && n.kind != kindRaw {
		if !d.word("null") {
			return syntaxErr()
		}
		return nil
	}
	switch n.kind {
	case kindBool:
		switch {
		case d.word("true"):
			v.SetBool(true)
		case d.word("false"):
		default:
			return d.wrong("is not true or false")
		}
	case kindInt, kindInt64:
		return d.int(v, c)
	case kindUint:
		return d.uint(v, c)
	case kindFloat:
		f, err := d.float(c)
		if err != nil {
			return err
		}
		if v.OverflowFloat(f) {
			return valueErr(ruleRange, "is a number beyond what its field holds")
		}
		v.SetFloat(f)
	case kindString, kindID:
		text, err := d.string(c)
		if err != nil {
			return err
		}
		v.SetString(string(text))
	case kindTime:
		text, err := d.string(c)
		if err != nil {
			return err
		}
		at, ok := parseTime(text)
		if !ok {
			return valueErr("format", msgFormat["date-time"])
		}
		v.Set(reflect.ValueOf(at))
	case kindBytes:
		return d.bytes(v)
	case kindPointer:
		p := reflect.New(n.typ.Elem())
		v.Set(p)
		return d.value(n.elem, p.Elem(), depth)
	case kindSlice, kindArray:
		return d.list(n, v, c, depth)
	case kindMap:
		return d.mapping(n, v, c, depth)
	case kindStruct:
		return d.object(n, v, c, depth)
	case kindDoc:
		return d.doc(n, v, c, depth)
	case kindStored:
		raw, err := d.span(depth)
		if err != nil {
			return err
		}
		n.set(v.Addr().Interface(), append([]byte(nil), raw...))
	case kindAny:
		x, err := d.any(c, depth)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(x))
	case kindRaw:
		raw, err := d.span(depth)
		if err != nil {
			return err
		}
		v.SetBytes(append([]byte(nil), raw...))
	case kindJSON:
		return d.unmarshaler(n, v, depth)
	case kindText:
		text, err := d.string(c)
		if err != nil {
			return err
		}
		u, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
		if !ok {
			return fmt.Errorf("doctype: type %s has no UnmarshalText", n.typ)
		}
		if u.UnmarshalText(text) != nil {
			return valueErr("format", "does not have the form its type wants")
		}
	}
	return nil
}

func (d *decoder) string(c byte) ([]byte, error) {
	if c != '"' {
		return nil, d.wrong("is not a string")
	}
	text, ok := d.text()
	if !ok {
		return nil, syntaxErr()
	}
	return text, nil
}

// integer reads a JSON number without a fraction or a $integer: a field may have changed from one to the other since the
// document was stored.
func (d *decoder) integer(c byte) (int64, error) {
	if start := d.pos; c == '{' {
		if member, text, ok := d.special(); ok && member == memberInteger {
			if bits, ok := parse8(text); ok {
				return int64(bits), nil
			}
		}
		d.pos = start
		return 0, d.wrong("is not an integer")
	}
	if c != '-' && !isDigit(c) {
		return 0, d.wrong("is not an integer")
	}
	tok, ok := d.number()
	if !ok {
		return 0, syntaxErr()
	}
	i, integral, fits := parseInt(tok)
	switch {
	case !integral:
		return 0, valueErr(ruleType, "is not an integer")
	case !fits:
		return 0, valueErr(ruleRange, "is a number beyond what its field holds")
	}
	return i, nil
}

func (d *decoder) int(v reflect.Value, c byte) error {
	i, err := d.integer(c)
	if err != nil {
		return err
	}
	if v.OverflowInt(i) {
		return valueErr(ruleRange, "is a number beyond what its field holds")
	}
	v.SetInt(i)
	return nil
}

func (d *decoder) uint(v reflect.Value, c byte) error {
	i, err := d.integer(c)
	if err != nil {
		return err
	}
	if i < 0 || v.OverflowUint(uint64(i)) {
		return valueErr(ruleRange, "is a number beyond what its field holds")
	}
	v.SetUint(uint64(i))
	return nil
}

func (d *decoder) float(c byte) (float64, error) {
	if start := d.pos; c == '{' {
		member, text, ok := d.special()
		if !ok || member == memberBytes {
			d.pos = start
			return 0, d.wrong("is not a number")
		}
		bits, ok := parse8(text)
		if !ok {
			return 0, valueErr(ruleType, msgSpecial)
		}
		if member == memberInteger {
			return float64(int64(bits)), nil
		}
		return math.Float64frombits(bits), nil
	}
	if c != '-' && !isDigit(c) {
		return 0, d.wrong("is not a number")
	}
	tok, ok := d.number()
	if !ok {
		return 0, syntaxErr()
	}
	f, ok := parseFloat(tok)
	if !ok {
		return 0, valueErr(ruleRange, msgNumber)
	}
	return f, nil
}

func (d *decoder) bytes(v reflect.Value) error {
	start := d.pos
	member, text, ok := d.special()
	if !ok || member != memberBytes {
		d.pos = start
		return d.wrong("is not $bytes")
	}
	b, ok := parseBytes(text)
	if !ok {
		return valueErr(ruleType, msgSpecial)
	}
	if v.Kind() == reflect.Slice {
		v.SetBytes(b)
		return nil
	}
	if len(b) != v.Len() {
		return valueErr(ruleType, "does not have the right number of bytes")
	}
	copy(v.Bytes(), b)
	return nil
}

func (d *decoder) enter(open, c byte, depth int, want string) error {
	if c != open {
		return d.wrong(want)
	}
	if depth >= maxDepth {
		return valueErr(ruleJSON, msgDepth)
	}
	d.pos++
	return nil
}

func (d *decoder) list(n *node, v reflect.Value, c byte, depth int) error {
	if err := d.enter('[', c, depth, "is not an array"); err != nil {
		return err
	}
	if n.kind == kindSlice {
		v.Set(reflect.MakeSlice(n.typ, 0, 0))
	}
	for i := 0; ; i++ {
		more, ok := d.element(i == 0)
		if !ok {
			return syntaxErr()
		}
		if !more {
			return nil
		}
		var ev reflect.Value
		switch {
		case n.kind == kindSlice:
			if i == v.Cap() {
				v.Grow(1)
			}
			v.SetLen(i + 1)
			ev = v.Index(i)
			ev.SetZero()
		case i < v.Len():
			ev = v.Index(i)
		default: // an array that was longer when it was stored
			if err := d.skip(depth + 1); err != nil {
				return err
			}
			continue
		}
		if err := d.value(n.elem, ev, depth+1); err != nil {
			return under(err, strconv.Itoa(i))
		}
	}
}

func (d *decoder) mapping(n *node, v reflect.Value, c byte, depth int) error {
	made := reflect.MakeMap(n.typ)
	err := d.members(c, depth, func(name []byte) error {
		elem := reflect.New(n.typ.Elem()).Elem()
		if err := d.value(n.elem, elem, depth+1); err != nil {
			return under(err, string(name))
		}
		made.SetMapIndex(reflect.ValueOf(string(name)).Convert(n.typ.Key()), elem)
		return nil
	})
	if err == nil {
		v.Set(made)
	}
	return err
}

// members reads an object and calls each where a member's value begins; each must read the value. name may share the memory
// of the input.
func (d *decoder) members(c byte, depth int, each func(name []byte) error) error {
	if err := d.enter('{', c, depth, "is not an object"); err != nil {
		return err
	}
	for first := true; ; first = false {
		name, more, ok := d.member(first)
		if !ok {
			return syntaxErr()
		}
		if !more {
			return nil
		}
		if err := each(name); err != nil {
			return err
		}
	}
}

func (d *decoder) object(n *node, v reflect.Value, c byte, depth int) error {
	next := 0
	return d.members(c, depth, func(name []byte) error { return d.field(n, v, name, &next, depth) })
}

// field reads the value of one member of a struct. Members mostly come in the order of the fields, so next says where to look
// first.
func (d *decoder) field(n *node, v reflect.Value, name []byte, next *int, depth int) error {
	i, ok := *next, false
	if i < len(n.fields) && n.fields[i].name == string(name) {
		ok = true
	} else {
		i, ok = n.byName[string(name)]
	}
	if !ok {
		if err := d.skip(depth + 1); err != nil {
			return err
		}
		return nil
	}
	*next = i + 1
	f := &n.fields[i]
	fv := v.Field(f.index[0])
	for _, j := range f.index[1:] {
		if fv.Kind() == reflect.Pointer {
			if fv.IsNil() {
				fv.Set(reflect.New(fv.Type().Elem()))
			}
			fv = fv.Elem()
		}
		fv = fv.Field(j)
	}
	if err := d.value(f.node, fv, depth+1); err != nil {
		return under(err, f.name)
	}
	return nil
}

func (d *decoder) doc(n *node, v reflect.Value, c byte, depth int) error {
	next := 0
	return d.members(c, depth, func(name []byte) error {
		switch string(name) {
		case memberID:
			text, err := d.string(d.next())
			if err != nil {
				return under(err, memberID)
			}
			v.Field(0).SetString(string(text))
		case memberCreated:
			ms, err := d.float(d.next())
			if err != nil {
				return under(err, memberCreated)
			}
			v.Field(1).Set(reflect.ValueOf(fromMillis(ms)))
		default:
			return d.field(n.elem, v.Field(2), name, &next, depth)
		}
		return nil
	})
}

// fromMillis gives the instant of a _creationTime, to the microsecond.
func fromMillis(ms float64) time.Time {
	return time.UnixMicro(int64(math.Round(ms * 1000))).UTC()
}

func (d *decoder) unmarshaler(n *node, v reflect.Value, depth int) error {
	raw, err := d.span(depth)
	if err != nil {
		return err
	}
	u, ok := v.Addr().Interface().(json.Unmarshaler)
	if !ok {
		return fmt.Errorf("doctype: type %s has no UnmarshalJSON", n.typ)
	}
	if u.UnmarshalJSON(append([]byte(nil), raw...)) != nil {
		return valueErr(ruleType, "does not have the form its type wants")
	}
	return nil
}
