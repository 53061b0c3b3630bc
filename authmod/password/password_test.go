package password_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/triggers"
)

type User struct{ authmod.UserFields }

var cheap = password.Argon2id{Memory: 8, Passes: 1}

type app struct {
	t     *testing.T
	db    *engine.DB
	auth  *authmod.Auth
	users *engine.Collection[User]

	mu  sync.Mutex
	now time.Time // guarded by mu
}

func setup(t *testing.T, o password.Options, more ...func(*engine.Schema, *engine.Collection[User])) *app {
	t.Helper()
	a := &app{t: t, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	if o.Crypto == nil {
		o.Crypto = cheap
	}
	s := engine.NewSchema()
	a.users = engine.Define[User](s, "users")
	a.auth = authmod.New(s, a.users, authmod.Options{Modules: []authmod.Module{password.New(o)}})
	for _, f := range more {
		f(s, a.users)
	}
	a.db = enginetest.Open(t, s, func(o *engine.Options) {
		o.Clock = func() time.Time { a.mu.Lock(); defer a.mu.Unlock(); return a.now }
	})
	return a
}

func (a *app) advance(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = a.now.Add(d)
}

func (a *app) call(flow, email, pw string) *engine.Error {
	args, err := json.Marshal(map[string]any{
		"provider": "password", "params": map[string]any{"flow": flow, "email": email, "password": pw},
	})
	if err != nil {
		panic(err)
	}
	_, err = a.db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: args})
	if err == nil {
		return nil
	}
	var e *engine.Error
	if !errors.As(err, &e) {
		return engine.Errorf("uncoded", "%T %v", err, err)
	}
	return e
}

func (a *app) must(flow, email, pw string) {
	a.t.Helper()
	if err := a.call(flow, email, pw); err != nil {
		a.t.Fatalf("%s: %s %v", flow, err.Code, err)
	}
}

const secret = "correct horse battery staple"

func encoded(t *testing.T, e *engine.Error) string {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A wrong password and an unknown address give one answer, byte for byte, and cost one verification each.
func TestWrongPasswordAndUnknownAddress(t *testing.T) {
	t.Parallel()
	crypto := &counting{Crypto: cheap}
	a := setup(t, password.Options{Crypto: crypto})
	a.must("signUp", "ada@example.com", secret)
	a.must("signIn", "ada@example.com", secret)
	before := crypto.verified.Load()
	wrong := a.call("signIn", "ada@example.com", "wrong "+secret)
	if n := crypto.verified.Load() - before; n != 1 {
		t.Errorf("a wrong password costs %d verifications", n)
	}
	before = crypto.verified.Load()
	unknown := a.call("signIn", "bob@example.com", secret)
	if n := crypto.verified.Load() - before; n != 1 {
		t.Errorf("an unknown address costs %d verifications", n)
	}
	if wrong == nil || wrong.Code != engine.CodeUnauthenticated || encoded(t, wrong) != encoded(t, unknown) {
		t.Errorf("wrong password: %v, unknown address: %v", wrong, unknown)
	}
}

// counting counts hashes and verifications, how many run at a time, and lets a test hold them up.
type counting struct {
	password.Crypto
	hashed, verified, running, most atomic.Int64
	hold                            chan struct{} // nil does not hold
	entered                         chan struct{} // told of each that begins to be held
}

// holdUp holds up what begins from now on, until close(c.hold).
func (c *counting) holdUp() { c.hold, c.entered = make(chan struct{}), make(chan struct{}, 1000) }

func (c *counting) enter() func() {
	n := c.running.Add(1)
	for {
		m := c.most.Load()
		if n <= m || c.most.CompareAndSwap(m, n) {
			break
		}
	}
	if c.hold != nil {
		c.entered <- struct{}{}
		<-c.hold
	}
	return func() { c.running.Add(-1) }
}

func (c *counting) Hash(pw string) (string, error) {
	defer c.enter()()
	c.hashed.Add(1)
	return c.Crypto.Hash(pw)
}

func (c *counting) Verify(hash, pw string) (bool, error) {
	defer c.enter()()
	c.verified.Add(1)
	return c.Crypto.Verify(hash, pw)
}

func TestFailuresAreLimited(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{MaxFailures: 3})
	a.must("signUp", "ada@example.com", secret)
	for range 5 {
		a.must("signIn", "ada@example.com", secret) // successes do not count
	}
	for _, email := range []string{"ada@example.com", "nobody@example.com"} {
		for range 3 {
			if err := a.call("signIn", email, "wrong "+secret); err == nil || err.Code != engine.CodeUnauthenticated {
				t.Fatalf("%s: %v", email, err)
			}
		}
		err := a.call("signIn", " "+strings.ToUpper(email), secret)
		if err == nil || err.Code != engine.CodeBusy || encoded(t, err) == "" {
			t.Fatalf("%s, fourth: %v", email, err)
		}
		if !strings.Contains(encoded(t, err), `"data":{"retryAfter":1200}`) {
			t.Errorf("%s", encoded(t, err))
		}
	}
	a.advance(20 * time.Minute)
	a.must("signIn", "ada@example.com", secret)
}

