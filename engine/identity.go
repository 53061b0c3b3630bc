package engine

// Identity is who a function runs as. A nil *Identity is nobody.
type Identity struct {
	// User is the id of the application's user document, as authmod keeps it; empty when the issuer is foreign and no
	// user document exists.
	User string
	// Session is the id of the session document; empty for identities without one.
	Session string
	// Issuer and Subject are the token's.
	Issuer, Subject string
	// Claims are the token's other claims. They must not be changed.
	Claims map[string]any
}

// Principal is a caller whose identity is found inside each transaction, in that transaction's snapshot, so that a session
// that was revoked is nobody from the very commit that revoked it.
type Principal interface {
	// Key is equal for principals that always resolve to the same identity. Live results that read the identity are shared
	// between sockets of one key.
	Key() string
	// Resolve reads what it needs through r, which thereby enters the transaction's read set. A nil identity is nobody. It
	// may be called many times, concurrently, and after a rerun.
	Resolve(r Reader) (*Identity, error)
}
