// Package cmd is the command line that every program built on Mimosa gets: a program declares its collections, functions and
// triggers on a schema and hands it to Main.
//
//	//go:embed web
//	var web embed.FS
//
//	func main() {
//		s := engine.NewSchema()
//		// … engine.Define, engine.Query, engine.Mutation, triggers.OnCreate …
//		page, _ := fs.Sub(web, "web")
//		cmd.Main(cmd.App{Schema: s, Static: page})
//	}
//
// The program then has these commands:
//
//	serve     serve the application; what the program does when no command is given
//	check     check the data folder, documents against indexes
//	version   print the version
//
// serve takes --addr (localhost:8787 by default: this machine alone can connect; ":8787" listens on all its addresses),
// --data (./mimosa-data), --allow-origin and --dev. One address then serves the calls and live queries under /api/, the
// client at /mimosa.js, the public keys of sign-in at /.well-known/jwks.json, and the program's own page.
//
// # What it guarantees
//
//   - The first line on standard output is "listening on http://host:port", written when connections are accepted. With port
//     0 it names the port that was chosen. Nothing else is written there; logs go to standard error.
//   - What a person can do something about, a flag that does not exist or whose value cannot be right, a port or a data
//     folder in use, a folder that cannot be written to, a full disk, is one line on standard error and a status other than
//     0: 2 for a wrong command line, 1 for all else.
//   - Ctrl-C and SIGTERM end it in order: nothing new is taken in, running calls get up to ten seconds, sockets are told to
//     connect again, the database is closed, and the status is 0. A second one ends it at once, with 130; the database
//     recovers at the next start.
//   - Seed runs once in the life of a data folder, in one transaction.
//
// # What it does not
//
// It speaks HTTP, not HTTPS: on a network, put it behind a proxy that does. It has no access log.
package cmd
