package history_test

import (
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/subscriptions/internal/history"
)

func read(key int, list ...int) history.Op { return history.Op{Key: key, Read: true, List: list} }
func appendTo(key, value int) history.Op   { return history.Op{Key: key, Value: value} }

// tx makes a committed transaction that ran from begin to end.
func tx(begin, end int, ops ...history.Op) *history.Transaction {
	return &history.Transaction{Status: history.Committed, Begin: begin, End: end, Ops: ops}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	failed := tx(1, 2, appendTo(1, 1))
	failed.Status = history.Failed
	unknown := tx(1, 0, appendTo(1, 1))
	unknown.Status = history.Unknown
	seen := &history.Transaction{Status: history.Committed, Observer: true, Ops: []history.Op{read(1, 1)}}
	back := &history.Transaction{Status: history.Committed, Observer: true, Previous: seen, Ops: []history.Op{read(1)}}
	cases := []struct {
		name string
		want string // the kind of the first anomaly, empty for none
		has  string
		txs  []*history.Transaction
	}{
		{"serial", "", "", []*history.Transaction{tx(1, 2, appendTo(1, 1)), tx(3, 4, read(1, 1), appendTo(1, 2)), tx(5, 6, read(1, 1, 2))}},
		{"concurrent and either order", "", "", []*history.Transaction{tx(1, 4, appendTo(1, 1)), tx(2, 3, read(1)), tx(5, 6, read(1, 1))}},
		{"write skew", "cycle", "rw", []*history.Transaction{tx(1, 4, read(1), appendTo(2, 1)), tx(2, 3, read(2), appendTo(1, 1)), tx(5, 6, read(1, 1), read(2, 1))}},
		{"lost update", "cycle", "rw", []*history.Transaction{tx(1, 4, read(1), appendTo(1, 1)), tx(2, 3, read(1), appendTo(1, 2)), tx(5, 6, read(1, 1, 2))}},
		{"a stale read after an answer", "cycle", "rt", []*history.Transaction{tx(1, 2, appendTo(1, 1)), tx(3, 4, read(1)), tx(5, 6, read(1, 1))}},
		{"a fractured read", "cycle", "wr", []*history.Transaction{tx(1, 4, appendTo(1, 1), appendTo(2, 1)), tx(2, 3, read(1, 1), read(2)), tx(5, 6, read(1, 1), read(2, 1))}},
		{"an aborted read", "aborted read", "", []*history.Transaction{failed, tx(3, 4, read(1, 1))}},
		{"an unknown outcome that took effect", "", "", []*history.Transaction{unknown, tx(3, 4, read(1, 1))}},
		{"an intermediate read", "intermediate read", "", []*history.Transaction{tx(1, 4, appendTo(1, 1), appendTo(1, 2)), tx(2, 3, read(1, 1)), tx(5, 6, read(1, 1, 2))}},
		{"a lost append", "lost append", "", []*history.Transaction{tx(1, 2, appendTo(1, 1)), tx(3, 4, appendTo(1, 2)), tx(5, 6, read(1, 2))}},
		{"two orders", "incompatible order", "", []*history.Transaction{tx(1, 9, appendTo(1, 1)), tx(2, 8, appendTo(1, 2)), tx(3, 4, read(1, 1, 2)), tx(5, 6, read(1, 2, 1))}},
		{"a value twice", "duplicate", "", []*history.Transaction{tx(1, 2, appendTo(1, 1)), tx(3, 4, read(1, 1, 1))}},
		{"own appends are read", "", "", []*history.Transaction{tx(1, 2, appendTo(1, 1), read(1, 1)), tx(3, 4, read(1, 1))}},
		{"own appends are not read", "internal", "", []*history.Transaction{tx(1, 2, appendTo(1, 1), read(1)), tx(3, 4, read(1, 1))}},
		{"two reads differ", "internal", "", []*history.Transaction{tx(1, 4, read(1), read(1, 1)), tx(2, 3, appendTo(1, 1))}},
		{"a subscriber goes back", "cycle", "", []*history.Transaction{tx(1, 2, appendTo(1, 1)), seen, back}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := history.Check(c.txs)
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("found %v in a good history", got)
			case c.want != "" && len(got) == 0:
				t.Errorf("found nothing, want %s", c.want)
			case c.want != "" && (got[0].Kind != c.want || !strings.Contains(got[0].Detail, c.has)):
				t.Errorf("found %v, want %s with %q", got, c.want, c.has)
			}
		})
	}
}
