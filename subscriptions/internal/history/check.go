package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Anomaly is one way in which a history is not strictly serializable. Kind is "internal", "aborted read", "intermediate
// read", "duplicate", "incompatible order", "lost append" or "cycle".
type Anomaly struct {
	Kind   string
	Detail string
}

func (a Anomaly) String() string { return a.Kind + ": " + a.Detail }

// edge says why one transaction comes before another.
type edge struct {
	to  int
	why string // ww, wr, rw or rt
	key int
}

type checker struct {
	all       []*Transaction
	writer    map[[2]int]int // key, value → transaction
	order     map[int][]int  // key → the longest list read
	edges     [][]edge
	anomalies []Anomaly
}

// Check returns the anomalies of a history, none when it may be strictly serializable.
func Check(all []*Transaction) []Anomaly {
	c := &checker{all: all, writer: map[[2]int]int{}, order: map[int][]int{}, edges: make([][]edge, len(all))}
	c.writers()
	c.orders()
	c.reads()
	c.lost()
	c.dependencies()
	c.realTime()
	c.cycles()
	return c.anomalies
}

func (c *checker) found(kind, format string, a ...any) {
	c.anomalies = append(c.anomalies, Anomaly{kind, fmt.Sprintf(format, a...)})
}

func (c *checker) writers() {
	for i, t := range c.all {
		for _, op := range t.Ops {
			if op.Read {
				continue
			}
			if j, ok := c.writer[[2]int{op.Key, op.Value}]; ok && j != i {
				panic(fmt.Sprintf("history: value %d of list %d is appended by two transactions", op.Value, op.Key))
			}
			c.writer[[2]int{op.Key, op.Value}] = i
		}
	}
}

// orders takes the longest list read of each key as the order of its appends, and holds all other reads against it.
func (c *checker) orders() {
	for _, t := range c.all {
		for _, op := range t.Ops {
			if op.Read && t.Status == Committed && len(op.List) > len(c.order[op.Key]) {
				c.order[op.Key] = op.List
			}
		}
	}
	for key, list := range c.order {
		seen := map[int]bool{}
		for _, v := range list {
			if seen[v] {
				c.found("duplicate", "list %d holds %d twice: %v", key, v, list)
			}
			seen[v] = true
			// Every other read of the list is a part of this one, or is reported by itself.
			if w, ok := c.writer[[2]int{key, v}]; !ok || c.all[w].Status == Failed {
				c.found("aborted read", "list %d was read with %d, which no committed transaction appended", key, v)
			}
		}
	}
}

// reads checks each read by itself.
func (c *checker) reads() {
	for i, t := range c.all {
		if t.Status != Committed {
			continue
		}
		mine := map[int][]int{} // what the transaction appended so far
		seen := map[int][]int{} // what it read last, with its own appends since
		for _, op := range t.Ops {
			if !op.Read {
				mine[op.Key] = append(mine[op.Key], op.Value)
				if s, ok := seen[op.Key]; ok {
					seen[op.Key] = append(slices.Clone(s), op.Value)
				}
				continue
			}
			own := mine[op.Key]
			if before, ok := seen[op.Key]; ok && !slices.Equal(before, op.List) ||
				len(op.List) < len(own) || !slices.Equal(op.List[len(op.List)-len(own):], own) {
				c.found("internal", "transaction %d does not read its own state of list %d: %v", i, op.Key, op.List)
			}
			seen[op.Key] = op.List
			order := c.order[op.Key]
			if !slices.Equal(op.List, order[:min(len(op.List), len(order))]) {
				c.found("incompatible order", "transaction %d read %v of list %d, another one %v", i, op.List, op.Key, order)
			}
			if n := len(op.List); n > 0 {
				if w, ok := c.writer[[2]int{op.Key, op.List[n-1]}]; ok && w != i && c.lastAppend(w, op.Key) != op.List[n-1] {
					c.found("intermediate read", "transaction %d read list %d in the middle of transaction %d", i, op.Key, w)
				}
			}
		}
	}
}

func (c *checker) lastAppend(i, key int) int {
	last := 0
	for _, op := range c.all[i].Ops {
		if !op.Read && op.Key == key {
			last = op.Value
		}
	}
	return last
}

