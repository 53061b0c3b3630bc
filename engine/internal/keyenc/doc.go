// Package keyenc encodes values as bytes whose order is the order of the values, so that a store of ordered keys can serve
// as an index.
//
// A key is a run of components, one per indexed field, each appended to the ones before it:
//
//	key := keyenc.AppendString(nil, "go")          // first component, ascending
//	from := len(key)
//	key = keyenc.AppendNumber(key, 42)             // second component …
//	keyenc.Complement(key, from)                   // … descending
//
// # Format
//
// A component is a tag byte and a payload. Values of different kinds are ordered by their tags, in the order of the table;
// the gaps leave room for kinds to come.
//
//	tag   kind     payload                                                             bytes with the tag
//	0x08  missing  none: the field is not there                                        1
//	0x10  null     none                                                                1
//	0x18  false    none                                                                1
//	0x20  true     none                                                                1
//	0x28  number   IEEE-754 double, big-endian; sign bit flipped if it is clear,       9
//	               all bits flipped if it is set; -0 is 0, every NaN is one NaN
//	               and sorts after +Inf
//	0x30  int64    big-endian, sign bit flipped                                        9
//	0x38  time     seconds since 0001-01-01T00:00:00Z as int64 above, then             13
//	               nanoseconds within the second as big-endian uint32
//	0x40  string   the bytes, each 00 written as 00 FF, ended by 00 01                 3 + length + zero bytes
//	0x48  bytes    as string                                                           3 + length + zero bytes
//
// A descending component is the bitwise complement of the ascending one, tag included. Tags are below 0x80, complemented
// tags are above, so [Next] can tell which way a component runs.
//
// # Guarantees
//
//   - bytes.Compare of two components is the order of their values, or its reverse where both are complemented.
//   - No component is a proper prefix of another of the same direction. Hence a compound key orders by its first component,
//     then the second, and so on, whatever the directions, and what follows a component never changes the order before it.
//   - Equal values have equal encodings, and [Next] refuses every other spelling.
//   - No component begins with 00 or FF, so a caller may use these bytes for marks of its own around keys.
//
// # What it does not promise
//
//   - Strings are ordered by their bytes, which for UTF-8 is the order of code points. JavaScript orders strings by UTF-16
//     units, which differs beyond the Basic Multilingual Plane, and no locale's collation is followed. Strings that are not
//     valid UTF-8 are taken as they are.
//   - A number and an int64 of the same value are different components: every number is before every int64.
//   - Times are ordered by instant. The location and the monotonic reading are not kept.
//   - Lengths are not limited here. A string of zero bytes doubles when encoded; the caller checks the length of whole keys.
//
// All functions are pure: they may be called concurrently on different slices. The Append functions follow append: they
// return dst extended, which may share memory with it.
package keyenc
