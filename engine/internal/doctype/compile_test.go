package doctype_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

type SelfEmbedding struct {
	*SelfEmbedding
	A int
}

type selfPointing *selfPointing

type onlyIn struct{ A int }

func (*onlyIn) UnmarshalJSON([]byte) error { return nil }

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ  reflect.Type
		want []string // each in the error
	}{
		{reflect.TypeFor[struct{ C chan int }](), []string{"struct { C chan int }.C", "chan int"}},
		{reflect.TypeFor[func()](), []string{"func()"}},
		{reflect.TypeFor[[]complex128](), []string{"complex128"}},
		{reflect.TypeFor[struct{ U uintptr }](), []string{"uintptr"}},
		{reflect.TypeFor[map[int]string](), []string{"keys that are not strings"}},
		{reflect.TypeFor[struct{ E error }](), []string{".E", "interface type error"}},
		{reflect.TypeFor[struct{ N json.Number }](), []string{".N", "json.Number"}},
		{reflect.TypeFor[**int](), []string{"pointer to a pointer"}},
		{reflect.TypeFor[selfPointing](), []string{"points to itself"}},
		{reflect.TypeFor[SelfEmbedding](), []string{"SelfEmbedding.SelfEmbedding", "embeds itself"}},
		{reflect.TypeFor[struct{ a, b int }](), []string{"no field travels"}},
		{reflect.TypeFor[struct{ *hidden }](), []string{".hidden", "unexported"}},
		{reflect.TypeFor[struct {
			hidden `json:"h"`
		}](), []string{".hidden", "cannot have a name"}},
		{reflect.TypeFor[struct{ Doc[address] }](), []string{"document"}},
		{reflect.StructOf([]reflect.StructField{
			{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
			{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
		}), []string{"fields A and B have the same name \"x\""}},
		{reflect.TypeFor[struct {
			Shared
			Shadow int `json:"shared"`
		}](), []string{"fields Shared and Shadow"}},
		{reflect.TypeFor[struct {
			A int `json:"_a"`
		}](), []string{".A", "_a", "reserved"}},
		{reflect.TypeFor[struct {
			A int `json:"$a"`
		}](), []string{".A", "$a", "reserved"}},
		{reflect.TypeFor[struct{ Ä int }](), []string{".Ä", "ASCII"}},
		{reflect.TypeFor[struct {
			A int `json:"a.b"`
		}](), []string{".A", "dot"}},
		{reflect.TypeFor[struct {
			A int `json:"a,string"`
		}](), []string{".A", `"string"`}},
		{reflect.TypeFor[struct {
			A hidden `json:",inline"`
		}](), []string{".A", `"inline"`}},
		{reflect.TypeFor[onlyIn](), []string{"UnmarshalJSON but no MarshalJSON"}},
		{reflect.TypeFor[Doc[int]](), []string{"not a plain struct"}},
		{reflect.TypeFor[struct {
			A chan int
			B func()
		}](), []string{".A", ".B"}},
	} {
		_, err := doctype.Compile(c.typ, options())
		if err == nil {
			t.Errorf("Compile(%s) worked", c.typ)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Compile(%s): %v; does not say %q", c.typ, err, want)
			}
		}
	}
	if _, err := doctype.Compile(nil, options()); err == nil {
		t.Error("Compile(nil) worked")
	}
}

