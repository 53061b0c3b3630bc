//go:build linux

// Package examples_test runs the programs of the README as a user would: built, started as processes, called over HTTP.
package examples_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

var (
	binaries     string
	programNames = []string{"password", "github", "clerk", "workos", "betterauth", "ownmodule"}
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "mimosa-examples-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		args := []string{"build", "-o", dir + "/"}
		for _, name := range programNames {
			args = append(args, "./"+name)
		}
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		binaries = dir
		return m.Run()
	}())
}

// program is one of them, running.
type program struct {
	t       *testing.T
	url     string
	data    string
	process *exec.Cmd
	stderr  *log
	stopped bool
}

// log takes what a program says.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// command is a program that serves on a free port.
func command(name, data string) *exec.Cmd {
	return exec.Command(filepath.Join(binaries, name), "--addr", "127.0.0.1:0", "--data", data)
}

// start runs a program with these variables in its environment, until the test ends.
func start(t *testing.T, name string, env ...string) *program {
	t.Helper()
	p := &program{t: t, stderr: &log{}, data: filepath.Join(t.TempDir(), "data")}
	p.process = command(name, p.data)
	p.process.Env = append(os.Environ(), env...)
	p.process.Stderr = p.stderr
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the first line is %q, %v; it says %s", line, err, p.stderr)
	}
	p.url = url
	return p
}

// stop ends a program as a service manager does.
func (p *program) stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	if err := p.process.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	if err := p.process.Wait(); err != nil {
		p.t.Errorf("it ended with %v, and says %s", err, p.stderr)
	}
}

// dump is all documents that a program has stored, as its command export gives them out.
func (p *program) dump() string {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), "dump")
	export := exec.Command(p.process.Path, "export", "--data", p.data, "--out-dir", dir)
	export.Env = p.process.Env // what is in there decides about collections
	if out, err := export.CombinedOutput(); err != nil {
		p.t.Fatalf("export: %v\n%s", err, out)
	}
	var all []byte
	for _, path := range glob(p.t, filepath.Join(dir, "*")) {
		b, err := os.ReadFile(path)
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

// issue is what a form shows beside a field.
type issue struct{ Path, Rule, Message string }

// answer is that of a call.
type answer struct {
	Status    string
	Value     json.RawMessage
	ErrorData failure
}

type failure struct {
	Code, Message string
	Issues        []issue
}

// refused says whether the answer is an error of this code with an issue at each of these paths, and no other.
func (a answer) refused(code string, paths ...string) bool {
	var got []string
	for _, i := range a.ErrorData.Issues {
		got = append(got, i.Path)
	}
	return a.Status == "error" && a.ErrorData.Code == code && strings.Join(got, " ") == strings.Join(paths, " ")
}

// call runs a function: kind is query, mutation or action.
func (p *program) call(kind, function, token string, args any) (a answer) {
	p.t.Helper()
	body, err := json.Marshal(map[string]any{"path": function, "format": "convex_encoded_json", "args": []any{args}})
	if err != nil {
		p.t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	status, raw := p.send(http.MethodPost, "/api/"+kind, header, body)
	if status == http.StatusUnauthorized { // the token is refused, and nothing was called
		a.Status = "error"
		err = json.Unmarshal(raw, &a.ErrorData)
	} else {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil || a.Status == "" {
		p.t.Fatalf("%s: status %d, %s", function, status, raw)
	}
	return a
}

// send makes a request, and does not follow redirects.
func (p *program) send(method, path string, header http.Header, body []byte) (status int, answer []byte) {
	p.t.Helper()
	res, raw := p.exchange(method, path, header, body)
	return res.StatusCode, raw
}

// redirect is where a GET is sent on to.
func (p *program) redirect(path string) string {
	p.t.Helper()
	res, raw := p.exchange(http.MethodGet, path, http.Header{}, nil)
	if res.StatusCode != http.StatusFound {
		p.t.Fatalf("%s: status %d, %s", path, res.StatusCode, raw)
	}
	return res.Header.Get("Location")
}

func (p *program) exchange(method, path string, header http.Header, body []byte) (*http.Response, []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		p.t.Fatalf("%v; it says %s", err, p.stderr)
	}
	raw, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		p.t.Fatal(err)
	}
	return res, raw
}

type object = map[string]any

// signIn calls auth:signIn.
func (p *program) signIn(args object) answer {
	p.t.Helper()
	return p.call("action", "auth:signIn", "", args)
}

// token is the access token of an answer that must have one.
func (p *program) token(a answer) string {
	p.t.Helper()
	access, _ := p.tokens(a)
	return access
}

func (p *program) tokens(a answer) (access, refresh string) {
	p.t.Helper()
	var value struct {
		Tokens struct{ Token, RefreshToken string }
	}
	if err := json.Unmarshal(a.Value, &value); err != nil || value.Tokens.Token == "" || value.Tokens.RefreshToken == "" {
		p.t.Fatalf("no tokens but %s, %+v; it says %s", a.Value, a.ErrorData, p.stderr)
	}
	return value.Tokens.Token, value.Tokens.RefreshToken
}

// get runs a query whose result must be there.
func get[T any](p *program, function, token string) (v T) {
	p.t.Helper()
	a := p.call("query", function, token, object{})
	if err := json.Unmarshal(a.Value, &v); a.Status != "success" || err != nil {
		p.t.Fatalf("%s: %+v, %v", function, a, err)
	}
	return v
}

// user is what users:me gives.
type user struct {
	ID            string `json:"_id"`
	Email         string
	EmailVerified bool
	Name          string
	Nickname      string
	Role          string
}

// courses are those that somebody has a place in.
func (p *program) courses(token string) string {
	p.t.Helper()
	var names []string
	for _, e := range get[[]struct{ Course string }](p, "enrolments:mine", token) {
		names = append(names, e.Course)
	}
	return strings.Join(names, " ")
}
