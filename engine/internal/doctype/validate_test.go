package doctype_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// wire holds what travels in a form of its own.
type wire struct {
	I    int                `json:"i,omitempty"`
	I8   int8               `json:"i8,omitempty"`
	U    uint               `json:"u,omitempty"`
	F    float64            `json:"f,omitempty" jsonschema:"minimum=-1"`
	L    Int64              `json:"l,omitempty"`
	B    []byte             `json:"b,omitempty"`
	B3   [3]byte            `json:"b3,omitzero"`
	T    time.Time          `json:"t,omitzero"`
	ID   ID[user]           `json:"id,omitempty"`
	Ptr  *int               `json:"ptr,omitempty"`
	Null []*int             `json:"null,omitempty"`
	M    map[string]string  `json:"m,omitempty"`
	ByID map[ID[user]]bool  `json:"byId,omitempty"`
	Any  any                `json:"any,omitempty"`
	Sub  *address           `json:"sub,omitempty"`
	Doc  *Doc[address]      `json:"doc,omitempty"`
	Temp map[string]celsius `json:"temp,omitempty"`
	Kids []wire             `json:"kids,omitempty"`
}

func TestValidateTypes(t *testing.T) {
	t.Parallel()
	dt := compile[wire](t)
	for raw, want := range map[string]string{
		`{}`: "",
		` { "i" : 3.0 , "u":1e3, "i8":-12.80e1 } `:  "",
		`{"i":9007199254740991}`:                    "",
		`{"i":9007199254740992}`:                    "i: maximum",
		`{"i":-9007199254740992}`:                   "i: minimum",
		`{"i":1e300}`:                               "i: maximum",
		`{"i":0.5}`:                                 "i: type",
		`{"i":10e-2}`:                               "i: type",
		`{"i":1e-400}`:                              "i: type",
		`{"i":1e400}`:                               "i: range",
		`{"i":"3"}`:                                 "i: type",
		`{"i":null}`:                                "i: type",
		`{"i":{"$integer":"AAAAAAAAAAA="}}`:         "i: type",
		`{"i8":128}`:                                "i8: maximum",
		`{"u":-1}`:                                  "u: minimum",
		`{"f":-1.5}`:                                "f: minimum",
		`{"f":{"$float":"AAAAAAAAAIA="}}`:           "",           // −0
		`{"f":{"$float":"AAAAAAAA8H8="}}`:           "",           // +Inf
		`{"f":{"$float":"AAAAAAAA8P8="}}`:           "f: minimum", // −Inf
		`{"f":{"$float":"AAAAAAAA+H8="}}`:           "f: minimum", // NaN is not at least −1
		`{"f":{"$float":"AAAAAAAA8D8="}}`:           "f: type",    // 1 is an ordinary number
		`{"f":{"$integer":"AAAAAAAAAAA="}}`:         "f: type",
		`{"l":{"$integer":"//////////8="}}`:         "",
		`{"l":{"$integer":"//////////9="}}`:         "l: type", // stray bits
		`{"l":{"$integer":"////////"}}`:             "l: type",
		`{"l":{"$integer":3}}`:                      "l: propertyNames",
		`{"l":{"$integer":"AAAAAAAAAAA=","x":1}}`:   "l: propertyNames",
		`{"l":{"$bytes":"AAAA"}}`:                   "l: type",
		`{"l":3}`:                                   "l: type",
		`{"b":{"$bytes":"AAAA"}}`:                   "",
		`{"b":{"$bytes":"AA\nAA"}}`:                 "b: type",
		`{"b":{"$bytes":"AA"}}`:                     "b: type",
		`{"b":"AAAA"}`:                              "b: type",
		`{"b3":{"$bytes":"AAAA"}}`:                  "",
		`{"b3":{"$bytes":"AAAAAA=="}}`:              "b3: type",
		`{"t":"2026-02-28T10:00:00+02:00"}`:         "",
		`{"t":"2026-02-29T10:00:00Z"}`:              "t: format",
		`{"t":"2026-02-28 10:00:00Z"}`:              "t: format",
		`{"t":"2026-02-28T10:00:00+24:00"}`:         "t: format",
		`{"t":"2026-02-28T10:00:00.123456789123Z"}`: "",
		`{"t":"2026-02-28"}`:                        "t: format",
		`{"t":"0000-01-01T00:00:00+01:00"}`:         "t: format",
		`{"t":5}`:                                   "t: type",
		`{"id":"user:1"}`:                           "",
		`{"id":"us\u0065r:1"}`:                      "",
		`{"id":"address:1"}`:                        "id: id",
		`{"id":""}`:                                 "id: id",
		`{"id":1}`:                                  "id: type",
		`{"ptr":null}`:                              "ptr: type",
		`{"null":[null,1,"x"]}`:                     "null.2: type",
		`{"m":{"a":"b","":"c"}}`:                    "",
		`{"m":{"a":1}}`:                             "m.a: type",
		`{"m":{"$bytes":"AAAA"}}`:                   "m: type",
		`{"m":{"$x":"a"}}`:                          "m: propertyNames",
		`{"m":{"é":"a"}}`:                           "m: propertyNames",
		`{"byId":{"user:1":true,"x":false}}`:        "byId.x: id",
		`{"any":[1,null,{"a":{"$bytes":"AA=="}}]}`:  "",
		`{"any":[{"a":{"$bytes":"A"}}]}`:            "any.0.a: type",
		`{"any":[{"$a":1}]}`:                        "any.0: propertyNames",
		`{"sub":{}}`:                                "sub.city: required",
		`{"sub":{"city":"","town":1}}`:              "sub.town: additionalProperties",
		`{"sub":[]}`:                                "sub: type",
		`{"sub":{"$float":"AAAAAAAAAIA="}}`:         "sub: type",
		`{"doc":{"_id":"address:1","_creationTime":1.5,"city":"x"}}`: "",
		`{"doc":{"_id":"user:1","_creationTime":"x","city":"x"}}`:    "doc._creationTime: type\ndoc._id: id",
		`{"doc":{"city":"x"}}`:           "doc._creationTime: required\ndoc._id: required",
		`{"temp":{"x":[]}}`:              "", // its own methods decide
		`{"kids":[{"kids":[{"i":""}]}]}`: "kids.0.kids.0.i: type",
		`[]`:                             ": type",
		`null`:                           ": type",
		`{"x":1,"y":2}`:                  "x: additionalProperties\ny: additionalProperties",
		`{"_id":"x"}`:                    "_id: additionalProperties",
		// Not for the wire at all: one issue.
		``:                                   ": json",
		`{"i":1`:                             ": json",
		`{"i":1}{}`:                          ": json",
		`{"i":01}`:                           ": json",
		`{"any":"` + "\x00" + `"}`:           ": json",
		`{"any":"` + "\xff" + `"}`:           ": json",
		`{"any":["\ud800"]}`:                 "any.0: json",
		`{"any":"\udc00\ud800"}`:             "any: json",
		`{"any":"\ud83d\ude00"}`:             "",
		`{"i":1,"u":1,"i":1}`:                "i: json",
		`{"any":[{"a":{"b":1,"\u0062":2}}]}`: "any.0.a.b: json",
		`{"any":` + strings.Repeat(`[`, 63) + strings.Repeat(`]`, 63) + `}`: "",
		`{"any":` + strings.Repeat(`[`, 64) + strings.Repeat(`]`, 64) + `}`: ": json",
	} {
		if got := issues(dt, raw, doctype.ValidateOptions{}); got != want {
			t.Errorf("Validate(%s):\n%s\nwant\n%s", raw, got, want)
		}
		if want == "" {
			var v wire
			if err := dt.Decode([]byte(raw), &v); err != nil && !strings.Contains(raw, "temp") {
				t.Errorf("%s is valid but does not decode: %v", raw, err)
			}
		}
	}
}

