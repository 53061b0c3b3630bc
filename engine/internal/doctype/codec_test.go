package doctype_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

type address struct {
	City string  `json:"city"`
	Zip  *string `json:"zip,omitempty"`
}

type stamps struct {
	At    time.Time  `json:"at"`
	Maybe *time.Time `json:"maybe,omitempty"`
	Zero  time.Time  `json:"zero,omitzero"`
}

type hidden struct {
	Inner string `json:"inner"`
}

type Shared struct {
	Shared int `json:"shared"`
}

type embedding struct {
	hidden
	*Shared
	Own string
	un  int
	Out string `json:"-"`
}

// celsius encodes itself, with a pointer receiver.
type celsius struct{ deg int }

func (c *celsius) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]int{"deg": c.deg}) }

func (c *celsius) UnmarshalJSON(b []byte) error {
	var m map[string]int
	err := json.Unmarshal(b, &m)
	c.deg = m["deg"]
	return err
}

type tree struct {
	Name string `json:"name"`
	Kids []tree `json:"kids"`
}

// roundTrip encodes v, compares, validates and decodes it back.
func roundTrip[T any](t *testing.T, v T, want string) {
	t.Helper()
	dt := compile[T](t)
	raw := encode(t, dt, v)
	if raw != want {
		t.Errorf("Encode(%+v)\n got %s\nwant %s", v, raw, want)
	}
	if viaPointer := encode(t, dt, &v); viaPointer != raw {
		t.Errorf("a pointer encodes as %s, the value as %s", viaPointer, raw)
	}
	if found := dt.Validate([]byte(raw), doctype.ValidateOptions{}); len(found) > 0 {
		t.Errorf("Validate(%s) = %v", raw, found)
	}
	var back T
	if err := dt.Decode([]byte(raw), &back); err != nil {
		t.Fatalf("Decode(%s): %v", raw, err)
	}
	if again := encode(t, dt, back); again != raw {
		t.Errorf("decoded and encoded again: %s, was %s", again, raw)
	}
}

func TestEncodeScalars(t *testing.T) {
	t.Parallel()
	roundTrip(t, true, `true`)
	roundTrip(t, -5, `-5`)
	roundTrip(t, int8(-128), `-128`)
	roundTrip(t, uint64(1<<53-1), `9007199254740991`)
	roundTrip(t, 1.5, `1.5`)
	roundTrip(t, 1e21, `1e+21`)
	roundTrip(t, 1e-7, `1e-7`)
	roundTrip(t, float32(0.1), `0.1`)
	roundTrip(t, math.Inf(1), `{"$float":"AAAAAAAA8H8="}`)
	roundTrip(t, math.Copysign(0, -1), `{"$float":"AAAAAAAAAIA="}`)
	roundTrip(t, Int64(math.MinInt64), `{"$integer":"AAAAAAAAAIA="}`)
	roundTrip(t, "<b>&\u2028\"\\\n\x01é", `"<b>&`+"\u2028"+`\"\\\n\u0001é"`)
	roundTrip(t, ID[user]("user:1"), `"user:1"`)
	roundTrip(t, []byte{0, 1, 2}, `{"$bytes":"AAEC"}`)
	roundTrip(t, [4]byte{9}, `{"$bytes":"CQAAAA=="}`)
	roundTrip(t, 90*time.Second, `90000000000`)
	roundTrip(t, time.Date(2026, 2, 3, 4, 5, 6, 700, time.FixedZone("", 3600)), `"2026-02-03T03:05:06.0000007Z"`)
	roundTrip(t, netip.MustParseAddr("::1"), `"::1"`)
	roundTrip(t, json.RawMessage(` {"b": 1.0, "a": [1E2]} `), `{"b":1,"a":[100]}`)
	roundTrip(t, celsius{21}, `{"deg":21}`)
	roundTrip(t, *big.NewInt(7), `7`)
}

