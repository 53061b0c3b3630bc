package wire

// Reason says in which way a message is wrong.
type Reason string

// The reasons for which a message is refused.
const (
	Malformed    Reason = "malformed"     // not UTF-8, not JSON, not an object
	UnknownType  Reason = "unknown type"  // an object, but no message that is known
	MissingField Reason = "missing field" // a field that the message needs is not there
	BadField     Reason = "bad field"     // a field is of the wrong kind or out of range
	Duplicate    Reason = "duplicate"     // a field, or a query id within one message, stands twice
	TooLarge     Reason = "too large"     // more bytes, or deeper, than the limits allow
	BadVersion   Reason = "bad version"   // a baseVersion that is not the version before it
	OutOfOrder   Reason = "out of order"  // a message before Connect, or a second Connect
)

// Error says why a message was refused. All errors of decoding are of this type. A client that sends such a message would
// send it again after a reconnect, so a socket is answered with FatalError before it is closed.
type Error struct {
	Reason  Reason
	Message string // the message's type, "" if it is not known
	Field   string // the field concerned, "" if it is the whole message; the path of a nested one is dotted
	Detail  string // what was expected; never what was sent
}

func (e *Error) Error() string {
	s := "wire: "
	switch {
	case e.Message != "" && e.Field != "":
		s += e.Message + "." + e.Field + ": "
	case e.Message != "" || e.Field != "":
		s += e.Message + e.Field + ": "
	}
	s += string(e.Reason)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Is matches another *Error by its reason alone, if that is all it says: errors.Is(err, &Error{Reason: TooLarge}).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason && t.Message == "" && t.Field == "" && t.Detail == ""
}

// in returns e as an error of the named field of the named message. A field that e has already becomes nested in it.
func (e *Error) in(message, field string) *Error {
	c := *e
	c.Message = message
	switch {
	case field == "":
	case c.Field == "":
		c.Field = field
	default:
		c.Field = field + "." + c.Field
	}
	return &c
}
