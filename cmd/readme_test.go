package cmd_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// readmeProgram builds the program that the README shows and returns the path of its binary.
func readmeProgram(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	program, _, closed := strings.Cut(rest, "```")
	if !ok || !closed || !strings.HasPrefix(program, "package main") {
		t.Fatal("the README shows no program")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "program")
	// Built from inside the module, so that it means this version of the packages.
	if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

type answer struct {
	Status    string
	Value     json.RawMessage
	ErrorData struct {
		Code   string
		Issues []struct{ Path string }
	}
}

func post(t *testing.T, url, token, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// The README's program does what the README says: the trigger enrols whoever signs up, and fails the whole sign-up when it
// cannot.
func TestReadmeProgram(t *testing.T) {
	t.Parallel()
	program := exec.Command(readmeProgram(t), "--addr", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"))
	stdout, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	program.Stderr = &stderr
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = program.Process.Kill()
		_ = program.Wait()
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("first line %q, %v; %s", line, err, stderr.String())
	}
	signUp := func(email, password, course string) answer {
		return post(t, url+"/api/action", "", fmt.Sprintf(`{"path":"auth:signIn","format":"convex_encoded_json","args":[{"provider":"password",
			"params":{"flow":"signUp","email":%q,"password":%q,"nickname":"ann","course":%q}}]}`, email, password, course))
	}
	if a := signUp("ann", "short", "go"); a.ErrorData.Code != "invalid" || len(a.ErrorData.Issues) != 2 {
		t.Errorf("an e-mail address and a password that are none: %+v", a)
	}
	const password = "a password long enough"
	if a := signUp("ann@example.com", password, "cooking"); a.Status != "error" || a.ErrorData.Code != "invalid" {
		t.Errorf("a course that does not exist: %+v", a)
	}
	// Nothing is left of the failed one, so the address is free.
	a := signUp("ann@example.com", password, "go")
	var value struct {
		Tokens struct{ Token string }
	}
	if err := json.Unmarshal(a.Value, &value); err != nil || value.Tokens.Token == "" {
		t.Fatalf("signing up: %+v, %v", a, err)
	}
	mine := post(t, url+"/api/query", value.Tokens.Token, `{"path":"enrolments:mine","format":"convex_encoded_json","args":[{}]}`)
	var enrolments []struct{ Course string }
	if err := json.Unmarshal(mine.Value, &enrolments); err != nil || len(enrolments) != 1 || enrolments[0].Course != "go" {
		t.Errorf("enrolments: %+v, %v", mine, err)
	}
	if a := post(t, url+"/api/query", "", `{"path":"enrolments:mine","format":"convex_encoded_json","args":[{}]}`); a.ErrorData.Code != "unauthenticated" {
		t.Errorf("enrolments of nobody: %+v", a)
	}
}
