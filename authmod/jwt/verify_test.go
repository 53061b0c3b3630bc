package jwt_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod/jwt"
	"github.com/mimosadb/mimosa/engine"
)

func TestEveryAlgorithm(t *testing.T) {
	t.Parallel()
	s := newService(t)
	k := signers()
	s.publish(k["rsa"].jwk(without("alg")), k["ec"].jwk(), k["ed"].jwk())
	a := setup(t, s, func(set *settings) {
		set.options.Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA"}
	})
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		key := k["rsa"]
		key.alg = alg
		a.is(key.token(a.claims(with("sub", alg))), alg)
	}
	a.is(k["ec"].token(a.claims()), "ann")
	a.is(k["ed"].token(a.claims()), "ann")
}

// part is a part of a token.
func part(v any) string {
	if raw, ok := v.(string); ok {
		return base64.RawURLEncoding.EncodeToString([]byte(raw))
	}
	return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v)))
}

func hs256(secret []byte, header, claims map[string]any) string {
	m := hmac.New(sha256.New, secret)
	text := part(header) + "." + part(claims)
	m.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// What somebody without the service's keys may try. Nothing of it makes anybody of anything.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	s := newService(t)
	k := signers()
	rsaKey, ec, ed, other := k["rsa"], k["ec"], k["ed"], k["ec2"]
	s.publish(rsaKey.jwk(without("alg")), ec.jwk(), ed.jwk(), k["ec384"].jwk(), k["small"].jwk(), k["ec3"].jwk(),
		map[string]any{"kty": "oct", "kid": "shared", "k": part("shared secret"), "alg": "HS256"},
		k["rsa2"].jwk(with("use", "enc")))
	a := setup(t, s, provisioning)
	good := ec.token(a.claims())
	a.is(good, "ann")
	users := len(a.allUsers())

	public := must(x509.MarshalPKIXPublicKey(rsaKey.private.Public()))
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	forged := other
	forged.kid = ec.kid
	evil := newService(t) // the attacker's own, with a key of the attacker's
	evil.publish(forged.jwk())
	parts := strings.Split(good, ".")
	wrongAlg := func(key signer, alg string) string {
		key.alg = alg
		return key.token(a.claims())
	}
	for name, token := range map[string]string{
		"without a signature":      gojwtNone(a.claims(), "none"),
		"none in capitals":         gojwtNone(a.claims(), "NONE"),
		"good, signature cut off":  parts[0] + "." + parts[1] + ".",
		"the public key as secret": hs256(block, map[string]any{"alg": "HS256", "kid": "rsa"}, a.claims()),
		"its DER as secret":        hs256(public, map[string]any{"alg": "HS256", "kid": "rsa"}, a.claims()),
		"its modulus as secret": hs256([]byte(rsaKey.jwk()["n"].(string)),
			map[string]any{"alg": "HS256", "kid": "rsa"}, a.claims()),
		"a published shared secret":    hs256([]byte("shared secret"), map[string]any{"alg": "HS256", "kid": "shared"}, a.claims()),
		"another's key, the same kid":  forged.token(a.claims()),
		"another's key, its own kid":   other.token(a.claims()),
		"its own key in the header":    forged.token(a.claims(), with("jwk", forged.jwk())),
		"its own address of keys":      forged.token(a.claims(), with("jku", evil.web.URL+"/keys")),
		"its own certificate":          forged.token(a.claims(), with("x5u", evil.web.URL+"/keys"), with("x5c", []string{"AAAA"})),
		"an extension demanded":        ec.token(a.claims(), with("crit", []string{"b64"}), with("b64", false)),
		"the kid of another algorithm": ec.token(a.claims(), with("kid", "rsa")),
		"a key for another algorithm":  wrongAlg(rsaKey, "PS256"),
		"an algorithm not allowed":     wrongAlg(rsaKey, "RS512"),
		"a curve that does not fit":    part(map[string]any{"alg": "ES256", "kid": "ec384"}) + "." + parts[1] + "." + parts[2],
		"a key that is too small":      k["small"].token(a.claims()),
		"a key for encryption":         k["rsa2"].token(a.claims()),
		"no kid among many":            ec.token(a.claims(), without("kid")),
		"an empty kid":                 ec.token(a.claims(), with("kid", "")),
		"a kid that is no string":      ec.token(a.claims(), with("kid", []string{"ec"})),
		"a kid as a path":              ec.token(a.claims(), with("kid", "../../ec")),
		"no algorithm":                 part(map[string]any{"kid": "ec"}) + "." + parts[1] + "." + parts[2],
		"other claims":                 parts[0] + "." + part(a.claims(with("sub", "bob"))) + "." + parts[2],
		"claims that are no object":    parts[0] + "." + part("[]") + "." + parts[2],
		"claims that are null":         parts[0] + "." + part("null") + "." + parts[2],
		"bits beyond the signature":    good[:len(good)-1] + flipped(good[len(good)-1]),
		"padding":                      good + "=",
		"a line break":                 good[:20] + "\n" + good[20:],
		"two parts":                    parts[0] + "." + parts[1],
		"four parts":                   good + "." + parts[2],
		"five, as if encrypted":        good + "." + parts[2] + "." + parts[2],
		"empty":                        "",
		"spaces around":                " " + good,
		"a great length":               ec.token(a.claims(with("padding", strings.Repeat("x", 17<<10)))),
		"many parts":                   strings.Repeat(".", 5000),
	} {
		p, err := a.auth.Principal(token)
		var coded *engine.Error
		if !errors.As(err, &coded) || coded.Code != engine.CodeUnauthenticated {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		for _, piece := range strings.Split(token, ".") {
			if len(piece) > 20 && strings.Contains(a.log.String(), piece) {
				t.Errorf("%s: a part of the token is in the log", name)
			}
		}
	}
	if len(a.allUsers()) != users {
		t.Errorf("users were made: %v", a.allUsers())
	}
	if evil.fetched() > 0 {
		t.Error("keys were fetched from where a token said")
	}
	if !strings.Contains(a.log.String(), "a token was refused") {
		t.Error("nothing was logged")
	}
	a.is(good, "ann") // all the while
}

func gojwtNone(claims map[string]any, alg string) string {
	return part(map[string]any{"alg": alg, "typ": "JWT", "kid": "ec"}) + "." + part(claims) + "."
}

// flipped is a letter that differs in bits that carry nothing.
func flipped(c byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(letters[strings.IndexByte(letters, c)^1])
}

func TestClaims(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	strict := setup(t, s, func(set *settings) {
		set.options.Audience = []string{audience, "other"}
		set.options.OtherIssuers = []string{s.web.URL + "/"}
	})
	optional := setup(t, s, func(set *settings) { set.options.AudienceOptional = true })
	none := setup(t, s, func(set *settings) { set.options.Audience, set.options.AudienceOptional = nil, true })
	party := setup(t, s, func(set *settings) {
		set.options.AuthorizedParties = []string{"https://a.example", "https://b.example"}
	})
	native := setup(t, s, func(set *settings) { set.options.AuthorizedParties = []string{"https://a.example", ""} })
	now := strict.clock.now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	all := func(c ...func(map[string]any)) []func(map[string]any) { return c }

	for name, test := range map[string]struct {
		app    *app
		claims []func(map[string]any)
		ok     bool
	}{
		"good":                         {strict, nil, true},
		"several audiences":            {strict, all(with("aud", []string{"x", "other"})), true},
		"another audience":             {strict, all(with("aud", "school2")), false},
		"a part of the audience":       {strict, all(with("aud", "schoo")), false},
		"other audiences":              {strict, all(with("aud", []string{"x", "y"})), false},
		"no audience":                  {strict, all(without("aud")), false},
		"an empty audience":            {strict, all(with("aud", []string{})), false},
		"an audience that is a number": {strict, all(with("aud", 7)), false},
		"optional, none":               {optional, all(without("aud")), true},
		"optional, ours":               {optional, nil, true},
		"optional, another's":          {optional, all(with("aud", "hasura")), false},
		"optional, null":               {optional, all(with("aud", nil)), false},
		"optional, of none, none":      {none, all(without("aud")), true},
		"optional, of none, another's": {none, nil, false},

		"the issuer with a slash":         {strict, all(with("iss", s.web.URL+"/")), true},
		"the issuer with two":             {strict, all(with("iss", s.web.URL+"//")), false},
		"an issuer that goes on":          {strict, all(with("iss", s.web.URL+".evil.example")), false},
		"another issuer":                  {strict, all(with("iss", "https://evil.example")), false},
		"the issuer in a list":            {strict, all(with("iss", []string{s.web.URL})), false},
		"no issuer":                       {strict, all(without("iss")), false},
		"the issuer in capitals":          {strict, all(with("iss", strings.ToUpper(s.web.URL))), false},
		"the slash where it is not known": {optional, all(with("iss", s.web.URL+"/")), false},

		"expired, within the leeway": {strict, all(with("exp", at(-29*time.Second))), true},
		"expired":                    {strict, all(with("exp", at(-31*time.Second))), false},
		"no expiry":                  {strict, all(without("exp")), false},
		"an expiry that is a string": {strict, all(with("exp", "4000000000")), false},
		"an expiry beyond all":       {strict, all(with("exp", math.MaxFloat64)), false},
		"an expiry before all":       {strict, all(with("exp", -math.MaxFloat64)), false},
		"not before, in the leeway":  {strict, all(with("nbf", at(29*time.Second))), true},
		"not before":                 {strict, all(with("nbf", at(31*time.Second))), false},
		"no not before":              {strict, all(without("nbf", "iat", "jti")), true},
		"issued a little ahead":      {strict, all(with("iat", at(29*time.Second))), true},
		"issued in the future":       {strict, all(with("iat", at(31*time.Second))), false},
		"no subject":                 {strict, all(without("sub")), false},
		"an empty subject":           {strict, all(with("sub", "")), false},
		"a subject that is a number": {strict, all(with("sub", 7)), false},
		"a subject of 1,024 letters": {strict, all(with("sub", strings.Repeat("ä", 1024))), true},
		"a subject of 1,025":         {strict, all(with("sub", strings.Repeat("ä", 1025))), false},
		"an authorized party":        {party, all(with("azp", "https://b.example")), true},
		"another party":              {party, all(with("azp", "https://evil.example")), false},
		"no party":                   {party, nil, false},
		"an empty party":             {party, all(with("azp", "")), false},
		"a party that is a list":     {party, all(with("azp", []string{"https://a.example"})), false},
		"native, no party":           {native, nil, true},
		"native, an empty party":     {native, all(with("azp", "")), false},
		"native, another party":      {native, all(with("azp", "https://evil.example")), false},
		"party where nobody asks":    {strict, all(with("azp", "https://evil.example")), true},
	} {
		claims := test.app.claims(test.claims...)
		_, err := test.app.auth.Principal(key.token(claims))
		var coded *engine.Error
		switch {
		case test.ok && err != nil:
			t.Errorf("%s: %v", name, err)
		case !test.ok && (!errors.As(err, &coded) || coded.Code != engine.CodeUnauthenticated):
			t.Errorf("%s: %v", name, err)
		}
	}

	err := strict.refused(key.token(strict.claims(with("exp", at(-time.Hour)))), engine.CodeUnauthenticated)
	if err.Message != "the access token has expired" {
		t.Errorf("an expired token is refused with %q", err.Message)
	}
}

func TestTokensAreGoodUntilTheyExpire(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s)
	p, err := a.auth.Principal(key.token(a.claims()))
	if err != nil {
		t.Fatal(err)
	}
	until := p.(interface{ Expires() time.Time }).Expires()
	if want := a.clock.now().Add(60*time.Second + 30*time.Second); !until.Equal(want) {
		t.Errorf("it stands for the token until %v, want %v", until, want)
	}
}

