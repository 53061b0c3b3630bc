package password_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/authmod/password"
)

func TestHashes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]password.Crypto{
		"argon2id": password.Argon2id{Memory: 64, Passes: 2, Threads: 2}, "scrypt": password.Scrypt{LogN: 6, R: 8, P: 2},
	} {
		one, err := c.Hash(secret)
		if err != nil {
			t.Fatal(err)
		}
		two, err := c.Hash(secret)
		if err != nil {
			t.Fatal(err)
		}
		if one == two || !strings.HasPrefix(one, "$"+name+"$") || strings.Contains(one, secret) {
			t.Errorf("%s made %s and %s", name, one, two)
		}
		// Either kind verifies both.
		for _, v := range []password.Crypto{password.Argon2id{}, password.Scrypt{}} {
			if ok, err := v.Verify(one, secret); !ok || err != nil {
				t.Errorf("%T of %s: %v, %v", v, one, ok, err)
			}
			if ok, err := v.Verify(one, secret+" "); ok || err != nil {
				t.Errorf("%T of %s with a wrong password: %v, %v", v, one, ok, err)
			}
		}
		r := c.(password.Rehasher)
		if r.Outdated(one) || !(password.Argon2id{}).Outdated(one) || !(password.Scrypt{}).Outdated(one) {
			t.Errorf("%s: outdated is wrong", one)
		}
	}
}

// The defaults are what their documentation says.
func TestDefaultParameters(t *testing.T) {
	t.Parallel()
	h, err := password.Argon2id{}.Hash(secret)
	if err != nil || !strings.HasPrefix(h, "$argon2id$v=19$m=65536,t=2,p=1$") {
		t.Errorf("%s, %v", h, err)
	}
	if (password.Argon2id{}).Outdated(h) {
		t.Error("a fresh hash is outdated")
	}
}

// Hashes made elsewhere: the first is the test vector of the reference implementation, the second OpenSSL's.
func TestKnownHashes(t *testing.T) {
	t.Parallel()
	for _, hash := range []string{
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$scrypt$ln=10,r=8,p=1$c29tZXNhbHRzb21lc2FsdA$dj05BT7oUTq35qmxXqG/pksYG8IJr8uxtvAzbfGjoic",
	} {
		if ok, err := (password.Argon2id{}).Verify(hash, "password"); !ok || err != nil {
			t.Errorf("%s: %v, %v", hash, ok, err)
		}
		if ok, err := (password.Argon2id{}).Verify(hash, "Password"); ok || err != nil {
			t.Errorf("%s with a wrong password: %v, %v", hash, ok, err)
		}
	}
}

func TestUnreadableHashes(t *testing.T) {
	t.Parallel()
	good, err := cheap.Hash(secret)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, "$")
	join := func(i int, s string) string {
		p := append([]string(nil), parts...)
		p[i] = s
		return strings.Join(p, "$")
	}
	for _, hash := range []string{
		"", "$", "$$$$", "plain",
		join(1, "argon2i"), join(1, "ARGON2ID"), join(2, "v=16"), join(2, "v=19 "), join(0, "x"),
		join(3, "m=8,t=1"), join(3, "t=1,m=8,p=1"), join(3, "m=8,t=1,p=1,q=1"), join(3, "m=8,t=0,p=1"), join(3, "m=8,t=1,p=0"),
		join(3, "m=8,t=1,p=256"), join(3, "m=-8,t=1,p=1"), join(3, "m=4294967295,t=1,p=1"), join(3, "m=8,t=4000000000,p=1"),
		join(3, "m=8,t=1,p=8"), // too little memory for so many lanes
		join(4, ""), join(4, "AAAA"), join(4, "!!!!"), join(5, ""), join(5, "AAAA"), join(5, parts[5]+"="),
		good + "$", good + "$x", strings.Repeat("$argon2id", 1000),
		"$scrypt$ln=31,r=8,p=1$" + parts[4] + "$" + parts[5], "$scrypt$ln=30,r=1024,p=1$" + parts[4] + "$" + parts[5],
		"$scrypt$ln=4,r=0,p=1$" + parts[4] + "$" + parts[5], "$scrypt$ln=4,r=8,p=1000$" + parts[4] + "$" + parts[5],
	} {
		ok, err := password.Argon2id{}.Verify(hash, secret)
		if ok || !errors.Is(err, password.ErrHash) {
			t.Errorf("%.60q: %v, %v", hash, ok, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	good, err := cheap.Hash(secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("$scrypt$ln=4,r=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, hash string) {
		if strings.Contains(hash, "m=") && !strings.Contains(hash, "m=8,t=1,p=1") || strings.Contains(hash, "ln=") && !strings.Contains(hash, "ln=4,r=1,p=1") {
			t.Skip("asks for much work, and may")
		}
		if ok, err := cheap.Verify(hash, "another password"); ok && err == nil {
			t.Errorf("%q is a hash of anything", hash)
		}
	})
}
