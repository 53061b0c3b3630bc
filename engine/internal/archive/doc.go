// Package archive is the format of a backup: a stream of rows between a header that says what it is and a trailer that says
// that it is whole.
//
//	w, err := archive.NewWriter(file, archive.Header{Database: id, At: at})
//	…
//	err = w.Put(key, value)
//	…
//	trailer, err := w.Close()
//
// # The format
//
// A file begins with the 16 bytes of Magic. Frames follow, without anything in between:
//
//	kind, 1 byte | length of the payload, 4 | payload | CRC-32C, 4
//
// Numbers are big-endian. The checksum is over the frame's number (8 bytes, from zero), its kind, length and payload, so that a
// frame that was changed, left out, doubled or moved is found where it stands. Kinds are
//
//	'h'  the header, JSON: the first frame, and no other
//	'r'  records
//	't'  the trailer, JSON: the last frame, after which the file ends
//
// A payload of records is one record after the other, whole ones. Lengths in them are unsigned varints:
//
//	1 | length of key | key | length of value | value    Put: the row
//	2 | length of key | key                              Gone: older files' rows of this unit do not count any more
//
// The trailer has the number of records and SHA-256 of all that stands before it, the magic included.
//
// # What it does not
//
// It does not compress and does not encrypt; what is meant to be either is piped through a program that does. It does not know
// what a row is: which rows there are, in which order, and what a unit is, is for its user to say.
package archive
