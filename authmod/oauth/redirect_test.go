package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod/oauth"
)

// Where a sign-in may send people back to. An empty result is a refusal.
func TestRedirects(t *testing.T) {
	t.Parallel()
	const at = "https://app.example.com"
	long := strings.Repeat("x", 3000)
	for _, c := range []struct{ site, allow, asked, want string }{
		// The pages themselves, and what lies below.
		{at, "", "/", at + "/"},
		{at, "", "/welcome?x=1#top", at + "/welcome?x=1#top"},
		{at, "", "?x=1", at + "?x=1"},
		{at, "", at, at},
		{at, "", at + "/a/b", at + "/a/b"},
		{at, "", "HTTPS://APP.example.COM/a", "https://APP.example.COM/a"},
		{at, "", at + ":443/a", at + ":443/a"},
		{at + ":443", "", at + "/a", at + "/a"},
		{at, "", at + "/a%20b", at + "/a%20b"},
		{at, "", at + "?next=https://evil.example", at + "?next=https://evil.example"},
		{at, "", at + "/#/@evil.example", at + "/#/@evil.example"},
		{at, "", "/a//b", ""},

		// Other hosts, however they are written.
		{at, "", "https://evil.example", ""},
		{at, "", "//evil.example", ""},
		{at, "", "///evil.example", ""},
		{at, "", `/\evil.example`, ""},
		{at, "", `\\evil.example`, ""},
		{at, "", `https:\\evil.example`, ""},
		{at, "", "https:evil.example", ""},
		{at, "", "https:/evil.example", ""},
		{at, "", "https:///evil.example", ""},
		{at, "", "https://app.example.com@evil.example", ""},
		{at, "", "https://app.example.com:x@evil.example", ""},
		{at, "", "https://evil@app.example.com", ""},
		{at, "", "https://:@app.example.com", ""},
		{at, "", "https://@app.example.com", ""},
		{at, "", `https://evil.example\@app.example.com`, ""},
		{at, "", `https://app.example.com\.evil.example`, ""},
		{at, "", "https://app.example.com.evil.example", ""},
		{at, "", "https://app.example.com.", ""},
		{at, "", "https://app.example.comevil.example", ""},
		{at, "", "https://notapp.example.com", ""},
		{at, "", "https://x.app.example.com", ""},
		{at, "", "https://example.com", ""},
		{at, "", "https://app%2eexample.com", ""},
		{at, "", "https://app.example.com%2f@evil.example", ""},
		{at, "", "https://app.example.com%00.evil.example", ""},
		{at, "", "https://evil.example#@app.example.com", ""},
		{at, "", "https://evil.example?app.example.com", ""},
		{at, "", "https://evil.example/https://app.example.com", ""},
		{at, "", "https://[::1]", ""},
		{at, "", "@evil.example", ""},
		{at, "", ".evil.example", ""},
		{at, "", ":x@evil.example", ""},
		{at, "", "evil.example", ""},
		{at, "", "", ""},

		// Letters that look like others, or become others.
		{at, "", "https://аpp.example.com", ""},
		{at, "", "https://app.example。com", ""},
		{at, "", "https://ａpp.example.com", ""},
		{at, "", "https://app.example.com/ä", ""},
		{"https://xn--bcher-kva.example", "", "https://bücher.example", ""},
		{"https://xn--bcher-kva.example", "", "https://xn--bcher-kva.example/a", "https://xn--bcher-kva.example/a"},
		{at, "", "https://app.example.com\u200b", ""},

		// Schemes and ports.
		{at, "", "http://app.example.com", ""},
		{at, "", "https://app.example.com:8443", ""},
		{at, "", "https://app.example.com:", ""},
		{at, "", "https://app.example.com:443@evil.example", ""},
		{at, "", "https://app.example.com:80", ""},
		{"http://app.example.com:80", "", "http://app.example.com/a", "http://app.example.com/a"},
		{"http://localhost:5173", "", "http://localhost:5173/a", "http://localhost:5173/a"},
		{"http://localhost:5173", "", "http://localhost:5174/a", ""},
		{at, "", "javascript:alert(1)", ""},
		{at, "", "javascript://app.example.com/%0aalert(1)", ""},
		{at, "", "data:text/html,x", ""},
		{at, "", "ftp://app.example.com", ""},
		{at, "com.example.app://auth", "com.example.app://auth/back", "com.example.app://auth/back"},
		{at, "com.example.app://auth", "com.example.app://other", ""},

		// What programs read over, or trip over.
		{at, "", " https://app.example.com", ""},
		{at, "", "https://app.example.com ", ""},
		{at, "", "\thttps://app.example.com", ""},
		{at, "", "/\t/evil.example", ""},
		{at, "", "/\n/evil.example", ""},
		{at, "", "/a\r\nSet-Cookie: x=1", ""},
		{at, "", "/a%0d%0aSet-Cookie:x", ""},
		{at, "", "/a\x00", ""},
		{at, "", "/a%zz", ""},
		{at, "", "/" + long, ""},

		// Paths: whole segments, and nothing that leads out of them.
		{at, at + "/b", at + "/a", at + "/a"}, // the pages are always allowed
		{at + "/app", "", "/x", at + "/app/x"},
		{at + "/app", "", at + "/app", at + "/app"},
		{at + "/app", "", at + "/app/", at + "/app/"},
		{at + "/app", "", at + "/apple", ""},
		{at + "/app", "", at + "/other", ""},
		{at + "/app", "", at + "/", ""},
		{at + "/app", "", at + "/App", ""},
		{at + "/app", "", at + "//app", ""},
		{at + "/app", "", "/../other", ""},
		{at + "/app", "", "/./x", ""},
		{at + "/app", "", "/..", ""},
		{at + "/app", "", "/%2e%2e/other", ""},
		{at + "/app", "", "/.%2E/other", ""},
		{at + "/app", "", "/..%2fother", ""},
		{at + "/app", "", "/%252e%252e/other", ""},
		{at + "/app", "", "/..%5cother", ""},
		{at + "/app", "", "/..;/other", ""},
		{at + "/app", "", at + "/app%2fx", ""},
		{at + "/app", "", at + "/app/a%2eb", ""},
		{at, "", `?x=\\evil.example`, ""},
		{at, "", `#\evil.example`, ""},
		{at, "", `/#\evil.example`, ""},
		{at + "/app", "", "/.;x/other", ""},
		{at + "/app", "", "/..%3b/other", ""},
		{at, "https://two.example/in", "https://two.example/in/x?y=1", "https://two.example/in/x?y=1"},
		{at, "https://two.example/in", "https://two.example/inner", ""},
		{at, "https://two.example/in", "https://two.example/", ""},
		{"", "https://two.example", "/x", ""},
		{"", "https://two.example", "https://two.example/x", "https://two.example/x"},
	} {
		var allow []string
		if c.allow != "" {
			allow = []string{c.allow}
		}
		resolve, wrong := oauth.Resolver(c.site, allow...)
		if len(wrong) > 0 {
			t.Errorf("%s, %s: %v are wrong", c.site, c.allow, wrong)
		}
		got, ok := resolve(c.asked)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s, allowed %q: %.200q gives %q, want %q", c.site, c.allow, c.asked, got, c.want)
		}
	}
}

