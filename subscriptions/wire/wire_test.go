package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mimosadb/mimosa/subscriptions/wire"
)

func TestClientMessagesRefused(t *testing.T) {
	t.Parallel()
	const connect = `{"type":"Connect","sessionId":"6d1f5e0a-7a0c-4c62-9d5e-0f0b8c1f2a33","connectionCount":0,"lastCloseReason":null`
	const add = `{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":`
	cases := []struct {
		name, frame string
		reason      wire.Reason
		where       string // message.field
	}{
		{"empty", ``, wire.Malformed, ""},
		{"not JSON", `{"type":`, wire.Malformed, ""},
		{"two values", `{"type":"Ping"} {}`, wire.Malformed, ""},
		{"not UTF-8", "{\"type\":\"Ev\xff\"}", wire.Malformed, ""},
		{"an array", `[]`, wire.Malformed, ""},
		{"a string", `"Connect"`, wire.Malformed, ""},
		{"no type", `{}`, wire.MissingField, ".type"},
		{"type of a wrong kind", `{"type":1}`, wire.BadField, ".type"},
		{"unknown type", `{"type":"Subscribe"}`, wire.UnknownType, ""},
		{"name in other letters", `{"Type":"Event","eventType":"x","event":null}`, wire.MissingField, ".type"},
		{"a field twice", `{"type":"Event","eventType":"x","event":null,"ev\u0065nt":1}`, wire.Duplicate, ""},
		{"too deep", `{"type":"Event","eventType":"x","event":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, wire.TooLarge, ""},
		{"too many fields", `{"type":"Event"` + manyFields(80) + `}`, wire.TooLarge, ""},

		{"no session", `{"type":"Connect","connectionCount":0}`, wire.MissingField, "Connect.sessionId"},
		{"session not a UUID", strings.Replace(connect, "6d1f5e0a-", "6d1f5e0a:", 1) + `}`, wire.BadField, "Connect.sessionId"},
		{"session too long", strings.Replace(connect, "6d1f5e0a-", "6d1f5e0a-0", 1) + `}`, wire.TooLarge, "Connect.sessionId"},
		{"negative count", strings.Replace(connect, `Count":0`, `Count":-1`, 1) + `}`, wire.BadField, "Connect.connectionCount"},
		{"ts not base64", connect + `,"maxObservedTimestamp":"AAAAAAAAAA!="}`, wire.BadField, "Connect.maxObservedTimestamp"},
		{"ts unpadded", connect + `,"maxObservedTimestamp":"AAAAAAAAAAA"}`, wire.BadField, "Connect.maxObservedTimestamp"},
		{"ts of nine bytes", connect + `,"maxObservedTimestamp":"AAAAAAAAAAAA"}`, wire.BadField, "Connect.maxObservedTimestamp"},
		{"ts with stray bits", connect + `,"maxObservedTimestamp":"AAAAAAAAAAB="}`, wire.BadField, "Connect.maxObservedTimestamp"},
		{"ts a number", connect + `,"maxObservedTimestamp":0}`, wire.BadField, "Connect.maxObservedTimestamp"},
		{"clock not a number", connect + `,"clientTs":"now"}`, wire.BadField, "Connect.clientTs"},
		{"clock out of range", connect + `,"clientTs":1e999}`, wire.BadField, "Connect.clientTs"},

		{"unknown token type", `{"type":"Authenticate","baseVersion":0,"tokenType":"Root","value":"x"}`, wire.BadField, "Authenticate.tokenType"},
		{"no token", `{"type":"Authenticate","baseVersion":0,"tokenType":"User"}`, wire.MissingField, "Authenticate.value"},
		{"no base", `{"type":"Authenticate","tokenType":"None"}`, wire.MissingField, "Authenticate.baseVersion"},
		{"token too long", `{"type":"Authenticate","baseVersion":0,"tokenType":"User","value":"` + strings.Repeat("x", 70000) + `"}`, wire.TooLarge, "Authenticate.value"},

		{"negative query id", add + `[{"type":"Remove","queryId":-1}]}`, wire.BadField, "ModifyQuerySet.modifications.0.queryId"},
		{"fractional query id", add + `[{"type":"Remove","queryId":1.5}]}`, wire.BadField, "ModifyQuerySet.modifications.0.queryId"},
		{"exponent", add + `[{"type":"Remove","queryId":1e1}]}`, wire.BadField, "ModifyQuerySet.modifications.0.queryId"},
		{"query id too large", add + `[{"type":"Remove","queryId":4294967296}]}`, wire.BadField, "ModifyQuerySet.modifications.0.queryId"},
		{"query id twice", add + `[{"type":"Remove","queryId":1},{"type":"Remove","queryId":1}]}`, wire.Duplicate, "ModifyQuerySet.modifications.1.queryId"},
		{"unknown change", add + `[{"type":"Change","queryId":1}]}`, wire.UnknownType, "ModifyQuerySet.modifications.0.type"},
		{"change not an object", add + `[1]}`, wire.BadField, "ModifyQuerySet.modifications.0"},
		{"changes not an array", add + `{}}`, wire.BadField, "ModifyQuerySet.modifications"},
		{"no args", add + `[{"type":"Add","queryId":1,"udfPath":"m:f"}]}`, wire.MissingField, "ModifyQuerySet.modifications.0.args"},
		{"version that stands still", `{"type":"ModifyQuerySet","baseVersion":1,"newVersion":1,"modifications":[]}`, wire.BadField, "ModifyQuerySet.newVersion"},

		{"args an object", `{"type":"Mutation","requestId":0,"udfPath":"m:f","args":{}}`, wire.BadField, "Mutation.args"},
		{"no argument", `{"type":"Mutation","requestId":0,"udfPath":"m:f","args":[]}`, wire.BadField, "Mutation.args"},
		{"two arguments", `{"type":"Mutation","requestId":0,"udfPath":"m:f","args":[{},{}]}`, wire.BadField, "Mutation.args"},
		{"argument not an object", `{"type":"Mutation","requestId":0,"udfPath":"m:f","args":[1]}`, wire.BadField, "Mutation.args"},
		{"no request id", `{"type":"Mutation","udfPath":"m:f","args":[{}]}`, wire.MissingField, "Mutation.requestId"},
		{"request id a string", `{"type":"Action","requestId":"1","udfPath":"m:f","args":[{}]}`, wire.BadField, "Action.requestId"},
		{"no path", `{"type":"Action","requestId":1,"args":[{}]}`, wire.MissingField, "Action.udfPath"},
	}
	for _, c := range cases {
		m, err := wire.DecodeClient([]byte(c.frame), wire.Limits{})
		var e *wire.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %#v, %v, want an *Error", c.name, m, err)
			continue
		}
		where := e.Message
		if e.Field != "" {
			where += "." + e.Field
		}
		if e.Reason != c.reason || where != c.where {
			t.Errorf("%s: got %q at %q (%v), want %q at %q", c.name, e.Reason, where, err, c.reason, c.where)
		}
		if !errors.Is(err, &wire.Error{Reason: c.reason}) {
			t.Errorf("%s: does not match its reason", c.name)
		}
	}

	frame := []byte(`{"type":"Event","eventType":"x","event":null}`)
	if _, err := wire.DecodeClient(frame, wire.Limits{Bytes: len(frame) - 1}); !errors.Is(err, &wire.Error{Reason: wire.TooLarge}) {
		t.Errorf("frame above the limit: %v", err)
	}
	if _, err := wire.DecodeClient(frame, wire.Limits{Bytes: len(frame)}); err != nil {
		t.Errorf("frame at the limit: %v", err)
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"f` + strings.Repeat("x", i) + `":1`)
	}
	return b.String()
}