// Guesses made all at once are not many more than guesses made one after the other: those that are being verified when the
// last allowed one turns out wrong.
func TestParallelFailuresAreLimited(t *testing.T) {
	t.Parallel()
	const failures, slots = 4, 2
	crypto := &counting{Crypto: cheap}
	a := setup(t, password.Options{Crypto: crypto, MaxFailures: failures, MaxConcurrentHashes: slots})
	a.must("signUp", "ada@example.com", secret)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() { a.call("signIn", "ada@example.com", fmt.Sprint("guess number ", i)) })
	}
	all.Wait()
	if n := crypto.verified.Load(); n < failures || n > failures+slots-1 {
		t.Errorf("%d guesses were tried", n)
	}
	if err := a.call("signIn", "ada@example.com", secret); err == nil || err.Code != engine.CodeBusy {
		t.Errorf("after them: %v, want busy", err)
	}
}

// Many devices of one person, all at once: nothing fails, so nothing counts.
func TestParallelSignInsOfOneAccount(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{MaxConcurrentHashes: 2})
	a.must("signUp", "ada@example.com", secret)
	const n = 60
	errs := make(chan *engine.Error, n)
	for range n {
		go func() { errs <- a.call("signIn", "ada@example.com", secret) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Errorf("got %s: %v", err.Code, err)
		}
	}
}

// Whoever signs up with one address at the same time as many others is told what has become of it.
func TestParallelSignUpsOfOneAddress(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{MaxConcurrentHashes: 2})
	const n = 50
	errs := make(chan *engine.Error, n)
	for range n {
		go func() { errs <- a.call("signUp", "ada@example.com", secret) }()
	}
	var in, taken int
	for range n {
		switch err := <-errs; {
		case err == nil:
			in++
		case err.Code == engine.CodeAlreadyExists:
			taken++
		default:
			t.Errorf("got %s: %v", err.Code, err)
		}
	}
	if in != 1 || taken != n-1 {
		t.Errorf("%d signed up, %d were told that the address is taken", in, taken)
	}
}

// Attempts under way are bounded too, by address, so that nobody fills the queue with one.
func TestAttemptsUnderWayAreBounded(t *testing.T) {
	t.Parallel()
	const calls, underWay = 150, 128
	crypto := &counting{Crypto: cheap}
	crypto.holdUp()
	a := setup(t, password.Options{Crypto: crypto, MaxConcurrentHashes: 1})
	errs := make(chan *engine.Error, calls)
	for range calls {
		go func() { errs <- a.call("signUp", "ada@example.com", secret) }()
	}
	for range calls - underWay {
		if err := <-errs; err == nil || err.Code != engine.CodeBusy || !strings.Contains(encoded(t, err), `"retryAfter":1}`) {
			t.Errorf("got %v, want busy", err)
		}
	}
	close(crypto.hold)
	a.must("signUp", "bob@example.com", secret)
	for range underWay {
		if err := <-errs; err != nil && err.Code != engine.CodeAlreadyExists {
			t.Errorf("got %s: %v", err.Code, err)
		}
	}
}

