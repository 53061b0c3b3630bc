package engine

import (
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// Op is the kind of a change.
type Op uint8

// The kinds of change.
const (
	Create Op = iota + 1
	Update
	Delete
)

// String returns "create", "update" or "delete".
func (o Op) String() string {
	switch o {
	case Create:
		return "create"
	case Update:
		return "update"
	case Delete:
		return "delete"
	}
	return "unknown"
}

// Change is one change of one document, as write hooks see it. Before is the stored JSON until now, nil on Create; After the
// JSON to be stored, nil on Delete. Both carry _id and _creationTime, and must not be modified in place.
type Change struct {
	Collection string
	Op         Op
	ID         string
	Created    time.Time
	Before     []byte
	After      []byte

	coll *collection
	// stored is what is stored, where that is not Before: a migration shows hooks a document that decodes.
	stored []byte
}

// before returns the stored JSON until now, nil on Create.
func (c *Change) before() []byte {
	if c.stored != nil {
		return c.stored
	}
	return c.Before
}

// DecodeBefore returns the document as it was before the change, as a fresh copy. T is the collection's type.
func DecodeBefore[T any](c *Change) (*Doc[T], error) { return decodeDoc[T](c.coll, c.Before) }

// DecodeAfter returns the document as the change left it, as a fresh copy. T is the collection's type.
func DecodeAfter[T any](c *Change) (*Doc[T], error) { return decodeDoc[T](c.coll, c.After) }

// SetAfter replaces what is going to be stored, inside WriteHook.Before of a create or an update. Members of the stored
// document that T does not know stay. An encoding error is of code invalid.
func SetAfter[T any](c *Change, v *T) error { return c.setAfter(v) }

// Changed says whether the change makes a difference at a JSON path such as "address.city". A member that is missing differs
// from one that is null, and equals one that is missing on the other side. Values are compared in canonical form.
func (c *Change) Changed(path string) bool {
	before, inBefore := doctype.Member(c.Before, path)
	after, inAfter := doctype.Member(c.After, path)
	if !inBefore || !inAfter {
		return inBefore != inAfter
	}
	return !doctype.Equal(before, after)
}

// WriteHook sees every change of every collection, whoever makes it. Package triggers is built on it.
type WriteHook interface {
	// Before runs before the change is validated and stored; it may change it with SetAfter, or refuse it with an error,
	// which undoes this write alone.
	Before(tx *ReadTx, c *Change) error
	// After runs when the change is stored and visible in tx. An error aborts the whole mutation, even where the caller of
	// the write ignores it. c must be copied to be kept.
	After(tx *Tx, c Change) error
}

// CompleteHook is implemented by a WriteHook whose Before may change new documents: Completes says whether it does so in a
// collection. What is to be inserted there cannot be validated ahead of it; see DraftOf. It is called after Open alone.
type CompleteHook interface {
	Completes(collection string) bool
}

// NestHook is implemented by a WriteHook that keeps state of its own in a transaction. Nested wraps the run of each
// Tx.Nested; it must call run once and return its error or one of its own, and undo its own state when that is not nil.
type NestHook interface {
	Nested(tx *Tx, run func() error) error
}
