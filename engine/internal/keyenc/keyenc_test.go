package keyenc_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
	"pgregory.net/rapid"
)

// TestFormat pins the stored bytes: a change here is a change of every database on disk.
func TestFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"missing", keyenc.AppendMissing(nil), "\x08"},
		{"null", keyenc.AppendNull(nil), "\x10"},
		{"false", keyenc.AppendBool(nil, false), "\x18"},
		{"true", keyenc.AppendBool(nil, true), "\x20"},
		{"zero", keyenc.AppendNumber(nil, 0), "\x28\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"minus zero", keyenc.AppendNumber(nil, math.Copysign(0, -1)), "\x28\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"one", keyenc.AppendNumber(nil, 1), "\x28\xbf\xf0\x00\x00\x00\x00\x00\x00"},
		{"minus one", keyenc.AppendNumber(nil, -1), "\x28\x40\x0f\xff\xff\xff\xff\xff\xff"},
		{"nan", keyenc.AppendNumber(nil, math.NaN()), "\x28\xff\xf8\x00\x00\x00\x00\x00\x01"},
		{"int64", keyenc.AppendInt64(nil, -2), "\x30\x7f\xff\xff\xff\xff\xff\xff\xfe"},
		{"zero time", keyenc.AppendTime(nil, time.Time{}), "\x38\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"epoch", keyenc.AppendTime(nil, time.Unix(0, 7)), "\x38\x80\x00\x00\x0e\x77\x91\xf7\x00\x00\x00\x00\x07"},
		{"string", keyenc.AppendString(nil, "a\x00b"), "\x40a\x00\xffb\x00\x01"},
		{"empty string", keyenc.AppendString(nil, ""), "\x40\x00\x01"},
		{"bytes", keyenc.AppendBytes(nil, []byte{0, 0xff}), "\x48\x00\xff\xff\x00\x01"},
		{"nil bytes", keyenc.AppendBytes(nil, nil), "\x48\x00\x01"},
		{"after others", keyenc.AppendNull([]byte("x")), "x\x10"},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s: %x, want %x", c.name, c.got, c.want)
		}
	}
}

