package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math"
	"reflect"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// lineReader takes a stream apart into lines. Empty ones, and the mark that some programs put in front, are passed over.
type lineReader struct {
	r      *bufio.Reader
	number int64 // of the line last returned
}

// readError is what the stream failed with, which no line is to blame for.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// next returns the next line without white space around it, io.EOF at the end, a *readError, or the error of a line that is too long,
// after which the next one can be read.
func (l *lineReader) next() ([]byte, error) {
	for {
		l.number++
		line, err := l.read()
		if err != nil && (err != io.EOF || len(line) == 0) {
			return nil, err
		}
		if l.number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

func (l *lineReader) read() (line []byte, err error) {
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxImportLine; !long {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err != nil && err != io.EOF:
			return nil, &readError{err}
		case long:
			return nil, &LimitError{"LineBytes", maxImportLine}
		}
		return line, err
	}
}

// importLine is a line that was found to be a document.
type importLine struct {
	number int64
	coll   *collection
	id     rawID
	given  bool   // it has an id
	micros int64  // its creation time, where that is given
	dated  bool   // it is
	enc    []byte // the encoding of its value
}

// parse checks a line against the schema of its collection.
func (im *importer) parse(number int64, text []byte) (l importLine, err error) {
	l.number, l.coll = number, im.coll
	rawID, hasID := doctype.Member(text, "_id")
	rawTime, hasTime := doctype.Member(text, "_creationTime")
	if l.coll == nil {
		if l.coll, err = im.collectionOf(text, rawID, hasID); err != nil {
			return l, err
		}
	}
	what := "invalid document for " + l.coll.name
	issues := l.coll.typ.Validate(text, doctype.ValidateOptions{Doc: true, AllowUnknown: im.o.KeepUnknown})
	kept := issues[:0]
	for _, i := range issues {
		if i.Rule != "required" || i.Path != "_id" && i.Path != "_creationTime" { // which a line may lack
			kept = append(kept, i)
		}
	}
	if len(kept) > 0 {
		return l, invalid(what, kept)
	}
	if hasID {
		var id string
		if err := json.Unmarshal(rawID, &id); err != nil {
			return l, err // Validate has seen a string
		}
		if l.id, err = l.coll.parseID(id); err != nil {
			return l, err
		}
		l.given = true
	}
	if hasTime {
		if l.micros, err = creationMicros(rawTime); err == nil && l.given && l.micros != l.id.micros() {
			err = importIssue(what, "_creationTime", "id", "is not the creation time that _id has")
		}
		if err != nil {
			return l, err
		}
		l.dated = true
	}
	l.enc, err = l.coll.normal(text, im.o.KeepUnknown)
	return l, err
}

func importIssue(what, path, rule, message string) error {
	return &Error{Code: CodeInvalid, Message: what, Issues: []Issue{{Path: path, Rule: rule, Message: message}}}
}

// collectionOf finds the collection that the line's id names.
func (im *importer) collectionOf(text, raw []byte, has bool) (*collection, error) {
	if _, err := doctype.Canonical(text); err != nil {
		return nil, asInvalid(err, "invalid document")
	}
	if !has {
		return nil, importIssue("invalid document", "_id", "required", "is missing, and no collection was named")
	}
	var id string
	if err := json.Unmarshal(raw, &id); err != nil {
		return nil, importIssue("invalid document", "_id", "type", "must be a string")
	}
	c := im.db.schema.collectionOf(id)
	if c == nil {
		return nil, importIssue("invalid document", "_id", "id", "is not an id of any collection")
	}
	return c, nil
}

// lastMicros is the latest creation time that an id holds, and a document's JSON to the microsecond.
const lastMicros = int64(1) << 52

func creationMicros(raw []byte) (int64, error) {
	var ms float64
	if err := json.Unmarshal(raw, &ms); err != nil {
		return 0, err // Validate has seen a number
	}
	micros := math.Round(ms * 1000)
	if micros < 0 || micros > float64(lastMicros) {
		return 0, importIssue("invalid document", "_creationTime", "range", "is not between 1970 and 2112")
	}
	return int64(micros), nil
}

// normal gives the JSON of a value the spelling in which the program stores it. Members that the type does not know stay, or
// are not there: it was validated.
func (c *collection) normal(text []byte, keepUnknown bool) ([]byte, error) {
	v := reflect.New(c.goType).Interface()
	if err := c.typ.Decode(text, v); err != nil {
		return nil, asInvalid(err, "invalid document for "+c.name)
	}
	enc, err := c.encode(v)
	if err != nil || !keepUnknown {
		return enc, err
	}
	return c.typ.Merge(text, enc)
}

// importLine stores one line and counts what became of it.
func (t *txn) importLine(l importLine, existing Existing, n *importCounts) error {
	if err := t.beginWrite(l.coll); err != nil {
		return err
	}
	switch {
	case l.given:
	case l.dated:
		l.id = makeID(l.coll.tag, l.micros, t.db.uniqueBits())
	default:
		l.id = t.newID(l.coll)
	}
	tx, text := &Tx{t}, l.id.String()
	stored, found, err := t.get(documentKey(l.id))
	if err != nil {
		return err
	}
	ch := &Change{
		Collection: l.coll.name, Op: Create, ID: text, Created: time.UnixMicro(l.id.micros()).UTC(), coll: l.coll,
		After: doctype.WithSystem(text, l.id.micros(), l.enc),
	}
	count := &n.created
	if found {
		if err := t.countRead(stored); err != nil {
			return err
		}
		switch {
		case !l.given || existing == RefuseExisting:
			return &Error{
				Code: CodeAlreadyExists, Message: "already exists in " + l.coll.name,
				Issues: []Issue{{Path: "_id", Rule: "unique", Message: "is taken already"}},
			}
		case existing == SkipExisting, doctype.Equal(stored, ch.After):
			n.skipped++
			return nil
		}
		ch.Op, ch.Before, count = Update, stored, &n.replaced
	}
	if err := t.before(tx, ch); err != nil {
		return err
	}
	if ch.Op == Update && doctype.Equal(ch.Before, ch.After) {
		n.skipped++
		return nil
	}
	if err := t.admit(l.coll, l.id, ch); err != nil {
		return err
	}
	*count++
	return t.store(tx, l.coll, l.id, ch)
}
