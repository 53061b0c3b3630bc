package doctype_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

func TestHasPath(t *testing.T) {
	t.Parallel()
	dt := compile[indexed](t)
	for p, want := range map[string]bool{
		"int": true, "sub": true, "sub.city": true, "list": true, "any": true, "any.x.y": true, "map.k": true,
		"": false, "nope": false, "sub.nope": false, "int.x": false, "list.0": false, "map.k.x": false, "_id": false, "at.x": false,
	} {
		if err := dt.HasPath(p); (err == nil) != want {
			t.Errorf("HasPath(%q): %v", p, err)
		}
	}
}

func TestMember(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, path, want string }{
		{`{"a":{"b":[1, 2]}}`, "a.b", `[1, 2]`},
		{` { "x":[{}], "a" : null }`, "a", `null`},
		{`{"\u0061":1}`, "a", `1`},
		{`{"a":1}`, "b", ""},
		{`{"a":[1]}`, "a.0", ""},
		{`{"a":`, "a", ""},
		{``, "a", ""},
	} {
		got, found := doctype.Member([]byte(c.raw), c.path)
		if string(got) != c.want || found != (c.want != "") {
			t.Errorf("Member(%s, %s) = %s, %v", c.raw, c.path, got, found)
		}
	}
}

func TestResultsMayUseTheSystemsNames(t *testing.T) {
	t.Parallel()
	type row struct {
		ID   ID[user] `json:"_id"`
		Name string   `json:"name"`
	}
	if _, err := doctype.Compile(reflect.TypeFor[row](), options()); err == nil {
		t.Error("a document may have a field _id")
	}
	o := options()
	o.Result = true
	dt, err := doctype.Compile(reflect.TypeFor[[]row](), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := encode(t, dt, []row{{"user:1", "a"}}); got != `[{"_id":"user:1","name":"a"}]` {
		t.Error(got)
	}
	if dt, err = doctype.Compile(reflect.TypeFor[map[string]int](), o); err != nil {
		t.Fatal(err)
	}
	if got := encode(t, dt, map[string]int{"_id": 1}); got != `{"_id":1}` || len(dt.Validate([]byte(got), doctype.ValidateOptions{})) > 0 {
		t.Error(got)
	}
	if got := issues(compile[map[string]int](t), `{"_id":1,"":2,"a_":3}`, doctype.ValidateOptions{}); got != "_id: propertyNames" {
		t.Errorf("a map of arguments: %s", got)
	}
}

func TestSchemaShows(t *testing.T) {
	t.Parallel()
	type doc struct {
		Ref   ID[user] `json:"ref"`
		Age   uint8    `json:"age" jsonschema:"minimum=18"`
		Maybe *bool    `json:"maybe,omitempty"`
		Null  *bool    `json:"null"`
	}
	var s struct {
		Defs map[string]struct {
			Type                 string                     `json:"type"`
			Properties           map[string]json.RawMessage `json:"properties"`
			Required             []string                   `json:"required"`
			AdditionalProperties *bool                      `json:"additionalProperties"`
		} `json:"$defs"`
		Ref string `json:"$ref"`
	}
	if err := json.Unmarshal(compile[doc](t).JSONSchema(), &s); err != nil {
		t.Fatal(err)
	}
	name := doctype.TypeName(reflect.TypeFor[doc]())
	def, ok := s.Defs[name]
	if !ok || s.Ref != "#/$defs/"+name {
		t.Fatalf("no definition %s in %+v", name, s)
	}
	for field, want := range map[string]string{
		"ref":   `{"type":"string","x-mimosa-id":"` + doctype.TypeName(reflect.TypeFor[user]()) + `","x-mimosa-type":"id"}`,
		"age":   `{"type":"integer","minimum":18,"maximum":255}`,
		"maybe": `{"type":"boolean"}`,
		"null":  `{"anyOf":[{"type":"boolean"},{"type":"null"}]}`,
	} {
		if !doctype.Equal(def.Properties[field], []byte(want)) && string(def.Properties[field]) != want {
			t.Errorf("%s: %s, want %s", field, def.Properties[field], want)
		}
	}
	if !reflect.DeepEqual(def.Required, []string{"ref", "age", "null"}) || def.AdditionalProperties == nil || *def.AdditionalProperties {
		t.Errorf("%+v", def)
	}
}