// TestOrderTable is the order as a person would write it down, with the neighbours that naive encodings get wrong.
func TestOrderTable(t *testing.T) {
	t.Parallel()
	num := func(f float64) value { return value{keyenc.KindNumber, f} }
	str := func(s string) value { return value{keyenc.KindString, s} }
	sorted := []value{
		{keyenc.KindMissing, nil},
		{keyenc.KindNull, nil},
		{keyenc.KindFalse, false},
		{keyenc.KindTrue, true},
		num(math.Inf(-1)), num(-math.MaxFloat64), num(-2), num(-1), num(-math.SmallestNonzeroFloat64),
		num(0), num(math.SmallestNonzeroFloat64), num(1), num(1.5), num(2), num(10), num(math.MaxFloat64), num(math.Inf(1)),
		num(math.NaN()),
		{keyenc.KindInt64, int64(math.MinInt64)},
		{keyenc.KindInt64, int64(-1)},
		{keyenc.KindInt64, int64(0)},
		{keyenc.KindInt64, int64(math.MaxInt64)},
		{keyenc.KindTime, time.Time{}.Add(-1)},
		{keyenc.KindTime, time.Time{}},
		{keyenc.KindTime, time.Unix(-1, 0)},
		{keyenc.KindTime, time.Unix(-1, 999_999_999)},
		{keyenc.KindTime, time.Unix(0, 0)},
		{keyenc.KindTime, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{keyenc.KindTime, time.Date(200_000_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		str(""), str("\x00"), str("\x00\x00"), str("\x00\x01"), str("\x00\xff"), str("\x01"),
		str("a"), str("a\x00"), str("a\x00b"), str("a\x01"), str("aa"), str("b"), str("é"), str("\uffff"), str("😀"), str("\xff"),
		{keyenc.KindBytes, []byte(nil)},
		{keyenc.KindBytes, []byte{0}},
		{keyenc.KindBytes, []byte{0, 0}},
		{keyenc.KindBytes, []byte{0xff}},
		{keyenc.KindBytes, []byte{0xff, 0}},
	}
	for i, a := range sorted {
		for j, b := range sorted {
			want := 0
			if i != j {
				want = 1 - 2*b2i(i < j)
			}
			if got := bytes.Compare(encode(nil, a, false), encode(nil, b, false)); got != want {
				t.Errorf("%v against %v: %d, want %d", a, b, got, want)
			}
			if got := bytes.Compare(encode(nil, a, true), encode(nil, b, true)); got != -want {
				t.Errorf("descending %v against %v: %d, want %d", a, b, got, -want)
			}
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestOrderOfPairs(t *testing.T) {
	t.Parallel()
	draw := newDraws()
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.value.Draw(t, "a"), draw.value.Draw(t, "b")
		desc := rapid.Bool().Draw(t, "desc")
		x, y := encode(nil, a, desc), encode(nil, b, desc)
		want := compare(a, b)
		if desc {
			want = -want
		}
		if got := bytes.Compare(x, y); got != want {
			t.Fatalf("%x against %x: %d, want %d", x, y, got, want)
		}
		if want != 0 && (bytes.HasPrefix(x, y) || bytes.HasPrefix(y, x)) {
			t.Fatalf("one of %x and %x is a prefix of the other", x, y)
		}
	})
}

// TestOrderOfCompoundKeys draws a schema of directions and two rows of values, the second often with a part of the first,
// and puts a tail of any bytes behind both keys: what follows must not change the order of different keys.
func TestOrderOfCompoundKeys(t *testing.T) {
	t.Parallel()
	draw := newDraws()
	rapid.Check(t, func(t *rapid.T) {
		directions := rapid.SliceOfN(rapid.Bool(), 1, 4).Draw(t, "descending")
		var x, y []byte
		want := 0
		for _, desc := range directions {
			a := draw.value.Draw(t, "a")
			b := a
			if rapid.Bool().Draw(t, "differ") {
				b = draw.value.Draw(t, "b")
			}
			x, y = encode(x, a, desc), encode(y, b, desc)
			if want == 0 {
				want = compare(a, b)
				if desc {
					want = -want
				}
			}
		}
		if want != 0 {
			x = append(x, draw.bytes.Draw(t, "tail of a")...)
			y = append(y, draw.bytes.Draw(t, "tail of b")...)
		}
		if got := bytes.Compare(x, y); got != want {
			t.Fatalf("%x against %x: %d, want %d", x, y, got, want)
		}
	})
}

func TestComplementTakesFromOnly(t *testing.T) {
	t.Parallel()
	key := []byte{1, 2, 3}
	keyenc.Complement(key, 1)
	if want := []byte{1, 0xfd, 0xfc}; !bytes.Equal(key, want) {
		t.Fatalf("%x, want %x", key, want)
	}
	keyenc.Complement(key, 1)
	keyenc.Complement(key, 3)
	keyenc.Complement(key, 4)
	if want := []byte{1, 2, 3}; !bytes.Equal(key, want) {
		t.Fatalf("%x, want %x", key, want)
	}
	keyenc.Complement(key, -1)
	if want := []byte{0xfe, 0xfd, 0xfc}; !bytes.Equal(key, want) {
		t.Fatalf("%x, want %x", key, want)
	}
}

func TestPrefixEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ prefix, want []byte }{
		{nil, nil},
		{[]byte{}, nil},
		{[]byte{0xff}, nil},
		{[]byte{0xff, 0xff}, nil},
		{[]byte{0}, []byte{1}},
		{[]byte{1, 0xff}, []byte{2}},
		{[]byte{1, 0xff, 2}, []byte{1, 0xff, 3}},
		{[]byte{0xff, 0xfe, 0xff}, []byte{0xff, 0xff}},
	} {
		before := bytes.Clone(c.prefix)
		got := keyenc.PrefixEnd(c.prefix)
		if !bytes.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("PrefixEnd(%x) = %x, want %x", c.prefix, got, c.want)
		}
		if !bytes.Equal(c.prefix, before) {
			t.Errorf("PrefixEnd changed its argument from %x to %x", before, c.prefix)
		}
	}
	draw := newDraws()
	rapid.Check(t, func(t *rapid.T) {
		prefix, key := draw.bytes.Draw(t, "prefix"), draw.bytes.Draw(t, "key")
		if rapid.Bool().Draw(t, "below") {
			key = slices.Concat(prefix, key)
		}
		hi := keyenc.PrefixEnd(prefix)
		inside := bytes.Compare(key, prefix) >= 0 && (hi == nil || bytes.Compare(key, hi) < 0)
		if inside != bytes.HasPrefix(key, prefix) {
			t.Fatalf("key %x in [%x, %x) is %v", key, prefix, hi, inside)
		}
	})
}

// TestStringPrefix scans by prefix: the range must hold the strings that begin with it and nothing else, either direction,
// as the second component of a key.
func TestStringPrefix(t *testing.T) {
	t.Parallel()
	draw := newDraws()
	rapid.Check(t, func(t *rapid.T) {
		prefix := draw.text.Draw(t, "prefix")
		v := draw.value.Draw(t, "value")
		if rapid.Bool().Draw(t, "below") {
			v = value{keyenc.KindString, prefix + draw.text.Draw(t, "rest")}
		}
		desc := rapid.Bool().Draw(t, "desc")

		head := encode(nil, draw.value.Draw(t, "head"), rapid.Bool().Draw(t, "head desc"))
		lo := keyenc.StringPrefix(bytes.Clone(head), prefix)
		if desc {
			keyenc.Complement(lo, len(head))
		}
		hi := keyenc.PrefixEnd(lo)
		key := append(encode(bytes.Clone(head), v, desc), draw.bytes.Draw(t, "tail")...)

		s, isString := v.v.(string)
		want := isString && len(s) >= len(prefix) && s[:len(prefix)] == prefix
		if hi == nil {
			t.Fatalf("no end for %x", lo)
		}
		if got := bytes.Compare(lo, key) <= 0 && bytes.Compare(key, hi) < 0; got != want {
			t.Fatalf("key %x in [%x, %x) is %v", key, lo, hi, got)
		}
	})
}

func TestNextRoundTrip(t *testing.T) {
	t.Parallel()
	draw := newDraws()
	rapid.Check(t, func(t *rapid.T) {
		var key []byte
		var values []value
		var directions []bool
		for range rapid.IntRange(1, 4).Draw(t, "components") {
			values = append(values, draw.value.Draw(t, "value"))
			directions = append(directions, rapid.Bool().Draw(t, "desc"))
			key = encode(key, values[len(values)-1], directions[len(directions)-1])
		}
		rest := key
		for i, v := range values {
			var c keyenc.Component
			var err error
			c, rest, err = keyenc.Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			if c.Kind != v.kind || c.Descending != directions[i] || compare(value{c.Kind, c.Value}, v) != 0 {
				t.Fatalf("component %d of %x is %v (%v), want %v, descending %v", i, key, c, c.Kind, v, directions[i])
			}
		}
		if len(rest) != 0 {
			t.Fatalf("%x left over", rest)
		}
	})
}

func TestNextRefuses(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"", "\x00", "\xff", "\x01", "\x7f", "\x80", "\x50",
		"\x28", "\x28\x80\x00\x00\x00\x00\x00\x00", // cut short
		"\x28\x7f\xff\xff\xff\xff\xff\xff\xff", // -0
		"\x28\xff\xf8\x00\x00\x00\x00\x00\x02", // another NaN
		"\x28\x00\x00\x00\x00\x00\x00\x00\x00", // a negative NaN
		"\x30\x00", "\x38\x80\x00\x00\x00\x00\x00\x00\x00", "\x38\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x38\x80\x00\x00\x00\x00\x00\x00\x00\x3b\x9a\xca\x00", // a whole second of nanoseconds
		"\x40", "\x40a", "\x40a\x00", "\x40a\x00\xff", "\x40\x00\x02", "\x48\x00\x00",
	} {
		for _, desc := range []bool{false, true} {
			in := []byte(key)
			if desc {
				keyenc.Complement(in, 0)
			}
			c, rest, err := keyenc.Next(in)
			if !errors.Is(err, keyenc.ErrMalformed) || c != (keyenc.Component{}) || rest != nil {
				t.Errorf("Next(%x) = %v, %x, %v", in, c, rest, err)
			}
		}
	}
}

