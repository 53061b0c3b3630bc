package storagetest

import (
	"bytes"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
)

func testEmpty(t *testing.T, h Harness) {
	s := open(t, h)
	ts := head(t, s)
	wantContents(t, s, ts, "")
	wantContents(t, s, 0, "")
	wantTail(t, s, 0)
	if _, ok, err := at(t, s, ts).Get([]byte("k")); ok || err != nil {
		t.Fatalf("get in an empty store: %v, %v", ok, err)
	}
	wantErr(t, "snapshot above the head", atErr(t, s, ts+1), storage.ErrFuture)
}

func testSnapshots(t *testing.T, h Harness) {
	s := open(t, h)
	h.Clock.Step(time.Second)
	t0 := head(t, s)
	t1 := commit(t, s, "a=1", "b=1")
	early := at(t, s, t1)
	h.Clock.Step(time.Second)
	t2 := commit(t, s, "a=2", "c=2")
	h.Clock.Step(time.Second)
	t3 := commit(t, s, "b", "c=3")
	if !(t0 < t1 && t1 < t2 && t2 < t3) {
		t.Fatalf("timestamps %d %d %d %d do not ascend", t0, t1, t2, t3)
	}
	if got := head(t, s); got != t3 {
		t.Fatalf("head %d, want the last commit %d", got, t3)
	}
	check := func() {
		t.Helper()
		wantContents(t, s, t0, "")
		wantContents(t, s, t1-1, "")
		wantContents(t, s, t1, "a=1 b=1")
		wantContents(t, s, t2-1, "a=1 b=1") // between two groups: the earlier one
		wantContents(t, s, t2, "a=2 b=1 c=2")
		wantContents(t, s, t3, "a=2 c=3")
	}
	check()
	if got := collect(t, early.Scan(nil, nil, false, 0)); got != "a=1 b=1" || early.Timestamp() != t1 {
		t.Fatalf("a snapshot at %d opened before later commits: %q at %d", t1, got, early.Timestamp())
	}
	for _, c := range []struct {
		ts      storage.Timestamp
		key     string
		value   string
		written storage.Timestamp
	}{{t1, "a", "1", t1}, {t2, "a", "2", t2}, {t3, "a", "2", t2}, {t2, "b", "1", t1}, {t3, "c", "3", t3}} {
		kv, ok, err := at(t, s, c.ts).Get([]byte(c.key))
		if err != nil || !ok {
			t.Fatalf("get %s at %d: %v, %v", c.key, c.ts, ok, err)
		}
		if string(kv.Key) != c.key || string(kv.Value) != c.value || kv.Written != c.written {
			t.Fatalf("get %s at %d: %q=%q written %d, want %q written %d", c.key, c.ts, kv.Key, kv.Value, kv.Written, c.value, c.written)
		}
	}
	for _, key := range []string{"b", "", "bb", "a\x00"} {
		if _, ok, err := at(t, s, t3).Get([]byte(key)); ok || err != nil {
			t.Fatalf("get %q at %d: %v, %v, want a miss", key, t3, ok, err)
		}
	}
	s = reopen(t, h, s)
	check()
}

func testSlices(t *testing.T, h Harness) {
	s := open(t, h)
	key, value, log := []byte("key"), []byte("value"), []byte("log")
	ts, err := s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) {
		return storage.Group{Writes: []storage.Write{{Key: key, Value: value}}, Log: log}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(slices ...[]byte) {
		for _, b := range slices {
			for i := range b {
				b[i] = '!'
			}
			_ = append(b, "!!!!"...)
		}
	}
	spoil(key, value, log)
	snap := at(t, s, ts)
	for range 2 {
		kv, ok, err := snap.Get([]byte("key"))
		if err != nil || !ok || string(kv.Value) != "value" {
			t.Fatalf("get: %q, %v, %v", kv.Value, ok, err)
		}
		spoil(kv.Key, kv.Value)
		for kv, err := range snap.Scan(nil, nil, false, 0) {
			if err != nil || string(kv.Key) != "key" || string(kv.Value) != "value" {
				t.Fatalf("scan: %q=%q, %v", kv.Key, kv.Value, err)
			}
			spoil(kv.Key, kv.Value)
		}
		entries, err := tail(t, s, 0)
		if err != nil || len(entries) != 1 || string(entries[0].Log) != "log" {
			t.Fatalf("tail: %v, %v", entries, err)
		}
		spoil(entries[0].Log)
	}
	var pairs []storage.KV
	commit(t, s, "a=1", "b=2", "c=3")
	for kv, err := range at(t, s, head(t, s)).Scan(nil, nil, true, 3) {
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, kv) // kept beyond the step
	}
	if got := fmt.Sprintf("%s%s%s", pairs[0].Value, pairs[1].Key, pairs[2].Value); got != "valuec2" {
		t.Fatalf("pairs kept from a scan: %q", got)
	}
}

