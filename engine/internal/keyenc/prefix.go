package keyenc

// Complement inverts the bits of dst[from:] in place, which turns the components that begin at from into descending ones.
// What sorted first now sorts last, kinds included: where a missing field comes first ascending, it comes last descending.
// No component is a prefix of another after it either, so directions mix freely within a key. Applied twice it changes
// nothing. A from at or beyond the end of dst does nothing; one below zero is taken as zero.
func Complement(dst []byte, from int) {
	for i := max(from, 0); i < len(dst); i++ {
		dst[i] = ^dst[i]
	}
}

// PrefixEnd returns the smallest key above every key that begins with prefix, so that [prefix, PrefixEnd(prefix)) holds
// exactly these. It is nil, for no bound, where there is no such key: for a prefix that is empty or all FF bytes. It never
// is for a prefix that begins with a component. The result is a new slice.
func PrefixEnd(prefix []byte) []byte {
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xff {
		n--
	}
	if n == 0 {
		return nil
	}
	out := make([]byte, n)
	copy(out, prefix)
	out[n-1]++
	return out
}
