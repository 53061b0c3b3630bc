package wire

import (
	"encoding/json"
)

// HTTPCall is the body of a call over HTTP.
type HTTPCall struct {
	Path      string          // in the form [CanonicalPath] returns
	Args      json.RawMessage // the one object of arguments
	TS        *Timestamp      // of /api/query_at_ts; nil otherwise
	Component string
}

// httpFormat is the one encoding of values that is spoken.
const httpFormat = "convex_encoded_json"

// ArgsShape says how a call's arguments stand in its body.
type ArgsShape int

// The shapes of arguments.
const (
	ArgsInArray ArgsShape = iota // [{…}]: /api/query, /api/mutation, /api/action, /api/query_at_ts
	ArgsObject                   // {…}: /api/function
)

// DecodeHTTPCall reads the body of a call. Where shape is ArgsInArray, both [{…}] and {…} are taken, as people write the
// latter by hand. The error, if any, is an [*Error], to be answered with status 400, or 413 if its Reason is TooLarge.
func DecodeHTTPCall(body []byte, shape ArgsShape, l Limits) (*HTTPCall, error) {
	if err := l.check(body); err != nil {
		return nil, err
	}
	d, err := newReader("", body)
	if err != nil {
		return nil, err
	}
	c := &HTTPCall{Path: d.path("path"), Component: d.component()}
	if list, ok := d.get("args"); !ok {
		d.fail(MissingField, "args", "")
	} else if list[0] == '{' {
		c.Args = d.raw("args")
	} else if shape == ArgsInArray {
		c.Args = d.oneObject(list)
	} else {
		d.fail(BadField, "args", "must be an object")
	}
	if d.has("format") && d.text("format", maxPath) != httpFormat {
		d.fail(BadField, "format", "must be "+httpFormat)
	}
	if d.has("ts") {
		ts := d.timestamp("ts")
		c.TS = &ts
	}
	if d.err != nil {
		return nil, d.err
	}
	return c, nil
}

// Append writes the body as a client would.
func (c *HTTPCall) Append(dst []byte, shape ArgsShape) []byte {
	dst = append(dst, `{"path":`...)
	dst = appendString(dst, c.Path)
	dst = append(dst, `,"format":"`+httpFormat+`","args":`...)
	if shape == ArgsInArray {
		dst = append(dst, '[')
	}
	if len(c.Args) == 0 {
		dst = append(dst, "{}"...)
	}
	dst = append(dst, c.Args...)
	if shape == ArgsInArray {
		dst = append(dst, ']')
	}
	if c.TS != nil {
		dst = append(dst, `,"ts":`...)
		dst = c.TS.append(dst)
	}
	return appendComponent(dst, c.Component)
}

// HTTPResult is the body that answers a call, with status 200, or [StatusFailed] if Failure is not nil.
type HTTPResult struct {
	Value    json.RawMessage // forwarded as it is; empty means null
	Failure  *Failure
	LogLines []string
}

// StatusFailed is the HTTP status of a call whose function failed.
const StatusFailed = 560

// Append appends the JSON to dst.
func (r *HTTPResult) Append(dst []byte) []byte {
	if f := r.Failure; f != nil {
		dst = append(dst, `{"status":"error","errorMessage":`...)
		dst = appendString(dst, f.Message)
		if f.Data != nil {
			dst = append(dst, `,"errorData":`...)
			dst = append(dst, f.Data...)
		}
	} else {
		dst = append(dst, `{"status":"success","value":`...)
		dst = appendRaw(dst, r.Value)
	}
	dst = append(dst, `,"logLines":`...)
	return append(appendStrings(dst, r.LogLines), '}')
}

// DecodeHTTPResult reads what Append writes, for clients and tests.
func DecodeHTTPResult(body []byte) (*HTTPResult, error) {
	if err := (Limits{Bytes: max(len(body), 1), Depth: 4 * DefaultDepth}).check(body); err != nil {
		return nil, err
	}
	d, err := newReader("", body)
	if err != nil {
		return nil, err
	}
	r := &HTTPResult{}
	switch d.text("status", 64) {
	case "success":
		r.Value = d.raw("value")
	case "error":
		r.Failure = &Failure{Message: d.text("errorMessage", len(body)), Data: d.optionalRaw("errorData")}
	default:
		d.fail(BadField, "status", "must be success or error")
	}
	if d.has("logLines") {
		r.LogLines = d.logLines()
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

// AppendQueryTS appends the body that answers /api/query_ts.
func AppendQueryTS(dst []byte, ts Timestamp) []byte {
	return append(ts.append(append(dst, `{"ts":`...)), '}')
}
