package doctype_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

// indexed has a field of every sort that can be indexed.
type indexed struct {
	Bool  bool           `json:"bool"`
	Int   int64          `json:"int"`
	Uint  uint16         `json:"uint"`
	Float float64        `json:"float"`
	Str   role           `json:"str"`
	Ref   ID[user]       `json:"ref"`
	At    time.Time      `json:"at"`
	Big   Int64          `json:"big"`
	Bytes []byte         `json:"bytes"`
	Fixed [2]byte        `json:"fixed"`
	Opt   *int           `json:"opt,omitempty"`
	Null  *string        `json:"null"`
	Net   netip.Addr     `json:"net"`
	Sub   *address       `json:"sub,omitempty"`
	List  []int          `json:"list"`
	Any   any            `json:"any"`
	Map   map[string]int `json:"map"`
}

func path(tb testing.TB, dt *doctype.Type, p string) *doctype.Path {
	tb.Helper()
	out, err := dt.Path(p)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// checkOrder compares the keys of random values, stored and given, with the natural order.
func checkOrder[V any](t *testing.T, field string, gen func(r *rand.Rand) V, compare func(a, b V) int, set func(d *indexed, v V)) {
	t.Helper()
	dt := compile[indexed](t)
	up, down := path(t, dt, field), path(t, dt, "-"+field)
	if !down.Descending() || up.Descending() || down.Name() != field {
		t.Fatalf("directions of %s are mixed up", field)
	}
	r := seeded(t, 7)
	type keyed struct {
		v         V
		asc, desc []byte
	}
	var all []keyed
	for range 300 {
		v := gen(r)
		var d indexed
		set(&d, v)
		raw := encode(t, dt, d)
		asc, present, err := up.AppendStored([]byte("prefix"), []byte(raw))
		if err != nil || !present {
			t.Fatalf("AppendStored(%s): present %v, %v", raw, present, err)
		}
		given, err := up.AppendValue([]byte("prefix"), v)
		if err != nil || !bytes.Equal(given, asc) {
			t.Fatalf("%s: stored %v has key %x, given %x (%v)", field, v, asc, given, err)
		}
		desc, _, err := down.AppendStored([]byte("prefix"), []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		given, err = down.AppendValue([]byte("prefix"), &v)
		if err != nil || !bytes.Equal(given, desc) {
			t.Fatalf("%s: stored %v has descending key %x, given %x (%v)", field, v, desc, given, err)
		}
		all = append(all, keyed{v, asc, desc})
	}
	for _, a := range all {
		for _, b := range all {
			want := compare(a.v, b.v)
			if got := bytes.Compare(a.asc, b.asc); got != want {
				t.Fatalf("%s: %v against %v: keys %d, values %d", field, a.v, b.v, got, want)
			}
			if got := bytes.Compare(a.desc, b.desc); got != -want {
				t.Fatalf("-%s: %v against %v: keys %d, values %d", field, a.v, b.v, got, want)
			}
		}
	}
}

func TestKeysOrderAsValuesDo(t *testing.T) {
	t.Parallel()
	checkOrder(t, "bool", func(r *rand.Rand) bool { return r.IntN(2) == 0 }, func(a, b bool) int {
		return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
	}, func(d *indexed, v bool) { d.Bool = v })
	checkOrder(t, "int", func(r *rand.Rand) int64 { return (r.Int64N(1<<54) - 1<<53 + 1) >> r.IntN(54) }, cmp.Compare[int64],
		func(d *indexed, v int64) { d.Int = v })
	checkOrder(t, "uint", func(r *rand.Rand) uint16 { return uint16(r.Uint32()) }, cmp.Compare[uint16],
		func(d *indexed, v uint16) { d.Uint = v })
	checkOrder(t, "float", float, cmp.Compare[float64], func(d *indexed, v float64) { d.Float = v })
	checkOrder(t, "str", func(r *rand.Rand) role { return role(text(r)) }, cmp.Compare[role], func(d *indexed, v role) { d.Str = v })
	checkOrder(t, "ref", func(r *rand.Rand) ID[user] { return ID[user](text(r)) }, cmp.Compare[ID[user]],
		func(d *indexed, v ID[user]) { d.Ref = v })
	checkOrder(t, "at", func(r *rand.Rand) time.Time {
		zone := time.FixedZone("", (r.IntN(24)-12)*3600)
		return time.Unix(r.Int64N(1<<37)-1<<35, r.Int64N(3)).In(zone)
	}, time.Time.Compare, func(d *indexed, v time.Time) { d.At = v })
	checkOrder(t, "big", func(r *rand.Rand) Int64 { return Int64(r.Uint64()) >> r.IntN(64) }, cmp.Compare[Int64],
		func(d *indexed, v Int64) { d.Big = v })
	checkOrder(t, "bytes", func(r *rand.Rand) []byte { return []byte(text(r)) }, bytes.Compare, func(d *indexed, v []byte) { d.Bytes = v })
	checkOrder(t, "fixed", func(r *rand.Rand) [2]byte { return [2]byte{byte(r.Uint32()), byte(r.Uint32() % 3)} }, func(a, b [2]byte) int {
		return bytes.Compare(a[:], b[:])
	}, func(d *indexed, v [2]byte) { d.Fixed = v })
	checkOrder(t, "sub.city", text, cmp.Compare[string], func(d *indexed, v string) { d.Sub = &address{City: v} })
	checkOrder(t, "opt", func(r *rand.Rand) int { return r.IntN(100) - 50 }, cmp.Compare[int], func(d *indexed, v int) { d.Opt = &v })
}

func TestPathOfSystemMembers(t *testing.T) {
	t.Parallel()
	dt := compile[indexed](t)
	created, id := path(t, dt, "_creationTime"), path(t, dt, "-_id")
	r := seeded(t, 3)
	for range 1000 {
		micros := r.Int64N(4e15)
		raw := doctype.WithSystem("indexed:1", micros, []byte(`{}`))
		stored, present, err := created.AppendStored(nil, raw)
		if err != nil || !present {
			t.Fatal(present, err)
		}
		given, err := created.AppendValue(nil, time.UnixMicro(micros))
		if err != nil || !bytes.Equal(stored, given) {
			t.Fatalf("%d µs: stored %x, given %x, %v", micros, stored, given, err)
		}
	}
	stored, _, err := id.AppendStored(nil, doctype.WithSystem("indexed:1", 1, []byte(`{}`)))
	if err != nil {
		t.Fatal(err)
	}
	given, err := id.AppendValue(nil, ID[indexed]("indexed:1"))
	if err != nil || !bytes.Equal(stored, given) {
		t.Errorf("stored %x, given %x, %v", stored, given, err)
	}
}

func TestKeysOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	dt := compile[indexed](t)
	for _, c := range []struct {
		path, raw string
		want      []byte
	}{
		{"opt", `{}`, keyenc.AppendMissing(nil)},
		{"opt", `{"opt":null}`, keyenc.AppendNull(nil)},
		{"sub.city", `{}`, keyenc.AppendMissing(nil)},
		{"sub.city", `{"sub":null}`, keyenc.AppendMissing(nil)},
		{"sub.city", `{"sub":[{"city":"x"}]}`, keyenc.AppendMissing(nil)},
		{"sub.city", `{"sub":{}}`, keyenc.AppendMissing(nil)},
	} {
		p := path(t, dt, c.path)
		key, present, err := p.AppendStored(nil, []byte(c.raw))
		if err != nil || present || !bytes.Equal(key, c.want) {
			t.Errorf("%s in %s: %x, present %v, %v; want %x", c.path, c.raw, key, present, err, c.want)
		}
	}
	for _, v := range []any{nil, (*int)(nil)} {
		key, err := path(t, dt, "opt").AppendValue(nil, v)
		if err != nil || !bytes.Equal(key, keyenc.AppendNull(nil)) {
			t.Errorf("key of %#v: %x, %v", v, key, err)
		}
	}
}

// Documents of older programs must stay indexable, or they could not even be deleted.
func TestKeysOfOlderDocuments(t *testing.T) {
	t.Parallel()
	dt := compile[indexed](t)
	for field, values := range map[string][]string{
		"at":  {`"yesterday"`, `5`, `true`, `[1]`, `{"a":1}`, `{"$bytes":"AA=="}`},
		"big": {`5`, `5.5`, `"5"`, `1e30`},
		"int": {`{"$integer":"AAAAAAAAAAA="}`, `1e400`, `-1e400`, `"x"`},
	} {
		p := path(t, dt, field)
		seen := map[string]string{}
		for _, v := range values {
			key, present, err := p.AppendStored(nil, []byte(`{"`+field+`":`+v+`}`))
			if err != nil || !present {
				t.Errorf("%s: %s: present %v, %v", field, v, present, err)
			}
			if other, twice := seen[string(key)]; twice {
				t.Errorf("%s: %s and %s have one key", field, v, other)
			}
			seen[string(key)] = v
		}
	}
	five, err := path(t, dt, "big").AppendValue(nil, 5)
	stored, _, _ := path(t, dt, "big").AppendStored(nil, []byte(`{"big":5}`))
	if err != nil || !bytes.Equal(five, stored) {
		t.Errorf("5 stored as an ordinary integer has key %x, as a large one %x", stored, five)
	}
	if _, _, err := path(t, dt, "int").AppendStored(nil, []byte(`{"int":`)); err == nil {
		t.Error("what is not JSON has a key")
	}
}

func TestPathRefuses(t *testing.T) {
	t.Parallel()
	dt := compile[indexed](t)
	for p, want := range map[string]string{
		"nope": `no member "nope"`, "": `no member ""`, "sub": "no order", "sub.nope": `no member "nope"`, "list": "no order",
		"any": "no order", "map": "no order", "map.k": "map is a map", "str.x": "str is a", "-": `no member ""`, "--int": `"-int"`,
		"list.0": "list is a", "_other": "no member",
	} {
		if _, err := dt.Path(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Path(%q): %v, want %q", p, err, want)
		}
	}
	if _, err := compile[int](t).Path("x"); err == nil || !strings.Contains(err.Error(), "int") {
		t.Errorf("Path of an int: %v", err)
	}
}

func TestAppendValueChecksItsValue(t *testing.T) {
	t.Parallel()
	dt := compile[indexed](t)
	type kilo int32
	fits := map[string][]any{
		"bool": {true}, "int": {1, int8(1), uint(1), 1.5, kilo(1), ptr(1)}, "float": {1, 1.5, float32(1)},
		"str": {"a", role("a"), ID[user]("a")}, "ref": {"user:1", ID[user]("user:1"), ptr(ID[user]("user:1"))},
		"at": {time.Now()}, "big": {1, Int64(1), uint64(1)}, "bytes": {[]byte{1}, [2]byte{1}}, "net": {netip.MustParseAddr("::1")},
		"_creationTime": {time.Now(), 1.5}, "_id": {"x", ID[indexed]("x")},
	}
	names := []string{}
	for name := range fits {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range fits[name] {
			if _, err := path(t, dt, name).AppendValue(nil, v); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, values := range map[string][]any{
		"bool": {1, "true"}, "int": {"1", true, time.Now()}, "float": {"1"}, "str": {1, []byte("a")},
		"ref": {ID[address]("address:1"), role("x"), 1}, "at": {"2024-01-01T00:00:00Z", 1}, "big": {uint64(math.MaxUint64), 1.5},
		"bytes": {"a", []int{1}}, "net": {"::1"}, "_id": {1}, "_creationTime": {"x"},
	} {
		for _, v := range values {
			_, err := path(t, dt, name).AppendValue(nil, v)
			var ve *doctype.ValueError
			if !errors.As(err, &ve) || ve.Path != name || !strings.Contains(ve.Message, reflect.TypeOf(v).String()) {
				t.Errorf("%s against a %T: %v", name, v, err)
			}
		}
	}
}

func TestAppendPrefix(t *testing.T) {
	t.Parallel()
	dt := compile[indexed](t)
	for _, p := range []*doctype.Path{path(t, dt, "str"), path(t, dt, "-str")} {
		prefix, err := p.AppendPrefix([]byte("x"), "ab")
		if err != nil {
			t.Fatal(err)
		}
		for s, want := range map[string]bool{"ab": true, "abc": true, "ab\x00": true, "a": false, "b": false, "": false} {
			key, err := p.AppendValue([]byte("x"), s)
			if err != nil || bytes.HasPrefix(key, prefix) != want {
				t.Errorf("%q begins with %q: %v, want %v (%v)", s, "ab", !want, want, err)
			}
		}
	}
	if _, err := path(t, dt, "int").AppendPrefix(nil, "1"); err == nil {
		t.Error("numbers have prefixes")
	}
}
