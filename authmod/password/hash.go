package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/scrypt"
)

// Crypto hashes passwords. It is called outside of transactions and must be safe for concurrent use. A hash says by itself
// how it was made, with which parameters and salt, so that hashes of several kinds can stand side by side.
type Crypto interface {
	// Hash makes a hash with a fresh salt.
	Hash(password string) (string, error)
	// Verify says whether hash is one of password. The error is for hashes that it cannot read, which are then
	// taken for wrong passwords, and for when it cannot verify anything.
	Verify(hash, password string) (bool, error)
}

// Rehasher is a Crypto that can tell an old hash from one that it would make itself. A password whose hash is outdated is
// hashed anew when its owner signs in.
type Rehasher interface {
	Outdated(hash string) bool
}

// Argon2id is the winner of the Password Hashing Competition (RFC 9106). Its hashes are PHC strings,
// "$argon2id$v=19$m=65536,t=2,p=1$salt$hash". It verifies those of Scrypt and of bcrypt too ("$2a$", "$2b$" and "$2y$", of a
// cost up to 16), which it calls outdated, so that one can go over from these by setting it. The zero value uses 64 MiB, two
// passes and one lane.
//
// Of a password that is longer than 72 bytes bcrypt has only ever looked at the first 72. So does its verification here, until
// the owner has signed in and the hash is one of the whole password.
type Argon2id struct {
	Memory  uint32 // in KiB
	Passes  uint32
	Threads uint8
}

// Scrypt is the function of RFC 7914. Its hashes are PHC strings, "$scrypt$ln=17,r=8,p=1$salt$hash". It verifies those of
// Argon2id and of bcrypt too, as Argon2id does. The zero value uses N = 2^17, r = 8 and p = 1, which takes 128 MiB.
type Scrypt struct {
	LogN uint8
	R, P int
}

const (
	saltBytes = 16
	hashBytes = 32

	// A stored hash, which may come from an import, cannot ask for more than this much work; maxBcryptCost is bcrypt's.
	maxMemoryKiB = 4 << 20
	maxPasses    = 100
	maxHashText  = 1 << 10
)

// ErrHash says that a stored hash is none that can be read.
var ErrHash = errors.New("password: the stored hash is malformed, of an unknown kind, or asks for too much work")

func (c Argon2id) withDefaults() Argon2id {
	if c.Memory == 0 {
		c.Memory = 64 << 10
	}
	if c.Passes == 0 {
		c.Passes = 2
	}
	if c.Threads == 0 {
		c.Threads = 1
	}
	return c
}

func (c Argon2id) check() error {
	if c = c.withDefaults(); c.Memory < 8*uint32(c.Threads) || c.Memory > maxMemoryKiB || c.Passes > maxPasses {
		return fmt.Errorf("argon2id wants 8 KiB a thread to %d KiB of memory and 1 to %d passes", maxMemoryKiB, maxPasses)
	}
	return nil
}

// Hash implements Crypto.
func (c Argon2id) Hash(password string) (string, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return "", err
	}
	salt := newSalt()
	sum := argon2.IDKey([]byte(password), salt, c.Passes, c.Memory, c.Threads, hashBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Passes, c.Threads, b64(salt), b64(sum)), nil
}

// Verify implements Crypto.
func (c Argon2id) Verify(hash, password string) (bool, error) { return verify(hash, password) }

// Outdated implements Rehasher: a hash of another kind, or with other parameters.
func (c Argon2id) Outdated(hash string) bool {
	if isBcrypt(hash) {
		return checkBcrypt(hash) == nil
	}
	p, err := parse(hash)
	return err == nil && p.argon != c.withDefaults()
}

func (c Scrypt) withDefaults() Scrypt {
	if c.LogN == 0 {
		c.LogN = 17
	}
	if c.R == 0 {
		c.R = 8
	}
	if c.P == 0 {
		c.P = 1
	}
	return c
}

// check bounds memory, 128·N·r bytes, and work, p times that.
func (c Scrypt) check() error {
	c = c.withDefaults()
	if c.LogN > 30 || c.R < 1 || c.R > 1<<10 || c.P < 1 || c.P > maxPasses {
		return errors.New("scrypt wants LogN of 1 to 30, R of 1 to 1,024 and P of 1 to 100")
	}
	if hi, lo := bits.Mul64(128<<c.LogN, uint64(c.R)); hi > 0 || lo > maxMemoryKiB<<10 {
		return fmt.Errorf("scrypt is limited to %d KiB of memory", maxMemoryKiB)
	}
	return nil
}

