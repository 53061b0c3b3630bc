package clientjs

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"
)

//go:embed dist/mimosa.js
var source string

// etag names the file's content. It is a strong one: the file is always sent byte for byte.
var etag = sync.OnceValue(func() string {
	sum := sha256.Sum256([]byte(source))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
})

// Source returns the client as a JavaScript module. The slice is the caller's own.
func Source() []byte { return []byte(source) }

// Handler serves the client as a JavaScript module at whatever path it is mounted at, to GET and HEAD; other methods get
// 405. Browsers may keep the file and ask each time whether it is still the newest, which costs an answer without a body.
// The handler is safe for concurrent use and keeps no state.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag())
		h.Set("X-Content-Type-Options", "nosniff")
		// Ranges, conditions and lengths are net/http's; the zero time keeps Last-Modified out of it.
		http.ServeContent(w, r, "mimosa.js", time.Time{}, strings.NewReader(source))
	})
}
