package doctype_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// manyMembers gives an object of n members m0, m1, … whose value at i is i, in the given direction.
func manyMembers(n int, backwards bool, extra ...string) string {
	parts := make([]string, n)
	for i := range parts {
		at := i
		if backwards {
			at = n - 1 - i
		}
		parts[at] = fmt.Sprintf(`"m%d":%d`, i, i)
	}
	return "{" + strings.Join(append(parts, extra...), ",") + "}"
}

func TestLargeObjects(t *testing.T) {
	t.Parallel()
	dt := compile[map[string]int](t)
	for _, n := range []int{1, 31, 32, 33, 34, 1000} {
		raw := manyMembers(n, false)
		if got := issues(dt, raw, doctype.ValidateOptions{}); got != "" {
			t.Errorf("%d members: %s", n, got)
		}
		for _, twice := range []int{0, n / 2, n - 1} {
			name := fmt.Sprintf("m%d", twice)
			if got := issues(dt, manyMembers(n, false, `"`+name+`":1`), doctype.ValidateOptions{}); got != name+": json" {
				t.Errorf("%d members, %s twice: %q", n, name, got)
			}
		}
		if !doctype.Equal([]byte(raw), []byte(manyMembers(n, true))) {
			t.Errorf("%d members: order matters", n)
		}
		if doctype.Equal([]byte(raw), []byte(manyMembers(n, true, `"x":1`))) {
			t.Errorf("%d members equal %d", n, n+1)
		}
	}
}

func TestMergeLargeObjects(t *testing.T) {
	t.Parallel()
	type doc struct {
		M map[string]address `json:"m"`
	}
	dt := compile[doc](t)
	for _, n := range []int{3, 100} {
		var stored, encoded, want []string
		for i := range n {
			stored = append(stored, fmt.Sprintf(`"k%d":{"city":"old","geo":%d}`, i, i))
		}
		for i := n - 1; i >= 0; i-- { // the other way round, with members that are new
			encoded = append(encoded, fmt.Sprintf(`"k%d":{"city":"new"},"n%d":{"city":"new"}`, i, i))
			want = append(want, fmt.Sprintf(`"k%d":{"city":"new","geo":%d},"n%d":{"city":"new"}`, i, i, i))
		}
		wrap := func(parts []string) []byte { return []byte(`{"m":{` + strings.Join(parts, ",") + `}}`) }
		got, err := dt.Merge(wrap(stored), wrap(encoded))
		if err != nil || string(got) != string(wrap(want)) {
			t.Errorf("%d members: %.200s, %v", n, got, err)
		}
	}
}

func TestIntegersInAnySpelling(t *testing.T) {
	t.Parallel()
	dt := compile[int64](t)
	for raw, want := range map[string]int64{
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64, "-9.223372036854775808e18": math.MinInt64,
		"9223372036854775807.000": math.MaxInt64, "0.0000000000000000000000001e25": 1, "1000e-3": 1, "-0": 0, "-0.0": 0, "0e99": 0,
		"12345678901234567890e-1": 1234567890123456789, "123456789012345678.0": 123456789012345678,
	} {
		var got int64
		if err := dt.Decode([]byte(raw), &got); err != nil || got != want {
			t.Errorf("Decode(%s) = %d, %v, want %d", raw, got, err, want)
		}
	}
	for _, raw := range []string{
		"9223372036854775808", "-9223372036854775809", "1e19", "99999999999999999999", "1e999999999999999999999", "1e-1", "15e-1",
		"0.1", "12345678901234567891e-1", "1e-999999999999999999999",
	} {
		var got int64
		if err := dt.Decode([]byte(raw), &got); err == nil {
			t.Errorf("Decode(%s) = %d", raw, got)
		}
	}
}

// One Type serves every goroutine; the race detector watches.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	dt := compile[kitchen](t)
	p := path(t, dt, "at")
	var wg sync.WaitGroup
	for g := range 4 {
		r := seeded(t, uint64(100+g))
		wg.Go(func() {
			for range 50 {
				var v, back kitchen
				fill(r, reflect.ValueOf(&v).Elem(), 2)
				raw, err := dt.Encode(v)
				if err != nil {
					t.Error(err)
					return
				}
				if found := dt.Validate(raw, doctype.ValidateOptions{}); len(found) > 0 {
					t.Errorf("%s: %v", raw, found)
				}
				if err := dt.Decode(raw, &back); err != nil {
					t.Error(err)
				}
				if _, _, err := p.AppendStored(nil, raw); err != nil {
					t.Error(err)
				}
				if len(dt.Validate([]byte(`{"kids":[{"x":1}]}`), doctype.ValidateOptions{})) == 0 {
					t.Error("a wrong value passes")
				}
			}
		})
	}
	wg.Wait()
}
