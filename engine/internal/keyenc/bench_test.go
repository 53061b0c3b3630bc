package keyenc_test

import (
	"testing"

	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

// BenchmarkCompound encodes a key of three components, the last descending, as an index over a room's messages has it.
func BenchmarkCompound(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 128)
	for b.Loop() {
		k := keyenc.AppendString(buf, "rooms_01hzy3t5w6x7y8z9")
		k = keyenc.AppendBool(k, true)
		from := len(k)
		k = keyenc.AppendNumber(k, 1_700_000_000_123)
		keyenc.Complement(k, from)
	}
}
