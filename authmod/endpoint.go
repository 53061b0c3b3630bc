package authmod

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/mimosadb/mimosa/engine"
)

// Endpoint is a Module that answers HTTP requests too: browsers that come back from an identity provider, webhooks.
// Auth.Handler serves it at /api/auth/{provider}/….
type Endpoint interface {
	// ServeAuth answers a request. The path of r.URL is what follows /api/auth/{provider}, "/" at least; its body may be read
	// up to 1 MiB. db is the database that was opened last with the Auth's schema, of those that are open; it may be closed
	// while the request is under way, and then gives engine.ErrClosed. Concurrent calls are normal. What refuses the request
	// is written by [Refuse].
	ServeAuth(db *engine.DB, w http.ResponseWriter, r *http.Request)
}

// endpoints is where Handler serves them.
const endpoints = "/api/auth/"

// maxRequest bounds the body of a request to an Endpoint, in bytes.
const maxRequest = 1 << 20

// serveEndpoint finds the module that a request is for.
func (a *Auth) serveEndpoint(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, endpoints), "/")
	e, ok := a.modules[name].(Endpoint)
	if !ok {
		Refuse(w, http.StatusNotFound, engine.CodeNotFound, "there is nothing here")
		return
	}
	db := a.open.last()
	if db == nil {
		w.Header().Set("Retry-After", "1")
		Refuse(w, http.StatusServiceUnavailable, engine.CodeBusy, "the database is not open")
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = "/"+rest, ""
	if r.Body != nil {
		inner.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	}
	e.ServeAuth(db, w, inner)
}

// Refuse answers a request with an error as clients know it: {"code", "message"}. Nobody may cache it.
func Refuse(w http.ResponseWriter, status int, c engine.Code, message string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(answer(engine.Error{Code: c, Message: message}).body) // a client that has gone is no matter
}

// openDatabases are those that were opened with one schema and not closed since. One program opens one; tests open many.
// Databases are not kept alive by it.
type openDatabases struct {
	mu  sync.Mutex
	all []weak.Pointer[engine.DB] // guarded by mu; in the order in which they were opened
}

func (o *openDatabases) add(db *engine.DB) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweep()
	o.all = append(o.all, weak.Make(db))
}

// last is the one that was opened last, nil when none is open.
func (o *openDatabases) last() *engine.DB {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweep()
	if len(o.all) == 0 {
		return nil
	}
	return o.all[len(o.all)-1].Value()
}

// sweep leaves out what has been closed. o.mu is held.
func (o *openDatabases) sweep() {
	o.all = slices.DeleteFunc(o.all, func(w weak.Pointer[engine.DB]) bool {
		db := w.Value()
		if db == nil {
			return true
		}
		select {
		case <-db.Done():
			return true
		default:
			return false
		}
	})
}

// BaseURL is Options.BaseURL without a slash at its end; empty when it is not set.
func (h *Host) BaseURL() string { return h.auth.options.BaseURL }

// SiteURL is Options.SiteURL without a slash at its end; empty when neither it nor Options.BaseURL is set.
func (h *Host) SiteURL() string { return h.auth.options.SiteURL }

// Endpoint is the public address at which Auth.Handler serves the host's module, without a slash at its end; empty when
// Options.BaseURL is not set.
func (h *Host) Endpoint() string {
	if h.auth.options.BaseURL == "" {
		return ""
	}
	return h.auth.options.BaseURL + endpoints + h.provider
}

// checkAddress reports what is wrong with an option that is a public address.
func checkAddress(s *engine.Schema, name, address string) {
	if address == "" {
		return
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" ||
		u.ForceQuery || strings.Contains(address, "#") {
		s.Problem("authmod: %s must be an address such as https://app.example.com, without a query", name)
	}
}
