package engine

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// collection is the core of a Collection, without type parameters.
type collection struct {
	schema  *Schema
	name    string
	system  bool // written by the database alone; its name begins with an underscore
	tag     [tagBytes]byte
	goType  reflect.Type
	typ     *doctype.Type
	indexes []*index
}

// index is the core of an Index.
type index struct {
	coll   *collection
	name   string
	unique bool
	tag    [tagBytes]byte
	spec   string // what the tag is made from: a changed definition is another index
	paths  []*doctype.Path

	absentOnce sync.Once
	absents    [][]byte // set by absentOnce
}

func (s *Schema) compile(t reflect.Type) (*doctype.Type, error) {
	return doctype.Compile(t, s.typeOptions())
}

// compileResult allows what only results may have: members that begin with an underscore.
func (s *Schema) compileResult(t reflect.Type) (*doctype.Type, error) {
	o := s.typeOptions()
	o.Result = true
	return doctype.Compile(t, o)
}

func (s *Schema) typeOptions() doctype.Options {
	return doctype.Options{
		IDTarget: func(t reflect.Type) (reflect.Type, bool) {
			if t.Kind() != reflect.String || !t.Implements(reflect.TypeFor[idMarker]()) {
				return nil, false
			}
			return reflect.Zero(t).Interface().(idMarker).idTarget(), true
		},
		Doc: func(t reflect.Type) (reflect.Type, bool) {
			if t.Kind() != reflect.Struct || !t.Implements(reflect.TypeFor[docMarker]()) || t.NumField() != 3 || t.Field(0).Name != "ID" {
				return nil, false
			}
			return reflect.Zero(t).Interface().(docMarker).docValue(), true
		},
		Stored: func(t reflect.Type) (reflect.Type, func(any, []byte), bool) {
			if t.Kind() != reflect.Struct || !reflect.PointerTo(t).Implements(reflect.TypeFor[storedMarker]()) || t.NumField() != 2 || t.Field(0).Name != "raw" {
				return nil, nil, false
			}
			doc, value := reflect.New(t).Interface().(storedMarker).stands()
			return doc, func(ptr any, raw []byte) { ptr.(storedMarker).set(raw, s.byType[value]) }, true
		},
		Int64: reflect.TypeFor[Int64](),
		CheckID: func(target reflect.Type, id string) bool {
			c := s.byType[target]
			if c == nil {
				_, ok := decodeID(id)
				return ok
			}
			_, err := c.parseID(id)
			return err == nil
		},
	}
}

// defineSystem declares a collection that the database itself keeps.
func defineSystem[T any](s *Schema, name string) *Collection[T] {
	return &Collection[T]{s.define(name, reflect.TypeFor[T](), true)}
}

func (s *Schema) define(name string, t reflect.Type, system bool) *collection {
	c := &collection{schema: s, name: name, system: system, tag: nameTag(name), goType: t}
	s.register(func() error {
		if !system && !validName(name) {
			return fmt.Errorf("collection %q: a name is letters, digits and underscores, and begins with a letter", name)
		}
		if s.byName[name] != nil {
			return fmt.Errorf("collection %q: defined twice", name)
		}
		if other := s.byType[t]; other != nil {
			return fmt.Errorf("collection %q: its type %v is that of collection %q already", name, t, other.name)
		}
		for _, other := range s.collections {
			if other.tag == c.tag {
				return fmt.Errorf("collection %q: choose another name, ids could not be told from those of %q", name, other.name)
			}
		}
		if t.Kind() != reflect.Struct {
			return fmt.Errorf("collection %q: its type %v is not a struct", name, t)
		}
		var err error
		if c.typ, err = s.compile(t); err != nil {
			return fmt.Errorf("collection %q: %w", name, err)
		}
		s.collections = append(s.collections, c)
		s.byName[name], s.byType[t] = c, c
		return nil
	})
	return c
}

