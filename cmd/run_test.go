package cmd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/cmd"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

func TestServe(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"serve"}} {
		r := serve(t, newApp(), append(args, "--data", data(t))...)
		if !strings.HasPrefix(r.url, "http://127.0.0.1:") || strings.HasSuffix(r.url, ":0") {
			t.Errorf("%v: listening on %s", args, r.url)
		}
		if got := r.call("mutation", "notes:add", `{"text":"hello"}`); !strings.Contains(got, `"success"`) {
			t.Errorf("%v: mutation answered %s", args, got)
		}
		if got := r.call("query", "notes:list", `{}`); !strings.Contains(got, "seeded") || !strings.Contains(got, "hello") {
			t.Errorf("%v: query answered %s", args, got)
		}
		if res, body := r.get("/mimosa.js"); res.StatusCode != http.StatusOK || !strings.Contains(body, "MimosaClient") {
			t.Errorf("%v: /mimosa.js answered %s", args, res.Status)
		}
		if res, _ := r.get("/"); res.StatusCode != http.StatusNotFound {
			t.Errorf("%v: / without a page answered %s", args, res.Status)
		}
		r.stop()
		if s := r.status(); s != 0 {
			t.Errorf("%v: status %d: %s", args, s, r.stderr)
		}
		if got := r.stdout.String(); got != "listening on "+r.url+"\n" {
			t.Errorf("%v: standard output is %q", args, got)
		}
	}
}

// An App that ran may run again, as when a program's tests start it several times.
func TestDataAndSeedOutliveARestart(t *testing.T) {
	t.Parallel()
	app, dir := newApp(), data(t)
	first := serve(t, app, "--data", dir)
	first.call("mutation", "notes:add", `{"text":"hello"}`)
	first.stop()
	first.status()
	second := serve(t, app, "--data", dir)
	got := second.call("query", "notes:list", `{}`)
	if strings.Count(got, "seeded") != 1 || strings.Count(got, "hello") != 1 {
		t.Errorf("after a restart the notes are %s", got)
	}
}

func TestSeedThatFailsLeavesNothingAndRunsAgain(t *testing.T) {
	t.Parallel()
	app, dir := newApp(), data(t)
	good := app.Seed
	app.Seed = func(tx *engine.Tx) error {
		if err := good(tx); err != nil {
			return err
		}
		return errors.New("out of ink")
	}
	status, stdout, stderr := run(t, app, "--addr", "127.0.0.1:0", "--data", dir)
	if status != 1 || stdout != "" || !strings.HasSuffix(stderr, "notes: filling the new database: out of ink\n") {
		t.Errorf("status %d, output %q, error %q", status, stdout, stderr)
	}
	app.Seed = good
	if got := serve(t, app, "--data", dir).call("query", "notes:list", `{}`); strings.Count(got, "seeded") != 1 {
		t.Errorf("the notes are %s", got)
	}
}

