//go:build unix

package cmd_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
)

// good runs a command line that must succeed, and returns its standard output.
func good(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	status, stdout, stderr := run(t, newApp(), args...)
	if status != 0 {
		t.Fatalf("%v: status %d: %s", args, status, stderr)
	}
	return stdout
}

// bad runs a command line that must fail with one line that says something.
func bad(t *testing.T, says string, args ...string) {
	t.Helper()
	status, stdout, stderr := run(t, newApp(), args...)
	if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, says) {
		t.Errorf("%v: status %d, output %q, error %q; want one line that says %q", args, status, stdout, stderr, says)
	}
}

// start starts a program in a process of its own.
func start(t *testing.T, dir string) (*running, *os.Process) {
	t.Helper()
	r, process := spawn(t, nil, "--addr", "127.0.0.1:0", "--data", dir)
	r.await()
	return r, process
}

func kill(t *testing.T, r *running, process *os.Process) {
	t.Helper()
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.status()
}

func (r *running) add(text string) {
	r.t.Helper()
	if got := r.call("mutation", "notes:add", fmt.Sprintf(`{"text":%q}`, text)); !strings.Contains(got, `"success"`) {
		r.t.Errorf("mutation answered %s", got)
	}
}

// A program is backed up while it serves and writes, twice, and killed; what is restored has all that was acknowledged before
// the second backup began, is checked, and served.
func TestBackupOfAServedFolder(t *testing.T) {
	t.Parallel()
	dir, top := data(t), t.TempDir()
	full, more := filepath.Join(top, "full"), filepath.Join(top, "more")
	r, process := start(t, dir)
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 3 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					r.add(fmt.Sprintf("load %d of %d", i, w))
				}
			}
		})
	}
	r.add("before the full one")
	good(t, "backup", "--data", dir, "--out", full)
	r.add("before the incremental one")
	good(t, "backup", "--data", dir, "--since", full, "--out", more)
	close(stop)
	writers.Wait()
	kill(t, r, process)
	for _, name := range []string{full, more} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}

	restored := data(t)
	good(t, "restore", "--data", restored, full, more)
	if got := good(t, "check", "--data", restored); got != restored+": no fault found\n" {
		t.Errorf("check says %q", got)
	}
	again, _ := start(t, restored)
	notes := again.call("query", "notes:list", `{}`)
	for _, want := range []string{"seeded", "before the full one", "before the incremental one"} {
		if strings.Count(notes, want) != 1 {
			t.Errorf("%q is not in %.300s", want, notes)
		}
	}
	again.add("after")
	if got := good(t, "check", "--data", restored); got != restored+": no fault found\n" {
		t.Errorf("check of the served folder says %q", got)
	}
}

// What a killed program leaves of its socket is in nobody's way.
func TestSocketOfAKilledProgram(t *testing.T) {
	t.Parallel()
	dir := data(t)
	socket := filepath.Join(dir, "mimosa.sock")
	r, process := start(t, dir)
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket %v, %v", info, err)
	}
	kill(t, r, process)
	if _, err := os.Stat(socket); err != nil {
		t.Fatalf("a killed program leaves no socket, so that this test shows nothing: %v", err)
	}
	closed := good(t, "export", "--data", dir) // opens the folder
	r, process = start(t, dir)
	if served := good(t, "export", "--data", dir); served != closed || !strings.Contains(served, "seeded") {
		t.Errorf("exported %q from the folder and %q from the program that serves it", closed, served)
	}
	if err := process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if s := r.status(); s != 0 {
		t.Errorf("status %d: %s", s, r.stderr)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("a program that ended in order leaves its socket")
	}
}

// A path that is too long for a socket is no reason not to serve.
func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	r := serve(t, newApp(), "--data", dir)
	if got := r.call("query", "notes:list", `{}`); !strings.Contains(got, "seeded") {
		t.Errorf("answers %s", got)
	}
	if !strings.Contains(r.stderr.String(), "too long for a socket") {
		t.Errorf("the log says %q", r.stderr)
	}
	bad(t, dir+" is in use", "backup", "--data", dir)
}

