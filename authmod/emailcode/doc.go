// Package emailcode is the module of authmod that signs people in by codes and links that are sent to their e-mail addresses.
//
//	authmod.New(s, users, authmod.Options{Modules: []authmod.Module{
//		emailcode.New(emailcode.Options{Send: send, Link: "https://app.example/signin"}),
//	}})
//
// A sign-in has two steps, and so have sign-ups, which are the same:
//
//  1. {provider: "emailcode", params: {email, …}} has a message sent. The answer is {started: true}, whether there is anybody of
//     that address or not, and everything else is the same too.
//  2. {provider: "emailcode", params: {email, code}} signs in by the code of the message, {params: {code}} without a provider by
//     that of its link. Whoever has no account yet gets one now, with a user.
//
// Both prove the address. authmod.Options tells what follows from that: the account is that of the user who has proved the same
// address before, by whatever module, else a new one.
//
// # What a form asks
//
// Parameters beside email are held against Options.Profile in the first step, and kept with the code until it is redeemed: they
// reach triggers, typed, in the transaction that makes the user. A client that does not know yet whether somebody is new passes
// email alone. If they are, and the profile asks for more, the second step answers with code invalid and the issues of the
// missing parameters, or what else the profile refuses with; the code is as good as before, and the client calls again with code
// and parameters. So the person hears that they are new when they have proved who they are, and nobody else does.
//
// # Adding an address
//
// With flow "link" in both steps, somebody who is signed in makes an address a way for them to sign in. The session goes on as
// it is; the answer is {linked: true}, or an error of code already_exists where somebody else signs in by it. Only the user who
// began can end it.
//
// # Codes
//
// A code has 8 digits and is good for 15 minutes, and once: however many try to redeem it at the same time, one signs in. It is
// drawn when it is sent and kept as a hash. All codes of an address that have not expired are good, since messages overtake
// each other; to redeem one ends them all. Five wrong codes end those that were sent until then, and twenty in an hour all
// typing of codes for that address, the right ones included; links go on working, so that whoever guesses does not keep the
// owner out. Guesses count for the network of the caller too (authmod.Options.MaxFailuresPerNetwork), and messages are limited
// by address and network (MaxSendsPerAddress, MaxSendsPerNetwork).
//
// # Links
//
// A link leads to a page of the application, which passes the parameter code to auth:signIn, as the client of Convex Auth does
// by itself. The database does nothing when the page is fetched. Mail scanners that run a page's scripts redeem the link of one
// that calls without being asked to: such a page should wait for the person to press a button.
//
// A link may be opened in another browser than it was asked for in, which is then signed in: people read their mail elsewhere.
// Whoever asks for a link can thus make somebody who opens it sign in with what the form said; so messages should say what they
// are for. With Options.SameDevice both steps must bring the same verifier, beside provider and params: 16 bytes at least,
// drawn by the client at random and kept by it meanwhile. Codes and links are then of use only there.
//
// # What is not promised
//
// That a message arrives. An answer that is lost when a code is redeemed leaves it used up: the person asks for another one.
// The address as such is no secret: whoever knows it can have five messages an hour sent there, so that its owner cannot ask for
// another one; the codes in them are good for the owner, but with SameDevice.
package emailcode