// lost finds acknowledged appends that the longest read does not hold. It counts only for lists that were read after all else
// had ended, which is what the last transactions of a history are for.
func (c *checker) lost() {
	lastEnd := 0
	for _, t := range c.all {
		for _, op := range t.Ops {
			if !op.Read {
				lastEnd = max(lastEnd, t.End)
			}
		}
	}
	final := map[int][]int{}
	for _, t := range c.all {
		for _, op := range t.Ops {
			if op.Read && t.Status == Committed && t.Begin > lastEnd {
				final[op.Key] = op.List
			}
		}
	}
	for i, t := range c.all {
		for _, op := range t.Ops {
			if list, ok := final[op.Key]; ok && !op.Read && t.Status == Committed && !slices.Contains(list, op.Value) {
				c.found("lost append", "transaction %d appended %d to list %d, where it is not: %v", i, op.Value, op.Key, list)
			}
		}
	}
}

func (c *checker) add(from, to int, why string, key int) {
	if from != to {
		c.edges[from] = append(c.edges[from], edge{to, why, key})
	}
}

// dependencies adds the edges that can be read off the lists.
func (c *checker) dependencies() {
	for key, list := range c.order {
		for i := 1; i < len(list); i++ {
			from, ok1 := c.writer[[2]int{key, list[i-1]}]
			to, ok2 := c.writer[[2]int{key, list[i]}]
			if ok1 && ok2 {
				c.add(from, to, "ww", key)
			}
		}
	}
	for i, t := range c.all {
		if t.Status != Committed {
			continue
		}
		for _, op := range t.Ops {
			if !op.Read {
				continue
			}
			order := c.order[op.Key]
			n := len(op.List)
			if n > 0 {
				if w, ok := c.writer[[2]int{op.Key, op.List[n-1]}]; ok {
					c.add(w, i, "wr", op.Key)
				}
			}
			if n < len(order) {
				if w, ok := c.writer[[2]int{op.Key, order[n]}]; ok {
					c.add(i, w, "rw", op.Key)
				}
			}
		}
	}
}

// realTime adds an edge from what was answered to what was sent later, leaving out those that follow from others: only the
// answers that no later-sent, already answered transaction stands for are kept at hand.
func (c *checker) realTime() {
	type event struct {
		at, tx int
		begin  bool
	}
	var events []event
	for i, t := range c.all {
		if t.Observer {
			if t.Previous != nil {
				c.add(slices.Index(c.all, t.Previous), i, "rt", 0)
			}
			continue
		}
		events = append(events, event{t.Begin, i, true})
		if t.Status == Committed {
			events = append(events, event{t.End, i, false})
		}
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	var answered []int
	before := map[int][]int{}
	for _, e := range events {
		if e.begin {
			before[e.tx] = slices.Clone(answered)
			for _, a := range answered {
				c.add(a, e.tx, "rt", 0)
			}
			continue
		}
		answered = slices.DeleteFunc(answered, func(a int) bool { return slices.Contains(before[e.tx], a) })
		answered = append(answered, e.tx)
	}
}

// cycles reports one cycle for each strongly connected component (Tarjan's algorithm, without recursion).
func (c *checker) cycles() {
	n := len(c.all)
	index, low := make([]int, n), make([]int, n)
	on := make([]bool, n)
	var stack []int
	next := 1
	type frame struct{ v, i int }
	for root := range n {
		if index[root] != 0 {
			continue
		}
		frames := []frame{{root, 0}}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			v := f.v
			if f.i == 0 {
				index[v], low[v] = next, next
				next++
				stack = append(stack, v)
				on[v] = true
			}
			if f.i < len(c.edges[v]) {
				w := c.edges[v][f.i].to
				f.i++
				if index[w] == 0 {
					frames = append(frames, frame{w, 0})
				} else if on[w] {
					low[v] = min(low[v], index[w])
				}
				continue
			}
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				u := frames[len(frames)-1].v
				low[u] = min(low[u], low[v])
			}
			if low[v] != index[v] {
				continue
			}
			component := map[int]bool{}
			for {
				w := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				on[w] = false
				component[w] = true
				if w == v {
					break
				}
			}
			if len(component) > 1 {
				c.found("cycle", "%s", c.shortest(v, component))
			}
		}
	}
}

// shortest describes a shortest cycle through start inside its component.
func (c *checker) shortest(start int, component map[int]bool) string {
	type step struct {
		from int
		e    edge
	}
	came := map[int]step{}
	queue := []int{start}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, e := range c.edges[v] {
			if _, ok := came[e.to]; ok || !component[e.to] {
				continue
			}
			came[e.to] = step{v, e}
			if e.to == start {
				queue = nil
				break
			}
			queue = append(queue, e.to)
		}
	}
	var parts []string
	for at := start; ; {
		s := came[at]
		parts = append(parts, fmt.Sprintf("T%d -%s(%d)→ T%d", s.from, s.e.why, s.e.key, at))
		if at = s.from; at == start {
			break
		}
	}
	slices.Reverse(parts)
	return strings.Join(parts, ", ")
}
