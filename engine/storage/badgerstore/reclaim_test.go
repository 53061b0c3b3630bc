package badgerstore_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// fill stores n rows of a size, in groups of a mebibyte or so, and returns the last timestamp.
func fill(t *testing.T, s *badgerstore.Store, prefix string, n, size int) (ts storage.Timestamp) {
	t.Helper()
	for i := 0; i < n; {
		var g storage.Group
		for room := 1 << 20; i < n && room > 0; i, room = i+1, room-size {
			key := binary.BigEndian.AppendUint32([]byte(prefix), uint32(i))
			g.Writes = append(g.Writes, storage.Write{Key: key, Value: bytes.Repeat([]byte{byte(i)}, size)})
		}
		ts = mustBuild(t, s, g)
	}
	return ts
}

// mustBuild stores a group under an id of its own.
func mustBuild(t *testing.T, s *badgerstore.Store, g storage.Group) storage.Timestamp {
	t.Helper()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ts, err := s.Commit(t.Context(), crashID(uint64(head)), build(g))
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

func mustCompact(t *testing.T, s *badgerstore.Store, floor storage.Timestamp) {
	t.Helper()
	if err := s.Compact(t.Context(), storage.Floors{Versions: floor, Log: floor}); err != nil {
		t.Fatal(err)
	}
}

// count returns the number of rows of a prefix, and checks nothing but their checksums.
func count(t *testing.T, s *badgerstore.Store, prefix string) (n int) {
	t.Helper()
	snap := headSnapshot(t, s)
	defer snap.Close()
	for _, err := range snap.Scan([]byte(prefix), append([]byte(prefix), 0xff), false, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

const mib = 1 << 20

// TestReclaimDeleted deletes a lot by one small group, which stays in memory: what it deletes is given back all the same.
func TestReclaimDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	fill(t, s, "kept", 40, 100_000)
	mustCompact(t, s, fill(t, s, "gone", 120, 500_000))
	if _, _, dead := badgerstore.Reclaim(t, s); dead > mib {
		t.Fatalf("nothing could go, but %d bytes", dead)
	}
	var g storage.Group
	for i := range 120 {
		g.Writes = append(g.Writes, storage.Write{Key: binary.BigEndian.AppendUint32([]byte("gone"), uint32(i)), Delete: true})
	}
	ts := mustBuild(t, s, g)
	pinned := headSnapshot(t, s)
	below, err := s.At(t.Context(), ts-1)
	if err != nil {
		t.Fatal(err)
	}
	mustCompact(t, s, ts) // somebody still reads what is from before
	if _, after, dead := badgerstore.Reclaim(t, s); dead > mib || after < 50*mib {
		t.Fatalf("tables became %d bytes while they were being read, and %d could go", after, dead)
	}
	if kv, ok, err := below.Get(binary.BigEndian.AppendUint32([]byte("gone"), 7)); err != nil || !ok || len(kv.Value) != 500_000 {
		t.Fatalf("a snapshot from before the deletion: %d bytes, %v, %v", len(kv.Value), ok, err)
	}
	below.Close()
	mustCompact(t, s, ts)
	before, after, dead := badgerstore.Reclaim(t, s)
	if before < 50*mib || after > 8*mib || dead > 2*mib {
		t.Fatalf("tables of %d bytes became %d, %d could go", before, after, dead)
	}
	pinned.Close()
	for range 2 {
		if kept, gone := count(t, s, "kept"), count(t, s, "gone"); kept != 40 || gone != 0 {
			t.Fatalf("%d rows were kept and %d deleted ones are there", kept, gone)
		}
		mustVerify(t, s)
		mustClose(t, s)
		s = mustOpen(t, badgerstore.Options{Dir: dir})
	}
}

// TestReclaimBelow is about rows and deletions that Badger has merged down while somebody could still tell them apart: nothing
// is written between them any more, so that merging by size never meets them again.
func TestReclaimBelow(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, badgerstore.Options{Dir: t.TempDir()})
	before := fill(t, s, "queue", 2_000, 50_000)
	for i := range 2_000 / 500 {
		var g storage.Group
		for j := range 500 {
			g.Writes = append(g.Writes, storage.Write{Key: binary.BigEndian.AppendUint32([]byte("queue"), uint32(i*500+j)), Delete: true})
		}
		mustBuild(t, s, g)
	}
	snap, err := s.At(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	last := fill(t, s, "later", 300, 100_000)
	mustCompact(t, s, last)
	badgerstore.Flatten(t, s, func(levels map[int]int) bool { return levels[0] == 0 && len(levels) == 1 })
	snap.Close()
	mustCompact(t, s, last)
	tables, after, dead := badgerstore.Reclaim(t, s)
	if tables < 100*mib || after > 60*mib || dead > 20*mib {
		t.Fatalf("tables of %d bytes became %d, %d could go", tables, after, dead)
	}
	mustVerify(t, s) // with more than one cursor
	if queued, later := count(t, s, "queue"), count(t, s, "later"); queued != 0 || later != 300 {
		t.Fatalf("%d deleted rows are there, and %d of 300 others", queued, later)
	}
}

// TestUpdatesStayWithinTwice overwrites rows at random for several times their volume, with a floor that lags behind. Whenever
// writing pauses, the folder comes by itself below twice what is alive and one write-ahead log, measured in blocks on the disk.
func TestUpdatesStayWithinTwice(t *testing.T) {
	t.Parallel()
	const (
		rows, size = 8_000, 4_000
		each       = 200 // rows in a group
		lag        = 5   // groups
		fixed      = 16 * mib
		live       = rows * (size + 7)
	)
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	fill(t, s, "row", rows, size)
	random := rand.New(rand.NewPCG(1, 2))
	var stamps []storage.Timestamp
	want := map[uint32]byte{}
	for n := range 6 * rows / each {
		var g storage.Group
		for _, i := range random.Perm(rows)[:each] {
			want[uint32(i)] = byte(n)
			key := binary.BigEndian.AppendUint32([]byte("row"), uint32(i))
			g.Writes = append(g.Writes, storage.Write{Key: key, Value: bytes.Repeat([]byte{byte(n)}, size)})
		}
		g.Log = make([]byte, each*50)
		stamps = append(stamps, mustBuild(t, s, g))
		if len(stamps) > lag {
			mustCompact(t, s, stamps[len(stamps)-lag])
		}
		if n%10 == 9 {
			waitForBlocks(t, dir, 2*live+fixed)
		}
	}
	mustCompact(t, s, stamps[len(stamps)-1])
	badgerstore.Reclaim(t, s)
	snap := headSnapshot(t, s)
	defer snap.Close()
	for i, n := range want {
		kv, ok, err := snap.Get(binary.BigEndian.AppendUint32([]byte("row"), i))
		if err != nil || !ok || kv.Value[0] != n || len(kv.Value) != size {
			t.Fatalf("row %d: %v, %v", i, ok, err)
		}
	}
	mustVerify(t, s)
}

// waitForBlocks waits until a folder takes no more than so many bytes on its disk. Badger merges in the background.
func waitForBlocks(t *testing.T, dir string, most int64) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(30 * time.Second)
	for {
		onDisk := blocks(t, dir)
		if onDisk <= most {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the folder stays at %d bytes, want at most %d", onDisk, most)
		}
		<-tick.C
	}
}

// TestReclaimBesideWriters reclaims while others write, read and compact.
func TestReclaimBesideWriters(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, badgerstore.Options{Dir: t.TempDir()})
	fill(t, s, "gone", 120, 500_000)
	var g storage.Group
	for i := range 120 {
		g.Writes = append(g.Writes, storage.Write{Key: binary.BigEndian.AppendUint32([]byte("gone"), uint32(i)), Delete: true})
	}
	mustCompact(t, s, mustBuild(t, s, g))
	done := make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			ts := mustCommit(t, s, n, fmt.Sprintf("new%05d", n))
			mustCompact(t, s, ts)
			snap := headSnapshot(t, s)
			if kv, ok, err := snap.Get(fmt.Appendf(nil, "new%05d", n)); err != nil || !ok || kv.Written != ts {
				t.Errorf("row %d: %v, %v", n, ok, err)
			}
			snap.Close()
		}
	})
	_, after, _ := badgerstore.Reclaim(t, s)
	close(done)
	writers.Wait()
	if after > 30*mib || count(t, s, "gone") != 0 {
		t.Errorf("tables of %d bytes are left, and %d deleted rows", after, count(t, s, "gone"))
	}
	mustVerify(t, s)
}

// TestMergingEnds stops merging in the middle, as Close does: it ends at the next step, and what Badger does by itself goes on.
func TestMergingEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, badgerstore.Options{Dir: dir})
	fill(t, s, "gone", 180, 500_000)
	badgerstore.Flatten(t, s, func(levels map[int]int) bool { return levels[0] == 0 && len(levels) == 1 })
	ts := fill(t, s, "gone", 80, 500_000)
	if steps := badgerstore.StopMerging(t, s); steps != 1 {
		t.Fatalf("merging went on for %d steps", steps)
	}
	mustCompact(t, s, ts)
	badgerstore.Flatten(t, s, func(levels map[int]int) bool { return levels[0] == 0 && len(levels) == 1 })
	fill(t, s, "more", 100, 500_000)
	mustClose(t, s)
	s = mustOpen(t, badgerstore.Options{Dir: dir})
	if gone, more := count(t, s, "gone"), count(t, s, "more"); gone != 180 || more != 100 {
		t.Fatalf("%d and %d rows", gone, more)
	}
	mustVerify(t, s)
	if paths, err := filepath.Glob(filepath.Join(dir, "*.sst")); err != nil || len(paths) == 0 {
		t.Fatalf("tables: %v, %v", paths, err)
	}
}
