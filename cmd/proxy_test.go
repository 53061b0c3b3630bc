package cmd_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
)

// What calls and the program's own handlers take for the client's address: through a proxy that is trusted the one that it
// names, else that of the connection.
func TestTrustProxy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		own  []netip.Prefix // App.Server.TrustedProxies
		want string
	}{
		"nobody":            {nil, nil, "127.0.0.1"},
		"another":           {[]string{"--trust-proxy", "10.0.0.1"}, nil, "127.0.0.1"},
		"private":           {[]string{"--trust-proxy", "private"}, nil, "127.0.0.1"},
		"loopback":          {[]string{"--trust-proxy", "loopback"}, nil, "10.0.0.1"},
		"address":           {[]string{"--trust-proxy", "127.0.0.1"}, nil, "10.0.0.1"},
		"mapped address":    {[]string{"--trust-proxy", "::ffff:127.0.0.1"}, nil, "10.0.0.1"},
		"of several":        {[]string{"--trust-proxy", "192.168.0.0/16,127.0.0.0/8"}, nil, "10.0.0.1"},
		"two hops":          {[]string{"--trust-proxy", "loopback", "--trust-proxy", "private"}, nil, "203.0.113.5"},
		"one of App's":      {nil, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "10.0.0.1"},
		"App's and another": {[]string{"--trust-proxy", "private"}, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "203.0.113.5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp()
			app.Server.TrustedProxies = c.own
			engine.Action(app.Schema, "notes:from", func(c *engine.ActionCtx, _ none) (string, error) { return c.Remote().String(), nil })
			app.Routes = func(mux *http.ServeMux, _ *engine.DB) {
				mux.HandleFunc("/from", func(w http.ResponseWriter, r *http.Request) {
					_, _ = w.Write([]byte(r.RemoteAddr))
				})
			}
			r := serve(t, app, append([]string{"--data", data(t)}, c.args...)...)
			header := http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {"198.51.100.1, 203.0.113.5, 10.0.0.1"}}
			_, answer := r.do(http.MethodPost, "/api/action", `{"path":"notes:from","format":"convex_encoded_json","args":[{}]}`, header)
			if want := `"value":"` + c.want + `"`; !strings.Contains(answer, want) {
				t.Errorf("a call: %s, want %s", answer, want)
			}
			_, answer = r.do(http.MethodGet, "/from", "", header)
			if addr, err := netip.ParseAddrPort(answer); err != nil || addr.Addr().String() != c.want {
				t.Errorf("a handler: %q, want %s", answer, c.want)
			}
		})
	}
}