// Only what differs between two tokens of one session may differ for them to be the same caller.
func TestSameCaller(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key, ed := signers()["ec"], signers()["ed"]
	s.publish(key.jwk(), ed.jwk())
	a := setup(t, s, func(set *settings) {
		set.options.IgnoreClaims = []string{"fva"}
		set.options.Audience = append(set.options.Audience, "other")
		set.options.OtherIssuers = []string{"https://other.example"}
	})
	of := func(token string) string {
		p, err := a.auth.Principal(token)
		if err != nil {
			t.Fatal(err)
		}
		return p.Key()
	}
	base := func(change ...func(map[string]any)) map[string]any {
		return a.claims(append([]func(map[string]any){
			with("sid", "s1"), with("fva", []int{0, -1}),
			with("o", map[string]any{"id": "org", "rol": "admin"}),
		}, change...)...)
	}
	first := of(key.token(base()))
	for name, token := range map[string]string{
		"refreshed":      key.token(base(with("exp", a.clock.now().Unix()+120), with("iat", a.clock.now().Unix()-5), with("nbf", 0))),
		"by another key": ed.token(base()),
		"minutes later":  key.token(base(with("fva", []int{7, -1}))),
		"with a nonce":   key.token(base(with("nonce", "n"), with("at_hash", "h"))),
	} {
		if of(token) != first {
			t.Errorf("%s: another caller", name)
		}
	}
	for name, change := range map[string]func(map[string]any){
		"another subject":      with("sub", "bob"),
		"another session":      with("sid", "s2"),
		"no session":           without("sid"),
		"another role":         with("o", map[string]any{"id": "org", "rol": "member"}),
		"one more claim":       with("x", nil),
		"another audience":     with("aud", "other"),
		"a spelling of issuer": with("iss", "https://other.example"),
	} {
		if of(key.token(base(change))) == first {
			t.Errorf("%s: the same caller", name)
		}
	}
	if strings.Contains(first, "ann") {
		t.Errorf("the key %q tells who it is", first)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s, func(set *settings) { set.options.IgnoreClaims = []string{"fva"} })
	who := a.is(key.token(a.claims(with("sid", "s1"), with("fva", 1), with("roles", []string{"admin"}), with("nonce", rand.Text()))), "ann")
	got := must(json.Marshal(who))
	want := must(json.Marshal(engine.Identity{Issuer: s.web.URL, Subject: "ann", Claims: map[string]any{
		"aud": audience, "sid": "s1", "roles": []string{"admin"},
	}}))
	if string(got) != string(want) {
		t.Errorf("the identity is %s, want %s", got, want)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s, provisioning, func(set *settings) {
		set.options.Check = func(claims map[string]any) error {
			switch claims["plan"] {
			case "free":
				return engine.Errorf(engine.CodeForbidden, "only with a plan")
			case "broken":
				return errors.New("a secret reason")
			}
			return nil
		}
	})
	if err := a.refused(key.token(a.claims(with("plan", "free"))), engine.CodeForbidden); err.Message != "only with a plan" {
		t.Errorf("refused with %q", err.Message)
	}
	if err := a.refused(key.token(a.claims(with("plan", "broken"))), engine.CodeUnauthenticated); strings.Contains(err.Message, "secret") {
		t.Errorf("refused with %q", err.Message)
	}
	if !strings.Contains(a.log.String(), "a secret reason") {
		t.Error("the reason is not in the log")
	}
	if len(a.allUsers()) > 0 {
		t.Error("users were made")
	}
	a.is(key.token(a.claims()), "ann")
}

