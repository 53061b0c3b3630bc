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
//
// The flows reset, reset-verification and email-verification need a way to send mail and are refused with code invalid.
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
// That an address has an account can be found out by signing up with it. Whoever knows an address can keep its owner from
// signing in, for as long as they keep failing to: the alternative, no limit, is worse.
//
// A hash from elsewhere takes as long to verify as its parameters say. Until its owner has signed in, the time of an answer may
// tell that there is an account.
package password
