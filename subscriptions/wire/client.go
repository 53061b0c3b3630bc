package wire

import (
	"encoding/json"
	"strconv"
)

// ClientMessage is what a client sends: *Connect, *Authenticate, *ModifyQuerySet, *Mutation, *Action or *Event. Append
// writes it as a client would; a server only decodes.
type ClientMessage interface {
	// Type is the message's name on the wire.
	Type() string
	// Append appends the message's JSON to dst.
	Append(dst []byte) []byte
	client()
}

// Connect is the first message on every socket, and only the first.
type Connect struct {
	// SessionID is a UUID that the client keeps over reconnects. Together with a request id it names a mutation.
	SessionID string
	// ConnectionCount is how often this session has connected before.
	ConnectionCount uint32
	// LastCloseReason says why the last socket ended: "InitialConnect" on the first, "" (null) if it is not known.
	LastCloseReason string
	// MaxObserved is the newest timestamp the client has seen on any socket; nil if none.
	MaxObserved *Timestamp
	// ClientTS is the client's clock in milliseconds since the epoch; nil if it was not said.
	ClientTS *float64
}

// TokenType says what an Authenticate carries.
type TokenType string

// The token types. Admin exists for tools that act for an operator.
const (
	TokenNone  TokenType = "None"
	TokenUser  TokenType = "User"
	TokenAdmin TokenType = "Admin"
)

// Authenticate changes who the socket acts as, from the next message on. It raises the identity version by one.
type Authenticate struct {
	BaseVersion   uint32
	TokenType     TokenType
	Value         string          // the token; empty for TokenNone
	Impersonating json.RawMessage // for TokenAdmin; nil if absent
}

// ModifyQuerySet changes which queries the socket watches.
type ModifyQuerySet struct {
	BaseVersion, NewVersion uint32
	Modifications           []QueryChange
}

// QueryChange adds a query to the set, or removes one. Within one message a query id stands at most once.
type QueryChange struct {
	// Remove takes the query out; of the other fields only QueryID is then used.
	Remove  bool
	QueryID uint32
	// Path names the function, in the form [CanonicalPath] returns, or as it was sent where no function can be called so.
	Path string
	// Args is the one object of arguments, as it was sent.
	Args json.RawMessage
	// Journal is what an earlier result of this query carried; "" if none.
	Journal string
	// Component is always "" with the official client, unless an operator's tool sets it.
	Component string
}

// Mutation asks for a mutation. It is sent again after a reconnect until it is answered, with the same RequestID.
type Mutation struct {
	RequestID uint32
	Path      string // in the form [CanonicalPath] returns
	Args      json.RawMessage
	Component string
}

// Action asks for an action. It is never sent twice.
type Action struct {
	RequestID uint32
	Path      string // in the form [CanonicalPath] returns
	Args      json.RawMessage
	Component string
}

// Event is what a client reports about itself. A server may ignore it.
type Event struct {
	EventType string
	Event     json.RawMessage
}

func (*Connect) Type() string        { return "Connect" }
func (*Authenticate) Type() string   { return "Authenticate" }
func (*ModifyQuerySet) Type() string { return "ModifyQuerySet" }
func (*Mutation) Type() string       { return "Mutation" }
func (*Action) Type() string         { return "Action" }
func (*Event) Type() string          { return "Event" }

func (*Connect) client()        {}
func (*Authenticate) client()   {}
func (*ModifyQuerySet) client() {}
func (*Mutation) client()       {}
func (*Action) client()         {}
func (*Event) client()          {}

// Append appends the message's JSON to dst.
func (m *Connect) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"Connect","sessionId":`...)
	dst = appendString(dst, m.SessionID)
	dst = append(dst, `,"connectionCount":`...)
	dst = appendUint(dst, uint64(m.ConnectionCount))
	dst = append(dst, `,"lastCloseReason":`...)
	if m.LastCloseReason == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, m.LastCloseReason)
	}
	if m.MaxObserved != nil {
		dst = append(dst, `,"maxObservedTimestamp":`...)
		dst = m.MaxObserved.append(dst)
	}
	if m.ClientTS != nil {
		dst = append(dst, `,"clientTs":`...)
		dst = strconv.AppendFloat(dst, *m.ClientTS, 'f', -1, 64)
	}
	return append(dst, '}')
}

// Append appends the message's JSON to dst.
func (m *Authenticate) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"Authenticate","baseVersion":`...)
	dst = appendUint(dst, uint64(m.BaseVersion))
	dst = append(dst, `,"tokenType":`...)
	dst = appendString(dst, m.TokenType)
	if m.TokenType != TokenNone {
		dst = append(dst, `,"value":`...)
		dst = appendString(dst, m.Value)
	}
	if m.Impersonating != nil {
		dst = append(dst, `,"impersonating":`...)
		dst = appendRaw(dst, m.Impersonating)
	}
	return append(dst, '}')
}

// Append appends the message's JSON to dst.
func (m *ModifyQuerySet) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"ModifyQuerySet","baseVersion":`...)
	dst = appendUint(dst, uint64(m.BaseVersion))
	dst = append(dst, `,"newVersion":`...)
	dst = appendUint(dst, uint64(m.NewVersion))
	dst = append(dst, `,"modifications":[`...)
	for i := range m.Modifications {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m.Modifications[i].append(dst)
	}
	return append(dst, `]}`...)
}

func (c *QueryChange) append(dst []byte) []byte {
	if c.Remove {
		dst = append(dst, `{"type":"Remove","queryId":`...)
		dst = appendUint(dst, uint64(c.QueryID))
		return append(dst, '}')
	}
	dst = append(dst, `{"type":"Add","queryId":`...)
	dst = appendUint(dst, uint64(c.QueryID))
	dst = appendPathAndArgs(dst, c.Path, c.Args)
	if c.Journal != "" {
		dst = append(dst, `,"journal":`...)
		dst = appendString(dst, c.Journal)
	}
	return appendComponent(dst, c.Component)
}

func appendPathAndArgs(dst []byte, path string, args json.RawMessage) []byte {
	dst = append(dst, `,"udfPath":`...)
	dst = appendString(dst, path)
	dst = append(dst, `,"args":[`...)
	if len(args) == 0 {
		dst = append(dst, "{}"...)
	}
	dst = append(dst, args...)
	return append(dst, ']')
}

func appendComponent(dst []byte, component string) []byte {
	if component != "" {
		dst = append(dst, `,"componentPath":`...)
		dst = appendString(dst, component)
	}
	return append(dst, '}')
}

// Append appends the message's JSON to dst.
func (m *Mutation) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"Mutation","requestId":`...)
	dst = appendUint(dst, uint64(m.RequestID))
	dst = appendPathAndArgs(dst, m.Path, m.Args)
	return appendComponent(dst, m.Component)
}

// Append appends the message's JSON to dst.
func (m *Action) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"Action","requestId":`...)
	dst = appendUint(dst, uint64(m.RequestID))
	dst = appendPathAndArgs(dst, m.Path, m.Args)
	return appendComponent(dst, m.Component)
}

// Append appends the message's JSON to dst.
func (m *Event) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"Event","eventType":`...)
	dst = appendString(dst, m.EventType)
	dst = append(dst, `,"event":`...)
	dst = appendRaw(dst, m.Event)
	return append(dst, '}')
}
