package authmod_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// codeModule signs in by codes, and is written against the exported API alone.
type codeModule struct {
	name    string
	options authmod.CodeOptions
	deliver bool
	notice  bool
	codes   *authmod.Codes
	sheet   *authmod.Sheet
	ask     engine.MutationRef[askArgs, struct{}]
}

type askArgs struct {
	To, Key      string
	User, Params json.RawMessage
}

func (m *codeModule) Provider() string { return m.name }

func (m *codeModule) Attach(h *authmod.Host) {
	m.codes, m.sheet = h.Codes(m.options), h.Profile(nil)
	m.ask = engine.Mutation(h.Schema(), "auth:ask_"+m.name, func(tx *engine.Tx, in askArgs) (struct{}, error) {
		return struct{}{}, m.codes.Issue(tx, authmod.CodeRequest{
			Purpose: authmod.PurposeSignIn, To: in.To, Deliver: m.deliver, Notice: m.notice, Key: in.Key,
			NewUser: authmod.NewUserOf(in.User), Params: in.Params, State: json.RawMessage(`"kept"`),
		})
	}, engine.Internal())
}

func (m *codeModule) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	email, issue := a.Param("email")
	if issue != nil {
		return authmod.Answer{}, authmod.Invalid(*issue)
	}
	if code, issue := a.Reserved("code"); issue == nil {
		purpose := authmod.PurposeSignIn
		if a.Flow() == "other" {
			purpose = authmod.PurposeReset
		}
		found, err := m.codes.Check(a, purpose, email, code)
		if err != nil {
			return authmod.Answer{}, err
		}
		return m.complete(a, found)
	}
	user, issues, err := m.sheet.Check(a)
	if err != nil || len(issues) > 0 {
		return authmod.Answer{}, errors.Join(err, authmod.Invalid(issues...))
	}
	_, err = m.ask.Run(a.ActionCtx, askArgs{To: email, Key: a.Key(), User: user.Document(), Params: a.Params()})
	return authmod.Started(), err
}

func (m *codeModule) Redeem(a *authmod.Attempt, code string) (authmod.Answer, bool, error) {
	found, mine, err := m.codes.CheckLink(a, code)
	if err != nil || !mine {
		return authmod.Answer{}, mine, err
	}
	out, err := m.complete(a, found)
	return out, true, err
}

func (m *codeModule) complete(a *authmod.Attempt, found *engine.Doc[authmod.CodeDoc]) (authmod.Answer, error) {
	state, err := json.Marshal(found.ID)
	if err != nil {
		return authmod.Answer{}, err
	}
	return a.Complete(authmod.Completion{
		Mode: authmod.Either, AccountID: found.Value.To, VerifiedEmail: found.Value.To, State: state,
		User: authmod.NewUserOf(found.Value.NewUser), Params: found.Value.Params,
	})
}

func (m *codeModule) Join(tx *engine.Tx, c *authmod.Completion) error {
	var id engine.ID[authmod.CodeDoc]
	if err := json.Unmarshal(c.State, &id); err != nil {
		return err
	}
	_, err := m.codes.Redeem(tx, id)
	return err
}

// mailbox takes what is sent.
type mailbox struct {
	mu    sync.Mutex
	mails []authmod.Message // guarded by mu
	fail  func(ctx context.Context, n int, m authmod.Message) error
}

func (b *mailbox) send(ctx context.Context, m authmod.Message) error {
	b.mu.Lock()
	b.mails = append(b.mails, m)
	n, fail := len(b.mails), b.fail
	b.mu.Unlock()
	if fail != nil {
		return fail(ctx, n, m)
	}
	return nil
}

func (b *mailbox) all() []authmod.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]authmod.Message(nil), b.mails...)
}

func (b *mailbox) last(t *testing.T) authmod.Message {
	t.Helper()
	all := b.all()
	if len(all) == 0 {
		t.Fatal("nothing was sent")
	}
	return all[len(all)-1]
}

// codeApp is an application whose only module has codes. It belongs into a bubble of synctest, whose Wait waits for its jobs.
type codeApp struct {
	*app
	module *codeModule
	mail   *mailbox
	people *engine.Collection[looseUser]
	schema *engine.Schema
}

