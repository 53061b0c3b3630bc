package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// What decoding allows where Limits says nothing.
const (
	DefaultBytes = 8 << 20 // one frame, or one HTTP body
	DefaultDepth = 128     // objects and arrays inside one another; documents may have half of it
	maxPath      = 1024
	maxToken     = 64 << 10
	maxJournal   = 64 << 10
)

// Limits bounds what is decoded. The zero value means the defaults.
type Limits struct {
	// Bytes is the size of a whole frame or body.
	Bytes int
	// Depth is how deep objects and arrays may be nested, the message's own included.
	Depth int
}

func (l Limits) check(raw []byte) *Error {
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if len(raw) > l.Bytes {
		return &Error{Reason: TooLarge, Detail: "more than " + strconv.Itoa(l.Bytes) + " bytes"}
	}
	return checkJSON(raw, l.Depth)
}

// DecodeClient reads one frame that a client sent. What it returns shares no memory with frame. The error, if any, is an
// [*Error].
func DecodeClient(frame []byte, l Limits) (ClientMessage, error) {
	if err := l.check(frame); err != nil {
		return nil, err
	}
	if kindOf(frame) != '{' {
		return nil, &Error{Reason: Malformed, Detail: "not an object"}
	}
	d, err := newReader("", frame)
	if err != nil {
		return nil, err
	}
	var m ClientMessage
	switch d.name = d.text("type", 64); d.name {
	case "Connect":
		m = d.connect()
	case "Authenticate":
		m = d.authenticate()
	case "ModifyQuerySet":
		m = d.modifyQuerySet()
	case "Mutation":
		m = &Mutation{d.uint32("requestId"), d.path("udfPath"), d.args(), d.component()}
	case "Action":
		m = &Action{d.uint32("requestId"), d.path("udfPath"), d.args(), d.component()}
	case "Event":
		m = &Event{d.text("eventType", maxPath), d.raw("event")}
	default:
		if d.err == nil {
			d.err = &Error{Reason: UnknownType}
		}
		d.name = "" // what was sent is not repeated
	}
	if d.err != nil {
		return nil, d.err.in(d.name, "")
	}
	return m, nil
}

func (d *reader) connect() *Connect {
	m := &Connect{SessionID: d.text("sessionId", 36), ConnectionCount: d.uint32("connectionCount")}
	if d.err == nil && !isUUID(m.SessionID) {
		d.fail(BadField, "sessionId", "must be a UUID")
	}
	m.LastCloseReason = d.optionalText("lastCloseReason", DefaultBytes)
	if d.has("maxObservedTimestamp") {
		ts := d.timestamp("maxObservedTimestamp")
		m.MaxObserved = &ts
	}
	if d.has("clientTs") {
		raw := d.raw("clientTs")
		ms, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || math.IsInf(ms, 0) || math.IsNaN(ms) {
			d.fail(BadField, "clientTs", "must be a number")
		}
		m.ClientTS = &ms
	}
	return m
}

func (d *reader) authenticate() *Authenticate {
	m := &Authenticate{BaseVersion: d.uint32("baseVersion"), TokenType: TokenType(d.text("tokenType", 64))}
	switch m.TokenType {
	case TokenNone:
	case TokenUser, TokenAdmin:
		m.Value = d.text("value", maxToken)
	default:
		d.fail(BadField, "tokenType", "must be None, User or Admin")
	}
	if m.TokenType == TokenAdmin && d.has("impersonating") {
		m.Impersonating = d.raw("impersonating")
	}
	return m
}

func (d *reader) modifyQuerySet() *ModifyQuerySet {
	m := &ModifyQuerySet{BaseVersion: d.uint32("baseVersion"), NewVersion: d.uint32("newVersion")}
	if m.NewVersion <= m.BaseVersion {
		d.fail(BadField, "newVersion", "must be above baseVersion")
	}
	list := d.raw("modifications")
	if d.err != nil {
		return nil
	}
	if kindOf(list) != '[' {
		d.fail(BadField, "modifications", "must be an array")
		return nil
	}
	seen := map[uint32]bool{}
	d.adopt("modifications", eachElement(list, func(i int, raw []byte) *Error {
		c, err := decodeChange(raw)
		if err == nil && seen[c.QueryID] {
			err = &Error{Reason: Duplicate, Field: "queryId", Detail: "stands twice in one message"}
		}
		if err != nil {
			return err.in("", strconv.Itoa(i))
		}
		seen[c.QueryID] = true
		m.Modifications = append(m.Modifications, c)
		return nil
	}))
	return m
}

