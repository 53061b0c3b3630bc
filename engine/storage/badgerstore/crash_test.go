package badgerstore_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// The test binary runs itself as the process that is killed; these variables say so and where.
const (
	childModeEnv = "MIMOSA_TEST_CHILD"
	childDirEnv  = "MIMOSA_TEST_DIR"
	childStepEnv = "MIMOSA_TEST_STEP"
)

func TestMain(m *testing.M) {
	mode := os.Getenv(childModeEnv)
	if mode == "" {
		os.Exit(m.Run())
	}
	if err := runChild(mode, os.Getenv(childDirEnv)); err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
}

// What the child writes: group n overwrites all pairs of slot n modulo slots with values that name n.
const (
	slots       = 40
	keysPerSlot = 7
)

func crashID(n uint64) (id storage.GroupID) {
	binary.BigEndian.PutUint64(id[:], n+1)
	return id
}

func crashGroup(n uint64) storage.Group {
	g := storage.Group{Log: binary.BigEndian.AppendUint64(nil, n)}
	for i := range keysPerSlot {
		value := binary.BigEndian.AppendUint64(nil, n)
		if n%8 == 0 { // large ones, so that memory tables rotate and tables are written meanwhile
			value = append(value, make([]byte, 12_000*i)...)
		}
		g.Writes = append(g.Writes, storage.Write{Key: fmt.Appendf(nil, "slot%02d/%d", n%slots, i), Value: value})
	}
	return g
}

