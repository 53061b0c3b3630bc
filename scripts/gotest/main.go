package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

func main() {
	start := time.Now()
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		fatal(err)
	}
	if err := cmd.Start(); err != nil {
		fatal(err)
	}
	r := &report{out: os.Stdout, output: map[test][]string{}, tests: map[string]int{}}
	readErr := r.read(out)
	err = cmd.Wait()
	ok := r.summary(time.Since(start))
	if readErr != nil {
		fatal(readErr)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "gotest:", err)
	os.Exit(1)
}

// event is one line of go test -json; cmd/test2json documents it.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// test names a test of a package; an empty name is the package itself.
type test struct{ pkg, name string }

type report struct {
	out     io.Writer
	output  map[test][]string // of what is still running
	tests   map[string]int    // tests run, subtests included, by package
	skipped []string
	failed  []string
	empty   []string // packages with test files and no test
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20) // a panic prints long lines
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(r.out, lines.Text()) // not of the protocol, so a person's
			continue
		}
		r.event(e)
	}
	return lines.Err()
}

func (r *report) event(e event) {
	at := test{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		if e.Package == "" {
			fmt.Fprint(r.out, e.Output)
			return
		}
		r.output[at] = append(r.output[at], e.Output)
	case "pass", "skip", "fail":
		if e.Test == "" {
			r.packageDone(at, e.Action)
			return
		}
		r.tests[e.Package]++
		switch e.Action {
		case "fail":
			r.failed = append(r.failed, e.Package+" "+e.Test)
			fmt.Fprint(r.out, strings.Join(r.output[at], ""))
		case "skip":
			r.skipped = append(r.skipped, e.Package+" "+e.Test+": "+why(r.output[at]))
		}
		delete(r.output, at)
	}
}

// packageDone prints the package's own line, and all of its output when it failed: what tests printed that never ended, by a
// panic or a timeout, included.
func (r *report) packageDone(at test, action string) {
	if action == "fail" {
		var unfinished []test
		for t := range r.output {
			if t.pkg == at.pkg && t.name != "" {
				unfinished = append(unfinished, t)
			}
		}
		slices.SortFunc(unfinished, func(a, b test) int { return strings.Compare(a.name, b.name) })
		for _, t := range unfinished {
			fmt.Fprint(r.out, strings.Join(r.output[t], ""))
			delete(r.output, t)
		}
		if len(unfinished) > 0 || r.tests[at.pkg] == 0 {
			r.failed = append(r.failed, at.pkg)
		}
	}
	for _, line := range r.output[at] {
		if action == "fail" || strings.HasPrefix(line, "ok ") {
			fmt.Fprint(r.out, line)
		}
	}
	// go test says skip of a package without test files, and pass of one whose test files hold no test.
	if action == "pass" && r.tests[at.pkg] == 0 {
		r.empty = append(r.empty, at.pkg)
	}
	delete(r.output, at)
}

// why returns what a skipped test said.
func why(output []string) string {
	var said []string
	for _, line := range output {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

// summary says how it went, and whether well.
func (r *report) summary(took time.Duration) bool {
	total, packages := 0, 0
	for _, pkg := range slices.Sorted(maps.Keys(r.tests)) {
		total += r.tests[pkg]
		packages++
	}
	for _, s := range r.skipped {
		fmt.Fprintln(r.out, "skipped:", s)
	}
	for _, pkg := range r.empty {
		fmt.Fprintln(r.out, "no test ran in", pkg)
	}
	for _, f := range r.failed {
		fmt.Fprintln(r.out, "failed:", f)
	}
	fmt.Fprintf(r.out, "go: %d tests in %d packages, %d failed, %d skipped, %s\n",
		total, packages, len(r.failed), len(r.skipped), took.Round(time.Second))
	if total == 0 {
		fmt.Fprintln(r.out, "no test ran at all")
	}
	return total > 0 && len(r.empty) == 0 && len(r.failed) == 0
}