func TestCompileRefusesTags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ  reflect.Type
		tag  string
		want string
	}{
		{reflect.TypeFor[string](), "maxLenght=5", "means nothing"},
		{reflect.TypeFor[string](), "maxLength=five", "valid value"},
		{reflect.TypeFor[string](), "maxLength", "valid value"},
		{reflect.TypeFor[string](), "minLength=-1", "valid value"},
		{reflect.TypeFor[string](), "pattern=(", "valid value"},
		{reflect.TypeFor[string](), "format=emial", "valid value"},
		{reflect.TypeFor[string](), "minimum=3", "means nothing"},
		{reflect.TypeFor[string](), "minLength=3,maxLength=2", "minLength is above maxLength"},
		{reflect.TypeFor[string](), "-", "would hide"},
		{reflect.TypeFor[int](), "minimum=a", "valid value"},
		{reflect.TypeFor[int](), "minimum=0x10", "valid value"},
		{reflect.TypeFor[int](), "multipleOf=0", "valid value"},
		{reflect.TypeFor[int](), "enum=a", "valid value"},
		{reflect.TypeFor[int](), "maxLength=3", "means nothing"},
		{reflect.TypeFor[float64](), "minimum=2,maximum=1", "minimum is above maximum"},
		{reflect.TypeFor[bool](), "default=yes", "valid value"},
		{reflect.TypeFor[[]byte](), "maxLength=3", "means nothing"},
		{reflect.TypeFor[[]string](), "uniqueItems=false", "valid value"},
		{reflect.TypeFor[[]string](), "uniqueItems", "valid value"},
		{reflect.TypeFor[[][]string](), "maxLength=3", "means nothing"},
		{reflect.TypeFor[[3]int](), "maxItems=2", "means nothing"},
		{reflect.TypeFor[map[string]int](), "minItems=2", "means nothing"},
		{reflect.TypeFor[address](), "minProperties=1", "means nothing"},
		{reflect.TypeFor[ID[user]](), "maxLength=3", "means nothing"},
		{reflect.TypeFor[any](), "type=strin", "no such type"},
	} {
		field := reflect.StructField{Name: "A", Type: c.typ, Tag: reflect.StructTag(`jsonschema:"` + c.tag + `"`)}
		_, err := doctype.Compile(reflect.StructOf([]reflect.StructField{field}), options())
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), ".A") {
			t.Errorf("%s `%s`: %v, want %q", c.typ, c.tag, err, c.want)
		}
	}
	extras := struct {
		A map[string]int `jsonschema_extras:"minProperties=1"`
	}{}
	if _, err := doctype.Compile(reflect.TypeOf(extras), options()); err == nil || !strings.Contains(err.Error(), "x-") {
		t.Errorf("keywords in jsonschema_extras: %v", err)
	}
}

// Types of the same name, one here and one inside a function, must not share a definition.
type twin struct{ A int }

func TestSchemaKeepsNamesakesApart(t *testing.T) {
	t.Parallel()
	outer := reflect.TypeFor[twin]()
	type twin struct{ B string }
	pair := reflect.StructOf([]reflect.StructField{
		{Name: "X", Type: outer}, {Name: "Y", Type: reflect.TypeFor[twin]()},
	})
	dt, err := doctype.Compile(pair, options())
	if err != nil {
		t.Fatal(err)
	}
	if got := issues(dt, `{"X":{"A":1},"Y":{"B":"b"}}`, doctype.ValidateOptions{}); got != "" {
		t.Error(got)
	}
}

func TestSchemaIsDeterministic(t *testing.T) {
	t.Parallel()
	first := string(compile[kitchen](t).JSONSchema())
	for range 10 {
		if again := string(compile[kitchen](t).JSONSchema()); again != first {
			t.Fatalf("another schema:\n%s\n%s", first, again)
		}
	}
}

func TestTypeName(t *testing.T) {
	t.Parallel()
	for typ, want := range map[reflect.Type]string{
		reflect.TypeFor[address]():       "github_com_mimosadb_mimosa_engine_internal_doctype__test_address",
		reflect.TypeFor[json.Number]():   "encoding_json_Number",
		reflect.TypeFor[Doc[user]]():     "",
		reflect.TypeFor[ID[Doc[user]]](): "",
	} {
		got := doctype.TypeName(typ)
		if want != "" && got != want {
			t.Errorf("TypeName(%s) = %s, want %s", typ, got, want)
		}
		if strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			t.Errorf("TypeName(%s) = %s has other characters", typ, got)
		}
	}
}
