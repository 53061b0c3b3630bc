package doctype_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// garden nests what limits has.
type garden struct {
	limits
	ID     ID[user]                    `json:"id,omitempty"`
	At     time.Time                   `json:"at"`
	Email  string                      `json:"email,omitempty" jsonschema:"format=email"`
	Inner  limits                      `json:"inner"`
	Null   *limits                     `json:"null"`
	List   []*limits                   `json:"lists"`
	Named  map[string]*limits          `json:"named"`
	Anon   struct{ A, B *bool }        `json:"anon"`
	Choice *choice                     `json:"choice,omitempty"`
	Bank   []transfer                  `json:"bank"`
	Kids   []garden                    `json:"kids"`
	Matrix [2][]int                    `json:"matrix"`
	Tree   map[string]map[string][]int `json:"tree,omitempty"`
}

// Random values would break every limit, so these types are filled with lawful ones.

func (l *limits) fill(r *rand.Rand) {
	one := func() bool { return r.IntN(3) == 0 }
	*l = limits{Must: "x"}
	if one() {
		l.Min, l.Max, l.Pattern, l.Enum = "ab", "é€", "ab", "admin"
	}
	if one() {
		l.Low, l.High, l.Above, l.Below, l.Step, l.Even, l.Pick = ptr(0.1), 10, 4, 2.5, 0.3, -4, 2
	}
	if one() {
		l.List, l.Codes, l.Nums, l.Map = []string{"aa", "bb"}, codes{"a"}, []*int{nil, ptr(5)}, map[string]string{"a": "b"}
	}
	if one() {
		l.Maybe, l.Text, l.Either, l.Some, l.Byte = "x", "x", true, 1, -100
	}
}

func (c *choice) fill(*rand.Rand) { c.B = "x" }

func (x *transfer) fill(r *rand.Rand) {
	*x = []transfer{{Kind: "bank", IBAN: "x"}, {Kind: "gift", To: "user:1"}}[r.IntN(2)]
}

func (g *garden) fill(r *rand.Rand) {
	v := reflect.ValueOf(g).Elem()
	for i := 1; i < v.NumField(); i++ {
		if v.Type().Field(i).Name != "Kids" {
			fill(r, v.Field(i), 2)
		}
	}
	g.limits.fill(r)
	g.Email, g.Choice = "a@b.cd", &choice{A: "x"}
	if r.IntN(2) == 0 {
		g.Kids = append(g.Kids, garden{limits: g.limits, Inner: g.Inner})
	}
}

// pool holds values of every type, near the limits.
var pool = []string{
	`null`, `true`, `false`, `0`, `1`, `1.0`, `2`, `3`, `5`, `10`, `11`, `-1`, `0.1`, `0.3`, `0.35`, `2.5`, `1e2`, `9007199254740991`,
	`9007199254740992`, `1e300`, `""`, `"a"`, `"ab"`, `"abc"`, `"é€"`, `"😀"`, `"admin"`, `"user"`, `"bank"`, `"user:1"`, `"a@b.cd"`, `"a@b"`,
	`"2024-02-29T00:00:00Z"`, `"2023-02-29T00:00:00Z"`, `[]`, `["aa"]`, `["aa","aa"]`, `["a",1,null]`, `[1,1.0]`, `[[1],[2]]`, `{}`,
	`{"a":1}`, `{"a":"x","b":"y","c":"z"}`, `{"must":""}`, `{"a":null}`, `{"kind":"bank"}`, `{"kind":"x","to":"user:1"}`,
}

// mutate changes a random place of a decoded value.
func mutate(r *rand.Rand, v any) any {
	fresh := func() any {
		var x any
		if err := json.Unmarshal([]byte(pool[r.IntN(len(pool))]), &x); err != nil {
			panic(err)
		}
		return x
	}
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		switch {
		case len(keys) == 0 || r.IntN(8) == 0:
			v["extra"] = fresh()
		case r.IntN(6) == 0:
			delete(v, keys[r.IntN(len(keys))])
		default:
			k := keys[r.IntN(len(keys))]
			v[k] = mutate(r, v[k])
		}
		return v
	case []any:
		switch {
		case len(v) == 0 || r.IntN(4) == 0:
			return append(v, fresh())
		case r.IntN(4) == 0:
			return append(v, v[r.IntN(len(v))])
		}
		i := r.IntN(len(v))
		v[i] = mutate(r, v[i])
		return v
	}
	return fresh()
}

func plain(found []doctype.Issue) string {
	var b strings.Builder
	for _, i := range found {
		fmt.Fprintf(&b, "%s: %s\n", i.Path, i.Rule)
	}
	return b.String()
}

// TestWalkerAgreesWithTheOracle compares all issues, path by path, on values that are mostly right.
func TestWalkerAgreesWithTheOracle(t *testing.T) {
	t.Parallel()
	o := options()
	o.CheckID = nil // no schema could say that
	dt, err := doctype.Compile(reflect.TypeFor[garden](), o)
	if err != nil {
		t.Fatal(err)
	}
	oracle, err := dt.Oracle()
	if err != nil {
		t.Fatal(err)
	}
	r := seeded(t, 11)
	valid, invalid := 0, 0
	for range 2000 {
		var g garden
		fill(r, reflect.ValueOf(&g).Elem(), 3)
		raw, err := dt.Encode(&g)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(raw, &tree); err != nil {
			t.Fatal(err)
		}
		for range r.IntN(6) {
			tree = mutate(r, tree)
		}
		if raw, err = json.Marshal(tree); err != nil {
			t.Fatal(err)
		}
		if !doctype.Checked(raw) || bytes.Contains(raw, []byte(`"$`)) {
			continue
		}
		want, err := oracle.Validate(raw)
		if err != nil {
			t.Fatal(err)
		}
		got := dt.Validate(raw, doctype.ValidateOptions{})
		if len(want) < 100 && plain(got) != plain(want) {
			t.Fatalf("%s\nwalker:\n%s\noracle:\n%s", raw, plain(got), plain(want))
		}
		if len(want) == 0 {
			valid++
			var back garden
			if err := dt.Decode(raw, &back); err != nil {
				t.Fatalf("%s is valid but does not decode: %v", raw, err)
			}
		} else {
			invalid++
		}
	}
	if valid < 100 || invalid < 100 {
		t.Errorf("%d valid and %d invalid values show little", valid, invalid)
	}
}

// TestOracleAcceptsWhatIsEncoded holds the published schema to the special objects as well.
func TestOracleAcceptsWhatIsEncoded(t *testing.T) {
	t.Parallel()
	dt := compile[kitchen](t)
	oracle, err := dt.Oracle()
	if err != nil {
		t.Fatal(err)
	}
	r := seeded(t, 12)
	for range 500 {
		var v kitchen
		fill(r, reflect.ValueOf(&v).Elem(), 3)
		raw, err := dt.Encode(&v)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("$float")) {
			continue // which the schema does not say
		}
		if found, err := oracle.Validate(raw); err != nil || len(found) > 0 {
			t.Fatalf("%s: %v %v", raw, found, err)
		}
	}
}
