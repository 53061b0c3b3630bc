package cmd

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
)

// defaultPolicy lets a page load what comes from its own address, images that it made itself, and nothing else; no other page
// may frame it.
const defaultPolicy = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; " +
	"form-action 'self'; frame-ancestors 'none'"

// page serves a program's own files. Unlike http.FileServerFS it lists no folders, hides names that begin with a dot, and
// lets browsers ask whether an embedded file, which has no date, is still the newest.
type page struct {
	files  fs.FS
	policy string
	tags   sync.Map // name → ETag, for files without a date: embedded ones, which do not change
}

func newPage(files fs.FS, policy string) *page {
	if policy == "" {
		policy = defaultPolicy
	}
	return &page{files: files, policy: policy}
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin-allow-popups")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if hidden(name) {
		http.NotFound(w, r)
		return
	}
	if name == "" {
		name = "."
	}
	info, err := fs.Stat(p.files, name)
	if err == nil && info.IsDir() {
		if !strings.HasSuffix(r.URL.Path, "/") {
			// A relative address, so that it holds behind a proxy that cuts a prefix off.
			h.Set("Location", (&url.URL{Path: "./" + path.Base(name) + "/"}).String())
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		name = path.Join(name, "index.html")
		info, err = fs.Stat(p.files, name)
	}
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	p.send(w, r, name, info)
}

func (p *page) send(w http.ResponseWriter, r *http.Request, name string, info fs.FileInfo) {
	f, err := p.files.Open(name)
	if err != nil {
		// Gone since it was looked at, or not readable: to the person at the other end that is the same.
		http.NotFound(w, r)
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	content, ok := f.(io.ReadSeeker)
	if !ok {
		b, err := io.ReadAll(f)
		if err != nil {
			http.Error(w, "the file cannot be read", http.StatusInternalServerError)
			return
		}
		content = bytes.NewReader(b)
	}
	w.Header().Set("Cache-Control", "no-cache") // keep it, and ask each time
	if info.ModTime().IsZero() {
		tag, err := p.tag(name, content)
		if err != nil {
			http.Error(w, "the file cannot be read", http.StatusInternalServerError)
			return
		}
		w.Header().Set("ETag", tag)
	}
	http.ServeContent(w, r, name, info.ModTime(), content)
}

// tag names a file's content.
func (p *page) tag(name string, content io.ReadSeeker) (string, error) {
	if tag, ok := p.tags.Load(name); ok {
		return tag.(string), nil
	}
	sum := sha256.New()
	_, err := io.Copy(sum, content)
	_, back := content.Seek(0, io.SeekStart)
	if err := errors.Join(err, back); err != nil {
		return "", err
	}
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:12]) + `"`
	p.tags.Store(name, tag)
	return tag, nil
}

func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return true
		}
	}
	return false
}
