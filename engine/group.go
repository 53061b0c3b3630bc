package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/mimosadb/mimosa/engine/storage"
)

// publication is one newly published timestamp with the keys it touched.
type publication struct {
	ts      storage.Timestamp
	touched []string
}

// decodeMissed reads what other writers of the same store committed.
func decodeMissed(entries []storage.LogEntry) ([]publication, error) {
	var out []publication
	for _, e := range entries {
		touched, err := decodeLog(e.Log)
		if err != nil {
			return nil, err
		}
		out = append(out, publication{e.Timestamp, touched})
	}
	return out, nil
}

// buildGroup makes one storage group of its members: the last write of each key, and a log row of what each member touched.
func buildGroup(group []*member) (storage.Group, []string) {
	writes, keys, bytes := 0, 0, 1
	for _, m := range group {
		writes += len(m.writes)
		keys += len(m.touched)
		bytes += binary.MaxVarintLen32
		for _, k := range m.touched {
			bytes += len(k) + touchedOverhead
		}
	}
	last := make(map[string]int, writes)
	g := storage.Group{Writes: make([]storage.Write, 0, writes)}
	touched := make([]string, 0, keys)
	rows := newRequestRows()
	log := append(make([]byte, 0, bytes), logVersion)
	kept := 0
	for _, m := range group {
		if m.dropped {
			continue
		}
		kept++
		for _, w := range m.writes {
			if isRecord(w) {
				rows.add(w)
				continue
			}
			if i, ok := last[string(w.Key)]; ok {
				g.Writes[i] = w
				continue
			}
			last[string(w.Key)] = len(g.Writes)
			g.Writes = append(g.Writes, w)
		}
		touched = append(touched, m.touched...)
		log = binary.AppendUvarint(log, uint64(len(m.touched)))
		for _, k := range m.touched {
			log = binary.AppendUvarint(log, uint64(len(k)))
			log = append(log, k...)
		}
	}
	if kept == 0 {
		return storage.Group{Cancel: true}, nil
	}
	g.Writes = append(g.Writes, rows.writes()...)
	g.Log = log
	return g, touched
}

// groupBytes is what a group writes: keys, values and its log row.
func groupBytes(g storage.Group) int {
	n := len(g.Log)
	for _, w := range g.Writes {
		n += len(w.Key) + len(w.Value)
	}
	return n
}

// logVersion begins every log record: version 1 is, for each member of the group in order, the number of its touched keys
// and each key with its length, all numbers as unsigned varints.
const logVersion = 1

func decodeLog(log []byte) ([]string, error) {
	bad := fmt.Errorf("engine: %w: malformed log record", storage.ErrCorrupt)
	if len(log) == 0 {
		return nil, nil
	}
	if log[0] != logVersion {
		return nil, fmt.Errorf("engine: log record of version %d", log[0])
	}
	log = log[1:]
	next := func() (uint64, bool) {
		v, n := binary.Uvarint(log)
		if n <= 0 {
			return 0, false
		}
		log = log[n:]
		return v, true
	}
	var touched []string
	for len(log) > 0 {
		keys, ok := next()
		if !ok {
			return nil, bad
		}
		for range keys {
			n, ok := next()
			if !ok || n > uint64(len(log)) {
				return nil, bad
			}
			touched = append(touched, string(log[:n]))
			log = log[n:]
		}
	}
	return touched, nil
}
