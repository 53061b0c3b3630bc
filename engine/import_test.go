package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// library is a schema with much that JSON has to carry, two collections, and hooks that count.
type library struct {
	schema *engine.Schema
	books  *engine.Collection[volume]
	byISBN *engine.Index[volume]
	rack   *engine.Collection[rack]
	calls  *hookCounter
}

type volume struct {
	ISBN   string            `json:"isbn" jsonschema:"minLength=1"`
	Title  string            `json:"title"`
	Pages  int               `json:"pages" jsonschema:"minimum=0"`
	Price  float64           `json:"price"`
	Copies engine.Int64      `json:"copies"`
	Cover  []byte            `json:"cover"`
	Tags   []string          `json:"tags"`
	Notes  map[string]string `json:"notes"`
	Lent   *time.Time        `json:"lent,omitempty"`
}

type rack struct {
	Name string `json:"name"`
}

// hookCounter counts calls, refuses shelves called "no", and fails after books whose title is "bad".
type hookCounter struct{ before, after int }

func (h *hookCounter) Before(_ *engine.ReadTx, c *engine.Change) error {
	h.before++
	if c.Collection == "shelves" && bytes.Contains(c.After, []byte(`"no"`)) {
		return engine.Errorf("refused", "no such rack")
	}
	return nil
}

func (h *hookCounter) After(_ *engine.Tx, c engine.Change) error {
	h.after++
	if bytes.Contains(c.After, []byte(`"title":"bad"`)) { // drawn notes may be called so, too
		return engine.Errorf("spoiled", "a trigger failed")
	}
	return nil
}

func newLibrary() *library {
	s := engine.NewSchema()
	l := &library{schema: s, books: engine.Define[volume](s, "books"), rack: engine.Define[rack](s, "shelves"), calls: &hookCounter{}}
	l.byISBN = l.books.AddUnique("byISBN", "isbn")
	s.OnWrite(l.calls)
	return l
}

func export(t fataler, db *engine.DB, collection string) string {
	t.Helper()
	var b strings.Builder
	info, err := db.Export(context.Background(), collection, &b)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); int64(n) != info.Documents || info.At != db.Published() {
		t.Fatal("lines:", n, "told:", info)
	}
	return b.String()
}

func drawBook(rt *rapid.T, n int) volume {
	b := volume{
		ISBN: fmt.Sprint("isbn ", n), Title: rapid.String().Draw(rt, "title"), Pages: rapid.IntRange(0, 1<<40).Draw(rt, "pages"),
		Price: rapid.Float64Range(-1e9, 1e9).Draw(rt, "price"), Copies: engine.Int64(rapid.Int64().Draw(rt, "copies")),
		Cover: rapid.SliceOf(rapid.Byte()).Draw(rt, "cover"), Tags: rapid.SliceOf(rapid.StringMatching(`[ -~é\n<>&]*`)).Draw(rt, "tags"),
		Notes: rapid.MapOf(rapid.StringMatching(`[a-z]{1,5}`), rapid.String()).Draw(rt, "notes"),
	}
	if rapid.Bool().Draw(rt, "lent") {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(rt, "at"))
		b.Lent = &at
	}
	return b
}

