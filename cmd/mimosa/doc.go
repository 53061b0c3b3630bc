// Command mimosa is a small school: people sign up for a course and talk in its room. It shows what a program built on Mimosa
// looks like: school.go holds its types, functions and triggers, web/ its page, and package cmd does the rest.
//
//	go run ./cmd/mimosa
package main