// Hash implements Crypto.
func (c Scrypt) Hash(password string) (string, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return "", err
	}
	salt := newSalt()
	sum, err := scrypt.Key([]byte(password), salt, 1<<c.LogN, c.R, c.P, hashBytes)
	if err != nil {
		return "", fmt.Errorf("password: scrypt: %w", err)
	}
	return fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", c.LogN, c.R, c.P, b64(salt), b64(sum)), nil
}

// Verify implements Crypto.
func (c Scrypt) Verify(hash, password string) (bool, error) { return verify(hash, password) }

// Outdated implements Rehasher.
func (c Scrypt) Outdated(hash string) bool {
	if isBcrypt(hash) {
		return checkBcrypt(hash) == nil
	}
	p, err := parse(hash)
	return err == nil && p.scrypt != c.withDefaults()
}

// readable says whether a hash is one that verify takes.
func readable(hash string) bool {
	if isBcrypt(hash) {
		return checkBcrypt(hash) == nil
	}
	_, err := parse(hash)
	return err == nil
}

// phc is a parsed hash; one of argon and scrypt is set.
type phc struct {
	argon     Argon2id
	scrypt    Scrypt
	salt, sum []byte
}

func verify(hash, password string) (bool, error) {
	if isBcrypt(hash) {
		return verifyBcrypt(hash, password)
	}
	p, err := parse(hash)
	if err != nil {
		return false, err
	}
	var got []byte
	if p.argon != (Argon2id{}) {
		got = argon2.IDKey([]byte(password), p.salt, p.argon.Passes, p.argon.Memory, p.argon.Threads, uint32(len(p.sum)))
	} else if got, err = scrypt.Key([]byte(password), p.salt, 1<<p.scrypt.LogN, p.scrypt.R, p.scrypt.P, len(p.sum)); err != nil {
		return false, ErrHash
	}
	return subtle.ConstantTimeCompare(got, p.sum) == 1, nil
}

// parse reads a PHC string: $id[$v=version]$params$salt$hash, in unpadded base64.
func parse(hash string) (phc, error) {
	var p phc
	parts := strings.Split(hash, "$")
	if len(hash) > maxHashText || len(parts) < 5 || parts[0] != "" {
		return p, ErrHash
	}
	id, rest := parts[1], parts[2:]
	var ok bool
	switch {
	case id == "argon2id" && len(rest) == 4 && rest[0] == "v="+strconv.Itoa(argon2.Version):
		var n [3]uint64
		n, ok = numbers(rest[1], "m", "t", "p")
		ok = ok && n[0] <= maxMemoryKiB && n[1] <= maxPasses && n[2] <= 255
		p.argon = Argon2id{Memory: uint32(n[0]), Passes: uint32(n[1]), Threads: uint8(n[2])}
		ok = ok && p.argon.check() == nil
		rest = rest[2:]
	case id == "scrypt" && len(rest) == 3:
		var n [3]uint64
		n, ok = numbers(rest[0], "ln", "r", "p")
		ok = ok && n[0] <= 30 && n[1] <= 1<<10 && n[2] <= maxPasses
		p.scrypt = Scrypt{LogN: uint8(n[0]), R: int(n[1]), P: int(n[2])}
		ok = ok && p.scrypt.check() == nil
		rest = rest[1:]
	}
	if !ok {
		return phc{}, ErrHash
	}
	var saltErr, sumErr error
	p.salt, saltErr = base64.RawStdEncoding.DecodeString(rest[0])
	p.sum, sumErr = base64.RawStdEncoding.DecodeString(rest[1])
	// A hash of no or few bytes would fit any or many passwords.
	if saltErr != nil || sumErr != nil || len(p.salt) < 8 || len(p.sum) < 16 {
		return phc{}, ErrHash
	}
	return p, nil
}

// numbers reads "m=65536,t=2,p=1", in this order, all at least 1.
func numbers(s string, names ...string) (out [3]uint64, ok bool) {
	parts := strings.Split(s, ",")
	if len(parts) != len(names) {
		return out, false
	}
	for i, part := range parts {
		name, digits, found := strings.Cut(part, "=")
		n, err := strconv.ParseUint(digits, 10, 32)
		if !found || name != names[i] || err != nil || n == 0 {
			return out, false
		}
		out[i] = n
	}
	return out, true
}

func newSalt() []byte {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails: crypto/rand ends the program instead
	return salt
}

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }
