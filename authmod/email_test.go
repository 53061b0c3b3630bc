package authmod_test

import (
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod"
)

func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ada@example.com":             "ada@example.com",
		"  Ada@Example.COM\n":         "ada@example.com",
		"ＡＤＡ@example.com":             "ada@example.com", // fullwidth
		"\u212aay@example.com":        "kay@example.com", // Kelvin sign
		"jose\u0301@example.com":      "josé@example.com",
		"JOSE\u0301@example.com":      "josé@example.com",
		"\u00a0ada@example.com\u2003": "ada@example.com",
		"":                            "",
		"not an address":              "not an address",
	} {
		if got := authmod.NormalizeEmail(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzNormalizeEmail(f *testing.F) {
	for _, s := range []string{"Ada@Example.com", "İ@x.y", "ǅ@x.y", "ﬀ@x.y", "\u0345@x.y", " \u212a", "\xff@x.y", "Å"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := authmod.NormalizeEmail(s)
		if twice := authmod.NormalizeEmail(once); twice != once {
			t.Errorf("%q becomes %q, which becomes %q", s, once, twice)
		}
	})
}

// What a service elsewhere has verified is the address as it writes it.
func TestVouchedEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ada@example.com": "ada@example.com", " Ada@Example.COM ": "ada@example.com", "zoë@example.com": "zoë@example.com",
		"\uff41da@example.com": "", "ada@\uff45xample.com": "", "\u212ai@example.com": "", "zoe\u0308@example.com": "", "": "", "ada": "",
	} {
		if got := authmod.VouchedEmail(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestValidEmail(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"ada@example.com":                        true,
		"ada.lovelace+tag@mail.example.co.uk":    true,
		"o'brien@example.com":                    true,
		"a@b.co":                                 true,
		"josé@exämple.de":                        true,
		"用户@例子.公司":                               true,
		"1@1.example":                            true,
		strings.Repeat("a", 64) + "@example.com": true,
		"":                                       false,
		"ada":                                    false,
		"@example.com":                           false,
		"ada@":                                   false,
		"a@b":                                    false,
		"ada@example..com":                       false,
		"ada@.example.com":                       false,
		"ada@example.com.":                       false,
		"ada@-example.com":                       false,
		"ada@example-.com":                       false,
		"ada@exam_ple.com":                       false,
		".ada@example.com":                       false,
		"ada.@example.com":                       false,
		"a..b@example.com":                       false,
		"ada@127.0.0.1":                          false,
		"ada@[127.0.0.1]":                        false,
		`"ada l"@example.com`:                    false,
		"ada l@example.com":                      false,
		"ada@exa mple.com":                       false,
		"ada@example.com\nbcc: x@example.com":    false,
		"ada@@example.com":                       false,
		"ada@b@example.com":                      false,
		"ada\u200b@example.com":                  false, // zero width space
		"ada\x00@example.com":                    false,
		"ada\xff@example.com":                    false,
		"Ada <ada@example.com>":                  false,
		strings.Repeat("a", 65) + "@example.com": false,
		"a@" + strings.Repeat("b", 64) + ".com":  false,
		"a@" + strings.Repeat("b.", 130) + "com": false,
		"a@" + strings.Repeat(strings.Repeat("b", 60)+".", 4): false,
	} {
		if got := authmod.ValidEmail(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
