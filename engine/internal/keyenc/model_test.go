package keyenc_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
	"pgregory.net/rapid"
)

// value is what the tests encode: any value of any kind, as Component.Value has it.
type value struct {
	kind keyenc.Kind
	v    any
}

func (v value) String() string { return fmt.Sprintf("%v(%v)", v.kind, v.v) }

// encode appends v, complemented when desc is set.
func encode(dst []byte, v value, desc bool) []byte {
	from := len(dst)
	switch v.kind {
	case keyenc.KindMissing:
		dst = keyenc.AppendMissing(dst)
	case keyenc.KindNull:
		dst = keyenc.AppendNull(dst)
	case keyenc.KindFalse, keyenc.KindTrue:
		dst = keyenc.AppendBool(dst, v.v.(bool))
	case keyenc.KindNumber:
		dst = keyenc.AppendNumber(dst, v.v.(float64))
	case keyenc.KindInt64:
		dst = keyenc.AppendInt64(dst, v.v.(int64))
	case keyenc.KindTime:
		dst = keyenc.AppendTime(dst, v.v.(time.Time))
	case keyenc.KindString:
		dst = keyenc.AppendString(dst, v.v.(string))
	case keyenc.KindBytes:
		dst = keyenc.AppendBytes(dst, v.v.([]byte))
	}
	if desc {
		keyenc.Complement(dst, from)
	}
	return dst
}

// ranks states the order of the kinds a second time, independent of the tags.
var ranks = map[keyenc.Kind]int{
	keyenc.KindMissing: 0, keyenc.KindNull: 1, keyenc.KindFalse: 2, keyenc.KindTrue: 3, keyenc.KindNumber: 4,
	keyenc.KindInt64: 5, keyenc.KindTime: 6, keyenc.KindString: 7, keyenc.KindBytes: 8,
}

// compare is the order that the encodings must have, by Go's own comparisons.
func compare(a, b value) int {
	if c := cmp.Compare(ranks[a.kind], ranks[b.kind]); c != 0 {
		return c
	}
	switch x := a.v.(type) {
	case float64:
		y := b.v.(float64)
		switch {
		case math.IsNaN(x) || math.IsNaN(y): // cmp.Compare puts NaN first
			return -cmp.Compare(x, y)
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	case int64:
		return cmp.Compare(x, b.v.(int64))
	case time.Time:
		return x.Compare(b.v.(time.Time))
	case string:
		return strings.Compare(x, b.v.(string))
	case []byte:
		return bytes.Compare(x, b.v.([]byte))
	}
	return 0
}

// draws are the generators of a test. Each test makes its own: rapid's may not be shared by tests that run in parallel.
type draws struct {
	bytes *rapid.Generator[[]byte]
	text  *rapid.Generator[string]
	value *rapid.Generator[value]
}

func newDraws() draws {
	// Few letters, so that equal strings, prefixes and the bytes with a meaning come up often.
	raw := rapid.SliceOfN(rapid.SampledFrom([]byte{0x00, 0x01, 'a', 0x7f, 0x80, 0xfe, 0xff}), 0, 5)
	text := rapid.OneOf(rapid.Map(raw, func(b []byte) string { return string(b) }), rapid.String())
	number := rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Uint64(), math.Float64frombits),
		rapid.SampledFrom([]float64{
			0, math.Copysign(0, -1), 1, -1, math.NaN(), math.Float64frombits(1<<63 | 0x7ff<<52 | 1), math.Inf(1), math.Inf(-1),
			math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 1 << 53, 1<<53 - 1,
		}))
	integer := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-3, 3),
		rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64 - 1, math.MaxInt64}))
	nanos := rapid.OneOf(rapid.Int64Range(0, 999_999_999), rapid.SampledFrom([]int64{0, 1, 999_999_999}))
	zone := rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("east", 13*3600)})
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(integer.Draw(t, "seconds"), nanos.Draw(t, "nanos")).In(zone.Draw(t, "zone"))
	})
	return draws{bytes: raw, text: text, value: rapid.OneOf(
		rapid.SampledFrom([]value{
			{keyenc.KindMissing, nil},
			{keyenc.KindNull, nil},
			{keyenc.KindFalse, false},
			{keyenc.KindTrue, true},
		}),
		rapid.Map(number, func(v float64) value { return value{keyenc.KindNumber, v} }),
		rapid.Map(integer, func(v int64) value { return value{keyenc.KindInt64, v} }),
		rapid.Map(instant, func(v time.Time) value { return value{keyenc.KindTime, v} }),
		rapid.Map(text, func(v string) value { return value{keyenc.KindString, v} }),
		rapid.Map(raw, func(v []byte) value { return value{keyenc.KindBytes, v} }),
	)}
}
