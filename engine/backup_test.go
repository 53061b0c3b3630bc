package engine_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// medium keeps what a store has stored when the store is closed. Each call opens it again.
type medium func() (storage.Store, error)

// media make new ones, with a clock.
var media = map[string]func(t testing.TB, clock func() time.Time) medium{
	"mem": func(_ testing.TB, clock func() time.Time) medium {
		shared := memstore.NewShared(memstore.Options{Clock: clock})
		return func() (storage.Store, error) { return shared.Open(), nil }
	},
	"badger": func(t testing.TB, clock func() time.Time) medium {
		dir := filepath.Join(t.TempDir(), "data")
		return func() (storage.Store, error) { return badgerstore.Open(badgerstore.Options{Dir: dir, Clock: clock}) }
	},
}

// overMedia runs a test over every store.
func overMedia(t *testing.T, test func(t *testing.T, fresh func(clock func() time.Time) medium)) {
	for name, mk := range media {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(clock func() time.Time) medium { return mk(t, clock) })
		})
	}
}

func plain(store storage.Store, clock func() time.Time) engine.Options {
	return engine.Options{Store: store, Clock: clock, Limits: patient, Logger: slog.New(slog.DiscardHandler)}
}

type fataler interface {
	Helper()
	Fatal(...any)
}

func launch(t fataler, m medium, s *engine.Schema, clock func() time.Time) (*engine.DB, storage.Store) {
	t.Helper()
	store, err := m()
	if err != nil {
		t.Fatal(err)
	}
	db, err := engine.Open(s, plain(store, clock))
	if err != nil {
		t.Fatal(err)
	}
	return db, store
}

// dump is what is stored at a timestamp: documents, index entries, requests. What the database knows of itself is left out.
func dump(t fataler, store storage.Store, at engine.Timestamp) map[string]string {
	t.Helper()
	snap, err := store.At(context.Background(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	rows := map[string]string{}
	for kv, err := range snap.Scan(nil, nil, false, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if kv.Key[0] != 'm' {
			rows[string(kv.Key)] = string(kv.Value)
		}
	}
	return rows
}

func sameRows(t fataler, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			t.Fatal("row", hex.EncodeToString([]byte(k)), "is", g, "and should be", v)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Fatal("row", hex.EncodeToString([]byte(k)), "should not be there")
		}
	}
}