// What fails for another reason than that the address is taken locks nobody out of a free address.
func TestOtherRefusalsAreNotCounted(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	refuse.Store(true)
	a := setup(t, password.Options{MaxFailures: 3}, func(s *engine.Schema, users *engine.Collection[User]) {
		triggers.OnCreate(users, "refuse", func(*engine.Tx, *engine.Doc[User]) error {
			if refuse.Load() {
				return engine.Errorf("no_such_course", "there is no such course")
			}
			return nil
		})
	})
	for range 10 {
		if err := a.call("signUp", "ada@example.com", secret); err == nil || err.Code != "no_such_course" {
			t.Fatalf("got %v", err)
		}
		if err := a.call("signUp", "ada@example.com", "short"); err == nil || err.Code != engine.CodeInvalid {
			t.Fatalf("got %v", err)
		}
	}
	refuse.Store(false)
	a.must("signUp", "ada@example.com", secret)
}

func TestTakenAddressesAreLimited(t *testing.T) {
	t.Parallel()
	crypto := &counting{Crypto: cheap}
	a := setup(t, password.Options{Crypto: crypto, MaxFailures: 3})
	a.must("signUp", "ada@example.com", secret)
	for i := range 35 {
		want := engine.CodeAlreadyExists
		if i >= 30 {
			want = engine.CodeBusy
		}
		if err := a.call("signUp", "ada@example.com", secret); err == nil || err.Code != want {
			t.Errorf("sign-up %d: %v, want %s", i, err, want)
		}
	}
	if n := crypto.hashed.Load(); n != 1 {
		t.Errorf("%d hashes were made", n)
	}
	a.must("signIn", "ada@example.com", secret) // it does not lock the owner out
}

// One network does not fill the database with users, nor the queue with hashing. What made none does not count, and others go on.
func TestSignUpsAreLimitedByNetwork(t *testing.T) {
	t.Parallel()
	for _, verify := range []bool{false, true} {
		crypto := &counting{Crypto: cheap}
		a := setup(t, password.Options{
			Crypto: crypto, MaxSignUpsPerNetwork: 3, Verify: verify,
			Send: func(context.Context, authmod.Message) error { return nil },
		})
		wants := func(code engine.Code, remote, email, pw string) {
			t.Helper()
			args := fmt.Sprintf(`{"provider":"password","params":{"flow":"signUp","email":%q,"password":%q}}`, email, pw)
			_, err := a.db.RunAction(context.Background(), engine.Call{
				Function: "auth:signIn", Args: []byte(args), Remote: netip.MustParseAddr(remote),
			})
			var e *engine.Error
			if code == "" && err != nil || code != "" && (!errors.As(err, &e) || e.Code != code) {
				t.Errorf("verify %v, %s from %s: %v, want code %q", verify, email, remote, err, code)
			}
		}
		for i := range 3 {
			wants("invalid", "2001:db8::1", "ada@example.com", "short")
			wants("", fmt.Sprintf("2001:db8::%d", i), fmt.Sprintf("user%d@example.com", i), secret)
			if !verify {
				wants("already_exists", "2001:db8::1", fmt.Sprintf("user%d@example.com", i), secret)
			}
		}
		wants("busy", "2001:db8::99", "ada@example.com", secret)
		if n := crypto.hashed.Load(); n > 4 { // the decoy's too
			t.Errorf("verify %v: %d hashes were made", verify, n)
		}
		wants("", "2001:db8:0:1::1", "ada@example.com", secret)
		a.advance(20 * time.Minute)
		wants("", "2001:db8::1", "bob@example.com", secret)
		wants("busy", "2001:db8::1", "eve@example.com", secret)
	}
}

