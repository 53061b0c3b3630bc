package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// The test binary runs itself as the program that is killed; the variable names its folder.
const schemaDir = "MIMOSA_TEST_SCHEMA"

const killedDocuments = 6000

// stepped is the type that the killed program has: its migration counts in each document how often it was there.
type stepped struct {
	Name  string `json:"name"`
	Age   int    `json:"age"`
	Steps int    `json:"steps"`
}

// newStepped is a program with two new indexes and a migration.
func newStepped(migrated func()) (*engine.Schema, *engine.Collection[stepped], []*engine.Index[stepped]) {
	s := engine.NewSchema()
	c := engine.Define[stepped](s, "members")
	engine.Migrate(s, c, "step", func(_ *engine.Tx, d *engine.Doc[stepped], _ json.RawMessage) error {
		migrated()
		d.Value.Steps++
		return nil
	})
	return s, c, []*engine.Index[stepped]{c.AddIndex("byAge", "-age"), c.AddUnique("byName", "name")}
}

// schemaProgram is the program that TestKillWhileTheSchemaChanges kills.
func schemaProgram(t *testing.T, dir string) {
	n := 0
	s, c, _ := newStepped(func() {
		if n++; n%250 == 0 {
			fmt.Println("\nmigrated", n)
		}
	})
	db, err := engine.Open(s, engine.Options{Dir: dir, BuildAtOpen: -1, Limits: patient})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("\nopened")
	for i := 0; ; i++ {
		update(t, db, func(tx *engine.Tx) error {
			return second(c.Insert(tx, stepped{fmt.Sprint("late", os.Getpid(), "-", i), -i, 1}))
		})
		line := "\nbuilt"
		for _, x := range db.Indexes() {
			line += fmt.Sprint(" ", x.Documents)
		}
		fmt.Println(line)
		if db.WaitIndexes(done) == nil {
			fmt.Println("\nready")
			select {}
		}
	}
}

// done is a context that has ended.
var done = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// A program that is killed again and again while it migrates documents and builds indexes gets there, does not do it all again
// each time, and leaves nothing half done.
func TestKillWhileTheSchemaChanges(t *testing.T) {
	if dir := os.Getenv(schemaDir); dir != "" {
		schemaProgram(t, dir)
		return
	}
	t.Parallel()
	dir := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	before := withIndexes()
	db := enginetest.Open(t, before.schema, func(o *engine.Options) { o.Dir = dir })
	before.fill(t, db, killedDocuments, 1000)
	enginetest.Finish(t, db)
	killedMigrating, killedBuilding := 0, 0
	for round := 0; round < 30 && (killedMigrating < 2 || killedBuilding < 3); round++ {
		last := runKilled(t, dir, 1+random.IntN(12))
		switch {
		case strings.HasPrefix(last, "migrated"):
			killedMigrating++
		case strings.HasPrefix(last, "built"), strings.HasPrefix(last, "opened"):
			killedBuilding++
		}
	}
	s, c, indexes := newStepped(func() {})
	db = enginetest.Open(t, s, func(o *engine.Options) { o.Dir = dir })
	records, err := db.Migrations(context.Background())
	must(t, err)
	if len(records) != 1 || records[0].Documents != killedDocuments || records[0].Finished.IsZero() {
		t.Errorf("the record is %+v, want %d documents, once each", records, killedDocuments)
	}
	waitIndexes(t, db)
	view(t, db, func(r *engine.ReadTx) error {
		n := 0
		for d, err := range c.All(r).Docs() {
			if err != nil {
				return err
			}
			if n++; d.Value.Steps != 1 {
				t.Errorf("%s was migrated %d times", d.Value.Name, d.Value.Steps)
			}
		}
		for _, x := range indexes {
			if got, err := x.Scan(r).Count(); err != nil || got != n {
				t.Errorf("%s has %d of %d (%v)", x.Name(), got, n, err)
			}
		}
		return nil
	})
	must(t, db.Check(context.Background()))
	t.Logf("killed %d times in the migration, %d times in a build", killedMigrating, killedBuilding)
	if killedMigrating == 0 || killedBuilding == 0 {
		t.Error("the test has lost its point")
	}
}

// runKilled starts the program, kills it when it has said so many things, and returns the last of them.
func runKilled(t *testing.T, dir string, lines int) (last string) {
	t.Helper()
	program := exec.Command(os.Args[0], "-test.run=^TestKillWhileTheSchemaChanges$", "-test.v")
	program.Env = append(os.Environ(), schemaDir+"="+dir)
	out, err := program.StdoutPipe()
	must(t, err)
	var said strings.Builder
	program.Stderr = &said
	must(t, program.Start())
	hang := time.AfterFunc(time.Minute, func() { _ = program.Process.Kill() })
	defer hang.Stop()
	for scan := bufio.NewScanner(out); lines > 0 && scan.Scan(); {
		line := scan.Text()
		word, _, _ := strings.Cut(line, " ")
		switch word {
		case "migrated", "opened", "built", "ready":
			last = line
			lines--
		case "---":
			t.Fatalf("the program ended: %s\n%s", line, said.String())
		}
		if word == "ready" {
			break
		}
	}
	if last == "" {
		t.Fatalf("the program said nothing: %s", said.String())
	}
	must(t, program.Process.Kill())
	_ = program.Wait()
	return last
}
