package engine

import (
	"errors"
	"fmt"
)

// Code says to a client what kind of error it got. Applications may use codes of their own beside these.
type Code string

// The codes that Mimosa itself uses.
const (
	CodeInvalid         Code = "invalid"         // arguments or a document break the schema; see Error.Issues
	CodeUnauthenticated Code = "unauthenticated" // nobody is signed in
	CodeForbidden       Code = "forbidden"       // somebody is, and may not
	CodeNotFound        Code = "not_found"       // no such document or function
	CodeAlreadyExists   Code = "already_exists"  // a unique index holds these values already
	CodeConflict        Code = "conflict"        // the call contradicts an earlier one
	CodeTooLarge        Code = "too_large"       // a limit was exceeded; see LimitError
	CodeBusy            Code = "busy"            // try again later
	CodeNotReady        Code = "not_ready"       // an index that a query needs is not built; see ErrIndexNotReady
	CodeUnknown         Code = "unknown"         // the request is so old that whether it took effect is not known; see RequestID
	CodeInterrupted     Code = "interrupted"     // an action that was scheduled was cut short, see ActionRef.Schedule
	CodeInternal        Code = "internal"        // anything that was not meant for the client
)

// Issue is one violation of a schema. Path is dotted, "items.0.name", and "" for the whole value; Rule is the JSON Schema
// keyword that was broken, or "id", "json" or "range". Message never repeats the value.
type Issue struct {
	Path    string `json:"path"`
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

// Error is an error meant for the client: it reaches it as {code, message, issues?, data?}. Any other error reaches it as
// code internal with a log id in place of its text.
type Error struct {
	Code    Code    `json:"code"`
	Message string  `json:"message"`
	Issues  []Issue `json:"issues,omitempty"`
	Data    any     `json:"data,omitempty"`

	cause error
}

// Errorf makes an error for the client. Operands of %w become its cause, for errors.Is and errors.As.
func Errorf(c Code, format string, a ...any) *Error {
	err := fmt.Errorf(format, a...)
	cause := errors.Unwrap(err)
	if _, many := err.(interface{ Unwrap() []error }); many { //nolint:errorlint // of the error that was just made
		cause = err
	}
	return &Error{Code: c, Message: err.Error(), cause: cause}
}

// With returns a copy of e that carries data, which must be encodable as JSON.
func (e *Error) With(data any) *Error {
	c := *e
	c.Data = data
	return &c
}

// WithIssues returns a copy of e that carries issues.
func (e *Error) WithIssues(issues ...Issue) *Error {
	c := *e
	c.Issues = issues
	return &c
}

func (e *Error) Error() string {
	if len(e.Issues) > 0 {
		i := e.Issues[0]
		more := ""
		if len(e.Issues) > 1 {
			more = fmt.Sprintf(" (and %d more)", len(e.Issues)-1)
		}
		return fmt.Sprintf("%s: %s: %s%s", e.Message, pathOrRoot(i.Path), i.Message, more)
	}
	return e.Message
}

func pathOrRoot(p string) string {
	if p == "" {
		return "(root)"
	}
	return p
}

// Unwrap returns the cause given to Errorf by %w.
func (e *Error) Unwrap() error { return e.cause }

// Is matches another *Error without a message by its code, so that errors.Is(err, &Error{Code: CodeForbidden}) works, and
// the sentinels of this package.
func (e *Error) Is(target error) bool {
	if s, ok := target.(*Error); ok {
		return s.Message == "" && s.Code == e.Code
	}
	switch target {
	case ErrNotFound:
		return e.Code == CodeNotFound
	case ErrAlreadyExists:
		return e.Code == CodeAlreadyExists
	case ErrInvalid:
		return e.Code == CodeInvalid
	case ErrBusy:
		return e.Code == CodeBusy
	case ErrOutcomeUnknown:
		return e.Code == CodeUnknown
	case ErrIndexNotReady:
		return e.Code == CodeNotReady
	}
	return false
}

// Sentinels, matched with errors.Is.
var (
	// ErrNotFound is matched by every error of code not_found: no such document, no document with these index values.
	ErrNotFound = errors.New("engine: not found")
	// ErrAlreadyExists is matched by every error of code already_exists: a unique index holds these values already.
	ErrAlreadyExists = errors.New("engine: already exists")
	// ErrIndexNotReady is matched by every error of code not_ready: a query on an index that is being built, or could not be.
	// Error.Data names its collection, index and state.
	ErrIndexNotReady = errors.New("engine: index is not ready")
	// ErrInvalid is matched by every error of code invalid.
	ErrInvalid = errors.New("engine: invalid")
	// ErrBusy is matched by every error of code busy: nothing was done, and trying again later may do it.
	ErrBusy = errors.New("engine: busy")
	// ErrClosed says that the database was closed.
	ErrClosed = errors.New("engine: database is closed")
	// ErrFailed says that a commit failed and that the database must be reopened; what it was is wrapped with it.
	ErrFailed = errors.New("engine: a commit failed; reopen the database")
	// ErrDead says that a transaction is used after its function returned or after its time limit.
	ErrDead = errors.New("engine: transaction has ended")
	// ErrInsideFunction says that DB.View or DB.Update was called from inside a function, which would deadlock or break
	// isolation: use the function's own transaction.
	ErrInsideFunction = errors.New("engine: View and Update cannot be called inside a function")
	// ErrNotUnique says that One found more than one document.
	ErrNotUnique = errors.New("engine: more than one document has these values")
	// ErrOutcomeUnknown says that whether the mutation took effect could not be told. Every error of code unknown matches it:
	// sending the same request again then gives the same error, while otherwise a resend tells what became of it.
	ErrOutcomeUnknown = errors.New("engine: outcome of the mutation is unknown")
)

// LimitError says which limit a call exceeded. It reaches a client with code too_large.
type LimitError struct {
	// Limit is the field of Limits, such as "ReadDocuments"; "TransactionRows" or "TransactionBytes" for what the store takes
	// in one transaction, documents and index entries; "IndexKeyBytes" for the values of one index entry.
	Limit string
	// Max is its value: documents, rows, bytes, levels, or nanoseconds.
	Max int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("engine: limit %s of %d exceeded", e.Limit, e.Max)
}

// PanicError is a panic of a function or a trigger. It fails the whole call; clients see code internal.
type PanicError struct {
	Value any
	Stack []byte
}

func (p *PanicError) Error() string { return fmt.Sprintf("engine: panic: %v", p.Value) }

// publicError turns any error into what the client may see; logged says that the original must go to the log.
func publicError(err error) (pub *Error, logged bool) {
	var e *Error
	if errors.As(err, &e) {
		return e, false
	}
	var l *LimitError
	if errors.As(err, &l) {
		return &Error{Code: CodeTooLarge, Message: l.Error(), Data: map[string]any{"limit": l.Limit, "max": l.Max}, cause: err}, false
	}
	return &Error{Code: CodeInternal, Message: "internal error", cause: err}, true
}
