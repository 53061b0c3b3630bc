package cmd

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// check compares documents with indexes, and has the store read all that it keeps: of the database that the program serves, or
// of the folder, which it opens and recovers from a crash.
func (p *program) check(ctx context.Context) error {
	what := p.data
	if p.Database.Store != nil {
		what = "the database"
	}
	if err := p.keeping(ctx, false, func(k keeper) error { return k.check(ctx) }); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "%s: no fault found\n", what)
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
