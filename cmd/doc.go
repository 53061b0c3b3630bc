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
//	check     check the data folder, and list all that is wrong with it
//	backup    write a backup, full or since an earlier one
//	restore   restore backups into an empty folder
//	export    write documents as JSON Lines
//	import    read documents from JSON Lines
//	version   print the version
//
// serve takes --addr (localhost:8787 by default: this machine alone can connect; ":8787" listens on all its addresses),
// --data (./mimosa-data), --allow-origin, --trust-proxy and --dev. One address then serves the calls and live queries under
// /api/, the client at /mimosa.js, the public keys of sign-in at /.well-known/jwks.json, the addresses at which identity
// providers and webhooks come in under /api/auth/, and the program's own page.
// --trust-proxy, for a program behind a proxy, says which addresses are the proxy's: an IP address, a network such as
// 10.0.0.0/8, loopback (127.0.0.0/8 and ::1) or private (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and fc00::/7); it may be
// given more than once. Limits on failed sign-ins then go by the clients that the proxy names in X-Forwarded-For, not by the
// proxy.
// --metrics HOST:PORT serves the metrics of the database, the Go runtime and the process to Prometheus, at /metrics of that
// address; whoever reaches it may read them. It is off by default.
//
// check, backup, export and import open the folder of --data, or, where a program serves it, ask that one, by a Unix socket in the
// folder (mimosa.sock, with the rights of the folder's files; there is none where the path is longer than 100 bytes). They
// run no scheduled function. The flag --help of each says what it takes:
//
//	program backup --out monday
//	program backup --since monday --out tuesday
//	program restore --data ./restored monday tuesday
//	program export --collection users --out users.jsonl
//	program import --existing skip users.jsonl
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
//   - check reads all that is stored, also where serve would refuse to start since documents break a schema that has changed.
//     It changes nothing, builds no index and runs no migration. Each fault is one line on standard output, with its kind in
//     front; how many there are is said on standard error, and the status is 1. Without any it is 0.
//   - Seed runs once in the life of a data folder, in one transaction.
//   - A file that backup or export writes has its name when it is whole and on disk, and replaces none without --force. Nobody but
//     its owner may read it.
//   - A restore that fails or is killed leaves a folder that no command opens; where the files are no backups, or not in order,
//     there is no folder.
//   - backup and export work where serve would refuse to start since documents break a schema that has changed, and on a full disk.
//
// # What it does not
//
// It speaks HTTP, not HTTPS: on a network, put it behind a proxy that does, and trust that. It has no access log.
package cmd
