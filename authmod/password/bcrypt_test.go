package password_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/mimosadb/mimosa/authmod/password"
)

// Hashes made elsewhere, by libxcrypt.
var bcryptHashes = map[string]string{
	"$2a$05$abcdefghijklmnopqrstuu5XFsBFx861Bd1hd6mRbDUx41AWbnp4K": "pässwörd 😀",
	"$2b$05$abcdefghijklmnopqrstuu5XFsBFx861Bd1hd6mRbDUx41AWbnp4K": "pässwörd 😀",
	"$2y$05$abcdefghijklmnopqrstuu5XFsBFx861Bd1hd6mRbDUx41AWbnp4K": "pässwörd 😀",
	"$2y$10$N9qo8uLOickgx2ZMRZoMyehtJ/whDdsI.d1w/JqKiOrDw8pCT0JLG": secret,
	// of 80 letters x, of which 72 count
	"$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i": strings.Repeat("x", 80),
}

func TestBcrypt(t *testing.T) {
	t.Parallel()
	for hash, pw := range bcryptHashes {
		for _, c := range []password.Crypto{password.Argon2id{}, password.Scrypt{}} {
			if ok, err := c.Verify(hash, pw); !ok || err != nil {
				t.Errorf("%T of %s: %v, %v", c, hash, ok, err)
			}
			if ok, err := c.Verify(hash, "X"+pw); ok || err != nil {
				t.Errorf("%T of %s with a wrong password: %v, %v", c, hash, ok, err)
			}
			if !c.(password.Rehasher).Outdated(hash) {
				t.Errorf("%T does not call %s outdated", c, hash)
			}
		}
	}
	long := "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i"
	for n, want := range map[int]bool{71: false, 72: true, 73: true, 1024: true} {
		if ok, err := (password.Argon2id{}).Verify(long, strings.Repeat("x", n)); ok != want || err != nil {
			t.Errorf("%d letters: %v, %v", n, ok, err)
		}
	}
}

func TestUnreadableBcryptHashes(t *testing.T) {
	t.Parallel()
	made, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	good := string(made)
	if ok, err := (password.Argon2id{}).Verify(good, secret); !ok || err != nil {
		t.Fatalf("%s: %v, %v", good, ok, err)
	}
	for _, hash := range []string{
		"$2", "$2$", "$2a$", "$2a$10", "$2a$10$", good[:59], good + ".", good + "$", " " + good[1:],
		"$2x" + good[3:], "$2A" + good[3:], "$2\xe9" + good[3:], "$2$" + good[3:] + "x", "$2aa" + good[4:], "$3a" + good[3:],
		good[:4] + "03" + good[6:], good[:4] + "17" + good[6:], good[:4] + "31" + good[6:], good[:4] + "99" + good[6:],
		good[:4] + "+4" + good[6:], good[:4] + "-4" + good[6:], good[:4] + " 4" + good[6:], good[:4] + "4$" + good[6:],
		good[:6] + "." + good[7:], good[:7] + "=" + good[8:], good[:30] + "é" + good[32:], good[:30] + "\x00" + good[31:],
		good[:59] + "{", good[:59] + "@", good[:59] + "`", good[:59] + "[",
	} {
		ok, err := password.Argon2id{}.Verify(hash, secret)
		if ok || !errors.Is(err, password.ErrHash) {
			t.Errorf("%q: %v, %v", hash, ok, err)
		}
		if (password.Argon2id{}).Outdated(hash) {
			t.Errorf("%q is called outdated", hash)
		}
	}
}

func BenchmarkBcrypt(b *testing.B) {
	hash := "$2y$10$N9qo8uLOickgx2ZMRZoMyehtJ/whDdsI.d1w/JqKiOrDw8pCT0JLG"
	for b.Loop() {
		if ok, err := (password.Argon2id{}).Verify(hash, secret); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
