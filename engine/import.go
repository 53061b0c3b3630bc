package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// Existing says what an import does with a line whose document is there already.
type Existing uint8

const (
	// RefuseExisting ends the import with code already_exists. It is the default.
	RefuseExisting Existing = iota
	// SkipExisting leaves the document as it is.
	SkipExisting
	// ReplaceExisting replaces it, as Collection.Replace does.
	ReplaceExisting
)

// ImportOptions configure DB.Import. The zero value works.
type ImportOptions struct {
	Existing Existing
	// SkipTriggers stores documents without calling any trigger, neither Before nor On. It is for data that triggers have seen
	// already, such as an export of a database whose other collections, which they write to, are imported too. Schema and
	// unique indexes hold all the same.
	SkipTriggers bool
	// KeepUnknown keeps members that the Go type does not know, where they are refused otherwise.
	KeepUnknown bool
	// DryRun writes nothing. It reads to the end, runs every line as far as to the commit, and returns the errors of up to 100
	// lines, joined. What only shows between lines that are far from one another, such as an id that stands twice, it may not see.
	DryRun bool
}

// ImportResult says what an import has done: what is counted is committed, or would have been in a dry run.
type ImportResult struct {
	// Lines is how many were read, empty ones not counted.
	Lines int64
	// Created, Replaced and Skipped are what became of them; skipped are those that were there, or that changed nothing.
	Created, Replaced, Skipped int64
}

// ImportError says which line failed. Unwrap gives the reason, mostly an *Error or a *LimitError.
type ImportError struct {
	Line int64 // from 1, empty ones counted
	Err  error
}

func (e *ImportError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the reason.
func (e *ImportError) Unwrap() error { return e.Err }

// Import stores documents that it reads from r as JSON Lines, one object a line. With collection "" each line must have an _id,
// which tells the collection.
//
// A line with an _id becomes the document of that id, whose creation time is part of it; a _creationTime beside it must agree. A
// line without one gets a new id, created at its _creationTime, or now. All that holds for other writes holds for these: the
// document is validated, unique indexes are checked, triggers run (an OnCreate for each new document) unless
// ImportOptions.SkipTriggers. Live queries see it.
//
// Lines are committed in order, many in one transaction, so that others see the import grow. At the first line that fails
// Import ends with an *ImportError: what stands before the line is committed, it and all after it are not. Run again with
// SkipExisting or ReplaceExisting it goes on from there, as long as the lines have ids; an error that is ErrOutcomeUnknown leaves open
// whether the last lines were committed. Memory is bounded by some lines, of at most 8 MiB each. It ends with ctx, and with
// ErrClosed when the database is closed. Where Options.Maintenance has put migrations off it fails with code conflict.
func (db *DB) Import(ctx context.Context, collection string, r io.Reader, o ImportOptions) (ImportResult, error) {
	ctx, leave, err := db.enter(ctx)
	if err != nil {
		return ImportResult{}, err
	}
	defer leave()
	if len(db.pending) > 0 {
		return ImportResult{}, fmt.Errorf("engine: import: %w", Errorf(CodeConflict, "migration %q has yet to run, and would take the documents that are imported for old ones; open the database without Maintenance first", db.pending[0]))
	}
	im := &importer{db: db, ctx: ctx, o: o}
	if collection != "" {
		if im.coll, err = db.schema.find(collection); err != nil {
			return im.result, err
		}
	}
	if err := im.run(bufio.NewReaderSize(r, 64<<10)); err != nil {
		return im.result, fmt.Errorf("engine: import: %w", err)
	}
	return im.result, nil
}

const (
	// importLines and importBytes bound one transaction of an import.
	importLines = 512
	importBytes = 1 << 20
	// maxImportLine is the longest line: a document of the largest size in its longest spelling.
	maxImportLine = 8 << 20
	// maxDryFaults is how many lines a dry run reports.
	maxDryFaults = 100
)

// importer is one run of Import.
type importer struct {
	db     *DB
	ctx    context.Context
	o      ImportOptions
	coll   *collection
	result ImportResult
	faults []error // of a dry run

	batch []importLine
	bytes int
}

func (im *importer) run(r *bufio.Reader) error {
	for lines := (lineReader{r: r}); ; {
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			return errors.Join(im.flush(), errors.Join(im.faults...))
		}
		var line importLine
		if err == nil {
			im.result.Lines++
			line, err = im.parse(lines.number, text)
		}
		if err != nil { // what stands before the line is committed nevertheless
			if err := im.flush(); err != nil {
				return err
			}
			if err := im.failed(lines.number, err); err != nil {
				return err
			}
			continue
		}
		im.batch = append(im.batch, line)
		if im.bytes += len(text); len(im.batch) >= importLines || im.bytes >= importBytes {
			if err := im.flush(); err != nil {
				return err
			}
		}
	}
}

// failed ends the import with the error of a line, unless it is a dry run, which goes on to the next.
func (im *importer) failed(line int64, err error) error {
	var reading *readError
	if errors.As(err, &reading) {
		return errors.Join(append(im.faults, reading.err)...)
	}
	err = &ImportError{line, err}
	if !im.o.DryRun {
		return err
	}
	if im.faults = append(im.faults, err); len(im.faults) < maxDryFaults {
		return nil
	}
	return errors.Join(append(im.faults, errors.New("and there may be more; this is where the dry run ends"))...)
}

// flush commits what is gathered.
func (im *importer) flush() error {
	batch := im.batch
	im.batch, im.bytes = nil, 0
	return im.commit(batch)
}

// importCounts is what became of the lines of one transaction.
type importCounts struct{ created, replaced, skipped int64 }

// lineError is the error of one line of a transaction.
type lineError struct {
	index int
	err   error
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

var errDryRun = errors.New("engine: a dry run")

// commit stores lines in one transaction, or in several where that would exceed a limit or a line fails.
func (im *importer) commit(lines []importLine) error {
	if len(lines) == 0 {
		return nil
	}
	var counts atomic.Pointer[importCounts] // of the last run; an abandoned one may still be under way
	_, err := im.db.transact(im.ctx, nil, nil, func(t *txn) ([]byte, error) {
		t.silent, t.lenient = im.o.SkipTriggers, im.o.KeepUnknown
		n := &importCounts{}
		for i, l := range lines {
			if err := t.importLine(l, im.o.Existing, n); err != nil {
				return nil, &lineError{i, err}
			}
		}
		counts.Store(n)
		if im.o.DryRun {
			return nil, errDryRun
		}
		return nil, nil
	}, steps{})
	var limit *LimitError
	var failed *lineError
	switch {
	case err == nil, errors.Is(err, errDryRun):
		n := counts.Load()
		im.result.Created += n.created
		im.result.Replaced += n.replaced
		im.result.Skipped += n.skipped
		return nil
	case errors.As(err, &limit) && len(lines) > 1:
		if err := im.commit(lines[:len(lines)/2]); err != nil {
			return err
		}
		return im.commit(lines[len(lines)/2:])
	case errors.As(err, &failed):
		if err := im.commit(lines[:failed.index]); err != nil {
			return err
		}
		if err := im.failed(lines[failed.index].number, failed.err); err != nil {
			return err
		}
		return im.commit(lines[failed.index+1:])
	case len(lines) == 1: // a limit of one line
		return im.failed(lines[0].number, err)
	}
	return err
}
