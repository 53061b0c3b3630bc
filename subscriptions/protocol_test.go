package subscriptions_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// What breaks the protocol is answered with FatalError, which keeps the client from sending it again, and a close.
func TestProtocolErrorsAreFatal(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxFrame: 1000})
	modify := func(base, next uint32, ids ...uint32) string {
		m := wire.ModifyQuerySet{BaseVersion: base, NewVersion: next}
		for _, id := range ids {
			m.Modifications = append(m.Modifications, wire.QueryChange{QueryID: id, Path: "m:f"})
		}
		return string(m.Append(nil))
	}
	future := wire.Timestamp(time.Now().Add(1000 * time.Hour).UnixNano())
	cases := []struct {
		name   string
		frames []string
		says   string
		code   int
	}{
		{"not JSON", []string{"x"}, "malformed", 1008},
		{"unknown type", []string{`{"type":"Hello"}`}, "unknown type", 1008},
		{"bad arguments", []string{`{"type":"Mutation","requestId":0,"udfPath":"m:f","args":{}}`}, "Mutation.args", 1008},
		{"too large", []string{`{"type":"Event","eventType":"x","event":"` + strings.Repeat("x", 1000) + `"}`}, "too large", 1009},
		{"much too large", []string{`{"type":"Event","eventType":"x","event":"` + strings.Repeat("x", 3_000_000) + `"}`}, "too large", 1009},
		{"wrong version", []string{modify(1, 2)}, "ModifyQuerySet.baseVersion", 1008},
		{"version again", []string{modify(0, 1), modify(0, 1)}, "ModifyQuerySet.baseVersion", 1008},
		{"query twice", []string{modify(0, 1, 5), modify(1, 2, 5)}, "ModifyQuerySet.queryId", 1008},
		{"wrong identity version", []string{`{"type":"Authenticate","baseVersion":3,"tokenType":"None"}`}, "Authenticate.baseVersion", 1008},
		{"arguments with a key twice", []string{`{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[{"type":"Add","queryId":0,"udfPath":"m:f","args":[{"a":1,"a":2}]}]}`}, "duplicate", 1008},
		{"Connect twice", []string{string((&wire.Connect{SessionID: newSession()}).Append(nil))}, "Connect comes once", 1008},
		{"from the future", []string{"", string((&wire.Connect{SessionID: newSession(), MaxObserved: &future}).Append(nil))}, "maxObservedTimestamp", 1008},
		{"before Connect", []string{"", modify(0, 1)}, "Connect comes first", 1008},
	}
	for _, c := range cases {
		var cl *client
		if c.frames[0] == "" {
			cl = h.dial()
			c.frames = c.frames[1:]
		} else {
			cl = h.connect()
		}
		for _, f := range c.frames {
			if err := cl.conn.WriteMessage(websocket.TextMessage, []byte(f)); err != nil {
				t.Fatal(err)
			}
		}
		fatal := ""
		for fatal == "" {
			m, err := cl.receive()
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				break
			}
			if f, ok := m.(*wire.FatalError); ok {
				fatal = f.Message
			}
		}
		if fatal == "" {
			continue
		}
		if !strings.Contains(fatal, c.says) {
			t.Errorf("%s: says %q", c.name, fatal)
		}
		if ce := cl.closed(); ce.Code != c.code {
			t.Errorf("%s: closed with %v", c.name, ce)
		}
	}

	c := h.connect()
	if err := c.conn.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"Event","eventType":"x","event":null}`)); err != nil {
		t.Fatal(err)
	}
	c.expect("FatalError")

	// Nothing of this hurts others, and what a client may say without effect has none.
	d := h.dial()
	d.send(&wire.Event{EventType: "early", Event: json.RawMessage(`null`)})
	d.send(&wire.Connect{SessionID: newSession()})
	d.send(&wire.Event{EventType: "x", Event: json.RawMessage(`{"a":1}`)})
	d.unwatch(17)
	d.expect("T 1.0 17-")
	d.quiet()
}

// What one client makes the server keep is bounded, in bytes too.
func TestArgumentsAreBounded(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{MaxBuffered: 1000, MaxQueries: 3}, func(o *engine.Options) { o.Limits.ArgumentBytes = 600 })
	room := func(n int) string { return `{"room":"` + strings.Repeat("x", n) + `"}` }
	c := h.connect()
	c.watch(0, "notes:any", room(700), 1, "notes:any", room(500), 2, "notes:any", room(501), 3, "notes:any", room(100))
	c.expect(`T 1.0 0=!too_large 1=false 2=!too_large 3=false`)
	c.unwatch(1)
	c.expect(`T 2.0 1-`)
	c.watch(1, "notes:any", room(502))
	c.expect(`T 3.0 1=false`)
	c.mutate(0, "notes:any", room(700))
	c.expect(`M 0 !invalid`)
	c.mutate(1, "notes:add", room(700))
	c.expect(`M 1 !too_large`)
	c.act(2, "actions:add", room(700))
	c.expect(`A 2 !too_large`)
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{AllowedOrigins: []string{"https://app.example.com"}})
	for origin, allowed := range map[string]bool{
		"": true, h.url: true, "https://app.example.com": true, "HTTPS://APP.example.com": true,
		"https://evil.example.com": false, "http://app.example.com": false, "https://app.example.com.evil.org": false, "null": false, "://": false,
	} {
		hd := http.Header{}
		if origin != "" {
			hd.Set("Origin", origin)
		}
		conn, resp, err := websocket.DefaultDialer.Dial("ws"+h.url[4:]+"/api/1.48.0/sync", hd)
		if allowed != (err == nil) || !allowed && (resp == nil || resp.StatusCode != http.StatusForbidden) {
			t.Errorf("%q: %v, %v", origin, resp, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	all := setup(t, subscriptions.Options{AllowedOrigins: []string{"*"}})
	all.dial("Origin", "https://anywhere.example.org")
}

func TestOptionsAreValidated(t *testing.T) {
	t.Parallel()
	for origin, ok := range map[string]bool{
		"*": true, "https://app.example.com": true, "https://app.example.com/": true, "http://localhost:8787": true, "http://[::1]:80": true,
		"app.example.com": false, "app": false, "": false, "localhost:8787": false, "ftp://a.b": false, "https://": false,
		"https://a.b/c": false, "https://u@a.b": false, "https://a.b?x": false, "://": false,
	} {
		if err := (subscriptions.Options{AllowedOrigins: []string{origin}}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", origin, err)
		}
	}
}

func TestPathsOfSockets(t *testing.T) {
	t.Parallel()
	h := setup(t, subscriptions.Options{})
	for path, status := range map[string]int{
		"/api/1.48.0/sync": 101, "/api/0.1.0/sync": 101, "/deep/down/api/x/sync": 101, "/api/sync": 404, "/sync": 404, "/": 404,
	} {
		conn, resp, err := websocket.DefaultDialer.Dial("ws"+h.url[4:]+path, nil)
		if resp == nil || resp.StatusCode != status {
			t.Errorf("%s: %v, %v", path, resp, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	resp, err := http.Get(h.url + "/api/1.48.0/sync")
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("no upgrade: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

// A client that hears nothing for 15 s is told that the server is there; one that is not there any more is let go.
func TestPing(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := setup(t, subscriptions.Options{Clock: clock})
	c := h.connect()
	c.watch()
	c.expect("T 1.0")
	for range 10 {
		clock.advance(15 * time.Second)
		c.expect("Ping")
		c.quiet() // it says something, and is heard; that was an answer, so the silence begins anew
	}
	clock.advance(14 * time.Second)
	c.quiet()

	gone := h.connect()
	gone.watch()
	gone.expect("T 1.0")
	sockets := h.srv.Stats().Sockets
	for range 6 {
		clock.advance(15 * time.Second) // it does not even read, so that no pong comes back
		c.until("ping", func() bool { return true })
		c.conn.WriteMessage(websocket.TextMessage, (&wire.Event{EventType: "x", Event: json.RawMessage(`1`)}).Append(nil))
		c.act(1, "fails:action", `{"code":"x"}`)
		for {
			if m, err := c.receive(); err != nil {
				t.Fatal(err)
			} else if m.Type() == "ActionResponse" {
				break
			}
		}
	}
	if ce := gone.closed(); ce.Code != websocket.CloseTryAgainLater {
		t.Errorf("closed with %v", ce)
	}
	eventually(t, "it is let go", func() bool { return h.srv.Stats().Sockets == sockets-1 })
}

// A client that has seen more than the server has yet waits for it to get there, and is sent away if it does not: what it
// sees never goes back.
func TestServerBehindItsClient(t *testing.T) {
	t.Parallel()
	clock := newClock() // years ahead of the database's
	h := setup(t, subscriptions.Options{Clock: clock})
	ahead := wire.Timestamp(time.Now().Add(time.Hour).UnixNano())
	c := h.dial()
	timers := clock.waiting()
	c.send(&wire.Connect{SessionID: newSession(), MaxObserved: &ahead})
	c.watch(0, "notes:any", `{"room":"r"}`)
	eventually(t, "the wait", func() bool { return clock.waiting() > timers })
	clock.advance(6 * time.Second)
	if ce := c.closed(); ce.Code != websocket.CloseTryAgainLater || c.version.QuerySet != 0 {
		t.Errorf("closed with %v at %+v", ce, c.version)
	}

	h.add("r", "a")
	near := wire.Timestamp(h.db.Published() + 1) // the next commit is at least that
	c = h.dial()
	timers = clock.waiting()
	c.send(&wire.Connect{SessionID: newSession(), MaxObserved: &near})
	c.watch(0, "notes:list", `{"room":"r"}`)
	eventually(t, "the wait", func() bool { return clock.waiting() > timers })
	h.add("r", "b")
	c.expect(`T 1.0 0=["a","b"]`)
	if c.version.TS < near {
		t.Errorf("answered as of %d", c.version.TS)
	}
}