type codes []string

// limits has each keyword once.
type limits struct {
	Min     string            `json:"min,omitempty" jsonschema:"minLength=2"`
	Max     string            `json:"max,omitempty" jsonschema:"maxLength=2"`
	Pattern string            `json:"pattern,omitempty" jsonschema:"pattern=^[a-c]{1\\,2}$"`
	Enum    role              `json:"enum,omitempty" jsonschema:"enum=admin,enum=user"`
	Low     *float64          `json:"low,omitempty" jsonschema:"minimum=0.1"`
	High    int               `json:"high,omitempty" jsonschema:"maximum=10"`
	Above   int               `json:"above,omitempty" jsonschema:"exclusiveMinimum=3"`
	Below   float64           `json:"below,omitempty" jsonschema:"exclusiveMaximum=3"`
	Step    float64           `json:"step,omitempty" jsonschema:"multipleOf=0.1"`
	Even    int               `json:"even,omitempty" jsonschema:"multipleOf=2"`
	Pick    int               `json:"pick,omitempty" jsonschema:"enum=1,enum=2.0"`
	List    []string          `json:"list,omitempty" jsonschema:"minItems=1,maxItems=2,uniqueItems=true,minLength=2"`
	Codes   codes             `json:"codes,omitempty" jsonschema:"maxItems=1"`
	Nums    []*int            `json:"nums,omitempty" jsonschema:"uniqueItems=true,maximum=5"`
	Map     map[string]string `json:"map,omitempty" jsonschema:"minProperties=1,maxProperties=2"`
	Must    string            `json:"must,omitempty" jsonschema:"required"`
	Maybe   string            `json:"maybe,omitempty" jsonschema:"nullable,minLength=1"`
	Text    any               `json:"text,omitempty" jsonschema:"type=string,maxLength=1"`
	Either  any               `json:"either,omitempty" jsonschema:"oneof_type=string;boolean"`
	Some    any               `json:"some,omitempty" jsonschema:"anyof_type=number;integer"`
	Byte    int8              `json:"byte,omitempty" jsonschema:"minimum=-1000,maximum=1000"`
}