func codeSetup(t *testing.T, change ...func(*codeApp, *authmod.Options, *engine.Options)) *codeApp {
	t.Helper()
	a := &codeApp{
		app: &app{t: t, log: &syncBuffer{}}, mail: &mailbox{}, module: &codeModule{name: "code", deliver: true},
		schema: engine.NewSchema(),
	}
	options := authmod.Options{Modules: []authmod.Module{a.module}}
	var db engine.Options
	a.module.options.Send = a.mail.send
	for _, c := range change {
		c(a, &options, &db)
	}
	a.people = engine.Define[looseUser](a.schema, "users")
	a.auth = authmod.New(a.schema, a.people, options)
	a.db = enginetest.Open(t, a.schema, func(o *engine.Options) {
		o.Store = db.Store
		if o.Store == nil {
			o.Store = memstore.New(memstore.Options{})
		}
		a.store = o.Store
		o.Logger = slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	return a
}

func codeArgs(provider, email, code string) string {
	p := map[string]any{"email": email, "course": "go"}
	if code != "" {
		p = map[string]any{"email": email, "code": code}
	}
	b, err := json.Marshal(map[string]any{"provider": provider, "params": p})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// ask asks for a code and waits for its job.
func (a *codeApp) ask(email string) {
	a.t.Helper()
	if out, err := a.device().call(codeArgs("code", email, "")); err != nil || !out.Started {
		a.t.Fatalf("asked for a code: %v %v", out.raw, err)
	}
	synctest.Wait()
}

func (a *codeApp) enter(email, code string) (answer, *engine.Error) {
	a.t.Helper()
	return a.device().call(codeArgs("code", email, code))
}

func (a *codeApp) docs() (out []*engine.Doc[authmod.CodeDoc]) {
	a.t.Helper()
	var b bytes.Buffer
	if _, err := a.db.Export(context.Background(), "authCodes", &b); err != nil {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		d := &engine.Doc[authmod.CodeDoc]{}
		if err := json.Unmarshal([]byte(line), &d.Value); err != nil {
			a.t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

const wrongCode = `{"code":"invalid","message":"invalid sign-in parameters","issues":[{"path":"code","rule":"code","message":"is not valid, or not any more"}]}`

func errorJSON(t *testing.T, err *engine.Error) string {
	t.Helper()
	b, e := json.Marshal(err)
	if e != nil {
		t.Fatal(e)
	}
	return string(b)
}

func TestCodeSignsInOnceHoweverManyTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t)
		a.ask("ada@example.com")
		m := a.mail.last(t)
		if m.Provider != "code" || m.Purpose != authmod.PurposeSignIn || m.To != "ada@example.com" || len(m.Code) != 8 ||
			m.Link != "" || !strings.Contains(string(m.Params), `"course":"go"`) || time.Until(m.Expires) != 15*time.Minute {
			t.Fatalf("%+v", m)
		}
		var mu sync.Mutex
		in, refused := 0, 0
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				code := m.Code
				if i%2 == 0 { // as people type it
					code = m.Code[:4] + " – " + m.Code[4:]
				}
				out, err := a.enter("ada@example.com", code)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && out.Tokens != nil:
					in++
				case err != nil && (errorJSON(t, err) == wrongCode || err.Code == engine.CodeBusy): // so many are guesses
					refused++
				default:
					t.Errorf("%s %v", out.raw, err)
				}
			})
		}
		all.Wait()
		if in != 1 || refused != 49 {
			t.Errorf("%d signed in, %d refused", in, refused)
		}
		if n := len(a.docs()); n != 0 {
			t.Errorf("%d codes are left", n)
		}
	})
}

