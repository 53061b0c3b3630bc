package engine

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

// Timestamp is a commit timestamp: nanoseconds since the Unix epoch, strictly increasing, never going back.
type Timestamp = storage.Timestamp

// Call names a registered function and what it runs with.
type Call struct {
	Function string          // "module:function"
	Args     json.RawMessage // one JSON object; empty means {}
	// Principal is who calls; nil is nobody.
	Principal Principal
	// Remote is the address that the call came from, as far as whoever took it in can tell; ActionCtx.Remote returns it. The
	// zero Addr is unknown: calls from Go code, scheduled jobs, crons. Queries and mutations do not see it, since what they do
	// may depend on nothing but their arguments, the caller and what is stored.
	Remote netip.Addr
	// Request makes a mutation take effect exactly once, however often it is sent; nil for calls that nobody resends.
	Request *RequestID
	// Journal of a query is what an earlier run of the same call gave as Result.Journal, or "": pages that it read (see
	// Scan.Paginate) end where they ended then. One that is not from there has no effect. Functions other than queries ignore it.
	Journal string
	// Committed, if set, is called with the timestamp of a mutation's commit, before anything that the commit changed can be
	// seen: before the timestamp is published, watches are touched and the mutation is answered. It is called from the
	// committer's goroutine, so it must neither block nor call the database. It is not called for a mutation that wrote
	// nothing, or that was a repetition of an earlier Request.
	Committed func(Timestamp)
	// Internal lets the call reach functions registered with Internal().
	Internal bool
}

// RequestID names one mutation of one client session. Session is at most 64 bytes. The numbers of a session should ascend.
//
// What the mutation gave is kept for 30 days. A resend after that fails with code unknown as long as the session is in use, and
// is not run; of a session that has not been used for so long nothing is known any more.
type RequestID struct {
	Session string
	Request uint64
}

// Result is what a call gave. On an error it is still returned, for its log lines and trace.
type Result struct {
	// Value is the encoded result.
	Value json.RawMessage
	// Timestamp is the commit that made the mutation durable, or for a query the snapshot that it read. Zero for actions and
	// for calls that failed.
	Timestamp Timestamp
	// Journal is where the pages end that a query has read, to be given to its next run; "" if it has read none. It does not
	// change from run to run. A query that failed gives back the one that it was given.
	Journal string
	// Log holds what the function said with Log.
	Log []string
	// Trace holds what fired inside a mutation, in order.
	Trace []Fired
	// Replayed says that the result is that of an earlier send of the same Request.
	Replayed bool
	// PrincipalSet says that an action changed who its caller's connection is, to Principal, which is nil after a sign-out.
	PrincipalSet bool
	Principal    Principal
}

// Fired is one trigger or hook that ran inside a mutation.
type Fired struct {
	// Name is like "users.OnCreate(enroll)".
	Name string `json:"name"`
	// Document is the id of the document whose change it ran for.
	Document string `json:"document"`
	// Depth is 1 for a trigger of the function's own write, 2 for one of a trigger's write, and so on.
	Depth int           `json:"depth"`
	Took  time.Duration `json:"took"`
	// Error is set when it failed.
	Error string `json:"error,omitempty"`
}
