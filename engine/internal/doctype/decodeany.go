package doctype

import (
	"math"
	"reflect"
)

// any reads a value of no declared type: nil, bool, float64, string, []any, map[string]any, and for the special objects the
// 64-bit integer type, []byte and float64.
func (d *decoder) any(c byte, depth int) (any, error) {
	switch c {
	case '"':
		text, err := d.string(c)
		return string(text), err
	case '{':
		if member, text, ok := d.special(); ok {
			return d.anySpecial(member, text)
		}
		m := map[string]any{}
		return m, d.mapping(anyMap, reflect.ValueOf(&m).Elem(), c, depth)
	case '[':
		l := []any{}
		err := d.list(anyList, reflect.ValueOf(&l).Elem(), c, depth)
		return l, err
	case 't', 'f':
		switch {
		case d.word("true"):
			return true, nil
		case d.word("false"):
			return false, nil
		}
		return nil, syntaxErr()
	}
	return d.float(c)
}

func (d *decoder) anySpecial(member string, text []byte) (any, error) {
	if !wellFormed(member, text) {
		return nil, valueErr(ruleType, msgSpecial)
	}
	if member == memberBytes {
		b, _ := parseBytes(text)
		return b, nil
	}
	bits, _ := parse8(text)
	switch {
	case member == memberFloat:
		return math.Float64frombits(bits), nil
	case d.t.o.Int64 == nil:
		return int64(bits), nil
	}
	return reflect.ValueOf(int64(bits)).Convert(d.t.o.Int64).Interface(), nil
}

var (
	anyNode = &node{typ: reflect.TypeFor[any](), kind: kindAny}
	anyMap  = &node{typ: reflect.TypeFor[map[string]any](), kind: kindMap, elem: anyNode}
	anyList = &node{typ: reflect.TypeFor[[]any](), kind: kindSlice, elem: anyNode}
)
