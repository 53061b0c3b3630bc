//go:build unix

package cmd_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A signal ends the program in order: sockets are closed, the data can be opened again, the status is 0.
func TestSignalsEndItInOrder(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			dir := data(t)
			r, process := spawn(t, nil, "--addr", "127.0.0.1:0", "--data", dir)
			r.await()
			r.call("mutation", "notes:add", `{"text":"hello"}`)
			socket := dial(t, r.url)
			if err := process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			// Whatever it says before, the server closes the socket.
			if _, err := io.ReadAll(socket); err != nil {
				t.Errorf("the socket ended with %v", err)
			}
			if s := r.status(); s != 0 {
				t.Errorf("status %d: %s", s, r.stderr)
			}
			if got := r.stdout.String(); got != "listening on "+r.url+"\n" {
				t.Errorf("standard output is %q", got)
			}
			if got := serve(t, newApp(), "--data", dir).call("query", "notes:list", `{}`); !strings.Contains(got, "hello") {
				t.Errorf("after it the notes are %s", got)
			}
		})
	}
}

// dial opens a websocket by hand, as far as the handshake.
func dial(t *testing.T, url string) io.Reader {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "GET /api/1.48.0/sync HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v %v", res, err)
	}
	return in
}

// waiting starts a program with a call in it that lasts until release is called, and waits for the call to have begun.
func waiting(t *testing.T) (r *running, process *os.Process, answer <-chan string, release func()) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r, process = spawn(t, func(c *exec.Cmd) { c.ExtraFiles = []*os.File{in} }, "--addr", "127.0.0.1:0", "--data", data(t))
	r.await()
	_ = in.Close() // the program has its own
	t.Cleanup(func() { _ = out.Close() })
	answers := make(chan string, 1)
	go func() {
		res, err := http.Post(r.url+"/api/action", "application/json",
			strings.NewReader(`{"path":"notes:wait","format":"convex_encoded_json","args":[{}]}`))
		if err != nil {
			answers <- "error: " + err.Error()
			return
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		answers <- string(body)
	}()
	r.hears("waiting")
	return r, process, answers, func() { _ = out.Close() }
}

// hears waits for a line with these words on standard error.
func (r *running) hears(words string) {
	r.t.Helper()
	if _, ok := r.stderr.wait(func(line string) bool { return strings.Contains(line, words) }); !ok {
		r.t.Fatalf("it does not say %q but %q", words, r.stderr)
	}
}

func TestRunningCallsComeToTheirEnd(t *testing.T) {
	t.Parallel()
	r, process, answer, release := waiting(t)
	if err := process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.hears("shutting down")
	release()
	if got := <-answer; !strings.Contains(got, `"waited"`) {
		t.Errorf("the running call was answered with %s", got)
	}
	if s := r.status(); s != 0 {
		t.Errorf("status %d: %s", s, r.stderr)
	}
}

func TestSecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	r, process, answer, _ := waiting(t)
	if err := process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.hears("shutting down")
	if err := process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if s := r.status(); s != 130 {
		t.Errorf("status %d: %s", s, r.stderr)
	}
	if got := <-answer; !strings.HasPrefix(got, "error: ") {
		t.Errorf("the call that was cut off was answered with %s", got)
	}
}

// A program killed in the middle of its work starts again with all that it acknowledged.
func TestStartsAgainAfterAKill(t *testing.T) {
	t.Parallel()
	dir := data(t)
	r, process := spawn(t, nil, "--addr", "127.0.0.1:0", "--data", dir)
	r.await()
	if got := r.call("mutation", "notes:add", `{"text":"hello"}`); !strings.Contains(got, `"success"`) {
		t.Fatalf("mutation answered %s", got)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.status()
	got := serve(t, newApp(), "--data", dir).call("query", "notes:list", `{}`)
	if strings.Count(got, "hello") != 1 || strings.Count(got, "seeded") != 1 {
		t.Errorf("after a kill the notes are %s", got)
	}
}

// Another process, not this one: locks of one process do not always keep out itself.
func TestFolderInUseByAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := data(t)
	first, _ := spawn(t, nil, "--addr", "127.0.0.1:0", "--data", dir)
	first.await()
	second, _ := spawn(t, nil, "--addr", "127.0.0.1:0", "--data", dir)
	if s := second.status(); s != 1 {
		t.Errorf("status %d", s)
	}
	want := "notes: the data folder " + dir + " is in use by another program; end that one, or choose another folder with --data\n"
	if got := second.stderr.String(); got != want || second.stdout.String() != "" {
		t.Errorf("it says %q", got)
	}
	// The first is none the worse for it.
	if got := first.call("query", "notes:list", `{}`); !strings.Contains(got, "seeded") {
		t.Errorf("the first answers %s", got)
	}
}

// Permissions do not stop root, so where the tests run as root the program runs as nobody, from a folder that nobody may read.
func TestFolderNotWritable(t *testing.T) {
	t.Parallel()
	top, err := os.MkdirTemp("", "mimosa-cmd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	locked := filepath.Join(top, "locked")
	if err := os.Mkdir(locked, 0o555); err != nil {
		t.Fatal(err)
	}
	var nobody func(*exec.Cmd)
	if os.Getuid() == 0 {
		program := filepath.Join(top, "program")
		copyProgram(t, program)
		if err := os.Chmod(top, 0o755); err != nil {
			t.Fatal(err)
		}
		nobody = func(c *exec.Cmd) {
			c.Path, c.Dir = program, "/"
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
	}
	for _, dir := range []string{locked, filepath.Join(locked, "data")} {
		r, _ := spawn(t, nobody, "--addr", "127.0.0.1:0", "--data", dir)
		if s := r.status(); s != 1 {
			t.Errorf("status %d", s)
		}
		want := "notes: the data folder " + dir + " cannot be written to (permission denied); choose another with --data\n"
		if got := r.stderr.String(); got != want || r.stdout.String() != "" {
			t.Errorf("it says %q", got)
		}
	}
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}
