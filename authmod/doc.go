// Package authmod signs people in: accounts, sessions and tokens, with the users collection remaining the application's own.
//
//	type User struct {
//		authmod.UserFields        // email, emailVerified, name, image
//		Nickname string `json:"nickname"`
//	}
//	type SignUp struct {
//		Email    string `json:"email"`
//		Nickname string `json:"nickname" jsonschema:"minLength=2"`
//		Course   string `json:"course"`
//	}
//
//	users := engine.Define[User](s, "users")
//	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{
//		password.New(password.Options{Profile: authmod.NewProfile(func(p SignUp) (User, error) {
//			return User{UserFields: authmod.UserFields{Email: p.Email}, Nickname: p.Nickname}, nil
//		})}),
//	}})
//	triggers.OnCreate(users, "enrol", func(tx *engine.Tx, u *engine.Doc[User]) error {
//		p, err := authmod.Params[SignUp](tx) // what the form asked, typed
//		…
//	})
//
// README.md beside this file has a whole program for each kit that people come with, and a table of what runs when.
//
// Clients call the actions auth:signIn and auth:signOut and the query auth:isAuthenticated, whose shapes are those that the
// client libraries of Convex Auth expect. Functions ask who runs them by engine.Reader's Identity, or by [UserID].
//
// # What is guaranteed
//
// A new account becomes that of the user who has proved the same e-mail address before; an address that nobody has proved links
// nothing. A signed-in person links accounts of any address themselves, by modules that let them ([Link]), and takes them away
// again by auth:unlink.
//
// Account, user, session and refresh token, and all that triggers write because of them, are one transaction: all of it
// happens or none. A trigger's error refuses the sign-up and reaches the client as it is. OnCreate of the users collection
// fires once in a user's life, never on a later sign-in, which changes nothing about the user.
//
// A session ends for everybody at the commit that ends it: sign-out, with the session's own access token or later with
// auth:signOut {refreshToken}, a sign-in in its place, [Auth.RevokeSessions], the deletion of its user. Whatever asked for the
// identity is run again then. A refresh of the tokens runs nothing again. People see their sessions by the query auth:sessions and
// end them by auth:revokeSession and auth:revokeOtherSessions.
//
// A sign-up may be sent again when its answer was lost, with the same idempotencyKey beside provider and params: it happens
// once, and whoever proves the same password goes on with its session. This holds for a day, for modules that ask
// [Attempt.Resent]; the password module does.
//
// Passwords, one-time codes, refresh tokens and access tokens are neither stored nor logged; refresh tokens and codes are kept as
// hashes, passwords as their module hashes them.
//
// # Tokens
//
// An access token is a JWT signed with ES256, by a key that the database keeps: iss, aud, sub (the user's id), sid (the
// session's), jti, iat and exp. It is valid for Options.AccessTTL and never beyond its session. Other services verify it by the
// keys that [Auth.Handler] publishes; they learn of a session's end only when the token expires.
//
// A refresh token is random, opaque, and exchanged for a new one at each use: auth:signIn with {refreshToken}. Within 10
// seconds of its first use, or as long as none of the tokens it was exchanged for has been used, it may be presented again and
// gets another one, since answers get lost and tabs race. Presented later than that, it is in two hands: the session ends. A
// token that is of no use is answered with {tokens: null}, never with an error.
//
// # Writing a module
//
// A [Module] has a name, registers what it needs in Attach, and answers in SignIn:
//
//   - [Started] and [Redirect] where the sign-in goes on elsewhere. What the client has to bring back arrives in
//     [Attempt.Verifier] and [Attempt.Reserved]("code"); a code without a provider is offered to every [Redeemer].
//   - [Attempt.Complete] once the module is satisfied of who it is: it makes the session in one transaction and answers with
//     tokens. The [Completion] says whether there has to be an account already. Its user comes from [Sheet.Check], by way of
//     [Host.Profile]. A module whose own documents belong to the transaction is a [Joiner].
//   - [Endpoint] where requests come in by HTTP: the way back from an identity provider, a webhook. [Auth.Handler] serves it.
//   - [TokenVerifier] where clients present tokens that a service elsewhere signs, and [Host.External] for its people.
//   - [Invalid] where the parameters are wrong, an engine.Errorf of another code where the person is.
//
// A module stores parameters of a sign-up that ends later ([Attempt.Params]) beside what it waits for, and hands them to
// Complete, so that triggers get them whatever the way. [Attempt.Guard] bounds guesses, by what they are about and by the
// caller's network, and [Attempt.AllowSend] what is sent to people who may not have asked. A module that makes accounts and
// finds one already there asks [Attempt.Resent] whether it was made by the same call.
//
// # What is not promised
//
// Messages are sent by a function of the program's, see [Sender]. Rates are counted by process and forgotten at its end.
// There is one signing key a database, and no rotation of it yet. Whoever can write to the database's files, or read them
// where Options.KeySecret is not set, can sign in as anybody.
package authmod