// A newer client may say more than this version knows, and older ones say less.
func TestClientMessagesAccepted(t *testing.T) {
	t.Parallel()
	for _, frame := range []string{
		"\n{ \"type\" : \"Mutation\" , \"requestId\" : 0 , \"udfPath\":\"m:f\", \"args\": [ { } ], \"new\": {\"a\":[1]} }\n",
		`{"requestId":0,"args":[{}],"udfPath":"m:f","type":"Mutation"}`,
		`{"type":"Connect","sessionId":"6D1F5E0A-7A0C-4C62-9D5E-0F0B8C1F2A33","connectionCount":0}`,
		`{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[{"type":"Add","queryId":0,"udfPath":"m:f","args":[{}],"journal":null,"componentPath":null}]}`,
	} {
		if _, err := wire.DecodeClient([]byte(frame), wire.Limits{}); err != nil {
			t.Errorf("%s: %v", frame, err)
		}
	}
}

func TestDecodedMessageOutlivesFrame(t *testing.T) {
	t.Parallel()
	frame := []byte(`{"type":"Mutation","requestId":0,"udfPath":"m:f","args":[{"text":"kept"}]}`)
	m, err := wire.DecodeClient(frame, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	clear(frame)
	if got := m.(*wire.Mutation); string(got.Args) != `{"text":"kept"}` || got.Path != "m:f" {
		t.Errorf("got %+v", got)
	}
}

func TestTimestamp(t *testing.T) {
	t.Parallel()
	for ts, want := range map[wire.Timestamp]string{
		0: "AAAAAAAAAAA=", 1: "AQAAAAAAAAA=", 0x0102030405060708: "CAcGBQQDAgE=", ^wire.Timestamp(0): "//////////8=",
	} {
		if got := ts.String(); got != want {
			t.Errorf("%d is %s, want %s", ts, got, want)
		}
		if got, err := wire.ParseTimestamp(want); got != ts || err != nil {
			t.Errorf("%s is %d, %v, want %d", want, got, err, ts)
		}
	}
}

func TestCanonicalPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"m:list": "m:list", "m.js:list": "m:list", "m": "m:default", "m.js": "m:default", "a/b.js:list": "a/b:list", "a:b:list": "a:b:list",
		"": "", ":": "", ":list": "", "m:": "", ".js:list": "", "m\x00:list": "", strings.Repeat("m", 2000): "",
	} {
		got, err := wire.CanonicalPath(path)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q, %v, want %q", path, got, err, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		` { "b" : 1.50 , "a" : [ true , null , "x\u0041\/\n" ] } `: `{"a":[true,null,"xA/\n"],"b":1.50}`,
		`{}`: `{}`, `[]`: `[]`, `[ ]`: `[]`, ` -1e3 `: `-1e3`,
		`{"\u00e9":{"z":{},"a":""}}`: `{"é":{"a":"","z":{}}}`,
	} {
		got, err := wire.Canonical([]byte(raw))
		if err != nil || string(got) != want {
			t.Errorf("%s is %s, %v, want %s", raw, got, err, want)
		}
	}
	if _, err := wire.Canonical([]byte(`{"x":[{"a":1,"\u0061":2}]}`)); !errors.Is(err, &wire.Error{Reason: wire.Duplicate}) {
		t.Errorf("key twice: %v", err)
	}
	if _, err := wire.Canonical([]byte(`{`)); !errors.Is(err, &wire.Error{Reason: wire.Malformed}) {
		t.Errorf("not JSON: %v", err)
	}
}