// What was exported and imported into another database is exported from there as the same bytes.
func TestRoundTripOfExports(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		a, b := newLibrary(), newLibrary()
		from, to := enginetest.Open(t, a.schema), enginetest.Open(t, b.schema)
		n := rapid.IntRange(0, 8).Draw(rt, "books")
		err := inline(rt, from, func(tx *engine.Tx) error { // rapid draws inside it
			for i := range n {
				if _, err := a.books.Insert(tx, drawBook(rt, i)); err != nil {
					return err
				}
				if _, err := a.rack.Insert(tx, rack{fmt.Sprint(i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		all := export(rt, from, "")
		r, err := to.Import(context.Background(), "", strings.NewReader(all), engine.ImportOptions{})
		if err != nil || r.Created != int64(2*n) || r.Lines != int64(2*n) {
			rt.Fatalf("%+v, %v", r, err)
		}
		if got := export(rt, to, ""); got != all {
			rt.Fatalf("imported and exported again:\n%s\nwas\n%s", got, all)
		}
		if b.calls.before != 2*n || b.calls.after != 2*n {
			rt.Fatalf("hooks of %d documents ran %d and %d times", 2*n, b.calls.before, b.calls.after)
		}
		books := export(rt, from, "books") + export(rt, from, "shelves")
		if books != all {
			rt.Fatalf("one collection after the other is\n%s\nall are\n%s", books, all)
		}
		// Once more: everything is there already, and nothing runs.
		r, err = to.Import(context.Background(), "", strings.NewReader(all), engine.ImportOptions{Existing: engine.ReplaceExisting})
		if err != nil || r.Skipped != int64(2*n) || b.calls.after != 2*n {
			rt.Fatalf("again: %+v, %v", r, err)
		}
	})
}

const oneBook = `{"isbn":"%s","title":"%s","pages":1,"price":1,"copies":{"$integer":"AQAAAAAAAAA="},"cover":{"$bytes":""},"tags":[],"notes":{}}`

func bookLine(isbn, title string) string { return fmt.Sprintf(oneBook, isbn, title) }

// with puts system members in front of a line's own.
func with(line, members string) string { return "{" + members + "," + line[1:] }

// Each mistake is an error with a code that names the line; what stands before it is committed, and nothing after.
func TestImportErrors(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	db := enginetest.Open(t, l.schema)
	var shelfID engine.ID[rack]
	var bookID engine.ID[volume]
	update(t, db, func(tx *engine.Tx) (err error) {
		if bookID, err = l.books.Insert(tx, volume{ISBN: "taken"}); err != nil {
			return err
		}
		shelfID, err = l.rack.Insert(tx, rack{"A"})
		return err
	})
	good := bookLine("good", "")
	for name, c := range map[string]struct {
		collection, line string
		code             engine.Code
		rule             string
	}{
		"not JSON":             {"books", `{"isbn":`, engine.CodeInvalid, "json"},
		"not an object":        {"books", `[1]`, engine.CodeInvalid, "type"},
		"two values":           {"books", bookLine("x", "") + "{}", engine.CodeInvalid, "json"},
		"not UTF-8":            {"books", bookLine("x", "\xff"), engine.CodeInvalid, "json"},
		"a member twice":       {"books", with(bookLine("x", ""), `"pages":2`), engine.CodeInvalid, "json"},
		"unknown member":       {"books", with(bookLine("x", ""), `"author":"me"`), engine.CodeInvalid, "additionalProperties"},
		"missing member":       {"books", `{"isbn":"x"}`, engine.CodeInvalid, "required"},
		"against the schema":   {"books", bookLine("", ""), engine.CodeInvalid, "minLength"},
		"malformed id":         {"books", with(bookLine("x", ""), `"_id":"nonsense"`), engine.CodeInvalid, "id"},
		"number as id":         {"books", with(bookLine("x", ""), `"_id":7`), engine.CodeInvalid, "type"},
		"another collection's": {"books", with(bookLine("x", ""), `"_id":"`+string(shelfID)+`"`), engine.CodeInvalid, "id"},
		"wrong creation time":  {"books", with(bookLine("x", ""), `"_id":"`+string(bookID)+`","_creationTime":5`), engine.CodeInvalid, "id"},
		"absurd creation time": {"books", with(bookLine("x", ""), `"_creationTime":-5`), engine.CodeInvalid, "range"},
		"text as time":         {"books", with(bookLine("x", ""), `"_creationTime":"now"`), engine.CodeInvalid, "type"},
		"id is taken":          {"books", with(bookLine("x", ""), `"_id":"`+string(bookID)+`"`), engine.CodeAlreadyExists, "unique"},
		"unique value taken":   {"books", bookLine("taken", ""), engine.CodeAlreadyExists, "unique"},
		"too long":             {"books", bookLine("x", strings.Repeat("x", 9<<20)), engine.CodeTooLarge, ""},
		"document too large":   {"books", bookLine("x", strings.Repeat("x", 2<<20)), engine.CodeTooLarge, ""},
		"a Before refuses":     {"shelves", `{"name":"no"}`, "refused", ""},
		"an After fails":       {"books", bookLine("x", "bad"), "spoiled", ""},
		"no id to go by":       {"", bookLine("x", ""), engine.CodeInvalid, "required"},
		"id of no collection":  {"", with(bookLine("x", ""), `"_id":"00000000000000000000000000"`), engine.CodeInvalid, "id"},
	} {
		first, before, after := good, "books", bookLine("later", "")
		if c.collection == "shelves" {
			first, before, after = `{"name":"good"}`, "shelves", `{"name":"later"}`
		}
		if c.collection == "" {
			first = with(good, `"_id":"`+freshID(t, l, db)+`"`)
		}
		was := strings.Count(export(t, db, before), "\n")
		input := "\n" + first + "\r\n \n" + c.line + "\n" + after + "\n"
		r, err := db.Import(t.Context(), c.collection, strings.NewReader(input), engine.ImportOptions{})
		var at *engine.ImportError
		if !errors.As(err, &at) || at.Line != 4 {
			t.Errorf("%s: %v, want an error of line 4", name, err)
			continue
		}
		var coded *engine.Error
		var limit *engine.LimitError
		switch {
		case c.code == engine.CodeTooLarge:
			if !errors.As(err, &limit) {
				t.Errorf("%s: %v, want a limit", name, err)
			}
		case !errors.As(err, &coded) || coded.Code != c.code:
			t.Errorf("%s: %v, want code %s", name, err, c.code)
		case c.rule != "" && (len(coded.Issues) == 0 || coded.Issues[0].Rule != c.rule):
			t.Errorf("%s: issues %v, want rule %s", name, coded.Issues, c.rule)
		}
		if r.Created != 1 {
			t.Errorf("%s: %+v, want that the first line is committed", name, r)
		}
		if got := strings.Count(export(t, db, before), "\n"); got != was+1 {
			t.Errorf("%s: %d documents more, want the first line's", name, got-was)
		}
		update(t, db, func(tx *engine.Tx) error { // make room for the next
			d, err := l.byISBN.One(tx, "good")
			if errors.Is(err, engine.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			return l.books.Delete(tx, d.ID)
		})
	}
}

// freshID is an id that no document has.
func freshID(t *testing.T, l *library, db *engine.DB) (id string) {
	t.Helper()
	update(t, db, func(tx *engine.Tx) error {
		drawn, err := l.books.Insert(tx, volume{ISBN: "drawn"})
		if err != nil {
			return err
		}
		id = string(drawn)
		return l.books.Delete(tx, drawn)
	})
	return id
}

func TestImportOfExistingDocuments(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		l := newLibrary()
		db := open(l.schema)
		update(t, db, func(tx *engine.Tx) error {
			_, err := l.rack.Insert(tx, rack{"A"})
			return err
		})
		line := export(t, db, "shelves")
		changed := strings.Replace(line, `"A"`, `"B"`, 1)
		r, err := db.Import(t.Context(), "shelves", strings.NewReader(changed), engine.ImportOptions{Existing: engine.SkipExisting})
		if err != nil || r.Skipped != 1 || export(t, db, "shelves") != line {
			t.Errorf("skip: %+v, %v", r, err)
		}
		r, err = db.Import(t.Context(), "shelves", strings.NewReader(changed), engine.ImportOptions{Existing: engine.ReplaceExisting})
		if err != nil || r.Replaced != 1 || export(t, db, "shelves") != changed {
			t.Errorf("replace: %+v, %v", r, err)
		}
	})
}

func TestImportWithoutTriggers(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	db := enginetest.Open(t, l.schema)
	r, err := db.Import(t.Context(), "shelves", strings.NewReader(`{"name":"no"}`), engine.ImportOptions{SkipTriggers: true})
	if err != nil || r.Created != 1 || l.calls.before+l.calls.after != 0 {
		t.Errorf("%+v, %v; hooks ran %d times", r, err, l.calls.before+l.calls.after)
	}
	// Triggers of other writes run as ever.
	update(t, db, func(tx *engine.Tx) error {
		_, err := l.rack.Insert(tx, rack{"B"})
		return err
	})
	if l.calls.after != 1 {
		t.Errorf("hooks ran %d times after an import without them", l.calls.after)
	}
}

// A line without an id gets one: at the creation time that it has, or now.
func TestImportDrawsIDs(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	db := enginetest.Open(t, l.schema, func(o *engine.Options) { o.Clock = fixedClock })
	const then = `"_creationTime":1234567890123.456`
	_, err := db.Import(t.Context(), "shelves", strings.NewReader(`{"name":"now"}`+"\n"+`{`+then+`,"name":"then"}`), engine.ImportOptions{})
	must(t, err)
	view(t, db, func(r *engine.ReadTx) error {
		docs, err := l.rack.All(r).Collect()
		if err != nil {
			return err
		}
		if len(docs) != 2 || docs[0].Value.Name != "then" || !docs[0].Created.Equal(time.UnixMicro(1234567890123456)) || !docs[1].Created.Equal(fixedClock()) {
			t.Errorf("got %+v and %+v", docs[0], docs[1])
		}
		return nil
	})
	if got := export(t, db, "shelves"); !strings.Contains(got, then) {
		t.Errorf("exported as %s", got)
	}
}

func TestImportKeepsUnknownMembers(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	db := enginetest.Open(t, l.schema)
	if _, err := db.Import(t.Context(), "shelves", strings.NewReader(`{"name":"A","room":7}`), engine.ImportOptions{KeepUnknown: true}); err != nil {
		t.Fatal(err)
	}
	line := export(t, db, "shelves")
	if !strings.HasSuffix(line, `,"name":"A","room":7}`+"\n") {
		t.Errorf("stored as %s", line)
	}
	to := newLibrary()
	other := enginetest.Open(t, to.schema)
	if _, err := other.Import(t.Context(), "", strings.NewReader(line), engine.ImportOptions{KeepUnknown: true}); err != nil {
		t.Fatal(err)
	}
	if got := export(t, other, ""); got != line {
		t.Errorf("imported and exported again as %s", got)
	}
}

// A dry run tells all lines that are wrong, and writes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	db := enginetest.Open(t, l.schema)
	input := strings.Join([]string{bookLine("a", ""), `{`, bookLine("b", "bad"), bookLine("c", ""), bookLine("", ""), bookLine("c", "")}, "\n")
	before := db.Published()
	r, err := db.Import(t.Context(), "books", strings.NewReader(input), engine.ImportOptions{DryRun: true})
	for _, line := range []string{"line 2: ", "line 3: ", "line 5: "} {
		if err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("the error does not tell of %s: %v", line, err)
		}
	}
	for _, line := range []string{"line 1: ", "line 4: "} {
		if err != nil && strings.Contains(err.Error(), line) {
			t.Errorf("the error tells of %s: %v", line, err)
		}
	}
	if r.Lines != 6 {
		t.Errorf("%+v", r)
	}
	if got := export(t, db, ""); got != "" || db.Published() != before {
		t.Errorf("a dry run wrote %s", got)
	}
	if _, err := db.Import(t.Context(), "books", strings.NewReader(strings.Repeat("{\n", 1000)), engine.ImportOptions{DryRun: true}); strings.Count(fmt.Sprint(err), "line ") != 100 {
		t.Errorf("a thousand faults are told as %v", err)
	}
}

// More than one transaction takes, in documents that are too many for a limit too.
func TestLargeImport(t *testing.T) {
	t.Parallel()
	overStores(t, func(t *testing.T, open func(*engine.Schema, ...func(*engine.Options)) *engine.DB) {
		l := newLibrary()
		db := open(l.schema, func(o *engine.Options) { o.Limits.WriteDocuments = 100 })
		var input strings.Builder
		for i := range 3000 {
			input.WriteString(bookLine(fmt.Sprint(i), strings.Repeat("x", i%50)) + "\n")
		}
		r, err := db.Import(t.Context(), "books", strings.NewReader(input.String()), engine.ImportOptions{})
		if err != nil || r.Created != 3000 || l.calls.after < 3000 {
			t.Fatalf("%+v, %v", r, err)
		}
		view(t, db, func(r *engine.ReadTx) error {
			n, err := l.books.All(r).Count()
			if n != 3000 {
				t.Errorf("%d documents", n)
			}
			return err
		})
	})
}

// What the stream fails with is no line's fault, and what came before it is there.
func TestImportOfABrokenStream(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	db := enginetest.Open(t, l.schema)
	broken := errors.New("the line went dead")
	r, err := db.Import(t.Context(), "books", io.MultiReader(strings.NewReader(bookLine("a", "")+"\n{"), iotest.ErrReader(broken)), engine.ImportOptions{})
	if !errors.Is(err, broken) || errors.As(err, new(*engine.ImportError)) || r.Created != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := db.Export(t.Context(), "books", writerFunc(func([]byte) (int, error) { return 0, broken })); !errors.Is(err, broken) {
		t.Errorf("export: %v", err)
	}
	for _, run := range []func(string) error{
		func(c string) error { _, err := db.Export(t.Context(), c, io.Discard); return err },
		func(c string) error {
			_, err := db.Import(t.Context(), c, strings.NewReader(""), engine.ImportOptions{})
			return err
		},
	} {
		if err := run("papers"); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("a collection that does not exist: %v", err)
		}
	}
	if _, err := db.Import(t.Context(), "books", strings.NewReader("\ufeff"+bookLine("b", "")), engine.ImportOptions{}); err != nil {
		t.Errorf("a mark in front: %v", err)
	}
}

func TestCollectionOf(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	db := enginetest.Open(t, l.schema)
	update(t, db, func(tx *engine.Tx) error {
		id, err := l.rack.Insert(tx, rack{"A"})
		if name, ok := l.schema.CollectionOf(string(id)); !ok || name != "shelves" {
			t.Errorf("the collection of %s is %q, %v", id, name, ok)
		}
		return err
	})
	for _, id := range []string{"", "nonsense", "00000000000000000000000000"} {
		if name, ok := l.schema.CollectionOf(id); ok {
			t.Errorf("%q is of %s", id, name)
		}
	}
}