func TestEncodeComposites(t *testing.T) {
	t.Parallel()
	roundTrip[[]string](t, nil, `[]`)
	roundTrip[map[string]int](t, nil, `{}`)
	roundTrip(t, map[string]int{"b": 1, "a": 2, "": 3}, `{"":3,"a":2,"b":1}`)
	roundTrip(t, [2]bool{true}, `[true,false]`)
	roundTrip(t, []*int{nil, ptr(3)}, `[null,3]`)
	roundTrip[*int](t, nil, `null`)
	roundTrip(t, ptr(4), `4`)
	roundTrip(t, address{City: "Ulm"}, `{"city":"Ulm"}`)
	roundTrip(t, address{"Ulm", ptr("")}, `{"city":"Ulm","zip":""}`)
	roundTrip(t, stamps{At: time.Unix(0, 0)}, `{"at":"1970-01-01T00:00:00Z"}`)
	roundTrip(t, embedding{hidden: hidden{"x"}, Own: "y", un: 1, Out: "z"}, `{"inner":"x","Own":"y"}`)
	roundTrip(t, embedding{Shared: &Shared{2}}, `{"inner":"","shared":2,"Own":""}`)
	roundTrip(t, tree{"a", []tree{{"b", nil}}}, `{"name":"a","kids":[{"name":"b","kids":[]}]}`)
	roundTrip(t, map[string][]celsius{"k": {{1}}}, `{"k":[{"deg":1}]}`)
	roundTrip(t, struct{}{}, `{}`)
	roundTrip[any](t, nil, `null`)
	roundTrip[any](t, []any{1, "a", Int64(3), []byte("x"), map[string]any{"k": nil}, math.NaN()},
		`[1,"a",{"$integer":"AwAAAAAAAAA="},{"$bytes":"eA=="},{"k":null},{"$float":"AQAAAAAA+H8="}]`)
	roundTrip[any](t, json.Number("3e2"), `300`)
}

func TestEncodeDoc(t *testing.T) {
	t.Parallel()
	doc := Doc[address]{ID: "address:7", Created: time.UnixMicro(1732395073123456), Value: address{City: "Ulm"}}
	const want = `{"_id":"address:7","_creationTime":1732395073123.456,"city":"Ulm"}`
	roundTrip(t, doc, want)
	roundTrip(t, &doc, want)
	roundTrip[*Doc[address]](t, nil, `null`)
	roundTrip(t, struct {
		Page []*Doc[address]
	}{[]*Doc[address]{&doc}}, `{"Page":[`+want+`]}`)

	dt := compile[Doc[address]](t)
	var back Doc[address]
	if err := dt.Decode([]byte(want), &back); err != nil || !back.Created.Equal(doc.Created) || back.ID != doc.ID {
		t.Errorf("Decode = %+v, %v", back, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	type deep struct{ D *deep }
	bottomless := &deep{}
	bottomless.D = bottomless
	var loop any
	loop = &loop
	for _, c := range []struct {
		name string
		dt   *doctype.Type
		v    any
		path string
		rule string
	}{
		{"large int", compile[struct{ N []int64 }](t), struct{ N []int64 }{[]int64{0, 1 << 53}}, "N.1", "range"},
		{"large uint", compile[uint](t), uint(1 << 53), "", "range"},
		{"small int", compile[int](t), -1 << 53, "", "range"},
		{"invalid UTF-8", compile[map[string]string](t), map[string]string{"a": "\xff"}, "a", "json"},
		{"key with $", compile[map[string]int](t), map[string]int{"$x": 1}, "", "propertyNames"},
		{"key beyond ASCII", compile[any](t), map[string]any{"o": map[string]int{"é": 1}}, "o", "propertyNames"},
		{"long key", compile[map[string]int](t), map[string]int{strings.Repeat("x", 1025): 1}, "", "propertyNames"},
		{"system's name", compile[map[string]int](t), map[string]int{"_id": 1}, "", "propertyNames"},
		{"bad raw", compile[json.RawMessage](t), json.RawMessage(`{"a":`), "", "json"},
		{"raw given twice", compile[struct{ R json.RawMessage }](t), struct{ R json.RawMessage }{[]byte(`{"a":1,"a":2}`)}, "R.a", "json"},
		{"endless", compile[*deep](t), bottomless, strings.TrimSuffix(strings.Repeat("D.", 64), "."), "range"},
		{"endless interface", compile[any](t), loop, "", "range"},
		{"far future", compile[time.Time](t), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "", "range"},
		{"year below 0 in UTC", compile[time.Time](t), time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)), "", "range"},
		{"channel in any", compile[any](t), make(chan int), "", "type"},
		{"another type", compile[int](t), "3", "", "type"},
		{"nil", compile[int](t), nil, "", "type"},
	} {
		_, err := c.dt.Encode(c.v)
		var ve *doctype.ValueError
		if !errors.As(err, &ve) || ve.Path != c.path || ve.Rule != c.rule {
			t.Errorf("%s: %v, want rule %s at %q", c.name, err, c.rule, c.path)
		}
	}
}

