package triggers_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

type Page struct {
	Title  string `json:"title"`
	Slug   string `json:"slug"`
	Locked bool   `json:"locked"`
}

// Before triggers fill in what follows from other fields, and refuse what must not be.
func ExampleBeforeUpdate() {
	s := engine.NewSchema()
	pages := engine.Define[Page](s, "pages")

	slug := func(p *Page) { p.Slug = strings.ReplaceAll(strings.ToLower(p.Title), " ", "-") }
	triggers.BeforeCreate(pages, "slug", func(_ *engine.ReadTx, p *Page) error {
		slug(p)
		return nil
	})
	triggers.BeforeUpdate(pages, "locked", func(_ *engine.ReadTx, before *engine.Doc[Page], after *Page) error {
		if before.Value.Locked && after.Locked {
			return engine.Errorf(engine.CodeForbidden, "%q is locked", before.Value.Title)
		}
		return nil
	})
	triggers.BeforeUpdate(pages, "slug", func(_ *engine.ReadTx, _ *engine.Doc[Page], after *Page) error {
		slug(after)
		return nil
	}, triggers.Fields("title"))

	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	err = db.Update(context.Background(), func(tx *engine.Tx) error {
		id, err := pages.Insert(tx, Page{Title: "About us"})
		if err != nil {
			return err
		}
		if err := pages.Patch(tx, id, func(p *Page) error { p.Title, p.Locked = "About All of Us", true; return nil }); err != nil {
			return err
		}
		// A refusal undoes the one write, and the transaction goes on.
		err = pages.Patch(tx, id, func(p *Page) error { p.Title = "Gone"; return nil })
		var refused *engine.Error
		fmt.Println(errors.As(err, &refused), refused.Code, refused)

		page, err := pages.Get(tx, id)
		if err != nil {
			return err
		}
		fmt.Println(page.Value.Slug)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// true forbidden "About All of Us" is locked
	// about-all-of-us
}
