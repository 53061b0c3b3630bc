package triggers_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

// model is what DESIGN says of a transaction and its triggers, on maps: the world that the engine is compared with.
type model struct {
	player *player
	defs   []*scripted
	depth  int // the limit on cascades
	last   int // handle given out last

	docs   map[string]modelDoc
	poison error
	queue  []modelCall
	at     []string // the chain of the trigger that is running, empty in the function
}

type modelDoc struct {
	coll  string
	order int
	value thing
}

// modelCall is a trigger that waits.
type modelCall struct {
	def           *scripted
	handle        string
	before, after *thing
	chain         []string
}

// mutate runs body as one transaction.
func (m *model) mutate(body []stmt) {
	saved := maps.Clone(m.docs)
	err := guarded(func() error { return m.player.function(m, body) })
	if err == nil {
		err = m.poison
	}
	if err != nil {
		m.docs = saved
	}
	m.poison, m.queue, m.at = nil, nil, nil
	ended(m.player, err)
}

func (m *model) documents() {
	for _, coll := range []string{"users", "rooms", "notes"} {
		var docs []modelDoc
		for _, d := range m.docs {
			if d.coll == coll {
				docs = append(docs, d)
			}
		}
		slices.SortFunc(docs, func(a, b modelDoc) int { return a.order - b.order })
		for _, d := range docs {
			m.player.printf("%s %s", coll, &d.value)
		}
	}
}

func (m *model) insert(coll string, v thing) (string, error) {
	if m.poison != nil {
		return "", m.poison
	}
	m.last++
	handle := fmt.Sprint(m.last)
	return handle, m.write(coll, handle, "Create", nil, &v)
}

func (m *model) patch(coll, handle string, change func(*thing) error) error {
	old, err := m.get(coll, handle)
	if err != nil {
		return err
	}
	v := copyOf(old)
	if err := change(v); err != nil {
		return err
	}
	return m.write(coll, handle, "Update", old, v)
}

func (m *model) replace(coll, handle string, v thing) error {
	return m.patch(coll, handle, func(old *thing) error { *old = v; return nil })
}

func (m *model) delete(coll, handle string) error {
	old, err := m.get(coll, handle)
	if err != nil {
		return err
	}
	return m.write(coll, handle, "Delete", old, nil)
}

func (m *model) get(_, handle string) (*thing, error) {
	if m.poison != nil {
		return nil, m.poison
	}
	d, ok := m.docs[handle]
	if !ok {
		return nil, &engine.Error{Code: engine.CodeNotFound}
	}
	return copyOf(&d.value), nil
}

// write is the way of every write: equal, Before, equal again, valid, unique, stored, queued, drained.
func (m *model) write(coll, handle, op string, before, after *thing) error {
	same := func() bool { return before != nil && after != nil && before.String() == after.String() }
	if same() {
		return nil
	}
	for _, def := range m.defs {
		if def.collection == coll && def.kind == "Before"+op && wants(def, before, after) {
			chain := append(slices.Clone(m.at), def.label())
			known := handle
			if before == nil {
				known = ""
			}
			err := guarded(func() error { return m.player.fire(def, m, known, copyOf(before), after) })
			if err = named(chain, err); err != nil {
				var p *engine.PanicError
				if errors.As(err, &p) {
					m.fail(err)
				}
				return err
			}
		}
	}
	if same() {
		return nil
	}
	if after != nil {
		if after.N < 0 || after.N > 99 {
			return &engine.Error{Code: engine.CodeInvalid}
		}
		for other, d := range m.docs {
			if other != handle && d.coll == coll && d.value.Key == after.Key && after.Key != "" {
				return &engine.Error{Code: engine.CodeAlreadyExists}
			}
		}
		order := m.last
		if d, ok := m.docs[handle]; ok {
			order = d.order
		}
		m.docs[handle] = modelDoc{coll, order, *copyOf(after)}
	} else {
		delete(m.docs, handle)
	}
	for _, def := range m.defs {
		if def.collection == coll && def.kind == "On"+op {
			m.queue = append(m.queue, modelCall{def, handle, before, after, append(slices.Clone(m.at), def.label())})
		}
	}
	if len(m.at) > 0 {
		return nil
	}
	if err := m.settle(); err != nil {
		m.fail(err)
		return err
	}
	return nil
}

// fail poisons the transaction with what went wrong first.
func (m *model) fail(err error) {
	if m.poison == nil {
		m.poison = err
	}
}

// settle runs what is queued until nothing is.
func (m *model) settle() error {
	outer := m.at
	defer func() { m.at = outer }()
	for len(m.queue) > 0 {
		call := m.queue[0]
		m.queue = m.queue[1:]
		if !wants(call.def, call.before, call.after) {
			continue
		}
		if len(call.chain) > m.depth {
			return named(call.chain, &engine.LimitError{Limit: "CascadeDepth", Max: int64(m.depth)})
		}
		m.at = call.chain
		err := guarded(func() error { return m.player.fire(call.def, m, call.handle, copyOf(call.before), copyOf(call.after)) })
		if err != nil {
			return named(call.chain, err)
		}
		if m.poison != nil {
			return m.poison
		}
	}
	return nil
}

func (m *model) nested(fn func(world) error) error {
	if m.poison != nil {
		return m.poison
	}
	docs, queue := maps.Clone(m.docs), m.queue
	m.queue = nil
	err := fn(m)
	if err == nil {
		err = m.poison
	}
	if err == nil {
		err = m.settle()
	}
	m.queue = queue
	if err != nil {
		m.docs, m.poison = docs, nil
	}
	return err
}

func wants(def *scripted, before, after *thing) bool {
	differs := def.fields == nil
	for _, f := range def.fields {
		differs = differs || f == "n" && before.N != after.N || f == "address.city" && before.Address.City != after.Address.City
	}
	return differs && (def.when == "" || env{before: before, after: after}.holds(def.when))
}

func copyOf(v *thing) *thing {
	if v == nil {
		return nil
	}
	c := *v
	c.Tags = slices.Clone(v.Tags)
	return &c
}

func guarded(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &engine.PanicError{Value: v}
		}
	}()
	return fn()
}

// named gives an error the chain of the trigger that it ended, unless it has a longer one already.
func named(chain []string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*triggers.Error); ok && len(e.Chain) >= len(chain) {
		return e
	}
	return &triggers.Error{Chain: chain, Err: err}
}

// describe spells what a caller can tell of an error, without its text.
func describe(err error) string {
	var t *triggers.Error
	if e, ok := err.(*triggers.Error); ok {
		t = e
		return strings.Join(t.Chain, " → ") + ": " + describe(t.Err)
	}
	var p *engine.PanicError
	var l *engine.LimitError
	var c *engine.Error
	switch {
	case errors.As(err, &p):
		return fmt.Sprintf("panic %v", p.Value)
	case errors.As(err, &l):
		return fmt.Sprintf("limit %s of %d", l.Limit, l.Max)
	case errors.As(err, &c):
		return string(c.Code)
	}
	return err.Error()
}

// ended writes down how a transaction ended.
func ended(p *player, err error) {
	if err != nil {
		p.printf("failed: %s", describe(err))
	} else {
		p.printf("committed")
	}
}
