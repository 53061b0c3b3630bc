package cmd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mimosadb/mimosa/engine"
)

// transferCommands are the commands that write and read JSON Lines.
func (p *program) transferCommands() []*cobra.Command {
	export := &cobra.Command{
		Use: "export", Short: "Write documents as JSON Lines, also while the program serves",
		Long: "Writes the documents of one collection, or of all, as of one moment: one JSON object a line, with _id and\n" +
			"_creationTime. It may be run while the program serves the data folder.",
		Args: cobra.NoArgs, RunE: p.failing(p.export),
	}
	f := export.Flags()
	f.StringVar(&p.data, "data", defaultData, "folder that holds the data")
	f.StringVarP(&p.collection, "collection", "c", "", "collection to write; all of them when it is not given")
	f.StringVarP(&p.out, "out", "o", "-", `file to write; "-" is standard output`)
	f.StringVar(&p.outDir, "out-dir", "", "folder to write one file a collection to, named after it")
	f.BoolVar(&p.force, "force", false, "replace files that there are")
	export.MarkFlagsMutuallyExclusive("out", "out-dir")

	load := &cobra.Command{
		Use: "import [FILE...]", Short: "Read documents from JSON Lines, also while the program serves",
		Long: "Reads one JSON object a line from files, or from standard input (\"-\"), and stores them like any other write:\n" +
			"validated, and with triggers. Lines are committed in order; the first that fails ends it, and what stands before\n" +
			"that line stays. Lines without _id get a new one and need --collection.",
		RunE: p.failingWith(p.load),
	}
	f = load.Flags()
	f.StringVar(&p.data, "data", defaultData, "folder that holds the data")
	f.StringVarP(&p.collection, "collection", "c", "", "collection of the documents; by default each line's _id tells it")
	f.StringVar(&p.existing, "existing", "refuse", "what to do with documents that are there already: refuse, skip or replace")
	f.BoolVar(&p.loading.SkipTriggers, "skip-triggers", false, "run no trigger")
	f.BoolVar(&p.loading.KeepUnknown, "keep-unknown", false, "keep members that the program does not know, in place of refusing them")
	f.BoolVar(&p.loading.DryRun, "dry-run", false, "write nothing; tell what is wrong with up to 100 lines")
	return []*cobra.Command{export, load}
}

func (p *program) export(ctx context.Context) error {
	return p.keeping(ctx, false, func(k keeper) error {
		if p.outDir != "" {
			return p.exportFiles(ctx, k)
		}
		return p.writeTo(p.out, false, func(w io.Writer) error {
			info, err := k.export(ctx, p.collection, w)
			if err == nil {
				p.say("%d documents, as of %d", info.Documents, info.At)
			}
			return err
		})
	})
}

// exportFiles takes one export apart, so that all files are of one moment. The files are there when all are whole.
func (p *program) exportFiles(ctx context.Context, k keeper) error {
	if err := os.MkdirAll(p.outDir, 0o700); err != nil {
		return fmt.Errorf("cannot write to %s: %w", p.outDir, reason(err))
	}
	s := &splitter{p: p, files: map[string]*output{}}
	lines, feed := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := s.split(lines)
		_ = lines.CloseWithError(err) // never fails
		done <- err
	}()
	info, err := k.export(ctx, p.collection, feed)
	_ = feed.CloseWithError(err) // never fails; nil is the end
	if splitting := <-done; err == nil {
		err = splitting
	}
	for name, out := range s.files {
		if failed := out.finish(err); err == nil && failed != nil {
			err = fmt.Errorf("%s: %w", name, failed)
		}
	}
	if err == nil {
		p.say("%d documents of %d collections, as of %d", info.Documents, len(s.files), info.At)
	}
	return err
}

// splitter writes each line to the file of its collection.
type splitter struct {
	p     *program
	files map[string]*output
}

func (s *splitter) split(r io.Reader) error {
	in := bufio.NewReaderSize(r, 256<<10)
	var out *output
	var current string // collection of out
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := s.collection(line)
		if err != nil {
			return err
		}
		if out == nil || name != current {
			if out = s.files[name]; out == nil {
				if out, err = createOutput(filepath.Join(s.p.outDir, name+".jsonl"), s.p.force); err != nil {
					return err
				}
				s.files[name] = out
			}
			current = name
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
}

// collection finds the name in the id, with which every exported line begins.
func (s *splitter) collection(line []byte) (string, error) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"_id":"`))
	id, _, whole := bytes.Cut(rest, []byte(`"`))
	if ok && whole {
		if name, ok := s.p.Schema.CollectionOf(string(id)); ok {
			return name, nil
		}
	}
	return "", errors.New("an exported line has no id of a collection that this program has; is the running one another version?")
}

func (p *program) load(ctx context.Context, files []string) error {
	switch p.existing {
	case "refuse":
	case "skip":
		p.loading.Existing = engine.SkipExisting
	case "replace":
		p.loading.Existing = engine.ReplaceExisting
	default:
		return misuse(fmt.Sprintf("--existing %q is none of refuse, skip, replace", p.existing))
	}
	if len(files) == 0 {
		files = []string{"-"}
	}
	return p.keeping(ctx, true, func(k keeper) error {
		for _, name := range files {
			if err := p.loadFile(ctx, k, name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *program) loadFile(ctx context.Context, k keeper, name string) error {
	f, err := p.input(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	r, err := k.load(ctx, p.collection, f, p.loading)
	if errors.Is(err, errUnknownImport) {
		return fmt.Errorf("%s: %w; those with an _id can be imported again with --existing skip", name, err)
	}
	what := "committed"
	if p.loading.DryRun {
		what = "nothing is written; it would be"
	}
	p.say("%s: %d lines; %s: %d created, %d replaced, %d skipped", name, r.Lines, what, r.Created, r.Replaced, r.Skipped)
	if err == nil {
		return nil
	}
	faults := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if len(faults) == 1 {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, fault := range faults { // of a dry run
		p.say("%s: %s", name, fault)
	}
	return fmt.Errorf("%s: %d lines are wrong", name, len(faults))
}
