package doctype_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"time"
)

type role string

type (
	labels []string
	scores map[string]float64
	base   struct {
		Email string `json:"email,omitempty" jsonschema:"format=email"`
	}
)

// kitchen has a field of every sort, without limits that a random value would break.
type kitchen struct {
	base
	Str     string             `json:"str"`
	Bool    bool               `json:"bool"`
	I       int                `json:"i"`
	I8      int8               `json:"i8,omitempty"`
	U16     uint16             `json:"u16"`
	F       float64            `json:"f"`
	F32     float32            `json:"f32,omitzero"`
	Role    role               `json:"role"`
	ID      ID[user]           `json:"id"`
	At      time.Time          `json:"at"`
	Maybe   *time.Time         `json:"maybe,omitempty"`
	Big     Int64              `json:"big"`
	Bytes   []byte             `json:"bytes"`
	Fixed   [3]byte            `json:"fixed"`
	Null    *string            `json:"null"`
	Labels  labels             `json:"labels"`
	Scores  scores             `json:"scores"`
	ByID    map[ID[user]]*int  `json:"byId"`
	Ptrs    []*address         `json:"ptrs"`
	Pair    [2]*bool           `json:"pair"`
	Addr    address            `json:"addr"`
	Any     any                `json:"any"`
	Doc     *Doc[address]      `json:"doc,omitempty"`
	Docs    []Doc[address]     `json:"docs"`
	Kids    []kitchen          `json:"kids"`
	Nested  map[string]kitchen `json:"nested,omitempty"`
	Celsius *celsius           `json:"celsius,omitempty"`
	Raw     json.RawMessage    `json:"raw"`
	Anon    struct{ X, Y int } `json:"anon"`
}

// fill makes v random. Depth bounds recursive types.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	if lawful, ok := v.Addr().Interface().(interface{ fill(r *rand.Rand) }); ok {
		lawful.fill(r)
		return
	}
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<37)-1<<35, r.Int64N(1e9)).UTC()))
		return
	case reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte(`{"x":[1,2]}`))
		return
	case reflect.TypeFor[ID[user]]():
		v.SetString(fmt.Sprintf("user:%d", r.IntN(100)))
		return
	case reflect.TypeFor[ID[address]]():
		v.SetString(fmt.Sprintf("address:%d", r.IntN(100)))
		return
	case reflect.TypeFor[base]():
		v.Set(reflect.ValueOf([]base{{}, {"a@b.cd"}}[r.IntN(2)]))
		return
	case reflect.TypeFor[Int64]():
		v.SetInt(int64(r.Uint64()))
		return
	case reflect.TypeFor[Doc[address]]():
		created := time.UnixMicro(r.Int64N(4e15)).UTC() // a double tells microseconds apart until 2109
		doc := Doc[address]{ID: "address:1", Created: created}
		fill(r, reflect.ValueOf(&doc.Value).Elem(), depth)
		v.Set(reflect.ValueOf(doc))
		return
	case reflect.TypeFor[celsius]():
		v.Set(reflect.ValueOf(celsius{r.IntN(50)}))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64N(1<<min(v.Type().Bits()-1, 53)) - r.Int64N(1<<min(v.Type().Bits()-1, 53)))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64N(1 << min(v.Type().Bits(), 53)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float(r))
		if v.Kind() == reflect.Float32 {
			v.SetFloat(float64(float32(r.NormFloat64())))
		}
	case reflect.String:
		v.SetString(text(r))
	case reflect.Pointer:
		if depth > 0 && r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth-1)
		}
	case reflect.Slice:
		if n := r.IntN(4); depth > 0 && n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), depth-1)
		}
	case reflect.Map:
		if depth > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range r.IntN(3) {
				key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				fill(r, elem, depth-1)
				if fill(r, key, 0); key.Type().Name() == "string" {
					key.SetString(fmt.Sprintf("k%d", r.IntN(1000)))
				}
				v.SetMapIndex(key, elem)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() || v.Type().Field(i).Anonymous {
				if v.Type().Field(i).Anonymous {
					continue
				}
				fill(r, f, depth-1)
			}
		}
	case reflect.Interface:
		if x := anything(r, depth); x != nil {
			v.Set(reflect.ValueOf(x))
		}
	}
}

func float(r *rand.Rand) float64 {
	switch r.IntN(8) {
	case 0:
		return math.Copysign(0, -1)
	case 1:
		return math.Inf(1 - 2*r.IntN(2))
	case 2:
		return float64(r.IntN(100))
	case 3:
		return math.Float64frombits(r.Uint64() &^ (1 << 62)) // finite, any magnitude below 2
	}
	return r.NormFloat64()
}

var alphabet = []rune("ab \"\\\n\x00é€😀<&\u2028")

func text(r *rand.Rand) string {
	out := make([]rune, r.IntN(6))
	for i := range out {
		out[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(out)
}

func anything(r *rand.Rand, depth int) any {
	switch n := r.IntN(8); {
	case n == 0:
		return nil
	case n == 1:
		return r.IntN(2) == 0
	case n == 2:
		return float(r)
	case n == 3:
		return Int64(r.Uint64())
	case n == 4:
		return []byte(text(r))
	case n == 5 && depth > 0:
		return []any{anything(r, depth-1), anything(r, depth-1)}
	case n == 6 && depth > 0:
		return map[string]any{"a": anything(r, depth-1), "b": anything(r, depth-1)}
	}
	return text(r)
}
