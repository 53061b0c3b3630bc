package cmd_test

import (
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var scraped = regexp.MustCompile(`msg="metrics are served" url=(http://\S+)/metrics`)

// Prometheus finds the metrics of the database and of the process at an address of their own, and at no other.
func TestMetrics(t *testing.T) {
	t.Parallel()
	r := serve(t, newApp(), "--data", data(t), "--metrics", "127.0.0.1:0")
	line, ok := r.stderr.wait(scraped.MatchString)
	if !ok {
		t.Fatalf("nobody says where the metrics are: %s", r.stderr)
	}
	m := &running{t: t, url: scraped.FindStringSubmatch(line)[1]}
	committed := func() string {
		t.Helper()
		res, body := m.get("/metrics")
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
			t.Fatalf("status %d, type %q: %s", res.StatusCode, res.Header.Get("Content-Type"), body)
		}
		for _, want := range []string{"mimosa_commit_duration_seconds_bucket{", `mimosa_function_duration_seconds_count{kind="query"}`, "go_goroutines "} {
			if !strings.Contains(body, "\n"+want) {
				t.Errorf("there is no %s", want)
			}
		}
		return regexp.MustCompile(`(?m)^mimosa_committed_mutations_total (\d+)$`).FindString(body)
	}
	before := committed()
	if got := r.call("mutation", "notes:add", `{"text":"hello"}`); !strings.Contains(got, "success") {
		t.Fatal(got)
	}
	if after := committed(); before == "" || after == before {
		t.Errorf("%q mutations were committed before one, %q after it", before, after)
	}
	if res, _ := r.get("/metrics"); res.StatusCode != http.StatusNotFound {
		t.Errorf("users get the metrics: %d", res.StatusCode)
	}
	if res, _ := m.get("/mimosa.js"); res.StatusCode != http.StatusNotFound {
		t.Errorf("the application is served beside the metrics: %d", res.StatusCode)
	}
	addr := strings.TrimPrefix(m.url, "http://")
	r.stop()
	if s := r.status(); s != 0 {
		t.Fatalf("ended with %d: %s", s, r.stderr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the port is not free after the end: %v", err)
	}
	_ = l.Close()
}