func decodeChange(raw []byte) (QueryChange, *Error) {
	d, err := newReader("", raw)
	if err != nil {
		return QueryChange{}, err
	}
	var c QueryChange
	switch kind := d.text("type", 64); kind {
	case "Add":
		c = QueryChange{
			QueryID: d.uint32("queryId"), Path: d.path("udfPath"), Args: d.args(),
			Journal: d.optionalText("journal", maxJournal), Component: d.component(),
		}
	case "Remove":
		c = QueryChange{Remove: true, QueryID: d.uint32("queryId")}
	default:
		d.fail(UnknownType, "type", "must be Add or Remove")
	}
	return c, d.err
}

// reader takes the fields out of one object. Its first error sticks; what is read after it is zero.
type reader struct {
	object
	name string
	err  *Error
}

func newReader(name string, raw []byte) (*reader, *Error) {
	o, err := parseObject(raw)
	return &reader{object: o, name: name}, err
}

func (d *reader) fail(r Reason, field, detail string) {
	if d.err == nil {
		d.err = &Error{Reason: r, Field: field, Detail: detail}
	}
}

func (d *reader) adopt(field string, err *Error) {
	if d.err == nil && err != nil {
		d.err = err.in("", field)
	}
}

// has says whether an optional field is there and not null.
func (d *reader) has(key string) bool {
	raw, ok := d.get(key)
	return ok && raw[0] != 'n'
}

// raw returns a copy of the value of a field that must be there.
func (d *reader) raw(key string) json.RawMessage {
	raw, ok := d.get(key)
	if !ok {
		d.fail(MissingField, key, "")
		return nil
	}
	return bytes.Clone(raw)
}

func (d *reader) text(key string, most int) string {
	raw, ok := d.get(key)
	switch {
	case !ok:
		d.fail(MissingField, key, "")
	case raw[0] != '"':
		d.fail(BadField, key, "must be a string")
	default:
		s := unquote(raw)
		if len(s) <= most {
			return s
		}
		d.fail(TooLarge, key, "more than "+strconv.Itoa(most)+" bytes")
	}
	return ""
}

func (d *reader) optionalText(key string, most int) string {
	if !d.has(key) {
		return ""
	}
	return d.text(key, most)
}

func (d *reader) uint32(key string) uint32 {
	raw, ok := d.get(key)
	if !ok {
		d.fail(MissingField, key, "")
		return 0
	}
	n, err := strconv.ParseUint(string(raw), 10, 32) // neither sign, fraction nor exponent passes
	if err != nil {
		d.fail(BadField, key, "must be an integer from 0 to 4294967295")
		return 0
	}
	return uint32(n)
}

func (d *reader) timestamp(key string) Timestamp {
	ts, err := ParseTimestamp(d.text(key, 12))
	if err != nil {
		d.fail(BadField, key, "must be base64 of eight bytes")
	}
	return ts
}

func (d *reader) path(key string) string {
	sent := d.text(key, maxPath)
	if d.err != nil {
		return ""
	}
	path, err := canonicalPath(sent)
	if err != nil {
		// No function has such a name, which is for the call's own answer to say: a slip in one call is no reason to end the
		// whole socket.
		return sent
	}
	return path
}

func (d *reader) component() string { return d.optionalText("componentPath", maxPath) }

// args returns the one object that an array of arguments must hold.
func (d *reader) args() json.RawMessage {
	list, ok := d.get("args")
	if !ok {
		d.fail(MissingField, "args", "")
		return nil
	}
	return d.oneObject(list)
}

func (d *reader) oneObject(list []byte) json.RawMessage {
	var args json.RawMessage
	n := 0
	if list[0] == '[' {
		_ = eachElement(list, func(_ int, raw []byte) *Error {
			if n++; raw[0] == '{' {
				args = bytes.Clone(raw)
			}
			return nil
		})
	}
	if n != 1 || args == nil {
		d.fail(BadField, "args", "must be an array of one object")
		return nil
	}
	return args
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}
