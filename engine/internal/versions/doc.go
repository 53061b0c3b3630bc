// Package versions holds what has been written and is not published yet: an ordered list of keys, each with its versions.
//
// One goroutine at a time adds to a list, under increasing sequence numbers, while any number of others read it as of the
// number at which they began: what is added later is not there for them. Readers take no lock and copy nothing. Nothing is ever
// removed; a list goes as a whole when nobody holds it any more.
//
//	l := versions.New(1)
//	l.Set("a", versions.Version{Seq: 1, Value: []byte("one")})
//	l.Set("a", versions.Version{Seq: 2, Deleted: true})
//	v, ok := l.Get("a", 1) // "one"
//
// It is a skip list. What it does not promise: a bound on its memory, and an order of its internals that repeats between
// programs; the heights of its towers come from the seed.
package versions
