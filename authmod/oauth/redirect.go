package oauth

import (
	"net/url"
	"slices"
	"strings"
)

// maxRedirect bounds an address to come back to, in bytes.
const maxRedirect = 2 << 10

// targets are the addresses to which people may be sent back.
type targets struct {
	site    string // of the pages, without a slash at its end; relative addresses are of it
	home    string // where people go who ask for nothing else
	allowed []target
}

// target stands for an address and all that lie below it.
type target struct {
	scheme, host string
	segments     []string
}

// newTargets returns the allow-list, and what is wrong with it.
func newTargets(site string, more []string) (t targets, wrong []string) {
	t.site, t.home = site, site
	all := more
	if site != "" {
		all = append([]string{site}, more...)
	}
	for _, raw := range all {
		u := parseAddress(raw)
		if u == nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#") || executes(u.Scheme) {
			wrong = append(wrong, raw)
			continue
		}
		if t.home == "" {
			t.home = raw
		}
		t.allowed = append(t.allowed, targetOf(u))
	}
	return t, wrong
}

// executes says whether an address of this scheme is run by browsers, or shows what is in it, instead of leading somewhere.
func executes(scheme string) bool {
	return slices.Contains([]string{
		"javascript", "data", "vbscript", "file", "blob", "filesystem", "about", "view-source",
	}, scheme)
}

// resolve returns the absolute address that a client asked to come back to, if that is allowed. Relative ones begin with "/" or
// "?". What it returns was put together of the parts that were checked, so that nobody reads it in another way.
func (t targets) resolve(raw string) (string, bool) {
	switch {
	case strings.HasPrefix(raw, "//"):
		return "", false
	case strings.HasPrefix(raw, "/"), strings.HasPrefix(raw, "?"):
		if t.site == "" {
			return "", false
		}
		raw = t.site + raw
	}
	u := parseAddress(raw)
	if u == nil {
		return "", false
	}
	asked := targetOf(u)
	if !slices.ContainsFunc(t.allowed, asked.below) {
		return "", false
	}
	return u.String(), true
}

// below says whether t is o, or lies below it.
func (t target) below(o target) bool {
	return t.scheme == o.scheme && t.host == o.host && len(t.segments) >= len(o.segments) &&
		slices.Equal(t.segments[:len(o.segments)], o.segments)
}

func targetOf(u *url.URL) target {
	t := target{scheme: u.Scheme, host: strings.ToLower(u.Hostname())}
	if p := u.Port(); p != "" && !(u.Scheme == "https" && p == "443" || u.Scheme == "http" && p == "80") {
		t.host += ":" + p
	}
	for s := range strings.SplitSeq(u.Path, "/") {
		if s != "" {
			t.segments = append(t.segments, s)
		}
	}
	return t
}

// parseAddress parses an absolute address, nil where it is none, or one of those that programs read in different ways: white
// space, control characters, backslashes, letters beyond ASCII, names before an @, paths with empty segments, with dots for
// segments, or with slashes, dots and control characters in disguise.
func parseAddress(raw string) *url.URL {
	if len(raw) > maxRedirect || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Opaque != "" || u.User != nil || u.Hostname() == "" || strings.Contains(u.Host, "%") {
		return nil
	}
	if strings.HasSuffix(u.Host, ":") {
		return nil
	}
	if strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return nil
	}
	escaped := strings.ToLower(u.EscapedPath())
	if strings.Contains(escaped, "%2f") || strings.Contains(escaped, "%2e") || strings.Contains(escaped, "%25") {
		return nil
	}
	for s := range strings.SplitSeq(u.Path, "/") {
		if name, _, _ := strings.Cut(s, ";"); name == "." || name == ".." {
			return nil
		}
	}
	if strings.Contains(u.Path, "//") {
		return nil
	}
	return u
}

// withQuery adds a parameter to an address that resolve returned. Its query stays as it is, but for parameters that would be
// taken for the answer; its fragment stays last.
func withQuery(address, name, value string) string {
	u, err := url.Parse(address)
	if err != nil { // resolve has parsed it
		return address
	}
	var kept []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(key); err == nil && (plain == "code" || plain == "error") || pair == "" {
			continue
		}
		kept = append(kept, pair)
	}
	u.RawQuery = strings.Join(append(kept, url.QueryEscape(name)+"="+url.QueryEscape(value)), "&")
	return u.String()
}