func testSizes(t *testing.T, h Harness) {
	s := open(t, h)
	put := func(key, value []byte) error {
		_, err := s.Commit(t.Context(), newID(), func([]storage.LogEntry) (storage.Group, error) {
			return storage.Group{Writes: []storage.Write{{Key: key, Value: value}}}, nil
		})
		return err
	}
	for _, c := range []struct {
		name       string
		key, value int
		want       error
	}{
		{"empty key and value", 0, 0, nil},
		{"empty value", 1, 0, nil},
		{"longest key", storage.MaxKey, 10, nil},
		{"longest value", 10, storage.MaxValue, nil},
		{"key too long", storage.MaxKey + 1, 1, storage.ErrTooLarge},
		{"key far too long", 1 << 20, 1, storage.ErrTooLarge},
		{"value too long", 11, storage.MaxValue + 1, storage.ErrTooLarge},
		{"value far too long", 12, 8 << 20, storage.ErrTooLarge},
	} {
		key, value := bytes.Repeat([]byte{'k'}, c.key), bytes.Repeat([]byte{'v'}, c.value)
		before := head(t, s)
		wantErr(t, c.name, put(key, value), c.want)
		kv, ok, err := at(t, s, head(t, s)).Get(key)
		if err != nil || ok != (c.want == nil) {
			t.Fatalf("%s: get: %v, %v", c.name, ok, err)
		}
		if ok && (kv.Value == nil || !bytes.Equal(kv.Value, value)) {
			t.Fatalf("%s: a value of %d bytes came back with %d", c.name, len(value), len(kv.Value))
		}
		if !ok && head(t, s) != before {
			t.Fatalf("%s: refused, but the head moved", c.name)
		}
	}
	s = reopen(t, h, s)
	n := 0
	for kv, err := range at(t, s, head(t, s)).Scan(nil, nil, false, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(kv.Key) + len(kv.Value)
	}
	if want := 1 + storage.MaxKey + 10 + 10 + storage.MaxValue; n != want {
		t.Fatalf("%d bytes after reopening, want %d", n, want)
	}
}

