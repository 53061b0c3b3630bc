package oauth

// Resolver is the allow-list of a program whose pages are at site.
func Resolver(site string, allowed ...string) (resolve func(string) (string, bool), wrong []string) {
	t, wrong := newTargets(site, allowed)
	return t.resolve, wrong
}

// WithQuery adds a parameter to an address.
func WithQuery(address, name, value string) string { return withQuery(address, name, value) }

// Derive makes a secret of state and a salt.
func Derive(what, state, salt string) string { return derive(what, state, salt) }