// What a person can do something about is one line, and a status that says so.
func TestFailures(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	used := data(t)
	serve(t, newApp(), "--data", used)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "MANIFEST"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "nothing", "here")

	for name, tt := range map[string]struct {
		args   []string
		status int
		says   []string
	}{
		"flag":            {[]string{"--bogus"}, 2, []string{"unknown flag: --bogus", "notes --help"}},
		"flag of serve":   {[]string{"serve", "--bogus"}, 2, []string{"unknown flag: --bogus"}},
		"flag value":      {[]string{"--dev=perhaps"}, 2, []string{"--dev", "perhaps"}},
		"no flag value":   {[]string{"--addr"}, 2, []string{"--addr"}},
		"command":         {[]string{"fly"}, 2, []string{`unknown command "fly"`}},
		"argument":        {[]string{"serve", "now"}, 2, []string{`"now"`}},
		"address":         {[]string{"--addr", "localhost"}, 2, []string{`--addr "localhost"`, "host:port", "notes --help"}},
		"port":            {[]string{"--addr", "127.0.0.1:99999"}, 1, []string{"127.0.0.1:99999"}},
		"foreign address": {[]string{"--addr", "192.0.2.1:8787"}, 1, []string{"192.0.2.1:8787", "--addr"}},
		"busy port":       {[]string{"--addr", busy.Addr().String()}, 1, []string{busy.Addr().String() + " is in use", "--addr"}},
		"metrics":         {[]string{"--metrics", "9090"}, 2, []string{`--metrics "9090"`, "host:port", "notes --help"}},
		"metrics in use":  {[]string{"--addr", "127.0.0.1:0", "--metrics", busy.Addr().String()}, 1, []string{busy.Addr().String() + " is in use", "--metrics"}},
		"folder in use":   {[]string{"--data", used}, 1, []string{used + " is in use", "--data"}},
		"folder is file":  {[]string{"--data", file}, 1, []string{file + " cannot be written to", "--data"}},
		"folder in file":  {[]string{"--data", filepath.Join(file, "data")}, 1, []string{"cannot be written to", "--data"}},
		"foreign folder":  {[]string{"--data", foreign}, 1, []string{foreign + " holds the data of another program", "--data"}},
		"no folder":       {[]string{"--data", ""}, 2, []string{"--data is empty", "./mimosa-data", "notes --help"}},
		"check no folder": {[]string{"check", "--data", ""}, 2, []string{"--data is empty"}},
		"origin":          {[]string{"--allow-origin", "app.example.com"}, 2, []string{`--allow-origin: origin "app.example.com"`, "https://host"}},
		"second origin":   {[]string{"--allow-origin", "https://a.example,null"}, 2, []string{`--allow-origin: origin "null"`}},
		"origin and path": {[]string{"--allow-origin", "https://a.example/app"}, 2, []string{`--allow-origin: origin "https://a.example/app"`}},
		"proxy":           {[]string{"--trust-proxy", "proxy.internal"}, 2, []string{`--trust-proxy "proxy.internal"`, "10.0.0.0/8", "notes --help"}},
		"second proxy":    {[]string{"--trust-proxy", "10.0.0.1,10.0.0.256"}, 2, []string{`--trust-proxy "10.0.0.256"`}},
		"proxy and port":  {[]string{"--trust-proxy", "10.0.0.1:80"}, 2, []string{`--trust-proxy "10.0.0.1:80"`}},
		"host in network": {[]string{"--trust-proxy", "10.1.2.3/8"}, 2, []string{`--trust-proxy "10.1.2.3/8"`, "10.0.0.0/8 is", "10.1.2.3"}},
		"every proxy":     {[]string{"--trust-proxy", "0.0.0.0/0"}, 2, []string{"--trust-proxy: ", "0.0.0.0/0"}},
		"no proxy":        {[]string{"--trust-proxy", "loopback", "--trust-proxy", "10.0.0.1,"}, 2, []string{`--trust-proxy ""`}},
		"check missing":   {[]string{"check", "--data", missing}, 1, []string{"no database in " + missing, "--data"}},
		"backup missing":  {[]string{"backup", "--data", missing}, 1, []string{"no database in " + missing, "--data"}},
		"backup since":    {[]string{"backup", "--data", used, "--since", "yesterday"}, 2, []string{"--since", "yesterday"}},
		"backup since 0":  {[]string{"backup", "--data", used, "--since", "0"}, 2, []string{"--since 0"}},
		"backup unknown":  {[]string{"backup", "--data", used, "--since", "12345"}, 1, []string{"12345", "make a full one"}},
		"backup to none":  {[]string{"backup", "--data", used, "--out", filepath.Join(missing, "b")}, 1, []string{"cannot write " + filepath.Join(missing, "b")}},
		"backup to file":  {[]string{"backup", "--data", used, "--out", file}, 1, []string{file + " exists already", "--force"}},
		"restore nothing": {[]string{"restore", "--data", missing}, 2, []string{"arg"}},
		"restore missing": {[]string{"restore", "--data", missing, missing}, 1, []string{"cannot read " + missing}},
		"restore in use":  {[]string{"restore", "--data", used, file}, 1, []string{used + " is not empty"}},
		"export missing":  {[]string{"export", "--data", missing}, 1, []string{"no database in " + missing}},
		"export unknown":  {[]string{"export", "--data", used, "--collection", "papers"}, 1, []string{`no collection "papers"`}},
		"import missing":  {[]string{"import", "--data", used, missing}, 1, []string{"cannot read " + missing}},
		"import existing": {[]string{"import", "--data", used, "--existing", "maybe"}, 2, []string{"--existing", "maybe"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := tt.args
			if tt.status == 1 && args[0] == "--data" {
				args = append(args, "--addr", "127.0.0.1:0")
			}
			status, stdout, stderr := run(t, newApp(), args...)
			if status != tt.status || stdout != "" {
				t.Errorf("status %d, want %d; standard output %q", status, tt.status, stdout)
			}
			line, whole := strings.CutSuffix(stderr, "\n")
			if !whole || !strings.HasPrefix(line, "notes: ") || strings.Contains(line, "\n") {
				t.Errorf("not one line: %q", stderr)
			}
			for _, s := range tt.says {
				if !strings.Contains(line, s) {
					t.Errorf("%q does not say %q", line, s)
				}
			}
		})
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("check made the folder that it was to look at")
	}
}

