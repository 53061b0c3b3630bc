package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mimosadb/mimosa/engine"
)

// backupCommands are the commands that write and read backups.
func (p *program) backupCommands() []*cobra.Command {
	backup := &cobra.Command{
		Use: "backup", Short: "Write a backup, also while the program serves",
		Long: "Writes all data, as of one moment, to a file or to standard output. It may be run while the program serves the\n" +
			"data folder. With --since the backup is incremental: it holds what has changed since an earlier one, and is\n" +
			"restored together with it.",
		Args: cobra.NoArgs, RunE: p.failing(p.backup),
	}
	f := backup.Flags()
	f.StringVar(&p.data, "data", defaultData, "folder that holds the data")
	f.StringVarP(&p.out, "out", "o", "-", `file to write; "-" is standard output`)
	f.StringVar(&p.since, "since", "", "earlier backup that this one follows: its file, or its timestamp")
	f.BoolVar(&p.force, "force", false, "replace the file if there is one")
	restore := &cobra.Command{
		Use: "restore FILE...", Short: "Restore backups into an empty folder",
		Long: "Restores a full backup, and the incremental ones that follow it, in order, into a folder that is missing or\n" +
			"empty, and checks the result. \"-\" is standard input.",
		Args: cobra.MinimumNArgs(1), RunE: p.failingWith(p.restore),
	}
	restore.Flags().StringVar(&p.data, "data", defaultData, "folder to restore into")
	return []*cobra.Command{backup, restore}
}

func (p *program) backup(ctx context.Context) error {
	since, err := p.sinceTimestamp()
	if err != nil {
		return err
	}
	var info engine.BackupInfo
	err = p.keeping(ctx, false, func(k keeper) error {
		return p.writeTo(p.out, true, func(w io.Writer) error {
			info, err = k.backup(ctx, w, since)
			return err
		})
	})
	if err != nil {
		return err
	}
	kind := "full backup"
	if info.Since > 0 {
		kind = fmt.Sprintf("backup since %d", info.Since)
	}
	p.say("%s at %d: %d documents, %d deleted, %d sessions, %d bytes", kind, info.At, info.Documents, info.Deleted, info.Sessions, info.Bytes)
	if info.Unmarked {
		p.say("there was too little disk space left for the data folder to note it, so the next backup has to be a full one")
	}
	return nil
}

// sinceTimestamp reads --since. A file is read to its end: what follows a damaged backup cannot be restored.
func (p *program) sinceTimestamp() (engine.Timestamp, error) {
	if p.since == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(p.since, 10, 64); err == nil {
		if n == 0 {
			return 0, misuse("--since 0 is no timestamp of a backup; leave it out for a full one")
		}
		return engine.Timestamp(n), nil
	}
	f, err := p.input(p.since)
	if err != nil {
		return 0, misuse(fmt.Sprintf("--since takes the file of an earlier backup or its timestamp: %v", err))
	}
	defer func() { _ = f.Close() }()
	info, err := engine.InspectBackup(f)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.since, err)
	}
	return info.At, nil
}

func (p *program) restore(ctx context.Context, files []string) error {
	if err := p.checkData(); err != nil {
		return err
	}
	if p.Schema == nil {
		return errNoSchema
	}
	var readers []io.Reader
	for i, name := range files {
		f, err := p.input(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		readers = append(readers, &named{f, fmt.Sprintf("%s (backup %d)", name, i+1)})
	}
	o := p.databaseOptions()
	o.Maintenance = true
	info, err := engine.Restore(ctx, p.Schema, o, readers...)
	switch {
	case errors.Is(err, engine.ErrNotEmpty):
		return fmt.Errorf("the data folder %s is not empty; name a new one with --data", p.data)
	case err != nil && info.Head == 0:
		return explainRestore(err, p.data)
	case err != nil: // it was restored, and then something was found
		return fmt.Errorf("the data was restored to %s, but: %w", p.data, err)
	}
	p.say("restored %d documents and %d sessions, as of %d, to %s", info.Documents, info.Sessions, info.At, p.data)
	if len(info.Migrations) > 0 {
		p.say("when it is served, migrations run first: %s", strings.Join(info.Migrations, ", "))
	}
	return nil
}

// named adds the name of a file to the errors of reading it.
type named struct {
	io.Reader
	name string
}

func (n *named) Read(b []byte) (int, error) {
	c, err := n.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("reading %s: %w", n.name, reason(err))
	}
	return c, err
}