func TestDecodeIsLenient(t *testing.T) {
	t.Parallel()
	type doc struct {
		S    string         `json:"s"`
		I    int            `json:"i"`
		U    uint8          `json:"u"`
		F    float64        `json:"f"`
		L    Int64          `json:"l"`
		List []int          `json:"list"`
		Pair [2]int         `json:"pair"`
		M    map[string]int `json:"m"`
		P    *address       `json:"p"`
	}
	dt := compile[doc](t)
	got := doc{S: "old", List: []int{1}, P: &address{City: "old"}}
	raw := ` {"unknown":{"a":[1,{}]}, "i":3e0, "u":2.50e2, "f":1e2, "s":"aé\n", "l":7, "list":[1.0,2],` +
		`"pair":[1,2,3],"m":{"k":{"$integer":"AwAAAAAAAAA="}}, "_id":"x"} `
	if err := dt.Decode([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	want := doc{
		S: "aé\n", I: 3, U: 250, F: 100, L: 7, List: []int{1, 2}, Pair: [2]int{1, 2}, M: map[string]int{"k": 3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := dt.Decode([]byte(`{"s":null,"list":null,"p":null,"m":null}`), &got); err != nil || !reflect.DeepEqual(got, doc{}) {
		t.Errorf("nulls give %+v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	type doc struct {
		S    string             `json:"s"`
		I    int8               `json:"i"`
		U    uint               `json:"u"`
		F    float32            `json:"f"`
		B    bool               `json:"b"`
		T    time.Time          `json:"t"`
		By   [2]byte            `json:"by"`
		L    Int64              `json:"l"`
		List []address          `json:"list"`
		M    map[string]celsius `json:"m"`
		Addr netip.Addr         `json:"addr"`
	}
	dt := compile[doc](t)
	for raw, want := range map[string]string{
		`{"s":1}`:                       "s: type",
		`{"i":128}`:                     "i: range",
		`{"i":1.5}`:                     "i: type",
		`{"i":"1"}`:                     "i: type",
		`{"u":-1}`:                      "u: range",
		`{"u":1e30}`:                    "u: range",
		`{"f":1e300}`:                   "f: range",
		`{"f":1e400}`:                   "f: range",
		`{"b":0}`:                       "b: type",
		`{"t":"2026-02-30T00:00:00Z"}`:  "t: format",
		`{"by":{"$bytes":"AA=="}}`:      "by: type",
		`{"by":"AAAA"}`:                 "by: type",
		`{"l":{"$integer":"AA"}}`:       "l: type",
		`{"list":[{"city":[]}]}`:        "list.0.city: type",
		`{"list":{}}`:                   "list: type",
		`{"m":{"k":[]}}`:                "m.k: type",
		`{"m":[]}`:                      "m: type",
		`{"addr":"nowhere"}`:            "addr: format",
		`[]`:                            ": type",
		``:                              ": json",
		`{"s":"a"`:                      ": json",
		`{"s":"a"}x`:                    ": json",
		`{"s":"` + "\n" + `"}`:          "s: json",
		`{"list":[{"city":"a"},]}`:      "list: json",
		`{"unknown":tru}`:               ": json",
		strings.Repeat(`{"x":`, 100000): ": json",
	} {
		var v doc
		err := dt.Decode([]byte(raw), &v)
		var ve *doctype.ValueError
		if !errors.As(err, &ve) || ve.Path+": "+ve.Rule != want {
			t.Errorf("Decode(%.60s) = %v, want %s", raw, err, want)
		}
	}
	var other int
	for _, into := range []any{nil, doc{}, (*doc)(nil), &other} {
		if err := dt.Decode([]byte(`{}`), into); err == nil {
			t.Errorf("Decode into %T worked", into)
		}
	}
}

func TestDecodeKeepsNothingOfTheInput(t *testing.T) {
	t.Parallel()
	type doc struct {
		S string
		R json.RawMessage
		A any
		B []byte
	}
	dt := compile[doc](t)
	raw := []byte(`{"S":"text","R":[1,2],"A":["text"],"B":{"$bytes":"AAEC"}}`)
	var v doc
	if err := dt.Decode(raw, &v); err != nil {
		t.Fatal(err)
	}
	before := encode(t, dt, v)
	for i := range raw {
		raw[i] = 'x'
	}
	if after := encode(t, dt, v); after != before {
		t.Errorf("the value changed with the bytes: %s, was %s", after, before)
	}
}

func TestWithSystem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		micros  int64
		encoded string
		want    string
	}{
		{1732395073123456, `{"a":1}`, `{"_id":"x","_creationTime":1732395073123.456,"a":1}`},
		{1732395073123400, `{}`, `{"_id":"x","_creationTime":1732395073123.4}`},
		{1732395073123000, ` { } `, `{"_id":"x","_creationTime":1732395073123} `},
		{-1, `{"a":1}`, `{"_id":"x","_creationTime":-0.001,"a":1}`},
	} {
		if got := string(doctype.WithSystem("x", c.micros, []byte(c.encoded))); got != c.want {
			t.Errorf("WithSystem(%d, %s) = %s, want %s", c.micros, c.encoded, got, c.want)
		}
	}
}
