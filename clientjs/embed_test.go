package clientjs_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mimosadb/mimosa/clientjs"
)

func serve(method string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/anywhere/mimosa.js", nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	clientjs.Handler().ServeHTTP(w, r)
	return w
}

func TestHandlerServesTheClientAsAModule(t *testing.T) {
	t.Parallel()
	w := serve(http.MethodGet, nil)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	// Browsers refuse to run a module of another type.
	if got := w.Header().Get("Content-Type"); got != "text/javascript; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	if !bytes.Equal(w.Body.Bytes(), clientjs.Source()) {
		t.Error("the body is not Source()")
	}
	if !bytes.Contains(clientjs.Source(), []byte("as MimosaClient")) {
		t.Error("the module does not export MimosaClient")
	}
}

func TestHandlerAnswersAnUnchangedFileWithoutBody(t *testing.T) {
	t.Parallel()
	tag := serve(http.MethodGet, nil).Header().Get("ETag")
	if len(tag) < 10 {
		t.Fatalf("ETag %q", tag)
	}
	w := serve(http.MethodGet, http.Header{"If-None-Match": {tag}})
	if w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("with the same tag: status %d, %d bytes", w.Code, w.Body.Len())
	}
	w = serve(http.MethodGet, http.Header{"If-None-Match": {`"another"`}})
	if w.Code != http.StatusOK || w.Body.Len() != len(clientjs.Source()) {
		t.Errorf("with another tag: status %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestHandlerRefusesOtherMethods(t *testing.T) {
	t.Parallel()
	w := serve(http.MethodPost, nil)
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: status %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	if w := serve(http.MethodHead, nil); w.Code != http.StatusOK || w.Body.Len() != 0 {
		t.Errorf("HEAD: status %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestSourceIsACopy(t *testing.T) {
	t.Parallel()
	clientjs.Source()[0] ^= 0xff
	if !bytes.HasPrefix(clientjs.Source(), []byte("/*!")) {
		t.Error("a change of what Source returned changed the client")
	}
}