// A restore that is killed leaves a folder that nobody takes for a database.
func TestRestoreThatIsKilled(t *testing.T) {
	t.Parallel()
	dir, file := data(t), filepath.Join(t.TempDir(), "backup")
	lines := filepath.Join(t.TempDir(), "notes.jsonl")
	if err := os.WriteFile(lines, []byte(strings.Repeat(`{"text":"`+strings.Repeat("x", 50_000)+"\"}\n", 120)), 0o600); err != nil {
		t.Fatal(err)
	}
	good(t, "import", "--data", dir, "--collection", "notes", lines)
	good(t, "backup", "--data", dir, "--out", file)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	target := data(t)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r, process := spawn(t, func(c *exec.Cmd) { c.Stdin = in }, "restore", "--data", target, "-")
	_ = in.Close() // the program has its own
	// When this has been written the program has read all but what the pipe holds, so that commits have been made.
	if _, err := out.Write(whole[:len(whole)-1000]); err != nil {
		t.Fatal(err)
	}
	kill(t, r, process)
	_ = out.Close()
	says := "a restore into the data folder " + target + " was not finished"
	bad(t, says, "serve", "--addr", "127.0.0.1:0", "--data", target)
	bad(t, says, "export", "--data", target)
	bad(t, target+" is not empty", "restore", "--data", target, file)

	// The same file, whole, into another folder.
	other := data(t)
	good(t, "restore", "--data", other, file)
	if got := good(t, "export", "--data", other); strings.Count(got, "\n") != 120 {
		t.Errorf("%d documents were restored", strings.Count(got, "\n"))
	}
}

func TestRestoreOfDamage(t *testing.T) {
	t.Parallel()
	dir, file := data(t), filepath.Join(t.TempDir(), "backup")
	serveOnce(t, dir)
	good(t, "backup", "--data", dir, "--out", file)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	for name, content := range map[string][]byte{"flipped": damaged, "cut": whole[:len(whole)-10], "foreign": []byte("hello")} {
		broken := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(broken, content, 0o600); err != nil {
			t.Fatal(err)
		}
		bad(t, "the backup is damaged", "restore", "--data", data(t), broken)
		bad(t, broken+": engine: the backup is damaged", "backup", "--data", dir, "--since", broken)
	}
}

// Files that are no backups, or not in order, are refused before anything is made: the right ones can be restored at once.
func TestRestoreOfTheWrongFiles(t *testing.T) {
	t.Parallel()
	dir, top, to := data(t), t.TempDir(), data(t)
	full, next, foreign := filepath.Join(top, "full"), filepath.Join(top, "next"), filepath.Join(top, "foreign")
	serveOnce(t, dir)
	good(t, "backup", "--data", dir, "--out", full)
	good(t, "backup", "--data", dir, "--since", full, "--out", next)
	if err := os.WriteFile(foreign, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][]string{{next}, {next, full}, {full, full}, {foreign}, {full, foreign}, {top}} {
		args := append([]string{"restore", "--data", to}, files...)
		status, stdout, stderr := run(t, newApp(), args...)
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "remove") {
			t.Errorf("%v: status %d, output %q, error %q", args, status, stdout, stderr)
		}
		if entries, err := os.ReadDir(to); len(entries) > 0 {
			t.Errorf("%v: the folder holds %v, %v", args, entries, err)
		}
	}
	good(t, "restore", "--data", to, full, next)
	if want, got := good(t, "export", "--data", dir), good(t, "export", "--data", to); got != want {
		t.Errorf("restored %q, want %q", got, want)
	}
}