func testScanBounds(t *testing.T, h Harness) {
	s := open(t, h)
	commit(t, s, "=0", "a=1", "a\x00=2", "aa=3", "ab=4", "ab\xff=5", "ab\xff\xff=6", "ac=7", "b=8", "\xff=9", "\xff\xff=A")
	ts := commit(t, s, "aaa=x", "aab=y")
	ts2 := commit(t, s, "aaa", "aab")
	snap, later := at(t, s, ts), at(t, s, ts2)
	b := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		snap    storage.Snapshot
		lo, hi  []byte
		reverse bool
		limit   int
		want    string // the values
	}{
		{snap, nil, nil, false, 0, "0123xy456789A"},
		{snap, nil, nil, true, 0, "A987654yx3210"},
		{later, nil, nil, false, 0, "0123456789A"},
		{later, nil, nil, true, 0, "A9876543210"},
		{snap, b(""), nil, false, 0, "0123xy456789A"},
		{snap, nil, b(""), false, 0, ""},
		{snap, nil, b(""), true, 0, ""},
		{snap, b("a"), b("b"), false, 0, "123xy4567"},
		{snap, b("a"), b("b"), true, 0, "7654yx321"},
		{later, b("aa"), b("ab"), false, 0, "3"},
		{later, b("aa"), b("ab"), true, 0, "3"},
		{snap, b("ab"), b("ac"), false, 0, "456"},
		{snap, b("ab"), b("ac"), true, 0, "654"}, // the key ac itself is there and left out
		{snap, b("ab"), b("ab\xff"), true, 0, "4"},
		{snap, b("ab\xff"), b("ac"), false, 0, "56"},
		{snap, b("ab\xff"), b("ab\xff\xff"), true, 0, "5"},
		{snap, b("\xff"), nil, false, 0, "9A"},
		{snap, b("\xff"), nil, true, 0, "A9"},
		{snap, b("\xff\x00"), b("\xff\xff"), true, 0, ""},
		{snap, nil, b("a"), true, 0, "0"},
		{snap, nil, b("a\x00"), true, 0, "10"},
		{snap, b("ad"), b("az"), false, 0, ""},
		{snap, b("ad"), b("az"), true, 0, ""},
		{snap, b("b"), b("a"), false, 0, ""},
		{snap, b("b"), b("a"), true, 0, ""},
		{snap, b("a"), b("a"), false, 0, ""},
		{snap, b("a"), b("a"), true, 0, ""},
		{snap, b("a"), b("a\x00"), true, 0, "1"},
		{snap, nil, nil, false, 3, "012"},
		{snap, nil, nil, true, 3, "A98"},
		{snap, nil, nil, false, 100, "0123xy456789A"},
		{snap, b("aa"), nil, false, -1, "3xy456789A"},
		{snap, b("aa"), b("b"), true, 1, "7"},
		{later, b("aaa"), b("aac"), false, 0, ""},
		{later, b("aaa"), b("aac"), true, 0, ""},
	} {
		got := ""
		for kv, err := range c.snap.Scan(c.lo, c.hi, c.reverse, c.limit) {
			if err != nil {
				t.Fatal(err)
			}
			got += string(kv.Value)
		}
		if got != c.want {
			t.Errorf("scan [%q, %q) reverse %v limit %d at %d: %q, want %q",
				c.lo, c.hi, c.reverse, c.limit, c.snap.Timestamp(), got, c.want)
		}
	}
}

func testScanNesting(t *testing.T, h Harness) {
	s := open(t, h)
	ts := commit(t, s, "a=1", "b=2", "c=3")
	snap := at(t, s, ts)
	got := ""
	for outer, err := range snap.Scan(nil, nil, false, 0) {
		if err != nil {
			t.Fatal(err)
		}
		for inner, err := range snap.Scan(nil, nil, true, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(inner.Key, outer.Key) {
				break // leaves a scan before its end
			}
			got += string(outer.Value) + string(inner.Value) + " "
		}
		kv, ok, err := snap.Get(outer.Key)
		if err != nil || !ok || !bytes.Equal(kv.Value, outer.Value) {
			t.Fatalf("get within a scan: %v, %v", ok, err)
		}
		commit(t, s, string(outer.Key)+"=new", string(outer.Key)+"x=new") // never seen by this snapshot
	}
	if got != "13 12 23 " {
		t.Fatalf("nested scans: %q", got)
	}
	seq := snap.Scan(nil, nil, false, 0)
	if one, two := collect(t, seq), collect(t, seq); one != "a=1 b=2 c=3" || two != one {
		t.Fatalf("a scan iterated twice: %q, then %q", one, two)
	}
	next, stop := iter.Pull2(snap.Scan(nil, nil, false, 0))
	if kv, err, ok := next(); !ok || err != nil || string(kv.Key) != "a" {
		t.Fatalf("pull: %q, %v, %v", kv.Key, err, ok)
	}
	snap.Close()
	snap.Close()
	if _, err, ok := next(); !ok || err == nil {
		t.Fatal("a scan went on after its snapshot was closed")
	}
	stop()
	_, _, err := snap.Get([]byte("a"))
	wantErr(t, "get on a closed snapshot", err, storage.ErrClosed)
}