func TestValidateKeywords(t *testing.T) {
	t.Parallel()
	dt := compile[limits](t)
	for member, want := range map[string]string{
		`"min":"é"`:                    "min: minLength",
		`"min":"é€"`:                   "",
		`"min":"\u00e9"`:               "min: minLength",
		`"max":"😀😀"`:                   "",
		`"max":"😀😀😀"`:                  "max: maxLength",
		`"pattern":"ab"`:               "",
		`"pattern":"abc"`:              "pattern: pattern",
		`"enum":"admin"`:               "",
		`"enum":"root"`:                "enum: enum",
		`"low":0.1`:                    "",
		`"low":0`:                      "low: minimum",
		`"high":11`:                    "high: maximum",
		`"high":1.0e1`:                 "",
		`"above":3`:                    "above: exclusiveMinimum",
		`"below":3`:                    "below: exclusiveMaximum",
		`"below":2.999`:                "",
		`"step":0.3`:                   "",
		`"step":0.35`:                  "step: multipleOf",
		`"even":3`:                     "even: multipleOf",
		`"even":-4`:                    "",
		`"pick":2`:                     "",
		`"pick":1.0`:                   "",
		`"pick":3`:                     "pick: enum",
		`"list":[]`:                    "list: minItems",
		`"list":["aa","bb"]`:           "",
		`"list":["aa","aa"]`:           "list: uniqueItems",
		`"list":["a","b","c"]`:         "list: maxItems\nlist.0: minLength\nlist.1: minLength\nlist.2: minLength",
		`"codes":["a","b"]`:            "codes: maxItems",
		`"nums":[1,1.0]`:               "nums: uniqueItems",
		`"nums":[null,6]`:              "nums.1: maximum",
		`"map":{}`:                     "map: minProperties",
		`"map":{"a":"","b":""}`:        "",
		`"map":{"a":"","b":"","c":""}`: "map: maxProperties",
		`"maybe":null`:                 "",
		`"maybe":""`:                   "maybe: minLength",
		`"text":"ab"`:                  "text: maxLength",
		`"text":1`:                     "text: type",
		`"either":true`:                "",
		`"either":1`:                   "either: oneOf",
		`"some":"x"`:                   "some: anyOf",
		`"some":1`:                     "",
		`"byte":200`:                   "byte: maximum",
		`"byte":-100`:                  "",
	} {
		raw := `{"must":"",` + member + `}`
		if got := issues(dt, raw, doctype.ValidateOptions{}); got != want {
			t.Errorf("Validate(%s):\n%s\nwant\n%s", raw, got, want)
		}
	}
	if got := issues(dt, `{}`, doctype.ValidateOptions{}); got != "must: required" {
		t.Errorf("without the required member: %s", got)
	}
}

