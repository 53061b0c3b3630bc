package password_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mimosadb/mimosa/authmod/password"
)

// Passwords that are easily guessed are refused beside short ones, with a text for the form.
func ExampleOptions() {
	leaked := map[string]bool{"correct horse battery staple": true}
	_ = password.New(password.Options{
		MinLength: 12,
		ValidatePassword: func(pw string) error {
			if leaked[strings.ToLower(pw)] {
				return errors.New("is on a list of leaked passwords")
			}
			return nil
		},
	})
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
