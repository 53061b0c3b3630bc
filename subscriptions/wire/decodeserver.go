package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// DecodeServer reads one frame that a server sent, for clients and tests written in Go. It is as strict as DecodeClient and
// has no limit of size; what it returns shares no memory with frame.
func DecodeServer(frame []byte) (ServerMessage, error) {
	if err := (Limits{Bytes: math.MaxInt, Depth: 4 * DefaultDepth}).check(frame); err != nil {
		return nil, err
	}
	d, err := newReader("", frame)
	if err != nil {
		return nil, err
	}
	var m ServerMessage
	switch d.name = d.text("type", 64); d.name {
	case "Transition":
		m = d.transition()
	case "TransitionChunk":
		m = &TransitionChunk{
			d.text("chunk", math.MaxInt), int(d.uint32("partNumber")), int(d.uint32("totalParts")), d.text("transitionId", maxPath),
		}
	case "MutationResponse":
		r := &MutationResponse{RequestID: d.uint32("requestId")}
		if r.Result, r.Failure = d.outcome(); r.Failure == nil {
			r.TS = d.timestamp("ts")
		}
		r.LogLines = d.logLines()
		m = r
	case "ActionResponse":
		r := &ActionResponse{RequestID: d.uint32("requestId")}
		r.Result, r.Failure = d.outcome()
		r.LogLines = d.logLines()
		m = r
	case "AuthError":
		m = &AuthError{d.text("error", math.MaxInt), d.uint32("baseVersion"), d.bool("authUpdateAttempted")}
	case "FatalError":
		m = &FatalError{d.text("error", math.MaxInt)}
	case "Ping":
		m = &Ping{}
	default:
		d.fail(UnknownType, "", "")
		d.name = ""
	}
	if d.err != nil {
		return nil, d.err.in(d.name, "")
	}
	return m, nil
}

func (d *reader) transition() *Transition {
	m := &Transition{Start: d.version("startVersion"), End: d.version("endVersion")}
	if d.has("clientClockSkew") || d.has("serverTs") {
		m.Clock = &Clock{d.int64("clientClockSkew"), d.int64("serverTs")}
	}
	list := d.raw("modifications")
	if d.err != nil {
		return m
	}
	if kindOf(list) != '[' {
		d.fail(BadField, "modifications", "must be an array")
		return m
	}
	d.adopt("modifications", eachElement(list, func(i int, raw []byte) *Error {
		r, err := newReader("", raw)
		if err != nil {
			return err.in("", strconv.Itoa(i))
		}
		mod := Modification{QueryID: r.uint32("queryId"), Encoded: Removed}
		if r.text("type", 64) != "QueryRemoved" {
			mod.Encoded = r.queryResult().Encode()
		}
		if r.err != nil {
			return r.err.in("", strconv.Itoa(i))
		}
		m.Modifications = append(m.Modifications, mod)
		return nil
	}))
	return m
}

// Result takes an encoded result apart again; nil for Removed. It is for clients and tests.
func (e Encoded) Result() (*QueryResult, error) {
	if e == Removed {
		return nil, nil
	}
	raw := append([]byte(e), `"queryId":0}`...)
	if err := (Limits{Bytes: math.MaxInt, Depth: 4 * DefaultDepth}).check(raw); err != nil {
		return nil, err
	}
	d, err := newReader("Transition", raw)
	if err != nil {
		return nil, err
	}
	r := d.queryResult()
	if d.err != nil {
		return nil, d.err.in(d.name, "modifications")
	}
	return r, nil
}

func (d *reader) queryResult() *QueryResult {
	r := &QueryResult{}
	switch d.text("type", 64) {
	case "QueryUpdated":
		r.Value = d.raw("value")
	case "QueryFailed":
		r.Failure = &Failure{Message: d.text("errorMessage", math.MaxInt), Data: d.optionalRaw("errorData")}
	default:
		d.fail(UnknownType, "type", "must be QueryUpdated, QueryFailed or QueryRemoved")
	}
	r.LogLines = d.logLines()
	if _, ok := d.get("journal"); !ok {
		d.fail(MissingField, "journal", "")
	}
	r.Journal = d.optionalText("journal", math.MaxInt)
	return r
}

func (d *reader) outcome() (json.RawMessage, *Failure) {
	if d.bool("success") {
		return d.raw("result"), nil
	}
	return nil, &Failure{Message: d.text("result", math.MaxInt), Data: d.optionalRaw("errorData")}
}

func (d *reader) version(key string) StateVersion {
	raw := d.raw(key)
	if d.err != nil {
		return StateVersion{}
	}
	r, err := newReader("", raw)
	if err != nil {
		d.adopt(key, err)
		return StateVersion{}
	}
	v := StateVersion{r.uint32("querySet"), r.uint32("identity"), r.timestamp("ts")}
	d.adopt(key, r.err)
	return v
}

func (d *reader) logLines() []string {
	list := d.raw("logLines")
	if d.err != nil {
		return nil
	}
	if list[0] != '[' {
		d.fail(BadField, "logLines", "must be an array of strings")
		return nil
	}
	var lines []string
	_ = eachElement(list, func(_ int, raw []byte) *Error {
		if raw[0] != '"' {
			d.fail(BadField, "logLines", "must be an array of strings")
			return nil
		}
		lines = append(lines, unquote(raw))
		return nil
	})
	return lines
}

// optionalRaw returns a copy of the value, null included, or nil if the field is not there.
func (d *reader) optionalRaw(key string) json.RawMessage {
	raw, ok := d.get(key)
	if !ok {
		return nil
	}
	return bytes.Clone(raw)
}

func (d *reader) bool(key string) bool {
	raw := d.raw(key)
	if d.err == nil && string(raw) != "true" && string(raw) != "false" {
		d.fail(BadField, key, "must be true or false")
	}
	return string(raw) == "true"
}

func (d *reader) int64(key string) int64 {
	raw := d.raw(key)
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		d.fail(BadField, key, "must be an integer")
	}
	return n
}
