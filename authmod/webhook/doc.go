// Package webhook is the module of authmod that keeps the application's users in step with a service elsewhere: Clerk,
// WorkOS, or any sender that keeps to Standard Webhooks.
//
//	authmod.New(s, users, authmod.Options{Modules: []authmod.Module{
//		webhook.Clerk(webhook.Options{
//			Secrets: []string{os.Getenv("CLERK_WEBHOOK_SIGNING_SECRET")},
//			Users: authmod.NewMapping(func(in webhook.ClerkUser, u *User) error {
//				u.UserFields = in.Fields() // email, emailVerified, name, image
//				u.Banned = in.Banned
//				return nil
//			}),
//		}),
//	}})
//
// Auth.Handler takes deliveries at /api/auth/clerk-webhook; that address, behind the program's own, goes into the sender's
// dashboard, with the events user.created, user.updated and user.deleted, and what Options.On is about.
//
// # What is guaranteed
//
// An event takes effect once, however often and at however many connections at once it is delivered: its id is written in the
// transaction in which the users' document is, and all that the document's triggers write. OnCreate fires when the user is
// created, OnUpdate when an event changes the document, OnDelete when it is deleted; authmod.SignIn is nil in them, since
// nobody signs in. If anything in it fails, nothing of it has happened.
//
// 200 is answered when that is durable, and not before. A program that is killed in between has done it, and knows when the
// event comes again.
//
// The order of deliveries does not matter. An update that is older than what is known of a user changes nothing, and nothing
// brings back a user who was deleted, by the service or by the application, not even their creation if it comes after;
// [Module.Readmit] lets them in again. A user whose token came first (package jwt, under the same Provider) is updated, and
// not created again.
//
// Nothing is looked at that is not signed: HMAC-SHA256 over the body byte by byte, compared in constant time, by any of
// Options.Secrets, at most five minutes ago or ahead by the database's clock. Bodies have at most 1 MiB.
//
// # Answers
//
// A sender goes on sending whatever is not answered with a 2xx: Svix, which sends for Clerk, eight times within about 28
// hours (https://docs.svix.com/retries), WorkOS 12 times within 3 days
// (https://workos.com/docs/events/data-syncing/webhooks). Svix switches off an address at which everything fails for five days.
//
//	200 {"outcome": …}  applied; duplicate: it was before; stale: something newer is known, or the user is gone; ignored:
//	                    nothing here is concerned with events of its type
//	400 invalid         a header is missing or malformed, the time is too far away, or the body is no event; issues say where
//	401 unauthenticated no signature is of a key that is known here
//	404, 405, 413       another path, another method than POST, a larger body
//	422 and a code      a trigger, a function of Options.On or the schema refuses, with its own code, message and issues
//	503 busy            it may do next time: too much load, a full disk, the database is closing; Retry-After is set
//	500 internal        anything else; the log has it, with the event's id
//
// A refusal that is meant to last, such as a person who may not have an account here, is better no error: let the mapping
// mark the document, and its triggers do nothing. As an error it is sent again for days.
//
// Each delivery that is signed and refused is a line of the log, with the event's id and type; those that are not signed are
// at most 30 lines a minute, with a count of the others. No line has bodies, addresses, signatures or secrets; what a
// trigger's own error says is in it.
//
// # Bans and sessions
//
// Clerk tells of a ban by user.updated with banned: map it into the user's document, and ask for it where it matters; live
// queries that read the document run again at once. A ban or a revoked session does not take back a token of Clerk's that is
// under way, which is valid for a minute; who wants to be quicker keeps a document for session.revoked by Options.On, and
// asks for the token's sid:
//
//	On: map[string]func(*engine.Tx, webhook.Event) error{
//		"session.revoked": func(tx *engine.Tx, e webhook.Event) error {
//			in, err := webhook.Decode[struct{ ID string `json:"id"` }](e)
//			if err != nil {
//				return err
//			}
//			_, err = revoked.Insert(tx, Revoked{Session: in.ID})
//			return err
//		},
//	},
//
// # What is not promised
//
// Users that the service had before the webhook was set up are not fetched: they come with their next event, or with their
// token. Of two updates that the service stamps with the same millisecond the last to be delivered stands. An event that is
// sent again by hand after Options.Keep is taken for a new one; an old one changes no user then either, but functions of
// Options.On run. The asymmetric signatures of Standard Webhooks (v1a) are not verified.
package webhook