func backup(t fataler, db *engine.DB, since engine.Timestamp) ([]byte, engine.BackupInfo) {
	t.Helper()
	var b bytes.Buffer
	info, err := db.Backup(context.Background(), &b, engine.BackupOptions{Since: since})
	if err != nil {
		t.Fatal(err)
	}
	read, err := engine.InspectBackup(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if read != info {
		t.Fatal("the backup says of itself", read, "and was made as", info)
	}
	return b.Bytes(), info
}

func readers(files ...[]byte) (out []io.Reader) {
	for _, f := range files {
		out = append(out, bytes.NewReader(f))
	}
	return out
}

func restore(t fataler, m medium, s *engine.Schema, clock func() time.Time, files ...[]byte) engine.RestoreInfo {
	t.Helper()
	store, err := m()
	if err != nil {
		t.Fatal(err)
	}
	info, err := engine.Restore(context.Background(), s, plain(store, clock), readers(files...)...)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Writers move money, open and close accounts while a backup is read slowly. What it holds is one state that was.
func TestBackupWhileWritersRun(t *testing.T) {
	t.Parallel()
	overMedia(t, func(t *testing.T, fresh func(func() time.Time) medium) {
		b := newBank()
		db, store := launch(t, fresh(nil), b.schema, nil)
		defer func() { must(t, db.Close()) }()
		const accounts, each = 200, 100
		var ids []engine.ID[account]
		update(t, db, func(tx *engine.Tx) error {
			ids = nil
			for i := range accounts {
				id, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint(i), Balance: each, Note: strings.Repeat("n", 500)})
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return nil
		})
		ctx, stop := context.WithCancel(context.Background())
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := w; ctx.Err() == nil; i++ {
					from, to := ids[i%accounts], ids[(i*7+1)%accounts]
					if from == to {
						continue
					}
					err := db.Update(context.Background(), func(tx *engine.Tx) error {
						for id, by := range map[engine.ID[account]]int{from: -1, to: 1} {
							if err := b.accounts.Patch(tx, id, func(a *account) error { a.Balance += by; return nil }); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		var file bytes.Buffer
		before := db.Published()
		info, err := db.Backup(ctx, writerFunc(func(p []byte) (int, error) {
			was := db.Published()
			eventually(t, "a commit while the backup runs", func() bool { return db.Published() > was || t.Failed() })
			return file.Write(p)
		}), engine.BackupOptions{})
		stop()
		writers.Wait()
		must(t, err)
		if info.At < before || info.At >= db.Published() || info.Documents != accounts {
			t.Errorf("%d documents at %d, begun at %d, ended at %d", info.Documents, info.At, before, db.Published())
		}
		target := fresh(nil)
		restored := restore(t, target, b.schema, nil, file.Bytes())
		if restored.At != info.At || restored.Head <= info.At || restored.Documents != accounts {
			t.Errorf("restored %+v", restored)
		}
		db2, store2 := launch(t, target, b.schema, nil)
		defer func() { must(t, db2.Close()) }()
		sameRows(t, dump(t, store2, db2.Published()), dump(t, store, info.At))
		total := 0
		view(t, db2, func(r *engine.ReadTx) error {
			docs, err := b.balance.Scan(r).Collect()
			for _, d := range docs {
				total += d.Value.Balance
			}
			return err
		})
		if total != accounts*each {
			t.Errorf("money of the restored bank: %d, want %d", total, accounts*each)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// taken is a backup with the state that it must lead to.
type taken struct {
	file []byte
	info engine.BackupInfo
	rows map[string]string
	sent map[uint64]string // requests of each session by then: their results
}

// Random writes, deletions, requests, pruning, restarts and backups: whatever chain of backups is restored, the result is the
// state at the last one's timestamp, requests included.
func TestBackupChains(t *testing.T) {
	t.Parallel()
	for name, mk := range media {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A store on disk is opened several times a run, so that it gets fewer runs; those that rapid needs to find the
			// smallest failure are not cut short.
			runs, most := 0, 1000
			if name == "badger" {
				most = 12
			}
			rapid.Check(t, func(rt *rapid.T) {
				if runs++; runs > most {
					return
				}
				failed := true
				defer func() {
					if failed {
						most = runs + 1000
					}
				}()
				new(chainModel).run(t, rt, mk)
				failed = false
			})
		})
	}
}

type chainModel struct {
	c        *counters
	clock    calendar
	m        medium
	db       *engine.DB
	store    storage.Store
	requests map[uint64]string
	next     uint64
	backups  []taken
}

func (m *chainModel) run(t *testing.T, rt *rapid.T, mk func(testing.TB, func() time.Time) medium) {
	m.c, m.requests = newCounters(), map[uint64]string{}
	m.m = mk(t, m.clock.now)
	m.db, m.store = launch(rt, m.m, m.c.schema, m.clock.now)
	defer func() { _ = m.db.Close() }()
	steps := map[string]func(*rapid.T){"request": m.request, "write": m.write, "delete": m.remove, "backup": m.backup, "time": m.time, "restart": m.restart}
	names := slices.Sorted(maps.Keys(steps))
	for range rapid.IntRange(5, 30).Draw(rt, "steps") {
		m.clock.pass(time.Second)
		steps[rapid.SampledFrom(names).Draw(rt, "step")](rt)
	}
	m.backup(rt)
	// A chain: the last backup, the one that it follows, and so on to a full one.
	chain := []taken{m.backups[len(m.backups)-1]}
	for chain[0].info.Since != 0 {
		i := slices.IndexFunc(m.backups, func(b taken) bool { return b.info.At == chain[0].info.Since })
		chain = slices.Insert(chain, 0, m.backups[i])
	}
	var files [][]byte
	for _, b := range chain {
		files = append(files, b.file)
	}
	last := chain[len(chain)-1]
	target := mk(t, m.clock.now)
	info := restore(rt, target, m.c.schema, m.clock.now, files...)
	if info.Head <= last.info.At {
		rt.Fatalf("the head is %d after a restore of %d", info.Head, last.info.At)
	}
	db, store := launch(rt, target, m.c.schema, m.clock.now)
	defer func() { _ = db.Close() }()
	sameRows(rt, dump(rt, store, db.Published()), last.rows)
	for n, want := range last.sent {
		r, err := db.RunMutation(context.Background(), m.call(n))
		if want == "" { // pruned
			if !isUnknown(err) {
				rt.Fatalf("request %d, pruned before the backup: %v", n, err)
			}
			continue
		}
		if err != nil || !r.Replayed || string(r.Value) != want {
			rt.Fatalf("request %d: replayed %v, %s, %v; it gave %s", n, r.Replayed, r.Value, err, want)
		}
	}
}

func (m *chainModel) call(n uint64) engine.Call {
	session := fmt.Sprintf("session%d", n%3)
	return engine.Call{
		Function: "tally:add", Args: fmt.Appendf(nil, `{"name":"of %s"}`, session),
		Request: &engine.RequestID{Session: session, Request: n},
	}
}

func (m *chainModel) request(rt *rapid.T) {
	for range rapid.IntRange(1, 4).Draw(rt, "requests") {
		m.next++
		r, err := m.db.RunMutation(context.Background(), m.call(m.next))
		if err != nil {
			rt.Fatal(err)
		}
		m.requests[m.next] = string(r.Value)
	}
}

func (m *chainModel) write(rt *rapid.T) {
	name := fmt.Sprintf("tally %d", rapid.IntRange(0, 9).Draw(rt, "tally"))
	if _, err := m.db.RunMutation(context.Background(), engine.Call{Function: "tally:add", Args: fmt.Appendf(nil, `{"name":%q}`, name)}); err != nil {
		rt.Fatal(err)
	}
}

func (m *chainModel) remove(rt *rapid.T) {
	err := m.db.Update(context.Background(), func(tx *engine.Tx) error {
		d, err := m.c.byName.Scan(tx).First()
		if errors.Is(err, engine.ErrNotFound) {
			return nil
		}
		if err == nil {
			err = m.c.tallies.Delete(tx, d.ID)
		}
		return err
	})
	if err != nil {
		rt.Fatal(err)
	}
}

// backup is a full one, or follows one of the earlier ones that is not too old, not only the last.
func (m *chainModel) backup(rt *rapid.T) {
	engine.SetChangedUnits(m.db, rapid.IntRange(1, 20).Draw(rt, "units in memory"))
	var since engine.Timestamp
	if i := rapid.IntRange(-1, len(m.backups)-1).Draw(rt, "after"); i >= 0 {
		since = m.backups[i].info.At
	}
	var file bytes.Buffer
	info, err := m.db.Backup(context.Background(), &file, engine.BackupOptions{Since: since})
	if errors.Is(err, engine.ErrBackupBase) && since > 0 && time.Unix(0, int64(since)).Before(m.clock.now().Add(-48*time.Hour)) {
		if file.Len() > 0 {
			rt.Fatalf("a backup that was refused has %d bytes", file.Len())
		}
		since = 0
		info, err = m.db.Backup(context.Background(), &file, engine.BackupOptions{})
	}
	if err != nil {
		rt.Fatal(err)
	}
	if info.Since != since {
		rt.Fatalf("asked for since %d, got %+v", since, info)
	}
	m.backups = append(m.backups, taken{file.Bytes(), info, dump(rt, m.store, info.At), maps.Clone(m.requests)})
}

// time lets minutes or weeks pass, and the database do what it does meanwhile.
func (m *chainModel) time(rt *rapid.T) {
	m.clock.pass(rapid.SampledFrom([]time.Duration{time.Minute, 5 * time.Hour, 40 * time.Hour, 31 * day}).Draw(rt, "passes"))
	if err := errors.Join(engine.PruneRequests(context.Background(), m.db), engine.Compact(context.Background(), m.db)); err != nil {
		rt.Fatal(err)
	}
	m.forget(rt)
}

// forget finds out which requests were pruned: it asks for them, where that has no effect since they are known or unknown. Of a
// session that was forgotten as a whole, a request would be run anew, so that it is left out.
func (m *chainModel) forget(rt *rapid.T) {
	rows := dump(rt, m.store, m.db.Published())
	for n := range m.requests {
		prefix := "s" + m.call(n).Request.Session + "\x00"
		known := false
		for k := range rows {
			known = known || strings.HasPrefix(k, prefix)
		}
		if !known {
			delete(m.requests, n)
			continue
		}
		if _, err := m.db.RunMutation(context.Background(), m.call(n)); isUnknown(err) {
			m.requests[n] = ""
		} else if err != nil {
			rt.Fatal(err)
		}
	}
}

func (m *chainModel) restart(rt *rapid.T) {
	if err := m.db.Close(); err != nil {
		rt.Fatal(err)
	}
	m.db, m.store = launch(rt, m.m, m.c.schema, m.clock.now)
}

// Damage anywhere is found, and what it leaves is never opened.
func TestDamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	b := newBank()
	m := media["mem"](t, nil)
	db, _ := launch(t, m, b.schema, nil)
	for i := range 40 {
		b.open(t, db, fmt.Sprint("owner ", i), i)
	}
	full, info := backup(t, db, 0)
	b.open(t, db, "late", 1)
	incremental, _ := backup(t, db, info.At)
	must(t, db.Close())
	refused := func(what string, files ...[]byte) {
		t.Helper()
		target := media["mem"](t, nil)
		store, err := target()
		must(t, err)
		if _, err := engine.Restore(t.Context(), b.schema, plain(store, nil), readers(files...)...); !errors.Is(err, engine.ErrBackupDamaged) {
			t.Fatalf("%s: %v, want ErrBackupDamaged", what, err)
		}
		notOpened(t, target, b.schema)
	}
	// Every third byte, so that all parts of both files are hit: header, records of each kind, trailer.
	for i := 0; i < len(full); i += 3 {
		flipped := bytes.Clone(full)
		flipped[i] ^= 0x10
		refused(fmt.Sprintf("byte %d of the full backup is flipped", i), flipped, incremental)
		refused(fmt.Sprintf("the full backup ends at byte %d", i), full[:i], incremental)
	}
	for i := 0; i < len(incremental); i += 3 {
		flipped := bytes.Clone(incremental)
		flipped[i] ^= 0x10
		refused(fmt.Sprintf("byte %d of the incremental backup is flipped", i), full, flipped)
		refused(fmt.Sprintf("the incremental backup ends at byte %d", i), full, incremental[:i])
	}
	refused("something follows", append(bytes.Clone(full), 'x'))
	refused("no backup", []byte("not a backup at all"))
}

// notOpened says that what a failed restore left is refused, or that there is nothing.
func notOpened(t *testing.T, m medium, s *engine.Schema) (rows int) {
	t.Helper()
	store, err := m()
	must(t, err)
	head, err := store.Head(context.Background())
	must(t, err)
	rows = len(dump(t, store, head))
	db, err := engine.Open(s, plain(store, nil))
	if err == nil {
		must(t, db.Close())
	}
	if !errors.Is(err, engine.ErrRestoreUnfinished) && (err != nil || rows > 0) {
		t.Fatalf("what a failed restore left, %d rows, was opened: %v", rows, err)
	}
	return rows
}

func TestRestoreThatIsInterrupted(t *testing.T) {
	t.Parallel()
	overMedia(t, func(t *testing.T, fresh func(func() time.Time) medium) {
		b := newBank()
		db, _ := launch(t, fresh(nil), b.schema, nil)
		for i := range 20 { // more than one commit of a store
			update(t, db, func(tx *engine.Tx) error {
				_, err := b.accounts.Insert(tx, account{Owner: fmt.Sprint(i), Note: strings.Repeat("n", 300_000)})
				return err
			})
		}
		full, _ := backup(t, db, 0)
		must(t, db.Close())
		broken := errors.New("the line went dead")
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(broken)
		for name, try := range map[string]struct {
			ctx context.Context
			r   io.Reader
		}{
			"read error": {context.Background(), io.MultiReader(bytes.NewReader(full[:len(full)-40]), iotest.ErrReader(broken))},
			"cancelled":  {ctx, bytes.NewReader(full)},
		} {
			target := fresh(nil)
			store, err := target()
			must(t, err)
			if _, err := engine.Restore(try.ctx, b.schema, plain(store, nil), try.r); !errors.Is(err, broken) && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
			if n := notOpened(t, target, b.schema); n == 0 && name == "read error" {
				t.Error("nothing was written before the end; the test shows less than it should")
			}
		}
	})
}

// Only an empty place takes a restore, and what is in another one stays.
func TestRestoreIntoSomething(t *testing.T) {
	t.Parallel()
	overMedia(t, func(t *testing.T, fresh func(func() time.Time) medium) {
		b := newBank()
		m := fresh(nil)
		db, _ := launch(t, m, b.schema, nil)
		b.open(t, db, "ann", 1)
		full, _ := backup(t, db, 0)
		must(t, db.Close())
		store, err := m()
		must(t, err)
		if _, err := engine.Restore(t.Context(), b.schema, plain(store, nil), bytes.NewReader(full)); !errors.Is(err, engine.ErrNotEmpty) {
			t.Errorf("got %v, want ErrNotEmpty", err)
		}
		db, _ = launch(t, m, b.schema, nil)
		view(t, db, func(r *engine.ReadTx) error {
			_, err := b.byOwner.One(r, "ann")
			return err
		})
		must(t, db.Close())
	})
	b := newBank()
	dir := t.TempDir()
	db, err := engine.Open(b.schema, engine.Options{Dir: dir})
	must(t, err)
	full, _ := backup(t, db, 0)
	must(t, db.Close())
	if _, err := engine.Restore(t.Context(), b.schema, engine.Options{Dir: dir}, bytes.NewReader(full)); !errors.Is(err, engine.ErrNotEmpty) {
		t.Errorf("a folder that is not empty: %v, want ErrNotEmpty", err)
	}
}

// Backups that do not follow one another are told from those that do before anything is written.
func TestChainsThatAreNone(t *testing.T) {
	t.Parallel()
	b := newBank()
	db, _ := launch(t, media["mem"](t, nil), b.schema, nil)
	defer func() { must(t, db.Close()) }()
	full, at0 := backup(t, db, 0)
	b.open(t, db, "ann", 1)
	first, at1 := backup(t, db, at0.At)
	b.open(t, db, "bob", 2)
	second, _ := backup(t, db, at1.At)
	other, _ := launch(t, media["mem"](t, nil), b.schema, nil)
	defer func() { must(t, other.Close()) }()
	stranger, _ := backup(t, other, 0)
	for name, files := range map[string][][]byte{
		"none":                   {},
		"no full one":            {first, second},
		"one is missing":         {full, second},
		"wrong order":            {full, second, first},
		"twice":                  {full, first, first},
		"two full ones":          {full, full},
		"of different databases": {stranger, first},
	} {
		target := media["mem"](t, nil)
		store, err := target()
		must(t, err)
		if _, err := engine.Restore(t.Context(), b.schema, plain(store, nil), readers(files...)...); !errors.Is(err, engine.ErrBackupChain) {
			t.Errorf("%s: %v, want ErrBackupChain", name, err)
		}
		store, err = target()
		must(t, err)
		head, err := store.Head(t.Context())
		must(t, err)
		if n := len(dump(t, store, head)); n > 0 {
			t.Errorf("%s: %d rows were written", name, n)
		}
	}
	restore(t, media["mem"](t, nil), b.schema, nil, full, first, second)
}

// A restored database does not take up incremental backups where the old one left off, nor gives timestamps again.
func TestHistoryAfterRestore(t *testing.T) {
	t.Parallel()
	overMedia(t, func(t *testing.T, fresh func(func() time.Time) medium) {
		b := newBank()
		db, _ := launch(t, fresh(time.Now), b.schema, time.Now)
		b.open(t, db, "ann", 1)
		full, at := backup(t, db, 0)
		last := db.Published()
		must(t, db.Close())
		// The clock of the machine that it is restored on is wrong by years.
		behind := func() time.Time { return time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) }
		target := fresh(behind)
		info := restore(t, target, b.schema, behind, full)
		if info.Head <= at.At {
			t.Errorf("restored to a head of %d, from a backup at %d", info.Head, at.At)
		}
		db, _ = launch(t, target, b.schema, behind)
		defer func() { must(t, db.Close()) }()
		if db.Published() <= info.Head || db.Published() < at.At {
			t.Errorf("opened at %d, after a restore to %d and a life up to %d", db.Published(), info.Head, last)
		}
		was := db.Published()
		b.open(t, db, "bob", 1)
		if db.Published() <= was {
			t.Errorf("a commit at %d, after %d", db.Published(), was)
		}
		if _, err := db.Backup(t.Context(), io.Discard, engine.BackupOptions{Since: at.At}); !errors.Is(err, engine.ErrBackupBase) {
			t.Errorf("an incremental backup of the restored database since one of the old: %v", err)
		}
		again, info2 := backup(t, db, 0)
		if info2.Database == at.Database {
			t.Error("the history after a restore has the name of the one before")
		}
		b.open(t, db, "cid", 1)
		more, _ := backup(t, db, info2.At)
		restore(t, fresh(behind), b.schema, behind, again, more)
	})
}

// The log is kept for incremental backups as long as the window says, also over restarts, and no longer.
func TestBackupWindow(t *testing.T) {
	t.Parallel()
	overMedia(t, func(t *testing.T, fresh func(func() time.Time) medium) {
		b := newBank()
		var clock calendar
		m := fresh(clock.now)
		open := func() *engine.DB {
			store, err := m()
			must(t, err)
			o := plain(store, clock.now)
			o.BackupWindow = 10 * time.Hour
			db, err := engine.Open(b.schema, o)
			must(t, err)
			return db
		}
		db := open()
		_, at := backup(t, db, 0)
		b.open(t, db, "ann", 1)
		for range 3 {
			clock.pass(3 * time.Hour)
			must(t, engine.Compact(t.Context(), db))
			must(t, db.Close())
			db = open()
			must(t, engine.Compact(t.Context(), db))
			_, _ = backup(t, db, at.At)
		}
		clock.pass(2 * time.Hour)
		must(t, engine.Compact(t.Context(), db))
		var file bytes.Buffer
		_, err := db.Backup(t.Context(), &file, engine.BackupOptions{Since: at.At})
		if !errors.Is(err, engine.ErrBackupBase) || file.Len() > 0 {
			t.Errorf("eleven hours after the backup: %v and %d bytes, want ErrBackupBase and none", err, file.Len())
		}
		must(t, db.Close())
	})
}

// A backup since a time at which none was made, or of a writer that fails, is an error, and leaves nothing to build on.
func TestBackupErrors(t *testing.T) {
	t.Parallel()
	b := newBank()
	db, _ := launch(t, media["mem"](t, nil), b.schema, nil)
	b.open(t, db, "ann", 1)
	if _, err := db.Backup(t.Context(), io.Discard, engine.BackupOptions{Since: db.Published()}); !errors.Is(err, engine.ErrBackupBase) {
		t.Errorf("since no backup: %v, want ErrBackupBase", err)
	}
	full := errors.New("the disk is full")
	if _, err := db.Backup(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full }), engine.BackupOptions{}); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Backup(ctx, io.Discard, engine.BackupOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	must(t, db.Close())
	if _, err := db.Backup(t.Context(), io.Discard, engine.BackupOptions{}); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("closed: %v, want ErrClosed", err)
	}
}

// A program whose schema the data does not satisfy gets an error, and the data is there for the one that it belongs to.
func TestRestoreWithAnotherSchema(t *testing.T) {
	t.Parallel()
	b := newBank()
	db, _ := launch(t, media["mem"](t, nil), b.schema, nil)
	b.open(t, db, "ann", 1)
	full, _ := backup(t, db, 0)
	must(t, db.Close())
	type strict struct {
		Owner   string `json:"owner" jsonschema:"minLength=10"`
		Balance int    `json:"balance"`
	}
	s := engine.NewSchema()
	engine.Define[strict](s, "accounts")
	target := media["mem"](t, nil)
	store, err := target()
	must(t, err)
	if _, err := engine.Restore(t.Context(), s, plain(store, nil), bytes.NewReader(full)); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	db, _ = launch(t, target, b.schema, nil)
	must(t, db.Check(t.Context()))
	must(t, db.Close())
}