func TestValidateStored(t *testing.T) {
	t.Parallel()
	dt := compile[address](t)
	stored := doctype.ValidateOptions{AllowUnknown: true, Doc: true}
	for raw, want := range map[string]string{
		`{"_id":"address:1","_creationTime":1.5,"city":"x","old":{"a":[1]}}`: "",
		`{"_id":"address:1","_creationTime":1.5,"city":1}`:                   "city: type",
		`{"_id":"user:1","_creationTime":true,"city":""}`:                    "_creationTime: type\n_id: id",
		`{"city":""}`: "_creationTime: required\n_id: required",
	} {
		if got := issues(dt, raw, stored); got != want {
			t.Errorf("Validate(%s):\n%s\nwant\n%s", raw, got, want)
		}
	}
	if got := issues(dt, `{"_id":"address:1","_creationTime":1,"city":"x","old":1}`, doctype.ValidateOptions{Doc: true}); got != "old: additionalProperties" {
		t.Errorf("unknown members pass without being allowed: %s", got)
	}
}

func TestIssuesNeverRepeatTheValue(t *testing.T) {
	t.Parallel()
	dt := compile[limits](t)
	const secret = "hunter2hunter2"
	for _, name := range []string{"min", "max", "pattern", "enum", "low", "list", "codes", "map", "either", "some", "text"} {
		for _, i := range dt.Validate([]byte(`{"`+name+`":"`+secret+`"}`), doctype.ValidateOptions{}) {
			if strings.Contains(i.Message, secret) || i.Message == "" {
				t.Errorf("%+v", i)
			}
		}
	}
	long := strings.Repeat("x", 1000)
	found := dt.Validate([]byte(`{"must":"","`+long+`":1}`), doctype.ValidateOptions{})
	if len(found) != 1 || len(found[0].Path) > 200 {
		t.Errorf("a long name is repeated whole: %v", found)
	}
}

