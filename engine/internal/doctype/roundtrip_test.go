package doctype_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// seeded gives a generator and says how to get it again.
func seeded(t testing.TB, seed uint64) *rand.Rand {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

func TestWhatIsEncodedIsValidAndDecodesBack(t *testing.T) {
	t.Parallel()
	dt := compile[kitchen](t)
	r := seeded(t, 1)
	for range 3000 {
		var v, back kitchen
		fill(r, reflect.ValueOf(&v).Elem(), 3)
		raw, err := dt.Encode(&v)
		if err != nil {
			t.Fatalf("Encode(%+v): %v", v, err)
		}
		if found := dt.Validate(raw, doctype.ValidateOptions{}); len(found) > 0 {
			t.Fatalf("Validate(%s) = %v", raw, found)
		}
		if err := dt.Decode(raw, &back); err != nil {
			t.Fatalf("Decode(%s): %v", raw, err)
		}
		// Nil and empty lists are one value, so the encodings are compared.
		if again := encode(t, dt, back); again != string(raw) {
			t.Fatalf("decoded and encoded again:\n%s, was\n%s", again, raw)
		}
		if !reflect.DeepEqual(v.Scores, back.Scores) && len(v.Scores) > 0 || v.Str != back.Str || !v.At.Equal(back.At) || v.Big != back.Big {
			t.Fatalf("decoded %+v, was %+v", back, v)
		}
		canonical, err := doctype.Canonical(raw)
		if err != nil {
			t.Fatal(err)
		}
		if found := dt.Validate(canonical, doctype.ValidateOptions{}); len(found) > 0 || !doctype.Equal(raw, canonical) {
			t.Fatalf("canonical %s: %v", canonical, found)
		}
	}
}
