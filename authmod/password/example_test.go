package password_test

import (
	"fmt"
	"strings"

	"github.com/mimosadb/mimosa/authmod/password"
)

// Passwords that are guessed first are refused beside short ones. A program would read them from a file, or embed one.
func ExampleBlocklist() {
	listed, err := password.Blocklist(strings.NewReader("correct horse battery staple\nletmein letmein\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = password.New(password.Options{MinLength: 12, ValidatePassword: listed})
	fmt.Println(listed("Correct Horse Battery Staple") != nil, listed("the horse was correct") != nil)
	// Output: true false
}

// Hashes stand by themselves, for an import of accounts for instance.
func ExampleArgon2id() {
	hash, err := password.Argon2id{Memory: 19 << 10}.Hash("correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	right, err := password.Argon2id{}.Verify(hash, "correct horse battery staple")
	fmt.Println(hash[:31], right, err)
	// Output: $argon2id$v=19$m=19456,t=2,p=1$ true <nil>
}
