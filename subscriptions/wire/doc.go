// Package wire is the sync protocol that clients of Mimosa speak: the messages of its websocket, the bodies of its HTTP
// calls, and nothing else. PROTOCOL.md beside this file states the whole protocol; testdata holds one file per message that
// is read by this package's tests and by those of the TypeScript client.
//
// A server decodes what a client sent and appends what it answers:
//
//	m, err := wire.DecodeClient(frame, wire.Limits{})
//	if err != nil {
//		frame = (&wire.FatalError{Message: err.Error()}).Append(nil) // and close the socket
//	}
//	switch m := m.(type) {
//	case *wire.Mutation:
//		// run it
//	}
//
// # What it guarantees
//
// Decoding of client messages is strict: a frame that is not UTF-8, not one JSON object, too large or too deep, of an
// unknown type, without a field that it needs, with a field of the wrong kind or one that stands twice gives an [*Error]
// that says which; fields that nobody knows are ignored, so that newer clients may say more. It never panics and keeps no
// reference to the frame.
//
// Results are JSON already when they come here, and they are copied into messages as they are: nothing is decoded and
// encoded again on the way from the store to the socket. [QueryResult.Encode] does what is the same for all who watch a
// query once; what differs, the number under which each knows it, is appended to each message.
//
// # What it does not promise
//
// Raw values that a server hands in are not checked to be JSON. Versions and ids are checked to be in range, not to follow
// one another: that is the server's part, which knows the state of the socket.
package wire
