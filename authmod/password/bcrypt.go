package password

import (
	"errors"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Bcrypt hashes come from elsewhere: none are made here, since bcrypt looks at the first 72 bytes of a password only and takes
// no memory to compute. They are verified, and replaced when their owner signs in.

const (
	// bcryptLength is that of "$2b$10$", 22 characters of salt and 31 of hash.
	bcryptLength = 60
	// maxBcryptCost bounds what one verification may ask for: each step doubles the time, and that of 16 takes seconds.
	maxBcryptCost = 16
)

// isBcrypt says whether a hash claims to be one of bcrypt.
func isBcrypt(hash string) bool { return strings.HasPrefix(hash, "$2") }

// checkBcrypt says whether a hash can be verified: it is whole, of a known version and of bearable cost. Version 2x marks
// hashes of an implementation that got letters beyond ASCII wrong, which nothing here could repeat.
func checkBcrypt(hash string) error {
	if len(hash) != bcryptLength || !strings.ContainsRune("aby", rune(hash[2])) || hash[3] != '$' || hash[6] != '$' {
		return ErrHash
	}
	for _, c := range []byte(hash[7:]) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '.' || c > '9') { // "." and "/" stand before "0"
			return ErrHash
		}
	}
	for _, c := range []byte(hash[4:6]) { // the package's own reading takes signs
		if c < '0' || c > '9' {
			return ErrHash
		}
	}
	if cost, err := bcrypt.Cost([]byte(hash)); err != nil || cost < bcrypt.MinCost || cost > maxBcryptCost {
		return ErrHash
	}
	return nil
}

// verifyBcrypt compares as bcrypt has always been used: by the first 72 bytes.
func verifyBcrypt(hash, password string) (bool, error) {
	if err := checkBcrypt(hash); err != nil {
		return false, err
	}
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, nil
	}
	return false, ErrHash
}
