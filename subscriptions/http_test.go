package subscriptions_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// post calls over HTTP; headers are name, value, …
func (h *host) post(path, body string, headers ...string) (*http.Response, string) {
	h.t.Helper()
	return h.request(http.MethodPost, path, body, headers...)
}

func (h *host) request(method, path, body string, headers ...string) (*http.Response, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp, string(raw)
}

func TestHTTPCalls(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxFrame: 2000})
	h.add("r", "a")
	ann := "Bearer " + h.signIn("ann")
	ended := h.signIn("bob")
	h.endSession(ended)
	call := func(path, args string) string {
		return `{"path":"` + path + `","format":"convex_encoded_json","args":` + args + `}`
	}
	for _, c := range []struct {
		name, path, body, token string
		status                  int
		want                    string
	}{
		{"query", "/api/query", call("notes:list", `[{"room":"r"}]`), "", 200, `{"status":"success","value":["a"],"logLines":[]}`},
		{"raw path", "/api/query", call("notes.js:list", `[{"room":"r"}]`), "", 200, `"value":["a"]`},
		{"arguments by hand", "/api/query", `{"path":"notes:list","args":{"room":"r"}}`, "", 200, `"value":["a"]`},
		{"as nobody", "/api/query", call("users:me", `[{}]`), "", 200, `"value":"nobody"`},
		{"as somebody", "/api/query", call("users:me", `[{}]`), ann, 200, `"value":"ann"`},
		{"ended session", "/api/query", call("users:me", `[{}]`), "Bearer " + ended, 200, `"value":"nobody"`},
		{"mutation", "/api/mutation", call("notes:add", `[{"room":"m","text":"x"}]`), ann, 200, `"value":"ann"`},
		{"action", "/api/action", call("actions:add", `[{"room":"m","text":"x"}]`), ann, 200, `"value":"ann"`},
		{"any kind: query", "/api/function", call("notes:count", `{"room":"m"}`), "", 200, `"value":2`},
		{"any kind: mutation", "/api/function", call("notes:nothing", `{}`), "", 200, `"value":"read only"`},
		{"any kind: action", "/api/function", call("actions:add", `{"room":"m","text":"x"}`), "", 200, `"value":"nobody"`},
		{"version in the path", "/api/1.48.0/query", call("users:me", `[{}]`), "", 404, `not_found`},

		{"coded error", "/api/mutation", call("fails:mutation", `[{"code":"forbidden"}]`), "", 560, `{"status":"error","errorMessage":"failed with forbidden","errorData":{"code":"forbidden","message":"failed with forbidden","data":{"n":1}},"logLines":[]}`},
		{"internal error", "/api/query", call("fails:query", `[{"code":""}]`), "", 560, `"errorData":{"code":"internal"`},
		{"panic", "/api/action", call("fails:action", `[{"code":"panic"}]`), "", 560, `"errorData":{"code":"internal"`},
		{"unknown function", "/api/query", call("no:such", `[{}]`), "", 560, `"code":"not_found"`},
		{"internal function", "/api/query", call("secret:peek", `[{}]`), "", 560, `"code":"not_found"`},
		{"internal mutation", "/api/function", call("auth:begin", `{"user":"root"}`), "", 560, `"code":"not_found"`},
		{"wrong kind", "/api/query", call("notes:add", `[{"room":"m","text":"x"}]`), "", 560, `"code":"invalid"`},
		{"wrong arguments", "/api/query", call("notes:list", `[{"room":1}]`), "", 560, `"issues":[{"path":"room","rule":"type"`},
		{"component", "/api/query", `{"path":"m:f","args":[{}],"componentPath":"c"}`, "", 560, `"code":"not_found"`},

		{"no body", "/api/query", ``, "", 400, `{"code":"invalid","message":"wire: malformed`},
		{"no path", "/api/query", `{"args":[{}]}`, "", 400, `path: missing field`},
		{"two arguments", "/api/query", call("notes:list", `[{},{}]`), "", 400, `args: bad field`},
		{"another format", "/api/query", `{"path":"m:f","args":[{}],"format":"x"}`, "", 400, `format: bad field`},
		{"too large", "/api/query", call("notes:list", `[{"room":"`+strings.Repeat("x", 3000)+`"}]`), "", 413, `{"code":"too_large"`},
		{"bad token", "/api/query", call("users:me", `[{}]`), "Bearer x", 401, `{"code":"unauthenticated","message":"bad token"}`},
		{"unclear token", "/api/query", call("users:me", `[{}]`), "Bearer broken", 401, `{"code":"unauthenticated","message":"the token could not be checked"}`},
		{"expired token", "/api/query", call("users:me", `[{}]`), ann + "/1000", 401, `expired`},
		{"operator's key", "/api/query", call("users:me", `[{}]`), "Convex key", 401, `unauthenticated`},
		{"unknown path", "/api/nothing", `{}`, "", 404, `not_found`},
		{"as of no time", "/api/query_at_ts", call("users:me", `[{}]`), "", 400, `ts: missing field`},
		{"as of the future", "/api/query_at_ts", `{"path":"users:me","args":[{}],"ts":"//////////8="}`, "", 400, `future`},
	} {
		headers := []string{"Convex-Client", "npm-1.48.0", "Content-Type", "application/json"}
		if c.token != "" {
			headers = append(headers, "Authorization", c.token)
		}
		resp, body := h.post(c.path, c.body, headers...)
		if resp.StatusCode != c.status || !strings.Contains(body, c.want) || strings.Contains(body, "secret reason") {
			t.Errorf("%s: %d %s, want %d %s", c.name, resp.StatusCode, body, c.status, c.want)
		}
		if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", c.name, resp.Header)
		}
	}
	if resp, _ := h.request(http.MethodGet, "/api/query", ""); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
		t.Errorf("GET: %v", resp.Status)
	}
}

