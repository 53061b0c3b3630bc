package engine

import "iter"

// Index is an index of a collection of T.
type Index[T any] struct{ x *index }

// Name returns the index's name.
func (x *Index[T]) Name() string { return x.x.name }

// Scan reads the whole index, in its order.
func (x *Index[T]) Scan(r Reader) *Scan[T] { return newScan[T](r, x.x.coll, x.x) }

// Eq reads the documents whose first components equal values, in the order of the remaining ones. Values are checked
// against the Go types of the paths: a mismatch is an error of the scan. nil stands for documents without a value: null, or a
// member that omitempty has left out. In JSON a zero value that was left out is not there, so that nil finds it, and not the
// zero value.
func (x *Index[T]) Eq(r Reader, values ...any) *Scan[T] {
	s := newScan[T](r, x.x.coll, x.x)
	s.q.eq(values)
	return s
}

// One returns the document whose components equal values, an error that is ErrNotFound, or ErrNotUnique.
func (x *Index[T]) One(r Reader, values ...any) (*Doc[T], error) { return x.Eq(r, values...).Unique() }

// Scan is a query over one index, or over a whole collection. It is built up by its methods, which return it, and run by
// Docs, Collect, First, Unique, Count or Paginate, each time anew. What it read enters the read set as one range, up to where it
// stopped. It sees the transaction as it was at its first step. A Scan belongs to its Reader.
type Scan[T any] struct {
	q      *query
	filter func(*Doc[T]) bool
}

func newScan[T any](r Reader, c *collection, x *index) *Scan[T] {
	return &Scan[T]{q: newQuery(r.reader(), c, x)}
}

// Gt, Gte, Lt and Lte bound the component that follows those given to Eq; several of them narrow the range further. On a
// descending component they still compare values, so Gt(5) yields greater values. Null and missing values, which sort below
// all others, lie within no bound.
func (s *Scan[T]) Gt(v any) *Scan[T] { s.q.bound(boundGt, v); return s }

// Gte: see Gt.
func (s *Scan[T]) Gte(v any) *Scan[T] { s.q.bound(boundGte, v); return s }

// Lt: see Gt.
func (s *Scan[T]) Lt(v any) *Scan[T] { s.q.bound(boundLt, v); return s }

// Lte: see Gt.
func (s *Scan[T]) Lte(v any) *Scan[T] { s.q.bound(boundLte, v); return s }

// Prefix bounds the string or id component that follows those given to Eq to strings that begin with p.
func (s *Scan[T]) Prefix(p string) *Scan[T] { s.q.bound(boundPrefix, p); return s }

// Desc turns the order round.
func (s *Scan[T]) Desc() *Scan[T] { s.q.reverse = !s.q.reverse; return s }

// Limit yields at most n documents; n below 1 yields none.
func (s *Scan[T]) Limit(n int) *Scan[T] { s.q.limited, s.q.limit = true, n; return s }

// Filter yields only documents for which keep is true. It runs after the index and before Limit; all documents that it
// looks at count as read.
func (s *Scan[T]) Filter(keep func(*Doc[T]) bool) *Scan[T] {
	if before := s.filter; before != nil {
		s.filter = func(d *Doc[T]) bool { return before(d) && keep(d) }
	} else {
		s.filter = keep
	}
	return s
}

// Docs yields the documents. The error, if any, comes last and ends it.
func (s *Scan[T]) Docs() iter.Seq2[*Doc[T], error] {
	return func(yield func(*Doc[T], error) bool) {
		stopped, err := s.each(true, func(_ []byte, d *Doc[T]) bool { return yield(d, nil) })
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

// each calls fn with the documents that the scan yields until it wants no more, which is told by stopped. They are decoded
// where decode is set or a filter looks at them, and are nil otherwise.
func (s *Scan[T]) each(decode bool, fn func(raw []byte, d *Doc[T]) (more bool)) (stopped bool, err error) {
	if s.q.limited && s.q.limit < 1 && s.q.err == nil {
		return false, nil
	}
	n := 0
	err = s.q.run(func(_ string, raw []byte) (bool, error) {
		var d *Doc[T]
		if decode || s.filter != nil {
			var err error
			if d, err = decodeDoc[T](s.q.coll, raw); err != nil {
				return false, err
			}
		}
		if s.filter != nil && !s.filter(d) {
			return true, nil
		}
		n++
		stopped = !fn(raw, d)
		return !stopped && (!s.q.limited || n < s.q.limit), nil
	})
	return stopped, err
}

// Collect returns all documents; none is an empty slice.
func (s *Scan[T]) Collect() ([]*Doc[T], error) {
	docs := []*Doc[T]{}
	for d, err := range s.Docs() {
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// First returns the first document, or an error that is ErrNotFound.
func (s *Scan[T]) First() (*Doc[T], error) {
	for d, err := range s.Docs() {
		return d, err
	}
	return nil, s.q.notFound()
}

// Unique returns the only document, an error that is ErrNotFound, or ErrNotUnique.
func (s *Scan[T]) Unique() (*Doc[T], error) {
	var found *Doc[T]
	for d, err := range s.Docs() {
		if err != nil {
			return nil, err
		}
		if found != nil {
			return nil, ErrNotUnique
		}
		found = d
	}
	if found == nil {
		return nil, s.q.notFound()
	}
	return found, nil
}

// Count returns how many documents there are. It reads them all.
func (s *Scan[T]) Count() (int, error) {
	n := 0
	_, err := s.each(false, func([]byte, *Doc[T]) bool { n++; return true })
	if err != nil {
		return 0, err
	}
	return n, nil
}
