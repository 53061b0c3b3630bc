package engine

import (
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"time"
)

// Stored is a document in the very bytes that it is stored in, which are those that a client gets. A function that gives
// documents back as they are returns Stored[T] in place of *Doc[T], alone or within its result: the JSON and its schema are the
// same, and nothing is decoded and encoded again.
//
// What differs is that the bytes are those of the write: members that T no longer knows are still there, and those that it
// has gained since are missing, until the document is written again. A function that must not pass on what older versions of
// the program stored returns *Doc[T]. Stored can be in results only, not in arguments and not in documents. The zero value
// stands for no document and cannot be encoded; where there may be none, return a pointer.
type Stored[T any] struct {
	raw []byte
	c   *collection
}

// storedMarker is how the package recognises Stored, whatever its document.
type storedMarker interface {
	stands() (doc, value reflect.Type)
	set(raw []byte, c *collection)
}

func (s *Stored[T]) stands() (doc, value reflect.Type) {
	return reflect.TypeFor[Doc[T]](), reflect.TypeFor[T]()
}

func (s *Stored[T]) set(raw []byte, c *collection) { s.raw, s.c = raw, c }

var errNotStored = errors.New("engine: a Stored that no document was read into")

// JSON returns the document's JSON, {"_id", "_creationTime", …fields}. It must not be changed.
func (s Stored[T]) JSON() json.RawMessage { return s.raw }

// MarshalJSON returns JSON, for packages that encode by encoding/json.
func (s Stored[T]) MarshalJSON() ([]byte, error) {
	if len(s.raw) == 0 {
		return nil, errNotStored
	}
	return s.raw, nil
}

// ID returns the document's id, "" for the zero Stored.
func (s Stored[T]) ID() ID[T] {
	id, _, err := systemFields(s.raw)
	if err != nil {
		return ""
	}
	return ID[T](id)
}

// Created returns when the document was created, the zero time for the zero Stored.
func (s Stored[T]) Created() time.Time {
	_, micros, err := systemFields(s.raw)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// Doc decodes the document. Each call makes a new one.
func (s Stored[T]) Doc() (*Doc[T], error) {
	if len(s.raw) == 0 || s.c == nil {
		return nil, errNotStored
	}
	return decodeDoc[T](s.c, s.raw)
}

// GetStored is Get without decoding: the errors are the same.
func (c *Collection[T]) GetStored(r Reader, id ID[T]) (Stored[T], error) {
	raw, err := r.reader().getDocument(c.c, string(id))
	if err != nil {
		return Stored[T]{}, err
	}
	return Stored[T]{raw, c.c}, nil
}

// StoredScan runs a Scan without decoding what it yields.
type StoredScan[T any] struct{ s *Scan[T] }

// Stored makes the scan yield documents in the bytes that they are stored in. What the scan was told before, or is told
// afterwards, holds for both; a Filter still decodes each document that it looks at.
func (s *Scan[T]) Stored() *StoredScan[T] { return &StoredScan[T]{s} }

// Docs yields the documents. The error, if any, comes last and ends it.
func (s *StoredScan[T]) Docs() iter.Seq2[Stored[T], error] {
	return func(yield func(Stored[T], error) bool) {
		stopped, err := s.s.each(false, func(raw []byte, _ *Doc[T]) bool { return yield(Stored[T]{raw, s.s.q.coll}, nil) })
		if err != nil && !stopped {
			yield(Stored[T]{}, err)
		}
	}
}

// Collect returns all documents; none is an empty slice.
func (s *StoredScan[T]) Collect() ([]Stored[T], error) {
	docs := []Stored[T]{}
	for d, err := range s.Docs() {
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// First returns the first document, or an error that is ErrNotFound.
func (s *StoredScan[T]) First() (Stored[T], error) {
	for d, err := range s.Docs() {
		return d, err
	}
	return Stored[T]{}, s.s.q.notFound()
}

// Unique returns the only document, an error that is ErrNotFound, or ErrNotUnique.
func (s *StoredScan[T]) Unique() (Stored[T], error) {
	var found Stored[T]
	for d, err := range s.Docs() {
		if err != nil {
			return Stored[T]{}, err
		}
		if found.raw != nil {
			return Stored[T]{}, ErrNotUnique
		}
		found = d
	}
	if found.raw == nil {
		return Stored[T]{}, s.s.q.notFound()
	}
	return found, nil
}
