package wire_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// golden returns the messages of testdata whose names begin with prefix, without the space that makes them readable.
func golden(tb testing.TB, prefix string) map[string][]byte {
	tb.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", prefix+"*.json"))
	if err != nil || len(names) == 0 {
		tb.Fatalf("no golden files %s*: %v", prefix, err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		files[strings.TrimSuffix(filepath.Base(name), ".json")] = b.Bytes()
	}
	return files
}

func TestGoldenClientMessages(t *testing.T) {
	t.Parallel()
	types := map[string]bool{}
	for name, want := range golden(t, "client-") {
		m, err := wire.DecodeClient(want, wire.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		types[m.Type()] = true
		if got := m.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	for _, typ := range []string{"Connect", "Authenticate", "ModifyQuerySet", "Mutation", "Action", "Event"} {
		if !types[typ] {
			t.Errorf("no golden file for %s", typ)
		}
	}
}

func TestGoldenServerMessages(t *testing.T) {
	t.Parallel()
	types := map[string]bool{}
	for name, want := range golden(t, "server-") {
		m, err := wire.DecodeServer(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		types[m.Type()] = true
		if got := m.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	for _, typ := range []string{
		"Transition", "TransitionChunk", "MutationResponse", "ActionResponse", "AuthError", "FatalError", "Ping",
	} {
		if !types[typ] {
			t.Errorf("no golden file for %s", typ)
		}
	}
}

func TestGoldenHTTP(t *testing.T) {
	t.Parallel()
	for name, want := range golden(t, "http-call") {
		shape := wire.ArgsInArray
		if name == "http-call-function" {
			shape = wire.ArgsObject
		}
		c, err := wire.DecodeHTTPCall(want, shape, wire.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := c.Append(nil, shape); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	for name, want := range golden(t, "http-result") {
		r, err := wire.DecodeHTTPResult(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := r.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	ts := wire.Timestamp(1764000000000000000)
	if got, want := wire.AppendQueryTS(nil, ts), golden(t, "http-query-ts")["http-query-ts"]; !bytes.Equal(got, want) {
		t.Errorf("query_ts:\n got %s\nwant %s", got, want)
	}
}

// What the golden messages mean, spelled out once, so that a field that is read into the wrong place does not go unseen.
func TestDecodedFields(t *testing.T) {
	t.Parallel()
	ts, ms := wire.Timestamp(1764000000000000000), 1764000012345.5
	cases := map[string]wire.ClientMessage{
		"client-connect-again": &wire.Connect{
			SessionID: "6d1f5e0a-7a0c-4c62-9d5e-0f0b8c1f2a33", ConnectionCount: 3, MaxObserved: &ts, ClientTS: &ms,
		},
		"client-authenticate-user": &wire.Authenticate{TokenType: wire.TokenUser, Value: "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"},
		"client-authenticate-none": &wire.Authenticate{BaseVersion: 2, TokenType: wire.TokenNone},
		"client-modify-query-set": &wire.ModifyQuerySet{NewVersion: 1, Modifications: []wire.QueryChange{
			{QueryID: 0, Path: "messages:list", Args: json.RawMessage(`{"room":"r1"}`)},
			{QueryID: 1, Path: "users:me", Args: json.RawMessage(`{}`), Journal: "p1"},
			{QueryID: 7, Remove: true},
		}},
		"client-mutation": &wire.Mutation{
			RequestID: 12, Path: "messages:send", Args: json.RawMessage(`{"room":"r1","text":"héllo 😀"}`),
		},
	}
	files := golden(t, "client-")
	for name, want := range cases {
		got, err := wire.DecodeClient(files[name], wire.Limits{})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v, want %#v", name, got, err, want)
		}
	}

	m, err := wire.DecodeServer(golden(t, "server-transition")["server-transition"])
	if err != nil {
		t.Fatal(err)
	}
	tr := m.(*wire.Transition)
	if tr.End != (wire.StateVersion{QuerySet: 1, Identity: 1, TS: ts}) || len(tr.Modifications) != 3 {
		t.Fatalf("transition: %+v", tr)
	}
	r, err := tr.Modifications[1].Encoded.Result()
	if err != nil || r.Failure == nil || r.Failure.Message != "not a member" || r.Journal != "p1" {
		t.Errorf("failed query: %+v, %v", r, err)
	}
	data, err := wire.DecodeErrorData(r.Failure.Data)
	if err != nil || data.Code != "forbidden" {
		t.Errorf("error data: %+v, %v", data, err)
	}
	if r, err := tr.Modifications[2].Encoded.Result(); r != nil || err != nil {
		t.Errorf("removed query: %+v, %v", r, err)
	}
}
