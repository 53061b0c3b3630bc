package password_test

import (
	"bytes"
	"context"
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
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

// Member is the user of an application whose sign-up asks for more than an address.
type Member struct {
	authmod.UserFields
	Nick string `json:"nick"`
}

type Form struct {
	Email string `json:"email"`
	Nick  string `json:"nick" jsonschema:"minLength=2"`
}

// club is an application that sends mail. It belongs into a bubble of synctest, whose Wait waits for its jobs.
type club struct {
	t       *testing.T
	db      *engine.DB
	store   storage.Store
	auth    *authmod.Auth
	members *engine.Collection[Member]
	log     *logged
	crypto  *counting

	mu     sync.Mutex
	mails  []authmod.Message // guarded by mu
	broken error             // guarded by mu; what sending fails with

	happenings *engine.Collection[happened] // what triggers saw, of transactions that committed
}

// vouching is a module like those of identity providers: it takes the word of its caller that an address is theirs. Without one
// it makes temporary users.
type vouching struct{ sheet *authmod.Sheet }

func (*vouching) Provider() string         { return "vouching" }
func (m *vouching) Attach(h *authmod.Host) { m.sheet = h.Profile(nil) }
func (m *vouching) SignIn(a *authmod.Attempt) (authmod.Answer, error) {
	user, issues, err := m.sheet.Check(a)
	if err != nil || len(issues) > 0 {
		return authmod.Answer{}, errors.Join(err, authmod.Invalid(issues...))
	}
	id, temporary := user.Email, false
	if id == "" {
		id, temporary = "temporary", true
	}
	return a.Complete(authmod.Completion{
		Mode: authmod.Either, AccountID: id, User: user, VerifiedEmail: user.Email, Temporary: temporary, Params: a.Params(),
	})
}

func newClub(t *testing.T, change ...func(*password.Options, *authmod.Options, *engine.Options)) *club {
	t.Helper()
	a := &club{t: t, log: &logged{}, crypto: &counting{Crypto: cheap}}
	o := password.Options{
		Crypto: a.crypto, MinLength: 8, Verify: true, Send: a.send,
		Profile: authmod.NewProfile(func(f Form) (Member, error) {
			return Member{UserFields: authmod.UserFields{Email: f.Email}, Nick: f.Nick}, nil
		}),
	}
	var auth authmod.Options
	options := engine.Options{}
	for _, c := range change {
		c(&o, &auth, &options)
	}
	s := engine.NewSchema()
	a.happenings = engine.Define[happened](s, "happenings")
	a.members = engine.Define[Member](s, "members")
	auth.Modules = append(auth.Modules, password.New(o), &vouching{})
	a.auth = authmod.New(s, a.members, auth)
	triggers.OnCreate(a.members, "note", func(tx *engine.Tx, d *engine.Doc[Member]) error {
		in := authmod.SignIn(tx)
		if in == nil {
			return nil
		}
		if d.Value.Nick == "refused" {
			return engine.Errorf("no_such_course", "refused")
		}
		if d.Value.Nick == "unique" {
			n, err := a.members.All(tx).Filter(func(o *engine.Doc[Member]) bool { return o.Value.Nick == "unique" }).Count()
			if err == nil && n > 1 {
				err = engine.Errorf(engine.CodeAlreadyExists, "taken").WithIssues(engine.Issue{Path: "nick", Rule: "unique"})
			}
			if err != nil {
				return err
			}
		}
		if in.Provider == "password" {
			p, err := authmod.Params[Form](tx)
			if err != nil || p.Nick != d.Value.Nick {
				return fmt.Errorf("OnCreate of %s got %+v, %w", d.Value.Nick, p, err)
			}
		}
		if d.Value.EmailVerified {
			return a.event(tx, "created %s, verified, by %s", d.Value.Nick, in.Flow)
		}
		return a.event(tx, "created %s by %s", d.Value.Nick, in.Flow)
	})
	triggers.OnUpdate(a.members, "note", func(tx *engine.Tx, before, after *engine.Doc[Member]) error {
		return a.event(tx, "updated %s verified=%v", after.Value.Nick, after.Value.EmailVerified)
	})
	triggers.OnDelete(a.members, "note", func(tx *engine.Tx, before *engine.Doc[Member]) error {
		return a.event(tx, "deleted %s", before.Value.Nick)
	})
	engine.Query(s, "members:me", func(tx *engine.ReadTx, _ struct{}) (string, error) {
		id, err := authmod.UserID(tx, a.members)
		if err != nil {
			return "", nil //nolint:nilerr // nobody
		}
		d, err := a.members.Get(tx, id)
		if err != nil {
			return "", err
		}
		return d.Value.Nick, nil
	})
	a.db = enginetest.Open(t, s, func(eo *engine.Options) {
		eo.Store = options.Store
		if eo.Store == nil {
			eo.Store = memstore.New(memstore.Options{})
		}
		a.store = eo.Store
		eo.Logger = slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	return a
}

// happened is something that a trigger saw.
type happened struct {
	N    int    `json:"n"`
	What string `json:"what"`
}

func (a *club) event(tx *engine.Tx, format string, args ...any) error {
	n, err := a.happenings.All(tx).Count()
	if err == nil {
		_, err = a.happenings.Insert(tx, happened{n, fmt.Sprintf(format, args...)})
	}
	return err
}

// events returns what has happened so far, in order.
func (a *club) events() (out string) {
	a.t.Helper()
	all := map[int]string{}
	err := a.db.View(context.Background(), func(r *engine.ReadTx) error {
		for d, err := range a.happenings.All(r).Docs() {
			if err != nil {
				return err
			}
			all[d.Value.N] = d.Value.What
		}
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	var texts []string
	for n := range len(all) {
		texts = append(texts, all[n])
	}
	return strings.Join(texts, "; ")
}

func (a *club) send(_ context.Context, m authmod.Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mails = append(a.mails, m)
	return a.broken
}

func (a *club) sent() []authmod.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]authmod.Message(nil), a.mails...)
}

// code is the code of the newest message, which must be for this purpose.
func (a *club) code(purpose string) string {
	a.t.Helper()
	all := a.sent()
	if len(all) == 0 || all[len(all)-1].Purpose != purpose || (all[len(all)-1].Code == "") != (purpose == authmod.PurposeExists) {
		a.t.Fatalf("messages: %+v, want one for %s", all, purpose)
	}
	return all[len(all)-1].Code
}

// phone is one device.
type phone struct {
	club      *club
	principal engine.Principal
	token     string
	raw       string // the last answer
}

func (a *club) phone() *phone { return &phone{club: a} }

// call calls auth:signIn as a connection does and waits for the jobs that it leaves behind.
func (p *phone) call(provider, flow string, params ...string) *engine.Error {
	p.club.t.Helper()
	defer synctest.Wait()
	members := map[string]string{"flow": flow}
	for i := 0; i < len(params); i += 2 {
		members[params[i]] = params[i+1]
	}
	call := map[string]any{"provider": provider, "params": members}
	if key, ok := members["key"]; ok {
		delete(members, "key")
		call["idempotencyKey"] = key
	}
	args, err := json.Marshal(call)
	if err != nil {
		p.club.t.Fatal(err)
	}
	return p.run(args)
}

func (p *phone) run(args []byte) *engine.Error {
	p.raw = ""
	res, err := p.club.db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: args, Principal: p.principal})
	if err != nil {
		var e *engine.Error
		if !errors.As(err, &e) {
			e = engine.Errorf("uncoded", "%T %v", err, err)
		}
		return e
	}
	if res.PrincipalSet {
		p.principal = res.Principal
	}
	var answer struct{ Tokens *struct{ Token string } }
	if err := json.Unmarshal(res.Value, &answer); err != nil {
		return engine.Errorf("uncoded", "%s: %v", res.Value, err)
	}
	if p.raw = string(res.Value); answer.Tokens != nil {
		p.token, p.raw = answer.Tokens.Token, "tokens"
	}
	return nil
}

