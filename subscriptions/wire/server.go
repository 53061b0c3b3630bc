package wire

import "encoding/json"

// ServerMessage is what a server sends: *Transition, *TransitionChunk, *MutationResponse, *ActionResponse, *AuthError,
// *FatalError or *Ping.
type ServerMessage interface {
	// Type is the message's name on the wire.
	Type() string
	// Append appends the message's JSON to dst.
	Append(dst []byte) []byte
	server()
}

// Transition takes a client from one state to the next: all of its queries that changed, together, as of one timestamp.
type Transition struct {
	// Start is the End of the Transition before it, or zero on a new socket.
	Start, End    StateVersion
	Modifications []Modification
	// Clock, if not nil, lets the client learn how long messages are under way.
	Clock *Clock
}

// Clock holds two readings that go together: a client that gets only one of them complains.
type Clock struct {
	SkewMillis  int64 // how far the client's clock is off, as Connect showed it
	ServerNanos int64 // when the Transition was sent, nanoseconds since the epoch
}

// Modification is what one query became. Encoded comes from [QueryResult.Encode] or is [Removed].
type Modification struct {
	QueryID uint32
	Encoded Encoded
}

// Encoded is all of a modification but the number of the query, which differs from client to client. It is immutable and
// may be sent to any number of them.
type Encoded string

// Removed says that a query is no longer watched.
const Removed Encoded = `{"type":"QueryRemoved",`

// Failure is an error as a client sees it.
type Failure struct {
	// Message is for a person to read.
	Message string
	// Data is the JSON of an [ErrorData]; nil means none. Whatever stands here, null too, makes the official client throw
	// its ConvexError with it as data instead of a plain Error.
	Data json.RawMessage
}

// QueryResult is what a query gave: a value, or a failure if that is not nil.
type QueryResult struct {
	Value    json.RawMessage // forwarded as it is; empty means null
	Failure  *Failure
	LogLines []string
	// Journal is given back by the client when it adds the query again; "" if none.
	Journal string
}

// Encode encodes the result once for all who watch it.
func (r *QueryResult) Encode() Encoded {
	dst := make([]byte, 0, len(r.Value)+96)
	if f := r.Failure; f != nil {
		dst = append(dst, `{"type":"QueryFailed","errorMessage":`...)
		dst = appendString(dst, f.Message)
		if f.Data != nil {
			dst = append(dst, `,"errorData":`...)
			dst = append(dst, f.Data...)
		}
	} else {
		dst = append(dst, `{"type":"QueryUpdated","value":`...)
		dst = appendRaw(dst, r.Value)
	}
	dst = append(dst, `,"logLines":`...)
	dst = appendStrings(dst, r.LogLines)
	dst = append(dst, `,"journal":`...)
	if r.Journal == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, r.Journal)
	}
	return Encoded(append(dst, ','))
}

// TransitionChunk is a slice of a Transition's JSON that is too large for one message. See [AppendChunks].
type TransitionChunk struct {
	Chunk        string
	PartNumber   int // from 0
	TotalParts   int
	TransitionID string
}

// MutationResponse says what became of a mutation. After a success the client still waits for a Transition that comes
// after this message and whose timestamp is TS or more.
type MutationResponse struct {
	RequestID uint32
	Result    json.RawMessage // forwarded as it is; empty means null
	TS        Timestamp       // the commit; only with a success
	Failure   *Failure        // not nil if it failed
	LogLines  []string
}

// ActionResponse says what became of an action.
type ActionResponse struct {
	RequestID uint32
	Result    json.RawMessage
	Failure   *Failure
	LogLines  []string
}

// AuthError says that whom the client acts as was refused, or holds no longer.
type AuthError struct {
	Error string
	// BaseVersion is the identity version that the server is at.
	BaseVersion uint32
	// AuthUpdateAttempted is true for the answer to an Authenticate, and false when an identity that was accepted ended.
	AuthUpdateAttempted bool
}

// FatalError ends the client for good: it will not reconnect.
type FatalError struct{ Message string }

// Ping tells the client that the server is there.
type Ping struct{}