// Tokens of two services, and of two audiences of one, are told apart; ours are still ours.
func TestSeveralServices(t *testing.T) {
	t.Parallel()
	s, two := newService(t), newService(t)
	key, second := signers()["ec"], signers()["ec2"]
	second.kid = key.kid
	s.publish(key.jwk())
	two.publish(second.jwk())
	a := setup(t, s, func(set *settings) {
		set.more = append(set.more,
			jwt.New(jwt.Options{Name: "again", Issuer: s.web.URL, JWKS: s.web.URL + "/keys", Audience: []string{"mobile"}}),
			jwt.New(jwt.Options{Name: "two", Issuer: two.web.URL, JWKS: two.web.URL + "/keys", Audience: []string{audience}}))
	})
	a.is(key.token(a.claims()), "ann")
	a.is(key.token(a.claims(with("aud", "mobile"))), "ann")
	a.is(second.token(a.claims(with("iss", two.web.URL))), "ann")
	for name, token := range map[string]string{
		"one says that it is the other": key.token(a.claims(with("iss", two.web.URL))),
		"the other, that it is one":     second.token(a.claims()),
		"an audience of the other":      second.token(a.claims(with("iss", two.web.URL), with("aud", "mobile"))),
		"one says that it is us":        key.token(a.claims(with("iss", "mimosa"), with("aud", "mimosa"), with("sid", "s"))),
	} {
		if _, err := a.auth.Principal(token); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	of := func(token string) string { return must(a.auth.Principal(token)).Key() }
	if of(key.token(a.claims())) == of(second.token(a.claims(with("iss", two.web.URL)))) {
		t.Error("people of two services are one caller")
	}
}

// A service signs more than sessions by its keys: what it gives to other applications, or says to servers, signs nobody in.
func TestTypes(t *testing.T) {
	t.Parallel()
	key := signers()["ec"]
	clerk := func(s *settings) { s.options.Types = jwt.Clerk("clerk.example.com").Types }
	for name, test := range map[string]struct {
		change func(*settings)
		typ    any // nil for none
		want   bool
	}{
		"none":                              {provisioning, nil, true},
		"the usual":                         {provisioning, "JWT", true},
		"in small letters":                  {provisioning, "jwt", true},
		"an access token":                   {provisioning, "at+jwt", true},
		"written at length":                 {provisioning, "application/AT+JWT", true},
		"that somebody has signed out":      {provisioning, "logout+jwt", false},
		"a proof of possession":             {provisioning, "dpop+jwt", false},
		"an event":                          {provisioning, "secevent+jwt", false},
		"empty":                             {provisioning, "", false},
		"no string":                         {provisioning, []string{"JWT"}, false},
		"clerk, a session":                  {clerk, "JWT", true},
		"clerk, for an OAuth application":   {clerk, "at+jwt", false},
		"clerk, for one, written at length": {clerk, "application/at+jwt", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.publish(key.jwk())
			a := setup(t, s, test.change)
			header := without("typ")
			if test.typ != nil {
				header = with("typ", test.typ)
			}
			token := key.token(a.claims(), header)
			if test.want {
				a.is(token, "ann")
				return
			}
			a.refused(token, engine.CodeUnauthenticated)
			if len(a.allUsers()) > 0 {
				t.Error("a user was made")
			}
		})
	}
}

// Whoever presents tokens that are refused does not fill the log.
func TestFloodOfRefusedTokens(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := signers()["ec"]
	s.publish(key.jwk())
	a := setup(t, s, provisioning, func(s *settings) {
		s.onCreate = func(*engine.Tx, *engine.Doc[User]) error { return engine.Errorf(engine.CodeForbidden, "not you") }
	})
	lines := func() int { return strings.Count(a.log.String(), "a token was refused") }
	for range 30 {
		a.refused(key.token(a.claims(with("aud", "other"))), engine.CodeUnauthenticated)
		a.refused(key.token(a.claims()), engine.CodeForbidden)
	}
	if n := lines(); n != 30 {
		t.Errorf("%d lines, want 30", n)
	}
	a.clock.advance(time.Minute)
	a.refused(key.token(a.claims()), engine.CodeForbidden)
	if n := lines(); n != 31 || !strings.Contains(a.log.String(), "more=30") {
		t.Errorf("%d lines, want 31, and a count of the others", n)
	}
}
