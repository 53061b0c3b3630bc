// Package bench measures Mimosa from the outside: real websockets on loopback, the embedded store on disk with its fsyncs,
// in one process with its clients.
//
//	go test -run '^$' -bench . ./bench
//
// Figures are of the machine that they were taken on. They are for comparing two versions in one sitting, as a ratio; what
// one function costs is measured beside it, in its own package.
package bench