// fullStore has no space for the commit that is its turn.
type fullStore struct {
	storage.Store
	refuses int32
	commits atomic.Int32
}

func (s *fullStore) Commit(ctx context.Context, id storage.GroupID, build func([]storage.LogEntry) (storage.Group, error)) (storage.Timestamp, error) {
	if s.commits.Add(1) == s.refuses {
		return 0, storage.ErrFull
	}
	return s.Store.Commit(ctx, id, build)
}

// A disk that has too little space left is told of in one line, wherever in the start it is met: the first commit is one of
// opening, the last that of filling the new database.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	trial := &fullStore{Store: memstore.New(memstore.Options{})}
	app := newApp()
	app.Database.Store = trial
	serve(t, app, "--data", "").stop()
	commits := trial.commits.Load()
	if commits == 0 {
		t.Fatal("the start commits nothing")
	}
	for turn := int32(1); turn <= commits; turn++ {
		app := newApp()
		app.Database.Store = &fullStore{Store: memstore.New(memstore.Options{}), refuses: turn}
		status, stdout, stderr := run(t, app, "--addr", "127.0.0.1:0", "--data", "somewhere")
		last := strings.TrimSuffix(stderr, "\n")
		last = last[strings.LastIndex(last, "\n")+1:]
		if want := "notes: there is too little disk space left for the data folder somewhere; "; status != 1 || stdout != "" || !strings.HasPrefix(last, want) {
			t.Errorf("commit %d of %d refused: status %d, output %q, error %q", turn, commits, status, stdout, stderr)
		}
	}
}

