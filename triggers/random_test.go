package triggers_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
)

var seed = flag.Uint64("seed", 0, "play only the random script of this seed")

// TestRandomScripts plays random triggers and mutations on the engine and on the model of it: the same has to happen, in the
// same order, and the same documents have to be left.
func TestRandomScripts(t *testing.T) {
	t.Parallel()
	seeds := []uint64{*seed}
	if *seed == 0 {
		seeds = nil
		for s := range uint64(400) {
			seeds = append(seeds, s+1)
		}
	}
	for _, s := range seeds {
		compareWithModel(t, s)
		if t.Failed() {
			t.Fatalf("again with: go test ./triggers -run %s -seed %d", t.Name(), s)
		}
	}
}

func compareWithModel(t *testing.T, seed uint64) {
	t.Helper()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	source := g.triggers()
	defs, err := parseTriggers(source)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	depth := 1 + g.IntN(5)
	real := newRig(t, defs, func(o *engine.Options) { o.Limits.CascadeDepth = depth })
	ideal := &model{player: newPlayer(), defs: defs, depth: depth, docs: map[string]modelDoc{}}
	real.show, ideal.player.show = describe, describe
	for range 1 + g.IntN(4) {
		source := g.body("", 1+g.IntN(6), 0)
		body, rest, err := parseBody(source, "")
		if err != nil || len(rest) > 0 {
			t.Fatalf("seed %d: %v %q", seed, err, rest)
		}
		// Two triggers that write twice each would run for long before they are too deep.
		real.steps, ideal.player.steps = 300, 300
		err = real.db.Update(t.Context(), func(tx *engine.Tx) error {
			return real.player.function(transaction{real, tx, tx}, body)
		})
		ended(real.player, err)
		real.documents(t)
		ideal.mutate(body)
		ideal.documents()
	}
	if got, want := real.out.String(), ideal.player.out.String(); got != want {
		t.Errorf("seed %d, depth %d, triggers:\n%s\n\n%s", seed, depth, strings.Join(source, "\n"), firstDifference(got, want))
	}
}

// firstDifference shows where two transcripts part.
func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return fmt.Sprintf("both:\n%s\nengine goes on:\n%s\nmodel goes on:\n%s", strings.Join(a[:n], "\n"),
		strings.Join(a[n:min(n+8, len(a))], "\n"), strings.Join(b[n:min(n+8, len(b))], "\n"))
}

// generator makes up scripts.
type generator struct {
	*rand.Rand
}

func (g *generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g *generator) triggers() []string {
	var lines []string
	for i := range 1 + g.IntN(7) {
		kind := g.pick("BeforeCreate", "BeforeUpdate", "BeforeDelete", "OnCreate", "OnCreate", "OnUpdate", "OnUpdate", "OnDelete")
		line := fmt.Sprintf("%s.%s(t%d)", g.pick("users", "rooms", "notes"), kind, i)
		if strings.HasSuffix(kind, "Update") && g.IntN(4) == 0 {
			line += " fields=" + g.pick("n", "address.city", "n,address.city")
		}
		if g.IntN(6) == 0 {
			line += " when=" + g.pick("{n}>2", "{n}<4", "{before.n}<3", "{after.n}=1")
		}
		lines = append(lines, line)
		if strings.HasPrefix(kind, "Before") {
			lines = append(lines, g.reading(kind)...)
		} else {
			lines = append(lines, g.body("  ", 1+g.IntN(3), 0)...)
		}
	}
	return lines
}

// reading is the body of a Before trigger.
func (g *generator) reading(kind string) []string {
	var lines []string
	for range g.IntN(3) {
		switch g.IntN(8) {
		case 0:
			lines = append(lines, "  if {n}>3", "    fail forbidden no")
		case 1:
			lines = append(lines, "  if {n}=2", "    panic boom")
		case 2, 3:
			lines = append(lines, "  try get "+g.document())
		default:
			if kind == "BeforeDelete" {
				continue
			}
			lines = append(lines, "  set "+g.pick("n+=1", "n=2", "n={before.n}", "city=Rome", "key={city}"))
		}
	}
	return lines
}

func (g *generator) document() string {
	return g.pick("users", "rooms", "notes") + " " + g.pick("a", "b", "c", "{name}", "{name}", "{name}x")
}

// body makes statements for a function (indent is empty) or an On trigger.
func (g *generator) body(indent string, n, level int) []string {
	var lines []string
	add := func(s string) { lines = append(lines, indent+s) }
	for range n {
		try := g.pick("", "try ")
		document := g.document()
		if indent == "" || strings.HasPrefix(document, "users") && g.IntN(2) == 0 {
			document = g.pick("users", "rooms", "notes") + " " + g.pick("a", "b", "c")
		}
		switch g.IntN(14) {
		case 0, 1, 2, 3:
			add(try + "insert " + document + g.pick("", " n=1", " n=3", " n=100", " key=k", " key=l city=Oslo"))
		case 4, 5, 6, 7:
			add(try + "patch " + document + " " + g.pick("n+=1", "n+=1", "n+=0", "n=2", "city=Rome", "city=Oslo n=4", "key=k", "key="))
		case 8:
			add(try + "replace " + document + g.pick("", " n=1", " n=5 city=Rome"))
		case 9:
			add(try + "delete " + document)
		case 10, 11:
			if level == 2 {
				continue
			}
			add(try + "nested")
			lines = append(lines, g.body(indent+"  ", 1+g.IntN(3), level+1)...)
		case 12:
			add(try + "get " + document)
		case 13:
			switch g.IntN(4) {
			case 0:
				add("fail conflict no")
			case 1:
				add("panic boom")
			default:
				add("say hello")
			}
		}
	}
	return lines
}
