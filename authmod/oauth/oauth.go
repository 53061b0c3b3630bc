package oauth

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mimosadb/mimosa/authmod"
)

// Options configure a provider. ClientID is needed, and where authmod.Options.BaseURL is not set, CallbackURL.
type Options struct {
	// ClientID and ClientSecret are what the provider gave the program when it was registered there. Neither is stored. A
	// provider that takes clients without a secret goes by PKCE alone.
	ClientID, ClientSecret string
	// Scopes are asked for beside those that say who somebody is.
	Scopes []string
	// AuthParams are further parameters of the address at which people sign in, such as prompt or hd.
	AuthParams map[string]string
	// CallbackURL is where the provider sends people back, as it was registered there: by default
	// {authmod.Options.BaseURL}/api/auth/{provider}/callback. Another address has to lead there.
	CallbackURL string
	// RedirectTo are addresses to which a sign-in may ask to come back (its parameter redirectTo), beside authmod.Options.SiteURL,
	// which is where it comes back without asking: "https://app.example.com" and all below it, or
	// "https://app.example.com/welcome" and what lies below that, or one of an application on a telephone,
	// "com.example.app://auth".
	RedirectTo []string
	// Profile makes the user document of somebody who signs up: see NewProfile. Without one, users have the address, name and
	// image that the provider knows, and all parameters are for triggers to look at.
	Profile Profile
	// DistrustEmail takes no address for verified, whatever the provider says: for providers where people or their organisations
	// set addresses themselves. Then accounts are never linked by address.
	DistrustEmail bool
	// MaxStartsPerNetwork is how many sign-ins may begin from one network in an hour, since each is a document until it is
	// over; 600 by default, and -1 is no limit.
	MaxStartsPerNetwork int
	// HTTPClient is what the provider is asked by. Its answers are bounded to 512 KiB, and redirects are not followed unless it
	// has a CheckRedirect.
	HTTPClient *http.Client
	// Timeout bounds all that is asked of the provider in one step of a sign-in; 10 seconds by default.
	Timeout time.Duration
}

const (
	defaultStarts  = 600
	defaultTimeout = 10 * time.Second
)

// GitHub signs in by GitHub; the provider's name is "github". Accounts go by GitHub's numeric user id. The address is the
// primary one, and verified if GitHub says so.
func GitHub(o Options) authmod.Module { return newModule("github", github{}, o) }

// Google signs in by Google; the provider's name is "google".
func Google(o Options) authmod.Module { return OIDC("google", "https://accounts.google.com", o) }

// OIDC signs in by any provider of OpenID Connect that has Discovery. name is how clients ask for it, and part of the key of
// its accounts, so it belongs to this issuer for good. issuer is spelled as the provider spells it. A provider's word that an
// address is verified links accounts, so it must be one that is to be trusted with that: see Options.DistrustEmail.
func OIDC(name, issuer string, o Options) authmod.Module {
	return newModule(name, newOpenID(issuer), o)
}

// provider is what differs between providers. All of it is called outside of transactions, by many at once.
type provider interface {
	// problem says what is wrong with how the provider was made.
	problem() string
	scopes() []string
	endpoint(ctx context.Context, c *http.Client) (endpoint, error)
	// person finds out who somebody is by the token that was given for them.
	person(ctx context.Context, c *http.Client, q question) (Person, error)
}

// endpoint is where a provider is found.
type endpoint struct {
	oauth2.Endpoint
	// issuer is what the parameter iss of its answers says, and announcesIssuer that they always have one: RFC 9207.
	issuer          string
	announcesIssuer bool
}

// module is the Module. What is not in options is set by Attach.
type module struct {
	name     string
	provider provider
	options  Options
	callback string
	targets  targets
	client   *http.Client
	sheet    *authmod.SheetFor[Person]
	starts   *authmod.Limiter // of sign-ins that begin, by network
	pending  *pendings
}

func newModule(name string, p provider, o Options) *module {
	return &module{name: name, provider: p, options: o}
}

func (m *module) Provider() string { return m.name }

func (m *module) Attach(h *authmod.Host) {
	o := &m.options
	if o.ClientID == "" {
		h.Problem("ClientID is missing")
	}
	if p := m.provider.problem(); p != "" {
		h.Problem("%s", p)
	}
	if m.callback = o.CallbackURL; m.callback == "" && h.Endpoint() != "" {
		m.callback = h.Endpoint() + "/callback"
	}
	if u, err := url.Parse(m.callback); err != nil || u.Scheme == "" || u.Host == "" {
		h.Problem("there is no address for the provider to send people back to: set authmod.Options.BaseURL, or CallbackURL")
	}
	var wrong []string
	if m.targets, wrong = newTargets(h.SiteURL(), o.RedirectTo); len(wrong) > 0 {
		h.Problem("RedirectTo: %q: each is an address such as https://app.example.com/welcome, without a query", wrong)
	} else if m.targets.home == "" {
		h.Problem("there is nowhere for people to come back to: set authmod.Options.SiteURL, or RedirectTo")
	}
	for _, name := range slices.Sorted(maps.Keys(o.AuthParams)) {
		if slices.Contains(ownParams, strings.ToLower(name)) {
			h.Problem("AuthParams has %q, which the module sets itself", name)
		}
	}
	o.MaxStartsPerNetwork = cmp.Or(o.MaxStartsPerNetwork, defaultStarts)
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	m.client = newClient(o.HTTPClient, o.Timeout)
	m.starts = authmod.NewLimiter(o.MaxStartsPerNetwork, time.Hour)
	m.sheet = authmod.BindProfile(h, o.Profile, Person.userFields)
	m.pending = pendingsOf(h)
}

// ownParams are the parameters of the address at which people sign in that Options.AuthParams may not set.
var ownParams = []string{
	"client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge",
	"code_challenge_method", "request", "request_uri", "registration",
}

// config is what x/oauth2 needs to know.
func (m *module) config(e endpoint) *oauth2.Config {
	return &oauth2.Config{
		ClientID: m.options.ClientID, ClientSecret: m.options.ClientSecret, Endpoint: e.Endpoint, RedirectURL: m.callback,
		Scopes: slices.Compact(slices.Concat(m.provider.scopes(), m.options.Scopes)),
	}
}
