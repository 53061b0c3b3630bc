package triggers_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios give into testdata")

// TestScenarios plays the scripts in testdata. Each file is a row of blocks: a command with its input, a line of four dashes,
// and what it is to print, up to an empty line.
//
//	define [cascade=N] [nesting=N] [writes=N]   opens a new database with these triggers
//	run [trace]                                 runs a mutation
//	docs                                        lists the documents
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			blocks, err := parseBlocks(string(source))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			var r *rig
			var rewritten strings.Builder
			for _, b := range blocks {
				got := play(t, &r, b)
				if !*rewrite && b.command != "" && got != b.want {
					t.Errorf("%s:%d: %s\n%s\ngot:\n%s\nwant:\n%s", file, b.line, b.command, strings.Join(b.input, "\n"), got, b.want)
				}
				b.want = got
				b.write(&rewritten)
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(rewritten.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// block is one command of a scenario file, or its comment.
type block struct {
	line    int
	comment string // lines before the command, with #, and empty ones
	command string
	input   []string
	want    string
}

func parseBlocks(source string) ([]*block, error) {
	lines := strings.Split(strings.TrimSuffix(source, "\n"), "\n")
	var out []*block
	for i := 0; i < len(lines); {
		b := &block{}
		for i < len(lines) && (lines[i] == "" || lines[i][0] == '#') {
			b.comment += lines[i] + "\n"
			i++
		}
		if i < len(lines) {
			b.line, b.command = i+1, lines[i]
			for i++; ; i++ {
				if i == len(lines) || lines[i] == "" {
					return nil, fmt.Errorf("line %d: no dashes after the input", i+1)
				}
				if lines[i] == "----" {
					break
				}
				b.input = append(b.input, lines[i])
			}
			for i++; i < len(lines) && lines[i] != ""; i++ {
				b.want += lines[i] + "\n"
			}
		}
		out = append(out, b)
	}
	return out, nil
}

func (b *block) write(out *strings.Builder) {
	out.WriteString(b.comment)
	if b.command != "" {
		fmt.Fprintf(out, "%s\n", strings.Join(append(append([]string{b.command}, b.input...), "----"), "\n"))
		out.WriteString(b.want)
	}
}

// play runs one command and returns what it prints.
func play(t *testing.T, r **rig, b *block) string {
	t.Helper()
	words := strings.Fields(b.command)
	if len(words) == 0 {
		return ""
	}
	fatal := func(format string, a ...any) {
		t.Helper()
		t.Fatalf("line %d: %s: %s", b.line, b.command, fmt.Sprintf(format, a...))
	}
	if words[0] == "define" {
		defs, err := parseTriggers(b.input)
		if err != nil {
			fatal("%v", err)
		}
		*r = newRig(t, defs, func(o *engine.Options) {
			for _, w := range words[1:] {
				name, value, _ := strings.Cut(w, "=")
				n, err := strconv.Atoi(value)
				if err != nil {
					fatal("%v", err)
				}
				switch name {
				case "cascade":
					o.Limits.CascadeDepth = n
				case "nesting":
					o.Limits.Nesting = n
				case "writes":
					o.Limits.WriteDocuments = n
				default:
					fatal("no limit %s", name)
				}
			}
		})
		return ""
	}
	if *r == nil {
		fatal("nothing is defined")
	}
	(*r).out.Reset()
	switch words[0] {
	case "run":
		body, rest, err := parseBody(b.input, "")
		if err != nil || len(rest) > 0 {
			fatal("%v %q", err, rest)
		}
		res := (*r).mutate(t, body)
		// The engine's trace must tell what the scripts saw happen.
		var traced []string
		for _, f := range res.Trace {
			traced = append(traced, f.Name)
		}
		if fired := firedIn((*r).out.String()); !slices.Equal(fired, traced) {
			t.Errorf("line %d: trace names %q, but these ran: %q", b.line, traced, fired)
		}
		if slices.Contains(words, "trace") {
			for _, line := range traceLines(res.Trace) {
				(*r).printf("trace: %s", line)
			}
		}
	case "docs":
		(*r).documents(t)
	default:
		fatal("no such command")
	}
	return (*r).out.String()
}
