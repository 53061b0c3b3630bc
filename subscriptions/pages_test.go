package subscriptions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// addPage watches a page of the notes of room r, the newest first: after cursor if it is not "", with a journal if there is one.
func (c *client) addPage(id uint32, cursor, journal string) {
	c.t.Helper()
	args := `{"room":"r","paginationOpts":{"numItems":2,"cursor":null}}`
	if cursor != "" {
		args = `{"room":"r","paginationOpts":{"numItems":2,"cursor":"` + cursor + `"}}`
	}
	c.send(&wire.ModifyQuerySet{BaseVersion: c.next, NewVersion: c.next + 1, Modifications: []wire.QueryChange{
		{QueryID: id, Path: "notes:page", Args: json.RawMessage(args), Journal: journal},
	}})
	c.next++
	c.until("the page", func() bool { return c.version.QuerySet == c.next })
}

// page is what the client has of a page.
func (c *client) page(id uint32) engine.Page[string] {
	c.t.Helper()
	var p engine.Page[string]
	if err := json.Unmarshal([]byte(c.values[id]), &p); err != nil {
		c.t.Fatalf("page %d: %v: %s", id, err, c.values[id])
	}
	return p
}

func (c *client) texts(id uint32) string { return strings.Join(c.page(id).Items, " ") }

func (c *client) untilTexts(id uint32, want string) {
	c.t.Helper()
	c.until(want, func() bool { return !strings.HasPrefix(c.values[id], "!") && c.texts(id) == want })
}

// pagesOf watches the first n pages, under the ids from 0.
func (c *client) pagesOf(n int) {
	c.t.Helper()
	cursor := ""
	for i := range uint32(n) {
		c.addPage(i, cursor, "")
		cursor = c.page(i).ContinueCursor
	}
}

