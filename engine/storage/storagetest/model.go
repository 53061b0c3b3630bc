package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine/storage"
)

// model is the simplest store there is: all pairs of every group's time, in a list.
type model struct {
	groups []modelGroup
	floor  storage.Timestamp // of versions
	log    storage.Timestamp // floor of the log
	head   storage.Timestamp
}

type modelGroup struct {
	ts    storage.Timestamp
	id    storage.GroupID
	log   []byte
	pairs map[string]storage.KV
}

// as returns the pairs as of ts, in key order.
func (m *model) as(ts storage.Timestamp) []storage.KV {
	var out []storage.KV
	for _, g := range slices.Backward(m.groups) {
		if g.ts > ts {
			continue
		}
		for _, kv := range g.pairs {
			out = append(out, kv)
		}
		break
	}
	slices.SortFunc(out, func(a, b storage.KV) int { return bytes.Compare(a.Key, b.Key) })
	return out
}

func (m *model) scan(ts storage.Timestamp, lo, hi []byte, reverse bool, limit int) []storage.KV {
	pairs := slices.DeleteFunc(m.as(ts), func(kv storage.KV) bool {
		return bytes.Compare(kv.Key, lo) < 0 || hi != nil && bytes.Compare(kv.Key, hi) >= 0
	})
	if reverse {
		slices.Reverse(pairs)
	}
	if limit > 0 && len(pairs) > limit {
		pairs = pairs[:limit]
	}
	return pairs
}

