// Package anonymous is the module of authmod that lets people begin without saying who they are.
//
//	authmod.New(s, users, authmod.Options{Modules: []authmod.Module{
//		anonymous.New(anonymous.Options{}),
//		password.New(password.Options{}),
//	}})
//
// Clients call auth:signIn with {provider: "anonymous", params: {…}}. That makes a user, whose OnCreate triggers run, and a
// session. From then on the person is signed in as anybody is: what they write is theirs, live queries know them. Nobody else
// can become that user, and neither can they once the session is over.
//
// When somebody who is signed in like that signs up by another module, whichever, the user becomes theirs: it keeps its id, and
// with it all that belongs to it. What the sign-up's profile says is put into the user's document (OnUpdate runs, OnCreate does
// not), and the temporary account is gone. authmod.SignInInfo.Upgraded says so. It is the caller who counts: a link that is
// opened in another browser, where nobody is signed in, makes a new user.
//
// When they sign in to an account that is there already, or prove an address that somebody has proved before, they are that
// user from then on, and the temporary one is left behind. authmod.SignInInfo.Previous has its id, for OnSignIn to take along
// what it had.
//
// Signing in anonymously again goes on with the same user, in a new session. Whoever is signed in otherwise becomes a new
// anonymous user.
//
// # Who does not come back
//
// With Options.MaxAge, an hourly job deletes temporary users that are older than that and none of whose sessions can go on. It
// deletes their documents as the application would, triggers included, each in a transaction of its own; one whose deletion a
// trigger refuses is logged, and tried again the next hour. Without it nobody is deleted.
//
// # What is not promised
//
// A person is not limited to one anonymous user: new ones are limited by network alone, as Options.MaxPerNetwork says. A call
// whose answer was lost leaves a user behind, to be deleted with the others.
package anonymous
