package password_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
)

func blocklist(t testing.TB, text string) func(string) error {
	t.Helper()
	f, err := password.Blocklist(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestBlocklist(t *testing.T) {
	t.Parallel()
	refused := blocklist(t, "\ufeffcorrect horse\r\n\r\n\n#hashtag\n leading space\nStraße\ncaf\u00e9 cre\u0300me\nİstanbul\n\xe9t\xe9\nlast without an end")
	for pw, want := range map[string]bool{
		"correct horse": true, "Correct HORSE": true, "ｃｏｒｒｅｃｔ ｈｏｒｓｅ": true, "#hashtag": true, " leading space": true,
		"STRASSE": true, "straße": true, "CAFE\u0301 CR\u00c8ME": true, "i̇stanbul": true, "last without an end": true, "\xe9t\xe9": true,
		// Whole passwords alone, white space and marks included.
		"": false, "correct horse ": false, "correct  horse": false, "leading space": false, "correct horse battery": false,
		"hashtag": false, "cafe creme": false, "correct": false, "\ufeffcorrect horse": false, "correct horse\r": false,
	} {
		err := refused(pw)
		if (err != nil) != want {
			t.Errorf("%q: %v, want it refused: %v", pw, err, want)
		}
		if err != nil && (!errors.Is(err, engine.ErrInvalid) || strings.Contains(err.Error(), "horse")) {
			t.Errorf("%q: %v", pw, err)
		}
	}
	if err := blocklist(t, "")(""); err != nil {
		t.Errorf("an empty list: %v", err)
	}
}

func TestBlocklistProblems(t *testing.T) {
	t.Parallel()
	if _, err := password.Blocklist(iotest.ErrReader(io.ErrNoProgress)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that fails: %v", err)
	}
	_, err := password.Blocklist(strings.NewReader("short\n" + strings.Repeat("x", 20<<10) + "\nshort\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "xx") {
		t.Errorf("a long line: %v", err)
	}
}

// A list is a set: held against a map of all entries, in the form in which they are compared.
func TestBlocklistIsASet(t *testing.T) {
	t.Parallel()
	fold := func(s string) string {
		for range 3 {
			s = norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
		}
		return s
	}
	word := rapid.StringOfN(rapid.SampledFrom([]rune("aAéÉe\u0301ßsSİi\u0307ｋKſ 😀ﬁf")), 0, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		words, set := rapid.SliceOf(word).Draw(t, "words"), map[string]bool{}
		for _, w := range words {
			set[fold(w)] = w != ""
		}
		refused, err := password.Blocklist(strings.NewReader(strings.Join(words, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range append(words, rapid.SliceOf(word).Draw(t, "others")...) {
			if got := refused(w) != nil; got != set[fold(w)] {
				t.Fatalf("%q of %q: refused is %v", w, words, got)
			}
		}
	})
}

// A form shows that a password is listed beside all else that is wrong.
func TestBlocklistAtSignUp(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{MinLength: 8, ValidatePassword: blocklist(t, "correct horse battery staple\n")})
	err := a.call("signUp", "not an address", "Correct Horse Battery STAPLE")
	if err == nil || err.Code != engine.CodeInvalid || len(err.Issues) != 2 ||
		err.Issues[0].Path != "email" || err.Issues[1].Path != "password" || err.Issues[1].Rule != "blocklist" {
		t.Errorf("got %+v", err)
	}
	a.must("signUp", "ada@example.com", "correct horse battery stable")
}

// Making a list of a million entries takes memory for their hashes, not for their text.
func BenchmarkBlocklist(b *testing.B) {
	const entries = 1_000_000
	for b.Loop() {
		r, w := io.Pipe()
		go func() {
			for i := range entries {
				fmt.Fprintf(w, "password number %d\n", i)
			}
			w.Close()
		}()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		refused, err := password.Blocklist(r)
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if refused("Password Number 500000") == nil || refused("password number 1000000") != nil {
			b.Fatal("the list is not what it was made of")
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
	}
}

func BenchmarkBlocklistLookup(b *testing.B) {
	var text strings.Builder
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "password number %d\n", i)
	}
	refused := blocklist(b, text.String())
	for b.Loop() {
		if refused("correct horse battery staple") != nil {
			b.Fatal("it is not listed")
		}
	}
}
