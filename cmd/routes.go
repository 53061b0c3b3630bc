package cmd

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mimosadb/mimosa/clientjs"
	"github.com/mimosadb/mimosa/engine"
)

// bodyTime is for how long a client may take to send a request's body.
const bodyTime = 30 * time.Second

// routes says what is served where. Patterns of the program's own that clash with these are an error: the mux panics on them.
func (p *program) routes(db *engine.DB, calls http.Handler) (mux *http.ServeMux, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("App.Routes: %v", problem)
		}
	}()
	mux = http.NewServeMux()
	mux.Handle("/api/", calls)
	mux.Handle("/mimosa.js", clientjs.Handler())
	if p.Auth != nil {
		auth := p.Auth.Handler()
		mux.Handle("/.well-known/jwks.json", auth)
		mux.Handle("/.well-known/openid-configuration", auth)
		mux.Handle("/api/auth/", auth)
	}
	if p.Static != nil {
		mux.Handle("/", newPage(p.Static, p.ContentSecurityPolicy))
	}
	if p.Routes != nil {
		p.Routes(mux, db)
	}
	return mux, nil
}

// limitBodies bounds the time that a request's body may take, as http.Server.ReadTimeout would. That one, however, also ends
// the context of a handler that works longer, and actions may work for minutes.
func limitBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			c := http.NewResponseController(w)
			if err := c.SetReadDeadline(time.Now().Add(bodyTime)); err == nil {
				r.Body = &timedBody{r.Body, func() { _ = c.SetReadDeadline(time.Time{}) }}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the deadline when the body has been read.
type timedBody struct {
	io.ReadCloser
	lift func()
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.lift()
	}
	return n, err
}
