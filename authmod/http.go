package authmod

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Handler serves what other services need to verify access tokens: the public keys as a JWK Set (RFC 7517) at
// /.well-known/jwks.json, and, where Options.Issuer is an address, /.well-known/openid-configuration. Both are public and may
// be fetched by pages of any origin. It answers before the database is opened, with no keys. Modules that are an [Endpoint] are
// served at /api/auth/{provider}/…; before a database is open, and after it was closed, they are answered for with the status
// 503 and code busy.
func (a *Auth) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"keys": a.keys.public()})
	})
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		issuer := a.options.Issuer
		if u, err := url.Parse(issuer); err != nil || u.Scheme == "" || u.Host == "" {
			http.NotFound(w, r)
			return
		}
		writeJSON(w, map[string]any{
			"issuer":                                issuer,
			"jwks_uri":                              strings.TrimSuffix(issuer, "/") + "/.well-known/jwks.json",
			"response_types_supported":              []string{"id_token"},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc(endpoints, a.serveEndpoint)
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(body) // whoever asked may have gone
}