// testModel runs random sequences of everything a store can do against the model. rapid prints how to repeat a failure.
func testModel(t *testing.T, h Harness) {
	// Few distinct keys of the awkward bytes: prefixes of each other, and at both ends of the alphabet.
	letters := rapid.SampledFrom([]byte{0x00, 'a', 'b', 0xfe, 0xff})
	keys := rapid.SliceOfN(letters, 0, 3)
	bounds := rapid.Custom(func(t *rapid.T) []byte {
		if rapid.IntRange(0, 4).Draw(t, "open") == 0 {
			return nil
		}
		return keys.Draw(t, "bound")
	})

	ctx := context.Background()
	var s storage.Store
	defer func() {
		if s == nil {
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	rapid.Check(t, func(r *rapid.T) {
		// Opening a database is slow on some stores, so that all sequences share one, emptied before each.
		var err error
		if s == nil {
			if s, err = h.Open(); err != nil {
				r.Fatal(err)
			}
		}
		m := &model{}
		if m.head, err = empty(ctx, s); err != nil {
			r.Fatal(err)
		}
		m.floor, m.log = m.head, m.head
		var pins []storage.Snapshot
		defer func() {
			for _, p := range pins {
				p.Close()
			}
		}()
		times := func(r *rapid.T) storage.Timestamp {
			candidates := []storage.Timestamp{m.floor, m.head}
			for _, g := range m.groups {
				if g.ts >= m.floor {
					candidates = append(candidates, g.ts, g.ts-1)
				}
			}
			return max(m.floor, rapid.SampledFrom(candidates).Draw(r, "ts"))
		}
		checkScan := func(r *rapid.T, snap storage.Snapshot) {
			lo, hi := bounds.Draw(r, "lo"), bounds.Draw(r, "hi")
			reverse, limit := rapid.Bool().Draw(r, "reverse"), rapid.IntRange(-1, 6).Draw(r, "limit")
			want := m.scan(snap.Timestamp(), lo, hi, reverse, limit)
			var got []storage.KV
			for kv, err := range snap.Scan(lo, hi, reverse, limit) {
				if err != nil {
					r.Fatalf("scan: %v", err)
				}
				got = append(got, kv)
			}
			if !slices.EqualFunc(got, want, equalKV) {
				r.Fatalf("scan [%q, %q) reverse %v limit %d at %d:\n%s, want\n%s",
					lo, hi, reverse, limit, snap.Timestamp(), show(got), show(want))
			}
		}
		checkGet := func(r *rapid.T, snap storage.Snapshot) {
			key := keys.Draw(r, "key")
			kv, ok, err := snap.Get(key)
			if err != nil {
				r.Fatalf("get: %v", err)
			}
			want := m.scan(snap.Timestamp(), key, append(slices.Clone(key), 0), false, 0)
			if ok != (len(want) == 1) || ok && !equalKV(kv, want[0]) {
				r.Fatalf("get %q at %d: %s %v, want %s", key, snap.Timestamp(), show([]storage.KV{kv}), ok, show(want))
			}
		}

		r.Repeat(map[string]func(*rapid.T){
			"commit": func(r *rapid.T) {
				g := storage.Group{Log: rapid.SliceOfN(letters, 0, 4).Draw(r, "log")}
				next := map[string]storage.KV{}
				for _, kv := range m.as(m.head) {
					next[string(kv.Key)] = kv
				}
				for _, key := range rapid.SliceOfNDistinct(keys, 0, 8, func(k []byte) string { return string(k) }).Draw(r, "keys") {
					w := storage.Write{Key: key, Delete: rapid.Bool().Draw(r, "delete")}
					delete(next, string(key))
					if !w.Delete {
						w.Value = rapid.SliceOfN(letters, 0, 4).Draw(r, "value")
						next[string(key)] = storage.KV{Key: key, Value: w.Value}
					}
					g.Writes = append(g.Writes, w)
				}
				id := newID()
				ts, err := s.Commit(ctx, id, func(missed []storage.LogEntry) (storage.Group, error) {
					if len(missed) > 0 {
						return storage.Group{}, fmt.Errorf("an only handle missed %d entries", len(missed))
					}
					return g, nil
				})
				if err != nil || ts <= m.head {
					r.Fatalf("commit at %d above %d: %v", ts, m.head, err)
				}
				for _, w := range g.Writes {
					if kv, ok := next[string(w.Key)]; ok {
						kv.Written = ts
						next[string(w.Key)] = kv
					}
				}
				m.groups = append(m.groups, modelGroup{ts, id, g.Log, next})
				m.head = ts
			},
			"read": func(r *rapid.T) {
				snap, err := s.At(ctx, times(r))
				if err != nil {
					r.Fatal(err)
				}
				defer snap.Close()
				checkScan(r, snap)
				checkGet(r, snap)
			},
			"pin": func(r *rapid.T) {
				snap, err := s.At(ctx, times(r))
				if err != nil {
					r.Fatal(err)
				}
				pins = append(pins, snap)
			},
			"read a pin": func(r *rapid.T) {
				if len(pins) > 0 {
					snap := rapid.SampledFrom(pins).Draw(r, "pin")
					checkScan(r, snap)
					checkGet(r, snap)
				}
			},
			"unpin": func(r *rapid.T) {
				if len(pins) > 0 {
					pins[0].Close()
					pins = pins[1:]
				}
			},
			"tail": func(r *rapid.T) {
				after := times(r)
				if rapid.Bool().Draw(r, "as far as it goes") {
					after = m.log
				}
				i := 0
				for i < len(m.groups) && m.groups[i].ts <= after {
					i++
				}
				for e, err := range s.Tail(ctx, after) {
					if err != nil {
						r.Fatalf("tail after %d: %v", after, err)
					}
					if i == len(m.groups) || e.Timestamp != m.groups[i].ts || e.ID != m.groups[i].id || !bytes.Equal(e.Log, m.groups[i].log) {
						r.Fatalf("tail after %d: unexpected %v", after, e)
					}
					i++
				}
				if i < len(m.groups) {
					r.Fatalf("tail after %d ends before %d", after, m.groups[i].ts)
				}
			},
			"too old": func(r *rapid.T) {
				if _, err := s.At(ctx, m.floor-1); !errors.Is(err, storage.ErrTooOld) {
					r.Fatalf("snapshot below the floor: %v", err)
				}
				for _, err := range s.Tail(ctx, m.log-1) {
					if !errors.Is(err, storage.ErrTooOld) {
						r.Fatalf("tail below the floor: %v", err)
					}
				}
			},
			"outcome": func(r *rapid.T) {
				for _, g := range m.groups {
					ts, err := s.Outcome(ctx, g.id)
					if g.ts <= m.log && !errors.Is(err, storage.ErrUnknownGroup) || g.ts > m.log && (err != nil || ts != g.ts) {
						r.Fatalf("outcome of the group at %d, log from %d: %d, %v", g.ts, m.log, ts, err)
					}
				}
			},
			"compact": func(r *rapid.T) {
				floors := storage.Floors{Versions: times(r), Log: times(r)}
				if rapid.Bool().Draw(r, "all of the log") {
					floors.Log = 0
				}
				if err := s.Compact(ctx, floors); err != nil {
					r.Fatal(err)
				}
				for _, p := range pins {
					floors.Versions = min(floors.Versions, p.Timestamp())
				}
				m.floor = max(m.floor, floors.Versions)
				m.log = max(m.log, min(floors.Log, m.floor))
			},
			"advance": func(r *rapid.T) {
				a, ok := s.(storage.Advancer)
				if !ok {
					return
				}
				to := m.head + storage.Timestamp(rapid.IntRange(-5, 1000).Draw(r, "by"))
				if err := a.Advance(ctx, to); err != nil {
					r.Fatal(err)
				}
				now, err := s.Head(ctx)
				if err != nil || now < to || to <= m.head && now != m.head {
					r.Fatalf("advanced from %d to %d: head %d (%v)", m.head, to, now, err)
				}
				m.head = now
			},
			"clock": func(r *rapid.T) {
				h.Clock.Step(time.Duration(rapid.Int64Range(-1e10, 1e10).Draw(r, "step")))
			},
			"reopen": func(r *rapid.T) {
				if rapid.IntRange(0, 2).Draw(r, "really") != 0 {
					return
				}
				if err := s.Close(); err != nil {
					r.Fatal(err)
				}
				for _, p := range pins {
					p.Close()
				}
				pins = nil
				s = nil
				again, err := h.Open()
				if err != nil {
					r.Fatal(err)
				}
				s = again
				now, err := s.Head(ctx)
				if err != nil || now <= m.head {
					r.Fatalf("reopened with head %d (%v), was %d", now, err, m.head)
				}
				m.head = now
			},
		})
	})
}

// empty deletes all pairs and forgets all that was before.
func empty(ctx context.Context, s storage.Store) (storage.Timestamp, error) {
	ts, err := s.Commit(ctx, newID(), func([]storage.LogEntry) (storage.Group, error) {
		head, err := s.Head(ctx)
		if err != nil {
			return storage.Group{}, err
		}
		snap, err := s.At(ctx, head)
		if err != nil {
			return storage.Group{}, err
		}
		defer snap.Close()
		var g storage.Group
		for kv, err := range snap.Scan(nil, nil, false, 0) {
			if err != nil {
				return storage.Group{}, err
			}
			g.Writes = append(g.Writes, storage.Write{Key: kv.Key, Delete: true})
		}
		return g, nil
	})
	if err != nil {
		return 0, err
	}
	return ts, s.Compact(ctx, storage.Floors{Versions: ts, Log: ts})
}

func equalKV(a, b storage.KV) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && a.Written == b.Written
}

func show(pairs []storage.KV) string {
	var b bytes.Buffer
	for _, kv := range pairs {
		fmt.Fprintf(&b, "%q=%q@%d ", kv.Key, kv.Value, kv.Written)
	}
	return b.String()
}
