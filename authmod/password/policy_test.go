package password_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

// An address, or what it begins with, is no password for it. Parts of a password may be what they like.
func TestPasswordIsNotTheAddress(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{MinLength: 8})
	for _, c := range []struct{ email, password, rule string }{
		{"ada.lovelace@example.com", "ada.lovelace@example.com", "email"},
		{"ada.lovelace@example.com", "ada.lovelace", "email"},
		{"ada.lovelace@example.com", "Ada.LOVELACE", "email"},
		{" ADA.lovelace@example.com", "ada.lovelace", "email"},
		{"straßenbahn@example.com", "STRASSENBAHN", "email"},
		{"not an address", "not an address", "email"}, // told together with what is wrong about the address
		{"ada@example.com", "ada", "minLength"},
		{"ada.lovelace@example.com", "ada.lovelace.", ""},
		{"bob@example.com", "my bob@example.com", ""},
	} {
		err := a.call("signUp", c.email, c.password)
		if c.rule == "" {
			if err != nil {
				t.Errorf("%q of %s: %v", c.password, c.email, err)
			}
			continue
		}
		if err == nil || !slices.ContainsFunc(err.Issues, func(i engine.Issue) bool { return i.Path == "password" && i.Rule == c.rule }) {
			t.Errorf("%q of %s: %+v", c.password, c.email, err)
		}
	}
}

// Nothing is asked of a password's composition, and all of Unicode stays as it is: what was typed is what signs in, and
// nothing else.
func TestUnicodeIsKeptWhole(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{MinLength: 8})
	for i, pw := range []string{
		"aaaaaaaa", "        ", "12345678", "correct horse", "\u30d1\u30b9\u30ef\u30fc\u30c9\u3067\u3059\u3088", // katakana and hiragana
		"👩🏽‍🚀👩🏽‍🚀", "🇫🇷🇩🇪🇮🇹🇪🇸", "ﬁve ﬁngers", "\u202eevil bidi", "tab\tand\nnewline", "nul\x00inside it", "a\u0323\u0307 a\u0307\u0323 six",
		" space around ", "Ⅷ Ⅷ Ⅷ Ⅷ Ⅷ", "İıßſ dotless", "\u00a0\u2003\u3000 spaces", "ｗｉｄｅｗｉｄｅ",
	} {
		email := fmt.Sprintf("user%d@example.com", i)
		a.must("signUp", email, pw)
		a.must("signIn", email, pw)
		for _, other := range []string{norm.NFKC.String(pw) + "x", strings.ToUpper(pw), strings.TrimSpace(pw), norm.NFKC.String(pw), strings.Fields(pw + " x")[0]} {
			if norm.NFC.String(other) == norm.NFC.String(pw) || other == "" {
				continue
			}
			if err := a.call("signIn", email, other); err == nil || err.Code != engine.CodeUnauthenticated {
				t.Errorf("%q is as good as %q: %v", other, pw, err)
			}
		}
	}
}
