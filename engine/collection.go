package engine

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// ID is the id of a document of the collection of T. It sorts by creation time, names its collection, and is checked when
// it arrives in arguments; that the document exists is not.
type ID[T any] string

func (ID[T]) idTarget() reflect.Type { return reflect.TypeFor[T]() }

// Doc is a stored document. As JSON, and as a function's result, it is {"_id", "_creationTime", …fields of T}, with the
// creation time in milliseconds.
type Doc[T any] struct {
	ID      ID[T]
	Created time.Time
	Value   T
}

func (Doc[T]) docValue() reflect.Type { return reflect.TypeFor[T]() }

// Int64 is an integer of all 64 bits. It travels as {"$integer": …} and is a bigint in TypeScript; Go's own integers travel
// as JSON numbers and are limited to ±(2⁵³−1).
type Int64 int64

type (
	idMarker  interface{ idTarget() reflect.Type }
	docMarker interface{ docValue() reflect.Type }
)

// Collection is a set of documents of one Go type.
type Collection[T any] struct{ c *collection }

// Define declares a collection of documents of type T, a struct, with its JSON Schema taken from T's json and jsonschema
// tags. Names are letters, digits and underscores, beginning with a letter.
func Define[T any](s *Schema, name string) *Collection[T] {
	return &Collection[T]{s.define(name, reflect.TypeFor[T](), false)}
}

// Name returns the collection's name.
func (c *Collection[T]) Name() string { return c.c.name }

// AddIndex declares an index on one or more JSON paths such as "address.city", which are checked against T by Open. A path
// that begins with "-" is indexed in descending order. Documents with equal values are in creation order.
func (c *Collection[T]) AddIndex(name string, paths ...string) *Index[T] {
	return &Index[T]{c.c.addIndex(name, false, paths)}
}

// AddUnique declares an index whose values no two documents may share. It is checked at every write, inside the
// transaction. A document in which one of the paths is null or missing is indexed but not checked.
func (c *Collection[T]) AddUnique(name string, paths ...string) *Index[T] {
	return &Index[T]{c.c.addIndex(name, true, paths)}
}

// Get returns the document with this id, or an error that is ErrNotFound; an id that is malformed or of another collection
// is an error of code invalid with the rule id.
func (c *Collection[T]) Get(r Reader, id ID[T]) (*Doc[T], error) {
	raw, err := r.reader().getDocument(c.c, string(id))
	if err != nil {
		return nil, err
	}
	return decodeDoc[T](c.c, raw)
}

// Insert stores a new document and returns its id. Errors: code invalid with issues when v breaks the schema,
// ErrAlreadyExists when a unique index holds its values, whatever a Before trigger refused with; these leave the transaction
// usable. An error of an On trigger fails the whole mutation.
func (c *Collection[T]) Insert(tx *Tx, v T) (ID[T], error) {
	enc, err := c.c.encode(&v)
	if err != nil {
		return "", err
	}
	id, err := tx.t.insert(tx, c.c, enc)
	return ID[T](id), err
}

// Patch reads a document, hands its value to change, and stores what change made of it. Members of the stored document that
// T does not know are kept. When nothing changed, nothing is written and no trigger runs. An error of change is returned and
// nothing is written. Otherwise the errors are Insert's and ErrNotFound.
func (c *Collection[T]) Patch(tx *Tx, id ID[T], change func(*T) error) error {
	stored, err := tx.t.getDocument(c.c, string(id))
	if err != nil {
		return err
	}
	d, err := decodeDoc[T](c.c, stored)
	if err != nil {
		return err
	}
	if err := change(&d.Value); err != nil {
		return err
	}
	enc, err := c.c.encode(&d.Value)
	if err != nil {
		return err
	}
	tx.t.uncount(stored) // update reads it again
	return tx.t.update(tx, c.c, string(id), enc, true)
}

// Replace stores v in place of the document's value; members that T does not know are dropped. Errors are those of Patch.
func (c *Collection[T]) Replace(tx *Tx, id ID[T], v T) error {
	enc, err := c.c.encode(&v)
	if err != nil {
		return err
	}
	return tx.t.update(tx, c.c, string(id), enc, false)
}

// Delete removes a document. ErrNotFound when there is none.
func (c *Collection[T]) Delete(tx *Tx, id ID[T]) error {
	return tx.t.delete(tx, c.c, string(id))
}

// All scans the whole collection, in creation order.
func (c *Collection[T]) All(r Reader) *Scan[T] { return newScan[T](r, c.c, nil) }

// ParseID checks that a string is an id of this collection; the error is of code invalid.
func (c *Collection[T]) ParseID(s string) (ID[T], error) {
	if _, err := c.c.parseID(s); err != nil {
		return "", err
	}
	return ID[T](s), nil
}

// Schema returns the JSON Schema of a document's value, nil if the collection was not registered properly.
func (c *Collection[T]) Schema() json.RawMessage {
	if c.c.typ == nil {
		return nil
	}
	return c.c.typ.JSONSchema()
}

func decodeDoc[T any](c *collection, raw []byte) (*Doc[T], error) {
	if c.goType != reflect.TypeFor[T]() {
		return nil, fmt.Errorf("engine: collection %s holds %v, not %v", c.name, c.goType, reflect.TypeFor[T]())
	}
	if raw == nil {
		return nil, nil
	}
	id, micros, err := systemFields(raw)
	if err != nil {
		return nil, err
	}
	d := &Doc[T]{ID: ID[T](id), Created: time.UnixMicro(micros).UTC()}
	if err := c.typ.Decode(raw, &d.Value); err != nil {
		return nil, fmt.Errorf("engine: stored document %s of %s: %w", id, c.name, err)
	}
	return d, nil
}
