// Package clientjs carries the TypeScript client of Mimosa, built into one file, so that a program that embeds Mimosa can
// serve it to its own pages without npm or a bundler:
//
//	mux.Handle("/mimosa.js", clientjs.Handler())
//
// and in the page:
//
//	import { MimosaClient } from "/mimosa.js";
//	const client = new MimosaClient(location.origin);
//
// The file is dist/mimosa.js, built from src by "npm run build" and committed; "npm run check:dist" fails if it is not what
// its source gives. It belongs to the server it comes with: a page that loads it from there always speaks that server's
// version of the protocol.
//
// # What it does not promise
//
// Types for TypeScript are not served; programs that are compiled take the client from npm.
package clientjs