// A schema that the documents break keeps a program from serving them, but nobody from taking them out.
func TestBackupOfDocumentsThatBreakTheSchema(t *testing.T) {
	t.Parallel()
	type other struct {
		Body string `json:"body"`
	}
	changed := func() cmd.App {
		s := engine.NewSchema()
		engine.Define[other](s, "notes")
		return cmd.App{Name: "notes", Schema: s, Database: engine.Options{Logger: slog.New(slog.DiscardHandler)}}
	}
	dir, top, to := data(t), t.TempDir(), data(t)
	file := filepath.Join(top, "backup")
	serveOnce(t, dir)
	want := good(t, "export", "--data", dir, "--collection", "notes")
	for _, args := range [][]string{{"serve", "--addr", "127.0.0.1:0"}, {"import", "--collection", "notes", os.DevNull}} {
		status, stdout, stderr := run(t, changed(), append(args, "--data", dir)...)
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "the command check lists all") {
			t.Errorf("%v: status %d, output %q, error %q", args, status, stdout, stderr)
		}
	}
	if status, got, stderr := run(t, changed(), "export", "--data", dir, "--collection", "notes"); status != 0 || got != want {
		t.Errorf("export: status %d, output %q, error %q, want %q", status, got, stderr, want)
	}
	if status, _, stderr := run(t, changed(), "backup", "--data", dir, "--out", file); status != 0 {
		t.Fatalf("backup: status %d, error %q", status, stderr)
	}
	good(t, "restore", "--data", to, file)
	for _, folder := range []string{dir, to} { // neither the backup nor the export has changed anything
		good(t, "check", "--data", folder)
		if got := good(t, "export", "--data", folder, "--collection", "notes"); got != want {
			t.Errorf("%s holds %q, want %q", folder, got, want)
		}
	}
}

// serveOnce makes a data folder.
func serveOnce(t *testing.T, dir string) {
	t.Helper()
	r := serve(t, newApp(), "--data", dir)
	r.stop()
	r.status()
}

// A file is there when it is whole, and one that is there is not replaced without being asked.
func TestFilesThatAreWritten(t *testing.T) {
	t.Parallel()
	dir, top := data(t), t.TempDir()
	serveOnce(t, dir)
	file := filepath.Join(top, "out")
	good(t, "backup", "--data", dir, "--out", file)
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad(t, file+" exists already", "backup", "--data", dir, "--out", file)
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, first) {
		t.Errorf("it was written over: %v", err)
	}
	good(t, "backup", "--data", dir, "--out", file, "--force")
	if now, err := os.ReadFile(file); err != nil || bytes.Equal(now, first) {
		t.Errorf("it was not replaced: %v", err)
	}
	bad(t, "no collection", "export", "--data", dir, "--collection", "none", "--out", filepath.Join(top, "none"))
	entries, err := os.ReadDir(top)
	if err != nil || len(entries) != 1 {
		t.Errorf("what failed leaves %v, %v", entries, err)
	}
}

