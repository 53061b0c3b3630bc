package subscriptions

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Validate says what is wrong with the options: origins that no browser would ever send, and trusted proxies that are no network,
// or everybody. New takes such options all the same, without those proxies, and warns of them in its log.
func (o Options) Validate() error {
	errs := []error{o.checkProxies()}
	for _, origin := range o.AllowedOrigins {
		u, err := url.Parse(origin)
		switch {
		case origin == "*":
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			errs = append(errs, fmt.Errorf("subscriptions: origin %q is not of the form https://host or https://host:port", origin))
		case u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			errs = append(errs, fmt.Errorf("subscriptions: origin %q says more than scheme, host and port", origin))
		}
	}
	return errors.Join(errs...)
}

// originAllowed says whether a page of the request's origin may connect or call. Tokens are no cookies, so a foreign page
// could not act for a user; but it could use up the server, and reach one that only its visitors can reach.
func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	if slices.ContainsFunc(s.o.AllowedOrigins, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(strings.TrimSuffix(allowed, "/"), origin)
	}) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// allowOrigin writes the headers by which a browser lets a page of another origin read the answer. It reports whether the
// request may go on.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	if !s.originAllowed(r) {
		return false
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
	}
	return true
}

func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Convex-Client")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