// Values go through untouched: big numbers, order of keys, characters that encoding/json would escape.
func TestResultsAreForwardedAsBytes(t *testing.T) {
	t.Parallel()
	const value = `{"z":9007199254740993,"a":"<&>\u2028","n":1.0}`
	result := wire.QueryResult{Value: json.RawMessage(value), LogLines: []string{"[LOG] 'x'"}}
	enc := result.Encode()
	for id := range uint32(3) {
		tr := wire.Transition{Modifications: []wire.Modification{{QueryID: id, Encoded: enc}}}
		frame := tr.Append(nil)
		if !bytes.Contains(frame, []byte(value)) || !json.Valid(frame) {
			t.Errorf("frame %s", frame)
		}
	}
	resp := wire.MutationResponse{Result: json.RawMessage(value)}
	if frame := resp.Append(nil); !bytes.Contains(frame, []byte(value)) || !bytes.Contains(frame, []byte(`"logLines":[]`)) {
		t.Errorf("frame %s", frame)
	}
}

func TestStringsAreEncodedAsJSON(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", `"\/`, "\x00\x1f\x7f\n\r\t", "é😀\u2028", "a\xffb\xc3", "\xf0\x9f\x98"} {
		var got struct{ Error string }
		frame := (&wire.FatalError{Message: s}).Append(nil)
		if err := json.Unmarshal(frame, &got); err != nil || got.Error != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Errorf("%q became %s: %q, %v", s, frame, got.Error, err)
		}
		if !utf8.Valid(frame) {
			t.Errorf("%q: not UTF-8", s)
		}
	}
}

func TestLogLine(t *testing.T) {
	t.Parallel()
	if got, want := wire.LogLine("LOG", `it's a \ line`), `[LOG] 'it\'s a \\ line'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestChunks(t *testing.T) {
	t.Parallel()
	value, err := json.Marshal(strings.Repeat(`é😀"\`, 50))
	if err != nil {
		t.Fatal(err)
	}
	result := wire.QueryResult{Value: value}
	tr := wire.Transition{Modifications: []wire.Modification{{QueryID: 1, Encoded: result.Encode()}}}
	whole := tr.Append(nil)
	for _, size := range []int{1, 2, 3, 7, 100, len(whole) - 1, len(whole), 0} {
		frames := wire.AppendChunks(nil, whole, "t1", size)
		if size == 0 || size == len(whole) {
			if len(frames) != 1 || !bytes.Equal(frames[0], whole) {
				t.Errorf("size %d: cut into %d", size, len(frames))
			}
			continue
		}
		var a wire.Assembler
		var got []byte
		for i, f := range frames {
			m, err := wire.DecodeServer(f)
			if err != nil {
				t.Fatalf("size %d: %v", size, err)
			}
			c := m.(*wire.TransitionChunk)
			if len(c.Chunk) > max(size, 4) || c.PartNumber != i || c.TotalParts != len(frames) {
				t.Fatalf("size %d: %+v", size, c)
			}
			if got, err = a.Add(c); err != nil {
				t.Fatalf("size %d: %v", size, err)
			}
		}
		if !bytes.Equal(got, whole) {
			t.Errorf("size %d: not the same after assembling", size)
		}
	}
	var a wire.Assembler
	if _, err := a.Add(&wire.TransitionChunk{PartNumber: 1, TotalParts: 2}); err == nil {
		t.Error("second chunk accepted before the first")
	}
}

func TestHTTPCallsRefused(t *testing.T) {
	t.Parallel()
	for body, reason := range map[string]wire.Reason{
		``:                           wire.Malformed,
		`[]`:                         wire.BadField,
		`{"args":[{}]}`:              wire.MissingField,
		`{"path":"m:f"}`:             wire.MissingField,
		`{"path":"m:f","args":[]}`:   wire.BadField,
		`{"path":"m:f","args":[1]}`:  wire.BadField,
		`{"path":"m:f","args":null}`: wire.BadField,
		`{"path":"m:f","args":[{}],"format":"json"}`: wire.BadField,
		`{"path":"m:f","args":[{}],"ts":"x"}`:        wire.BadField,
	} {
		if _, err := wire.DecodeHTTPCall([]byte(body), wire.ArgsInArray, wire.Limits{}); !errors.Is(err, &wire.Error{Reason: reason}) {
			t.Errorf("%s: %v, want %s", body, err, reason)
		}
	}
	c, err := wire.DecodeHTTPCall([]byte(`{"path":"m.js","args":{"a":1}}`), wire.ArgsInArray, wire.Limits{})
	if err != nil || c.Path != "m:default" || string(c.Args) != `{"a":1}` {
		t.Errorf("by hand: %+v, %v", c, err)
	}
}

// What decodes must encode to something that decodes to the same; nothing may panic, and nothing but an *Error come back.
func FuzzDecodeClient(f *testing.F) {
	for _, raw := range golden(f, "client-") {
		f.Add(raw)
	}
	f.Add([]byte(`{"type":"Mutation","requestId":0,"udfPath":"m\ud800:f","args":[{"\ud83d\ude00":-0.0e-1}]}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := wire.DecodeClient(frame, wire.Limits{})
		if err != nil {
			var e *wire.Error
			if !errors.As(err, &e) || e.Reason == "" {
				t.Fatalf("error %v", err)
			}
			return
		}
		once := m.Append(nil)
		again, err := wire.DecodeClient(once, wire.Limits{Bytes: len(once), Depth: 1 << 20})
		if err != nil {
			t.Fatalf("%s became %s: %v", frame, once, err)
		}
		if twice := again.Append(nil); !bytes.Equal(once, twice) {
			t.Fatalf("%s became %s and then %s", frame, once, twice)
		}
	})
}

func FuzzDecodeServer(f *testing.F) {
	for _, raw := range golden(f, "server-") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := wire.DecodeServer(frame)
		if err != nil {
			return
		}
		once := m.Append(nil)
		again, err := wire.DecodeServer(once)
		if err != nil {
			t.Fatalf("%s became %s: %v", frame, once, err)
		}
		if twice := again.Append(nil); !bytes.Equal(once, twice) {
			t.Fatalf("%s became %s and then %s", frame, once, twice)
		}
	})
}

// Equal texts have one canonical form, which is JSON and its own canonical form.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,{"a":"\u0041"}],"a":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		once, err := wire.Canonical(raw)
		if err != nil {
			return
		}
		if !json.Valid(once) {
			t.Fatalf("%s became %s", raw, once)
		}
		if twice, err := wire.Canonical(once); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s became %s and then %s, %v", raw, once, twice, err)
		}
	})
}

// A path that no function can have is for the answer to the call to refuse; the message itself is well-formed.
func TestPathsThatNameNoFunctionAreKept(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", ":f", "m:", "m\n:f"} {
		quoted, err := json.Marshal(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.DecodeClient([]byte(`{"type":"Action","requestId":1,"udfPath":`+string(quoted)+`,"args":[{}]}`), wire.Limits{})
		if a, ok := m.(*wire.Action); err != nil || !ok || a.Path != path {
			t.Errorf("path %q: %+v, %v", path, m, err)
		}
	}
}
