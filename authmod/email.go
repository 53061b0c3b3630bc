package authmod

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The limits of RFC 5321, section 4.5.3.1, in bytes.
const (
	maxEmail = 254
	maxLocal = 64
	maxLabel = 63
)

// NormalizeEmail returns the form under which an e-mail address is stored, compared and written to: without surrounding white
// space, in Unicode's compatibility form, in lower case. Two spellings of one form are one account, and mail always goes to
// the normalised form, so that nobody gets mail for an account whose address merely looks like theirs. It is idempotent, and
// says nothing about whether the address is well-formed: ValidEmail does.
func NormalizeEmail(s string) string {
	// Lowering may decompose (İ) and composing may give capitals (fullwidth forms), hence both, twice.
	for range 2 {
		s = strings.ToLower(norm.NFKC.String(strings.TrimSpace(s)))
	}
	return norm.NFKC.String(s)
}

// VouchedEmail is the address, normalised, that somebody has proved if a service elsewhere says that they have proved s; "" if
// that is none. It is none where the normal form differs by more than the case of ASCII letters: what the service has sent its
// mail to was s, and "ａda@example.com" may be another mailbox than "ada@example.com".
func VouchedEmail(s string) string {
	email := NormalizeEmail(s)
	lower := func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	if !ValidEmail(email) || strings.Map(lower, strings.TrimSpace(s)) != email {
		return ""
	}
	return email
}

// ValidEmail says whether s, normalised, is an address that mail can be sent to over the Internet: a dot-atom of RFC 5322, an
// @, and a domain of at least two labels whose last is not a number. Quoted local parts, comments and literal addresses are
// refused; letters of any script are accepted (RFC 6531).
func ValidEmail(s string) bool {
	if len(s) > maxEmail || !utf8.ValidString(s) {
		return false
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(local) > maxLocal {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !atomRune(r) }) {
			return false
		}
	}
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if !validLabel(label) {
			return false
		}
	}
	return strings.ContainsFunc(labels[len(labels)-1], func(r rune) bool { return r < '0' || r > '9' })
}

func atomRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r))
}

func validLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(label, func(r rune) bool {
		return r != '-' && !(unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r))
	})
}