// Several queries can be asked as of one time.
func TestHTTPQueriesAtOneTime(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	h.add("r", "a")
	resp, body := h.post("/api/query_ts", "")
	if resp.StatusCode != 200 || !strings.HasPrefix(body, `{"ts":"`) {
		t.Fatalf("query_ts: %d %s", resp.StatusCode, body)
	}
	ts, err := wire.ParseTimestamp(body[len(`{"ts":"`) : len(body)-len(`"}`)])
	if err != nil || uint64(ts) != uint64(h.db.Published()) {
		t.Fatalf("query_ts: %s, %v", body, err)
	}
	h.add("r", "b")
	for path, want := range map[string]string{"notes:list": `["a"]`, "notes:count": `1`} {
		resp, body := h.post("/api/query_at_ts", `{"path":"`+path+`","args":[{"room":"r"}],"ts":"`+ts.String()+`"}`)
		if resp.StatusCode != 200 || !strings.Contains(body, `"value":`+want+`,`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, body := h.post("/api/query_at_ts", `{"path":"no:such","args":[{}],"ts":"`+ts.String()+`"}`); resp.StatusCode != 560 {
		t.Errorf("unknown function: %d %s", resp.StatusCode, body)
	}
}

func TestHTTPOrigins(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{AllowedOrigins: []string{"https://app.example.com"}})
	body := `{"path":"users:me","args":[{}]}`
	resp, _ := h.post("/api/query", body, "Origin", "https://app.example.com")
	if resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || resp.Header.Get("Vary") != "Origin" {
		t.Errorf("allowed: %d %v", resp.StatusCode, resp.Header)
	}
	resp, _ = h.post("/api/query", body, "Origin", "https://evil.example.com")
	if resp.StatusCode != 403 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("foreign: %d %v", resp.StatusCode, resp.Header)
	}
	resp, _ = h.request(http.MethodOptions, "/api/action", "", "Origin", "https://app.example.com",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,convex-client")
	allowed := strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers"))
	if resp.StatusCode != 204 || !strings.Contains(resp.Header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
	}
	for _, name := range []string{"authorization", "content-type", "convex-client"} {
		if !strings.Contains(allowed, name) {
			t.Errorf("preflight does not allow %s", name)
		}
	}
	resp, _ = h.request(http.MethodOptions, "/api/action", "", "Origin", "https://evil.example.com")
	if resp.StatusCode != 403 {
		t.Errorf("foreign preflight: %d", resp.StatusCode)
	}
}
