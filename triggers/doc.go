// Package triggers runs typed functions when documents are created, updated and deleted, inside the transaction that does it.
//
//	users := engine.Define[User](s, "users")
//	enrolments := engine.Define[Enrolment](s, "enrolments")
//
//	triggers.BeforeCreate(users, "normalise", func(_ *engine.ReadTx, u *User) error {
//		u.Email = strings.ToLower(u.Email)
//		return nil
//	})
//	triggers.OnCreate(users, "enrol", func(tx *engine.Tx, u *engine.Doc[User]) error {
//		_, err := enrolments.Insert(tx, Enrolment{User: u.ID, Course: defaultCourse})
//		return err
//	})
//
// # Before
//
// Before triggers run before a change is validated and stored. They read, may change the document, and may refuse it with an
// error; an *engine.Error keeps its code. They run in the order of registration, each on what the one before it made. A
// refusal undoes the one write and nothing else: the transaction goes on if the function wants it to. A panic is no refusal
// and fails the mutation.
//
// # On
//
// On triggers run after the change is stored, and read and write in the same transaction: what they do is committed with it
// or not at all. OnCreate runs once in a document's life.
//
// A write applies at once; its On triggers are queued, first in, first out. A write made by the function returns when the
// queue is empty. A write made by a trigger returns before its own triggers run; they come after those that were queued
// earlier. So every trigger sees the changes in the order in which they were made; triggers of one change run in the order of
// registration. Each gets its own copy of the document as of its change; what has become of it since is a Get away.
//
// An update that changes nothing, before or after the Before triggers, runs no triggers and writes nothing.
//
// # Failure
//
// An error of an On trigger, or a panic of any, fails the whole mutation, even where the function that made the write ignores
// the error. It is an [*Error], which names the triggers that led to one another. Tx.Nested bounds it: a Nested whose trigger
// fails is rolled back and returns the error, which may then be ignored. The triggers of what is written in a Nested have all
// run when it returns, inside a trigger too.
//
// A chain of triggers that is longer than engine.Limits.CascadeDepth fails the mutation. All limits of a transaction hold for
// what its triggers read and write.
//
// # What it does not promise
//
// A mutation that meets a conflict is run again, and its triggers with it: what they do outside the transaction happens
// again. A trigger that wants something done after the commit
// inserts a document that says so, for whoever does it. Triggers do not run for documents that
// were there before they were registered.
//
// All registration belongs before engine.Open, on one goroutine. What is wrong with it is returned by Open, with file and
// line.
package triggers
