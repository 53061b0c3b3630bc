// Package password is the module of authmod that signs people in by e-mail address and password.
//
//	authmod.New(s, users, authmod.Options{Modules: []authmod.Module{password.New(password.Options{})}})
//
// Clients call auth:signIn with {provider: "password", params: {flow, email, password, …}}:
//
//   - flow "signUp" makes account and user and signs in. Further parameters are the profile's, and reach triggers by
//     authmod.Params. All that is wrong with them, with the address and with the password comes in one error of code
//     invalid, with the form's names as paths. An address that has an account gets already_exists, and is never signed
//     in, but for the very call that made the account: sent again with its idempotencyKey and the same password, it gets
//     tokens of its session.
//   - flow "signIn" signs in. A wrong password and an unknown address get the same answer, unauthenticated, after the same
//     work. Too many failures get busy.
//   - flow "reset" {email} sends a code, if there is an account, and answers {started: true}, if there is none too. Flow
//     "reset-verification" {email, code, newPassword} sets the password, ends all sessions of the user and signs in. Both need
//     Options.Send.
//   - flow "email-verification" {email, code} belongs to Options.Verify, see below.
//
// Addresses are normalised once (authmod.NormalizeEmail) and checked for their form; the account's id is the normalised
// address of the document that the profile made. Passwords are composed (NFC) and otherwise taken as they are, from
// Options.MinLength characters to 1,024 bytes. Nothing is asked of what they are composed of; they may not be the address, nor
// what it begins with, and a [Blocklist] refuses those that are guessed first.
//
// Hashing runs in the action, outside of any transaction, a bounded number at a time. The transaction that signs in checks
// that the hash is still the one that was verified. Hashes that are weaker than those of Options.Crypto are renewed on the
// occasion.
//
// # Codes
//
// Options.Send hands messages to whatever delivers them, see authmod.Sender. Their purposes are authmod.PurposeVerify,
// PurposeReset and PurposeExists, which has no code: somebody signed up with an address that has an account, and only the
// mailbox hears of it. Messages are sent by jobs when the transaction that asked for them has committed, and tried again, with
// another code, where sending fails; all codes of one message are good until they expire, and one redemption ends them, however
// many try at once. Codes lie nowhere but in the message: the database keeps hashes. What is wrong with a code, be it mistyped,
// used, expired or of another address, has one answer: code invalid, with an issue at the path code. All else that is wrong is
// said before a code is looked at.
//
// A reset is proof of the address. Where it is the first, so that somebody else may have prepared the account, the user also
// loses all other accounts but those that prove the same address.
//
// # Verification
//
// With Options.Verify, signUp makes user and account, so OnCreate runs, and signs nobody in: the answer is always {started:
// true}, after the same work, whether the address is free or not. What would refuse a new user, the profile or a trigger,
// refuses in any case, be it that a nickname is taken. email-verification signs in, and marks account and user as verified. A
// sign-in with the password of the newest sign-up sends another code and answers {started: true} too, within a day; after that
// one signs up again. That, too, is the same where the address has an account: its mailbox hears again that somebody signed up.
//
// Anybody may sign up with the address of anybody, before its owner or after. So password and form wait with the code that was
// sent for them, and the code that comes back decides which hold: if they are others than those of the first sign-up, its user
// is deleted, and one is made of the new form (OnDelete and OnCreate run; SignIn's Flow is "email-verification"). Where a user
// has proved the address by another module, no user is made, and the password becomes one of theirs. An anonymous user who
// signs up stays anonymous until the code is back.
//
// Mails look alike, and the owner may type in the code of a sign-up that was not theirs. A client therefore sends the password
// of the sign-up form along: email-verification {email, code, password}. It holds if it is the one that the code's sign-up
// chose. Without it, no password holds if there were sign-ups with different ones within a day: the owner is signed in, and
// sets one by reset.
//
// Accounts from before Verify was set are as good as they were. They are verified at the next sign-in, and nobody replaces
// them. Where the password that comes with the code is not the account's, it is somebody else who had signed up: their password,
// sessions and other accounts go.
//
// # Users from elsewhere
//
// A program that brings its users along inserts their documents, and for each an account with the hash that it has: argon2id,
// scrypt ("$scrypt$ln=…"), or bcrypt ("$2a$", "$2b$", "$2y$").
//
//	auth.Accounts().Insert(tx, authmod.Account{Provider: "password", ProviderAccountID: email, User: string(id), Secret: hash})
//
// The command import does the same with lines of JSON, {"provider": "password", "providerAccountId": …, "user": …, "secret":
// …}, for the collection authAccounts. Addresses are normalised, and hashes that cannot be verified refused, as the accounts
// are stored; where that was gone round, the password is wrong, and a line in the log names the account. Passwords are verified
// composed (NFC), so a hash of one that was not is of no use; such people, and those with other kinds of hashes, set a new
// password.
//
// # What is not promised
//
// Without Verify, that an address has an account can be found out by signing up with it. With it, an application whose users
// have a unique index on their address, or a trigger that looks whether it is taken, may still tell. Whoever knows an address can
// keep its owner from signing in, for as long as they keep failing to, and from having messages sent, by having five an hour sent:
// the alternative, no limit, is worse.
//
// A code out of a mail that came without one's doing, typed in without the password that one chose, gives the account to who
// signed up: nothing tells that from a sign-up of one's own. Users of sign-ups that nobody has verified stay until the code
// of another sign-up with the address comes back; an application that minds deletes them.
//
// A hash from elsewhere takes as long to verify as its parameters say. Until its owner has signed in, the time of an answer may
// tell that there is an account.
package password
