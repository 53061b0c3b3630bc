package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
)

// keeper is what the commands that look after data need of a database: one that they open, or one that is being served.
type keeper interface {
	backup(ctx context.Context, w io.Writer, since engine.Timestamp) (engine.BackupInfo, error)
	export(ctx context.Context, collection string, w io.Writer) (engine.ExportInfo, error)
	load(ctx context.Context, collection string, r io.Reader, o engine.ImportOptions) (engine.ImportResult, error)
	close() error
}

// served returns the keeper of the program that serves the data folder, nil where there is none. A folder without a database is
// an error, unless create is set. The schema is complete when it has been called.
func (p *program) served(ctx context.Context, create bool) (*remote, error) {
	if err := p.checkData(); err != nil {
		return nil, err
	}
	if p.Schema == nil {
		return nil, errNoSchema
	}
	p.databaseOptions()
	if p.Database.Store == nil {
		if r := dialControl(ctx, p.data); r != nil {
			return r, nil
		}
		// Opening would make a new database where there is none.
		if _, err := os.Stat(filepath.Join(p.data, "MANIFEST")); err != nil && !create {
			return nil, fmt.Errorf("there is no database in %s (%w); name its folder with --data", p.data, reason(err))
		}
	}
	return nil, nil
}

// keep returns the keeper of the data folder: the program that serves it, where there is one, and otherwise the folder itself.
// A command that creates is one that writes documents.
func (p *program) keep(ctx context.Context, create bool) (keeper, error) {
	r, err := p.served(ctx, create)
	if err != nil {
		return nil, err
	}
	if r != nil {
		return r, nil
	}
	p.Database.Maintenance = true
	// What is only read may break a schema that has changed: that is no reason to refuse a backup of it.
	p.Database.AllowInvalid = p.Database.AllowInvalid || !create
	db, err := p.open()
	if err != nil {
		return nil, err
	}
	return &direct{db, p.data}, nil
}

// keeping runs fn with the keeper of the data folder.
func (p *program) keeping(ctx context.Context, create bool, fn func(keeper) error) error {
	k, err := p.keep(ctx, create)
	if err != nil {
		return err
	}
	err = fn(k)
	if closing := k.close(); err == nil && closing != nil {
		err = fmt.Errorf("closing the database: %w", closing)
	}
	return err
}

// direct is the keeper of a database of this process. Its errors are lines for a person.
type direct struct {
	db  *engine.DB
	dir string
}

func (d *direct) backup(ctx context.Context, w io.Writer, since engine.Timestamp) (engine.BackupInfo, error) {
	info, err := d.db.Backup(ctx, w, engine.BackupOptions{Since: since})
	return info, d.explain(err)
}

func (d *direct) export(ctx context.Context, collection string, w io.Writer) (engine.ExportInfo, error) {
	info, err := d.db.Export(ctx, collection, w)
	return info, d.explain(err)
}

func (d *direct) load(ctx context.Context, collection string, r io.Reader, o engine.ImportOptions) (engine.ImportResult, error) {
	result, err := d.db.Import(ctx, collection, r, o)
	return result, d.explain(err)
}

func (d *direct) check(ctx context.Context) (checked, error) { return report(d.db.Check(ctx)) }
func (d *direct) close() error                               { return d.db.Close() }

func (d *direct) explain(err error) error {
	if errors.Is(err, storage.ErrFull) {
		return explainFull(d.dir)
	}
	return err
}