// runChild writes until it is killed, and says what was acknowledged, one line each.
func runChild(mode, dir string) error {
	if mode == commitMode || mode == finishMode {
		at, err := strconv.Atoi(os.Getenv(childStepEnv))
		if err != nil {
			return err
		}
		return runStepChild(mode, dir, at)
	}
	ctx := context.Background()
	fmt.Println("starting")
	for {
		s, err := badgerstore.Open(badgerstore.Options{Dir: dir, Relaxed: mode == "relaxed"})
		if err != nil {
			return err
		}
		if mode == "parts" {
			badgerstore.ByParts(s, 2)
		}
		next, err := nextGroup(s)
		if err != nil {
			return err
		}
		fmt.Println("opened", next)
		for n := next; mode != "reopen" || n < next+3; n++ {
			ts, err := s.Commit(ctx, crashID(n), func([]storage.LogEntry) (storage.Group, error) { return crashGroup(n), nil })
			if err != nil {
				return err
			}
			fmt.Println("ack", n, ts)
			if n%50 == 0 {
				if err := s.Compact(ctx, storage.Floors{Versions: ts, Log: ts}); err != nil {
					return err
				}
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
}

// nextGroup returns the number after that of the newest group.
func nextGroup(s storage.Store) (next uint64, err error) {
	err = eachPair(s, func(_ string, n uint64, _ storage.Timestamp) { next = max(next, n+1) })
	return next, err
}

func eachPair(s storage.Store, f func(slot string, n uint64, written storage.Timestamp)) error {
	head, err := s.Head(context.Background())
	if err != nil {
		return err
	}
	snap, err := s.At(context.Background(), head)
	if err != nil {
		return err
	}
	defer snap.Close()
	for kv, err := range snap.Scan(nil, nil, false, 0) {
		if err != nil {
			return err
		}
		slot, _, _ := strings.Cut(string(kv.Key), "/")
		f(slot, binary.BigEndian.Uint64(kv.Value), kv.Written)
	}
	return nil
}

// TestKill kills a writing process again and again, at random points, and each time expects Open to work at the first call
// and every acknowledged group to be there, every other one whole or not at all.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 16
	if testing.Short() {
		rounds = 4
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := map[uint64]storage.Timestamp{}
	var last storage.Timestamp
	enough := time.Now().Add(10 * time.Second) // a busy disk makes for fewer rounds, not for a slower test
	for round := range rounds {
		if round >= 4 && time.Now().After(enough) {
			break
		}
		mode := []string{"write", "parts", "reopen", "relaxed"}[round%4]
		lines := random.IntN(300)
		if round%5 == 4 {
			lines = random.IntN(3) // before the first commit, perhaps before anything
		}
		if mode == "reopen" {
			lines /= 5
		}
		killChild(t, random, dir, mode, lines, acked)

		s, err := badgerstore.Open(badgerstore.Options{Dir: dir})
		if err != nil {
			t.Fatalf("round %d: the first open after a kill: %v", round, err)
		}
		last = checkAfterKill(t, s, acked, last)
		if err := s.Verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged in all rounds")
	}
	t.Logf("%d groups acknowledged", len(acked))
}

// killChild starts a writer and kills it after it has said so many lines, and notes what it had acknowledged by then.
func killChild(t *testing.T, random *rand.Rand, dir, mode string, lines int, acked map[uint64]storage.Timestamp) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childModeEnv+"="+mode, childDirEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	read := 0
	for in := bufio.NewScanner(out); in.Scan(); read++ {
		if read == lines {
			for range random.IntN(20_000) { // some way into the next commit
				_ = os.Getpid()
			}
			kill()
		}
		var n uint64
		var ts storage.Timestamp
		if _, err := fmt.Sscanf(in.Text(), "ack %d %d", &n, &ts); err == nil {
			acked[n] = ts
		}
		if strings.HasPrefix(in.Text(), "failed") {
			t.Errorf("the writer: %s", in.Text())
		}
	}
	if err := cmd.Wait(); err == nil || read < lines {
		t.Fatalf("the writer ended by itself after %d lines of %d", read, lines)
	}
}

// checkAfterKill checks all that a killed writer may have left, and returns the new head.
func checkAfterKill(t *testing.T, s *badgerstore.Store, acked map[uint64]storage.Timestamp, last storage.Timestamp) storage.Timestamp {
	t.Helper()
	// Each slot holds the pairs of one group, the newest of its number that took effect.
	type slot struct {
		n       uint64
		written storage.Timestamp
		keys    int
	}
	found := map[string]*slot{}
	newest := uint64(0)
	err := eachPair(s, func(name string, n uint64, written storage.Timestamp) {
		if found[name] == nil {
			found[name] = &slot{n: n, written: written}
		}
		if at := found[name]; at.n != n || at.written != written {
			t.Errorf("%s holds group %d of %d and group %d of %d: a group in parts", name, at.n, at.written, n, written)
		}
		found[name].keys++
		newest = max(newest, n)
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range found {
		if at.keys != keysPerSlot {
			t.Errorf("%s holds %d keys of group %d: a group in parts", name, at.keys, at.n)
		}
		if ts, ok := acked[at.n]; ok && ts != at.written {
			t.Errorf("group %d was acknowledged at %d and is written at %d", at.n, ts, at.written)
		}
	}
	for n, ts := range acked {
		if at := found[fmt.Sprintf("slot%02d", n%slots)]; at == nil || at.n < n {
			t.Errorf("group %d, acknowledged at %d, is not there", n, ts)
		}
		last = max(last, ts)
	}

	// The log leads from the floor to the newest group without a gap. The floor is at most at the last group whose number 50
	// divides. Only the very last group can be there without having been acknowledged, and then it was not compacted.
	var after storage.Timestamp
	want := uint64(0)
	if len(found) > 0 {
		want = newest - newest%50
		if after = acked[want]; after == 0 {
			if after, err = s.Outcome(t.Context(), crashID(want)); err != nil {
				t.Fatalf("outcome of group %d, which was not acknowledged but is there: %v", want, err)
			}
		}
		want++
	}
	for e, err := range s.Tail(t.Context(), after) {
		if err != nil {
			t.Fatalf("tail after %d: %v", after, err)
		}
		n := binary.BigEndian.Uint64(e.Log)
		if n != want || e.ID != crashID(n) {
			t.Fatalf("tail: group %d, want %d", n, want)
		}
		if ts, err := s.Outcome(t.Context(), e.ID); err != nil || ts != e.Timestamp {
			t.Fatalf("outcome of group %d: %d, %v, want %d", n, ts, err, e.Timestamp)
		}
		want++
	}
	if len(found) > 0 && want != newest+1 {
		t.Fatalf("the log ends with group %d, the pairs with %d", want-1, newest)
	}

	head, err := s.Head(t.Context())
	if err != nil || head <= last {
		t.Fatalf("head %d (%v) after %d", head, err, last)
	}
	return head
}
