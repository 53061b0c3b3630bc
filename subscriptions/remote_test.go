package subscriptions_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/subscriptions"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

var someProxies = prefixes("10.0.0.0/8", "192.0.2.10/32", "2001:db8:aaaa::/48", "fe80::/10")

func TestRemoteAddr(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer    string
		headers []string // lines of X-Forwarded-For
		want    string   // "" is no address
	}{
		"no proxy":                    {"203.0.113.5:4711", nil, "203.0.113.5"},
		"no proxy, invention":         {"203.0.113.5:4711", []string{"198.51.100.1"}, "203.0.113.5"},
		"no proxy, claims to be one":  {"203.0.113.5:4711", []string{"198.51.100.1, 10.0.0.1"}, "203.0.113.5"},
		"proxy":                       {"10.0.0.1:80", []string{"203.0.113.5"}, "203.0.113.5"},
		"proxy without header":        {"10.0.0.1:80", nil, "10.0.0.1"},
		"one address of a network":    {"192.0.2.10:80", []string{"203.0.113.5"}, "203.0.113.5"},
		"its neighbour":               {"192.0.2.11:80", []string{"203.0.113.5"}, "192.0.2.11"},
		"two proxies":                 {"10.0.0.1:80", []string{"203.0.113.5, 10.9.9.9"}, "203.0.113.5"},
		"invention before":            {"10.0.0.1:80", []string{"198.51.100.1, 10.0.0.2, 203.0.113.5"}, "203.0.113.5"},
		"lines":                       {"10.0.0.1:80", []string{"198.51.100.1", "203.0.113.5", "10.0.0.3"}, "203.0.113.5"},
		"all are proxies":             {"10.0.0.1:80", []string{"10.0.0.9,10.0.0.8"}, "10.0.0.9"},
		"no spaces":                   {"10.0.0.1:80", []string{"198.51.100.1,203.0.113.5,10.9.9.9"}, "203.0.113.5"},
		"many spaces":                 {"10.0.0.1:80", []string{" 198.51.100.1 \t,\t 203.0.113.5  "}, "203.0.113.5"},
		"junk":                        {"10.0.0.1:80", []string{"unknown"}, "10.0.0.1"},
		"junk behind a proxy":         {"10.0.0.1:80", []string{"198.51.100.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		"junk before the client":      {"10.0.0.1:80", []string{"';--, 203.0.113.5"}, "203.0.113.5"},
		"empty":                       {"10.0.0.1:80", []string{""}, "10.0.0.1"},
		"empty entry":                 {"10.0.0.1:80", []string{"198.51.100.1, "}, "10.0.0.1"},
		"empty line":                  {"10.0.0.1:80", []string{"198.51.100.1", ""}, "10.0.0.1"},
		"hidden name":                 {"10.0.0.1:80", []string{"198.51.100.1, _secret"}, "10.0.0.1"},
		"number":                      {"10.0.0.1:80", []string{"3405803781"}, "10.0.0.1"},
		"leading zeros":               {"10.0.0.1:80", []string{"203.0.113.005"}, "10.0.0.1"},
		"quoted":                      {"10.0.0.1:80", []string{`"203.0.113.5"`}, "10.0.0.1"},
		"port":                        {"10.0.0.1:80", []string{"198.51.100.1, 203.0.113.5:4711, 10.0.0.4:80"}, "203.0.113.5"},
		"port that is none":           {"10.0.0.1:80", []string{"203.0.113.5:x"}, "10.0.0.1"},
		"IPv6":                        {"10.0.0.1:80", []string{"2001:db8::5"}, "2001:db8::5"},
		"IPv6 in brackets":            {"10.0.0.1:80", []string{"[2001:db8::5]"}, "2001:db8::5"},
		"IPv6 with a port":            {"10.0.0.1:80", []string{"[2001:db8::5]:4711"}, "2001:db8::5"},
		"IPv6 with half a bracket":    {"10.0.0.1:80", []string{"[2001:db8::5"}, "10.0.0.1"},
		"IPv6 proxy":                  {"[2001:db8:aaaa::1]:80", []string{"2001:db8::5, 2001:db8:aaaa::2"}, "2001:db8::5"},
		"zone":                        {"[fe80::1%eth0]:80", []string{"2001:db8::5, fe80::2%eth1, [fe80::3%eth1]:9"}, "2001:db8::5"},
		"zone of a client":            {"[fe81:db8::1%eth0]:80", []string{"fec0::5%eth0"}, "fec0::5"},
		"mapped peer":                 {"[::ffff:10.0.0.1]:80", []string{"203.0.113.5"}, "203.0.113.5"},
		"mapped proxy and client":     {"10.0.0.1:80", []string{"::ffff:203.0.113.5, ::ffff:10.0.0.2"}, "203.0.113.5"},
		"mapped in hex, with a port":  {"10.0.0.1:80", []string{"[::ffff:cb00:7105]:1"}, "203.0.113.5"},
		"mapped client without proxy": {"[::ffff:203.0.113.5]:80", []string{"198.51.100.1"}, "203.0.113.5"},
		"Unix socket":                 {"@", []string{"203.0.113.5"}, ""},
		"no peer":                     {"", []string{"203.0.113.5"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/action", nil)
			r.RemoteAddr = c.peer
			for _, line := range c.headers {
				r.Header.Add("X-Forwarded-For", line)
			}
			// What is never read.
			r.Header.Set("Forwarded", "for=198.51.100.99")
			r.Header.Set("X-Real-IP", "198.51.100.99")
			r.Header.Set("True-Client-IP", "198.51.100.99")
			want := netip.Addr{}
			if c.want != "" {
				want = netip.MustParseAddr(c.want)
			}
			if got := subscriptions.RemoteAddr(r, someProxies); got != want {
				t.Errorf("%v, want %v", got, want)
			}
			if got := subscriptions.RemoteAddr(r, nil); c.peer == "10.0.0.1:80" && got.String() != "10.0.0.1" {
				t.Errorf("%v with nobody trusted", got)
			}
		})
	}
}

// Whatever a client puts into the header, and however its request is handed on by proxies that append whom they were called
// by, its own address is found.
func TestNoHeaderMovesTheAddress(t *testing.T) {
	t.Parallel()
	client := rapid.OneOf(
		rapid.Map(rapid.Uint8(), func(n uint8) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, n}) }),
		rapid.Map(rapid.Uint16(), func(n uint16) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(n >> 8), 15: byte(n)})
		}),
	)
	proxy := rapid.OneOf(
		rapid.Map(rapid.Uint16(), func(n uint16) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}) }),
		rapid.Map(rapid.Uint8(), func(n uint8) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xaa, 0xaa, 15: n})
		}),
	)
	spell := func(t *rapid.T, a netip.Addr) string {
		switch rapid.IntRange(0, 3).Draw(t, "spelling") {
		case 0:
			return netip.AddrPortFrom(a, 4711).String()
		case 1:
			if a.Is4() {
				return netip.AddrFrom16(a.As16()).String()
			}
			return "[" + a.String() + "]"
		case 2:
			return a.StringExpanded()
		}
		return a.String()
	}
	invention := rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,40}`),
		rapid.Map(client, netip.Addr.String), rapid.Map(proxy, netip.Addr.String),
		rapid.Map(rapid.SliceOfN(proxy, 1, 4), func(l []netip.Addr) string { return strings.Trim(fmt.Sprint(l), "[]") }),
	)
	rapid.Check(t, func(t *rapid.T) {
		who := client.Draw(t, "client")
		r := httptest.NewRequest(http.MethodPost, "/api/action", nil)
		lines := rapid.SliceOfN(invention, 0, 3).Draw(t, "invention")
		peer := who
		for range rapid.IntRange(0, 4).Draw(t, "proxies") {
			by := spell(t, peer)
			switch n := len(lines); {
			case n == 0 || rapid.Bool().Draw(t, "a line of its own"):
				lines = append(lines, by)
			default:
				lines[n-1] += ", " + by
			}
			peer = proxy.Draw(t, "proxy")
		}
		r.Header["X-Forwarded-For"] = lines
		r.RemoteAddr = netip.AddrPortFrom(peer, 1).String()
		if got := subscriptions.RemoteAddr(r, someProxies); got != who {
			t.Errorf("%v, want %v; from %v with %q", got, who, peer, lines)
		}
	})
}

// A request whose RemoteAddr was replaced by what was found says the same when it is looked at again.
func TestRemoteAddrAgain(t *testing.T) {
	t.Parallel()
	entry := rapid.OneOf(
		rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2:80", "::ffff:10.0.0.3", "[fe80::1%eth0]", "203.0.113.5", "unknown", ""}),
		rapid.StringMatching(`[ -~]{0,10}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		r := httptest.NewRequest(http.MethodPost, "/api/action", nil)
		r.Header["X-Forwarded-For"] = []string{strings.Join(rapid.SliceOfN(entry, 0, 6).Draw(t, "entries"), ",")}
		r.RemoteAddr = rapid.SampledFrom([]string{"10.0.0.9:80", "203.0.113.9:80", "[fe80::9%eth0]:80"}).Draw(t, "peer")
		first := subscriptions.RemoteAddr(r, someProxies)
		r.RemoteAddr = netip.AddrPortFrom(first, 0).String()
		if got := subscriptions.RemoteAddr(r, someProxies); got != first {
			t.Errorf("%v, and looked at again %v", first, got)
		}
	})
}