// So many hash at a time, however many come.
func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	const slots, calls = 2, 200
	crypto := &counting{Crypto: cheap}
	a := setup(t, password.Options{Crypto: crypto, MaxConcurrentHashes: slots, MaxFailures: -1})
	errs := make(chan *engine.Error, calls)
	for i := range calls {
		go func() { errs <- a.call("signUp", fmt.Sprintf("user%d@example.com", i), secret) }()
	}
	for range calls {
		if err := <-errs; err != nil {
			t.Errorf("got %s: %v", err.Code, err)
		}
	}
	if n := crypto.most.Load(); n > slots {
		t.Errorf("%d hashed at a time", n)
	}
}

// Whoever goes away while waiting is not hashed for.
func TestWaitingEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	crypto := &counting{Crypto: cheap}
	crypto.holdUp()
	a := setup(t, password.Options{Crypto: crypto, MaxConcurrentHashes: 1})
	first := make(chan *engine.Error, 1)
	go func() { first <- a.call("signUp", "first@example.com", secret) }()
	<-crypto.entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	args := json.RawMessage(`{"provider":"password","params":{"flow":"signIn","email":"b@example.com","password":"` + secret + `"}}`)
	if _, err := a.db.RunAction(ctx, engine.Call{Function: "auth:signIn", Args: args}); err == nil {
		t.Error("a caller who has gone was served")
	}
	close(crypto.hold)
	if err := <-first; err != nil {
		t.Errorf("the one that was running: %v", err)
	}
	if n := crypto.verified.Load(); n != 0 {
		t.Errorf("%d verifications", n)
	}
}

func TestLengthIsCountedInCharacters(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{})
	for i, c := range []struct {
		password, rule string
	}{
		{strings.Repeat("a", 14), "minLength"},
		{strings.Repeat("a", 15), ""},
		{strings.Repeat("é", 14), "minLength"},
		{strings.Repeat("é", 15), ""},
		{strings.Repeat("e\u0301", 14), "minLength"}, // composed, it has 14
		{strings.Repeat("😀", 15), ""},
		{strings.Repeat(" ", 15), ""}, // nothing is trimmed
		{strings.Repeat("a", 1024), ""},
		{strings.Repeat("a", 1025), "maxLength"},
		{strings.Repeat("é", 513), "maxLength"},
	} {
		err := a.call("signUp", fmt.Sprintf("user%d@example.com", i), c.password)
		switch {
		case c.rule == "" && err != nil:
			t.Errorf("%d: %v", i, err)
		case c.rule != "" && (err == nil || len(err.Issues) != 1 || err.Issues[0].Path != "password" || err.Issues[0].Rule != c.rule):
			t.Errorf("%d: %+v, want %s", i, err, c.rule)
		}
	}
}

// One password, typed on systems that compose differently.
func TestPasswordsAreComposed(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{MinLength: 8})
	a.must("signUp", "ada@example.com", "cafe\u0301 au lait")
	a.must("signIn", "ada@example.com", "café au lait")
	// Composed, and no more than that: wide letters stay wide.
	for _, other := range []string{"Café au lait", "café au lait ", "cafe au lait", "café au laiｔ"} {
		if err := a.call("signIn", "ada@example.com", other); err == nil || err.Code != engine.CodeUnauthenticated {
			t.Errorf("%q: %v", other, err)
		}
	}
}

func TestValidatePassword(t *testing.T) {
	t.Parallel()
	a := setup(t, password.Options{MinLength: 8, ValidatePassword: func(pw string) error {
		switch {
		case strings.Contains(pw, "plain"):
			return errors.New("is on a list of leaked passwords")
		case strings.Contains(pw, "coded"):
			return engine.Errorf(engine.CodeInvalid, "no").WithIssues(engine.Issue{Rule: "digit", Message: "needs a digit"})
		}
		return nil
	}})
	for pw, want := range map[string]string{
		"plain password": `[{"path":"password","rule":"password","message":"is on a list of leaked passwords"}]`,
		"coded password": `[{"path":"password","rule":"digit","message":"needs a digit"}]`,
	} {
		err := a.call("signUp", "ada@example.com", pw)
		if err == nil || err.Code != engine.CodeInvalid || !strings.Contains(encoded(t, err), want) {
			t.Errorf("%q: %+v", pw, err)
		}
	}
	a.must("signUp", "ada@example.com", "a fine password")
}

