// Command app is the server that the TypeScript client is tested against: counters, messages, values of every kind, errors of
// every kind, lists in pages, slow actions, and sign-in by password. It takes the flags of every program built on Mimosa
// (--addr, --data) and writes "listening on http://…" as its first line. The environment variable MIMOSA_TEST_ACCESS_TTL sets
// how long access tokens live, so that a test can see them renewed; MIMOSA_TEST_SERVICE is the address of a service whose tokens
// are accepted as Clerk's are. With MIMOSA_TEST_PRODUCTION set, clients are told as
// little of bugs as in production. Functions that are given a gate wait there until the test opens it: see gates.
//
// It is a test's helper and nothing to build on: it has no seed, its passwords are hashed cheaply, and by default errors tell all.
package main
