package cmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimosadb/mimosa/engine"
)

// seedMark says that the database has been seeded.
type seedMark struct {
	Name string `json:"name"`
}

// seeds is where the mark is kept: once a schema, however often it is run.
type seeds struct {
	marks  *engine.Collection[seedMark]
	byName *engine.Index[seedMark]
}

type seedsKey struct{}

// declareSeeds must come before the schema is opened.
func declareSeeds(s *engine.Schema) *seeds {
	return engine.Attach(s, seedsKey{}, func() *seeds {
		marks := engine.Define[seedMark](s, "mimosaSeeds")
		return &seeds{marks, marks.AddUnique("byName", "name")}
	})
}

// seedName leaves room for seeds of later versions.
const seedName = "first"

// seed runs Seed, unless it ran before. The mark is written in its transaction: both are there or neither.
func (p *program) seed(ctx context.Context, db *engine.DB) error {
	if p.Seed == nil {
		return nil
	}
	s := declareSeeds(p.Schema)
	err := db.Update(ctx, func(tx *engine.Tx) error {
		switch _, err := s.byName.One(tx, seedName); {
		case err == nil:
			return nil
		case !errors.Is(err, engine.ErrNotFound):
			return err
		}
		if _, err := s.marks.Insert(tx, seedMark{Name: seedName}); err != nil {
			return err
		}
		return p.Seed(tx)
	})
	if err != nil {
		return fmt.Errorf("filling the new database: %w", err)
	}
	return nil
}
