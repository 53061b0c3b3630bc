package engine

import (
	"github.com/mimosadb/mimosa/engine/internal/versions"
)

// tentative is what lies above a published snapshot: what was accepted since, up to seq. The zero value is nothing.
//
// It is made of generations, the newest last. A key's newer versions are in the same generation or in a later one. A
// generation may still hold what the snapshot has by now; it says the same.
type tentative struct {
	generations []*generation // never changed in place
	seq         uint64        // the newest sequence number that is visible
	stable      uint64        // what the snapshot holds
}

// generation holds the writes of mutations that were accepted one after the other, and goes when all of them are published.
type generation struct {
	list   *versions.List
	last   uint64 // guarded by committer.mu, as sealed is: the newest sequence number in it
	sealed bool   // nothing is added any more
}

const (
	// openGenerations bounds how many lists a read looks into. While there are as many, no new one is begun for what is
	// accepted during a commit. Large mutations come on top; the bytes that may be under way bound those.
	openGenerations = 4
	// largeWrites is from how many writes on a mutation is a generation of its own. It is made before the committer's lock is
	// taken.
	largeWrites = 512
)

// get returns the newest version of a key.
func (t *tentative) get(key string) (versions.Version, bool) {
	for i := len(t.generations) - 1; i >= 0; i-- {
		g := t.generations[i]
		if v, ok := g.list.Get(key, t.seq); ok {
			if v.Seq == 0 {
				v.Seq = g.last // of a large mutation, which has a generation to itself
			}
			return v, true
		}
	}
	return versions.Version{}, false
}

// buildList puts a large mutation's writes in order, so that accepting it takes no longer than accepting a small one.
func (m *member) buildList() {
	if len(m.writes) < largeWrites {
		return
	}
	m.list = versions.New(listSeed)
	for _, w := range m.writes {
		m.list.Set(string(w.Key), versions.Version{Value: w.Value, Deleted: w.Delete}) // Seq 0: with its generation, it is there for all
	}
}

const listSeed = 0x9e3779b97f4a7c15

// addTentative makes an accepted mutation's writes visible to those who begin later. The caller holds the lock, as for all
// methods below.
func (c *committer) addTentative(m *member) {
	if m.list != nil {
		c.addGeneration(&generation{list: m.list, last: m.seq, sealed: true})
		return
	}
	n := len(c.generations)
	if n == 0 || c.generations[n-1].sealed {
		c.addGeneration(&generation{list: versions.New(listSeed ^ m.seq)})
		n++
	}
	g := c.generations[n-1]
	for _, w := range m.writes {
		g.list.Set(string(w.Key), versions.Version{Seq: m.seq, Value: w.Value, Deleted: w.Delete})
	}
	g.last = m.seq
}

func (c *committer) addGeneration(g *generation) {
	c.generations = append(c.generations[:len(c.generations):len(c.generations)], g)
}

// sealGeneration lets the next accepted mutation begin a generation, so that the present one can go with the group.
func (c *committer) sealGeneration() {
	if n := len(c.generations); n > 0 && n < openGenerations {
		c.generations[n-1].sealed = true
	}
}

// dropPublished lets go of the generations that the published snapshot holds.
func (c *committer) dropPublished() {
	cut := 0
	for cut < len(c.generations) && c.generations[cut].last <= c.stableSeq {
		cut++
	}
	// A copy: the array would keep what was dropped.
	c.generations = append([]*generation(nil), c.generations[cut:]...)
}

// remakeTentative makes the generations anew of what is in the queue.
func (c *committer) remakeTentative() {
	c.generations = nil
	for _, m := range c.queue {
		c.addTentative(m)
	}
}
