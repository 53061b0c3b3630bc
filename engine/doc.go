// Package engine is Mimosa's database: collections of typed documents, indexes, queries, mutations and actions as Go functions,
// strictly serializable transactions, and the watches that live queries are made of.
//
//	type Message struct {
//		Room string `json:"room"`
//		Text string `json:"text" jsonschema:"minLength=1,maxLength=2000"`
//	}
//
//	func main() {
//		s := engine.NewSchema()
//		messages := engine.Define[Message](s, "messages")
//		byRoom := messages.AddIndex("byRoom", "room")
//
//		engine.Mutation(s, "messages:send", func(tx *engine.Tx, m Message) (engine.ID[Message], error) {
//			return messages.Insert(tx, m)
//		})
//
//		db, err := engine.Open(s, engine.Options{Dir: "data"})
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer db.Close()
//
//		err = db.View(context.Background(), func(r *engine.ReadTx) error {
//			for m, err := range byRoom.Eq(r, "hall").Desc().Limit(100).Docs() {
//				if err != nil {
//					return err
//				}
//				fmt.Println(m.Value.Text)
//			}
//			return nil
//		})
//		if err != nil {
//			log.Fatal(err)
//		}
//	}
//
// A program declares everything on a [Schema] and hands it to [Open], which returns all that is wrong with it at once. Package
// triggers adds typed triggers, subscriptions serves clients, authmod signs them in; package engine/enginetest opens databases
// for tests. engine/DESIGN.md says how it works.
//
// # What it guarantees
//
//   - Transactions are strictly serializable: they take effect one after the other, in an order in which one that began after
//     another was answered comes later. Ranges that were empty when they were scanned count as read.
//   - A mutation is answered when it is on disk (see [Durability]), and never before; so is one that only read, or failed, on a
//     state that is not on disk yet. Who begins afterwards sees it, queries included.
//   - What is stored satisfies the collection's schema and its unique indexes; what a function gets as arguments satisfies
//     theirs. Opening a database with a schema that stored documents break is refused, see [Migrate] and [Options.AllowInvalid].
//   - An index that can be queried has all its entries. One that is new is built while the database is used; until then a query on
//     it fails with [ErrIndexNotReady], and writes are checked against what a unique one has.
//   - A mutation that is sent with a [RequestID] takes effect once, however often it is sent, across restarts too. Its result is
//     kept for 30 days. After that a resend is refused with code unknown and not run, as long as its session is in use; of a
//     session that has committed nothing for 30 days nothing is known any more.
//   - A mutation that is scheduled runs exactly once, an action at most once an attempt, over restarts and crashes; see [Job].
//   - A [Watch] fires when a commit has written into what its evaluation read. It may fire without a difference in the result;
//     it does not miss one.
//   - Timestamps never go back: not by a restart, nor by a clock that is set back.
//   - No input of a client makes it panic, fails a commit, or is echoed in an error's message.
//
// # What it does not promise
//
//   - A function may run more than once before it is committed. What it does outside its transaction happens as often.
//   - A function that exceeds its time is given up, not stopped: Go has no way to. Its transaction is dead and its caller is
//     answered, but its goroutine runs on until it returns; [DB.Abandoned] counts them.
//   - Transactions are held in memory and are bounded, see [Limits] and what the store takes in one commit: they are for the
//     work of one request, not for bulk loads.
//   - Ids are not secret, and not dense. They tell when a document was created, and sort by it only as well as the machine's
//     clock does. That a document with an id exists is checked by nobody but who gets it.
//   - Strings are ordered by their UTF-8 bytes, not as a language orders them.
//   - One process opens a folder. A store that several processes share keeps mutations serializable across them, but a query
//     sees what others have committed only once its own process has committed something.
//   - A failed commit ends the database: everything afterwards is [ErrFailed], until it is reopened.
//
// Readers and transactions belong to the function that they were handed to. [DB] and everything that was registered is safe for
// concurrent use.
package engine
