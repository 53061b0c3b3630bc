package authmod

import (
	"net/netip"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

const (
	defaultNetworkFailures = 100
	defaultAddressSends    = 5
	defaultNetworkSends    = 50

	// networkUnderWay bounds the attempts of one network at a time: more than MaxUnderWay, since a school may sign in all at
	// once from behind one address.
	networkUnderWay = 256
)

// limits are those that all modules of an Auth share.
type limits struct {
	failed   *Limiter // attempts that failed, by network
	sentTo   *Limiter // messages, by the address that they went to
	sentFrom *Limiter // messages, by the network that asked for them
}

func newLimits(o Options) limits {
	l := limits{
		failed:   NewLimiter(o.MaxFailuresPerNetwork, time.Hour),
		sentTo:   NewLimiter(o.MaxSendsPerAddress, time.Hour),
		sentFrom: NewLimiter(o.MaxSendsPerNetwork, time.Hour),
	}
	l.failed.underWay = networkUnderWay
	return l
}

// NetworkOf says which network an address belongs to, as limits count: an IPv4 address by itself, an IPv6 address with the
// other 2⁶⁴ that whoever has it has too, as "2001:db8::/64". An IPv4 address that is mapped into IPv6 is that IPv4 address, and
// zones make no difference. It is "" for the zero Addr.
func NetworkOf(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return ""
	case addr.Is4():
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil { // an IPv6 address has 64 bits
		return addr.String()
	}
	return prefix.String()
}

// Network is the network that the attempt comes from: NetworkOf its Remote. It is "" where that is not known, and no limit by
// network then applies.
func (a *Attempt) Network() string { return NetworkOf(a.Remote()) }

// Guard is an attempt at something that can be guessed. It counts for what is guessed at and for the network that it comes
// from. It belongs to one goroutine, and its owner defers End.
type Guard struct {
	db           *engine.DB
	own, network *Try
}

// Guard begins an attempt at something that can be guessed: a password, a code. l is the module's own limiter, and key what the
// guesses are about, such as the account's id, whether there is such an account or not. A guess that names nothing, such as a
// code out of a link, has a nil l, and counts for the network alone.
//
// The error is of code busy, with data {retryAfter: seconds}, when there were too many failures under the key, or from the
// caller's network, in all modules together: Options.MaxFailuresPerNetwork.
func (a *Attempt) Guard(l *Limiter, key string) (*Guard, error) {
	now := a.DB().Now()
	own, wait := orNone(l).Begin(key, now)
	if own == nil {
		return nil, tooMany(wait)
	}
	network, wait := a.limiterOfNetwork(a.limits().failed).Begin(a.Network(), now)
	if network == nil {
		own.End()
		return nil, tooMany(wait)
	}
	return &Guard{a.DB(), own, network}, nil
}

// Again returns the error of Attempt.Guard if others have used up the failures since. Whoever verifies a guess asks right
// before, when its turn has come.
func (g *Guard) Again() error {
	now := g.db.Now()
	own, _ := g.own.Again(now)
	network, _ := g.network.Again(now)
	if wait := max(own, network); wait > 0 {
		return tooMany(wait)
	}
	return nil
}

// Fail counts a wrong guess, and ends the attempt.
func (g *Guard) Fail() {
	now := g.db.Now()
	g.own.Fail(now)
	g.network.Fail(now)
}

// Succeed forgets the failures under the key, and ends the attempt. Those of the network stay: to sign in to an account of one's
// own does not make guesses at others better.
func (g *Guard) Succeed() {
	g.own.Succeed()
	g.network.End()
}

// End ends the attempt, uncounted if it has not ended yet. To call it again does nothing.
func (g *Guard) End() {
	g.own.End()
	g.network.End()
}

// Allow counts one use of something that a module offers to everybody and does not give away without bounds. The error is of
// code busy, with data {retryAfter: seconds}, when there were too many of l under the key; an empty key has nothing in common
// with others, and no limit.
func (a *Attempt) Allow(l *Limiter, key string) error {
	if key == "" {
		return nil
	}
	if wait, ok := l.Take(key, a.DB().Now()); !ok {
		return tooMany(wait)
	}
	return nil
}

// AllowSend counts a message that is about to be sent to an address, in its normalised form, because of the attempt. A module
// asks before it looks whether there is anybody of that address, so that the answer does not tell. What counts is that a message
// was asked for, not what becomes of it.
//
// The error is of code busy, with data {retryAfter: seconds}, when there were too many to that address, or on behalf of the
// caller's network, in all modules together: Options.MaxSendsPerAddress and MaxSendsPerNetwork. Nothing is counted then.
func (a *Attempt) AllowSend(to string) error {
	now := a.DB().Now()
	l := a.limits()
	wait, ok := l.sentTo.Take(to, now)
	if !ok {
		return tooMany(wait)
	}
	if wait, ok = a.limiterOfNetwork(l.sentFrom).Take(a.Network(), now); !ok {
		l.sentTo.giveBack(to, now)
		return tooMany(wait)
	}
	return nil
}

// AllowFrom counts one more under the caller's network with a limiter of the module's own, for what costs something whoever asks
// for it. Where the network is not known it counts nothing. The error is of code busy, with data {retryAfter: seconds}.
func (a *Attempt) AllowFrom(l *Limiter) error {
	if wait, ok := a.limiterOfNetwork(l).Take(a.Network(), a.DB().Now()); !ok {
		return tooMany(wait)
	}
	return nil
}

func (a *Attempt) limits() limits { return a.host.auth.limits }

// limiterOfNetwork is l, or none where the attempt's network is not known: those have nothing in common.
func (a *Attempt) limiterOfNetwork(l *Limiter) *Limiter {
	if a.Network() == "" {
		return orNone(nil)
	}
	return l
}

// orNone is l, or no limit for nil.
func orNone(l *Limiter) *Limiter {
	if l == nil {
		return &Limiter{}
	}
	return l
}

// tooMany is what a limit's refusal says. Its seconds are rounded up.
func tooMany(wait time.Duration) error {
	seconds := int64((wait + time.Second - 1) / time.Second)
	return engine.Errorf(engine.CodeBusy, "too many attempts; try again later").With(map[string]any{"retryAfter": seconds})
}