// Documents go from one program to another by JSON Lines, whether the programs serve or not, and the errors are the same.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	from, top := data(t), t.TempDir()
	served, _ := start(t, from)
	served.add("hello")
	lines := good(t, "export", "--data", from, "--collection", "notes")
	if strings.Count(lines, "\n") != 2 {
		t.Fatalf("exported %q", lines)
	}
	good(t, "export", "--data", from, "--out-dir", top)
	file := filepath.Join(top, "notes.jsonl")
	if got, err := os.ReadFile(file); err != nil || string(got) != lines {
		t.Errorf("the file of notes is %q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(top, "mimosaSeeds.jsonl")); err != nil {
		t.Error(err)
	}

	to := data(t)
	good(t, "import", "--data", to, file)
	if got := good(t, "export", "--data", to); got != lines {
		t.Errorf("imported and exported again as %q", got)
	}
	if again := good(t, "export", "--data", to, "--out", "-"); again != lines {
		t.Errorf("exported %q", again)
	}

	wrong := filepath.Join(top, "wrong.jsonl")
	if err := os.WriteFile(wrong, []byte(`{"text":"one"}`+"\n"+`{"txet":"two"}`+"\n"+`{"text":"three"}`+"\n"+strings.Repeat(`{"text":"more"}`+"\n", 20_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, dir := range []string{from, to} { // the one is being served, the other is not
		status, stdout, stderr := run(t, newApp(), "import", "--data", dir, "--collection", "notes", "--dry-run", wrong)
		if status != 1 || stdout != "" || !strings.Contains(stderr, "line 2: ") {
			t.Errorf("dry run: status %d, output %q, error %q", status, stdout, stderr)
		}
		before := strings.Count(good(t, "export", "--data", dir), "\n")
		status, stdout, stderr = run(t, newApp(), "import", "--data", dir, "--collection", "notes", wrong)
		if status != 1 || stdout != "" || !strings.Contains(stderr, "line 2: ") || !strings.Contains(stderr, "1 created") {
			t.Errorf("status %d, output %q, error %q", status, stdout, stderr)
		}
		said = append(said, stderr)
		if got := strings.Count(good(t, "export", "--data", dir), "\n"); got != before+1 {
			t.Errorf("%d documents came of one good line", got-before)
		}
	}
	if said[0] != said[1] {
		t.Errorf("a program that serves says %q, a folder %q", said[0], said[1])
	}
	// What is imported into a program that serves is seen by its queries.
	if got := served.call("query", "notes:list", `{}`); strings.Count(got, `"one"`) != 1 {
		t.Errorf("the program that serves answers %.300s", got)
	}
	if status, _, stderr := run(t, newApp(), "import", "--data", to, file); status != 1 || !strings.Contains(stderr, "line 1: already exists in notes") {
		t.Errorf("import of what is there: status %d, error %q", status, stderr)
	}
	good(t, "import", "--data", to, "--existing", "skip", file)
	good(t, "import", "--data", to, "--existing", "replace", file)
}

// A program that is killed while it imports is not said to have committed nothing: some lines are there, and none half.
func TestImportIntoAProgramThatIsKilled(t *testing.T) {
	t.Parallel()
	dir, fifo := data(t), filepath.Join(t.TempDir(), "lines")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	served, process := start(t, dir)
	type ended struct {
		status int
		stderr string
	}
	done := make(chan ended, 1)
	go func() {
		status, _, stderr := run(t, newApp(), "import", "--data", dir, "--collection", "notes", fifo)
		done <- ended{status, stderr}
	}()
	pipe, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pipe.Close() }()
	if _, err := pipe.WriteString(strings.Repeat(`{"text":"more"}`+"\n", 20_000)); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(served.call("query", "notes:list", `{}`), `"more"`) { // until something is committed
	}
	kill(t, served, process)
	for err == nil { // until nobody reads any more
		_, err = pipe.WriteString(strings.Repeat(`{"text":"late"}`+"\n", 1_000))
	}
	end := <-done
	if end.status != 1 || strings.Contains(end.stderr, "created") || strings.Contains(end.stderr, "http") ||
		!strings.Contains(end.stderr, "the running program broke off") || !strings.Contains(end.stderr, "is not known") {
		t.Errorf("status %d, error %q", end.status, end.stderr)
	}
	if lines := good(t, "export", "--data", dir, "--collection", "notes"); !strings.Contains(lines, `"more"`) {
		t.Error("nothing is there of what was committed")
	}
}

// A pipe serves as well as a file.
func TestBackupThroughAPipe(t *testing.T) {
	t.Parallel()
	dir, to := data(t), data(t)
	serveOnce(t, dir)
	file := good(t, "backup", "--data", dir)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r, _ := spawn(t, func(c *exec.Cmd) { c.Stdin = in }, "restore", "--data", to, "-")
	_ = in.Close()
	if _, err := io.WriteString(out, file); err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	if s := r.status(); s != 0 {
		t.Errorf("status %d: %s", s, r.stderr)
	}
	if got := good(t, "export", "--data", to); !strings.Contains(got, "seeded") {
		t.Errorf("restored %q", got)
	}
}