func TestWrongProgram(t *testing.T) {
	t.Parallel()
	broken := newApp()
	engine.Define[note](broken.Schema, "not a name")
	clash := newApp()
	clash.Routes = func(mux *http.ServeMux, _ *engine.DB) { mux.Handle("/api/", http.NotFoundHandler()) }
	for name, tt := range map[string]struct {
		app  cmd.App
		says string
	}{
		"no schema":    {cmd.App{Name: "notes"}, "App.Schema is nil"},
		"registration": {broken, "not a name"},
		"routes":       {clash, "App.Routes"},
	} {
		status, stdout, stderr := run(t, tt.app, "--addr", "127.0.0.1:0", "--data", data(t))
		last := strings.TrimSuffix(stderr, "\n")
		last = last[strings.LastIndex(last, "\n")+1:]
		if status != 1 || stdout != "" || !strings.HasPrefix(last, "notes: ") || !strings.Contains(last, tt.says) {
			t.Errorf("%s: status %d, output %q, error %q", name, status, stdout, stderr)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	app, dir := newApp(), data(t)
	r := serve(t, app, "--data", dir)
	r.stop()
	r.status()
	status, stdout, stderr := run(t, app, "check", "--data", dir)
	if status != 0 || stdout != dir+": no fault found\n" {
		t.Errorf("status %d, output %q, error %q", status, stdout, stderr)
	}
}

// A program with a store of its own has no data folder.
func TestCheckOfAnotherStore(t *testing.T) {
	t.Parallel()
	app := newApp()
	app.Database.Store = memstore.New(memstore.Options{})
	status, stdout, stderr := run(t, app, "check", "--data", data(t))
	if status != 0 || stdout != "the database: no fault found\n" {
		t.Errorf("status %d, output %q, error %q", status, stdout, stderr)
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := run(t, newApp(), "version")
	if status != 0 || !strings.HasPrefix(stdout, "notes v1.2.3 (go") || stderr != "" {
		t.Errorf("version: status %d, output %q, error %q", status, stdout, stderr)
	}
	status, stdout, stderr = run(t, newApp(), "--help")
	for _, word := range []string{"serve", "check", "version", "--addr", "localhost:8787", "--data", "./mimosa-data"} {
		if !strings.Contains(stdout, word) {
			t.Errorf("help does not name %s", word)
		}
	}
	if status != 0 || stderr != "" {
		t.Errorf("help: status %d, error %q", status, stderr)
	}
}

// Without Auth every token is refused; a nil *Auth must not be called as if it were one.
func TestWithoutAuth(t *testing.T) {
	t.Parallel()
	r := serve(t, newApp(), "--data", data(t))
	header := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer x.y.z"}}
	_, body := r.do(http.MethodPost, "/api/query", `{"path":"notes:whoami","format":"convex_encoded_json","args":[{}]}`, header)
	if !strings.Contains(body, "unauthenticated") {
		t.Errorf("a token was answered with %s", body)
	}
	if got := r.call("query", "notes:whoami", `{}`); !strings.Contains(got, `"value":false`) {
		t.Errorf("without a token: %s", got)
	}
	if res, _ := r.get("/.well-known/jwks.json"); res.StatusCode != http.StatusNotFound {
		t.Errorf("keys without sign-in: %s", res.Status)
	}
}

func TestWithAuth(t *testing.T) {
	t.Parallel()
	app := newApp()
	app.Auth = authmod.New(app.Schema, engine.Define[user](app.Schema, "users"), authmod.Options{
		Modules: []authmod.Module{hook{}},
	})
	r := serve(t, app, "--data", data(t))
	if res, body := r.get("/.well-known/jwks.json"); res.StatusCode != http.StatusOK || !strings.Contains(body, `"keys"`) {
		t.Errorf("keys: %s %s", res.Status, body)
	}
	res, body := r.do(http.MethodPost, "/api/auth/hook/users", "hello", nil)
	if res.StatusCode != http.StatusAccepted || body != "/users hello" {
		t.Errorf("a module's endpoint: %s %s", res.Status, body)
	}
	if res, body := r.get("/api/auth/nobody/x"); res.StatusCode != http.StatusNotFound || !strings.Contains(body, `"not_found"`) {
		t.Errorf("no module: %s %s", res.Status, body)
	}
	if got := r.call("query", "notes:whoami", `{}`); !strings.Contains(got, `"value":false`) {
		t.Errorf("calls beside it: %s", got)
	}
}

// hook is a sign-in module that answers HTTP.
type hook struct{}

func (hook) Provider() string                                { return "hook" }
func (hook) Attach(*authmod.Host)                            {}
func (hook) SignIn(*authmod.Attempt) (authmod.Answer, error) { return authmod.SignedOut(), nil }

func (hook) ServeAuth(_ *engine.DB, w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, r.URL.Path+" "+string(body))
}

func TestAllowOrigin(t *testing.T) {
	t.Parallel()
	r := serve(t, newApp(), "--data", data(t), "--allow-origin", "https://one.example,https://two.example")
	for origin, allowed := range map[string]bool{
		"https://one.example": true, "https://two.example": true, "https://three.example": false, r.url: true,
	} {
		res, _ := r.do(http.MethodPost, "/api/query", `{"path":"notes:list","format":"convex_encoded_json","args":[{}]}`,
			http.Header{"Content-Type": {"application/json"}, "Origin": {origin}})
		if got := res.StatusCode == http.StatusOK; got != allowed {
			t.Errorf("%s: %s", origin, res.Status)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	app := newApp()
	app.Routes = func(mux *http.ServeMux, db *engine.DB) {
		mux.HandleFunc("GET /functions", func(w http.ResponseWriter, _ *http.Request) {
			for _, f := range db.Functions() {
				_, _ = w.Write([]byte(f.Name + "\n"))
			}
		})
	}
	if _, body := serve(t, app, "--data", data(t)).get("/functions"); !strings.Contains(body, "notes:list\n") {
		t.Errorf("the program's own route answered %q", body)
	}
}

// A commit that fails ends the program, so that whoever watches over it starts it again: the database is of no more use.
func TestFailedCommitEndsTheProgram(t *testing.T) {
	t.Parallel()
	shared := memstore.NewShared(memstore.Options{})
	store := shared.Open()
	app := newApp()
	app.Database.Store = store
	var out, errs lines
	status := make(chan int, 1)
	go func() {
		status <- cmd.Run(context.Background(), app, []string{"--addr", "127.0.0.1:0"}, &out, &errs)
		out.end()
	}()
	r := &running{t: t, stdout: &out, stderr: &errs}
	r.await()
	store.FailNextCommit(memstore.FailAfter)
	if answer := r.call("mutation", "notes:add", `{"text":"lost"}`); !strings.Contains(answer, `"error"`) {
		t.Errorf("a mutation whose commit failed: %s", answer)
	}
	if s := <-status; s != 1 || !strings.Contains(errs.String(), "start the program again") {
		t.Errorf("ended with %d: %s", s, errs.String())
	}
	again := newApp()
	again.Database.Store = shared.Open()
	if answer := serve(t, again).call("query", "notes:list", `{}`); !strings.Contains(answer, "lost") {
		t.Errorf("after the next start: %s", answer)
	}
}