func (*Transition) Type() string       { return "Transition" }
func (*TransitionChunk) Type() string  { return "TransitionChunk" }
func (*MutationResponse) Type() string { return "MutationResponse" }
func (*ActionResponse) Type() string   { return "ActionResponse" }
func (*AuthError) Type() string        { return "AuthError" }
func (*FatalError) Type() string       { return "FatalError" }
func (*Ping) Type() string             { return "Ping" }

func (*Transition) server()       {}
func (*TransitionChunk) server()  {}
func (*MutationResponse) server() {}
func (*ActionResponse) server()   {}
func (*AuthError) server()        {}
func (*FatalError) server()       {}
func (*Ping) server()             {}

// Append appends the message's JSON to dst.
func (m *Transition) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"Transition","startVersion":`...)
	dst = m.Start.append(dst)
	dst = append(dst, `,"endVersion":`...)
	dst = m.End.append(dst)
	dst = append(dst, `,"modifications":[`...)
	for i, mod := range m.Modifications {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, mod.Encoded...)
		dst = append(dst, `"queryId":`...)
		dst = appendUint(dst, uint64(mod.QueryID))
		dst = append(dst, '}')
	}
	dst = append(dst, ']')
	if c := m.Clock; c != nil {
		dst = append(dst, `,"clientClockSkew":`...)
		dst = appendInt(dst, c.SkewMillis)
		dst = append(dst, `,"serverTs":`...)
		dst = appendInt(dst, c.ServerNanos)
	}
	return append(dst, '}')
}

// Append appends the message's JSON to dst.
func (m *TransitionChunk) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"TransitionChunk","chunk":`...)
	dst = appendString(dst, m.Chunk)
	dst = append(dst, `,"partNumber":`...)
	dst = appendInt(dst, int64(m.PartNumber))
	dst = append(dst, `,"totalParts":`...)
	dst = appendInt(dst, int64(m.TotalParts))
	dst = append(dst, `,"transitionId":`...)
	dst = appendString(dst, m.TransitionID)
	return append(dst, '}')
}

// Append appends the message's JSON to dst.
func (m *MutationResponse) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"MutationResponse","requestId":`...)
	dst = appendUint(dst, uint64(m.RequestID))
	dst = appendOutcome(dst, m.Result, m.Failure)
	if m.Failure == nil {
		dst = append(dst, `,"ts":`...)
		dst = m.TS.append(dst)
	}
	dst = append(dst, `,"logLines":`...)
	return append(appendStrings(dst, m.LogLines), '}')
}

// Append appends the message's JSON to dst.
func (m *ActionResponse) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"ActionResponse","requestId":`...)
	dst = appendUint(dst, uint64(m.RequestID))
	dst = appendOutcome(dst, m.Result, m.Failure)
	dst = append(dst, `,"logLines":`...)
	return append(appendStrings(dst, m.LogLines), '}')
}

func appendOutcome(dst []byte, result json.RawMessage, f *Failure) []byte {
	if f == nil {
		dst = append(dst, `,"success":true,"result":`...)
		return appendRaw(dst, result)
	}
	dst = append(dst, `,"success":false,"result":`...)
	dst = appendString(dst, f.Message)
	if f.Data != nil {
		dst = append(dst, `,"errorData":`...)
		dst = append(dst, f.Data...)
	}
	return dst
}

// Append appends the message's JSON to dst.
func (m *AuthError) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"AuthError","error":`...)
	dst = appendString(dst, m.Error)
	dst = append(dst, `,"baseVersion":`...)
	dst = appendUint(dst, uint64(m.BaseVersion))
	dst = append(dst, `,"authUpdateAttempted":`...)
	dst = appendBool(dst, m.AuthUpdateAttempted)
	return append(dst, '}')
}

// Append appends the message's JSON to dst.
func (m *FatalError) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"FatalError","error":`...)
	dst = appendString(dst, m.Message)
	return append(dst, '}')
}

// Append appends the message's JSON to dst.
func (*Ping) Append(dst []byte) []byte { return append(dst, `{"type":"Ping"}`...) }