// Whatever is wrong with a code, the answer is the same bytes.
func TestWrongCodes(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]func(a *codeApp, m authmod.Message) (answer, *engine.Error){
		"another": func(a *codeApp, m authmod.Message) (answer, *engine.Error) { return a.enter(m.To, other(m.Code)) },
		"empty":   func(a *codeApp, m authmod.Message) (answer, *engine.Error) { return a.enter(m.To, " ") },
		"long": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			return a.enter(m.To, strings.Repeat(m.Code, 1000))
		},
		"not a number": func(a *codeApp, m authmod.Message) (answer, *engine.Error) { return a.enter(m.To, "zzzzzzzz") },
		"of another address": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			a.ask("bob@example.com")
			return a.enter("bob@example.com", m.Code)
		},
		"nobody's address": func(a *codeApp, m authmod.Message) (answer, *engine.Error) { return a.enter("eve@example.com", m.Code) },
		"of another purpose": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			return a.device().call(`{"provider":"code","params":{"flow":"other","email":"` + m.To + `","code":"` + m.Code + `"}}`)
		},
		"of another module": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			return a.device().call(codeArgs("second", m.To, m.Code))
		},
		"expired": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			time.Sleep(15 * time.Minute)
			return a.enter(m.To, m.Code)
		},
		"tried too often": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			for range 5 {
				a.enter(m.To, other(m.Code))
			}
			return a.enter(m.To, m.Code)
		},
		"used": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			a.enter(m.To, m.Code)
			return a.enter(m.To, m.Code)
		},
		"another was used": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			a.ask(m.To)
			a.enter(m.To, a.mail.last(a.t).Code)
			return a.enter(m.To, m.Code)
		},
		"in an address, without a link": func(a *codeApp, m authmod.Message) (answer, *engine.Error) {
			return a.device().call(`{"params":{"code":"` + m.Code + `"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := codeSetup(t, func(a *codeApp, o *authmod.Options, _ *engine.Options) {
					o.Modules = append(o.Modules, &codeModule{name: "second", deliver: true, options: a.module.options})
				})
				a.ask("ada@example.com")
				out, err := try(a, a.mail.all()[0])
				if err == nil || errorJSON(t, err) != wrongCode {
					t.Errorf("%s %v", out.raw, err)
				}
			})
		})
	}
}

// other is a wrong code.
func other(code string) string {
	if code[0] == '0' {
		return "1" + code[1:]
	}
	return "0" + code[1:]
}

// Wrong codes are counted however many come at once, and over all the codes that an address is sent.
func TestGuessingCodesIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t)
		a.ask("ada@example.com")
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() { a.enter("ada@example.com", other(a.mail.all()[0].Code)) })
		}
		all.Wait()
		if d := a.docs(); d[0].Value.Tries < 5 {
			t.Errorf("%d tries were counted", d[0].Value.Tries)
		}
		if _, err := a.enter("ada@example.com", a.mail.all()[0].Code); err == nil {
			t.Error("the code is good after more wrong ones than allowed")
		}
		a.ask("ada@example.com")
		_, err := a.enter("ada@example.com", a.mail.last(t).Code)
		if err == nil || err.Code != engine.CodeBusy {
			t.Errorf("after 40 wrong codes: %v, want busy", err)
		}
		a.ask("bob@example.com")
		if out, err := a.enter("bob@example.com", a.mail.last(t).Code); err != nil || out.Tokens == nil {
			t.Errorf("another address: %v", err)
		}
	})
}

// A sender that fails is tried again with another code, a few times. All that were sent are good, since a message may well have
// arrived although its sender failed.
func TestSenderThatFails(t *testing.T) {
	t.Parallel()
	for n := range 3 { // whichever the person types
		synctest.Test(t, func(t *testing.T) {
			a := codeSetup(t)
			a.mail.fail = func(_ context.Context, n int, _ authmod.Message) error {
				if n == 2 {
					panic("no connection")
				}
				if n < 3 {
					return errors.New("no connection")
				}
				return nil
			}
			a.ask("ada@example.com")
			time.Sleep(time.Minute)
			synctest.Wait()
			mails := a.mail.all()
			if len(mails) != 3 || mails[0].Code == mails[1].Code {
				t.Fatalf("%d mails were sent", len(mails))
			}
			if out, err := a.enter("ada@example.com", mails[n].Code); err != nil || out.Tokens == nil {
				t.Errorf("code %d: %v", n, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t)
		a.mail.fail = func(context.Context, int, authmod.Message) error { return errors.New("no connection") }
		a.ask("ada@example.com")
		time.Sleep(time.Hour)
		if n := len(a.mail.all()); n != 5 {
			t.Errorf("a sender that always fails was called %d times", n)
		}
		a.mail.fail = func(context.Context, int, authmod.Message) error {
			return engine.Errorf(engine.CodeInvalid, "no such mailbox")
		}
		a.ask("bob@example.com")
		time.Sleep(time.Hour)
		if n := len(a.mail.all()); n != 6 {
			t.Errorf("a sender that gave up was called %d times more", n-5)
		}
	})
}

func TestSenderThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t)
		var hung []time.Duration
		a.mail.fail = func(ctx context.Context, n int, _ authmod.Message) error {
			if n > 1 {
				return nil
			}
			began := time.Now()
			<-ctx.Done()
			hung = append(hung, time.Since(began))
			return ctx.Err()
		}
		began := time.Now()
		a.ask("ada@example.com")
		if d := time.Since(began); d != 0 {
			t.Errorf("auth:signIn waited %v for the sender", d)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(hung) != 1 || hung[0] != 30*time.Second {
			t.Errorf("the sender was let go after %v", hung)
		}
		if n := len(a.mail.all()); n != 2 {
			t.Errorf("%d attempts", n)
		}
	})
}

// Nothing that opens an account lies in the store, in a backup, in an export or in the log: neither while a code is good nor
// afterwards, and not when its sender fails and says with which code.
func TestNoCodeLiesAnywhere(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string][]byte{"with a secret": bytes.Repeat([]byte{7}, 32), "without": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := codeSetup(t, func(a *codeApp, o *authmod.Options, _ *engine.Options) {
					o.KeySecret, a.module.options.Link = secret, "https://app.example/in?lang=en"
				})
				a.mail.fail = func(_ context.Context, n int, m authmod.Message) error {
					switch n {
					case 1:
						return fmt.Errorf("the server did not like \"%s-%s\"", m.Code[:4], m.Code[4:])
					case 2:
						panic("could not post " + m.Link)
					case 3:
						return engine.Errorf("smtp", "no %s", m.Code)
					}
					return nil
				}
				a.ask("ada@example.com")
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				mails := a.mail.all()
				if len(mails) != 4 {
					t.Fatalf("%d mails", len(mails))
				}
				before := a.everything()
				if out, err := a.enter("ada@example.com", mails[3].Code); err != nil || out.Tokens == nil {
					t.Fatal(err)
				}
				for where, text := range map[string]string{"before": before, "after": a.everything(), "log": a.log.String()} {
					for _, m := range mails {
						token := m.Link[strings.LastIndex(m.Link, ".")+1:]
						if len(token) < 20 {
							t.Fatalf("link %s", m.Link)
						}
						if strings.Contains(text, m.Code) || strings.Contains(text, token) || strings.Contains(text, m.Code[:4]+"-"+m.Code[4:]) {
							t.Errorf("%s: a code lies there", where)
						}
					}
				}
				if !strings.Contains(a.log.String(), "since it quotes the code") {
					t.Errorf("the log says nothing of the sender that failed: %s", a.log)
				}
			})
		})
	}
}

// everything is all that the database holds: its store, its exports and a backup.
func (a *codeApp) everything() string {
	a.t.Helper()
	var b bytes.Buffer
	if _, err := a.db.Backup(context.Background(), &b, engine.BackupOptions{}); err != nil {
		a.t.Fatal(err)
	}
	for _, c := range []string{"", "_jobs", "authCodes", "authAccounts"} {
		if _, err := a.db.Export(context.Background(), c, &b); err != nil && c != "_jobs" {
			a.t.Fatalf("export of %q: %v", c, err)
		}
	}
	return a.dump() + b.String()
}

// With a secret that is kept outside, a code cannot be found by hashing all there are.
func TestCodesAreHashedUnderTheSecret(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string][]byte{"with a secret": bytes.Repeat([]byte{7}, 32), "without": {}} {
		synctest.Test(t, func(t *testing.T) {
			a := codeSetup(t, func(_ *codeApp, o *authmod.Options, _ *engine.Options) { o.KeySecret = secret })
			a.ask("ada@example.com")
			h := sha256.New()
			for _, part := range []string{"code", "code", "signIn", "ada@example.com", a.mail.last(t).Code} {
				fmt.Fprintf(h, "%d:%s", len(part), part)
			}
			guessed := base64.RawStdEncoding.EncodeToString(h.Sum(nil)) == a.docs()[0].Value.Codes[0]
			if guessed != (len(secret) == 0) {
				t.Errorf("%s: guessed is %v", name, guessed)
			}
		})
	}
}

func TestLinkSignsInOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t, func(a *codeApp, o *authmod.Options, _ *engine.Options) {
			a.module.options.Link = "https://app.example/in?lang=en"
			// A module before it, to which the code is offered first.
			o.Modules = append([]authmod.Module{&codeModule{name: "first", options: a.module.options}}, o.Modules...)
		})
		a.ask("ada@example.com")
		m := a.mail.last(t)
		address, code, ok := strings.Cut(m.Link, "code=")
		if !ok || address != "https://app.example/in?" {
			t.Fatal(m.Link)
		}
		code, _, _ = strings.Cut(code, "&")
		args := func(code string) string { return `{"params":{"code":"` + code + `"}}` }
		for _, bad := range []string{
			code[:len(code)-1], code + "A", strings.ToLower(code), "." + code, strings.Replace(code, ".", "", 1), m.Code,
			code[:strings.Index(code, ".")+1] + m.Code,
		} {
			if out, err := a.device().call(args(bad)); err == nil || errorJSON(t, err) != wrongCode {
				t.Errorf("%s: %s %v", bad, out.raw, err)
			}
		}
		a.device().must(args(code)) // wrong links are no guesses, and count for nothing
		if _, err := a.device().call(args(code)); err == nil || errorJSON(t, err) != wrongCode {
			t.Errorf("the link again: %v", err)
		}
		if _, err := a.enter(m.To, m.Code); err == nil || errorJSON(t, err) != wrongCode {
			t.Errorf("its code: %v", err)
		}
	})
}

// What the database does for an address that nobody is to be written to is what it does for any other.
func TestNobodyToWriteTo(t *testing.T) {
	t.Parallel()
	work := func(t *testing.T, deliver bool) (out string, mails int) {
		synctest.Test(t, func(t *testing.T) {
			a := codeSetup(t, func(a *codeApp, _ *authmod.Options, _ *engine.Options) { a.module.deliver = deliver })
			before := a.db.Metrics()
			a.ask("ada@example.com")
			a.enter("ada@example.com", "00000000")
			after := a.db.Metrics()
			d := a.docs()[0].Value
			out = fmt.Sprint(after.Jobs.Succeeded-before.Jobs.Succeeded, after.Commits-before.Commits, len(d.Codes), d.Tries)
			mails = len(a.mail.all())
		})
		return out, mails
	}
	known, sent := work(t, true)
	unknown, unsent := work(t, false)
	if sent != 1 || unsent != 0 {
		t.Errorf("%d and %d mails", sent, unsent)
	}
	if known != unknown {
		t.Errorf("work for a known address: %s, for an unknown one: %s", known, unknown)
	}
}

func TestNoticeHasNoCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t, func(a *codeApp, _ *authmod.Options, _ *engine.Options) {
			a.module.notice, a.module.options.Link = true, "https://app.example/in"
		})
		a.ask("ada@example.com")
		m := a.mail.last(t)
		if m.Code != "" || m.Link != "" || m.To != "ada@example.com" {
			t.Errorf("%+v", m)
		}
		if _, err := a.enter("ada@example.com", " "); err == nil || errorJSON(t, err) != wrongCode {
			t.Errorf("a notice's code: %v", err)
		}
	})
}

// A call that is sent again because its answer was lost sends no second message within a minute.
func TestMessageOfACallThatIsSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t)
		ask := func(key string) {
			t.Helper()
			args := `{"provider":"code","params":{"email":"ada@example.com"},"idempotencyKey":"` + key + `"}`
			if out, err := a.device().call(args); err != nil || !out.Started {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for i, step := range []struct {
			key   string
			pause time.Duration
			mails int
		}{
			{"0123456789abcdef", 0, 1},
			{"0123456789abcdef", 30 * time.Second, 1},
			{"another-key-of-a-call", 0, 2},
			{"0123456789abcdef", 29 * time.Second, 2},
			{"0123456789abcdef", 2 * time.Second, 3},
		} {
			time.Sleep(step.pause)
			ask(step.key)
			if n := len(a.mail.all()); n != step.mails {
				t.Errorf("step %d: %d mails", i, n)
			}
		}
	})
}

// A program that ends between the request and the message sends it when it runs again.
func TestMessagesOverARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memstore.NewShared(memstore.Options{})
		open := func(store storage.Store) *codeApp {
			return codeSetup(t, func(a *codeApp, _ *authmod.Options, o *engine.Options) { o.Store = store })
		}
		first := open(shared.Open())
		first.mail.fail = func(ctx context.Context, _ int, _ authmod.Message) error {
			<-ctx.Done() // the program ends while it sends
			return ctx.Err()
		}
		first.ask("ada@example.com")
		if err := first.db.Close(); err != nil {
			t.Fatal(err)
		}
		second := open(shared.Open())
		time.Sleep(time.Minute)
		synctest.Wait()
		before, after := first.mail.all(), second.mail.all()
		if len(before) != 1 || len(after) != 1 || before[0].Code == after[0].Code {
			t.Fatalf("%d messages before the restart, %d after", len(before), len(after))
		}
		if out, err := second.enter("ada@example.com", before[0].Code); err != nil || out.Tokens == nil {
			t.Errorf("the first one's code: %v", err)
		}
	})
}

func TestCodesGoWithTheirUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t)
		a.ask("ada@example.com")
		a.enter("ada@example.com", a.mail.last(t).Code)
		a.ask("ada@example.com")
		a.ask("bob@example.com")
		if n := len(a.docs()); n != 2 {
			t.Fatalf("%d codes", n)
		}
		err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
			ada, err := a.people.All(tx).First()
			if err != nil {
				return err
			}
			return a.people.Delete(tx, ada.ID)
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := a.docs(); len(d) != 1 || d[0].Value.To != "bob@example.com" {
			t.Errorf("%d codes are left", len(d))
		}
		// One whose job has not run yet is not sent any more.
		if _, err := a.enter("ada@example.com", a.mail.all()[1].Code); err == nil {
			t.Error("a code of a deleted user signs in")
		}
	})
}

// Nothing piles up: what has expired is gone within a bit more than an hour.
func TestExpiredCodesGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := codeSetup(t)
		for i := range 30 {
			a.ask(fmt.Sprintf("p%d@example.com", i))
		}
		time.Sleep(80 * time.Minute)
		a.ask("ada@example.com")
		time.Sleep(time.Minute)
		synctest.Wait()
		if d := a.docs(); len(d) != 1 || d[0].Value.To != "ada@example.com" {
			t.Errorf("%d codes are left", len(d))
		}
	})
}

func TestCodeOptionsAreChecked(t *testing.T) {
	t.Parallel()
	send := func(context.Context, authmod.Message) error { return nil }
	for want, o := range map[string]authmod.CodeOptions{
		"Send is nil":                         {},
		"codes of 5 digits":                   {Send: send, Digits: 5},
		"codes of 33 digits":                  {Send: send, Digits: 33},
		"must not be negative":                {Send: send, TTL: -1},
		"Link is not an absolute address":     {Send: send, Link: "/verify"},
		"Link is not an absolute address\x00": {Send: send, Link: "app.example/verify"},
	} {
		s := engine.NewSchema()
		users := engine.Define[looseUser](s, "users")
		authmod.New(s, users, authmod.Options{Modules: []authmod.Module{&codeModule{name: "code", options: o}}})
		_, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
		if err == nil || !strings.Contains(err.Error(), strings.TrimRight(want, "\x00")) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
