//go:build unix

package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// userVariable names the user that the test binary becomes when it is a program: root may write everything.
const userVariable = "MIMOSA_TEST_USER"

const somebody = 65534

func dropRights() {
	id, err := strconv.Atoi(os.Getenv(userVariable))
	if err != nil {
		return
	}
	if err := syscall.Setuid(id); err != nil {
		panic(err)
	}
}

// The folder may be written to, and a file in it may not: one of the program's, one of Badger's.
func TestFilesThatMayNotBeWritten(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"mimosa.mark", "MANIFEST"} {
		dir := filepath.Join(publicFolder(t), "data")
		r := serve(t, newApp(), "--data", dir)
		r.stop()
		r.status()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			give(t, dir)
			for _, e := range entries {
				give(t, filepath.Join(dir, e.Name()))
			}
		}
		if err := os.Chmod(filepath.Join(dir, file), 0); err != nil {
			t.Fatal(err)
		}
		program, _ := spawn(t, func(c *exec.Cmd) {
			if os.Getuid() == 0 {
				c.Env = append(c.Env, userVariable+"="+strconv.Itoa(somebody))
			}
		}, "--addr", "127.0.0.1:0", "--data", dir)
		status, text := program.status(), program.stderr.String()
		line, whole := strings.CutSuffix(text, "\n")
		if status != 1 || !whole || strings.Contains(line, "\n") || !strings.Contains(line, dir+" cannot be written to, or a file in it (permission denied)") {
			t.Errorf("%s: status %d, error %q", file, status, text)
		}
	}
}

// publicFolder is a folder that other users can look into; those of T.TempDir are their owner's alone.
func publicFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mimosa-cmd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func give(t *testing.T, path string) {
	t.Helper()
	if err := os.Chown(path, somebody, -1); err != nil {
		t.Fatal(err)
	}
}