func (c *collection) addIndex(name string, unique bool, paths []string) *index {
	x := &index{coll: c, name: name, unique: unique}
	kind := "index"
	if unique {
		kind = "unique"
	}
	x.spec = c.name + "/" + name + "/" + kind + "/" + strings.Join(paths, ",")
	x.tag = nameTag(x.spec)
	c.schema.register(func() error {
		where := fmt.Sprintf("index %q of collection %q", name, c.name)
		if !validName(name) {
			return fmt.Errorf("%s: a name is letters, digits and underscores, and begins with a letter", where)
		}
		for _, other := range c.indexes {
			if other.name == name {
				return fmt.Errorf("%s: defined twice", where)
			}
		}
		for _, coll := range c.schema.collections {
			for _, other := range coll.indexes {
				if other.tag == x.tag {
					return fmt.Errorf("%s: choose another name, its keys could not be told from those of %s/%s", where, coll.name, other.name)
				}
			}
		}
		if len(paths) == 0 {
			return fmt.Errorf("%s: has no paths", where)
		}
		if c.typ == nil {
			return nil // the collection's own problem is recorded already
		}
		var errs []error
		seen := map[string]bool{}
		for _, p := range paths {
			path, err := c.typ.Path(p)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", where, err))
				continue
			}
			if seen[path.Name()] {
				errs = append(errs, fmt.Errorf("%s: path %q stands twice", where, path.Name()))
			}
			seen[path.Name()] = true
			x.paths = append(x.paths, path)
		}
		if len(errs) == 0 {
			c.indexes = append(c.indexes, x)
		}
		return errors.Join(errs...)
	})
	return x
}

// Owner returns the schema that the collection is defined in, nil for a nil collection.
func (c *Collection[T]) Owner() *Schema {
	if c == nil || c.c == nil {
		return nil
	}
	return c.c.schema
}

// HasPath returns an error when T has no JSON path such as "address.city".
func (c *Collection[T]) HasPath(path string) error {
	if c.c.typ == nil {
		return nil // Open reports what is wrong with the type
	}
	return c.c.typ.HasPath(path)
}

// unregistered is the error of using a collection whose registration failed, or came after Open.
func (c *collection) unregistered() error {
	return fmt.Errorf("engine: collection %s was not registered properly", c.name)
}

func (c *collection) encode(v any) ([]byte, error) {
	if c.typ == nil {
		return nil, c.unregistered()
	}
	enc, err := c.typ.Encode(v)
	if err != nil {
		return nil, asInvalid(err, "invalid document for "+c.name)
	}
	return enc, nil
}

// key returns the entry of a stored document in x, and whether all components are there, so that it is unique-checked.
func (x *index) key(id rawID, raw []byte) (key string, complete bool, err error) {
	k := make([]byte, 0, 64)
	k = append(k, spaceIndex)
	k = append(k, x.tag[:]...)
	complete = true
	for _, p := range x.paths {
		var present bool
		if k, present, err = p.AppendStored(k, raw); err != nil {
			return "", false, fmt.Errorf("engine: index %s of %s: %w", x.name, x.coll.name, err)
		}
		complete = complete && present
	}
	if len(k) > maxKeyBytes {
		return "", false, fmt.Errorf("engine: index %s of %s: %w", x.name, x.coll.name, &LimitError{"IndexKeyBytes", maxKeyBytes})
	}
	return string(append(k, id[tagBytes:]...)), complete, nil
}

// absent returns the component of a document without a value at the i-th path: missing where the Go type leaves it out, as
// omitempty does, and null where it writes null.
func (x *index) absent(i int) []byte {
	x.absentOnce.Do(func() {
		zero, err := x.coll.typ.Encode(reflect.New(x.coll.goType).Interface())
		for _, p := range x.paths {
			key, present, keyErr := []byte(nil), true, err
			if err == nil {
				key, present, keyErr = p.AppendStored(nil, zero)
			}
			if keyErr != nil || present {
				key, _ = p.AppendValue(nil, nil) // nil fits every path
			}
			x.absents = append(x.absents, key)
		}
	})
	return x.absents[i]
}

// maxKeyBytes bounds an index entry; Badger takes keys of up to 65,000 bytes, its own suffix included.
const maxKeyBytes = 16 << 10
