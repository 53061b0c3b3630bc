package keyenc_test

import (
	"bytes"
	"cmp"
	"math"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

// FuzzNext feeds any bytes to the decoder. What it accepts must be exactly what the encoder writes.
func FuzzNext(f *testing.F) {
	for _, desc := range []bool{false, true} {
		for _, v := range []value{
			{keyenc.KindMissing, nil},
			{keyenc.KindNull, nil},
			{keyenc.KindFalse, false},
			{keyenc.KindTrue, true},
			{keyenc.KindNumber, -1.5},
			{keyenc.KindNumber, math.NaN()},
			{keyenc.KindInt64, int64(7)},
			{keyenc.KindTime, time.Unix(1, 2)},
			{keyenc.KindString, "a\x00b"},
			{keyenc.KindBytes, []byte{0xff, 0}},
		} {
			f.Add(append(encode(nil, v, desc), 'x'))
		}
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		before := bytes.Clone(key)
		c, rest, err := keyenc.Next(key)
		if !bytes.Equal(key, before) {
			t.Fatalf("the key was changed from %x to %x", before, key)
		}
		if err != nil {
			return
		}
		if got := append(encode(nil, value{c.Kind, c.Value}, c.Descending), rest...); !bytes.Equal(got, key) {
			t.Fatalf("%x decodes to %v, which encodes to %x", key, c, got)
		}
	})
}

// FuzzStringOrder looks for two strings whose keys, with anything behind them, order otherwise than they do.
func FuzzStringOrder(f *testing.F) {
	f.Add("a", "a\x00", "", "\xff")
	f.Add("a\x00", "a\x00\xff", "\x00", "")
	f.Fuzz(func(t *testing.T, a, b, tailA, tailB string) {
		if a == b {
			tailA = tailB
		}
		for _, desc := range []bool{false, true} {
			x := append(encode(nil, value{keyenc.KindString, a}, desc), tailA...)
			y := append(encode(nil, value{keyenc.KindString, b}, desc), tailB...)
			want := cmp.Compare(a, b)
			if desc {
				want = -want
			}
			if got := bytes.Compare(x, y); got != want {
				t.Fatalf("%x against %x: %d, want %d", x, y, got, want)
			}
		}
	})
}

// FuzzNumberOrder looks for two doubles, given as bits so that every NaN is among them, whose keys order otherwise.
func FuzzNumberOrder(f *testing.F) {
	f.Add(math.Float64bits(1), math.Float64bits(-1))
	f.Add(uint64(0), uint64(1)<<63)
	f.Add(math.Float64bits(math.Inf(1)), math.Float64bits(math.NaN())|1<<63)
	f.Fuzz(func(t *testing.T, a, b uint64) {
		x := value{keyenc.KindNumber, math.Float64frombits(a)}
		y := value{keyenc.KindNumber, math.Float64frombits(b)}
		if got, want := bytes.Compare(encode(nil, x, false), encode(nil, y, false)), compare(x, y); got != want {
			t.Fatalf("%v against %v: %d, want %d", x, y, got, want)
		}
	})
}
