package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every program and every piece of Go that the README shows is one that is built and run: a whole file of a folder here, or
// part of a file in the folder above.
func TestReadmeShowsWhatIsTested(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Glob("*/main.go")
	if err != nil || len(programs) == 0 {
		t.Fatalf("%v, %v", programs, err)
	}
	missing := map[string]bool{}
	var all []string
	for _, path := range append(programs, glob(t, "../*_test.go")...) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
		if strings.HasSuffix(path, "/main.go") {
			missing[string(b)] = true
		}
	}
	fences := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	for _, fence := range fences {
		text := fence[1]
		if missing[text] {
			delete(missing, text)
			continue
		}
		if strings.Contains(text, "package main") || !within(all, text) {
			t.Errorf("no program and no test has\n%s", text)
		}
	}
	for text := range missing {
		t.Errorf("the README does not show\n%.300s…", text)
	}
}

// within says whether one of the files holds text, as it is or one step further in; comments at the ends of lines aside.
func within(files []string, text string) bool {
	bare := comments.ReplaceAllString(text, "")
	further := strings.TrimRight("\t"+strings.ReplaceAll(bare, "\n", "\n\t"), "\t")
	for _, f := range files {
		f = comments.ReplaceAllString(f, "")
		if strings.Contains(f, bare) || strings.Contains(f, further) {
			return true
		}
	}
	return false
}

var comments = regexp.MustCompile(`(?m)[ \t]+//.*$`)

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
