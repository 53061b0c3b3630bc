// Package oauth is the module of authmod that signs people in by GitHub, Google, and any other provider of OpenID Connect.
//
//	authmod.New(s, users, authmod.Options{
//		BaseURL: "https://api.example.com", // where Auth.Handler is served
//		SiteURL: "https://app.example.com", // where the pages are
//		Modules: []authmod.Module{
//			oauth.GitHub(oauth.Options{ClientID: "…", ClientSecret: os.Getenv("GITHUB_SECRET")}),
//			oauth.OIDC("school", "https://login.school.example", oauth.Options{…}),
//		},
//	})
//
// The address to register with the provider is {BaseURL}/api/auth/{provider}/callback.
//
// A sign-in takes three steps:
//
//   - The page calls auth:signIn with {provider: "github", params: {redirectTo?, …}}. The answer is {redirect, verifier}: the
//     page keeps verifier and goes to redirect. Parameters beside redirectTo are the profile's. They are checked then, if there
//     are any, so that a form can show what is wrong, and reach triggers by authmod.Params when the person has come back.
//   - The provider sends the browser to the callback, which finds out who it is and sends the browser on to redirectTo, with
//     the parameter code, or error: "access_denied" when the person did not want to, others of OAuth, "invalid_state" when the
//     sign-in is not known or over, "provider_failed", or "internal". What the address had of a query stays.
//   - The page calls auth:signIn with {params: {code}, verifier}. The answer has tokens. Account, user, session, and what
//     triggers write are one transaction, in which the code is used up.
//
// With the flow "link" the account at the provider is given to whoever makes the first call. They must be signed in, and still
// be when the last call comes, whose answer is {linked: true}. It is already_exists when the account belongs to somebody else,
// and forbidden when somebody else has signed in meanwhile, or nobody is.
//
// # What is guaranteed
//
// An account goes by what the provider never gives to somebody else: the claim sub, GitHub's numeric id. A verified address
// links it to the user who has proved the same one before (see authmod.Completion.VerifiedEmail); one that is not verified does
// nothing.
//
// The three steps have a secret each, of 256 bits: state goes through the provider, verifier stays in the browser, code comes
// back in an address. Each is good once, state for 10 minutes, code for 5, and of all that come with one at the same time one
// gets on. So a code that somebody else's browser got, an answer that was seen on the way, or one that was put into somebody's
// browser, is of no use. PKCE (S256) and nonce are made of state and a salt; the database holds hashes and the salt, so neither
// it nor an address alone is enough.
//
// An ID token is verified: signature by an asymmetric algorithm that the provider announces, issuer, audience, authorized
// party, expiry, nonce, access token's hash; the parameter iss (RFC 9207) wherever there is one. People are sent back to the
// allow-list of Options.RedirectTo alone. The callback's address is Options.CallbackURL, whatever a request says about its
// host. Client secrets are in the options alone, and what is logged of errors has no code, token or secret in it.
//
// Requests to providers are bounded in time and size. A provider that is down costs those who sign in by it an error, of code
// busy or provider_failed.
//
// # What is not promised
//
// Tokens of the provider are used to find out who it is, and are not kept: a program that wants to act for people at the
// provider needs a flow of its own. A sign-out does not sign out at the provider. A code whose redemption succeeded and whose
// answer was lost is used up; the person signs in again, which providers make short.
package oauth