func TestWrongRedirectOptions(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "app.example.com", "/welcome", "//app.example.com", "https://", "https://a@app.example.com", "https://app.example.com?x=1",
		"https://app.example.com?", "https://app.example.com#x", "javascript://x", "data://x", "file://x/y", "https://app.example.com/../x", "*",
	} {
		if _, wrong := oauth.Resolver(site, "https://good.example", bad); len(wrong) != 1 || wrong[0] != bad {
			t.Errorf("%q: wrong are %q", bad, wrong)
		}
	}
}

func TestWithQuery(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"https://a.example", "https://a.example?code=1%2F2"},
		{"https://a.example/", "https://a.example/?code=1%2F2"},
		{"https://a.example/in?b=%2f&a=1&b=2", "https://a.example/in?b=%2f&a=1&b=2&code=1%2F2"},
		{"https://a.example/in?code=old&x=1&c%6fde=old&error=no", "https://a.example/in?x=1&code=1%2F2"},
		{"https://a.example/#/in?code=x", "https://a.example/?code=1%2F2#/in?code=x"},
		{"https://a.example/?x#y", "https://a.example/?x&code=1%2F2#y"},
		{"com.example.app://auth/back?x=1", "com.example.app://auth/back?x=1&code=1%2F2"},
	} {
		if got := oauth.WithQuery(c[0], "code", "1/2"); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
}

// Whatever is asked for, people are sent below what is allowed, by the strictest reading.
func FuzzRedirects(f *testing.F) {
	for _, s := range []string{"/", "//evil.example", "https://app.example.com/in/x", `https://app.example.com\@evil`, "/a/../b", "?x=%2f", "/%2e%2e/"} {
		f.Add(s)
	}
	resolve, _ := oauth.Resolver("https://app.example.com/in")
	f.Fuzz(func(t *testing.T, asked string) {
		got, ok := resolve(asked)
		if !ok {
			return
		}
		back := oauth.WithQuery(got, "code", "secret")
		for _, address := range []string{got, back} {
			if !strings.HasPrefix(strings.ToLower(address), "https://app.example.com") || strings.ContainsAny(address, "\\\r\n\t \x00") {
				t.Fatalf("%q leads to %q", asked, address)
			}
			// As browsers do it: relative to the page, with dots taken out.
			page, err := url.Parse("https://app.example.com/api/auth/x/callback")
			if err != nil {
				t.Fatal(err)
			}
			u, err := page.Parse(address)
			if err != nil {
				t.Fatalf("%q leads to %q: %v", asked, address, err)
			}
			host := strings.ToLower(u.Host)
			clean := u.JoinPath().Path // dots taken out
			if u.Scheme != "https" || host != "app.example.com" && host != "app.example.com:443" || u.User != nil ||
				clean != "/in" && !strings.HasPrefix(clean, "/in/") {
				t.Fatalf("%q leads to %q", asked, address)
			}
		}
		u, err := url.Parse(back)
		if err != nil || len(u.Query()["code"]) != 1 || u.Query().Get("code") != "secret" {
			t.Fatalf("%q: the code is lost in %q", asked, back)
		}
	})
}
