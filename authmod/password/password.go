package password

import (
	"runtime"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// Options configure New. The zero value works: users with an e-mail address, passwords of at least 15 characters, argon2id.
type Options struct {
	// Profile checks what somebody who signs up gave, and makes the user document of it: see authmod.NewProfile. Without
	// one, users have an e-mail address, and further parameters are for triggers to look at.
	Profile authmod.Profile
	// MinLength is how many characters (code points) a new password has at least: 15 by default, which is what guidelines
	// ask of a password that is not joined by a second factor. A new or an old password has at most 1,024 bytes.
	MinLength int
	// ValidatePassword refuses new passwords beyond that, such as those on a list of leaked ones. It gets the password as
	// it is going to be hashed. Issues of an engine.Errorf of code invalid are passed on; the text of any other error is
	// what the form shows beside the password. It must be safe for concurrent use.
	ValidatePassword func(password string) error
	// Crypto is how passwords are hashed; Argon2id{} by default.
	Crypto Crypto
	// MaxConcurrentHashes is how many passwords are hashed or verified at a time, since each takes a core and as much memory
	// as the hash asks for (64 MiB by default): as many as GOMAXPROCS, but 8 at most, by default. Others wait for their turn,
	// for 10 seconds and up to 256 times as many; beyond that clients get the code busy.
	MaxConcurrentHashes int
	// MaxFailures is how many attempts to sign in to one account may fail in an hour before clients get the code busy, with
	// data {retryAfter: seconds}; 10 by default, and none is unlimited with -1. Whether there is such an account makes no
	// difference. Only failures count, so guesses that are verified at the same time do not know of one another: there may be
	// MaxConcurrentHashes-1 more. Sign-ups with an address that is taken are limited likewise, apart from that and to ten
	// times as many, since there is nothing to guess; a sign-up that is refused for any other reason does not count.
	// Attempts under way at one address, whatever becomes of them, are bounded by authmod.MaxUnderWay.
	MaxFailures int
	// MaxSignUpsPerNetwork is how many sign-ups one network may make in an hour, each of which is a user and a hash: 300 by
	// default, for a school on its first day, unlimited with -1. Beyond that clients get the code busy, with data {retryAfter:
	// seconds}. Those with an address that is taken do not count, unless Verify is set. See authmod.NetworkOf.
	MaxSignUpsPerNetwork int
	// Send sends the codes of resets and of verifications. Without it the flows reset and reset-verification are refused.
	Send authmod.Sender
	// Verify has people prove their address by a code before they are signed in: at sign-up, and at sign-in as long as they have
	// not. It needs Send.
	Verify bool
	// CodeTTL is for how long a code is good, 15 minutes by default; CodeDigits is how long it is, 8 by default.
	CodeTTL    time.Duration
	CodeDigits int
}

const (
	provider         = "password"
	defaultMinLength = 15
	maxBytes         = 1 << 10
	maxSlots         = 8
	waitersPerSlot   = 256
	defaultFailures  = 10
	defaultSignUps   = 300
	takenPerFailure  = 10 // sign-ups with a taken address for each sign-in that may fail

	// patience is for how long a client waits for its turn to hash: a class that signs up all at once is done in less, and
	// later than that a person has given up.
	patience = 10 * time.Second
)

// New makes the module.
func New(o Options) authmod.Module { return &module{options: o} }

// module is the Module. What is not in options is set by Attach.
type module struct {
	options  Options
	host     *authmod.Host
	sheet    *authmod.Sheet
	codes    *authmod.Codes // nil without Send
	hashes   *gate
	failures *authmod.Limiter // of sign-ins, by address
	taken    *authmod.Limiter // of sign-ups whose address was taken
	made     *authmod.Limiter // of sign-ups, by network
	decoy    decoy
}

func (*module) Provider() string { return provider }

func (m *module) Attach(h *authmod.Host) {
	o := &m.options
	if o.MinLength == 0 {
		o.MinLength = defaultMinLength
	}
	if o.MinLength < 1 || o.MinLength > maxBytes/4 {
		h.Problem("MinLength is %d, and must be 1 to %d", o.MinLength, maxBytes/4)
	}
	if o.Crypto == nil {
		o.Crypto = Argon2id{}
	}
	if c, ok := o.Crypto.(interface{ check() error }); ok {
		if err := c.check(); err != nil {
			h.Problem("Crypto: %v", err)
		}
	}
	if o.MaxConcurrentHashes <= 0 {
		o.MaxConcurrentHashes = min(runtime.GOMAXPROCS(0), maxSlots)
	}
	if o.MaxFailures == 0 {
		o.MaxFailures = defaultFailures
	}
	if o.MaxSignUpsPerNetwork == 0 {
		o.MaxSignUpsPerNetwork = defaultSignUps
	}
	m.hashes = newGate(o.MaxConcurrentHashes, o.MaxConcurrentHashes*waitersPerSlot, patience)
	m.failures = authmod.NewLimiter(o.MaxFailures, time.Hour)
	m.taken = authmod.NewLimiter(o.MaxFailures*takenPerFailure, time.Hour)
	m.made = authmod.NewLimiter(o.MaxSignUpsPerNetwork, time.Hour)
	m.host, m.sheet = h, h.Profile(o.Profile)
	switch {
	case o.Send != nil:
		m.codes = h.Codes(authmod.CodeOptions{Send: o.Send, TTL: o.CodeTTL, Digits: o.CodeDigits})
	case o.Verify:
		h.Problem("Verify needs Send: there is nothing to send codes with")
	}
	h.BeforeAccount(m.checkAccount)
}

// SignIn answers by flow.
func (m *module) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	refuse := func(rule, message string) (authmod.Answer, error) {
		return authmod.Answer{}, authmod.Invalid(engine.Issue{Path: "flow", Rule: rule, Message: message})
	}
	switch flow := a.Flow(); flow {
	case "signUp":
		return m.signUp(a)
	case "signIn":
		return m.logIn(a)
	case "reset", "reset-verification":
		switch {
		case m.codes == nil:
			return refuse("enum", "is not available: the module has nothing to send mail with")
		case flow == "reset":
			return m.reset(a)
		}
		return m.setPassword(a)
	case "email-verification":
		if !m.options.Verify {
			return refuse("enum", "is not available: addresses are not verified here")
		}
		return m.verifyEmail(a)
	case "":
		return refuse("required", "is missing")
	}
	return refuse("enum", "is none of signUp, signIn, reset, reset-verification, email-verification")
}
