package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/mimosadb/mimosa/engine"
)

// checked is what a check has found: a line for each fault, and how many there are, those without a line included.
type checked struct {
	Lines []string `json:"lines"`
	Count int      `json:"count"`
}

// report makes lines of the faults that a check has returned. The error is another one.
func report(err error) (c checked, other error) {
	var found *engine.CheckError
	if !errors.As(err, &found) {
		return c, err
	}
	if err != error(found) { //nolint:errorlint // it ended before its time
		other = err
	}
	c.Count = found.Count()
	for _, f := range found.Faults {
		c.Lines = append(c.Lines, fmt.Sprintf("%s: %s", f.Kind, oneLine(f)))
	}
	for _, kind := range slices.Sorted(maps.Keys(found.Counts)) {
		if more := found.Counts[kind] - engine.FaultsKept; more > 0 {
			c.Lines = append(c.Lines, fmt.Sprintf("%s: and %d more", kind, more))
		}
	}
	return c, other
}

// check reads all that is stored: of the database that the program serves, or of the folder as it is, which it recovers from a
// crash and does not change besides. Each fault is a line.
func (p *program) check(ctx context.Context) error {
	what := p.data
	if p.Database.Store != nil {
		what = "the database"
	}
	running, err := p.served(ctx, false)
	if err != nil {
		return err
	}
	var found checked
	if running != nil {
		found, err = running.check(ctx)
		_ = running.close() // idle connections
	} else {
		found, err = report(engine.Inspect(ctx, p.Schema, p.databaseOptions()))
	}
	for _, line := range found.Lines {
		if _, err := fmt.Fprintln(p.stdout, line); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted before everything was checked")
	case err != nil && running == nil:
		return explainData(err, p.data)
	case err != nil:
		return err
	case found.Count > 0:
		return fmt.Errorf("%s: %s found", what, plural(found.Count, "fault"))
	}
	_, err = fmt.Fprintf(p.stdout, "%s: no fault found\n", what)
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
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
