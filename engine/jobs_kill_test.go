package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/enginetest"
)

// mailing is what a process that is killed leaves behind: each is sent with three jobs in one transaction.
type mailing struct {
	N     int          `json:"n"`
	Stamp engine.JobID `json:"stamp"`
	Ring  engine.JobID `json:"ring"`
	Ring2 engine.JobID `json:"ring2"`
	Later engine.JobID `json:"later"`
}

type stampArgs struct {
	N int `json:"n"`
}

type postOffice struct {
	schema  *engine.Schema
	parcels *engine.Collection[mailing]
	stamps  *engine.Collection[stampArgs]
	send    func(tx *engine.Tx, n int) error
}

const postDir = "MIMOSA_TEST_POST"

// newPost makes a schema whose actions leave a line in a file each time that they are begun.
func newPost(dir string) *postOffice {
	s := engine.NewSchema()
	p := &postOffice{schema: s, parcels: engine.Define[mailing](s, "parcels"), stamps: engine.Define[stampArgs](s, "stamps")}
	stamp := engine.Mutation(s, "post:stamp", func(tx *engine.Tx, a stampArgs) (int, error) {
		_, err := p.stamps.Insert(tx, a)
		return a.N, err
	})
	ring := func(name string) func(*engine.ActionCtx, stampArgs) (int, error) {
		return func(c *engine.ActionCtx, a stampArgs) (int, error) {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			if _, err := fmt.Fprintln(f, a.N); err != nil {
				return 0, err
			}
			select { // so that some are under way whenever the process is killed
			case <-time.After(20 * time.Millisecond):
			case <-c.Context().Done():
			}
			return a.N, nil
		}
	}
	once := engine.Action(s, "post:ring", ring("once"))
	again := engine.Action(s, "post:ringAgain", ring("again"), engine.Retry(engine.RetryPolicy{Max: 100, Backoff: time.Millisecond}))
	p.send = func(tx *engine.Tx, n int) (err error) {
		d := mailing{N: n}
		if d.Stamp, err = stamp.Schedule(tx, 0, stampArgs{n}); err != nil {
			return err
		}
		if d.Ring, err = once.Schedule(tx, 0, stampArgs{n}); err != nil {
			return err
		}
		if d.Ring2, err = again.Schedule(tx, 0, stampArgs{n}); err != nil {
			return err
		}
		if d.Later, err = stamp.Schedule(tx, 24*time.Hour, stampArgs{n}); err != nil {
			return err
		}
		_, err = p.parcels.Insert(tx, d)
		return err
	}
	return p
}

// work is the process that is killed.
func (p *postOffice) work(t *testing.T, dir string) {
	db, err := engine.Open(p.schema, engine.Options{Dir: dir, Limits: patient})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("\nopened")
	for range 100 {
		if err := db.Update(context.Background(), func(tx *engine.Tx) error {
			n, err := p.parcels.All(tx).Count()
			if err != nil {
				return err
			}
			return p.send(tx, n+1)
		}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("sent")
	}
	select {}
}

// count returns how often each number stands in a file.
func (p *postOffice) count(t *testing.T, path string) map[int]int {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out := map[int]int{}
	for line := range strings.Lines(string(raw)) {
		var n int
		if _, err := fmt.Sscan(line, &n); err != nil {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		out[n]++
	}
	return out
}

// However often the process is killed, each mutation that was scheduled takes effect once, each action is begun once at most, or
// again if it may be, and each job has an end that says so.
func TestJobsOfAProcessThatIsKilled(t *testing.T) {
	if dir := os.Getenv(postDir); dir != "" {
		newPost(dir).work(t, filepath.Join(dir, "data"))
		return
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	for range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestJobsOfAProcessThatIsKilled$")
		cmd.Env = append(os.Environ(), postDir+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		sent, lines := 0, random.IntN(90)
		killed := false
		for in := bufio.NewScanner(out); in.Scan(); {
			if in.Text() == "sent" {
				sent++
			}
			if sent > lines && !killed {
				killed = true
				must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait()
		if !killed {
			t.Fatal("the process ended by itself")
		}
	}

	p := newPost(dir)
	db := enginetest.Open(t, p.schema, func(o *engine.Options) { o.Dir = filepath.Join(dir, "data") })
	changed := make(chan struct{}, 1)
	stop := db.OnPublish(func(engine.Timestamp) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	defer stop()
	byState := engine.JobsByState(p.schema)
	for waiting := true; waiting; {
		view(t, db, func(r *engine.ReadTx) error {
			_, pending := byState.Eq(r, engine.JobPending).Filter(func(d *engine.Doc[engine.Job]) bool { return d.Value.Due.Before(time.Now()) }).First()
			_, running := byState.Eq(r, engine.JobRunning).First()
			waiting = pending == nil || running == nil
			return nil
		})
		if waiting {
			within(t, "all jobs", changed)
		}
	}
	p.checkAfterKills(t, db, dir)
}

func (p *postOffice) checkAfterKills(t *testing.T, db *engine.DB, dir string) {
	t.Helper()
	once, again := p.count(t, filepath.Join(dir, "once")), p.count(t, filepath.Join(dir, "again"))
	interrupted, repeated := 0, 0
	view(t, db, func(r *engine.ReadTx) error {
		jobs, stamps := engine.Jobs(p.schema), map[int]int{}
		for d, err := range p.stamps.All(r).Docs() {
			if err != nil {
				return err
			}
			stamps[d.Value.N]++
		}
		for d, err := range p.parcels.All(r).Docs() {
			if err != nil {
				return err
			}
			n := d.Value.N
			var states []string
			for _, id := range []engine.JobID{d.Value.Stamp, d.Value.Ring, d.Value.Ring2, d.Value.Later} {
				j, err := jobs.Get(r, id)
				if err != nil {
					return err
				}
				state := string(j.Value.State)
				if j.Value.Error != nil {
					state += " " + string(j.Value.Error.Code)
				}
				states = append(states, state)
			}
			if stamps[n] != 1 || states[0] != "succeeded" || states[3] != "pending" {
				t.Errorf("parcel %d: stamped %d times, by a job that %s; that of tomorrow is %s", n, stamps[n], states[0], states[3])
			}
			switch {
			case states[1] == "failed interrupted" && once[n] <= 1:
				interrupted++
			case states[1] != "succeeded" || once[n] != 1:
				t.Errorf("parcel %d: an action was begun %d times by a job that %s", n, once[n], states[1])
			}
			if states[2] != "succeeded" || again[n] < 1 {
				t.Errorf("parcel %d: an action that may be repeated was begun %d times by a job that %s", n, again[n], states[2])
			}
			if again[n] > 1 {
				repeated++
			}
		}
		return nil
	})
	t.Logf("%d actions were interrupted, %d repeated", interrupted, repeated)
	if interrupted == 0 || repeated == 0 {
		t.Error("no action was ever under way when the process was killed: the test has lost its point")
	}
}
