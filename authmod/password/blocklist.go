package password

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/mimosadb/mimosa/engine"
)

// maxBlocklistLine bounds a line of a list: longer ones are no passwords, and the file probably is no list.
const maxBlocklistLine = 16 << 10

// Blocklist makes a function for Options.ValidatePassword that refuses the passwords of a list, which it reads to its end: one
// a line, in UTF-8, such as the most frequent ones of a leak. Lines end with "\n" or "\r\n"; empty ones are left out. There are
// no comments, since "#" begins passwords as well as any other character does, and white space is part of a password.
//
// Only whole passwords are compared, not parts of them, but without regard to case and to forms that Unicode calls compatible
// (NFKC with case folding): a list that has "password" refuses "PassWord" and "ｐａｓｓｗｏｒｄ" as well.
//
// It takes 8 bytes of memory an entry, whatever the length. For that entries are kept as random-seeded hashes of 64 bits, so
// that a password that is not listed is refused all the same with a chance of one in 18 million million for a list of a
// million. The error is that of r, or says which line is too long.
func Blocklist(r io.Reader) (func(password string) error, error) {
	b := blocklist{seed: maphash.MakeSeed()}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), maxBlocklistLine)
	n := 0
	for ; lines.Scan(); n++ {
		line := lines.Text()
		if n == 0 {
			line = strings.TrimPrefix(line, "\ufeff") // as some editors begin a file
		}
		if line != "" {
			b.hashes = append(b.hashes, b.hash(line))
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("password: line %d of the blocklist is longer than %d bytes", n+1, maxBlocklistLine)
	case err != nil:
		return nil, fmt.Errorf("password: blocklist: %w", err)
	}
	slices.Sort(b.hashes)
	b.hashes = slices.Clone(slices.Compact(b.hashes)) // without the room that appending has left
	return b.validate, nil
}

// blocklist is a set of passwords. It does not change.
type blocklist struct {
	seed   maphash.Seed
	hashes []uint64 // sorted
}

func (b *blocklist) hash(password string) uint64 { return maphash.String(b.seed, folded(password)) }

func (b *blocklist) validate(password string) error {
	if _, listed := slices.BinarySearch(b.hashes, b.hash(password)); !listed {
		return nil
	}
	return engine.Errorf(engine.CodeInvalid, "the password is on a list").WithIssues(engine.Issue{
		Rule: "blocklist", Message: "is on a list of passwords that are guessed first",
	})
}

// folded is the form in which passwords are compared with what is not to be a password. It is never hashed and stored.
func folded(s string) string {
	if ascii(s) { // as most entries of most lists are
		return strings.ToLower(s)
	}
	// Folding may decompose, and composing may give letters to fold.
	for range 2 {
		s = cases.Fold().String(norm.NFKC.String(s))
	}
	return norm.NFKC.String(s)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// resembles says whether a password is the e-mail address of its owner, or what stands before the @.
func resembles(password, email string) bool {
	password, email = folded(password), folded(email)
	local, _, _ := strings.Cut(email, "@")
	return email != "" && (password == email || password == local)
}