func TestTrustedProxiesAreValidated(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{
		"10.0.0.0/8": true, "192.0.2.1/32": true, "::ffff:10.0.0.0/104": true, "fd00::/8": true, "::1/128": true,
		"0.0.0.0/0": false, "::/0": false, "::ffff:0.0.0.0/96": false,
	} {
		o := subscriptions.Options{TrustedProxies: prefixes(prefix)}
		if err := o.Validate(); (err == nil) != ok {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	if err := (subscriptions.Options{TrustedProxies: make([]netip.Prefix, 1)}).Validate(); err == nil {
		t.Error("the zero Prefix passes")
	}
}

// Actions get the address over HTTP and over sockets: behind a trusted proxy the client's, else that of the connection.
func TestActionsGetTheAddress(t *testing.T) {
	t.Parallel()
	const call = `{"path":"actions:from","format":"convex_encoded_json","args":[{}]}`
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		want    string
	}{
		"trusted":          {prefixes("127.0.0.0/8", "::1/128"), "203.0.113.5"},
		"mapped":           {prefixes("::ffff:127.0.0.0/104"), "203.0.113.5"},
		"others trusted":   {prefixes("10.0.0.0/8"), "127.0.0.1"},
		"nobody trusted":   {nil, "127.0.0.1"},
		"everybody is not": {prefixes("0.0.0.0/0", "::/0"), "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := setup(t, subscriptions.Options{TrustedProxies: c.trusted})
			for _, path := range []string{"/api/action", "/api/function"} {
				body := call
				if path == "/api/function" {
					body = `{"path":"actions:from","args":{}}`
				}
				_, answer := h.post(path, body, "X-Forwarded-For", "198.51.100.1, 203.0.113.5")
				if want := `"value":"` + c.want + `"`; !strings.Contains(answer, want) {
					t.Errorf("%s: %s, want %s", path, answer, want)
				}
			}
			client := h.connectFrom("198.51.100.1, 203.0.113.5")
			client.act(0, "actions:from", `{}`)
			client.expect(`A 0 "` + c.want + `"`)
		})
	}
}
