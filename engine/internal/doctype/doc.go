// Package doctype is everything the engine knows about one Go type that travels: as a document, as the arguments of a function
// or as its result.
//
// [Compile] looks at the type once and gives a [Type] that encodes, decodes, validates, describes itself as a JSON Schema and
// resolves index paths:
//
//	t, err := doctype.Compile(reflect.TypeFor[Message](), doctype.Options{})
//	if err != nil {
//		return err // every field that cannot travel, joined
//	}
//	raw, err := t.Encode(Message{Text: "hello"})
//	issues := t.Validate(raw, doctype.ValidateOptions{})
//
// # Values
//
// The wire is JSON with three special objects, each with one member: {"$integer": base64 of 8 bytes, little endian} for 64-bit
// integers, {"$bytes": base64} for bytes and {"$float": base64 of 8 bytes, little endian} for the floats JSON has no spelling
// for (NaN, the infinities, negative zero). Ordinary Go integers are JSON numbers within ±(2^53−1), times RFC 3339 strings in
// UTC, nil slices and maps [] and {}. Member names are 0 to 1,024 ASCII characters from space to tilde and do not begin with $.
//
// # Validation
//
// The JSON Schema made of the type is compiled into shapes, and [Type.Validate] walks the raw bytes along them: first one pass
// that settles what every value on the wire must be (JSON without duplicate members, valid Unicode, finite numbers, at most 64
// levels deep, well-formed special objects), then one along the shapes, without building maps. Keywords that only a hand-written
// JSONSchema method can bring (if, not, contains, …) are left to a general validator, for the value they stand at.
//
// # What it does not promise
//
// Validate says whether a value has the shape, not whether what its ids name exists. Decode is lenient on purpose, because
// stored documents may be older than the program: it is not a validator. JSON numbers are doubles: digits beyond a float64's
// precision are not kept.
//
// All methods of [Type] and [Path] are safe for concurrent use; nothing in this package needs closing.
package doctype
