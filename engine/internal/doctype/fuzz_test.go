package doctype_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

func seeds(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `[]`, `null`, `"`, `{"`, `{"a":`, `[1,`, `{"i":1e999999999}`, `{"f":{"$float":"AAAAAAAA+H8="}}`, `{"l":{"$integer":"AAAAAAAAAAA="}}`,
		`{"b":{"$bytes":"AAA="}}`, `{"b3":{"$bytes":"AAAA"}}`, `{"t":"2024-02-29T00:00:00.5+01:00"}`, `{"any":[{"":[[{}]]}],"m":{"a":"b"}}`,
		`{"sub":{"city":"\ud83d\ude00"},"kids":[{"kids":[]}]}`, "{\"a\":\"\xff\"}", `{"\ud800":1}`, `{"a":1,"\u0061":2}`, `[` + `[[[[[[`,
		`{"id":"user:1","byId":{"user:1":true},"ptr":-0,"null":[null,1.0]}`, `{"doc":{"_id":"address:1","_creationTime":1.5,"city":""}}`,
		`{"temp":{"x":{"deg":1}},"u":123456789012345678901234567890,"i8":-1.28e2}`, `{"any":{"$integer":1}}`, `{"any":{"$":1}}`, `{"i":00}`, "\x00",
	} {
		f.Add([]byte(s))
	}
}

// FuzzValidate holds three things for arbitrary bytes: nothing panics, a valid value decodes and encodes to an equal one as far
// as its type says, and everything that passes is JSON to encoding/json too.
func FuzzValidate(f *testing.F) {
	seeds(f)
	dt := compile[wire](f)
	loose := doctype.ValidateOptions{AllowUnknown: true, Doc: true}
	paths := []*doctype.Path{path(f, dt, "i"), path(f, dt, "-t"), path(f, dt, "sub.city"), path(f, dt, "b"), path(f, dt, "l")}
	f.Fuzz(func(t *testing.T, raw []byte) {
		found := dt.Validate(raw, doctype.ValidateOptions{})
		dt.Validate(raw, loose)
		for _, p := range paths {
			_, _, _ = p.AppendStored(nil, raw)
		}
		_, _ = dt.Merge(raw, []byte(`{}`))
		_, _ = dt.Merge([]byte(`{"sub":{"x":1},"m":{"y":[]}}`), raw)
		doctype.WithSystem("x", 1, raw)
		var v wire
		decodeErr := dt.Decode(raw, &v)
		canonical, err := doctype.Canonical(raw)
		if err == nil {
			if !json.Valid(raw) || !json.Valid(canonical) {
				t.Fatalf("%q passes as JSON, its canonical form is %q", raw, canonical)
			}
			if again, err := doctype.Canonical(canonical); err != nil || !bytes.Equal(again, canonical) {
				t.Fatalf("%q: canonical %q, then %q (%v)", raw, canonical, again, err)
			}
		}
		if len(found) > 0 {
			return
		}
		if err != nil {
			t.Fatalf("%q is valid but has no canonical form: %v", raw, err)
		}
		if len(v.Temp) > 0 || bytes.Contains(raw, []byte(`"temp"`)) {
			return // decodes by methods of its own
		}
		if decodeErr != nil {
			t.Fatalf("%q is valid but does not decode: %v", raw, decodeErr)
		}
		encoded, err := dt.Encode(v)
		if err != nil {
			t.Fatalf("%q is valid but does not encode again: %v", raw, err)
		}
		if again := dt.Validate(encoded, doctype.ValidateOptions{}); len(again) > 0 {
			t.Fatalf("%q is valid, encoded again as %q it is not: %v", raw, encoded, again)
		}
	})
}

// FuzzOracle looks for values that the walker and the general validator judge differently.
func FuzzOracle(f *testing.F) {
	seeds(f)
	f.Add([]byte(`{"min":"","must":"","list":["a","a"],"either":[],"map":{"":""}}`))
	dt := compile[limits](f)
	oracle, err := dt.Oracle()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !doctype.Checked(raw) || bytes.Contains(raw, []byte("$")) || bytes.Contains(raw, []byte(`\u00`)) {
			return
		}
		// The oracle computes with all digits; a float64 is what is stored.
		canonical, err := doctype.Canonical(raw)
		if err != nil {
			t.Fatal(err)
		}
		want, err := oracle.Validate(canonical)
		if err != nil {
			t.Fatal(err)
		}
		if got := dt.Validate(canonical, doctype.ValidateOptions{}); len(want) < 100 && plain(got) != plain(want) {
			t.Fatalf("%s\nwalker:\n%s\noracle:\n%s", canonical, plain(got), plain(want))
		}
	})
}
