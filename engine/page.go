package engine

import (
	"errors"
	"fmt"
)

// PageArgs say which page of a list is wanted. As a field "paginationOpts" of a function's arguments they are what
// usePaginatedQuery of the convex client sends:
//
//	type ListArgs struct {
//		Room string          `json:"room"`
//		Page engine.PageArgs `json:"paginationOpts"`
//	}
type PageArgs struct {
	// NumItems is how many items the page begins with, 1 to 10,000. A live page may come to have more or fewer, and one that
	// hits a limit of what it may read has fewer.
	NumItems int `json:"numItems" jsonschema:"minimum=1,maximum=10000"`
	// Cursor is where the page begins: what another page gave, or nil for the beginning.
	Cursor *string `json:"cursor"`
	// EndCursor is where the page ends, whatever lies between; NumItems then has no meaning. Nil for a page of NumItems.
	EndCursor *string `json:"endCursor,omitempty" jsonschema:"nullable"`
	// MaximumRowsRead and MaximumBytesRead bound what is read for the page, before Filter; zero is without a bound of its
	// own. The page then ends early, and its ContinueCursor goes on from there. A page reads at least one document.
	MaximumRowsRead  int `json:"maximumRowsRead,omitempty" jsonschema:"minimum=1"`
	MaximumBytesRead int `json:"maximumBytesRead,omitempty" jsonschema:"minimum=1"`
	// ID tells the lists of one client apart, and means nothing here.
	ID int `json:"id,omitempty"`
}

const maxPageItems = 10_000

// PageStatus says whether a page should be replaced by two.
type PageStatus string

const (
	// PageSplitRecommended says that a page whose end is fixed has grown. It is complete.
	PageSplitRecommended PageStatus = "SplitRecommended"
	// PageSplitRequired says that a page whose end is fixed has grown so much that it was not read to its end: some of its
	// items are missing.
	PageSplitRequired PageStatus = "SplitRequired"
)

// Page is one page of a list, in the shape that the convex client reads.
type Page[T any] struct {
	Items []T `json:"page"`
	// IsDone says that nothing follows the page: it reaches to the end of the range, and is not SplitRequired. The page after one
	// that is not done may be empty nevertheless, where Filter drops what follows, or where that has gone since.
	IsDone bool `json:"isDone"`
	// ContinueCursor is where the page ends and the next one begins.
	ContinueCursor string `json:"continueCursor"`
	// SplitCursor lies inside the page: with Status set, or if the page has become too long, read two pages in its place,
	// from its Cursor to SplitCursor and from SplitCursor to ContinueCursor, both by EndCursor. Nil if it cannot be split.
	SplitCursor *string    `json:"splitCursor,omitempty"`
	Status      PageStatus `json:"pageStatus,omitempty" jsonschema:"enum=SplitRecommended,enum=SplitRequired"`
}

// MapPage turns the items of a page into something else, for instance documents into what a client may see of them. The first
// error of fn is returned.
func MapPage[T, U any](p Page[T], fn func(T) (U, error)) (Page[U], error) {
	out := Page[U]{
		Items: make([]U, 0, len(p.Items)), IsDone: p.IsDone, ContinueCursor: p.ContinueCursor, SplitCursor: p.SplitCursor, Status: p.Status,
	}
	for _, item := range p.Items {
		u, err := fn(item)
		if err != nil {
			return Page[U]{}, err
		}
		out.Items = append(out.Items, u)
	}
	return out, nil
}

// ErrInvalidCursor is matched by the error of a page whose cursor is forged, cut short, of another range, index or database,
// or of an index that has been defined anew. Its code is invalid and its message contains InvalidCursor, upon which
// usePaginatedQuery begins anew at the first page; others do well to do the same.
var ErrInvalidCursor = errors.New("engine: invalid cursor")

func invalidCursor(why string) error {
	return &Error{Code: CodeInvalid, Message: "InvalidCursor: " + why, cause: ErrInvalidCursor}
}

// Paginate reads one page of the scan: NumItems documents from Cursor on, in the scan's order, or all from Cursor to EndCursor.
// Limit cannot be combined with it; documents that Filter drops do not count as items.
//
// A cursor is a place between documents, not a document and not a number. It stays right whatever is inserted, deleted or
// moved: pages that follow one another by ContinueCursor never show a document twice at one timestamp, and miss none. It does not
// expire and survives restarts. It does not tell what stands in the documents. It holds for scans of the same range of the
// same index, in both directions: Desc from the cursor at which a page began yields what stands before the page, the nearest
// first, and so the previous page.
//
// In a live query the end of a page stays where it was when the page was first read, so that a page grows and shrinks with
// what happens inside it, and the next page still begins where it ends (see Call.Journal). What is inserted behind it does
// not touch it.
//
// Limits of what the page may read, MaximumRowsRead and MaximumBytesRead or an eighth of Limits.ReadDocuments and
// Limits.ReadBytes, end a page early. A page whose end is fixed and that has outgrown them is SplitRecommended, and
// SplitRequired at twice as much.
//
// Errors: code invalid for arguments that break the rules above, among them ErrInvalidCursor.
func (s *Scan[T]) Paginate(p PageArgs) (Page[*Doc[T]], error) {
	return paginate(s.q, p, func(raw []byte) (*Doc[T], bool, error) {
		d, err := decodeDoc[T](s.q.coll, raw)
		return d, err == nil && (s.filter == nil || s.filter(d)), err
	})
}

// Paginate is Scan.Paginate without decoding what the page holds.
func (s *StoredScan[T]) Paginate(p PageArgs) (Page[Stored[T]], error) {
	q, filter := s.s.q, s.s.filter
	return paginate(q, p, func(raw []byte) (Stored[T], bool, error) {
		item := Stored[T]{raw, q.coll}
		if filter == nil {
			return item, true, nil
		}
		d, err := decodeDoc[T](q.coll, raw)
		return item, err == nil && filter(d), err
	})
}

// paginate reads a page; item makes of a document what the page holds, and says whether it does.
func paginate[U any](q *query, p PageArgs, item func(raw []byte) (U, bool, error)) (Page[U], error) {
	page := Page[U]{Items: []U{}}
	r, err := q.page(p)
	if err != nil {
		return page, err
	}
	err = r.readAll(func(raw []byte) (bool, error) {
		u, keep, err := item(raw)
		if keep {
			page.Items = append(page.Items, u)
		}
		return keep, err
	})
	if err != nil {
		return Page[U]{}, err
	}
	page.IsDone, page.ContinueCursor, page.SplitCursor, page.Status = r.done(), r.cursor(r.end), r.split(), r.status()
	return page, nil
}

// valid checks what a client that is called directly may have got wrong; arguments of functions have been validated.
func (p *PageArgs) valid() error {
	switch {
	case p.NumItems < 1 || p.NumItems > maxPageItems:
		return pageIssue("numItems", "minimum", fmt.Sprintf("must be from 1 to %d", maxPageItems))
	case p.MaximumRowsRead < 0:
		return pageIssue("maximumRowsRead", "minimum", "must be at least 1")
	case p.MaximumBytesRead < 0:
		return pageIssue("maximumBytesRead", "minimum", "must be at least 1")
	}
	return nil
}

func pageIssue(path, rule, message string) error {
	return &Error{Code: CodeInvalid, Message: "invalid page", Issues: []Issue{{Path: path, Rule: rule, Message: message}}}
}