func TestIssuesAreBounded(t *testing.T) {
	t.Parallel()
	dt := compile[[]string](t)
	found := dt.Validate([]byte("["+strings.Repeat("1,", 5000)+"1]"), doctype.ValidateOptions{})
	if len(found) != 100 {
		t.Errorf("%d issues", len(found))
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for format, cases := range map[string]map[string]bool{
		"email": {
			"ada@example.org": true, "a.b+c@x-y.example.co": true, "é@exämple.org": true, "o'neil@a.ie": true,
			"a@b": false, "a@b.": false, "@b.c": false, "a@.c": false, "a b@c.d": false, "a@b@c.d": false, ".a@b.c": false,
			"a..b@c.d": false, "a@-b.c": false, "": false, "a": false, strings.Repeat("a", 65) + "@b.cd": false, "<a@b.c>": false,
		},
		"uri": {
			"https://example.org/a?b#c": true, "mailto:a@b.c": true, "urn:isbn:1": true,
			"example.org": false, "/a": false, "https://a b": false, "https:": false, "http://é.fr": false, "": false,
		},
		"uri-reference": {"/a?b": true, "": true, "a b": false, "#x": true, "%zz": false},
		"uuid": {
			"123e4567-e89b-12d3-a456-426614174000": true, "123E4567-E89B-12D3-A456-426614174000": true,
			"123e4567e89b12d3a456426614174000": false, "123e4567-e89b-12d3-a456-42661417400g": false,
		},
		"date":         {"2024-02-29": true, "2023-02-29": false, "2024-2-9": false, "24-02-29": false},
		"time":         {"10:00:00Z": true, "10:00:00.5+01:00": true, "10:00:00": false, "25:00:00Z": false},
		"date-time":    {"2024-02-29T10:00:00Z": true, "2024-02-29T10:00:00": false, "2024-02-29T1:00:00Z": false, "2024-02-29T10:00:00,5Z": false},
		"hostname":     {"example.org": true, "localhost": true, "a_b": false, "-a": false, "a..b": false, strings.Repeat("a", 64): false},
		"ipv4":         {"127.0.0.1": true, "127.0.0.01": false, "::1": false, "127.0.0": false},
		"ipv6":         {"::1": true, "fe80::1%eth0": false, "127.0.0.1": false},
		"regex":        {"^a+$": true, "(": false},
		"json-pointer": {"": true, "/a/~0~1": true, "a": false, "/~2": false, "/~": false},
	} {
		field := reflect.StructField{
			Name: "V", Type: reflect.TypeFor[string](), Tag: reflect.StructTag(`jsonschema:"format=` + format + `"`),
		}
		dt, err := doctype.Compile(reflect.StructOf([]reflect.StructField{field}), options())
		if err != nil {
			t.Fatal(err)
		}
		for value, ok := range cases {
			raw, err := doctype.Canonical(fmt.Appendf(nil, `{"V":%q}`, value))
			if err != nil {
				t.Fatal(err)
			}
			want := "V: format"
			if ok {
				want = ""
			}
			if got := issues(dt, string(raw), doctype.ValidateOptions{}); got != want {
				t.Errorf("%s of %q: %q", format, value, got)
			}
		}
	}
}

// transfer says with if and then what tags cannot.
type transfer struct {
	Kind string   `json:"kind"`
	IBAN string   `json:"iban,omitempty"`
	To   ID[user] `json:"to,omitempty"`
}

func (transfer) JSONSchemaExtend(s *jsonschema.Schema) {
	kind := jsonschema.NewProperties()
	kind.Set("kind", &jsonschema.Schema{Const: "bank"})
	s.If = &jsonschema.Schema{Properties: kind}
	s.Then = &jsonschema.Schema{Required: []string{"iban"}}
	s.Else = &jsonschema.Schema{Required: []string{"to"}}
}

func TestValidateBeyondTags(t *testing.T) {
	t.Parallel()
	dt := compile[[]transfer](t)
	for raw, want := range map[string]string{
		`[{"kind":"bank","iban":"x"}]`:               "",
		`[{"kind":"bank"}]`:                          "0.iban: required",
		`[{"kind":"gift"},{"kind":"gift","to":"x"}]`: "0.to: required\n1.to: id",
		`[{"kind":"gift","to":"user:1","x":1}]`:      "0.x: additionalProperties",
		`[{}]`:                                       "0.iban: required\n0.kind: required", // as JSON Schema has it, no kind is any kind
	} {
		if got := issues(dt, raw, doctype.ValidateOptions{}); got != want {
			t.Errorf("Validate(%s):\n%s\nwant\n%s", raw, got, want)
		}
	}
}

// choice must come in exactly one of two forms.
type choice struct {
	A string `json:"a,omitempty" jsonschema:"oneof_required=a"`
	B string `json:"b,omitempty" jsonschema:"oneof_required=b"`
}

func TestValidateAlternatives(t *testing.T) {
	t.Parallel()
	dt := compile[choice](t)
	for raw, want := range map[string]string{
		`{"a":""}`: "", `{"b":""}`: "", `{}`: ": oneOf", `{"a":"","b":""}`: ": oneOf", `{"a":1}`: "a: type",
	} {
		if got := issues(dt, raw, doctype.ValidateOptions{}); got != want {
			t.Errorf("Validate(%s):\n%s\nwant\n%s", raw, got, want)
		}
	}
}