func TestProfileRefusals(t *testing.T) {
	t.Parallel()
	type form struct {
		Invite string `json:"invite"`
	}
	a := setup(t, password.Options{MinLength: 8, Profile: authmod.NewProfile(func(p form) (User, error) {
		switch p.Invite {
		case "coded":
			return User{}, engine.Errorf(engine.CodeForbidden, "the invitation is used up")
		case "issue":
			return User{}, engine.Errorf(engine.CodeInvalid, "no").WithIssues(engine.Issue{Path: "invite", Rule: "invite", Message: "is unknown"})
		case "fault":
			return User{}, errors.New("database password is hunter2")
		case "panic":
			panic("hunter2")
		}
		return User{}, nil
	})})
	try := func(invite, pw string) *engine.Error {
		args, _ := json.Marshal(map[string]any{"provider": "password", "params": map[string]any{
			"flow": "signUp", "email": "ada@example.com", "password": pw, "invite": invite,
		}})
		_, err := a.db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: args})
		var e *engine.Error
		errors.As(err, &e)
		return e
	}
	if err := try("coded", secret); err == nil || err.Code != engine.CodeForbidden || err.Message != "the invitation is used up" {
		t.Errorf("a coded refusal: %+v", err)
	}
	if err := try("issue", "short"); err == nil || len(err.Issues) != 2 || err.Issues[0].Path != "invite" || err.Issues[1].Path != "password" {
		t.Errorf("a refusal with an issue: %+v", err)
	}
	for _, invite := range []string{"fault", "panic"} {
		if err := try(invite, secret); err == nil || err.Code != engine.CodeInternal || strings.Contains(encoded(t, err), "hunter2") {
			t.Errorf("%s: %+v", invite, err)
		}
	}
	if err := try("right", secret); err != nil {
		t.Errorf("and the right one: %+v", err)
	}
	a.must("signIn", "ada@example.com", secret) // the address came along though the form's type has no field for it
}

// The account is that of the address in the document, wherever the profile has it from, in its one form.
func TestAddressByTheProfile(t *testing.T) {
	t.Parallel()
	type form struct {
		Login string `json:"login"`
	}
	a := setup(t, password.Options{MinLength: 8, Profile: authmod.NewProfile(func(p form) (User, error) {
		return User{authmod.UserFields{Email: p.Login + "@Example.com"}}, nil
	})})
	try := func(login string) error {
		args, _ := json.Marshal(map[string]any{"provider": "password", "params": map[string]any{
			"flow": "signUp", "login": login, "password": secret,
		}})
		_, err := a.db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: args})
		return err
	}
	if err := try(" Ada"); err != nil {
		t.Fatal(err)
	}
	a.must("signIn", "ada@example.com", secret)
	if err := try("ADA"); !errors.Is(err, &engine.Error{Code: engine.CodeAlreadyExists}) {
		t.Errorf("the same address in another spelling: %v", err)
	}
	if err := try("not an"); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("no address: %v", err)
	}
}

// A hash that is weaker than today's is replaced when its owner signs in; nobody else can bring that about.
func TestOutdatedHashesAreRenewed(t *testing.T) {
	t.Parallel()
	crypto := &switching{now: password.Scrypt{LogN: 4, R: 1, P: 1}}
	a := setup(t, password.Options{Crypto: crypto, MinLength: 8})
	a.must("signUp", "ada@example.com", secret)
	crypto.set(cheap)
	if a.call("signIn", "ada@example.com", "wrong password") == nil {
		t.Fatal("a wrong password is right")
	}
	if n := crypto.made.Load(); n != 2 { // sign-up and decoy
		t.Errorf("%d hashes made before the owner came", n)
	}
	a.must("signIn", "ada@example.com", secret)
	if n := crypto.made.Load(); n != 3 {
		t.Errorf("%d hashes made once the owner came, want one more", n)
	}
	a.must("signIn", "ada@example.com", secret)
	if n := crypto.made.Load(); n != 3 {
		t.Errorf("%d hashes made: it is renewed again and again", n)
	}
	if a.call("signIn", "ada@example.com", "wrong password") == nil {
		t.Error("a wrong password is right")
	}
}

