// Package subscriptions serves a database to its clients: live queries and calls over websockets, and calls over HTTP. The
// wire is the Convex sync protocol, stated in wire/PROTOCOL.md, so the official convex npm client and its React bindings
// work against it unmodified.
//
//	server := subscriptions.New(db, subscriptions.Options{Authenticator: auth})
//	http.Handle("/api/", server)
//	…
//	err := server.Shutdown(ctx) // before db.Close
//
// # What it guarantees
//
//   - All queries of one client change together, in one Transition, as of one timestamp, and what a client sees never goes
//     back in time, across reconnects too.
//   - The promise of a mutation resolves after the client has seen its effect in every query that it watches.
//   - The mutations of one client take effect in the order in which it sent them, each exactly once, however often the
//     connection or the server breaks in between.
//   - Queries that are equal, for one function, the same arguments, and the same identity if the function asked for it, are
//     evaluated at most once at each published timestamp, and encoded once, for all who watch them. A result that did not
//     change is not sent.
//   - The pages of a list stay where they were when they were first sent, over reconnects and restarts too: put together they
//     are the list, without overlap or gap, whatever is written into it.
//   - A client that reads slowly costs itself alone: it gets fewer Transitions, each of the newest state. What waits for one
//     client is bounded, and a client that stops reading is closed.
//   - Everything that is sent on a socket after the answer of a sign-in runs as the user who signed in.
//   - What a client has no business to know, it is not told: internal functions look like functions that do not exist, and
//     errors without a code arrive as internal with an id of the log.
//
// # What it does not promise
//
// A client does not see every state, only ever newer ones. Actions run at most once: one whose answer is lost with its
// connection has failed as far as the client knows, and yet goes on running. Results that depended on the time do not change
// because time passes. Calls over HTTP that change something are not sent again safely; sockets are for that.
package subscriptions
