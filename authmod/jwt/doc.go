// Package jwt accepts the sessions of a service elsewhere: Clerk, Auth0, WorkOS, Better Auth, or any that signs JSON Web Tokens
// and publishes its keys. Clients present the service's token where they would present Mimosa's own, with the setAuth of the
// client library that they use anyway; nothing of auth:signIn is involved.
//
//	o := jwt.Clerk("https://happy-otter-1.clerk.accounts.dev")
//	o.AuthorizedParties = []string{"https://app.example.com"}
//	o.Provision = authmod.NewMapping(func(c jwt.Claims, u *User) error {
//		u.Name, u.Email = c.Name, c.Email
//		return nil
//	})
//	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{jwt.New(o)}})
//
// # Who it is
//
// With Options.Provision, whoever presents a good token for the first time becomes a user: account and user, and all that the
// triggers of users write, are one transaction, which has committed when the client learns that it is signed in. Nobody waits
// for a webhook. Where a webhook comes all the same, it finds the account, or has made it: authmod's External holds both to the
// same rules. OnCreate fires once, however many sockets present a token at once. Triggers find the claims by authmod.Params,
// and authmod.SignIn has the flow "provision". What a trigger refuses refuses the token, with its code and text, and nothing is
// left.
//
// Without Provision users come from elsewhere, or are not kept at all: engine.Identity then has Issuer, Subject and Claims, and
// User is empty for whoever has no account. authmod.UserID answers unauthenticated for them.
//
// A user who is deleted, by the service's word or by the application, is nobody at once, on all devices: live queries run again
// as nobody. Neither the token that is still valid nor a newer one brings them back, unless [Module.Readmit] allows it.
//
// Identity.Claims has the token's claims without those that are different in each token: exp, nbf, iat, jti, nonce, at_hash,
// c_hash, s_hash and Options.IgnoreClaims. A refreshed token runs nothing again, unless what is left has changed.
//
// # What is checked
//
// The signature, by a key that the service publishes, and an algorithm of Options.Algorithms: never "none", never one with a
// shared secret. The key is found by kid; keys and addresses in a token's own header are not looked at, and a header that
// demands extensions (crit) is refused, and one of another type (typ) than Options.Types. Then iss, exactly; aud; azp, with
// Options.AuthorizedParties; exp, which there must be, and nbf and iat, all with Options.Leeway; sub, which there must be; and
// Options.Check. Tokens are refused with code unauthenticated, and the reason is in the log: 30 a minute at
// most, and how many more there were.
//
// # Keys
//
// The keys are fetched when the first token comes, so Open does not need the network, and again every 10 minutes. While that
// fails, those that are known are used, for a day at most. A token with a key that is not known has them fetched again, at most
// every 10 seconds, however many such tokens come; those that come meanwhile wait for the one answer. So a key that the service
// withdraws is accepted for up to 10 minutes, and a new one at once, or after 10 seconds. Where no keys could be fetched at
// all, the error is of code busy.
//
// # What is not promised
//
// A session that ends at the service is noticed when its token expires, since services tell nobody: a minute at Clerk, five at
// WorkOS, longer at others. To end it here at once, delete the user, or check something of your own in the functions.
// auth:signOut does nothing for such a session: the client signs out at the service, and presents no token then.
//
// # The services
//
// The presets follow what the services document:
//
//   - Clerk: https://clerk.com/docs/guides/sessions/session-tokens and …/manual-jwt-verification; what else its keys sign, at
//     https://clerk.com/docs/guides/development/machine-auth/token-formats
//   - Auth0: https://auth0.com/docs/secure/tokens/access-tokens/validate-access-tokens
//   - WorkOS: https://workos.com/docs/reference/authkit/session-tokens; that iss has several forms, at
//     https://docs.convex.dev/auth/authkit
//   - Better Auth: https://better-auth.com/docs/plugins/jwt
//   - Auth.js encrypts its session cookie with a secret of its own and says that it is meant for the application that issued it
//     (https://authjs.dev/reference/core/jwt). What can be verified is the token of the identity provider behind it, such as
//     account.id_token: plain Options with that provider's issuer and, as the audience, the client's id.
package jwt
