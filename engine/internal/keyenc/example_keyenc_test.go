package keyenc_test

import (
	"bytes"
	"fmt"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

// An index on (room, score descending): within a room, the highest score comes first.
func ExampleComplement() {
	key := func(room string, score float64) []byte {
		k := keyenc.AppendString(nil, room)
		from := len(k)
		k = keyenc.AppendNumber(k, score)
		keyenc.Complement(k, from)
		return k
	}
	fmt.Println(bytes.Compare(key("go", 9), key("go", 3)), bytes.Compare(key("go", 3), key("music", 9)))
	// Output: -1 -1
}

// All strings that begin with "mi", in an index that descends on them.
func ExampleStringPrefix() {
	lo := keyenc.StringPrefix(nil, "mi")
	keyenc.Complement(lo, 0)
	hi := keyenc.PrefixEnd(lo)
	for _, s := range []string{"mimosa", "mi", "m", "mj"} {
		k := keyenc.AppendString(nil, s)
		keyenc.Complement(k, 0)
		fmt.Println(s, bytes.Compare(lo, k) <= 0 && bytes.Compare(k, hi) < 0)
	}
	// Output:
	// mimosa true
	// mi true
	// m false
	// mj false
}
