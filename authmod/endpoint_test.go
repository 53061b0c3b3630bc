package authmod_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// echoModule answers requests with what it was asked, and by which database.
type echoModule struct {
	name string
	dbs  map[*engine.DB]string
}

func (m *echoModule) Provider() string     { return m.name }
func (*echoModule) Attach(h *authmod.Host) {}
func (*echoModule) SignIn(*authmod.Attempt) (authmod.Answer, error) {
	return authmod.Started(), nil
}

func (m *echoModule) ServeAuth(db *engine.DB, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		authmod.Refuse(w, http.StatusRequestEntityTooLarge, engine.CodeTooLarge, "the body is too large")
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s %s?%s %s", m.dbs[db], r.Method, r.URL.Path, r.URL.RawQuery, body)
}

// silentModule is no Endpoint.
type silentModule struct{}

func (silentModule) Provider() string       { return "silent" }
func (silentModule) Attach(h *authmod.Host) {}
func (silentModule) SignIn(*authmod.Attempt) (authmod.Answer, error) {
	return authmod.Started(), nil
}

// Requests reach the module that their path names, with the database that was opened last and is open.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	s := engine.NewSchema()
	echo := &echoModule{name: "echo", dbs: map[*engine.DB]string{}}
	auth := authmod.New(s, engine.Define[User](s, "users"), authmod.Options{Modules: []authmod.Module{echo, silentModule{}}})
	h := auth.Handler()
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w
	}
	refused := func(when string, w *httptest.ResponseRecorder, status int, code engine.Code) {
		t.Helper()
		var e engine.Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != status || e.Code != code || e.Message == "" {
			t.Errorf("%s: %d %s, want %d %s", when, w.Code, w.Body, status, code)
		}
		if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", when, w.Header())
		}
	}
	answered := func(w *httptest.ResponseRecorder, want string) {
		t.Helper()
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%d %s, want %s", w.Code, w.Body, want)
		}
	}
	open := func(name string) *engine.DB {
		t.Helper()
		db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		echo.dbs[db] = name
		return db
	}

	refused("before Open", ask("GET", "/api/auth/echo/x", ""), http.StatusServiceUnavailable, engine.CodeBusy)
	first := open("first")
	answered(ask("GET", "/api/auth/echo/callback?code=1&state=2", ""), "first GET /callback?code=1&state=2 ")
	answered(ask("POST", "/api/auth/echo", "hello"), "first POST /? hello")
	answered(ask("POST", "/api/auth/echo/a/b%2Fc", "hello"), "first POST /a/b/c? hello")
	refused("a large body", ask("POST", "/api/auth/echo", strings.Repeat("x", 1<<20+1)), http.StatusRequestEntityTooLarge, engine.CodeTooLarge)
	for _, path := range []string{"/api/auth/", "/api/auth/nobody/callback", "/api/auth/silent/callback", "/api/auth/Echo/callback"} {
		refused(path, ask("GET", path, ""), http.StatusNotFound, engine.CodeNotFound)
	}

	second := open("second")
	answered(ask("GET", "/api/auth/echo/x", ""), "second GET /x? ")
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	answered(ask("GET", "/api/auth/echo/x", ""), "first GET /x? ")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	refused("after Close", ask("GET", "/api/auth/echo/x", ""), http.StatusServiceUnavailable, engine.CodeBusy)
}

// addressModule shows what a module learns of where it is served.
type addressModule struct {
	silentModule
	host *authmod.Host
}

func (m *addressModule) Attach(h *authmod.Host) { m.host = h }

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	attach := func(o authmod.Options) (*authmod.Host, error) {
		m := &addressModule{}
		o.Modules = []authmod.Module{m}
		s := engine.NewSchema()
		authmod.New(s, engine.Define[User](s, "users"), o)
		db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
		if err == nil {
			err = db.Close()
		}
		return m.host, err
	}
	for _, c := range []struct{ base, site, wantSite, wantEndpoint string }{
		{"", "", "", ""},
		{"https://api.example.com/", "", "https://api.example.com", "https://api.example.com/api/auth/silent"},
		{"http://localhost:8787", "http://localhost:5173/app/", "http://localhost:5173/app", "http://localhost:8787/api/auth/silent"},
		{"https://example.com/back", "", "https://example.com/back", "https://example.com/back/api/auth/silent"},
	} {
		h, err := attach(authmod.Options{BaseURL: c.base, SiteURL: c.site})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if h.SiteURL() != c.wantSite || h.Endpoint() != c.wantEndpoint {
			t.Errorf("%+v: site %q, endpoint %q", c, h.SiteURL(), h.Endpoint())
		}
	}
	for _, bad := range []string{
		"example.com", "//example.com", "ftp://example.com", "https://", "https://user@example.com",
		"https://example.com?x=1", "https://example.com?", "https://example.com/#x", "https://example.com:port", "javascript:alert(1)",
	} {
		if _, err := attach(authmod.Options{BaseURL: bad}); err == nil || !strings.Contains(err.Error(), "BaseURL") {
			t.Errorf("BaseURL %q: %v", bad, err)
		}
		if _, err := attach(authmod.Options{SiteURL: bad}); err == nil || !strings.Contains(err.Error(), "SiteURL") {
			t.Errorf("SiteURL %q: %v", bad, err)
		}
	}
}