func (h *host) remove(room, text string) {
	h.t.Helper()
	err := h.db.Update(context.Background(), func(tx *engine.Tx) error {
		for d, err := range h.app.byRoom.Eq(tx, room).Docs() {
			if err != nil {
				return err
			}
			if d.Value.Text == text {
				return h.app.notes.Delete(tx, d.ID)
			}
		}
		return fmt.Errorf("no note %q", text)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// move puts a note to another room, which an index keeps beside the first.
func (h *host) move(text, from, to string) {
	h.t.Helper()
	err := h.db.Update(context.Background(), func(tx *engine.Tx) error {
		for d, err := range h.app.byRoom.Eq(tx, from).Docs() {
			if err != nil {
				return err
			}
			if d.Value.Text == text {
				return h.app.notes.Patch(tx, d.ID, func(n *note) error { n.Room = to; return nil })
			}
		}
		return fmt.Errorf("no note %q", text)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// The pages of a client stay where they are: what comes and goes changes the page that it lies in, and no other is run again.
func TestLivePages(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	for _, text := range []string{"1", "2", "3", "4", "5"} {
		h.add("r", text)
	}
	c := h.connect()
	c.watch()
	c.expect("T 1.0")
	c.pagesOf(3)
	if got := c.texts(0) + "|" + c.texts(1) + "|" + c.texts(2); got != "5 4|3 2|1" || !c.page(2).IsDone {
		t.Fatalf("pages %s", got)
	}
	first := c.page(0)
	journals := fmt.Sprint(c.journal)
	if c.journal[0] == "" || c.journal[0] == c.journal[1] {
		t.Errorf("journals %v", c.journal)
	}
	before := h.srv.Stats()
	h.add("r", "6")
	c.untilTexts(0, "6 5 4")
	h.move("3", "r", "elsewhere")
	c.untilTexts(1, "2")
	h.remove("r", "1")
	c.untilTexts(2, "")
	h.move("3", "elsewhere", "r")
	c.untilTexts(1, "3 2")
	c.quiet()
	if n := h.srv.Stats().Evaluations - before.Evaluations; n != 4 {
		t.Errorf("%d pages were run again, want 4", n)
	}
	if after := c.page(0); after.ContinueCursor != first.ContinueCursor || fmt.Sprint(c.journal) != journals {
		t.Errorf("the page's end has moved: %+v, was %+v; journals %v, were %s", after, first, c.journal, journals)
	}
	if n := h.srv.Stats().Queries; n != 3 {
		t.Errorf("%d queries are watched, want 3", n)
	}
}

// A client that comes back with its journals finds its pages as it left them, with all that has happened meanwhile.
func TestPagesAfterReconnect(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	for _, text := range []string{"1", "2", "3", "4"} {
		h.add("r", text)
	}
	c := h.connect()
	c.pagesOf(2)
	cursor, journals := c.page(0).ContinueCursor, c.journal
	_ = c.conn.Close()
	h.add("r", "5")
	h.move("2", "r", "elsewhere")
	h.remove("r", "4")
	for what, again := range map[string]struct {
		journals map[uint32]string
		want     string
	}{
		"with its journals": {journals, "5 3|1"},
		// Without them its pages are read anew; with others', as they have them.
		"with none":            {nil, "5 3|1"},
		"with what is none":    {map[uint32]string{0: "x", 1: strings.Repeat("A", 900)}, "5 3|1"},
		"with one another's":   {map[uint32]string{0: journals[1], 1: journals[0]}, "5 3|1"},
		"with cursors of ours": {map[uint32]string{0: cursor, 1: cursor}, "5 3|1"},
	} {
		back := h.connect(c.session)
		back.addPage(0, "", again.journals[0])
		back.addPage(1, cursor, again.journals[1])
		if got := back.texts(0) + "|" + back.texts(1); got != again.want {
			t.Errorf("%s: %s, want %s", what, got, again.want)
		}
		h.add("r", "6")
		if what == "with its journals" {
			back.untilTexts(0, "6 5 3")
			for id, j := range journals {
				if back.journal[id] != j {
					t.Errorf("the journal of page %d is another", id)
				}
			}
		}
		h.add("r", "7")
		back.until(what+": two more", func() bool { return strings.HasPrefix(back.texts(0), "7 6 5") })
		h.remove("r", "6")
		h.remove("r", "7")
		back.until(what+": two less", func() bool { return back.texts(0) == "5 3" })
		_ = back.conn.Close()
	}
}

// Pages with the same journal are one query, evaluated once for all; one that is asked for anew has an end of its own.
func TestPagesAreShared(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	for _, text := range []string{"1", "2", "3", "4"} {
		h.add("r", text)
	}
	evaluations := func() int64 { return h.srv.Stats().Evaluations }
	a, b := h.connect(), h.connect()
	a.addPage(0, "", "")
	b.addPage(0, "", "")
	if n := evaluations(); n != 1 {
		t.Errorf("%d evaluations for two clients that open the same page, want 1", n)
	}
	h.add("r", "5")
	a.untilTexts(0, "5 4 3")
	b.untilTexts(0, "5 4 3")
	if n := evaluations(); n != 2 {
		t.Errorf("%d evaluations after one write, want 2", n)
	}
	fresh := h.connect()
	fresh.addPage(0, "", "")
	if fresh.texts(0) != "5 4" || evaluations() != 3 {
		t.Errorf("a page that is opened now has %s; %d evaluations, want 3", fresh.texts(0), evaluations())
	}
	again := h.connect()
	again.addPage(0, "", a.journal[0])
	if again.texts(0) != "5 4 3" || evaluations() != 3 {
		t.Errorf("with the journal of another it has %s; %d evaluations, want 3", again.texts(0), evaluations())
	}
	h.add("r", "6")
	for _, c := range []*client{a, b, again} {
		c.untilTexts(0, "6 5 4 3")
	}
	fresh.untilTexts(0, "6 5 4")
	if st := h.srv.Stats(); st.Evaluations != 5 || st.Queries != 2 {
		t.Errorf("%d evaluations of %d queries, want 5 of 2", st.Evaluations, st.Queries)
	}
	for _, c := range []*client{a, b, fresh, again} {
		c.unwatch(0)
		c.until("no query", func() bool { return len(c.values) == 0 })
	}
	if n := h.srv.Stats().Queries; n != 0 {
		t.Errorf("%d queries are watched when nobody watches any", n)
	}
}

// A page that fails for a while keeps its end, for a client that comes back meanwhile too.
func TestFailingPageKeepsItsEnd(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	for _, text := range []string{"1", "2", "3"} {
		h.add("r", text)
	}
	c := h.connect()
	c.addPage(0, "", "")
	journal := c.journal[0]
	h.add("r", "broken")
	c.until("the failure", func() bool { return c.values[0] == "!forbidden" })
	if c.journal[0] != journal {
		t.Errorf("the journal of the failure is %q, want %q", c.journal[0], journal)
	}
	back := h.connect()
	back.addPage(0, "", c.journal[0])
	if back.values[0] != "!forbidden" {
		t.Errorf("back: %s", back.values[0])
	}
	h.remove("r", "broken")
	h.add("r", "4")
	c.untilTexts(0, "4 3 2")
	back.untilTexts(0, "4 3 2")
}

// A cursor that is refused says so in the words that clients know.
func TestInvalidCursor(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	c := h.connect()
	c.watch(0, "notes:page", `{"room":"r","paginationOpts":{"numItems":2,"cursor":"nonsense"}}`)
	m, err := c.receive()
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.(*wire.Transition).Modifications[0].Encoded.Result()
	if err != nil || r.Failure == nil || !strings.HasPrefix(r.Failure.Message, "InvalidCursor") || codeOf(r.Failure) != "invalid" {
		t.Errorf("%+v (%v)", r, err)
	}
}

// Calls over HTTP read pages too.
func TestPagesOverHTTP(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	for _, text := range []string{"1", "2", "3"} {
		h.add("r", text)
	}
	cursor, got := "null", ""
	for range 2 {
		body := `{"path":"notes:page","format":"convex_encoded_json","args":[{"room":"r","paginationOpts":{"numItems":2,"cursor":` + cursor + `}}]}`
		resp, err := http.Post(h.url+"/api/query", "application/json", bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var answer struct {
			Value engine.Page[string] `json:"value"`
		}
		if err != nil || json.Unmarshal(raw, &answer) != nil {
			t.Fatalf("%s (%v)", raw, err)
		}
		got += fmt.Sprintln(answer.Value.Items, answer.Value.IsDone)
		cursor = `"` + answer.Value.ContinueCursor + `"`
	}
	if got != "[3 2] false\n[1] true\n" {
		t.Errorf("read %s", got)
	}
}

// At every moment that a client sees, its pages put together are the list, whatever is written meanwhile.
func TestPagesUnderLoad(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	const notes, writers, enough = 24, 4, 20
	for i := range notes {
		h.add([]string{"r", "elsewhere"}[i%2], fmt.Sprint("n", i))
	}
	c := h.connect()
	pages := uint32(0)
	for cursor := ""; pages == 0 || !c.page(pages-1).IsDone; pages++ {
		c.addPage(pages, cursor, "")
		cursor = c.page(pages).ContinueCursor
	}
	if pages != notes/4 {
		t.Fatalf("%d pages", pages)
	}
	const whole = 1000
	c.watch(whole, "notes:list", `{"room":"r"}`)
	c.until("the whole list", func() bool { return c.values[whole] != "" })
	var stop atomic.Bool // once the client has seen enough moments
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				text := fmt.Sprint("n", w+writers*(i*7%(notes/writers)))
				err := h.db.Update(context.Background(), func(tx *engine.Tx) error {
					for d, err := range h.app.notes.All(tx).Docs() {
						if err != nil {
							return err
						}
						if d.Value.Text == text {
							to := map[string]string{"r": "elsewhere", "elsewhere": "r"}[d.Value.Room]
							return h.app.notes.Patch(tx, d.ID, func(n *note) error { n.Room = to; return nil })
						}
					}
					return fmt.Errorf("no note %q", text)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
		h.add("r", "last")
	}()
	defer func() {
		stop.Store(true)
		<-done
	}()
	moments := 0
	c.until("the end", func() bool {
		if moments++; moments == enough {
			stop.Store(true)
		}
		var all, shown []string
		if err := json.Unmarshal([]byte(c.values[whole]), &all); err != nil {
			t.Fatal(err)
		}
		for id := range pages {
			shown = append(shown, c.page(id).Items...)
		}
		slices.Reverse(shown)
		if !slices.Equal(shown, all) {
			t.Fatalf("the pages show\n%v, the list is\n%v", shown, all)
		}
		return slices.Contains(all, "last")
	})
}