// wants fails the test unless a call of the password module is answered like this: "tokens", the JSON of an answer, or an
// error's code.
func (p *phone) wants(answer, flow string, params ...string) {
	p.club.t.Helper()
	var got string
	if err := p.call("password", flow, params...); err != nil {
		got = string(err.Code)
		if err.Code == engine.CodeInternal || err.Code == "uncoded" {
			p.club.t.Errorf("%s: %v", flow, err)
		}
	} else {
		got = p.raw
	}
	if got != answer {
		p.club.t.Errorf("%s %q: answered %s, want %s", flow, params, got, answer)
	}
}

// me is the nickname of whoever the device is signed in as.
func (p *phone) me() (nick string) {
	p.club.t.Helper()
	res, err := p.club.db.RunQuery(context.Background(), engine.Call{Function: "members:me", Principal: p.principal})
	if err == nil {
		err = json.Unmarshal(res.Value, &nick)
	}
	if err != nil {
		p.club.t.Fatal(err)
	}
	return nick
}

func (a *club) all() (members []Member, accounts []authmod.Account) {
	a.t.Helper()
	err := a.db.View(context.Background(), func(r *engine.ReadTx) error {
		ms, err := a.members.All(r).Collect()
		if err != nil {
			return err
		}
		for _, d := range ms {
			members = append(members, d.Value)
		}
		as, err := a.auth.Accounts().All(r).Collect()
		for _, d := range as {
			accounts = append(accounts, d.Value)
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return members, accounts
}

// everything is all that the store, a backup and an export hold, and the log.
func (a *club) everything() string {
	a.t.Helper()
	var b bytes.Buffer
	ctx := context.Background()
	if _, err := a.db.Backup(ctx, &b, engine.BackupOptions{}); err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.db.Export(ctx, "", &b); err != nil {
		a.t.Fatal(err)
	}
	head, err := a.store.Head(ctx)
	if err != nil {
		a.t.Fatal(err)
	}
	snap, err := a.store.At(ctx, head)
	if err != nil {
		a.t.Fatal(err)
	}
	defer snap.Close()
	for kv, err := range snap.Scan(nil, nil, false, 0) {
		if err != nil {
			a.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%q: %s\n", kv.Key, kv.Value)
	}
	return b.String() + a.log.String()
}

const (
	started = `{"started":true}`
	ada     = "ada@example.com"
	hers    = "her own long password"
	his     = "the attacker's password"
)

func inBubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, fn)
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
