package cmd_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
)

// patience ends a test that hangs; nothing is asserted about time.
const patience = time.Minute

// programVariable makes the test binary be a program that calls Main, so that tests can send it signals.
const programVariable = "MIMOSA_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		dropRights()
		cmd.Main(newApp())
	}
	os.Exit(m.Run())
}

type (
	note struct {
		Text string `json:"text"`
	}
	user struct {
		authmod.UserFields
	}
	none struct{}
)

// newApp is a small program: notes, of which Seed writes one, and an action that takes as long as its caller wants.
func newApp() cmd.App {
	s := engine.NewSchema()
	notes := engine.Define[note](s, "notes")
	engine.Query(s, "notes:list", func(r *engine.ReadTx, _ none) ([]*engine.Doc[note], error) { return notes.All(r).Collect() })
	engine.Mutation(s, "notes:add", func(tx *engine.Tx, n note) (engine.ID[note], error) { return notes.Insert(tx, n) })
	engine.Query(s, "notes:whoami", func(r *engine.ReadTx, _ none) (bool, error) {
		who, err := r.Identity()
		return who != nil, err
	})
	// It says that it has begun, and ends when the other end of a pipe that the process was started with is closed.
	engine.Action(s, "notes:wait", func(c *engine.ActionCtx, _ none) (string, error) {
		pipe := os.NewFile(3, "pipe")
		defer func() { _ = pipe.Close() }()
		_, _ = os.Stderr.WriteString("waiting\n")
		if _, err := io.ReadAll(pipe); err != nil {
			return "", err
		}
		return "waited", nil
	})
	return cmd.App{
		Name: "notes", Schema: s, Version: "v1.2.3",
		Seed: func(tx *engine.Tx) error {
			_, err := notes.Insert(tx, note{"seeded"})
			return err
		},
	}
}

// running is a program that serves, in this process or in one of its own.
type running struct {
	t      *testing.T
	url    string
	stdout *lines
	stderr *lines
	status func() int // waits for the end
	stop   func()     // asks for the end, in order
}

// run runs a command line of app to its end.
func run(t *testing.T, app cmd.App, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs lines
	status = cmd.Run(t.Context(), app, args, &out, &errs)
	return status, out.String(), errs.String()
}

// serve starts app in this process on a free port. Unless that was stopped before, it is stopped at the end of the test.
func serve(t *testing.T, app cmd.App, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, stdout: &lines{}, stderr: &lines{}, stop: cancel}
	ended := make(chan int, 1)
	go func() {
		ended <- cmd.Run(ctx, app, append([]string{"--addr", "127.0.0.1:0"}, args...), r.stdout, r.stderr)
		r.stdout.end()
		r.stderr.end()
	}()
	r.status = sync.OnceValue(func() int { return <-ended })
	t.Cleanup(func() {
		cancel()
		if s := r.status(); s != 0 {
			t.Errorf("ended with %d: %s", s, r.stderr)
		}
	})
	r.await()
	return r
}

// spawn starts the program in a process of its own. change may adjust how.
func spawn(t *testing.T, change func(*exec.Cmd), args ...string) (*running, *os.Process) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c := exec.CommandContext(ctx, self, args...)
	c.Env = append(os.Environ(), programVariable+"=1")
	r := &running{t: t, stdout: &lines{}, stderr: &lines{}}
	c.Stdout, c.Stderr = r.stdout, r.stderr
	if change != nil {
		change(c)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Wait() // the status says more
		r.stdout.end()
		r.stderr.end()
	}()
	r.status = func() int { <-ended; return c.ProcessState.ExitCode() }
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r, c.Process
}

var listening = regexp.MustCompile(`^listening on (http://\S+)$`)

// await reads the address from the first line of standard output.
func (r *running) await() {
	r.t.Helper()
	line, ok := r.stdout.wait(func(string) bool { return true })
	m := listening.FindStringSubmatch(line)
	if !ok || m == nil {
		r.t.Fatalf("first line %q, ended with %d: %s", line, r.status(), r.stderr)
	}
	r.url = m[1]
}

// get fetches a path and returns the answer with its body read.
func (r *running) get(path string) (*http.Response, string) {
	r.t.Helper()
	return r.do(http.MethodGet, path, "", nil)
}

func (r *running) do(method, path, body string, header http.Header) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := http.DefaultTransport.RoundTrip(req) // which follows no redirects
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, string(b)
}

// call posts a call of a function and returns the body of the answer.
func (r *running) call(kind, function, args string) string {
	r.t.Helper()
	_, body := r.do(http.MethodPost, "/api/"+kind, `{"path":"`+function+`","format":"convex_encoded_json","args":[`+args+`]}`,
		http.Header{"Content-Type": {"application/json"}})
	return body
}

// lines collects what a program writes, and lets tests wait for a line. Its zero value is ready.
type lines struct {
	mu      sync.Mutex
	text    bytes.Buffer  // guarded by mu
	changed chan struct{} // guarded by mu: closed at the next change
	ended   bool          // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.text.Write(p)
	l.tell()
	return n, err
}

// end says that nothing more will be written.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.tell()
}

// tell is called with mu held.
func (l *lines) tell() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait returns the first whole line that match takes, or false when the program ended, or did not say it in time.
func (l *lines) wait(match func(string) bool) (string, bool) {
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		text, ended := l.text.String(), l.ended
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		in := bufio.NewReader(strings.NewReader(text))
		for {
			line, err := in.ReadString('\n')
			if errors.Is(err, io.EOF) {
				break
			}
			if line = strings.TrimSuffix(line, "\n"); match(line) {
				return line, true
			}
		}
		if ended {
			return "", false
		}
		select {
		case <-changed:
		case <-timeout:
			return "", false
		}
	}
}

func data(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data")
}