func TestComponentString(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    value
		desc bool
		want string
	}{
		{value{keyenc.KindMissing, nil}, false, "missing"},
		{value{keyenc.KindNull, nil}, true, "null desc"},
		{value{keyenc.KindTrue, true}, false, "true"},
		{value{keyenc.KindNumber, 1.5}, false, "1.5"},
		{value{keyenc.KindInt64, int64(-7)}, true, "-7n desc"},
		{value{keyenc.KindTime, time.Unix(0, 5)}, false, "1970-01-01T00:00:00.000000005Z"},
		{value{keyenc.KindString, "a\x00"}, true, `"a\x00" desc`},
		{value{keyenc.KindBytes, []byte{0, 255}}, false, "x'00ff'"},
	} {
		got, _, err := keyenc.Next(encode(nil, c.v, c.desc))
		if err != nil || got.String() != c.want {
			t.Errorf("%v: %q, %v, want %q", c.v, got.String(), err, c.want)
		}
	}
	if got := keyenc.Kind(0x7f).String(); got != "unknown" {
		t.Errorf("a kind that is none is called %q", got)
	}
}

// TestAppendDoesNotAllocate keeps index maintenance off the garbage collector's back: a reused buffer must do.
func TestAppendDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 256)
	now := time.Unix(1, 2)
	if n := testing.AllocsPerRun(100, func() {
		b := keyenc.AppendString(buf, "a string\x00with a zero")
		b = keyenc.AppendTime(keyenc.AppendInt64(keyenc.AppendNumber(b, 4.5), 9), now)
		keyenc.Complement(b, 4)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
