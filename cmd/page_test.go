package cmd_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestPage(t *testing.T) {
	t.Parallel()
	app := newApp()
	app.Static = fstest.MapFS{
		"index.html":       {Data: []byte("<p>home")},
		"style.css":        {Data: []byte("p{}")},
		"docs/index.html":  {Data: []byte("<p>docs")},
		"docs/a b.html":    {Data: []byte("<p>a b")},
		"img/dot.svg":      {Data: []byte("<svg/>")},
		".env":             {Data: []byte("secret")},
		"img/.hidden/x.js": {Data: []byte("secret")},
	}
	r := serve(t, app, "--data", data(t))
	for path, want := range map[string]struct {
		status int
		kind   string
		body   string
	}{
		"/":                        {200, "text/html", "<p>home"},
		"/index.html":              {200, "text/html", "<p>home"},
		"/style.css":               {200, "text/css", "p{}"},
		"/docs/":                   {200, "text/html", "<p>docs"},
		"/docs/a%20b.html":         {200, "text/html", "<p>a b"},
		"/img/dot.svg":             {200, "image/svg+xml", "<svg/>"},
		"/img/":                    {404, "", ""},
		"/nothing":                 {404, "", ""},
		"/.env":                    {404, "", ""},
		"/img/.hidden/x.js":        {404, "", ""},
		"/%2e%2e/%2e%2e/etc/hosts": {404, "", ""},
		"/style.css/":              {200, "text/css", "p{}"},
		"/docs":                    {301, "", ""},
	} {
		res, body := r.get(path)
		if res.StatusCode != want.status || !strings.HasPrefix(res.Header.Get("Content-Type"), want.kind) ||
			want.body != "" && body != want.body {
			t.Errorf("%s: %s, %s, %q", path, res.Status, res.Header.Get("Content-Type"), body)
		}
		if strings.Contains(body, "secret") {
			t.Errorf("%s gave a hidden file away", path)
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") ||
			res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, res.Header)
		}
	}
	if res, _ := r.get("/docs"); res.Header.Get("Location") != "./docs/" {
		t.Errorf("/docs leads to %q", res.Header.Get("Location"))
	}
	if res, _ := r.do(http.MethodPost, "/", "", nil); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") == "" {
		t.Errorf("POST: %s", res.Status)
	}
	if res, body := r.do(http.MethodHead, "/", "", nil); res.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: %s %q", res.Status, body)
	}

	res, _ := r.get("/style.css")
	tag := res.Header.Get("ETag")
	if res, body := r.do(http.MethodGet, "/style.css", "", http.Header{"If-None-Match": {tag}}); tag == "" ||
		res.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("asked for anything newer than %q: %s %q", tag, res.Status, body)
	}
	if other, _ := r.get("/"); other.Header.Get("ETag") == tag {
		t.Error("two files have one ETag")
	}
}

// Files on disk may change while the program runs.
func TestPageFromAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "index.html")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	app := newApp()
	app.Static = os.DirFS(dir)
	app.ContentSecurityPolicy = "default-src https:"
	r := serve(t, app, "--data", data(t))
	if res, body := r.get("/"); body != "old" || res.Header.Get("Content-Security-Policy") != "default-src https:" {
		t.Errorf("got %q with %v", body, res.Header)
	}
	if err := os.WriteFile(file, []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, body := r.get("/"); body != "newer" {
		t.Errorf("after a change got %q", body)
	}
}
