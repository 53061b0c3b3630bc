// Command gotest runs go test with the arguments given and prints what go test prints, but for the output of tests that
// passed. It fails where go test alone would pass too quietly: a package that has test files and ran no test, or no package
// at all. It lists every test that was skipped, with what it said, so that none is in silence.
//
//	go run ./scripts/gotest -race ./...
package main
