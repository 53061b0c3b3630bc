package doctype_test

import (
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

func TestMergeKeepsWhatTheTypeDoesNotKnow(t *testing.T) {
	t.Parallel()
	type doc struct {
		Name string             `json:"name"`
		Nick string             `json:"nick,omitempty"`
		Addr *address           `json:"addr,omitempty"`
		List []address          `json:"list"`
		By   map[string]address `json:"by,omitempty"`
		Any  any                `json:"any,omitempty"`
		Big  Int64              `json:"big"`
	}
	dt := compile[doc](t)
	for _, c := range []struct{ name, stored, encoded, want string }{
		{
			"unknown members stay, known ones that are gone go",
			`{"_id":"x","_creationTime":1,"name":"a","nick":"b","new":{"x":[1, 2]},"_x":0}`,
			`{"name":"c"}`,
			`{"name":"c","new":{"x":[1, 2]},"_x":0}`,
		},
		{
			"in nested structs too",
			`{"addr":{"city":"a","zip":"1","geo":[1,2],"_id":1}}`,
			`{"addr":{"city":"b"}}`,
			`{"addr":{"city":"b","geo":[1,2],"_id":1}}`,
		},
		{"a struct that is gone takes them along", `{"addr":{"city":"a","geo":1}}`, `{}`, `{}`},
		{"a struct that is new", `{}`, `{"addr":{"city":"b"}}`, `{"addr":{"city":"b"}}`},
		{"was something else", `{"addr":[1],"name":{}}`, `{"addr":{"city":"b"},"name":"a"}`, `{"addr":{"city":"b"},"name":"a"}`},
		{"not in arrays", `{"list":[{"city":"a","geo":1}]}`, `{"list":[{"city":"b"}]}`, `{"list":[{"city":"b"}]}`},
		{
			"in the values of maps, whose members are all known",
			`{"by":{"x":{"city":"a","geo":1},"y":{"city":"a"}}}`,
			`{"by":{"x":{"city":"b"}}}`,
			`{"by":{"x":{"city":"b","geo":1}}}`,
		},
		{"an any is known whole", `{"any":{"a":1}}`, `{"any":{"b":1}}`, `{"any":{"b":1}}`},
		{"special objects are values", `{"big":{"$integer":"AAAAAAAAAAA="}}`, `{"big":{"$integer":"AQAAAAAAAAA="}}`, `{"big":{"$integer":"AQAAAAAAAAA="}}`},
		{"escaped names are the same names", `{"n\u0061me":"a"}`, `{"name":"b"}`, `{"name":"b"}`},
		{"nothing was known", ` { "x" : 1 } `, `{}`, `{"x":1}`},
	} {
		got, err := dt.Merge([]byte(c.stored), []byte(c.encoded))
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.name, got, err, c.want)
		}
	}
	for _, bad := range []string{``, `{`, `{}x`} {
		if _, err := dt.Merge([]byte(bad), []byte(`{}`)); err == nil {
			t.Errorf("stored %q is merged", bad)
		}
		if _, err := dt.Merge([]byte(`{}`), []byte(bad)); err == nil {
			t.Errorf("encoded %q is merged", bad)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		` { "b" : [ 1.0 , 1e2, -0, 1.50, 1E-7, 1e21, 123456789012345680000 ] , "a" : { } } `: `{"a":{},"b":[1,100,0,1.5,1e-7,1e+21,123456789012345680000]}`,
		`{"\u0061":"\u00e9\/\u003c\ud83d\ude00"}`:                                            `{"a":"é/<😀"}`,
		`{"b":1,"":2,"ab":3,"a":4}`:                                                          `{"":2,"a":4,"ab":3,"b":1}`,
		`"\u0001\n"`:                                                                         `"\u0001\n"`,
		`null`:                                                                               `null`,
		`[true,false]`:                                                                       `[true,false]`,
		`{"$float":"AAAAAAAAAIA="}`:                                                          `{"$float":"AAAAAAAAAIA="}`,
	} {
		got, err := doctype.Canonical([]byte(raw))
		if err != nil || string(got) != want {
			t.Errorf("Canonical(%s)\n got %s, %v\nwant %s", raw, got, err, want)
		}
		again, err := doctype.Canonical(got)
		if err != nil || string(again) != want {
			t.Errorf("Canonical is not its own canonical form: %s, %v", again, err)
		}
		if !doctype.Equal([]byte(raw), []byte(want)) {
			t.Errorf("Equal(%s, %s) is false", raw, want)
		}
	}
	for _, bad := range []string{``, `{`, `1e999`, `{"a":1,"a":1}`, `[1,]`, `{"$x":1}`, `nul`, "\"\xff\""} {
		if got, err := doctype.Canonical([]byte(bad)); err == nil {
			t.Errorf("Canonical(%q) = %s", bad, got)
		}
	}
	for _, pair := range [][2]string{{`1`, `2`}, {`{}`, `[]`}, {`{"a":1}`, `{"a":1,"b":2}`}, {`1`, `"1"`}, {`0`, `{"$float":"AAAAAAAAAIA="}`}, {`1`, `x`}, {`x`, `1`}} {
		if doctype.Equal([]byte(pair[0]), []byte(pair[1])) {
			t.Errorf("Equal(%s, %s)", pair[0], pair[1])
		}
	}
	if !doctype.Equal([]byte(`x`), []byte(`x`)) {
		t.Error("the same bytes are not equal")
	}
}
