package wire

import (
	"encoding/json"
)

// Issue is one violation of a schema, found in arguments or in a document.
type Issue struct {
	Path    string // dotted, "items.0.name"; "" for the whole value
	Rule    string // the keyword that was broken
	Message string // for a person; never repeats the value
}

// ErrorData is what stands in errorData for every error that Mimosa sends: {code, message, issues?, data?}.
type ErrorData struct {
	Code    string
	Message string
	Issues  []Issue
	Data    json.RawMessage // what the application adds; nil if nothing
}

// Append appends the JSON to dst.
func (e *ErrorData) Append(dst []byte) []byte {
	dst = append(dst, `{"code":`...)
	dst = appendString(dst, e.Code)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	if len(e.Issues) > 0 {
		dst = append(dst, `,"issues":[`...)
		for i, s := range e.Issues {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"path":`...)
			dst = appendString(dst, s.Path)
			dst = append(dst, `,"rule":`...)
			dst = appendString(dst, s.Rule)
			dst = append(dst, `,"message":`...)
			dst = appendString(dst, s.Message)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	if len(e.Data) > 0 {
		dst = append(dst, `,"data":`...)
		dst = append(dst, e.Data...)
	}
	return append(dst, '}')
}

// DecodeErrorData reads what Append writes. The error, if any, is an [*Error].
func DecodeErrorData(raw []byte) (*ErrorData, error) {
	if err := (Limits{}).check(raw); err != nil {
		return nil, err
	}
	d, err := newReader("", raw)
	if err != nil {
		return nil, err
	}
	e := &ErrorData{Code: d.text("code", maxPath), Message: d.text("message", DefaultBytes), Data: d.optionalRaw("data")}
	if list, ok := d.get("issues"); ok {
		if list[0] != '[' {
			d.fail(BadField, "issues", "must be an array")
			return nil, d.err
		}
		d.adopt("issues", eachElement(list, func(_ int, raw []byte) *Error {
			r, err := newReader("", raw)
			if err != nil {
				return err
			}
			e.Issues = append(e.Issues, Issue{r.text("path", DefaultBytes), r.text("rule", maxPath), r.text("message", DefaultBytes)})
			return r.err
		}))
	}
	if d.err != nil {
		return nil, d.err
	}
	return e, nil
}