// Two devices verify at once against a hash that both are about to renew. One of them is first; the other is verified again,
// against the new hash, and gets in or not as that says.
func TestHashReplacedWhileVerifying(t *testing.T) {
	t.Parallel()
	for stillRight, wantIn := range map[bool]int{true: 2, false: 1} {
		crypto := &together{stillRight: stillRight, both: make(chan struct{})}
		a := setup(t, password.Options{Crypto: crypto, MaxConcurrentHashes: 2})
		a.must("signUp", "ada@example.com", secret)
		crypto.renew.Store(true)
		errs := make(chan *engine.Error, 2)
		for range 2 {
			go func() { errs <- a.call("signIn", "ada@example.com", secret) }()
		}
		in := 0
		for range 2 {
			if err := <-errs; err == nil {
				in++
			} else if err.Code != engine.CodeUnauthenticated {
				t.Errorf("got %s: %v", err.Code, err)
			}
		}
		if in != wantIn {
			t.Errorf("with a new hash that fits: %v: %d devices got in, want %d", stillRight, in, wantIn)
		}
		if n := crypto.calls.Load(); n != 3 {
			t.Errorf("%d verifications, want one again", n)
		}
	}
}

// together makes hashes that are words. The first two verifications wait for one another.
type together struct {
	stillRight bool
	renew      atomic.Bool
	calls      atomic.Int64
	both       chan struct{}
}

func (c *together) Hash(string) (string, error) {
	if c.renew.Load() {
		return "new", nil
	}
	return "old", nil
}

func (c *together) Outdated(hash string) bool { return hash == "old" }

func (c *together) Verify(hash, _ string) (bool, error) {
	switch c.calls.Add(1) {
	case 1:
		<-c.both
	case 2:
		close(c.both)
	}
	return hash == "old" || c.stillRight, nil
}

// What was verified must still hold in the transaction: a user who is deleted meanwhile does not get in.
func TestAccountGoneWhileVerifying(t *testing.T) {
	t.Parallel()
	crypto := &counting{Crypto: cheap}
	a := setup(t, password.Options{Crypto: crypto, MaxConcurrentHashes: 1})
	a.must("signUp", "ada@example.com", secret)
	a.must("signIn", "ada@example.com", secret) // the decoy is made
	crypto.holdUp()
	got := make(chan *engine.Error, 1)
	go func() { got <- a.call("signIn", "ada@example.com", secret) }()
	<-crypto.entered
	err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
		u, err := a.users.All(tx).First()
		if err != nil {
			return err
		}
		return a.users.Delete(tx, u.ID)
	})
	if err != nil {
		t.Fatal(err)
	}
	close(crypto.hold)
	if err := <-got; err == nil || err.Code != engine.CodeUnauthenticated {
		t.Errorf("got %v", err)
	}
}

type switching struct {
	mu   sync.Mutex
	now  password.Crypto // guarded by mu
	made atomic.Int64
}

func (s *switching) set(c password.Crypto) { s.mu.Lock(); defer s.mu.Unlock(); s.now = c }

func (s *switching) get() password.Crypto { s.mu.Lock(); defer s.mu.Unlock(); return s.now }

func (s *switching) Hash(pw string) (string, error) { s.made.Add(1); return s.get().Hash(pw) }

func (s *switching) Verify(hash, pw string) (bool, error) { return s.get().Verify(hash, pw) }

func (s *switching) Outdated(hash string) bool { return s.get().(password.Rehasher).Outdated(hash) }
