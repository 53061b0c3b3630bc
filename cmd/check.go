package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
)

// check opens the database, which recovers it from a crash, compares documents with indexes, and has the store read all that
// it keeps.
func (p *program) check(ctx context.Context) error {
	if err := p.checkData(); err != nil {
		return err
	}
	what := p.data
	if p.Database.Store != nil {
		what = "the database"
	} else if _, err := os.Stat(filepath.Join(p.data, "MANIFEST")); err != nil {
		// Opening would make a new database where there is none, and find nothing wrong with it.
		return fmt.Errorf("there is no database in %s (%w); name its folder with --data", p.data, reason(err))
	}
	db, err := p.open()
	if err != nil {
		return err
	}
	err = db.Check(ctx)
	if closing := db.Close(); err == nil && closing != nil {
		err = fmt.Errorf("closing the database: %w", closing)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s: no fault found\n", what)
	return err
}

func (p *program) version(context.Context) error {
	v := p.Version
	if v == "" {
		v = "(devel)"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			v = info.Main.Version
		}
	}
	_, err := fmt.Fprintf(p.stdout, "%s %s (%s, %s/%s)\n", p.name(), v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
